package table

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

func random(t *testing.T, seed uint64, batches int) (list []*span.Batch) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range batches {
		list = append(list, storetest.Batch(t, storetest.RandomText(r, 20, 8, 20*i)))
	}
	return list
}

// all reads a view as text, some rows at a time.
func all(v *View, step int) string {
	var got []*span.Batch
	f := NewFiller(store.Everything())
	for lo := 0; lo < v.Rows(); lo += step {
		got = append(got, f.Batch(v, nil, lo, min(lo+step, v.Rows())).Clone())
	}
	return storetest.Print(got...)
}

func TestRowsComeBack(t *testing.T) {
	for seed := range uint64(10) {
		batches := random(t, seed, 12)
		tab := New(0)
		var views []View
		for i, b := range batches {
			tab.Append(b)
			if i == 5 {
				views = append(views, tab.View)
			}
		}
		views = append(views, tab.View)
		for i, want := range []string{storetest.Print(batches[:6]...), storetest.Print(batches...)} {
			if got := all(&views[i], 7); got != want {
				t.Fatalf("seed %d, view %d:\n%.2000s\nwant:\n%.2000s", seed, i, got, want)
			}
		}
	}
}

// TestCopies: rows copied from two tables into one that was used before are the same rows.
func TestCopies(t *testing.T) {
	batches := random(t, 77, 20)
	a, b, out := New(0), New(0), New(0)
	out.Append(batches[0])
	out.Reset()
	for i, batch := range batches {
		if i%2 == 0 {
			a.Append(batch)
		} else {
			b.Append(batch)
		}
	}
	c := NewCopier(out)
	for _, src := range []*Table{a, b} {
		c.Begin(&src.View)
		for row := range src.Rows() {
			c.Row(row, 1)
		}
	}
	c.Done()
	if got, want := all(&out.View, 1000), storetest.Print(batches...); got != want {
		t.Errorf("copied:\n%.2000s\nwant:\n%.2000s", got, want)
	}
}

func TestTracesAreFound(t *testing.T) {
	tab := New(0)
	tab.Append(storetest.Batch(t, "1 a - front server get 0s 1ms\nab000000000000000000000000000001 b - front server get 0s 1ms\n2 c - front server get 0s 1ms"))
	tab.Append(storetest.Batch(t, "1 d a front server get 0s 1ms"))
	id, err := span.ParseTraceID("1")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := tab.FindTrace(id)
	if !ok || tab.Heads[at].Rows != 2 {
		t.Errorf("trace 1: %v, %+v", ok, tab.Heads[at])
	}
	if twins := tab.Twins(nil, id.Low()); len(twins) != 2 {
		t.Errorf("twins: %v", twins)
	}
	if _, ok := tab.FindTrace(span.TraceIDFromUint64s(9, 9)); ok {
		t.Error("a trace that is not here was found")
	}
}

func TestStringsAreKeptOnce(t *testing.T) {
	s := newStrings(0, 0)
	long := strings.Repeat("x", 5000)
	first := s.Intern([]byte(long))
	for i := range 3000 {
		s.Intern([]byte(strings.Repeat("y", i%50+1)))
	}
	if s.Len() != 1+1+50 || s.Intern([]byte(long)) != first || s.Find(long) != first || s.Find("z") != 0 || s.Intern(nil) != 0 {
		t.Errorf("%d strings; the long one is %d and %d", s.Len(), first, s.Find(long))
	}
}

// TestNeedLeavesOut: what is not asked for costs no attribute, what is asked for is there.
func TestNeedLeavesOut(t *testing.T) {
	tab := New(0)
	tab.Append(storetest.Batch(t, "1 a - front server get 0s 1ms k=1 other=2 resource:pod=p"))
	need := store.Need{Columns: store.ColName, Fields: []store.Field{{In: store.InSpan, Key: "k"}}}
	b := NewFiller(need).Batch(&tab.View, nil, 0, 1)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if len(b.Attrs) != 1 || string(b.Key(b.Attrs[0])) != "k" || b.String(b.Name[0]) != "get" || b.Service[0].Len != 0 {
		t.Errorf("attributes %v, name %q, service %q", b.Attrs, b.String(b.Name[0]), b.String(b.Service[0]))
	}
}
