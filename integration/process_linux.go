package integration

import "syscall"

// dieWithParent has the kernel kill a process when the test binary ends without running its cleanups, as after a
// timeout.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
