package tempoapi

import (
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
)

// groupSpans bounds the spans of one ResourceSpans message: it must be in memory as a whole, because its length stands before it.
const groupSpans = 500

// serviceKey is the resource attribute that says which service a span is of.
const serviceKey = "service.name"

// unnamedService is shown where a span was stored without a service, which process prevents.
const unnamedService = "unknown"

// group is the spans of one ResourceSpans: of one resource and scope, which is all that Kiali reads of it, and of one service.
type group struct {
	groupKey
	rows []int32 // of the trace, in its order
}

type groupKey struct {
	resource, scope uint32
	service         span.Str // strings of an assembled trace are interned: equal ones are equal runs
}

// traceWriter writes an assembled trace in OTLP's two forms. Copies are left out, and ids occur once: where client and server
// share one, the server's span gets a new id and the client's becomes its parent.
type traceWriter struct {
	out    *answer
	t      *query.Trace
	b      *span.Batch
	ids    []span.SpanID // per row the id that is shown; nil: the rows' own
	groups []group
}

func newTraceWriter(out *answer, t *query.Trace) *traceWriter {
	w := &traceWriter{out: out, t: t, b: t.Batch, ids: query.UniqueIDs(t.Rows)}
	open := make(map[groupKey]int)
	for i := range t.Rows {
		row := t.Rows[i].Span
		if row < 0 {
			continue // a parent that never came
		}
		key := groupKey{w.b.Resource[row], w.b.Scope[row], w.b.Service[row]}
		at, ok := open[key]
		if !ok || len(w.groups[at].rows) >= groupSpans {
			at = len(w.groups)
			open[key] = at
			w.groups = append(w.groups, group{groupKey: key})
		}
		w.groups[at].rows = append(w.groups[at].rows, int32(i))
	}
	return w
}

func (w *traceWriter) idOf(row int32) span.SpanID {
	if w.ids != nil {
		return w.ids[row]
	}
	return w.t.Rows[row].ID
}

// parentOf is the id of a row's parent, zero of a root.
func (w *traceWriter) parentOf(row int32) span.SpanID {
	if p := w.t.Rows[row].Parent; p >= 0 {
		return w.idOf(p)
	}
	return span.SpanID{}
}

// resource is a group's resource attributes and the service to write before them: that of the span where the resource does
// not say it, so that every client finds a service.
func (w *traceWriter) resource(g *group) (attrs []span.Attr, service []byte) {
	r := w.b.Resources[g.resource]
	attrs = w.b.AttrsOf(r.Attrs)
	name := w.b.Bytes(g.service)
	if len(name) == 0 {
		name = []byte(unnamedService)
	}
	if sent := w.b.FindString(r.Attrs, serviceKey); string(sent) == string(name) {
		return attrs, nil
	}
	kept := make([]span.Attr, 0, len(attrs))
	for _, a := range attrs {
		if string(w.b.Key(a)) != serviceKey {
			kept = append(kept, a)
		}
	}
	return kept, name
}
