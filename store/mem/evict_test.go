package mem

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/storetest"
)

func accept(t *testing.T, e *Engine, seq uint64, text string) {
	t.Helper()
	if err := e.AcceptSeq(t.Context(), storetest.Batch(t, text), seq); err != nil {
		t.Fatal(err)
	}
}

func traceText(t *testing.T, e *Engine, id span.TraceID) string {
	t.Helper()
	var batches []*span.Batch
	for b, err := range e.Trace(t.Context(), store.Scope{}, id, store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b.Clone())
	}
	return storetest.Print(batches...)
}

// smallEngine has chunks of some rows, so that eviction is frequent.
func smallEngine(maxBytes int64) *Engine {
	e := New(Options{MaxBytes: maxBytes})
	e.chunkBytes = 6000
	return e
}

// TestEvictionAgainstModel: what is left of a trace is always all rows since it last began, and the oldest go first.
func TestEvictionAgainstModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			e := smallEngine(200_000)
			type row struct {
				n    int // of all rows
				seq  uint64
				span span.SpanID
			}
			sent := make(map[span.TraceID][]row)
			rows := 0
			evictions, lowest := int64(0), uint64(0)
			for seq := uint64(1); seq <= 150; seq++ {
				var w strings.Builder
				n, burst := 1+r.IntN(40), 0
				if r.IntN(6) == 0 { // a few traces fill whole chunks again and again: chunks die out of order
					n, burst = 60, 5000+r.IntN(3)
				}
				for range n {
					rows++
					// Most rows are of recent traces, some of old ones.
					trace := 1 + rows/10
					if r.IntN(8) == 0 {
						trace = 1 + r.IntN(trace)
					}
					if burst > 0 {
						trace = burst
					}
					fmt.Fprintf(&w, "%x %x - front server get %dms 1ms unique=v%d same=x\n", trace, rows, rows, rows)
					id := span.TraceIDFromUint64s(0, uint64(trace))
					sent[id] = append(sent[id], row{rows, seq, span.SpanIDFromUint64(uint64(rows))})
				}
				accept(t, e, seq, w.String())
				s := e.Stats()
				if s.Bytes > s.LimitBytes {
					t.Fatalf("%d bytes of %d", s.Bytes, s.LimitBytes)
				}
				if got := e.LowestSeq(); got < lowest || got > seq {
					t.Fatalf("lowest sequence %d after %d, newest %d", got, lowest, seq)
				} else {
					lowest = got
				}
				if s.EvictedTraces == evictions || seq%5 != 0 {
					continue
				}
				evictions = s.EvictedTraces

				page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10_000})
				if err != nil || !page.Complete {
					t.Fatal(err, page.Reason)
				}
				alive, oldest := int64(0), rows
				left := make(map[span.TraceID]int) // rows
				for _, sum := range page.Traces {
					all := sent[sum.TraceID]
					if sum.Spans > len(all) {
						t.Fatalf("trace %s has %d spans of %d", sum.TraceID, sum.Spans, len(all))
					}
					suffix := all[len(all)-sum.Spans:]
					var ids []span.SpanID
					for b, err := range e.Trace(t.Context(), store.Scope{}, sum.TraceID, store.TimeRange{}) {
						if err != nil {
							t.Fatal(err)
						}
						ids = append(ids, b.SpanID...)
					}
					if !slices.EqualFunc(ids, suffix, func(id span.SpanID, r row) bool { return id == r.span }) {
						t.Fatalf("trace %s has spans %v, sent %v", sum.TraceID, ids, all)
					}
					if suffix[0].seq < lowest {
						t.Fatalf("trace %s needs sequence %d, lowest is %d", sum.TraceID, suffix[0].seq, lowest)
					}
					alive += int64(sum.Spans)
					oldest = min(oldest, suffix[0].n)
					left[sum.TraceID] = sum.Spans
				}
				if s.Spans != alive || s.Traces != int64(len(page.Traces)) || s.Spans+s.EvictedSpans != int64(rows) {
					t.Fatalf("%+v, but %d spans of %d traces are alive", s, alive, len(page.Traces))
				}
				// Every row in the oldest chunk's first-born traces or later is there: what is gone began before what is not.
				for id, all := range sent {
					if n := len(all) - left[id]; n < len(all) && all[n].n < oldest || n == len(all) && all[n-1].n > oldest+chunkRows {
						t.Fatalf("trace %s was evicted before its time", id)
					}
				}
				scanned := int64(0)
				for r, err := range e.Scan(t.Context(), store.Scope{}, &store.Scan{}) {
					if err != nil {
						t.Fatal(err)
					}
					scanned += int64(len(r.Rows))
				}
				services, _, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
				if err != nil || scanned != alive || services[0].Spans != alive {
					t.Fatalf("%d spans are alive, scan yields %d, services %v %v", alive, scanned, services, err)
				}
			}
			if evictions == 0 {
				t.Fatal("nothing was evicted")
			}
		})
	}
}

func TestReadersDuringEviction(t *testing.T) {
	e := smallEngine(150_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			page, err := e.Search(ctx, store.Scope{}, &store.Search{Limit: 50})
			if err != nil {
				t.Error(err)
				return
			}
			for _, sum := range page.Traces {
				if sum.Spans != 5 {
					t.Errorf("trace %s has %d spans", sum.TraceID, sum.Spans)
				}
				n := 0
				for b, err := range e.Trace(ctx, store.Scope{}, sum.TraceID, store.TimeRange{}) {
					if err == nil {
						n += b.Len()
					}
				}
				if n != 0 && n != 5 && ctx.Err() == nil {
					t.Errorf("trace %s yields %d spans", sum.TraceID, n)
				}
			}
			for range e.Scan(ctx, store.Scope{}, &store.Scan{Match: store.Cond{Field: store.Field{Key: "k"}, Op: store.Eq, Value: store.Text("v")}}) {
			}
		}
	}()
	for i := range 600 {
		var w strings.Builder
		for k := range 5 {
			fmt.Fprintf(&w, "%x %x - front server get %dms 1ms k=v unique=u%d\n", i+1, k+1, i, 5*i+k)
		}
		accept(t, e, 0, w.String())
	}
	cancel()
	<-done
	if e.Stats().EvictedTraces == 0 {
		t.Error("nothing was evicted")
	}
}

func TestPagesAfterEviction(t *testing.T) {
	e := smallEngine(150_000)
	fill := func(from, n int) {
		for i := range n {
			accept(t, e, 0, fmt.Sprintf("%x 1 - front server get %dms 1ms unique=u%d", from+i, from+i, i))
		}
	}
	fill(1, 100)
	first, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10})
	if err != nil || first.Next == "" {
		t.Fatal(err)
	}
	fill(1000, 1000)
	second, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10, Page: first.Next})
	if err != nil || second.Complete || !strings.Contains(second.Reason, "evicted") || len(second.Traces) != 0 {
		t.Errorf("%+v %v", second, err)
	}
}

func TestTraceLargerThanBudget(t *testing.T) {
	e := smallEngine(150_000)
	accept(t, e, 1, "1 a - front server get 0s 1ms")
	for i := range 60 {
		var w strings.Builder
		for k := range 50 {
			fmt.Fprintf(&w, "2 %x - front server get %dms 1ms unique=u%d\n", 50*i+k+1, i, 50*i+k)
		}
		accept(t, e, uint64(i+2), w.String())
		if s := e.Stats(); s.Bytes > s.LimitBytes {
			t.Fatalf("%d bytes of %d", s.Bytes, s.LimitBytes)
		}
	}
	s := e.Stats()
	if s.Spans == 0 || s.EvictedSpans == 0 || s.Spans+s.EvictedSpans != 3001 {
		t.Errorf("%+v", s)
	}
}

func TestBatchLargerThanBudget(t *testing.T) {
	e := New(Options{MaxBytes: 100_000})
	b := storetest.Batch(t, "1 a - front server get 0s 1ms long="+strings.Repeat("x", 80_000))
	var p *problem.Problem
	if err := e.Accept(t.Context(), b); !errors.As(err, &p) || p.Kind != problem.TooLarge {
		t.Errorf("got %v", err)
	}
	if s := e.Stats(); s.Spans != 0 {
		t.Errorf("%+v", s)
	}
}

func TestKeep(t *testing.T) {
	now := time.Unix(0, storetest.At(time.Hour))
	e := New(Options{MaxBytes: 200_000, Now: func() time.Time { return now }})
	e.chunkBytes = 6000
	id := func(n uint64) span.TraceID { return span.TraceIDFromUint64s(0, n) }
	accept(t, e, 1, `
received 90s
1 a - front server get 0s 1ms k=v
2 a - front server get 0s 1ms
3 a - front server get 0s 1ms`)
	want := traceText(t, e, id(1))
	for n, until := range map[uint64]int64{1: 0, 2: now.Add(time.Minute).UnixNano()} {
		if err := e.Keep(t.Context(), store.Scope{}, id(n), until); err != nil {
			t.Fatal(err)
		}
	}
	traffic := func() {
		before := e.Stats().EvictedSpans
		for i := 0; e.Stats().EvictedSpans < before+2000; i++ {
			accept(t, e, uint64(i+2), fmt.Sprintf("%x 1 - front server get 1s 1ms unique=u%d\n%x 2 - front server get 1s 1ms unique=w%d", 1000+i, i, 1000+i, i))
		}
	}
	traffic()
	if got := traceText(t, e, id(1)); got != want {
		t.Errorf("kept trace:\n%swant:\n%s", got, want)
	}
	if traceText(t, e, id(2)) == "" || traceText(t, e, id(3)) != "" {
		t.Error("trace 2 is kept for a minute, trace 3 is not")
	}
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10, Match: store.Cond{Field: store.Field{Key: "k"}, Op: store.Exists}})
	if err != nil || len(page.Traces) != 1 || page.Traces[0].Spans != 1 || page.Traces[0].Received != storetest.At(90*time.Second) {
		t.Errorf("search for the kept trace: %+v %v", page, err)
	}
	if e.LowestSeq() < 2 {
		t.Error("a kept trace holds on to its log frame")
	}

	// Late spans belong to it.
	accept(t, e, 0, "1 b a front server late 2s 1ms")
	want = traceText(t, e, id(1))
	now = now.Add(2 * time.Minute)
	traffic()
	traffic()
	if got := traceText(t, e, id(1)); got != want || strings.Count(got, "\n") != 2 {
		t.Errorf("kept trace with a late span:\n%swant:\n%s", got, want)
	}
	if got := traceText(t, e, id(2)); got != "" {
		t.Errorf("trace 2 was to be kept for a minute:\n%s", got)
	}

	// Letting go.
	if err := e.Keep(t.Context(), store.Scope{}, id(1), 1); err != nil {
		t.Fatal(err)
	}
	traffic()
	traffic()
	if got := traceText(t, e, id(1)); got != "" {
		t.Errorf("trace 1 is kept no more:\n%s", got)
	}
}

func TestKeepShare(t *testing.T) {
	e := smallEngine(200_000)
	var refused error
	for i := 1; refused == nil && i < 2000; i++ {
		accept(t, e, 0, fmt.Sprintf("%x 1 - front server get 1s 1ms unique=u%d", i, i))
		refused = e.Keep(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, uint64(i)), 0)
		if s := e.Stats(); s.Bytes > s.LimitBytes {
			t.Fatalf("%d bytes of %d", s.Bytes, s.LimitBytes)
		}
	}
	var p *problem.Problem
	if !errors.As(refused, &p) || p.Kind != problem.TooLarge {
		t.Errorf("got %v", refused)
	}
}

func TestTenants(t *testing.T) {
	e := New(Options{})
	b := storetest.Batch(t, "1 a - front server get 0s 1ms")
	b.Tenant = "blue"
	var p *problem.Problem
	if err := e.Accept(t.Context(), b); !errors.As(err, &p) || p.Kind != problem.Unsupported {
		t.Errorf("accept: %v", err)
	}
	if _, err := e.Search(t.Context(), store.Scope{Tenant: "blue"}, &store.Search{Limit: 1}); !errors.As(err, &p) || p.Kind != problem.Unsupported {
		t.Errorf("search: %v", err)
	}
}

// TestBytesAreHonest compares Stats.Bytes with what the heap says.
func TestBytesAreHonest(t *testing.T) {
	if testing.Short() {
		t.Skip("fills 32 MiB")
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for name, perTrace := range map[string]int{"20 spans a trace": 20, "1 span a trace": 1} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			e := New(Options{MaxBytes: 32 << 20})
			g := newGenerator(perTrace)
			for e.Stats().EvictedTraces < 20_000/int64(perTrace) {
				if err := e.Accept(t.Context(), g.batch(500)); err != nil {
					t.Fatal(err)
				}
			}
			g = nil
			got, s := heap()-before, e.Stats()
			t.Logf("heap %d, accounted %d of %d, %d spans: %d B a span", got, s.Bytes, s.LimitBytes, s.Spans, s.Bytes/s.Spans)
			if s.Bytes > s.LimitBytes || got > s.LimitBytes+s.LimitBytes/20 || got < s.Bytes/2 {
				t.Errorf("heap %d, accounted %d of %d", got, s.Bytes, s.LimitBytes)
			}
			runtime.KeepAlive(e)
		})
	}
}

func TestTokenOfAnotherEngine(t *testing.T) {
	ask := func(page string) (*store.Page, error) {
		e := New(Options{})
		accept(t, e, 0, "1 a - front server get 0s 1ms\n2 a - front server get 1s 1ms")
		return e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1, Page: page})
	}
	first, err := ask("")
	if err != nil || first.Next == "" {
		t.Fatal(err)
	}
	var p *problem.Problem
	if _, err := ask(first.Next); !errors.As(err, &p) || p.Kind != problem.Expired {
		t.Errorf("got %v", err)
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	e := New(Options{MaxBytes: 1 << 20})
	var p *problem.Problem
	for i := range 1000 {
		if _, err := e.Save(t.Context(), store.Scope{}, fmt.Sprint(i), make([]byte, 1000), 0); err != nil {
			if !errors.As(err, &p) || p.Kind != problem.TooLarge {
				t.Error(err)
			}
			break
		}
	}
	if got := e.Stats().Bytes; p == nil || got > 200_000 {
		t.Errorf("%d bytes of documents", got)
	}
}

// FuzzToken: a token is foreign text.
func FuzzToken(f *testing.F) {
	e := New(Options{Now: func() time.Time { return time.Unix(0, storetest.At(0)) }})
	b, err := storetest.Parse("1 a - front server get 0s 1ms\n2 a - front server get 1s 1ms\n3 a - front server get 2s 1ms")
	if err != nil {
		f.Fatal(err)
	}
	if err := e.Accept(f.Context(), b); err != nil {
		f.Fatal(err)
	}
	q := store.Search{Limit: 1}
	plan := e.planHash(store.Scope{}, &q)
	f.Add(uint64(0), uint32(0), int64(0), []byte{})
	f.Add(uint64(1)<<63, uint32(1)<<31, int64(-1)<<63, []byte{1})
	f.Fuzz(func(t *testing.T, end uint64, base uint32, start int64, id []byte) {
		// Well-formed tokens with any content must be answered, whatever with.
		tok := token{instance: e.instance, plan: plan, issued: storetest.At(0), end: ref(end), base: base, after: answer.Rank{Start: start}}
		copy(tok.after.ID[:], id)
		q := q
		q.Page = tok.String()
		if _, err := e.Search(t.Context(), store.Scope{}, &q); err != nil {
			t.Fatal(err)
		}
		q.Page = string(id)
		if _, err := e.Search(t.Context(), store.Scope{}, &q); len(id) > 0 && err == nil {
			t.Fatalf("%q is taken for a token", id)
		}
	})
}
