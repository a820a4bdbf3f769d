// Package engines is what tests of engines share whose data lives in servers: a benchmark of what people ask, traffic, and servers that are killed.
package engines

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// Server is a real server that a test started.
type Server interface {
	PID() int
	Kill()
	Restart(t testing.TB)
}

// Killed kills the server under load as often as times says, and starts it again: what was acknowledged is there, once. patience is
// how long twenty batches may take to be stored.
func Killed(t *testing.T, e store.Engine, server Server, times int, patience time.Duration) {
	t.Helper()
	var acknowledged sync.Map
	var stored, refused atomic.Int64
	var senders sync.WaitGroup
	stop := make(chan struct{})
	for s := range 3 {
		senders.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				trace := fmt.Sprintf("%x", 1+s<<32+i)
				b, err := storetest.Parse(fmt.Sprintf("%s 1 - front server get 0s 1ms\n%s 2 1 front client get 0s 1ms", trace, trace))
				if err != nil {
					t.Error(err)
					return
				}
				if err := e.Accept(t.Context(), b); err != nil {
					var p *problem.Problem
					if !errors.As(err, &p) || !p.Kind.Retryable() {
						t.Errorf("a sender hears %v, which says not to try again", err)
						return
					}
					refused.Add(1)
					continue
				}
				acknowledged.Store(b.TraceID[0], true)
				stored.Add(1)
			}
		})
	}
	more := func() {
		before := stored.Load()
		wait.For(t, patience, "batches to be stored", func() bool { return stored.Load() > before+20 })
	}
	for range times {
		more()
		server.Kill()
		was := refused.Load()
		wait.For(t, 60*time.Second, "a refusal", func() bool { return refused.Load() > was })
		server.Restart(t)
	}
	more()
	close(stop)
	senders.Wait()
	found := make(map[any]int)
	q := store.Search{Limit: 1000}
	for {
		page, err := e.Search(t.Context(), store.Scope{}, &q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Traces {
			found[s.TraceID] = s.Spans
		}
		if q.Page = page.Next; q.Page == "" {
			break
		}
	}
	missing, n := 0, 0
	acknowledged.Range(func(id, _ any) bool {
		n++
		if found[id] != 2 {
			missing++
		}
		return true
	})
	t.Logf("%d batches acknowledged, %d refused", stored.Load(), refused.Load())
	if missing > 0 || n == 0 {
		t.Errorf("%d of %d acknowledged traces are missing or not whole", missing, n)
	}
}

// scanned is an engine without what it can do beyond the contract: rollups.
type scanned struct{ store.Reader }

// Traffic is batches of generated spans in the order they ended, so that most traces lie in several: a trace a second from start on, which is the
// beginning of a minute twenty minutes before now, received now.
func Traffic(now time.Time, seconds, pieces int) (batches []*span.Batch, start time.Time) {
	start = now.Add(-20 * time.Minute).Truncate(time.Minute)
	d := load.New(5, start, 1, load.FormOTLP)
	traces := make([]load.Trace, seconds)
	type sent struct{ trace, span int }
	var order []sent
	for no := range traces {
		d.Trace(uint64(no), &traces[no])
		for i := range traces[no].Spans {
			order = append(order, sent{no, i})
		}
	}
	slices.SortStableFunc(order, func(x, y sent) int {
		return cmp.Compare(traces[x.trace].Spans[x.span].End, traces[y.trace].Spans[y.span].End)
	})
	for piece := range slices.Chunk(order, (len(order)+pieces-1)/pieces) {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: now.UnixNano()}
		rows := d.Rows(b)
		for _, s := range piece {
			rows.Add(&traces[s.trace], s.span)
		}
		batches = append(batches, b)
	}
	return batches, start
}

func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverProcessor is the CPU time of the server's process, 0 for an engine without a server.
func serverProcessor(b *testing.B, s Server) time.Duration {
	if s == nil {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Ask stores generated traffic in inserts of ten thousand spans and asks what people ask, each question as often as the benchmark's time allows: half of the
// answers were there within p50-ms. SPANLOOM_SPANS sets how much. stored is called when all is there, with the number of spans and what the server has
// spent since, in µs a span. An engine in this process has no server (nil).
func Ask(b *testing.B, e store.Engine, server Server, stored func(spans int, spent func() float64)) {
	spans := 2_000_000
	if n, err := strconv.Atoi(os.Getenv("SPANLOOM_SPANS")); err == nil {
		spans = n
	}
	d := load.New(7, time.Unix(1_780_000_000, 0), 0, load.FormOTLP)
	batch := new(span.Batch)
	rows := d.Rows(batch)
	var trace load.Trace
	var making time.Duration
	from, fromServer, began := processor(), serverProcessor(b, server), time.Now()
	left, last := spans, int64(0)
	for no := uint64(0); left > 0; no++ {
		before := processor()
		d.Trace(no, &trace)
		rows.All(&trace)
		making += processor() - before
		left -= len(trace.Spans)
		if batch.Len() >= 10_000 || left <= 0 {
			batch.Received = d.Slot(no)
			last = batch.Received
			if err := e.Accept(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
			rows.Reset(batch)
		}
	}
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(spans) }
	b.Logf("%d spans in %s: %.2f µs CPU a span here (making them not counted), %.2f µs at the server", spans, time.Since(began).Round(time.Millisecond),
		per(processor()-from-making), per(serverProcessor(b, server)-fromServer))
	stored(spans, func() float64 { return per(serverProcessor(b, server) - fromServer) })

	intrinsic := func(key string, op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
	}
	search := func(limit int, match store.Expr) func(*testing.B, int) {
		return func(b *testing.B, _ int) {
			page, err := e.Search(b.Context(), store.Scope{}, &store.Search{Limit: limit, Match: match})
			if err != nil || len(page.Traces) == 0 {
				b.Fatal("no traces", err)
			}
		}
	}
	const minute = int64(time.Minute)
	all := store.TimeRange{From: d.Base / minute * minute, To: (last/minute + 3) * minute} // whole minutes, of which rollups are
	// What takes longer than query allows is answered in part.
	inTime := func(b *testing.B, done store.Done) {
		if !done.Complete {
			b.ReportMetric(1, "in-part")
			b.Log(done.Reason)
		}
	}
	rates := func(b *testing.B, r store.Reader) {
		a, err := query.New(query.Options{Reader: r}).Services(b.Context(), store.Scope{}, query.ServicesQuery{Range: all})
		if err != nil || a.Complete && len(a.Items) != load.Services {
			b.Fatal("rates of", len(a.Items), "services", err)
		}
		inTime(b, a.Done)
	}
	calls := func(b *testing.B, r store.Reader) {
		a, err := query.New(query.Options{Reader: r}).Map(b.Context(), store.Scope{}, query.MapQuery{Range: all})
		if err != nil || a.Complete && len(a.Edges) < load.Services {
			b.Fatal("a map of", len(a.Edges), "edges", err)
		}
		inTime(b, a.Done)
	}
	for _, c := range []struct {
		name string
		ask  func(b *testing.B, i int)
	}{
		{"trace", func(b *testing.B, i int) {
			d.Trace(uint64(i*7919)%uint64(spans/21), &trace)
			n := 0
			for batch, err := range e.Trace(b.Context(), store.Scope{}, trace.ID, store.TimeRange{}) {
				if err != nil {
					b.Fatal(err)
				}
				n += batch.Len()
			}
			if n != len(trace.Spans) {
				b.Fatalf("%d rows, want %d", n, len(trace.Spans))
			}
		}},
		{"newest", search(20, intrinsic(store.FieldService, store.Eq, store.Text("payment.orders")))},
		{"newest failed", search(20, store.And{intrinsic(store.FieldService, store.Eq, store.Text("payment.orders")),
			intrinsic(store.FieldStatus, store.Eq, store.Text("error"))})},
		{"request id", func(b *testing.B, i int) {
			d.Trace(uint64(i*7919)%uint64(spans/21), &trace)
			search(20, store.Cond{Field: store.Field{In: store.InSpan, Key: "guid:x-request-id"}, Op: store.Eq, Value: store.LooseText(trace.RequestID)})(b, i)
		}},
		{"request id anywhere", func(b *testing.B, i int) {
			d.Trace(uint64(i*7919)%uint64(spans/21), &trace)
			search(20, store.Cond{Field: store.Field{Key: "guid:x-request-id"}, Op: store.Eq, Value: store.LooseText(trace.RequestID)})(b, i)
		}},
		{"status code", search(20, store.Cond{Field: store.Field{In: store.InSpan, Key: "http.status_code"}, Op: store.Eq, Value: store.LooseText("503")})},
		{"long", search(20, intrinsic(store.FieldDuration, store.Gt, store.Int(200_000_000)))},
		{"rates of all services", func(b *testing.B, _ int) { rates(b, e) }},
		{"map", func(b *testing.B, _ int) { calls(b, e) }},
		{"rates of all services by scan", func(b *testing.B, _ int) { rates(b, scanned{e}) }},
		{"map by scan", func(b *testing.B, _ int) { calls(b, scanned{e}) }},
		{"services", func(b *testing.B, _ int) {
			if list, _, err := e.Services(b.Context(), store.Scope{}, store.TimeRange{}); err != nil || len(list) == 0 {
				b.Fatal(list, err)
			}
		}},
		{"keys", func(b *testing.B, _ int) {
			if list, _, err := e.Keys(b.Context(), store.Scope{}, store.KeysQuery{}); err != nil || len(list) == 0 {
				b.Fatal(list, err)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			from, fromServer := processor(), serverProcessor(b, server)
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				c.ask(b, len(took))
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(0, "ns/op") // the mean says nothing that these do not
			b.ReportMetric(float64((processor()-from).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64((serverProcessor(b, server)-fromServer).Microseconds())/float64(b.N), "server-cpu-µs/op")
		})
	}
}
