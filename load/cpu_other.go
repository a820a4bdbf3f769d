//go:build !unix

package load

import "time"

// selfCPU is known on Unix systems only.
func selfCPU() time.Duration { return 0 }
