package mem

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// batchRows is how many rows Trace yields at once.
const batchRows = 4096

// Trace yields a trace and its twins. hint is ignored: the look-up costs nothing that it could save.
// Cost: one look-up and a copy of the trace's rows.
func (e *Engine) Trace(ctx context.Context, s store.Scope, id span.TraceID, _ store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		rows, err := e.traceRows(s, id)
		if err != nil {
			yield(nil, err)
			return
		}
		prog, err := match.Compile(s.MustMatch)
		if err != nil {
			yield(nil, err)
			return
		}
		for len(rows) > 0 {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			n := min(len(rows), batchRows)
			if b := copyRows(rows[:n], prog); b.Len() > 0 && !yield(b, nil) {
				return
			}
			rows = rows[n:]
		}
	}
}

// Traces copies the rows of several traces, all columns of them: what a Need leaves out would save nothing here.
func (e *Engine) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, _ store.TimeRange, _ store.Need) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		prog, err := match.Compile(s.MustMatch)
		if err == nil {
			err = checkTenant(s.Tenant)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ids := slices.Clone(ids)
		slices.SortFunc(ids, func(a, b span.TraceID) int { return bytes.Compare(a[:], b[:]) })
		ids = slices.Compact(ids)
		e.mu.Lock()
		closed := e.closed
		e.mu.Unlock()
		if closed {
			yield(nil, answer.Closed())
			return
		}
		refs, all := e.heads(nil, ids)
		var rows []location
		for i, last := range refs {
			rows = all.rows(rows, last, all.end())
			for len(rows) >= batchRows || i == len(refs)-1 && len(rows) > 0 {
				if err := ctx.Err(); err != nil {
					yield(nil, err)
					return
				}
				n := min(len(rows), batchRows)
				if b := copyRows(rows[:n], prog); b.Len() > 0 && !yield(b, nil) {
					return
				}
				rows = rows[n:]
			}
		}
	}
}

// traceRows finds the rows of a trace and of its twins within an hour of it.
func (e *Engine) traceRows(s store.Scope, id span.TraceID) ([]location, error) {
	found, traces, err := e.sightings(s, id)
	if err != nil {
		return nil, err
	}
	var rows []location
	for _, place := range answer.Family(found, id) {
		rows = append(rows, traces[place]...)
	}
	return rows, nil
}

// Sightings lists a trace and all its twins, however far from it, with their first starts.
func (e *Engine) Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found, _, err := e.sightings(s, id)
	return found, err
}

func (e *Engine) sightings(s store.Scope, id span.TraceID) (found []answer.Sighting, traces [][]location, err error) {
	if err := checkTenant(s.Tenant); err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, nil, answer.Closed()
	}
	ids := e.traces.twins([]span.TraceID{id}, id)
	var refs []ref
	for _, id := range ids {
		refs = append(refs, e.traces.heads[id].last)
	}
	all := e.snapshot()
	e.mu.Unlock()
	for i, last := range refs {
		if rows := all.rows(nil, last, all.end()); len(rows) > 0 {
			traces, found = append(traces, rows), append(found, answer.Sighting{ID: ids[i], Start: firstStart(rows)})
		}
	}
	return found, traces, nil
}

// Rows yields the rows of traces with the receipt of each, a trace a step, whatever the scope's predicate says of them; in the order they
// were received. The batches are views of the chunks: nothing is copied.
func (e *Engine) Rows(_ context.Context, s store.Scope, ids []span.TraceID, _ store.Need) iter.Seq2[[]answer.Row, error] {
	return func(yield func([]answer.Row, error) bool) {
		if err := checkTenant(s.Tenant); err != nil {
			yield(nil, err)
			return
		}
		refs, all := e.heads(nil, ids)
		for _, last := range refs {
			var rows []answer.Row
			for _, l := range all.rows(nil, last, all.end()) {
				rows = append(rows, answer.Row{Batch: &l.chunk.batch, Row: l.row, Received: l.chunk.received(l.row)})
			}
			if len(rows) > 0 && !yield(rows, nil) {
				return
			}
		}
	}
}

// Has reports whether a trace has rows here.
func (e *Engine) Has(id span.TraceID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.traces.heads[id].last != 0
}

// firstStart is the earliest start of rows; 0 if there are none.
func firstStart(rows []location) (first int64) {
	for i, l := range rows {
		if t := l.chunk.batch.Time[l.row]; i == 0 || t < first {
			first = t
		}
	}
	return first
}

// copyRows makes a batch of the rows that a program holds for.
func copyRows(rows []location, prog *match.Program) *span.Batch {
	out := &span.Batch{Tenant: store.DefaultTenant}
	shapeOfRows(rows).resize(out)
	copier := span.NewCopier(out)
	var from *chunk
	var bound *match.Bound
	for _, l := range rows {
		if l.chunk != from {
			from = l.chunk
			copier.Begin(&from.batch)
			if !prog.Always() {
				bound = prog.Bind(&from.batch)
			}
		}
		if bound != nil && !bound.Row(l.row) {
			continue
		}
		copier.Row(l.row)
		out.Received = max(out.Received, from.received(l.row))
	}
	return out
}

// shapeOfRows is about the room that a copy of rows needs. Keys, resources and the length of strings are guessed.
func shapeOfRows(rows []location) shape {
	s := shape{rows: len(rows), keys: 48, resources: min(len(rows), 32), scopes: 4}
	for _, l := range rows {
		b := &l.chunk.batch
		s.attrs += int(b.SpanAttrs[l.row].Len)
		s.events += int(b.SpanEvents[l.row].Len)
		s.links += int(b.SpanLinks[l.row].Len)
		for _, e := range b.EventsOf(l.row) {
			s.attrs += int(e.Attrs.Len)
		}
		for _, k := range b.LinksOf(l.row) {
			s.attrs += int(k.Attrs.Len)
		}
	}
	s.attrs += 8 * s.resources
	s.arena = 30 * (s.attrs + s.keys + 4*s.rows)
	return s
}
