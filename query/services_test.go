package query

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

var scope = store.Scope{Tenant: store.DefaultTenant}

// filled is an engine with spans in the form of readSpans.
func filled(t testing.TB, text string) *mem.Engine {
	t.Helper()
	e := mem.New(mem.Options{Now: testClock})
	t.Cleanup(func() { e.Close() })
	for _, b := range readSpans(t, text) {
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

const redSpans = `
# window: 0 to 60 s; the hour before it: -1h to 0
1  - server reviews.shop "r" 1s+10ms proxy
2  1 server reviews.shop "r" 1s+9ms
3  2 client reviews.shop "c" 1s+1ms
4  - server reviews.shop "r" 31s+30ms proxy error
5  - server reviews.shop "r" -10m+50ms proxy
6  - internal cron "tick" 2s+5ms error=true
7  6 client cron "call" 2s+1ms
8  - client lone "call" 3s+4ms
9  8 consumer lone "take" 3s+2ms
a  - internal other "long ago" -2h+1s
b  - client caller "serves nobody" 59s+1s
`

func window(from, to time.Duration) store.TimeRange {
	return store.TimeRange{From: epoch + int64(from), To: epoch + int64(to)}
}

func TestServices(t *testing.T) {
	e := filled(t, redSpans)
	q := New(Options{Reader: e, Now: testClock})
	a, err := q.Services(t.Context(), scope, ServicesQuery{Range: window(0, time.Minute), Buckets: 2})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Complete {
		t.Errorf("not complete: %s", a.Reason)
	}
	var w strings.Builder
	for _, s := range a.Items {
		fmt.Fprintf(&w, "%s spans=%d n=%d errors=%g rate=%.3f p50=%s p99=%s before n=%d p50=%s spark=%.3f %.3f\n", s.Name, s.Spans, s.RED.N, s.RED.Errors,
			s.RED.Rate, time.Duration(s.RED.P50), time.Duration(s.RED.P99), s.Before.N, time.Duration(s.Before.P50), s.Spark, s.SparkErrors)
	}
	want := `caller spans=1 n=1 errors=0 rate=0.017 p50=1s p99=1s before n=0 p50=0s spark=[0.000 0.033] [0.000 0.000]
cron spans=2 n=1 errors=1 rate=0.017 p50=5ms p99=5ms before n=0 p50=0s spark=[0.033 0.000] [0.033 0.000]
lone spans=2 n=1 errors=0 rate=0.017 p50=2ms p99=2ms before n=0 p50=0s spark=[0.033 0.000] [0.000 0.000]
reviews.shop spans=4 n=2 errors=1 rate=0.033 p50=10.092543ms p99=30ms before n=1 p50=50ms spark=[0.033 0.033] [0.000 0.033]
`
	if got := w.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestServicesWeights(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	b := readSpans(t, "1 - server a \"x\" 1s+10ms\n2 - server a \"x\" 1s+1ms error")[0]
	b.Weight[0], b.Weight[1] = 100, 50
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Reader: e, Now: testClock}).Services(t.Context(), scope, ServicesQuery{Range: window(0, time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	r := a.Items[0].RED
	if r.N != 2 || r.Weight != 150 || r.Errors != 50 || r.Rate != 2.5 || !r.Estimated || r.P50 != 10e6 || math.Abs(r.ErrorRate-1.0/3) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// counting counts the scans of an engine.
type counting struct {
	store.Reader
	scans int
	wait  bool // scans block until their context ends
}

func (c *counting) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	c.scans++
	if c.wait {
		return func(yield func(store.Rows, error) bool) {
			<-ctx.Done()
			yield(store.Rows{}, ctx.Err())
		}
	}
	return c.Reader.Scan(ctx, s, q)
}

func TestServicesLimits(t *testing.T) {
	e := filled(t, redSpans)
	ask := func(ctx context.Context, r store.Reader, l Limits) (*ServicesAnswer, error) {
		return New(Options{Reader: r, Now: testClock, Limits: l}).Services(ctx, scope, ServicesQuery{Range: window(0, time.Minute)})
	}
	if a, err := ask(t.Context(), e, Limits{ScanRows: 1}); err != nil || a.Complete || !strings.Contains(a.Reason, "spans") || len(a.Items) != 4 {
		t.Errorf("rows: %+v, %v", a, err)
	}
	if a, err := ask(t.Context(), &counting{Reader: e, wait: true}, Limits{ScanTime: time.Millisecond}); err != nil || a.Complete || !strings.Contains(a.Reason, "1ms") {
		t.Errorf("time: %+v, %v", a, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ask(cancelled, &counting{Reader: e, wait: true}, Limits{}); err == nil {
		t.Error("a cancelled question has an answer")
	}
	for _, sq := range []ServicesQuery{{Range: window(time.Minute, 0)}, {Range: window(0, 1), Buckets: 121}, {Range: window(0, 1), Buckets: -1}} {
		if _, err := New(Options{Reader: e, Now: testClock}).Services(t.Context(), scope, sq); problem.Of(err) == nil || problem.Of(err).Kind != problem.Invalid {
			t.Errorf("%+v: %v", sq, err)
		}
	}
}

func TestServicesRecent(t *testing.T) {
	now := testClock()
	c := &counting{Reader: filled(t, redSpans)}
	q := New(Options{Reader: c, Now: func() time.Time { return now }})
	ask := func(from, to time.Duration, buckets int, wantScans int) {
		t.Helper()
		if _, err := q.Services(t.Context(), scope, ServicesQuery{Range: window(from, to), Buckets: buckets}); err != nil {
			t.Fatal(err)
		}
		if c.scans != wantScans {
			t.Fatalf("%d scans, want %d", c.scans, wantScans)
		}
	}
	ask(0, time.Minute, 0, 1)
	ask(0, time.Minute, 0, 1)
	now = now.Add(time.Second)
	ask(time.Second, time.Minute+time.Second, 0, 1) // the window moved with the clock
	ask(time.Second, time.Minute, 0, 2)             // another length
	ask(0, time.Minute, 1, 3)
	now = now.Add(2 * time.Second)
	ask(0, time.Minute, 0, 4)
}

func TestSearchNameless(t *testing.T) {
	e := filled(t, "1 - server reviews \"\" 1s+1ms\n2 1 client reviews \"\" 1s+1ms\n3 1 server ratings \"x\" 1s+1ms")
	q := New(Options{Reader: e, Now: testClock})
	for text, want := range map[string]int{"operation=server reviews": 1, "operation=client reviews": 1, "operation=server ratings": 0, "operation=x": 1} {
		f, err := ParseFilters([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		page, err := q.Search(t.Context(), scope, &store.Search{Match: f.Match, Limit: 10})
		if err != nil || len(page.Traces) != want {
			t.Errorf("%s: %+v, %v", text, page, err)
		}
		if want == 1 && page.Traces[0].RootName != "server reviews" {
			t.Errorf("%s: root is called %q", text, page.Traces[0].RootName)
		}
	}
	ops, _, err := q.Operations(t.Context(), scope, "reviews", store.TimeRange{})
	if err != nil || len(ops) != 2 || ops[0].Name != "server reviews" && ops[1].Name != "server reviews" {
		t.Errorf("%+v, %v", ops, err)
	}
	for _, limit := range []int{0, -1, MaxSearchLimit + 1} {
		if _, err := q.Search(t.Context(), scope, &store.Search{Limit: limit}); problem.Of(err) == nil || problem.Of(err).Field != "limit" {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// plain is an engine that cannot bound the duration of traces.
type plain struct{ store.Reader }

func (p plain) Can() store.Abilities { return store.Abilities{} }

func (p plain) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	if q.TraceDuration != (Bounds{}) {
		return nil, problem.New(problem.Unsupported, "no trace durations", "")
	}
	return p.Reader.Search(ctx, s, q)
}

func TestSearchTraceDuration(t *testing.T) {
	e := filled(t, "1 - server a \"\" 1s+1ms trace=1\n2 - server a \"\" 1s+5ms trace=2\n3 - server a \"\" 1s+9ms trace=3")
	for name, r := range map[string]store.Reader{"native": e, "here": plain{e}} {
		page, err := New(Options{Reader: r, Now: testClock}).Search(t.Context(), scope, &store.Search{Limit: 10, TraceDuration: Bounds{2e6, 9e6 - 1}})
		if err != nil || len(page.Traces) != 1 || page.Traces[0].TraceID.Low() != 2 {
			t.Errorf("%s: %+v, %v", name, page, err)
		}
	}
}

func TestSlots(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	var names []string
	for i := range Slots {
		names = append(names, fmt.Sprintf("service-%d", i))
	}
	q := New(Options{Reader: e, Meta: e})
	first := q.SlotsOf(t.Context(), scope, names)
	if sorted := slices.Sorted(slices.Values(first)); len(slices.Compact(sorted)) != Slots {
		t.Errorf("20 services have the slots %v", first)
	}
	if got := q.SlotsOf(t.Context(), scope, []string{names[0]})[0]; got != first[0] || first[0] != hashSlot(names[0]) {
		t.Errorf("%s has slot %d, then %d; its hash is %d", names[0], first[0], got, hashSlot(names[0]))
	}
	more := q.SlotsOf(t.Context(), scope, []string{"x", "y", "z"})
	if more[0] == more[1] || more[1] == more[2] || more[0] == more[2] {
		t.Errorf("one slot is shared by more than two while others are by one: %v", more)
	}
	again := New(Options{Reader: e, Meta: e}).SlotsOf(t.Context(), scope, append(names, "x", "y", "z"))
	if !slices.Equal(again, append(first, more...)) {
		t.Errorf("after a restart %v, want %v", again, append(first, more...))
	}
}

// TestSlotsOfReplicas: several processes over one store agree, whoever is first.
func TestSlotsOfReplicas(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	got := make([][]int, 8)
	var names []string
	for i := range 15 {
		names = append(names, fmt.Sprintf("service-%d", i))
	}
	var wg sync.WaitGroup
	for i := range got {
		q := New(Options{Reader: e, Meta: e})
		for j := range 4 { // concurrent use of one process too
			wg.Go(func() {
				mine := slices.Clone(names)
				rand.New(rand.NewPCG(uint64(i), uint64(j))).Shuffle(len(mine), func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
				for _, name := range mine {
					q.SlotsOf(context.Background(), scope, []string{name})
				}
			})
		}
		wg.Wait()
		got[i] = q.SlotsOf(t.Context(), scope, names)
	}
	for i := range got {
		if !slices.Equal(got[i], got[0]) {
			t.Errorf("process %d: %v, want %v", i, got[i], got[0])
		}
	}
}

// flaky is small state that can be broken.
type flaky struct {
	store.Meta
	broken bool
	beaten int // saves to answer with a conflict
}

func (f *flaky) Save(ctx context.Context, s store.Scope, name string, data []byte, v uint64) (uint64, error) {
	if f.broken {
		return 0, problem.New(problem.Unavailable, "disk is full", "")
	}
	if f.beaten > 0 {
		f.beaten--
		return 0, &problem.Problem{Kind: problem.Invalid, Message: "changed", Err: store.ErrConflict}
	}
	return f.Meta.Save(ctx, s, name, data, v)
}

func TestSlotsWithoutStore(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	now := testClock()
	m := &flaky{Meta: e, broken: true}
	q := New(Options{Reader: e, Meta: m, Now: func() time.Time { return now }})
	names := []string{"a", "b", "c"}
	first := q.SlotsOf(t.Context(), scope, names)
	if got := q.SlotsOf(t.Context(), scope, names); !slices.Equal(got, first) {
		t.Errorf("%v, then %v", first, got)
	}
	m.broken, m.beaten = false, 2
	now = now.Add(retryColours)
	if got := q.SlotsOf(t.Context(), scope, names); !slices.Equal(got, first) {
		t.Errorf("%v, then %v", first, got)
	}
	if got := New(Options{Reader: e, Meta: e}).SlotsOf(t.Context(), scope, names); !slices.Equal(got, first) {
		t.Errorf("written %v, want %v", got, first)
	}
	if got := New(Options{Reader: e}).SlotsOf(t.Context(), scope, []string{"a"}); got[0] != hashSlot("a") {
		t.Errorf("without a store %v", got)
	}
}

func TestSlotsDocumentIsFull(t *testing.T) {
	e := mem.New(mem.Options{})
	defer e.Close()
	q := New(Options{Reader: e, Meta: e})
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("service-%d-%s\x01\"", i, strings.Repeat("x", 50)))
	}
	first := q.SlotsOf(t.Context(), scope, names)
	again := New(Options{Reader: e, Meta: e}).SlotsOf(t.Context(), scope, names)
	if !slices.Equal(first, again) {
		t.Error("slots of a full document differ after a restart")
	}
	doc, err := e.Load(t.Context(), scope, coloursDocument)
	if err != nil || len(doc.Data) > store.MaxDocument || len(doc.Data) < store.MaxDocument/2 {
		t.Errorf("document of %d bytes, %v", len(doc.Data), err)
	}
}

// TestTraceOfEngine assembles what an engine yields.
func TestTraceOfEngine(t *testing.T) {
	e := filled(t, "1 - server a \"x\" 1s+1ms\n---\n1 - server a \"x\" 1s+1ms\n2 1 client a \"y\" 1s+1ms")
	tr, err := New(Options{Reader: e, Now: testClock}).Trace(t.Context(), scope, testTrace, store.TimeRange{})
	if err != nil || tr.Spans != 2 || tr.Rows[0].Flags&FlagDuplicates == 0 || !tr.Complete || tr.Received != epoch+int64(time.Second) {
		t.Errorf("%+v, %v", tr, err)
	}
	var p *problem.Problem
	if _, err := New(Options{Reader: e}).Trace(t.Context(), scope, span.TraceIDFromUint64s(9, 9), store.TimeRange{}); err == nil {
		t.Errorf("an unknown trace is found: %v", p)
	}
}

func BenchmarkServices(b *testing.B) {
	const n = 200_000
	e := mem.New(mem.Options{MaxBytes: 1 << 30})
	defer e.Close()
	for _, batch := range benchmarkBatches(n) {
		batch.Tenant = store.DefaultTenant
		for i := range batch.Len() {
			batch.TraceID[i] = span.TraceIDFromUint64s(1, uint64(i/20)+1)
		}
		if err := e.Accept(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	now := time.Unix(0, epoch)
	q := New(Options{Reader: e, Now: func() time.Time { now = now.Add(recentFor); return now }})
	for b.Loop() {
		a, err := q.Services(b.Context(), scope, ServicesQuery{Range: window(0, time.Hour), Buckets: 30})
		if err != nil || len(a.Items) != 12 {
			b.Fatal(err, len(a.Items))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/span")
}
