package clickhouse_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
)

func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverProcessor is the CPU time of the server's process.
func serverProcessor(b *testing.B, s *clickhouseserver.Server) time.Duration {
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

// BenchmarkAsk stores generated traffic in inserts of ten thousand spans and asks what people ask. SPANLOOM_SPANS sets how much.
func BenchmarkAsk(b *testing.B) {
	spans := 2_000_000
	if n, err := strconv.Atoi(os.Getenv("SPANLOOM_SPANS")); err == nil {
		spans = n
	}
	server := clickhouseserver.Start(b, "")
	to := target(b, server.Addr)
	e := open(b, clickhouse.Options{Target: to})
	defer e.Close()
	d := load.New(7, time.Unix(1_780_000_000, 0), 0, load.FormOTLP)
	batch := new(span.Batch)
	rows := d.Rows(batch)
	var trace load.Trace
	var making time.Duration
	from, fromServer, began := processor(), serverProcessor(b, server), time.Now()
	left := spans
	for no := uint64(0); left > 0; no++ {
		before := processor()
		d.Trace(no, &trace)
		rows.All(&trace)
		making += processor() - before
		left -= len(trace.Spans)
		if batch.Len() >= 10_000 || left <= 0 {
			batch.Received = d.Slot(no)
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
	server.Run(b, "OPTIMIZE TABLE "+to.Database+".spans FINAL")
	bytes := server.Number(b, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'spans' AND database = '"+to.Database+"'")
	b.Logf("%.1f bytes a span after a merge; server CPU with it %.2f µs a span", float64(bytes)/float64(spans), per(serverProcessor(b, server)-fromServer))

	intrinsic := func(key string, op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
	}
	search := func(limit int, match store.Expr) func(*testing.B, int) {
		return func(b *testing.B, _ int) {
			page, err := e.Search(b.Context(), store.Scope{}, &store.Search{Limit: limit, Match: match})
			if err != nil || len(page.Traces) == 0 {
				b.Fatal(page, err)
			}
		}
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
			i := 0
			for b.Loop() {
				c.ask(b, i)
				i++
			}
			b.ReportMetric(float64((processor()-from).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64((serverProcessor(b, server)-fromServer).Microseconds())/float64(b.N), "server-cpu-µs/op")
		})
	}
}
