package prometheus

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process should the test die without stopping it.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
