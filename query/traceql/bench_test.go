package traceql

import (
	"flag"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
)

var benchSpans = flag.Int("bench-spans", 100_000, "spans in the store of the benchmarks")

// BenchmarkQueries runs what clients ask over spans of a mesh, in memory and in segments.
func BenchmarkQueries(b *testing.B) {
	base := time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)
	now := func() time.Time { return base.Add(time.Hour) }
	m := mem.New(mem.Options{MaxBytes: 8 << 30, Now: now})
	defer m.Close()
	l, err := local.Open(b.Context(), local.Options{Dir: b.TempDir(), Sync: time.Hour, Now: now})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	data := load.New(1, base, *benchSpans/20/60, load.FormOTLP) // a minute of traces
	rows, tr := data.Rows(&span.Batch{}), load.Trace{}
	for n, no := 0, uint64(0); n < *benchSpans; {
		batch := &span.Batch{Tenant: store.DefaultTenant, Received: now().UnixNano()}
		for rows.Reset(batch); batch.Len() < 2000; no++ {
			data.Trace(no, &tr)
			rows.All(&tr)
		}
		n += batch.Len()
		for _, w := range []store.Writer{m, l} {
			if err := w.Accept(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	window := store.TimeRange{From: base.Add(-time.Minute).UnixNano(), To: base.Add(10 * time.Minute).UnixNano()}
	for _, q := range []string{
		`{ }`,
		`{ resource.service.name = "reviews.bookinfo" && status = error }`,
		`{ .http.status_code = "503" } && { } | select(status, .node_id, .component)`,
		`{ kind = server } >> { status = error }`,
		`{ nestedSetParent < 0 && status = error }`,
		`{ span.http.url =~ ".*nowhere.*" }`,
		`{ .no.such.key = "x" }`,
		`{ } | avg(duration) > 1h`,
		`{ } | rate() by(resource.service.name)`,
		`{ nestedSetParent < 0 } | rate()`,
		`{ } | quantile_over_time(duration, 0.5, 0.99) by(resource.service.name)`,
		`{ kind = server } > { kind = client } | rate()`,
		`{ } | compare({ status = error })`,
	} {
		query := parse(b, q)
		for name, reader := range map[string]store.Reader{"mem": m, "local": l} {
			b.Run(name+"/"+q, func(b *testing.B) {
				e := New(reader, Options{MaxBytes: 4 << 30, MaxTime: time.Minute, MaxSeries: 10_000})
				b.ReportAllocs()
				for b.Loop() {
					var done store.Done
					if query.IsMetrics() {
						r, err := e.Metrics(b.Context(), scope, MetricsRequest{Query: query, Range: window, Step: 10 * time.Second}, nil)
						if err != nil {
							b.Fatal(err)
						}
						done = r.Done
					} else {
						r, err := e.Search(b.Context(), scope, SearchRequest{Query: query, Range: window}, nil)
						if err != nil {
							b.Fatal(err)
						}
						done = r.Done
					}
					if !done.Complete {
						b.Fatal(done.Reason)
					}
				}
			})
		}
	}
}
