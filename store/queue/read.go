package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/merge"
)

// view is what is there at one moment: each row once, in the engine or in a tail.
type view struct {
	kind   string
	tails  []*mem.Engine // oldest first
	hidden int64         // spans that wait on the disk only
	engine Reader        // nil: not reached yet
	away   error         // then
}

func (q *Queue) view() (*view, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, answer.Closed()
	}
	v := &view{kind: q.o.Kind}
	for _, g := range q.gens {
		v.tails = append(v.tails, g.tails...)
		if g.hidden {
			v.hidden += int64(g.rows)
		}
	}
	if q.engine != nil {
		v.engine = q.engine.Pin()
	} else {
		v.away = q.away()
	}
	return v, nil
}

// retryable reports whether an engine's error says that it is away, so that what waits here is still an answer.
func retryable(err error) bool {
	p, ok := errors.AsType[*problem.Problem](err)
	return ok && p.Kind.Retryable()
}

// lost is an engine's error with its name, as it comes behind the rows of others.
func (v *view) lost(err error) error {
	p := problem.Of(err)
	return &problem.Problem{Kind: p.Kind, Message: v.kind + " does not answer in full", RetryAfter: p.RetryAfter, Err: err}
}

// partial says of an answer what is missing in it: what waits on the disk, or all that the engine has. The other errors stay errors.
func (v *view) partial(d store.Done, err error) (store.Done, error) {
	switch {
	case err != nil && retryable(err):
		d.Complete, d.Away = false, true
		d.Reason = fmt.Sprintf("%s does not answer: only spans that wait in this process's queue are shown (%v)", v.kind, err)
		return d, nil
	case err != nil:
		return d, err
	case v.hidden > 0 && d.Complete:
		d.Complete, d.Away, d.Reason = false, true, v.waiting()
	}
	return d, nil
}

// waitingRetry is what is told of spans that wait: they are sent in order.
const waitingRetry = 10 * time.Second

// waiting says what cannot be read.
func (v *view) waiting() string {
	return fmt.Sprintf("%d spans wait in this process's queue on the disk until %s takes them", v.hidden, v.kind)
}

// both asks the engine and then each tail. The engine's error comes last where it may be away, at once otherwise; so does that some spans cannot
// be read before they are sent.
func both[T any](v *view, engine func(Reader) iter.Seq2[T, error], tail func(*mem.Engine) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		away := v.away
		var none T
		if v.engine != nil {
			for x, err := range engine(v.engine) {
				if err != nil && retryable(err) {
					away = v.lost(err)
					break
				}
				if !yield(x, err) || err != nil {
					return
				}
			}
		}
		for _, t := range v.tails {
			for x, err := range tail(t) {
				if !yield(x, err) || err != nil {
					return
				}
			}
		}
		if away == nil && v.hidden > 0 {
			away = &problem.Problem{Kind: problem.Unavailable, Message: v.waiting(), RetryAfter: waitingRetry}
		}
		if away != nil {
			yield(none, away)
		}
	}
}

// fail is an answer that is an error.
func fail[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// Trace yields the engine's rows, then those that wait. Which twins belong to the trace is decided over all of them. Where the engine is
// away its error comes after the rows that wait.
func (q *Queue) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	v, err := q.view()
	if err != nil {
		return fail[*span.Batch](err)
	}
	var found []answer.Sighting
	for _, t := range v.tails {
		here, err := t.Sightings(ctx, s, id)
		if err != nil {
			return fail[*span.Batch](err)
		}
		found = append(found, here...)
	}
	if len(found) == 0 && v.engine != nil {
		v.tails = nil
		return both(v, func(e Reader) iter.Seq2[*span.Batch, error] { return e.Trace(ctx, s, id, hint) }, nil)
	}
	if v.engine != nil {
		there, err := v.engine.Sightings(ctx, s, id)
		switch {
		case err != nil && !retryable(err):
			return fail[*span.Batch](err)
		case err != nil:
			v.engine, v.away = nil, v.lost(err)
		}
		found = append(found, there...)
	}
	return v.traces(ctx, s, merge.Family(found, id), store.TimeRange{}, store.Everything())
}

// Traces yields the engine's rows, then those that wait.
func (q *Queue) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	v, err := q.view()
	if err != nil {
		return fail[*span.Batch](err)
	}
	return v.traces(ctx, s, ids, hint, need)
}

func (v *view) traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return both(v, func(e Reader) iter.Seq2[*span.Batch, error] { return e.Traces(ctx, s, ids, hint, need) },
		func(t *mem.Engine) iter.Seq2[*span.Batch, error] { return t.Traces(ctx, s, ids, hint, need) })
}

// Scan yields the engine's rows, then those that wait.
func (q *Queue) Scan(ctx context.Context, s store.Scope, plan *store.Scan) iter.Seq2[store.Rows, error] {
	v, err := q.view()
	if err != nil {
		return fail[store.Rows](err)
	}
	return both(v, func(e Reader) iter.Seq2[store.Rows, error] { return e.Scan(ctx, s, plan) },
		func(t *mem.Engine) iter.Seq2[store.Rows, error] { return t.Scan(ctx, s, plan) })
}

// lists asks every part for a list and says how complete all of it is.
func lists[T any](v *view, ask func(r Reader) (T, store.Done, error), add func(T)) (store.Done, error) {
	done := store.Done{Complete: true}
	one := func(r Reader) error {
		return merge.Ask(&done, add, func() (T, store.Done, error) { return ask(r) })
	}
	for _, t := range v.tails {
		if err := one(t); err != nil {
			return done, err
		}
	}
	err := v.away
	if v.engine != nil {
		err = one(v.engine)
	}
	return v.partial(done, err)
}

// Services implements store.Reader.
func (q *Queue) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	v, err := q.view()
	if err != nil {
		return nil, store.Done{}, err
	}
	all := make(answer.ServiceCounts)
	done, err := lists(v, func(e Reader) ([]store.Service, store.Done, error) { return e.Services(ctx, s, r) }, all.Merge)
	return all.List(), done, err
}

// Operations implements store.Reader.
func (q *Queue) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	v, err := q.view()
	if err != nil {
		return nil, store.Done{}, err
	}
	counts := make(merge.Operations)
	done, err := lists(v, func(e Reader) ([]store.Operation, store.Done, error) { return e.Operations(ctx, s, service, r) }, counts.Add)
	return answer.Operations(counts), done, err
}

// Keys implements store.Reader.
func (q *Queue) Keys(ctx context.Context, s store.Scope, kq store.KeysQuery) ([]store.Key, store.Done, error) {
	v, err := q.view()
	if err != nil {
		return nil, store.Done{}, err
	}
	total := make(answer.KeyCounts)
	done, err := lists(v, func(e Reader) (answer.KeyCounts, store.Done, error) { return e.CountKeys(ctx, s, kq) }, total.Merge)
	list := merge.Keys(total, kq.Limit, &done)
	return list, done, err
}

// Values implements store.Reader. Every part answers all its values: the most frequent ones of all need not be those of a part.
func (q *Queue) Values(ctx context.Context, s store.Scope, vq store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	v, err := q.view()
	if err != nil {
		return nil, store.Done{}, err
	}
	all := vq
	all.Limit = 0
	counts := make(merge.Values)
	done, err := lists(v, func(e Reader) ([]store.ValueCount, store.Done, error) { return e.Values(ctx, s, all) }, counts.Add)
	list := counts.List(vq.Limit, &done)
	return list, done, err
}
