// Package beside reads spans of another store beside those of an engine: what people stored before is found by the same questions, and
// everything is written to the engine alone.
//
// Where the other store does not answer, the engine's answers are given and say that they are not complete, and why. Its error comes after
// what the engine yields of traces and scans.
//
// A span that both have counts once in traces and searches: the engine's copy does. The other store may keep times in microseconds only,
// so that a copy is told by trace, span, kind, service and the microsecond of its start. Lists and scans count both copies, as they do
// with every span that was sent twice.
package beside

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/merge"
)

// Part is what is needed of both stores. Its methods that store.Reader does not have are those of queue.Reader, and those by which a search can be
// continued at a place.
type Part interface {
	store.Reader
	Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error)
	Rows(ctx context.Context, s store.Scope, ids []span.TraceID, need store.Need) iter.Seq2[[]answer.Row, error]
	CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error)

	// Moment is what counts now; RowsAt is Rows of it.
	Moment() answer.Moment
	RowsAt(ctx context.Context, s store.Scope, ids []span.TraceID, m answer.Moment) iter.Seq2[[]answer.Row, error]
	// SearchAfter is Search as of a moment for the traces behind a place; nil: from the beginning. It looks at no token and gives none.
	SearchAfter(ctx context.Context, s store.Scope, q *store.Search, m answer.Moment, after *answer.Rank) (answer.Part, error)
	// Has tells which of some traces, at most 10,000, may have rows.
	Has(ctx context.Context, s store.Scope, ids []span.TraceID) (map[span.TraceID]bool, error)
}

// Reader answers from two parts.
type Reader struct {
	own, other Part
	name       string // of the other one's data, in the plural: "Jaeger's indices"
	now        func() time.Time
	log        func(message string, err error)
	seed       maphash.Seed
}

var _ store.Reader = (*Reader)(nil)

// New makes a reader. now is the clock of page tokens; log hears what no answer can say.
func New(own, other Part, name string, now func() time.Time, log func(message string, err error)) *Reader {
	return &Reader{own: own, other: other, name: name, now: now, log: log, seed: maphash.MakeSeed()}
}

// With is the reader with another view of the engine, one that is pinned.
func (r *Reader) With(own Part) *Reader {
	with := *r
	with.own = own
	return &with
}

// Can reports what both do: nothing of the other store is written. What it does not hold is said with its name.
func (r *Reader) Can() store.Abilities {
	can, other := r.own.Can(), r.other.Can()
	can.TraceDuration = can.TraceDuration && other.TraceDuration
	can.Lossy = slices.Clone(can.Lossy)
	for _, what := range other.Lossy {
		can.Lossy = append(can.Lossy, "of "+r.name+": "+what)
	}
	return can
}

// missing says of an answer that it is without the other store's rows.
func (r *Reader) missing(d *store.Done, err error) {
	d.Away = true
	if d.Complete {
		d.Complete, d.Reason = false, fmt.Sprintf("%s do not answer: spans stored there are not shown (%v)", r.name, err)
	}
}

// away is the error that stands behind rows of the engine alone.
func (r *Reader) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &problem.Problem{Kind: problem.Unavailable, Message: r.name + " do not answer: spans stored there are not shown", RetryAfter: time.Second, Err: err}
}

// key tells a span's copies apart from other spans.
type key struct {
	trace   span.TraceID
	span    span.SpanID
	kind    span.Kind
	micros  uint64
	service uint64
}

func (r *Reader) key(b *span.Batch, row int) key {
	return key{b.TraceID[row], b.SpanID[row], b.Kind[row], b.Start[row] / 1000, maphash.Bytes(r.seed, b.Bytes(b.Service[row]))}
}

// Trace yields the engine's rows, then the others. Which twins belong to the trace is decided over all of them.
func (r *Reader) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		found, err := r.own.Sightings(ctx, s, id)
		if err != nil {
			yield(nil, err)
			return
		}
		there, err := r.other.Sightings(ctx, s, id)
		if err != nil && ctx.Err() == nil {
			for b, err2 := range r.own.Trace(ctx, s, id, hint) {
				if !yield(b, err2) || err2 != nil {
					return
				}
			}
			yield(nil, r.away(ctx, err))
			return
		}
		r.Traces(ctx, s, merge.Family(append(found, there...), id), store.TimeRange{}, store.Everything())(yield)
	}
}

// Traces yields the engine's rows, then the others but for copies. Cost: some 50 bytes a span of the engine's where both have rows.
func (r *Reader) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		if len(ids) == 0 {
			return
		}
		need := need.And(store.Need{Columns: store.ColIdentity})
		known := make(map[key]struct{})
		for b, err := range r.own.Traces(ctx, s, ids, hint, need) {
			if err != nil {
				yield(nil, err)
				return
			}
			for row := range b.Len() {
				known[r.key(b, row)] = struct{}{}
			}
			if !yield(b, nil) {
				return
			}
		}
		for b, err := range r.other.Traces(ctx, s, ids, hint, need) {
			if err != nil {
				yield(nil, r.away(ctx, err))
				return
			}
			b.Keep(func(row int) bool { _, copied := known[r.key(b, row)]; return !copied })
			if b.Len() > 0 && !yield(b, nil) {
				return
			}
		}
	}
}

// Scan yields the engine's rows, then the others, copies too.
func (r *Reader) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		for rows, err := range r.own.Scan(ctx, s, q) {
			if !yield(rows, err) || err != nil {
				return
			}
		}
		for rows, err := range r.other.Scan(ctx, s, q) {
			if err != nil {
				err = r.away(ctx, err)
			}
			if !yield(rows, err) || err != nil {
				return
			}
		}
	}
}

// lists asks both parts for a list.
func lists[T any](r *Reader, ask func(p Part) (T, store.Done, error), add func(T)) (store.Done, error) {
	done := store.Done{Complete: true}
	if err := merge.Ask(&done, add, func() (T, store.Done, error) { return ask(r.own) }); err != nil {
		return done, err
	}
	if err := merge.Ask(&done, add, func() (T, store.Done, error) { return ask(r.other) }); err != nil {
		r.missing(&done, err)
	}
	return done, nil
}

// Services implements store.Reader.
func (r *Reader) Services(ctx context.Context, s store.Scope, tr store.TimeRange) ([]store.Service, store.Done, error) {
	all := make(answer.ServiceCounts)
	done, err := lists(r, func(p Part) ([]store.Service, store.Done, error) { return p.Services(ctx, s, tr) }, all.Merge)
	return all.List(), done, err
}

// Operations implements store.Reader.
func (r *Reader) Operations(ctx context.Context, s store.Scope, service string, tr store.TimeRange) ([]store.Operation, store.Done, error) {
	counts := make(merge.Operations)
	done, err := lists(r, func(p Part) ([]store.Operation, store.Done, error) { return p.Operations(ctx, s, service, tr) }, counts.Add)
	return answer.Operations(counts), done, err
}

// Keys implements store.Reader.
func (r *Reader) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	total, done, err := r.CountKeys(ctx, s, q)
	list := merge.Keys(total, q.Limit, &done)
	return list, done, err
}

// CountKeys is Keys before the list is made.
func (r *Reader) CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error) {
	total := make(answer.KeyCounts)
	done, err := lists(r, func(p Part) (answer.KeyCounts, store.Done, error) { return p.CountKeys(ctx, s, q) }, total.Merge)
	return total, done, err
}

// Values implements store.Reader.
func (r *Reader) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	unbounded := q
	unbounded.Limit = 0
	counts := make(merge.Values)
	done, err := lists(r, func(p Part) ([]store.ValueCount, store.Done, error) { return p.Values(ctx, s, unbounded) }, counts.Add)
	list := counts.List(q.Limit, &done)
	return list, done, err
}

// Sightings lists those of both. Where the other store does not answer the look-up says so when it reads rows.
func (r *Reader) Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error) {
	found, err := r.own.Sightings(ctx, s, id)
	if err != nil {
		return nil, err
	}
	there, err := r.other.Sightings(ctx, s, id)
	if err != nil {
		r.log("look up a trace: "+r.name+" do not answer", err)
	}
	return append(found, there...), nil
}

// Rows yields the engine's rows, then the others but for copies. The engine's are read first, whole. Where the other store does not answer,
// the search that asks has said so by its list.
func (r *Reader) Rows(ctx context.Context, s store.Scope, ids []span.TraceID, need store.Need) iter.Seq2[[]answer.Row, error] {
	need = need.And(store.Need{Columns: store.ColIdentity})
	return r.rows(ctx, r.own.Rows(ctx, s, ids, need), r.other.Rows(ctx, s, ids, need))
}

func (r *Reader) rows(ctx context.Context, own, other iter.Seq2[[]answer.Row, error]) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		known := make(map[key]struct{})
		for rows, err := range own {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, x := range rows {
				known[r.key(x.Batch, x.Row)] = struct{}{}
			}
			if !yield(rows, nil) {
				return
			}
		}
		for rows, err := range other {
			if err != nil && ctx.Err() == nil {
				r.log("read traces: "+r.name+" do not answer", err)
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			rows = slices.DeleteFunc(rows, func(x answer.Row) bool { _, copied := known[r.key(x.Batch, x.Row)]; return copied })
			if len(rows) > 0 && !yield(rows, nil) {
				return
			}
		}
	}
}
