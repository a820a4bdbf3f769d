package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spanloom/spanloom/load"
)

// referenceLoop is a fixed piece of work, and its answer the CPU time it took: integer hashing over a table that misses the
// first caches, like decoding and interning spans. Figures are compared between machines and moments by their ratio to
// it, so it must never change.
func referenceLoop() time.Duration {
	const size, steps = 1 << 19, 24_000_000 // 4 MiB
	table := make([]uint64, size)
	x := uint64(1)
	for i := range table {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		table[i] = x
	}
	before := cpuTime()
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		at := x & (size - 1)
		table[at] = table[at]*0x9e3779b97f4a7c15 + x
	}
	took := cpuTime() - before
	if table[x&(size-1)] == 0 { // keeps the loop's result in use
		took++
	}
	return took
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loadAverage is that of the last minute, "?" where the system does not tell.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// sizes says how big the traffic is, for all figures in bytes a span.
func sizes() string {
	s := load.Measure(1, load.DefaultTracesPerSecond, 512, 200_000)
	return fmt.Sprintf("traffic: %.0f B a span as OTLP in requests of 512, entropy floor %.1f B a span, %.1f by column", s.OTLP, s.Floor, s.FloorByColumn)
}
