package export

import (
	"io"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// BenchmarkWrite exports the traffic of `spanloom load`.
func BenchmarkWrite(b *testing.B) {
	e := mem.New(mem.Options{MaxBytes: 1 << 30})
	defer e.Close()
	data := load.New(1, time.Unix(1_767_225_600, 0), 0, load.FormOTLP)
	var t load.Trace
	for no := uint64(0); no < 5000; no += 25 {
		batch := &span.Batch{Tenant: store.DefaultTenant, Received: data.Slot(no) + int64(time.Minute)}
		rows := data.Rows(batch)
		for k := range uint64(25) {
			data.Trace(no+k, &t)
			rows.All(&t)
		}
		if err := e.Accept(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	var all Report
	b.ReportAllocs()
	for b.Loop() {
		r, err := Write(b.Context(), e, Options{Scope: store.Scope{Tenant: store.DefaultTenant}}, io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		all.Spans += r.Spans
		all.Bytes += r.Bytes
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(all.Spans), "ns/span")
	b.ReportMetric(float64(all.Bytes)/float64(all.Spans), "B/span")
}
