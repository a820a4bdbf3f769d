//go:build unix

package load

import (
	"syscall"
	"time"
)

// selfCPU is the user and system time of this process; 0 where the system does not tell.
func selfCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
