package queue

import (
	"context"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/merge"
	"github.com/spanloom/spanloom/store/rollup"
)

var (
	_ rollup.Reader = (*Queue)(nil)
	_ rollup.Summer = (*Queue)(nil)
)

// Rollups implements rollup.Reader: the engine's, if it keeps any, and counts of the spans that wait and can be read.
func (q *Queue) Rollups(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return q.mergeRollups(ctx, s, r, func(e Reader) fromRollups {
		if e, ok := e.(rollup.Reader); ok {
			return e.Rollups
		}
		return nil
	})
}

// Sums implements rollup.Summer.
func (q *Queue) Sums(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return q.mergeRollups(ctx, s, r, func(e Reader) fromRollups {
		if e, ok := e.(rollup.Summer); ok {
			return e.Sums
		}
		return nil
	})
}

type fromRollups func(context.Context, store.Scope, store.TimeRange) (*rollup.Table, store.Done, error)

func (q *Queue) mergeRollups(ctx context.Context, s store.Scope, r store.TimeRange, of func(Reader) fromRollups) (*rollup.Table, store.Done, error) {
	v, err := q.view()
	if err != nil {
		return nil, store.Done{}, err
	}
	away := store.Done{Away: true, Reason: v.kind + " does not answer"} // the rows that wait are an answer by themselves: a scan gives it
	if v.engine == nil {
		return nil, away, nil
	}
	ask := of(v.engine)
	if ask == nil {
		return nil, store.Done{Reason: v.kind + " keeps no rollups"}, nil
	}
	total, done, err := ask(ctx, s, r)
	if err != nil && retryable(err) && ctx.Err() == nil {
		return nil, away, nil
	}
	if err != nil || total == nil || !done.Complete && !done.Away {
		return total, done, err
	}
	b := rollup.NewBuilder()
	for _, t := range v.tails {
		for rows, err := range t.Scan(ctx, s, &store.Scan{Range: rollup.Around(r), Mode: store.Start, Need: rollup.Need()}) {
			if err != nil {
				return nil, done, err
			}
			b.Collect(rows)
			merge.Cost(&done.Read, rows.Read)
		}
	}
	b.Flush(store.TimeRange{})
	total.MergeRange(b.Table(), r)
	done, err = v.partial(done, nil)
	return total, done, err
}
