package traceql

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spanloom/spanloom/span"
)

// The oracle answers queries on plain spans, the slow and obvious way. It shares the tree with the engine and nothing else: no
// plan, no columns, no masks. Values are Go values: nil, int64, float64, string, bool, oDuration, oStatus, oKind, oOpaque, []any.

type (
	oDuration int64
	oStatus   string
	oKind     string
	oOpaque   string // what answers show of it, empty for nothing
	oError    string // thrown where a query ends with an error
)

type oChild struct {
	name, trace, span string
	time              int64
	attrs             map[string]any
}

type oSpan struct {
	trace, id, parentID     string
	service, name, message  string
	kind                    oKind
	status                  oStatus
	start, end              uint64
	time, duration          int64
	attrs, resource, scope  map[string]any
	scopeName, scopeVersion string
	events, links           []oChild
	order                   int // of receipt
	parent                  *oSpan
	left, right, up, kids   int64
	of                      *oTrace
}

type oTrace struct {
	id    string
	spans []*oSpan
	root  *oSpan
	took  int64
}

type oSet struct {
	spans []*oSpan
	attrs []string
}

// oracleTraces reads batches into traces, sorted by id.
func oracleTraces(batches ...*span.Batch) []*oTrace {
	byIdentity := make(map[string]*oSpan)
	n := 0
	for _, b := range batches {
		for row := range b.Len() {
			s := oracleSpan(b, row)
			s.order = n
			n++
			key := fmt.Sprint(s.trace, s.id, s.kind, s.start, "/", s.service)
			if old := byIdentity[key]; old == nil || s.end >= old.end {
				byIdentity[key] = s
			}
		}
	}
	byTrace := make(map[string]*oTrace)
	for _, s := range byIdentity {
		t := byTrace[s.trace]
		if t == nil {
			t = &oTrace{id: s.trace}
			byTrace[s.trace] = t
		}
		s.of = t
		t.spans = append(t.spans, s)
	}
	var out []*oTrace
	for _, t := range byTrace {
		t.finish()
		out = append(out, t)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

var oKinds = []oKind{"unspecified", "internal", "server", "client", "producer", "consumer"}

func oracleSpan(b *span.Batch, row int) *oSpan {
	s := &oSpan{
		trace: b.TraceID[row].String(), id: b.SpanID[row].String(), service: b.String(b.Service[row]), name: b.String(b.Name[row]),
		message: b.String(b.StatusMessage[row]), kind: "unspecified", status: "unset", start: b.Start[row], end: b.End[row], time: b.Time[row],
		duration: b.Duration(row), attrs: oracleAttrs(b, b.SpanAttrs[row]), resource: oracleAttrs(b, b.Resources[b.Resource[row]].Attrs),
		scope: oracleAttrs(b, b.Scopes[b.Scope[row]].Attrs), scopeName: b.String(b.Scopes[b.Scope[row]].Name), scopeVersion: b.String(b.Scopes[b.Scope[row]].Version),
	}
	if !b.Parent[row].IsZero() {
		s.parentID = b.Parent[row].String()
	}
	if int(b.Kind[row]) < len(oKinds) {
		s.kind = oKinds[b.Kind[row]]
	}
	switch b.Status[row] {
	case span.StatusOK:
		s.status = "ok"
	case span.StatusError:
		s.status = "error"
	}
	if s.name == "" {
		word := string(s.kind)
		if word == "unspecified" {
			word = "span"
		}
		s.name = strings.TrimSpace(word + " " + s.service)
	}
	for _, e := range b.EventsOf(row) {
		s.events = append(s.events, oChild{name: b.String(e.Name), time: int64(e.Time), attrs: oracleAttrs(b, e.Attrs)})
	}
	for _, l := range b.LinksOf(row) {
		s.links = append(s.links, oChild{trace: l.TraceID.String(), span: l.SpanID.String(), attrs: oracleAttrs(b, l.Attrs)})
	}
	return s
}

func oracleAttrs(b *span.Batch, r span.Range) map[string]any {
	m := make(map[string]any)
	for _, a := range b.AttrsOf(r) {
		m[string(b.Key(a))] = oracleValue(b, a.Value())
	}
	return m
}

func oracleValue(b *span.Batch, v span.Value) any {
	switch v.Type {
	case span.TypeString:
		return b.String(v.Str())
	case span.TypeInt:
		return v.Int()
	case span.TypeDouble:
		return v.Double()
	case span.TypeBool:
		return v.Bool()
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools:
		list := []any{}
		for e := b.Elements(v); ; {
			x, ok := e.Next()
			if !ok {
				return list
			}
			list = append(list, oracleValue(b, x))
		}
	case span.TypeBytes:
		return oOpaque(base64.StdEncoding.EncodeToString(b.Bytes(v.Str())))
	}
	return oOpaque("")
}

// finish orders the spans, links parents and numbers the trees.
func (t *oTrace) finish() {
	slices.SortFunc(t.spans, func(a, b *oSpan) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.id, b.id), cmp.Compare(slices.Index(oKinds, a.kind), slices.Index(oKinds, b.kind)),
			cmp.Compare(a.service, b.service), cmp.Compare(a.order, b.order))
	})
	first, last := t.spans[0].time, t.spans[0].time
	for _, s := range t.spans {
		last = max(last, s.time+s.duration)
		s.parent = t.parentOf(s)
		if s.parentID == "" && (t.root == nil || s.time == t.root.time && s.duration > t.root.duration) {
			t.root = s
		}
	}
	t.took = last - first
	for _, s := range t.spans { // in order: the first of a cycle loses its parent
		up := s.parent
		for range t.spans {
			if up == nil || up == s {
				break
			}
			up = up.parent
		}
		if up == s {
			s.parent = nil
		}
	}
	counter := int64(0)
	var walk func(s *oSpan, up int64)
	walk = func(s *oSpan, up int64) {
		counter++
		s.left, s.up = counter, up
		for _, k := range t.spans {
			if k.parent == s {
				walk(k, s.left)
			}
		}
		counter++
		s.right = counter
	}
	for _, s := range t.spans {
		for _, k := range t.spans {
			if k.parent == s {
				s.kids++
			}
		}
		if s.parentID == "" {
			walk(s, -1)
		}
	}
}

func (t *oTrace) parentOf(s *oSpan) *oSpan {
	serves := func(s *oSpan) bool { return s.kind == "server" || s.kind == "consumer" }
	if s.parentID == "" {
		return nil
	}
	if serves(s) {
		for _, c := range t.spans {
			if (c.kind == "client" || c.kind == "producer") && c.id == s.id && c.parentID == s.parentID {
				return c
			}
		}
	}
	for _, serving := range []bool{true, false} {
		for _, p := range t.spans {
			if p != s && p.id == s.parentID && serves(p) == serving {
				return p
			}
		}
	}
	return nil
}
