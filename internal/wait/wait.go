// Package wait replaces sleeps in tests: it polls a condition until a deadline that one environment variable scales,
// so that slow machines need no other test code.
package wait

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// Scale multiplies d by SPANLOOM_TEST_SLOW (a factor such as 3; 1 when unset or not a positive number).
func Scale(d time.Duration) time.Duration {
	if f, err := strconv.ParseFloat(os.Getenv("SPANLOOM_TEST_SLOW"), 64); err == nil && f > 0 {
		return time.Duration(float64(d) * f)
	}
	return d
}

// For polls cond every few milliseconds until it holds, and fails the test with what after the scaled deadline.
func For(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(Scale(d))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("gave up after %s waiting for %s", Scale(d), what)
		}
		<-tick.C
	}
}
