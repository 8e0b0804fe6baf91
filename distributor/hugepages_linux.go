package distributor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// inHugePages asks for memory to be in huge pages: what is touched from now on, and what there is already, from Linux 6.1 on at once. It
// is all the same to the memory's users if the system doesn't follow.
func inHugePages(p unsafe.Pointer, bytes int) {
	b := unsafe.Slice((*byte)(p), bytes)
	if unix.Madvise(b, unix.MADV_HUGEPAGE) == nil {
		_ = unix.Madvise(b, unix.MADV_COLLAPSE)
	}
}
