package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// severalTraces asks for traces together: each row once, twins left out, unknown ids without an answer.
func severalTraces(t *testing.T, s *suite) {
	s.accept(t, everything)
	s.accept(t, `
ab000000000000000000000000000001 a - front server get 0s 1ms k=1
1 a1 b late server get 5ms 6ms
3 a - front server get 1s 2s k=3`)
	s.accept(t, "3 b a cart client get 1s 1200ms")
	ids := []span.TraceID{traceID(t, "3"), traceID(t, "1"), traceID(t, "77"), traceID(t, "3")}
	read := func(sc store.Scope, need store.Need, ids []span.TraceID) (rows []string) {
		for b, err := range s.engine.Traces(t.Context(), sc, ids, store.TimeRange{}, need) {
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			for row := range b.Len() {
				rows = append(rows, printRow(b, row))
			}
		}
		slices.Sort(rows)
		return rows
	}
	var want []string
	for _, r := range s.model.rows {
		if id := r.b.TraceID[r.row]; id == ids[0] || id == ids[1] {
			want = append(want, printRow(r.b, r.row))
		}
	}
	slices.Sort(want)
	if got := read(scope, store.Everything(), ids); !slices.Equal(got, want) {
		t.Errorf("traces:\n%swant:\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
	if got := read(scope, store.Need{}, ids); len(got) != len(want) {
		t.Errorf("with no needs %d rows, want %d", len(got), len(want))
	}
	if got := read(scope, store.Everything(), nil); len(got) != 0 {
		t.Errorf("no ids answer %v", got)
	}
	front := store.Scope{Tenant: store.DefaultTenant, MustMatch: cond(in(store.Intrinsic, store.FieldService), store.Eq, store.Text("cart"))}
	if got := read(front, store.Everything(), ids[:1]); len(got) != 1 {
		t.Errorf("a predicate leaves %d rows, want 1", len(got))
	}
	for _, err := range s.engine.Traces(cancelled(), scope, ids, store.TimeRange{}, store.Everything()) {
		if err == nil {
			t.Error("a cancelled call answers")
		}
	}
}

// needs asks a scan for one thing at a time: it must be there and right, whatever else is.
func needs(t *testing.T, s *suite) {
	s.accept(t, everything)
	type read func(b *span.Batch, row int) string
	attr := func(owner func(b *span.Batch, row int) span.Range, key string) read {
		return func(b *span.Batch, row int) string {
			a, ok := b.FindAttr(owner(b, row), key)
			if !ok {
				return "absent"
			}
			if a.Type.InArena() {
				return fmt.Sprint(a.Type, b.String(a.Value().Str()))
			}
			return fmt.Sprint(a.Type, a.Bits)
		}
	}
	ofSpan := func(b *span.Batch, row int) span.Range { return b.SpanAttrs[row] }
	cases := map[string]struct {
		need store.Need
		read read
	}{
		"trace":   {store.Need{}, func(b *span.Batch, row int) string { return b.TraceID[row].String() }},
		"span id": {store.Need{Columns: store.ColSpanID}, func(b *span.Batch, row int) string { return b.SpanID[row].String() }},
		"parent":  {store.Need{Columns: store.ColParent}, func(b *span.Batch, row int) string { return b.Parent[row].String() }},
		"name":    {store.Need{Columns: store.ColName}, func(b *span.Batch, row int) string { return b.String(b.Name[row]) }},
		"kind":    {store.Need{Columns: store.ColKind}, func(b *span.Batch, row int) string { return fmt.Sprint(b.Kind[row]) }},
		"status": {store.Need{Columns: store.ColStatus}, func(b *span.Batch, row int) string {
			return fmt.Sprint(b.Status[row], b.Failed(row))
		}},
		"mark": {store.Need{Columns: store.ColMark}, func(b *span.Batch, row int) string { return fmt.Sprint(b.Mark[row]) }},
		"time": {store.Need{Columns: store.ColTime}, func(b *span.Batch, row int) string {
			return fmt.Sprint(b.Start[row], b.End[row], b.Time[row])
		}},
		"message":     {store.Need{Columns: store.ColStatusMessage}, func(b *span.Batch, row int) string { return b.String(b.StatusMessage[row]) }},
		"trace state": {store.Need{Columns: store.ColTraceState}, func(b *span.Batch, row int) string { return b.String(b.TraceState[row]) }},
		"flags":       {store.Need{Columns: store.ColFlags}, func(b *span.Batch, row int) string { return fmt.Sprint(b.Flags[row]) }},
		"dropped": {store.Need{Columns: store.ColDropped}, func(b *span.Batch, row int) string {
			return fmt.Sprint(b.DroppedAttrs[row], b.DroppedEvents[row], b.DroppedLinks[row])
		}},
		"weight": {store.Need{Columns: store.ColWeight}, func(b *span.Batch, row int) string { return fmt.Sprint(b.Weight[row]) }},
		"service": {store.Need{Columns: store.ColService}, func(b *span.Batch, row int) string {
			return b.String(b.Service[row]) + " " + b.String(b.Group[row]) + " " + b.String(b.Namespace[row])
		}},
		"scope": {store.Need{Columns: store.ColScope}, func(b *span.Batch, row int) string {
			s := b.Scopes[b.Scope[row]]
			return b.String(s.Name) + " " + b.String(s.Version)
		}},
		"events": {store.Need{Columns: store.ColEvents}, func(b *span.Batch, row int) (text string) {
			for _, e := range b.EventsOf(row) {
				text += fmt.Sprint(e.Time, b.String(e.Name), ";")
			}
			return text
		}},
		"links": {store.Need{Columns: store.ColLinks}, func(b *span.Batch, row int) (text string) {
			for _, l := range b.LinksOf(row) {
				text += fmt.Sprint(l.TraceID, l.SpanID, b.String(l.TraceState), l.Flags, ";")
			}
			return text
		}},
	}
	for _, r := range s.model.rows {
		for _, a := range r.b.AttrsOf(r.b.SpanAttrs[r.row]) {
			key := string(r.b.Key(a))
			cases["attribute "+key] = struct {
				need store.Need
				read read
			}{store.Need{Fields: []store.Field{in(store.InSpan, key)}}, attr(ofSpan, key)}
		}
	}
	cases["resource"] = struct {
		need store.Need
		read read
	}{store.Need{Fields: []store.Field{in(store.InResource, "pod")}}, attr(func(b *span.Batch, row int) span.Range { return b.Resources[b.Resource[row]].Attrs }, "pod")}
	cases["attribute of links"] = struct {
		need store.Need
		read read
	}{store.Need{Columns: store.ColLinks, Fields: []store.Field{in(store.InLink, "k")}}, func(b *span.Batch, row int) (text string) {
		for _, l := range b.LinksOf(row) {
			text += attr(func(*span.Batch, int) span.Range { return l.Attrs }, "k")(b, row) + ";"
		}
		return text
	}}
	for name, c := range cases {
		var got, want []string
		for r, err := range s.engine.Scan(t.Context(), scope, &store.Scan{Need: c.need}) {
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Batch.Check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, row := range r.Rows {
				got = append(got, c.read(r.Batch, int(row)))
			}
		}
		for _, r := range s.model.rows {
			want = append(want, c.read(r.b, r.row))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
