package storetest

import (
	"context"
	"iter"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Behind is an engine whose traces and scans end in an error behind their rows, as those of an engine do of which a part is away.
type Behind struct {
	store.Engine
	Err error
}

// Trace implements store.Reader.
func (b Behind) Trace(ctx context.Context, s store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	return thenError(b.Engine.Trace(ctx, s, id, hint), b.Err)
}

// Traces implements store.Reader.
func (b Behind) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return thenError(b.Engine.Traces(ctx, s, ids, hint, need), b.Err)
}

// Scan implements store.Reader.
func (b Behind) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return thenError(b.Engine.Scan(ctx, s, q), b.Err)
}

func thenError[T any](rows iter.Seq2[T, error], last error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for r, err := range rows {
			if !yield(r, err) || err != nil {
				return
			}
		}
		var none T
		yield(none, last)
	}
}
