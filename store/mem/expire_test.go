package mem_test

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// at makes a batch of one row of a trace, received at a second.
func at(second int64, trace uint64) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: second * 1e9}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	row := b.AddRow()
	b.TraceID[row] = span.TraceIDFromUint64s(1, trace)
	b.SpanID[row] = span.SpanIDFromUint64(uint64(second))
	b.Time[row] = b.Received
	return b
}

func TestExpire(t *testing.T) {
	e := mem.New(mem.Options{Now: func() time.Time { return time.Unix(100, 0) }})
	scope := store.Scope{Tenant: store.DefaultTenant}
	accept := func(second int64, trace uint64, seq uint64) {
		t.Helper()
		if err := e.AcceptSeq(t.Context(), at(second, trace), seq); err != nil {
			t.Fatal(err)
		}
	}
	count := func(trace uint64) (n int) {
		for b, err := range e.Trace(t.Context(), scope, span.TraceIDFromUint64s(1, trace), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += b.Len()
		}
		return n
	}
	accept(10, 1, 1)
	accept(11, 2, 2)
	if err := e.Keep(t.Context(), scope, span.TraceIDFromUint64s(1, 2), 0); err != nil {
		t.Fatal(err)
	}
	e.Expire(11e9, 11e9) // closes the chunk; its newest row is not old enough
	if count(1) != 1 || e.LowestSeq() != 1 {
		t.Fatalf("a row goes before its time: %d rows, lowest %d", count(1), e.LowestSeq())
	}
	accept(20, 3, 3)
	e.Expire(12e9, 12e9)
	if count(1) != 0 || count(2) != 1 || count(3) != 1 {
		t.Errorf("rows of old, kept and young trace: %d, %d, %d", count(1), count(2), count(3))
	}
	if got := e.LowestSeq(); got != 3 {
		t.Errorf("lowest sequence %d", got)
	}
	e.Expire(90e9, 90e9)
	e.Expire(90e9, 90e9)
	if count(2) != 1 || count(3) != 0 || e.LowestSeq() != 4 {
		t.Errorf("kept %d, young %d, lowest %d", count(2), count(3), e.LowestSeq())
	}
	e.Close()
	e.Expire(90e9, 90e9)
}

// TestEvictionPastDeadChunks: traces that fill a chunk and come again and again leave dead chunks right behind the one that is
// evicted.
func TestEvictionPastDeadChunks(t *testing.T) {
	const chunk, batches = 8192, 120
	e := mem.New(mem.Options{MaxBytes: 64 << 20})
	for i := range batches {
		b := at(int64(i), uint64(i)%4)
		for row := 1; row < chunk; row++ {
			b.AddRow()
			b.TraceID[row], b.SpanID[row], b.Time[row] = b.TraceID[0], span.SpanIDFromUint64(uint64(row)), b.Received
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if s := e.Stats(); s.Bytes > s.LimitBytes || s.Spans == 0 || s.EvictedSpans == 0 || s.EvictedSpans+s.Spans != batches*chunk {
		t.Errorf("stats: %+v", s)
	}
}
