package traceql

import (
	"context"
	"iter"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// strictReader hands out what a Need names and nothing else, as an engine in columns does: what the program forgot to ask for is
// missing in its answer.
type strictReader struct{ store.Reader }

func (r strictReader) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, hint store.TimeRange, need store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		for b, err := range r.Reader.Traces(ctx, s, ids, hint, need) {
			if err == nil {
				b = strip(b, need)
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func (r strictReader) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		for rows, err := range r.Reader.Scan(ctx, s, q) {
			if err == nil {
				rows.Batch = strip(rows.Batch, q.Need)
			}
			if !yield(rows, err) {
				return
			}
		}
	}
}

func strip(b *span.Batch, need store.Need) *span.Batch {
	if need.All {
		return b
	}
	b = b.Clone()
	drop := func(c store.Columns, wipe func()) {
		if !need.Has(c) {
			wipe()
		}
	}
	drop(store.ColSpanID, func() { clear(b.SpanID) })
	drop(store.ColParent, func() { clear(b.Parent) })
	drop(store.ColName, func() { clear(b.Name) })
	drop(store.ColKind, func() { clear(b.Kind) })
	drop(store.ColStatus, func() { clear(b.Status) })
	drop(store.ColMark, func() { clear(b.Mark) })
	drop(store.ColTime, func() { clear(b.Start); clear(b.End); clear(b.Time) })
	drop(store.ColStatusMessage, func() { clear(b.StatusMessage) })
	drop(store.ColTraceState, func() { clear(b.TraceState) })
	drop(store.ColFlags, func() { clear(b.Flags) })
	drop(store.ColService, func() { clear(b.Service); clear(b.Group); clear(b.Namespace) })
	drop(store.ColEvents, func() { clear(b.SpanEvents) })
	drop(store.ColLinks, func() { clear(b.SpanLinks) })
	drop(store.ColScope, func() {
		for i := range b.Scopes {
			b.Scopes[i].Name, b.Scopes[i].Version = span.Str{}, span.Str{}
		}
	})
	keep := func(in store.FieldScope, r span.Range) span.Range {
		mark := b.AttrMark()
		for _, a := range slices.Clone(b.AttrsOf(r)) {
			key := string(b.Key(a))
			if slices.ContainsFunc(need.Fields, func(f store.Field) bool { return f.Key == key && (f.In == in || f.In == store.InAny) }) {
				b.Attrs = append(b.Attrs, a)
			}
		}
		return b.AttrsSince(mark)
	}
	for i := range b.SpanAttrs {
		b.SpanAttrs[i] = keep(store.InSpan, b.SpanAttrs[i])
	}
	for i := range b.Resources {
		b.Resources[i].Attrs = keep(store.InResource, b.Resources[i].Attrs)
	}
	for i := range b.Scopes {
		b.Scopes[i].Attrs = keep(store.InScope, b.Scopes[i].Attrs)
	}
	for i := range b.Events {
		b.Events[i].Attrs = keep(store.InEvent, b.Events[i].Attrs)
	}
	for i := range b.Links {
		b.Links[i].Attrs = keep(store.InLink, b.Links[i].Attrs)
	}
	return b
}
