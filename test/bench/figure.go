package main

import (
	"context"
	"fmt"
	"time"
)

// figure is one line of the result.
type figure struct {
	name   string
	target string // in words, with its unit
	unit   string
	// timed figures have a ratio to the reference loop: value / milliseconds of the loop, or value x milliseconds where
	// more is better. Sizes have none.
	timed      bool
	moreBetter bool
	once       bool // does not vary: one run
	command    string
	run        func(ctx context.Context, e *bench) (float64, error)
}

func (f figure) ratio(v float64, reference time.Duration) float64 {
	ms := reference.Seconds() * 1e3
	if f.moreBetter {
		return v * ms
	}
	return v / ms
}

func (f figure) format(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f %s", v, f.unit)
	case v >= 100:
		return fmt.Sprintf("%.1f %s", v, f.unit)
	case v < 0.1 && v > 0:
		return fmt.Sprintf("%.4f %s", v, f.unit)
	default:
		return fmt.Sprintf("%.2f %s", v, f.unit)
	}
}

// spread is the lowest and highest run.
func (f figure) spread(v []float64) string {
	if len(v) < 2 {
		return ""
	}
	low, high := v[0], v[0]
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	return fmt.Sprintf("%.3g-%.3g", low, high)
}

// bench is what figures are measured with.
type bench struct {
	root, temp, binary string
	quick              bool
	tests              map[string]string // package -> compiled test binary
	spans              int64             // that data is to hold
	cpu                bool              // questions are timed by CPU time
	data, hours        *stored           // nil until a figure needs them
}
