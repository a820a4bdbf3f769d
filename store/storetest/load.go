package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// random gives an engine and the model the same spans and asks both the same questions in between.
func random(t *testing.T, s *suite) {
	for _, seed := range seeds(t) {
		ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			start(t, s.open, s.loss, func(t *testing.T, s *suite) { randomOf(t, s, rand.New(rand.NewPCG(seed, 7))) })
		})
		if !ok {
			t.Fatalf("replay with SPANLOOM_SEED=%d", seed)
		}
	}
}

func randomOf(t *testing.T, s *suite, r *rand.Rand) {
	for range 10 {
		s.accept(t, RandomText(r, 1+r.IntN(60), 15, r.IntN(30)))
		for range 5 {
			q := store.Search{Match: RandomExpr(r, 2), Limit: 1 + r.IntN(12), Mode: store.TimeMode(r.IntN(2)), Range: randomRange(r)}
			if s.engine.Can().TraceDuration && r.IntN(3) == 0 {
				q.TraceDuration.Min = int64(r.IntN(1500)) * 1e6
				q.TraceDuration.Max = q.TraceDuration.Min * int64(r.IntN(3))
			}
			s.checkSearch(t, q)
			s.checkScan(t, store.Scan{Match: q.Match, Mode: q.Mode, Range: q.Range})
		}
		s.checkTrace(t, scope, span.TraceIDFromUint64s(0, 1+r.Uint64N(45)))
	}
	s.checkLists(t, randomRange(r))
}

func randomRange(r *rand.Rand) (tr store.TimeRange) {
	if r.IntN(2) == 0 {
		tr.From = At(time.Duration(r.IntN(2500)) * time.Millisecond)
	}
	if r.IntN(2) == 0 {
		tr.To = At(time.Duration(r.IntN(4000)) * time.Millisecond)
	}
	return tr
}

// checkScan compares the rows of a scan with the model's: every stored row at most once, and every span at least once.
func (s *suite) checkScan(t *testing.T, q store.Scan) {
	t.Helper()
	left := make(map[string]int)
	spans := make(map[span.Identity]bool)
	for _, r := range s.model.rows {
		if r.inside(q.Range, q.Mode) && Holds(r.b, r.row, q.Match) {
			left[printRow(r.b, r.row)]++
		}
	}
	for _, r := range lastCopies(s.model.rows) { // the others an engine may have let go of
		if r.inside(q.Range, q.Mode) && Holds(r.b, r.row, q.Match) {
			spans[r.b.Identity(r.row)] = true
		}
	}
	q.Need = store.Everything()
	for r, err := range s.engine.Scan(t.Context(), scope, &q) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			text := printRow(r.Batch, int(row))
			if left[text]--; left[text] < 0 {
				t.Fatalf("scan %#v yields a row too often:\n%s", q, text)
			}
			delete(spans, r.Batch.Identity(int(row)))
		}
	}
	if len(spans) > 0 {
		t.Errorf("scan %#v leaves out %d spans: %v", q, len(spans), spans)
	}
}

// concurrent writes from several goroutines while others read. What a writer was told is stored must be readable at once.
func concurrent(t *testing.T, s *suite) {
	const writers, batches = 4, 60
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := s.engine.Search(t.Context(), scope, &store.Search{Limit: 5, Match: cond(in(store.InSpan, "w"), store.Ge, store.Int(0))})
				if err != nil {
					t.Error(err)
					return
				}
				for _, sum := range page.Traces {
					if sum.Spans != 10 || sum.Matched != 10 {
						t.Errorf("half a batch is seen: %s", Summaries([]store.Summary{sum}))
					}
				}
				if _, _, err := s.engine.Services(t.Context(), scope, store.TimeRange{}); err != nil {
					t.Error(err)
				}
				if _, _, err := s.engine.Keys(t.Context(), scope, store.KeysQuery{}); err != nil {
					t.Error(err)
				}
				s.engine.Stats()
			}
		})
	}
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range batches {
				trace := fmt.Sprintf("%x", 1+w*batches+i)
				text := ""
				for k := range 10 {
					text += fmt.Sprintf("%s %x - w%d server get %dms 1ms w=%d\n", trace, k+1, w, i, w)
				}
				b, err := Parse(text)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.engine.Accept(t.Context(), b); err != nil {
					t.Error(err)
					return
				}
				n := 0
				for b, err := range s.engine.Trace(t.Context(), scope, b.TraceID[0], store.TimeRange{}) {
					if err != nil {
						t.Error(err)
						return
					}
					n += b.Len()
				}
				if n != 10 {
					t.Errorf("trace %s has %d spans after Accept", trace, n)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	wg.Wait()
	if got := s.search(t, store.Search{Limit: 100}); len(got) != writers*batches {
		t.Errorf("%d traces, want %d", len(got), writers*batches)
	}
}

// hugeTrace stores one trace of 200,000 spans among small ones. Whatever is quadratic in the spans of a trace does not end.
func hugeTrace(t *testing.T, s *suite) {
	if testing.Short() {
		t.Skip("with -short: 200,000 spans")
	}
	const spans, perBatch = 200_000, 5_000
	for first := 0; first < spans; first += perBatch {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: At(DefaultReceived)}
		b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
		for i := range perBatch {
			row := b.AddRow()
			b.TraceID[row] = span.TraceIDFromUint64s(0, 7)
			if i%1000 == 999 {
				b.TraceID[row] = span.TraceIDFromUint64s(1, uint64(first+i))
			}
			b.SpanID[row] = span.SpanIDFromUint64(uint64(first + i + 1))
			b.Start[row] = uint64(At(time.Duration(first+i) * time.Microsecond))
			b.End[row] = b.Start[row] + 1000
			b.Time[row] = int64(b.Start[row])
			b.Service[row] = b.AddText(fmt.Sprintf("s%d", i%1500))
			mark := b.AttrMark()
			b.AddTextAttr("i", fmt.Sprint("n", first+i)) // a text that nobody takes for a number
			b.SpanAttrs[row] = b.AttrsSince(mark)
		}
		if err := s.engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	const huge = spans - spans/1000
	got := s.search(t, store.Search{Limit: 150})
	if len(got) != 1+spans/1000 || got[1].Spans != huge || got[1].Matched != huge || len(got[1].Services) != 1500 {
		t.Errorf("%d traces, the second: %.300s", len(got), Summaries(got[1:2]))
	}
	got = s.search(t, store.Search{Limit: 150, Match: cond(in(store.InSpan, "i"), store.Eq, store.Text("n123456"))})
	if len(got) != 1 || got[0].Spans != huge || got[0].Matched != 1 {
		t.Errorf("%d traces", len(got))
	}
	n := 0
	for b, err := range s.engine.Trace(t.Context(), scope, span.TraceIDFromUint64s(0, 7), store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		n += b.Len()
	}
	if n != huge {
		t.Errorf("the trace has %d spans, want %d", n, huge)
	}
}

// manyKeys stores 100,000 different attribute keys.
func manyKeys(t *testing.T, s *suite) {
	if testing.Short() {
		t.Skip("with -short: 100,000 keys")
	}
	const keys, perSpan = 100_000, 100
	for first := 0; first < keys; first += 10 * perSpan {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: At(DefaultReceived)}
		b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
		for i := first; i < first+10*perSpan; i += perSpan {
			row := b.AddRow()
			b.TraceID[row] = span.TraceIDFromUint64s(0, 7)
			b.SpanID[row] = span.SpanIDFromUint64(uint64(i + 1))
			b.Start[row] = uint64(At(time.Duration(i)))
			b.Time[row] = int64(b.Start[row])
			mark := b.AttrMark()
			for k := range perSpan {
				b.AddTextAttr(fmt.Sprintf("key%d", i+k), "v")
			}
			b.SpanAttrs[row] = b.AttrsSince(mark)
		}
		if err := s.engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	got := s.search(t, store.Search{Limit: 5, Match: cond(in(store.InAny, "key77777"), store.Eq, store.Text("v"))})
	if len(got) != 1 || got[0].Matched != 1 || got[0].Spans != keys/perSpan {
		t.Errorf("got %s", Summaries(got))
	}
	list, done, err := s.engine.Keys(t.Context(), scope, store.KeysQuery{Prefix: "key7777", Limit: 100})
	if err != nil || !done.Complete || len(list) != 11 {
		t.Errorf("%d keys with a prefix: %+v %v", len(list), done, err)
	}
}
