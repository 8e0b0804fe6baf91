package distributor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// A block is in small pages until it is full, however the system is set: a tenant with few series is not to take two megabytes.
func TestBlocksBecomeHugeWhenTheyAreFull(t *testing.T) {
	_, err := os.Stat("/sys/kernel/mm/transparent_hugepage")
	has := err == nil // else the kernel has no huge pages, and no flags for them
	a := &arena{}
	first := stay[uint64](a, leastMapped/8)
	if got := flagsAt(t, unsafe.Pointer(&first[0])); slices.Contains(got, "nh") != has || slices.Contains(got, "hg") {
		t.Errorf("a block that is nearly empty has the flags %v, want nh (no huge pages): %t", got, has)
	}
	for range hugePage / leastMapped {
		stay[uint64](a, leastMapped/8)
	}
	if got := flagsAt(t, unsafe.Pointer(&first[0])); slices.Contains(got, "nh") || slices.Contains(got, "hg") != has {
		t.Errorf("a full block has the flags %v, want hg (huge pages): %t", got, has)
	}
	a.release()
}

// flagsAt are those that the kernel has of the memory at p.
func flagsAt(t *testing.T, p unsafe.Pointer) []string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(smaps)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= uintptr(p) && uintptr(p) < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Fields(flags)
		}
	}
	t.Fatalf("there is no mapping at %p", p)
	return nil
}
