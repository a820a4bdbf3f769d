package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// winners is the model after every copy of a span that lost has vanished.
func (m *model) winners() *model {
	best := make(map[span.Identity]int)
	for i, r := range m.rows {
		id := r.b.Identity(r.row)
		if old, ok := best[id]; !ok || r.b.End[r.row] >= m.rows[old].b.End[m.rows[old].row] {
			best[id] = i
		}
	}
	at := make([]int, 0, len(best))
	for _, i := range best {
		at = append(at, i)
	}
	slices.Sort(at)
	w := &model{rows: make([]modelRow, len(at))}
	for k, i := range at {
		w.rows[k] = m.rows[i]
	}
	return w
}

// members are the ids that a look-up of id yields: its own and its twins within an hour.
func (m *model) members(id span.TraceID) map[span.TraceID]bool {
	first := make(map[span.TraceID]int64)
	for _, r := range m.rows {
		got := r.b.TraceID[r.row]
		if at, ok := first[got]; got == id || got.IsTwin(id) {
			if t := r.b.Time[r.row]; !ok || t < at {
				first[got] = t
			}
		}
	}
	from, found := first[id]
	if !found { // the newest twin answers
		for _, at := range first {
			from = max(from, at)
		}
	}
	in := make(map[span.TraceID]bool)
	for got, at := range first {
		if d := time.Duration(at - from); got == id || d.Abs() <= time.Hour {
			in[got] = true
		}
	}
	return in
}

// copies reports whether a span was stored more than once.
func (m *modelRun) copies() bool { return len(m.model.winners().rows) < len(m.model.rows) }

// between checks a counted list: what must be there is, nothing else is but what may, and each count lies between both.
// entries are told apart by key; alike compares what stands beside the count of an entry that has no copies.
func between[T any](t *testing.T, what string, got, low, high []T, key func(T) string, n func(T) int64, alike func(got, want T) bool) {
	t.Helper()
	index := func(list []T) map[string]T {
		m := make(map[string]T, len(list))
		for _, v := range list {
			m[key(v)] = v
		}
		return m
	}
	has, must, may := index(got), index(low), index(high)
	if len(has) != len(got) {
		t.Errorf("%s has an entry twice:\n%s", what, describe(got))
	}
	for k, v := range has {
		want, ok := may[k]
		least, ok2 := must[k]
		if !ok || n(v) > n(want) || ok2 && n(v) < n(least) || n(v) < 1 {
			t.Errorf("%s: %+v, want from %+v to %+v", what, v, least, want)
		}
		if ok && ok2 && n(least) == n(want) && !alike(v, want) {
			t.Errorf("%s: %+v, want %+v", what, v, want)
		}
	}
	for k, v := range must {
		if _, ok := has[k]; !ok {
			t.Errorf("%s lacks %+v", what, v)
		}
	}
}

func (m *modelRun) services(t *testing.T) string {
	tr := m.timeRange()
	got, done, err := m.engine.Services(t.Context(), scope, tr)
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	between(t, fmt.Sprintf("services in %v", tr), got, m.model.winners().services(scope, tr), m.model.services(scope, tr),
		func(s store.Service) string { return s.Name }, func(s store.Service) int64 { return s.Spans },
		func(got, want store.Service) bool { return got == want })
	if !slices.IsSortedFunc(got, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Errorf("services are not sorted:\n%s", describe(got))
	}
	return fmt.Sprintf("%d", len(got))
}

func (m *modelRun) operations(t *testing.T) string {
	tr, service := m.timeRange(), []string{"front", "cart", "ad", "", "ein laden", "nobody"}[m.r.IntN(6)]
	got, done, err := m.engine.Operations(t.Context(), scope, service, tr)
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	between(t, fmt.Sprintf("operations of %q in %v", service, tr), got, m.model.winners().operations(service, tr), m.model.operations(service, tr),
		func(o store.Operation) string { return fmt.Sprintf("%s %d", o.Name, o.Kind) }, func(o store.Operation) int64 { return o.N },
		func(got, want store.Operation) bool { return got == want })
	if !slices.IsSortedFunc(got, func(a, b store.Operation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	}) {
		t.Errorf("operations are not sorted:\n%s", describe(got))
	}
	return fmt.Sprintf("%d", len(got))
}

func (m *modelRun) keys(t *testing.T) string {
	q := store.KeysQuery{Range: m.timeRange(), In: store.FieldScope(m.r.IntN(int(store.Intrinsic)))}
	if m.r.IntN(3) == 0 {
		q.Prefix = randomKey(m.r)
	}
	if m.r.IntN(3) == 0 {
		q.Service = "front"
	}
	got, done, err := m.engine.Keys(t.Context(), scope, q)
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	between(t, fmt.Sprintf("keys %+v", q), got, m.model.winners().keys(q), m.model.keys(q),
		func(k store.Key) string { return k.In.String() + " " + k.Key }, func(k store.Key) int64 { return k.N },
		func(got, want store.Key) bool { return got == want })
	if !slices.IsSortedFunc(got, func(a, b store.Key) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Key, b.Key), cmp.Compare(a.In, b.In))
	}) {
		t.Errorf("keys %+v are not sorted:\n%s", q, describe(got))
	}
	if q.Limit = 1 + m.r.IntN(4); len(got) > q.Limit && !m.copies() { // else a compaction in between may change counts
		if few, _, err := m.engine.Keys(t.Context(), scope, q); err != nil || !slices.Equal(few, got[:q.Limit]) {
			t.Errorf("keys %+v:\n%sof:\n%s%v", q, describe(few), describe(got), err)
		}
	}
	return fmt.Sprintf("%d", len(got))
}

// listedFields are the intrinsics whose values are asked for.
var listedFields = []string{store.FieldService, store.FieldName, store.FieldKind, store.FieldStatus, store.FieldDuration, store.FieldError,
	store.FieldRoot, store.FieldSpanID, store.FieldParentID, store.FieldTraceID, store.FieldEventName, store.FieldScopeName, store.FieldGroup}

func (m *modelRun) values(t *testing.T) string {
	q := store.ValuesQuery{Range: m.timeRange(), Field: store.Field{In: store.FieldScope(m.r.IntN(int(store.InLink) + 1)), Key: randomKey(m.r)}}
	if m.r.IntN(2) == 0 {
		q.Field = store.Field{In: store.Intrinsic, Key: listedFields[m.r.IntN(len(listedFields))]}
	}
	if m.r.IntN(2) == 0 {
		q.Match = RandomExpr(m.r, 1)
	}
	if m.r.IntN(4) == 0 {
		q.Prefix = []string{"2", "x", "f"}[m.r.IntN(3)]
	}
	got, done, err := m.engine.Values(t.Context(), scope, q)
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	between(t, fmt.Sprintf("values %#v", q), got, m.model.winners().values(q), m.model.values(q),
		func(v store.ValueCount) string { return fmt.Sprintf("%d %s", v.Type, v.Text) }, func(v store.ValueCount) int64 { return v.N },
		func(got, want store.ValueCount) bool { return got == want })
	if !slices.IsSortedFunc(got, func(a, b store.ValueCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Type, b.Type))
	}) {
		t.Errorf("values %+v are not sorted:\n%s", q, describe(got))
	}
	if q.Limit = 1 + m.r.IntN(4); len(got) > q.Limit && !m.copies() { // else a compaction in between may change counts
		if few, _, err := m.engine.Values(t.Context(), scope, q); err != nil || !slices.Equal(few, got[:q.Limit]) {
			t.Errorf("values %+v:\n%sof:\n%s%v", q, describe(few), describe(got), err)
		}
	}
	return fmt.Sprintf("%d", len(got))
}
