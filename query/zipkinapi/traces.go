package zipkinapi

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	// twinDistance is how far apart a trace and its 64- or 128-bit twin may start: look-ups are widened by it.
	twinDistance = int64(time.Hour)
	// A search with several conditions reads traces that may turn out not to match. It gives up after so many for each that
	// it is asked for, but not before triedAtLeast.
	triedPerTrace = 20
	triedAtLeast  = 1000
	searchTime    = 20 * time.Second
)

// traceWriter writes traces as lists of spans.
type traceWriter struct {
	out     *answer
	encoder zipkin.Encoder
	written int
}

// next writes a trace as the next element of a list. It reports whether the client is still there.
func (w *traceWriter) next(t *query.Trace) bool {
	if w.written++; w.written > 1 {
		w.out.buf = append(w.out.buf, ',')
	}
	return w.list(t)
}

// list writes a trace's spans in the order of its tree. Copies are left out; ids, parents and times are those that were sent.
func (w *traceWriter) list(t *query.Trace) bool {
	nameNameless(t)
	w.out.buf = append(w.out.buf, '[')
	n := 0
	for i := range t.Rows {
		row := int(t.Rows[i].Span)
		if row < 0 {
			continue
		}
		if n++; n > 1 {
			w.out.buf = append(w.out.buf, ',')
		}
		w.out.buf = w.encoder.AppendJSONv2(w.out.buf, t.Batch, row)
		if !w.out.spill() {
			return false
		}
	}
	w.out.buf = append(w.out.buf, ']')
	return w.out.spill()
}

// nameNameless gives spans without a name the one that every API shows. The trace is ours alone.
func nameNameless(t *query.Trace) {
	b := t.Batch
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Span >= 0 && r.Flags&query.FlagNameDerived != 0 && b.Name[r.Span].Len == 0 {
			b.Name[r.Span] = b.AddText(t.Names[r.Name])
		}
	}
}

// search answers GET /api/v2/traces.
func (a *api) search(c *call) error {
	q, err := parseSearch(c.params, a.Query.Now())
	if err != nil {
		return err
	}
	c.out.buf = append(c.out.buf, '[')
	var services []string
	if q.service != "" {
		if services, _, err = a.servicesNamed(c, q.service); err != nil {
			return err
		}
	}
	if q.service == "" || len(services) > 0 {
		if err := a.writeMatches(c, &q, services); err != nil {
			return err
		}
	}
	c.out.buf = append(c.out.buf, ']')
	return nil
}

// writeMatches writes the newest traces that meet a query.
func (a *api) writeMatches(c *call, q *traceQuery, services []string) (err error) {
	w := traceWriter{out: c.out}
	begun, tried := a.Query.Now(), 0
	shown := make(map[span.TraceID]bool) // ids of traces that were read; of a joined one both forms
	var first error                      // of a trace that could not be read
	defer func() {
		if first != nil && err == nil {
			err = a.left(c, &w, first)
		}
	}()
	plan := store.Search{Range: q.window, Mode: store.Start, Match: q.candidates(services), Limit: q.limit}
	for {
		page, err := a.Query.Search(c.Context(), c.scope, &plan)
		if err != nil {
			return err
		}
		c.out.partial(page.Complete, page.Reason)
		for i := range page.Traces {
			s := &page.Traces[i]
			if shown[s.TraceID] {
				continue
			}
			t, err := a.Query.Trace(c.Context(), c.scope, s.TraceID, around(s.Start, s.End))
			if err != nil {
				if c.Context().Err() != nil {
					return c.Context().Err()
				}
				if problem.Of(err).Kind != problem.NotFound && first == nil { // else evicted since
					first = err
				}
				continue
			}
			tried++
			noteTwins(shown, t)
			there := true
			nameNameless(t)
			if q.matches(&w.encoder, t) {
				c.out.partial(t.Complete, t.Reason) // where nothing was sent yet
				there = w.next(t)
			}
			t.Release()
			if !there || w.written == q.limit {
				return nil
			}
		}
		if page.Next == "" || !page.Complete {
			return nil
		}
		if tried >= max(triedAtLeast, triedPerTrace*q.limit) || a.Query.Now().Sub(begun) > searchTime {
			c.out.partial(false, fmt.Sprintf("stopped after %d traces that met a part of the conditions", tried))
			return nil
		}
		plan.Page = page.Next
	}
}

// left says that traces were left out because they could not be read. If nothing was written, that is the answer.
func (a *api) left(c *call, w *traceWriter, first error) error {
	if w.written == 0 {
		return first
	}
	a.Log.ErrorContext(c.Context(), "zipkin api: some traces could not be read", "path", c.URL.Path, "error", first)
	c.out.partial(false, "some traces could not be read: "+problem.Of(first).Message) // where nothing was sent yet
	return nil
}

// noteTwins notes the ids of a trace; two where it was joined from the 64- and the 128-bit form of its id.
func noteTwins(ids map[span.TraceID]bool, t *query.Trace) {
	ids[t.ID] = true
	for i := range t.Rows {
		if r := &t.Rows[i]; r.Span >= 0 {
			ids[t.Batch.TraceID[r.Span]] = true
		}
	}
}

// around is the range in which the spans of a trace and of its twin are looked up.
func around(start, end int64) store.TimeRange {
	r := store.TimeRange{From: start, To: max(end, 1)}
	if r.From > math.MinInt64+twinDistance {
		r.From -= twinDistance
	}
	if r.To < math.MaxInt64-twinDistance {
		r.To += twinDistance
	}
	return r
}

// trace answers GET /api/v2/trace/{traceId}.
func (a *api) trace(c *call) error {
	id, err := parseTraceID(c.URL.Path[strings.LastIndexByte(c.URL.Path, '/')+1:])
	if err != nil {
		return err
	}
	t, err := a.Query.Trace(c.Context(), c.scope, id, store.TimeRange{})
	if err != nil {
		if problem.Of(err).Kind == problem.NotFound {
			return problem.New(problem.NotFound, shortID(id)+" not found", "")
		}
		return err
	}
	c.out.partial(t.Complete, t.Reason)
	(&traceWriter{out: c.out}).list(t)
	return nil
}

// traceMany answers GET /api/v2/traceMany?traceIds=a,b: those of the traces that are here.
func (a *api) traceMany(c *call) error {
	text, err := required(c.params, "traceIds")
	if err != nil {
		return err
	}
	if text == "" {
		return invalid("traceIds parameter is empty")
	}
	parts := strings.Split(text, ",")
	if len(parts) > maxTraceIDs {
		return invalid("traceIds has %d ids, more than %d", len(parts), maxTraceIDs)
	}
	ids, seen := make([]span.TraceID, 0, len(parts)), make(map[span.TraceID]bool)
	for _, part := range parts {
		id, err := parseTraceID(part)
		if err != nil {
			return err
		}
		if seen[id] {
			return invalid("redundant traceId: %s", part)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if len(ids) == 1 {
		return invalid("Use /api/v2/trace/{traceId} endpoint to retrieve a single trace")
	}
	w := traceWriter{out: c.out}
	c.out.buf = append(c.out.buf, '[')
	for _, id := range ids {
		t, err := a.Query.Trace(c.Context(), c.scope, id, store.TimeRange{})
		if err != nil {
			if problem.Of(err).Kind == problem.NotFound {
				continue
			}
			return err
		}
		c.out.partial(t.Complete, t.Reason) // where nothing was sent yet
		there := w.next(t)
		t.Release()
		if !there {
			return nil
		}
	}
	c.out.buf = append(c.out.buf, ']')
	return nil
}
