// Package pause waits in a way that an end of the work cuts short.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends: then it is ctx's error.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
