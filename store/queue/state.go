package queue

import (
	"context"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Small state and kept traces are the engine's.

// reached is the engine, or the problem that it is away.
func (q *Queue) reached() (Engine, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, answer.Closed()
	}
	if q.engine == nil {
		return nil, q.away()
	}
	return q.engine, nil
}

// away is the problem of an engine that was not reached yet. mu is held.
func (q *Queue) away() error {
	return problem.New(problem.Unavailable, q.o.Kind+" was not reached yet", q.counts.lastError)
}

// Keep sends what waits of the trace first, so that the engine keeps all of it.
func (q *Queue) Keep(ctx context.Context, s store.Scope, id span.TraceID, until int64) error {
	e, err := q.reached()
	if err != nil {
		return err
	}
	if e.Can().Keep {
		if err := q.Flush(ctx); err != nil {
			return err
		}
	}
	return e.Keep(ctx, s, id, until)
}

// Load implements store.Meta.
func (q *Queue) Load(ctx context.Context, s store.Scope, name string) (store.Document, error) {
	e, err := q.reached()
	if err != nil {
		return store.Document{}, err
	}
	return e.Load(ctx, s, name)
}

// Save implements store.Meta.
func (q *Queue) Save(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) (uint64, error) {
	e, err := q.reached()
	if err != nil {
		return 0, err
	}
	return e.Save(ctx, s, name, data, ifVersion)
}

// Names implements store.Meta.
func (q *Queue) Names(ctx context.Context, s store.Scope, prefix string) ([]string, error) {
	e, err := q.reached()
	if err != nil {
		return nil, err
	}
	return e.Names(ctx, s, prefix)
}

// Delete implements store.Meta.
func (q *Queue) Delete(ctx context.Context, s store.Scope, name string) error {
	e, err := q.reached()
	if err != nil {
		return err
	}
	return e.Delete(ctx, s, name)
}
