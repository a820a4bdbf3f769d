package local

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// filled is an engine with spans of generated traffic, all of them in segments.
func filled(b *testing.B, spans int) (*Engine, *load.Data) {
	return filledWith(b, spans, Options{})
}

// filledWith is filled with options of the caller's.
func filledWith(b *testing.B, spans int, o Options) (*Engine, *load.Data) {
	b.Helper()
	base := time.Unix(1_780_000_000, 0)
	d := load.New(7, base, 0, load.FormOTLP)
	o.Dir, o.Sync, o.MaxMemory = b.TempDir(), time.Hour, 1<<30
	e, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	batch := new(span.Batch)
	rows := d.Rows(batch)
	var trace load.Trace
	for no := uint64(0); spans > 0; no++ {
		d.Trace(no, &trace)
		rows.All(&trace)
		spans -= len(trace.Spans)
		if batch.Len() > 500 || spans <= 0 {
			batch.Received = d.Slot(no)
			if err := e.Accept(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
			rows.Reset(batch)
		}
	}
	if err := e.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	return e, d
}

func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAsk asks what people ask. cpu-µs/op is the processor's time, which other processes do not lengthen.
func BenchmarkAsk(b *testing.B) {
	const spans = 1_000_000
	e, d := filled(b, spans)
	scope := defaultScope()
	intrinsic := func(key string, op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
	}
	search := func(limit int, match store.Expr) func(*testing.B, int) {
		return func(b *testing.B, _ int) {
			if _, err := e.Search(b.Context(), scope, &store.Search{Limit: limit, Match: match}); err != nil {
				b.Fatal(err)
			}
		}
	}
	var trace load.Trace
	for _, c := range []struct {
		name string
		ask  func(b *testing.B, i int)
	}{
		{"trace", func(b *testing.B, i int) {
			d.Trace(uint64(i*7919)%(spans/20), &trace)
			rows := 0
			for batch, err := range e.Trace(b.Context(), scope, trace.ID, store.TimeRange{}) {
				if err != nil {
					b.Fatal(err)
				}
				rows += batch.Len()
			}
			if rows != len(trace.Spans) {
				b.Fatalf("%d rows, want %d", rows, len(trace.Spans))
			}
		}},
		{"newest", search(20, intrinsic(store.FieldService, store.Eq, store.Text("payment.orders")))},
		{"newest failed", search(20, store.And{intrinsic(store.FieldService, store.Eq, store.Text("payment.orders")),
			intrinsic(store.FieldStatus, store.Eq, store.Text("error"))})},
		{"rare", func(b *testing.B, i int) {
			d.Trace(uint64(i*7919)%(spans/20), &trace)
			search(20, store.Cond{Field: store.Field{Key: "guid:x-request-id"}, Op: store.Eq, Value: store.LooseText(trace.RequestID)})(b, i)
		}},
		{"nowhere", search(20, store.Cond{Field: store.Field{Key: "http.url"}, Op: store.Eq, Value: store.Text("nowhere")})},
		{"regex nowhere", search(20, store.Cond{Field: store.Field{Key: "http.url"}, Op: store.Regex, Value: store.Text(".*nowhere.*")})},
		{"slowest", search(20, intrinsic(store.FieldDuration, store.Ge, store.Int(int64(400*time.Millisecond))))},
		{"services", func(b *testing.B, _ int) {
			if _, _, err := e.Services(b.Context(), scope, store.TimeRange{}); err != nil {
				b.Fatal(err)
			}
		}},
		{"rollups", func(b *testing.B, _ int) {
			if _, _, err := e.Rollups(b.Context(), scope, store.TimeRange{}); err != nil {
				b.Fatal(err)
			}
		}},
		{"scan", func(b *testing.B, _ int) {
			n := 0
			for r, err := range e.Scan(b.Context(), scope, &store.Scan{Mode: store.Start, Need: store.Need{
				Columns: store.ColKind | store.ColStatus | store.ColMark | store.ColTime | store.ColWeight | store.ColService}}) {
				if err != nil {
					b.Fatal(err)
				}
				n += len(r.Rows)
			}
			if n < spans {
				b.Fatal(n)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			began, i := processor(), 0
			for b.Loop() {
				c.ask(b, i)
				i++
			}
			b.ReportMetric(float64((processor()-began).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
	b.Logf("%s", fmt.Sprint(e.Stats().DiskBytes/int64(spans), " B/span"))
}
