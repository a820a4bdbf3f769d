package local

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// part makes spans of one trace.
func part(first, n int, received time.Time) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: received.UnixNano()}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	for i := first; i < first+n; i++ {
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = traceOf(0), span.SpanIDFromUint64(uint64(i)+1)
		b.Start[row], b.End[row], b.Time[row] = uint64(b.Received)+uint64(i), uint64(b.Received)+uint64(i)+9, b.Received+int64(i)
		b.Service[row] = b.AddText("shop")
	}
	return b
}

// TestTraceLongerThanASegment writes a trace over many segments and blocks, joins them, and reads it whole in every state.
func TestTraceLongerThanASegment(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	o := Options{FS: fsys, Now: c.Now, SegmentRows: 200, BlockRows: 16, Sync: time.Hour}
	e := open(t, o)
	const spans, batch = 2000, 50
	for first := 0; first < spans; first += batch {
		if err := errors.Join(e.Accept(t.Context(), part(first, batch, c.Now())), e.Accept(t.Context(), numbered(1+first, c.Now()))); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		seen := make(map[span.SpanID]int)
		for b, err := range e.Trace(t.Context(), defaultScope(), traceOf(0), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			for row := range b.Len() {
				seen[b.SpanID[row]]++
			}
		}
		if len(seen) != spans {
			t.Errorf("%s: %d spans of %d", when, len(seen), spans)
		}
		page, err := e.Search(t.Context(), defaultScope(), searchAll())
		if err != nil || len(page.Traces) != 1+spans/batch || page.Traces[0].Spans != spans {
			t.Errorf("%s: %d traces, %v", when, len(page.Traces), err)
		}
	}
	stages(t, e, c, check)
	mustClose(t, e)
	if r, err := Fsck(t.Context(), fsys, "/data", false); err != nil || !r.Clean() {
		t.Errorf("fsck: %v, %v", r.Damage, err)
	}
	e = open(t, o)
	check("restarted")
}

// TestManyKeysInSegments takes many attribute keys through memtables, segments and a compaction: each is found by its value all along.
func TestManyKeysInSegments(t *testing.T) {
	keys := 10_000
	if long() {
		keys = 100_000
	}
	fsys, c := faultfs.NewMem(1), newClock()
	e := open(t, Options{FS: fsys, Now: c.Now, MaxMemory: 1 << 30, Sync: time.Hour})
	const perSpan = 100
	for first := 0; first < keys; first += 10 * perSpan {
		b := part(first/perSpan, 10, c.Now())
		for row := range b.Len() {
			mark := b.AttrMark()
			for k := range perSpan {
				b.AddTextAttr(fmt.Sprintf("key%d", first+row*perSpan+k), "v")
			}
			b.SpanAttrs[row] = b.AttrsSince(mark)
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if first%(keys/4) == 0 {
			if err := e.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(when string) {
		t.Helper()
		for _, k := range []int{0, 777, keys / 2, keys - 1} {
			q := store.Search{Limit: 5, Match: store.Cond{Field: store.Field{In: store.InSpan, Key: fmt.Sprint("key", k)}, Op: store.Eq, Value: store.Text("v")}}
			page, err := e.Search(t.Context(), defaultScope(), &q)
			if err != nil || len(page.Traces) != 1 || page.Traces[0].Matched != 1 || page.Traces[0].Spans != keys/perSpan {
				t.Errorf("%s: key%d: %+v, %v", when, k, page, err)
			}
		}
		list, done, err := e.Keys(t.Context(), defaultScope(), store.KeysQuery{Prefix: "key777", Limit: 10_000})
		want := 11
		if keys == 100_000 {
			want = 111
		}
		if err != nil || !done.Complete || len(list) != want {
			t.Errorf("%s: %d keys with a prefix, want %d: %+v, %v", when, len(list), want, done, err)
		}
		n := 0
		for r, err := range e.Scan(t.Context(), defaultScope(), &store.Scan{Need: store.Everything()}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range r.Rows {
				n += len(r.Batch.AttrsOf(r.Batch.SpanAttrs[row]))
			}
		}
		if n != keys {
			t.Errorf("%s: %d attributes of %d", when, n, keys)
		}
	}
	stages(t, e, c, check)
}

// stages checks an engine as its spans came, in segments, and joined by compaction.
func stages(t *testing.T, e *Engine, c *clock, check func(when string)) {
	t.Helper()
	check("as it came")
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("in segments")
	c.Add(2 * time.Hour)
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats().Segments; s.Files != 1 {
		t.Errorf("%d segments after compaction", s.Files)
	}
	check("joined")
}
