package compact

import (
	"context"
	"time"
)

// Pace makes an Options.Pace that takes a share of one core: behind each block it waits as long as keeps to it. The wait ends with
// the context.
func Pace(ctx context.Context, share float64) func(rows int) error {
	last := time.Now()
	return func(int) error {
		wait := time.NewTimer(time.Duration(float64(time.Since(last)) * (1 - share) / share))
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
		last = time.Now()
		return nil
	}
}
