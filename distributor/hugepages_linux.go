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

// inSmallPages keeps memory out of huge pages where the system makes them of all memory: the first byte of one takes it whole.
func inSmallPages(p unsafe.Pointer, bytes int) {
	_ = unix.Madvise(unsafe.Slice((*byte)(p), bytes), unix.MADV_NOHUGEPAGE)
}
