//go:build !linux

package distributor

import "unsafe"

// inHugePages does nothing on this system.
func inHugePages(unsafe.Pointer, int) {}
