package prefetch_test

import (
	"testing"
	"unsafe"

	"github.com/varve-io/varve/pkg/prefetch"
)

// Guesses may be wrong: an address where nothing is, or nothing any more, does no harm.
func TestAnyAddressWillDo(t *testing.T) {
	some := make([]byte, 64)
	prefetch.Line(unsafe.Pointer(&some[63]))
	prefetch.Line(nil)
	prefetch.Line(unsafe.Add(nil, 4096)) // where no memory is ever mapped
}

func BenchmarkLine(b *testing.B) {
	some := make([]byte, 64)
	for b.Loop() {
		prefetch.Line(unsafe.Pointer(&some[0]))
	}
}
