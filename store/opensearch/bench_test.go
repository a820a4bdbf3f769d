package opensearch_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/opensearch"
)

func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverProcessor is the CPU time of the server's process.
func serverProcessor(b *testing.B, s *searchserver.Server) time.Duration {
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

// BenchmarkAsk stores generated traffic in inserts of ten thousand spans and asks what people ask. SPANLOOM_SPANS sets how much, SPANLOOM_SERVER of
// which server.
func BenchmarkAsk(b *testing.B) {
	spans := 2_000_000
	if n, err := strconv.Atoi(os.Getenv("SPANLOOM_SPANS")); err == nil {
		spans = n
	}
	kind := searchserver.Kind(os.Getenv("SPANLOOM_SERVER"))
	if kind == "" {
		kind = searchserver.Elasticsearch
	}
	server := searchserver.Start(b, kind, "")
	to := target(b, server, server.Addr)
	e := open(b, opensearch.Options{Target: to})
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
	size := func() float64 {
		var answer struct {
			All struct {
				Primaries struct {
					Store struct {
						Bytes int64 `json:"size_in_bytes"`
					}
				}
			} `json:"_all"`
		}
		if err := json.Unmarshal([]byte(server.Do(b, http.MethodGet, "/"+to.Prefix+"-spans-*/_stats/store", "")), &answer); err != nil {
			b.Fatal(err)
		}
		return float64(answer.All.Primaries.Store.Bytes) / float64(spans)
	}
	server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_flush", "")
	b.Logf("%.1f bytes a span", size())
	if status := server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_forcemerge?max_num_segments=1&wait_for_completion=true", ""); status == "" {
		b.Fatal("no answer to a merge")
	}
	server.Do(b, http.MethodPost, "/"+to.Prefix+"-spans-*/_flush?force=true", "")
	b.Logf("%.1f bytes a span after a merge; server CPU with it %.2f µs a span", size(), per(serverProcessor(b, server)-fromServer))

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
