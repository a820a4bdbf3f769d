package storetest

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// asked counts the questions that an engine is asked, for the table of `make conformance`.
type asked struct {
	store.Engine
	n *atomic.Int64
}

// The attributes that tests carry in the output of `go test -json`: the case of the suite that a test is, and its questions.
const (
	AttrCase      = "conformance"
	AttrQuestions = "questions"
)

// plain is the engine as it was opened.
func plain(e store.Engine) store.Engine {
	if a, ok := e.(asked); ok {
		return a.Engine
	}
	return e
}

func (a asked) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	a.n.Add(1)
	return a.Engine.Trace(ctx, s, id, hint)
}

func (a asked) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	a.n.Add(1)
	return a.Engine.Traces(ctx, s, ids, hint, need)
}

func (a asked) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	a.n.Add(1)
	return a.Engine.Search(ctx, s, q)
}

func (a asked) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	a.n.Add(1)
	return a.Engine.Scan(ctx, s, q)
}

func (a asked) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	a.n.Add(1)
	return a.Engine.Services(ctx, s, r)
}

func (a asked) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	a.n.Add(1)
	return a.Engine.Operations(ctx, s, service, r)
}

func (a asked) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	a.n.Add(1)
	return a.Engine.Keys(ctx, s, q)
}

func (a asked) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	a.n.Add(1)
	return a.Engine.Values(ctx, s, q)
}

func (a asked) Load(ctx context.Context, s store.Scope, name string) (store.Document, error) {
	a.n.Add(1)
	return a.Engine.Load(ctx, s, name)
}

func (a asked) Names(ctx context.Context, s store.Scope, prefix string) ([]string, error) {
	a.n.Add(1)
	return a.Engine.Names(ctx, s, prefix)
}
