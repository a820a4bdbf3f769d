package query

import (
	"context"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
)

// exportsAtOnce is how many exports may run. They read everything and take as long as their reader does, so they have places of
// their own and none of those that searches wait for.
const exportsAtOnce = 2

func newExports() *places {
	return newPlaces(exportsAtOnce, 5*time.Second, "two exports are under way", "wait for one to end")
}

// Export gives every stored row that starts in a range and meets match, nil for all, in the engine's order and without the limits of
// searches: it may take hours. Copies of a span that the engine has not merged yet come too. An error of each ends it and is answered.
func (q *Query) Export(ctx context.Context, s store.Scope, r store.TimeRange, match store.Expr, each func(store.Rows) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	leave, err := q.exports.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for rows, err := range q.store.Scan(ctx, s, &store.Scan{Range: r, Mode: store.Start, Match: match, Need: store.Everything()}) {
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		if err := each(rows); err != nil {
			return err
		}
	}
	return ctx.Err()
}
