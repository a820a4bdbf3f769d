package app

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/config"
)

// unlimitedShare is the part of a machine's memory that a percentage refers to where no cgroup sets a limit: the program
// is a guest there.
const unlimitedShare = 4

// memoryPlan answers how many bytes the process plans with.
func memoryPlan(c *config.Config) int64 {
	limit := cgroupLimit(os.ReadFile)
	if limit == 0 {
		limit = totalMemory(os.ReadFile) / unlimitedShare
	}
	if limit == 0 {
		limit = 1 << 30
	}
	return max(c.MaxMemory.Of(limit), 64<<20)
}

type readFile func(string) ([]byte, error)

// cgroupLimit is the memory limit of the cgroup (v2, else v1), 0 if none is set.
func cgroupLimit(read readFile) int64 {
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := read(name)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && n > 0 && n < 1<<60 { // v1 writes a huge number for "no limit"
			return n
		}
	}
	return 0
}

func totalMemory(read readFile) int64 {
	data, err := read("/proc/meminfo")
	if err != nil {
		return 0
	}
	for _, line := range bytes.Split(data, []byte("\n")) {
		if rest, ok := bytes.CutPrefix(line, []byte("MemTotal:")); ok {
			fields := strings.Fields(string(rest))
			if len(fields) == 2 {
				kb, _ := strconv.ParseInt(fields[0], 10, 64)
				return kb << 10
			}
		}
	}
	return 0
}
