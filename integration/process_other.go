//go:build !linux

package integration

import "syscall"

// dieWithParent does nothing here: after a timeout of the test binary, its processes live on.
func dieWithParent() *syscall.SysProcAttr { return nil }
