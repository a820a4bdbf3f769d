//go:build !linux

package load

import (
	"errors"
	"time"
)

// Usage is what a process has used until now.
type Usage struct {
	CPU     time.Duration // user and system
	RSS     int64         // resident bytes now
	PeakRSS int64         // the most since it started
}

// ProcessUsage is known on Linux only.
func ProcessUsage(int) (Usage, error) {
	return Usage{}, errors.Join(errors.ErrUnsupported, errors.New("the usage of another process is read from /proc, which only Linux has"))
}
