package jaegerapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// twinDistance is how far apart a trace and its 64- or 128-bit twin may start: hints are widened by it.
const twinDistance = int64(time.Hour)

// search answers GET /api/traces: whole traces in which a span meets the parameters, newest first, or the traces of given
// ids. Traces are read and written one by one. What could not be read stands in the envelope's errors.
func (a *api) search(c *call) error {
	q, err := parseSearch(c.params, a.Query.Now(), a.DefaultLookback)
	if err != nil {
		return err
	}
	w := traceWriter{out: c.out, raw: q.raw}
	if len(q.ids) > 0 {
		return a.tracesByID(c, &w, q.ids)
	}
	page, err := a.Query.Search(c.Context(), c.scope, &store.Search{Range: q.window, Mode: store.Start, Match: q.match(), Limit: q.limit})
	if err != nil {
		return err
	}
	c.out.partial(page.Complete, page.Reason)
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	var failures []failure
	shown := make(map[span.TraceID]bool) // twins that stood in another one's trace
	for i := range page.Traces {
		s := &page.Traces[i]
		if shown[s.TraceID] {
			continue
		}
		t, err := a.Query.Trace(c.Context(), c.scope, s.TraceID, around(store.TimeRange{From: s.Start, To: s.End}))
		switch {
		case err == nil:
			noteTwins(shown, t)
			if !w.next(t) {
				return nil // the client is gone
			}
		case c.Context().Err() != nil:
			return c.Context().Err()
		case problem.Of(err).Kind == problem.NotFound: // evicted since the search
		case w.written == 0 && len(page.Traces) == 1:
			return err
		default:
			failures = append(failures, a.failed(c, s.TraceID, err))
		}
	}
	if w.written == 0 && len(failures) > 0 {
		return errors.New(failures[0].message)
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, failures)
	return nil
}

// tracesByID answers the traces of given ids in their order.
func (a *api) tracesByID(c *call, w *traceWriter, ids []span.TraceID) error {
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	var failures []failure
	for _, id := range ids {
		t, err := a.Query.Trace(c.Context(), c.scope, id, store.TimeRange{})
		switch {
		case err == nil:
			if !w.next(t) {
				return nil
			}
		case c.Context().Err() != nil:
			return c.Context().Err()
		case problem.Of(err).Kind == problem.NotFound:
			failures = append(failures, failure{message: errTraceNotFound.Message, trace: id})
		case len(ids) == 1:
			return err
		default:
			failures = append(failures, a.failed(c, id, err))
		}
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, failures)
	return nil
}

// failed turns an error about one of several traces into an entry of the envelope.
func (a *api) failed(c *call, id span.TraceID, err error) failure {
	p := problem.Of(err)
	if p.Kind == problem.Internal {
		a.Log.ErrorContext(c.Context(), "jaeger api", "trace", id, "error", err)
	}
	return failure{code: p.Kind.HTTPStatus(), message: p.Error(), trace: id}
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
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	w := traceWriter{out: c.out, raw: raw}
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
	switch {
	case hasStart && hasEnd && end < start:
		return store.TimeRange{}, invalid("leave both out", "'end' %s is before 'start' %s", c.params.Get("end"), c.params.Get("start"))
	case hasStart && hasEnd:
		return around(store.TimeRange{From: start, To: after(end)}), nil
	case hasStart:
		r := around(store.TimeRange{From: start, To: math.MaxInt64})
		r.To = 0
		return r, nil
	case hasEnd:
		return around(store.TimeRange{From: math.MinInt64, To: after(end)}), nil
	default:
		return store.TimeRange{}, nil
	}
}

func orTraceNotFound(err error) error {
	if problem.Of(err).Kind == problem.NotFound {
		return errTraceNotFound
	}
	return err
}

// archive answers POST /api/archive/{traceID}: the trace is kept for ever. Of a trace that has spans under the 64- and the
// 128-bit form of its id both are kept.
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
	t, err := a.Query.Trace(c.Context(), c.scope, id, store.TimeRange{})
	if err != nil {
		return orTraceNotFound(err)
	}
	ids := make(map[span.TraceID]bool)
	noteTwins(ids, t)
	for id := range ids {
		if err := a.Query.Keep(c.Context(), c.scope, id, 0); err != nil {
			return orTraceNotFound(fmt.Errorf("archive trace %s: %w", id, err))
		}
	}
	c.out.open()
	c.out.buf = append(c.out.buf, "[]"...)
	c.out.end(0, nil)
	return nil
}

var _ http.Handler = (*api)(nil)
