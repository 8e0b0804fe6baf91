//go:build !linux

package distributor

import "unsafe"

// inHugePages and inSmallPages do nothing on this system.
func inHugePages(unsafe.Pointer, int) {}

func inSmallPages(unsafe.Pointer, int) {}
