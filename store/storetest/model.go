package storetest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// model is the contract in slices: it keeps every batch and answers by looking at every row.
type model struct {
	rows []modelRow // in the order received
}

type modelRow struct {
	b   *span.Batch
	row int
}

// accept takes batches, which are the model's from then on.
func (m *model) accept(batches ...*span.Batch) {
	for _, b := range batches {
		for row := range b.Len() {
			m.rows = append(m.rows, modelRow{b, row})
		}
	}
}

func (r modelRow) inside(tr store.TimeRange, mode store.TimeMode) bool {
	if mode == store.Start {
		return tr.Contains(r.b.Time[r.row])
	}
	return tr.Overlaps(r.b.Time[r.row], r.b.EndTime(r.row))
}

// distinct is every span that may be seen once, by trace.
func (m *model) distinct(s store.Scope) map[span.TraceID][]modelRow {
	best := make(map[span.Identity]modelRow)
	for _, r := range m.rows {
		if !Holds(r.b, r.row, s.MustMatch) {
			continue
		}
		id := r.b.Identity(r.row)
		if old, ok := best[id]; !ok || r.b.End[r.row] >= old.b.End[old.row] {
			best[id] = r
		}
	}
	traces := make(map[span.TraceID][]modelRow)
	for id, r := range best {
		traces[id.Trace] = append(traces[id.Trace], r)
	}
	return traces
}

// search answers all traces in order, as if the limit were infinite.
func (m *model) search(s store.Scope, q *store.Search) (list []store.Summary) {
	for id, rows := range m.distinct(s) {
		sum := store.Summary{TraceID: id, Spans: len(rows)}
		var matched []modelRow
		services := make(map[string]store.ServiceInSummary)
		for i, r := range rows {
			start, end := r.b.Time[r.row], r.b.EndTime(r.row)
			if i == 0 {
				sum.Start, sum.End = start, end
			}
			sum.Start, sum.End = min(sum.Start, start), max(sum.End, end)
			sum.Received = max(sum.Received, r.b.Received-r.b.Received%1e6)
			sv := services[r.b.String(r.b.Service[r.row])]
			sv.Name = r.b.String(r.b.Service[r.row])
			sv.Spans++
			if r.b.Failed(r.row) {
				sv.Errors++
				sum.Errors++
			}
			services[sv.Name] = sv
			if r.inside(q.Range, q.Mode) && Holds(r.b, r.row, q.Match) {
				matched = append(matched, r)
			}
		}
		d := sum.End - sum.Start
		if len(matched) == 0 || d < q.TraceDuration.Min || q.TraceDuration.Max > 0 && d > q.TraceDuration.Max {
			continue
		}
		sum.Matched = len(matched)
		slices.SortFunc(matched, func(x, y modelRow) int {
			return cmp.Or(cmp.Compare(y.b.Time[y.row], x.b.Time[x.row]), bytes.Compare(x.b.SpanID[x.row][:], y.b.SpanID[y.row][:]))
		})
		sum.MatchedStart = matched[0].b.Time[matched[0].row]
		for _, r := range matched[:min(3, len(matched))] {
			sum.MatchedSpans = append(sum.MatchedSpans, r.b.SpanID[r.row])
		}
		for _, sv := range services {
			sum.Services = append(sum.Services, sv)
		}
		slices.SortFunc(sum.Services, func(a, b store.ServiceInSummary) int { return cmp.Compare(a.Name, b.Name) })
		root := slices.MinFunc(rows, compareRoots)
		sum.RootMissing = !root.b.Parent[root.row].IsZero()
		sum.RootService = root.b.String(root.b.Service[root.row])
		sum.RootName = root.b.String(root.b.Name[root.row])
		sum.RootKind = root.b.Kind[root.row]
		list = append(list, sum)
	}
	slices.SortFunc(list, func(a, b store.Summary) int {
		return cmp.Or(cmp.Compare(b.MatchedStart, a.MatchedStart), bytes.Compare(a.TraceID[:], b.TraceID[:]))
	})
	return list
}

// compareRoots: which span stands for the trace. Without a parent, earliest, then the longest; beyond that any rule will do
// if it is the same everywhere: span id, kind, service.
func compareRoots(x, y modelRow) int {
	orphan := func(r modelRow) int {
		if r.b.Parent[r.row].IsZero() {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(orphan(x), orphan(y)),
		cmp.Compare(x.b.Time[x.row], y.b.Time[y.row]),
		cmp.Compare(y.b.EndTime(y.row), x.b.EndTime(x.row)),
		bytes.Compare(x.b.SpanID[x.row][:], y.b.SpanID[y.row][:]),
		cmp.Compare(x.b.Kind[x.row], y.b.Kind[y.row]),
		strings.Compare(x.b.String(x.b.Service[x.row]), y.b.String(y.b.Service[y.row])),
	)
}

// lastCopies drops the rows of spans that ended later or came again, which an engine may have let go of already. Rows stand in the
// order they were received.
func lastCopies(rows []modelRow) (last []modelRow) {
	at := make(map[span.Identity]int)
	for _, r := range rows {
		id := r.b.Identity(r.row)
		i, ok := at[id]
		switch {
		case !ok:
			at[id] = len(last)
			last = append(last, r)
		case r.b.End[r.row] >= last[i].b.End[last[i].row]:
			last[i] = r
		}
	}
	return last
}

// textOf prints rows, a span a block, sorted.
func textOf(rows []modelRow) string {
	var text []string
	for _, r := range rows {
		text = append(text, printRow(r.b, r.row))
	}
	slices.Sort(text)
	return strings.Join(text, "")
}

// trace is the rows that a look-up must yield, as text.
func (m *model) trace(s store.Scope, id span.TraceID) string {
	first := func(want span.TraceID) (at int64, ok bool) {
		for _, r := range m.rows {
			if r.b.TraceID[r.row] == want && (!ok || r.b.Time[r.row] < at) {
				at, ok = r.b.Time[r.row], true
			}
		}
		return at, ok
	}
	from, found := first(id)
	for _, r := range m.rows {
		// An unknown id is answered by its newest twin.
		if twin := r.b.TraceID[r.row]; !found && twin.IsTwin(id) {
			at, _ := first(twin)
			from = max(from, at)
		}
	}
	var rows []modelRow
	for _, r := range m.rows {
		got := r.b.TraceID[r.row]
		at, _ := first(got)
		if d := time.Duration(at - from); got == id || got.IsTwin(id) && d.Abs() <= time.Hour {
			if Holds(r.b, r.row, s.MustMatch) {
				rows = append(rows, r)
			}
		}
	}
	return textOf(lastCopies(rows))
}

// services, operations, keys and values in the text forms of lists.go.
func (m *model) services(s store.Scope, tr store.TimeRange) []store.Service {
	found := make(map[string]store.Service)
	for _, r := range m.rows {
		if !r.inside(tr, store.Start) || !Holds(r.b, r.row, s.MustMatch) {
			continue
		}
		name := r.b.String(r.b.Service[r.row])
		group, namespace, at := r.b.String(r.b.Group[r.row]), r.b.String(r.b.Namespace[r.row]), r.b.Time[r.row]
		sv, ok := found[name]
		if !ok || cmp.Or(cmp.Compare(at, sv.LastTime), cmp.Compare(group, sv.Group), cmp.Compare(namespace, sv.Namespace)) > 0 {
			sv.Name, sv.Group, sv.Namespace, sv.LastTime = name, group, namespace, at
		}
		sv.Spans++
		found[name] = sv
	}
	var list []store.Service
	for _, sv := range found {
		list = append(list, sv)
	}
	slices.SortFunc(list, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (m *model) operations(service string, tr store.TimeRange) []store.Operation {
	found := make(map[store.Operation]int64)
	for _, r := range m.rows {
		if r.inside(tr, store.Start) && r.b.String(r.b.Service[r.row]) == service {
			found[store.Operation{Name: r.b.String(r.b.Name[r.row]), Kind: r.b.Kind[r.row]}]++
		}
	}
	var list []store.Operation
	for o, n := range found {
		o.N = n
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b store.Operation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}

func (m *model) keys(q store.KeysQuery) []store.Key {
	type place struct {
		key string
		in  store.FieldScope
	}
	found := make(map[place]map[span.Type]int64)
	for _, r := range m.rows {
		if !r.inside(q.Range, store.Start) || q.Service != "" && r.b.String(r.b.Service[r.row]) != q.Service {
			continue
		}
		count := func(in store.FieldScope, attrs span.Range) {
			for _, a := range r.b.AttrsOf(attrs) {
				p := place{string(r.b.Key(a)), in}
				if (q.In == store.InAny || q.In == in) && strings.HasPrefix(p.key, q.Prefix) {
					if found[p] == nil {
						found[p] = make(map[span.Type]int64)
					}
					found[p][a.Type]++
				}
			}
		}
		count(store.InSpan, r.b.SpanAttrs[r.row])
		count(store.InResource, r.b.Resources[r.b.Resource[r.row]].Attrs)
		count(store.InScope, r.b.Scopes[r.b.Scope[r.row]].Attrs)
		for _, e := range r.b.EventsOf(r.row) {
			count(store.InEvent, e.Attrs)
		}
		for _, l := range r.b.LinksOf(r.row) {
			count(store.InLink, l.Attrs)
		}
	}
	var list []store.Key
	for p, types := range found {
		k := store.Key{Key: p.key, In: p.in}
		for t := range span.NumTypes {
			k.N += types[t]
			if types[t] > types[k.Type] {
				k.Type = t
			}
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b store.Key) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Key, b.Key), cmp.Compare(a.In, b.In))
	})
	return list
}

func (m *model) values(q store.ValuesQuery) []store.ValueCount {
	found := make(map[store.ValueCount]int64)
	for _, r := range m.rows {
		if !r.inside(q.Range, store.Start) || !Holds(r.b, r.row, q.Match) {
			continue
		}
		for _, place := range fieldValues(r.b, r.row, q.Field) {
			for _, v := range place {
				list, isList := v.([]any)
				if !isList {
					list = []any{v}
				}
				for _, v := range list {
					if text, typ, ok := valueText(v); ok && strings.HasPrefix(text, q.Prefix) {
						found[store.ValueCount{Text: text, Type: typ}]++
					}
				}
			}
		}
	}
	var list []store.ValueCount
	for v, n := range found {
		v.N = n
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Type, b.Type))
	})
	return list
}

func valueText(v any) (string, span.Type, bool) {
	switch v := v.(type) {
	case word:
		return string(v), span.TypeString, v != ""
	case string:
		return v, span.TypeString, true
	case int64:
		return textForm(v), span.TypeInt, true
	case float64:
		return textForm(v), span.TypeDouble, true
	case bool:
		return textForm(v), span.TypeBool, true
	}
	return "", 0, false
}

// Summaries writes search results as text, a trace a line, for tests that state what they expect:
//
//	TRACE START END root SERVICE NAME KIND spans N errors N matched N at START [SPANS] services NAME:SPANS/ERRORS ...
func Summaries(list []store.Summary) string {
	var w strings.Builder
	for _, s := range list {
		word := "root"
		if s.RootMissing {
			word = "stand-in"
		}
		var ids, services []string
		for _, id := range s.MatchedSpans {
			ids = append(ids, short(id.String()))
		}
		for _, sv := range s.Services {
			services = append(services, fmt.Sprintf("%s:%d/%d", printName(sv.Name), sv.Spans, sv.Errors))
		}
		fmt.Fprintf(&w, "%s %s %s %s %s %s %s spans %d errors %d matched %d at %s [%s] services %s\n", short(s.TraceID.String()),
			printInstant(uint64(s.Start)), printInstant(uint64(s.End)), word, printName(s.RootService), printName(s.RootName), s.RootKind,
			s.Spans, s.Errors, s.Matched, printInstant(uint64(s.MatchedStart)), strings.Join(ids, " "), strings.Join(services, " "))
	}
	return w.String()
}
