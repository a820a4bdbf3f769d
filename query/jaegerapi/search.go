package jaegerapi

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// twinDistance is how far apart a trace and its 64- or 128-bit twin may start: hints are widened by it.
const twinDistance = int64(time.Hour)

// search answers GET /api/traces: whole traces in which a span meets the parameters, newest first, or the traces of given
// ids.
func (a *api) search(c *call) error {
	q, err := parseSearch(c.params, a.Query.Now(), a.DefaultLookback)
	if err != nil {
		return err
	}
	w := traceWriter{out: c.out, reading: reading{raw: q.raw}}
	if len(q.ids) > 0 {
		return a.tracesByID(c, &w, q.ids)
	}
	page, err := a.find(c.Context(), c.scope, &q)
	if err != nil {
		return err
	}
	c.out.partial(page.Complete, page.Reason)
	shown := make(map[span.TraceID]bool) // ids of written traces; of a joined one both forms
	return a.traces(c, &w, func(yield func(span.TraceID, store.TimeRange) bool) {
		for i := range page.Traces {
			s := &page.Traces[i]
			if !shown[s.TraceID] && !yield(s.TraceID, around(store.TimeRange{From: s.Start, To: s.End})) {
				return
			}
			if w.t != nil {
				noteTwins(shown, w.t)
			}
		}
	}, nil)
}

// tracesByID answers the traces of given ids in their order.
func (a *api) tracesByID(c *call, w *traceWriter, ids []span.TraceID) error {
	return a.traces(c, w, func(yield func(span.TraceID, store.TimeRange) bool) {
		for _, id := range ids {
			if !yield(id, store.TimeRange{}) {
				return
			}
		}
	}, func(id span.TraceID) failure { return failure{message: errTraceNotFound.Message, trace: id} })
}

// traces writes an envelope with traces, one by one. Those that could not be read stand in its errors; if that is all of
// them, the first error is the answer. Those that are not here do too if missing makes an entry of them; the traces of a
// search may have been evicted since and are left out.
func (a *api) traces(c *call, w *traceWriter, ids iter.Seq2[span.TraceID, store.TimeRange], missing func(span.TraceID) failure) error {
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	var failures []failure
	var first error
	for id, hint := range ids {
		t, err := a.Query.Trace(c.Context(), c.scope, id, hint)
		if err == nil {
			c.out.partial(t.Complete, t.Reason) // where nothing was sent yet; its warnings say it too
			there := w.next(t)
			t.Release()
			if !there {
				return nil
			}
			continue
		}
		if c.Context().Err() != nil {
			return c.Context().Err()
		}
		p := problem.Of(err)
		switch {
		case p.Kind != problem.NotFound:
			if first == nil {
				first = err
			}
			failures = append(failures, failure{p.Kind.HTTPStatus(), p.Error(), id})
		case missing != nil:
			failures = append(failures, missing(id))
		}
	}
	if first != nil && w.written == 0 {
		return first
	}
	if first != nil {
		a.Log.ErrorContext(c.Context(), "jaeger api: some traces could not be read", "path", c.URL.Path, "error", first)
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, failures)
	return nil
}

// noteTwins notes the ids of a trace that was joined from two.
func noteTwins(ids map[span.TraceID]bool, t *query.Trace) {
	for i := range t.Rows {
		if r := &t.Rows[i]; r.Span >= 0 && t.Batch.TraceID[r.Span] != t.ID {
			ids[t.Batch.TraceID[r.Span]] = true
		}
	}
	ids[t.ID] = true
}

// around widens a range so that a look-up by it finds late spans and twins too.
func around(r store.TimeRange) store.TimeRange {
	if r.From > math.MinInt64+twinDistance {
		r.From -= twinDistance
	}
	if r.To = max(r.To, 1); r.To < math.MaxInt64-twinDistance {
		r.To += twinDistance
	}
	return r
}

// trace answers GET /api/traces/{traceID}.
func (a *api) trace(c *call) error {
	id, err := parseTraceID(c.segment)
	if err != nil {
		return err
	}
	raw, err := parseBool(c.params, "raw")
	if err != nil {
		return err
	}
	hint, err := parseHint(c)
	if err != nil {
		return err
	}
	t, err := a.Query.Trace(c.Context(), c.scope, id, hint)
	if err != nil {
		return orTraceNotFound(err)
	}
	c.out.partial(t.Complete, t.Reason)
	w := traceWriter{out: c.out, reading: reading{raw: raw}}
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	if !w.next(t) {
		return nil
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, nil)
	return nil
}

// parseHint reads the range that may narrow a look-up by id.
func parseHint(c *call) (store.TimeRange, error) {
	start, hasStart, err := parseInstant(c.params, "start")
	if err != nil {
		return store.TimeRange{}, err
	}
	end, hasEnd, err := parseInstant(c.params, "end")
	if err != nil {
		return store.TimeRange{}, err
	}
	if hasStart && hasEnd && end < start {
		return store.TimeRange{}, invalid("leave both out", "'end' %s is before 'start' %s", c.params.Get("end"), c.params.Get("start"))
	}
	return hintOf(start, hasStart, end, hasEnd), nil
}

// hintOf makes the range of a look-up by id of what is given of one.
func hintOf(start int64, hasStart bool, end int64, hasEnd bool) store.TimeRange {
	switch {
	case hasStart && hasEnd:
		return around(store.TimeRange{From: start, To: after(end)})
	case hasStart:
		r := around(store.TimeRange{From: start, To: math.MaxInt64})
		r.To = 0
		return r
	case hasEnd:
		return around(store.TimeRange{From: math.MinInt64, To: after(end)})
	default:
		return store.TimeRange{}
	}
}

func orTraceNotFound(err error) error {
	if problem.Of(err).Kind == problem.NotFound {
		return errTraceNotFound
	}
	return err
}

// archive answers POST /api/archive/{traceID}.
func (a *api) archive(c *call) error {
	if err := a.checkOrigin(c.Request); err != nil {
		return err
	}
	id, err := parseTraceID(c.segment)
	if err != nil {
		return err
	}
	if _, err := parseHint(c); err != nil {
		return err
	}
	if err := a.keep(c.Context(), c.scope, id); err != nil {
		return err
	}
	c.out.open()
	c.out.buf = append(c.out.buf, "[]"...)
	c.out.end(0, nil)
	return nil
}

// keep keeps a trace for ever. Of one that has spans under the 64- and the 128-bit form of its id both are kept.
func (a *api) keep(ctx context.Context, s store.Scope, id span.TraceID) error {
	t, err := a.Query.Trace(ctx, s, id, store.TimeRange{})
	if err != nil {
		return orTraceNotFound(err)
	}
	ids := make(map[span.TraceID]bool)
	noteTwins(ids, t)
	for id := range ids {
		if err := a.Query.Keep(ctx, s, id, 0); err != nil {
			return orTraceNotFound(fmt.Errorf("archive trace %s: %w", id, err))
		}
	}
	return nil
}

// find answers a page of a search.
func (a *api) find(ctx context.Context, s store.Scope, q *searchQuery) (*store.Page, error) {
	return a.Query.Search(ctx, s, &store.Search{Range: q.window, Mode: store.Start, Match: q.match(), Limit: q.limit})
}

// eachFound reads the traces of a page, one by one, until each answers false. Those that are gone since are left out. Those that
// could not be read are left out too, with a note in the page; if that is all of them, the first error is the answer.
func (a *api) eachFound(ctx context.Context, s store.Scope, page *store.Page, each func(*query.Trace) bool) error {
	shown := make(map[span.TraceID]bool) // ids of traces that were given; of a joined one both forms
	var first error
	for i := range page.Traces {
		found := &page.Traces[i]
		if shown[found.TraceID] {
			continue
		}
		t, err := a.Query.Trace(ctx, s, found.TraceID, around(store.TimeRange{From: found.Start, To: found.End}))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if problem.Of(err).Kind != problem.NotFound && first == nil {
				first = err
			}
			continue
		}
		noteTwins(shown, t)
		if page.Complete && !t.Complete {
			page.Complete, page.Reason, page.Away = false, t.Reason, t.Away
		}
		more := each(t)
		t.Release()
		if !more {
			return nil
		}
	}
	if first == nil {
		return nil
	}
	if len(shown) == 0 {
		return first
	}
	page.Complete, page.Reason = false, "some traces could not be read: "+problem.Of(first).Message
	a.Log.ErrorContext(ctx, "jaeger api: some traces could not be read", "error", first)
	return nil
}
