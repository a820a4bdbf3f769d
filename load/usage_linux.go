package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ticksPerSecond is the unit of the times in /proc: Linux shows them in hundredths of a second on every architecture Go
// runs on, whatever the kernel's own clock.
const ticksPerSecond = 100

// Usage is what a process has used until now.
type Usage struct {
	CPU     time.Duration // user and system, in steps of 10 ms
	RSS     int64         // resident bytes now
	PeakRSS int64         // the most since it started
}

// ProcessUsage reads /proc.
func ProcessUsage(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	u, err := parseUsage(stat, status)
	if err != nil {
		return Usage{}, fmt.Errorf("usage of process %d: %w", pid, err)
	}
	return u, nil
}

// parseUsage reads utime and stime (fields 14 and 15 of stat, counted after the name in parentheses, which may hold blanks)
// and VmRSS and VmHWM of status.
func parseUsage(stat, status []byte) (u Usage, err error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return u, fmt.Errorf("stat has %d fields after the name", len(fields))
	}
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("stat: %w", err)
		}
		u.CPU += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		to := &u.RSS
		switch string(name) {
		case "VmRSS":
		case "VmHWM":
			to = &u.PeakRSS
		default:
			continue
		}
		number, _, _ := bytes.Cut(bytes.TrimSpace(value), []byte(" "))
		kib, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil {
			return u, fmt.Errorf("status: %s: %w", name, err)
		}
		*to = kib << 10
	}
	return u, nil
}
