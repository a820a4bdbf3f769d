package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
)

// shortWindow is how much time a scan may look at as if it were a page: the ends of a window that rollups leave over, so that an
// overview does not wait behind somebody's metrics.
const shortWindow = 5 * time.Minute

func effortOf(r store.TimeRange) Effort {
	if d := r.To - r.From; d > 0 && d <= int64(shortWindow) { // all time overflows to -1
		return Page
	}
	return Sweep
}

// scan runs a plan inside of the limits. It answers an error only where nothing can be said; a limit, a cut answer and rows of a store
// of which a part is away are Done.
func (q *Query) scan(ctx context.Context, s store.Scope, plan *store.Scan, each func(store.Rows)) (store.Done, error) {
	return q.scanUpTo(ctx, s, plan, q.limits.ScanRows, each)
}

// scanUpTo is scan with another limit of rows. The batch in which it is reached is given whole.
func (q *Query) scanUpTo(ctx context.Context, s store.Scope, plan *store.Scan, most int64, each func(store.Rows)) (store.Done, error) {
	leave, err := q.Admit(ctx, effortOf(plan.Range))
	if err != nil {
		return store.Done{}, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, q.limits.ScanTime)
	defer cancel()
	done := store.Done{Complete: true}
	rows := int64(0)
	for r, err := range q.store.Scan(limited, s, plan) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", q.limits.ScanTime)
				return done, nil
			}
			return without(ctx, done, fmt.Errorf("scan: %w", err), rows > 0)
		}
		done.Read.Blocks += r.Read.Blocks
		done.Read.Of = max(done.Read.Of, r.Read.Of)
		done.Read.Bytes += r.Read.Bytes
		each(r)
		if rows += int64(len(r.Rows)); rows >= most {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %d spans", rows)
			return done, nil
		}
		if limited.Err() != nil && ctx.Err() == nil {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", q.limits.ScanTime)
			return done, nil
		}
	}
	return done, ctx.Err()
}
