package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/spanloom/spanloom/store"
)

// scan runs a plan inside of the limits. It answers an error only where nothing can be said; a limit or a cut answer is Done.
func (q *Query) scan(ctx context.Context, s store.Scope, plan *store.Scan, each func(store.Rows)) (store.Done, error) {
	return q.scanWithin(ctx, s, q.limits, plan, each)
}

func (q *Query) scanWithin(ctx context.Context, s store.Scope, limits Limits, plan *store.Scan, each func(store.Rows)) (store.Done, error) {
	leave, err := q.Admit(ctx, Sweep)
	if err != nil {
		return store.Done{}, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, limits.ScanTime)
	defer cancel()
	done := store.Done{Complete: true}
	rows := int64(0)
	for r, err := range q.store.Scan(limited, s, plan) {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", limits.ScanTime)
				return done, nil
			}
			return done, fmt.Errorf("scan: %w", err)
		}
		done.Read.Blocks += r.Read.Blocks
		done.Read.Of = max(done.Read.Of, r.Read.Of)
		done.Read.Bytes += r.Read.Bytes
		each(r)
		if rows += int64(len(r.Rows)); rows >= limits.ScanRows {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %d spans", rows)
			return done, nil
		}
		if limited.Err() != nil && ctx.Err() == nil {
			done.Complete, done.Reason = false, fmt.Sprintf("stopped after %s", limits.ScanTime)
			return done, nil
		}
	}
	return done, ctx.Err()
}
