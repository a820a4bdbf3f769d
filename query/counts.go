package query

import (
	"context"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// Histogram is rollup's: what engines keep per segment merges with what a scan counts.
type Histogram = rollup.Histogram

// callMargin is how far around a range a scan looks for the other side of the calls in it.
const callMargin = int64(10 * time.Second)

// collectMost bounds the rows that a scan for edges holds at once, some 160 bytes each.
const collectMost = 1_000_000

// Counts answers what store/rollup counts in a range: from the engine's rollups for whole minutes and a scan for the ragged
// ends where the engine keeps them, else from a scan of all. Both count with the same rules, so the numbers agree; edges
// may differ by the calls whose sides start more than callMargin apart at an end that was scanned.
func (q *Query) Counts(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return q.counts(ctx, s, r, q.rollups)
}

// sums is Counts for who does not ask when: the cells of its table may say nothing of it.
func (q *Query) sums(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return q.counts(ctx, s, r, func(ctx context.Context, s store.Scope, whole store.TimeRange) (*rollup.Table, store.Done, bool, error) {
		if summer, ok := q.store.(rollup.Summer); ok {
			return answered(summer.Sums)(ctx, s, whole)
		}
		return q.rollups(ctx, s, whole)
	})
}

// fromRollups asks an engine; ok is false where it cannot answer: what an engine in part does not know by its rollups a scan may find.
type fromRollups func(ctx context.Context, s store.Scope, whole store.TimeRange) (table *rollup.Table, done store.Done, ok bool, err error)

func (q *Query) counts(ctx context.Context, s store.Scope, r store.TimeRange, ask fromRollups) (*rollup.Table, store.Done, error) {
	r = possible(r)
	whole := wholeMinutes(r)
	table, done, ok, err := ask(ctx, s, whole)
	if err != nil {
		return nil, done, err
	}
	if !ok {
		return q.collect(ctx, s, r)
	}
	for _, end := range []store.TimeRange{{From: r.From, To: whole.From}, {From: whole.To, To: r.To}} {
		if end.From >= end.To {
			continue
		}
		part, d, err := q.collect(ctx, s, end)
		if d, err = without(ctx, d, err, table.Keys() > 0); err != nil {
			return nil, done, err
		}
		if part != nil {
			table.Merge(part)
		}
		done = joinDone(done, d)
	}
	return table, done, nil
}

// possible cuts a range to instants that spans have, so that adding to them does not overflow.
func possible(r store.TimeRange) store.TimeRange {
	const latest = 1<<63 - 1 - int64(24*time.Hour)
	if r.To == 0 || r.To > latest {
		r.To = latest
	}
	r.From = min(max(r.From, 0), r.To)
	return r
}

// rollups asks the engine; ok is false where it has none that answer the question.
func (q *Query) rollups(ctx context.Context, s store.Scope, whole store.TimeRange) (*rollup.Table, store.Done, bool, error) {
	reader, ok := q.store.(rollup.Reader)
	if !ok {
		return nil, store.Done{}, false, nil
	}
	return answered(reader.Rollups)(ctx, s, whole)
}

func answered(read func(context.Context, store.Scope, store.TimeRange) (*rollup.Table, store.Done, error)) fromRollups {
	return func(ctx context.Context, s store.Scope, whole store.TimeRange) (*rollup.Table, store.Done, bool, error) {
		if s.MustMatch != nil || whole.From >= whole.To {
			return nil, store.Done{}, false, nil
		}
		table, done, err := read(ctx, s, whole)
		if err != nil {
			return nil, done, false, fmt.Errorf("read rollups: %w", err)
		}
		return table, done, done.Complete && table.Uncounted == 0, nil
	}
}

// wholeMinutes are those that lie in a range.
func wholeMinutes(r store.TimeRange) store.TimeRange {
	return store.TimeRange{From: ceilMinute(r.From), To: floorMinute(r.To)}
}

func floorMinute(t int64) int64 {
	f := t - t%rollup.Minute
	if f > t {
		f -= rollup.Minute
	}
	return f
}

func ceilMinute(t int64) int64 {
	if f := floorMinute(t); f < t {
		return f + rollup.Minute
	}
	return t
}

// collect counts the rows of a range by a scan from its end: where there are too many, the newest.
func (q *Query) collect(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	b := rollup.NewBuilder()
	done, err := q.ScanBack(ctx, s, store.Scan{
		Range: store.TimeRange{From: r.From - callMargin, To: r.To + callMargin}, Mode: store.Start, Need: rollup.Need(),
	}, int(min(q.limits.ScanRows, collectMost)), b.Collect)
	if err != nil {
		return nil, done, err
	}
	b.Flush(r)
	return b.Table(), done, nil
}

// joinDone is what two parts of an answer are together.
func joinDone(a, b store.Done) store.Done {
	if a.Complete && !b.Complete {
		a.Complete, a.Reason = false, b.Reason
	}
	a.Away = a.Away || b.Away
	a.Read.Blocks += b.Read.Blocks
	a.Read.Of += b.Read.Of
	a.Read.Bytes += b.Read.Bytes
	return a
}
