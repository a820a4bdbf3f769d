package demo

import (
	"os/exec"
	"syscall"
)

// dieWithParent puts the process in a group of its own, so that Ctrl-C reaches it through us and in our order, and has
// the kernel kill it should we die without stopping it.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
