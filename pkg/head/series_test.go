package head

import (
	"testing"
	"unsafe"
)

// TestSeriesTakesTwoCacheLines holds the layout that makes appends cheap.
func TestSeriesTakesTwoCacheLines(t *testing.T) {
	var s Series
	if n := unsafe.Sizeof(s); n != 128 {
		t.Errorf("a series takes %d bytes", n)
	}
	if n := unsafe.Offsetof(s.open) + unsafe.Offsetof(s.open.buf); n > 64 {
		t.Errorf("an append of a float touches %d bytes", n)
	}
}
