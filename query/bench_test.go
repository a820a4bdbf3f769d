package query

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
)

// segmentsOf is tables of 20,000 traces (some 400,000 spans) in four segments of four minutes each, as 2M spans make with
// five times the rate: the cost of rollups depends on keys and minutes, not on spans.
func segmentsOf(b *testing.B) (*rolled, store.TimeRange) {
	b.Helper()
	start := time.Unix(0, epoch).Truncate(time.Minute)
	d := load.New(3, start, 21, load.FormOTLP)
	r := &rolled{Reader: mem.New(mem.Options{Now: testClock})}
	for segment := range 4 {
		builder := rollup.NewBuilder()
		var tr load.Trace
		for no := segment * 5000; no < (segment+1)*5000; no += 1000 {
			batch := &span.Batch{Tenant: store.DefaultTenant}
			rows := d.Rows(batch)
			for n := no; n < no+1000; n++ {
				d.Trace(uint64(n), &tr)
				rows.All(&tr)
			}
			builder.Add(batch)
		}
		t, err := rollup.Decode(builder.Table().AppendBinary(nil))
		if err != nil {
			b.Fatal(err)
		}
		r.segments = append(r.segments, t)
	}
	return r, store.TimeRange{From: start.UnixNano(), To: start.Add(16 * time.Minute).UnixNano()}
}

func BenchmarkMapFromRollups(b *testing.B) {
	r, window := segmentsOf(b)
	q := New(Options{Reader: r, Now: testClock})
	b.ResetTimer()
	for range b.N {
		if _, err := q.Map(b.Context(), scope, MapQuery{Range: window}); err != nil {
			b.Fatal(err)
		}
	}
	size := 0
	for _, s := range r.segments {
		size += len(s.AppendBinary(nil))
	}
	b.ReportMetric(float64(size), "table-bytes")
}

func BenchmarkServicesFromRollups(b *testing.B) {
	r, window := segmentsOf(b)
	q := New(Options{Reader: r, Now: testClock})
	b.ResetTimer()
	for i := range b.N {
		w := store.TimeRange{From: window.From, To: window.To + int64(i%2)} // not the answer of two seconds ago
		if _, err := q.Services(b.Context(), scope, ServicesQuery{Range: w, Buckets: i % 100}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFind looks for an attribute that one span of 50,000 has.
func BenchmarkFind(b *testing.B) {
	d := load.New(3, time.Unix(0, epoch), 21, load.FormOTLP)
	batch := &span.Batch{Tenant: store.DefaultTenant}
	rows := d.Rows(batch)
	var tr load.Trace
	for no := uint64(0); batch.Len() < 50_000; no++ {
		d.Trace(no, &tr)
		rows.All(&tr)
	}
	t := &Trace{Batch: batch}
	for row := range batch.Len() {
		t.Rows = append(t.Rows, Row{Span: int32(row)})
	}
	b.ResetTimer()
	for range b.N {
		if n := len(t.Find("nobody-has-this")); n != 0 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.Attrs)), "ns/attribute")
}
