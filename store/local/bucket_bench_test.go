package local

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/s3server"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/store"
)

// BenchmarkBucket asks a reader over a real S3 server on this machine: cold, where each question finds an empty cache, and warm, where it finds
// what the same kind of question left.
func BenchmarkBucket(b *testing.B) {
	const spans = 1_000_000
	s := s3server.Start(b)
	e, d := filledWith(b, spans, Options{Bucket: bucketAt(b, s.URL("bench")), LockWait: -1})
	began := time.Now()
	if err := e.Upload(b.Context()); err != nil {
		b.Fatal(err)
	}
	u := e.Stats().Bucket
	b.Logf("uploaded %d segments, %d bytes; the last of it in %v", u.Segments, u.Bytes, time.Since(began))
	reader := func(b *testing.B) *Reader {
		r, err := OpenReader(b.Context(), Options{Dir: b.TempDir(), Bucket: bucketAt(b, s.URL("bench")), MaxMemory: 1 << 30, LockWait: -1})
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	var trace load.Trace
	for _, c := range []struct {
		name string
		ask  func(b *testing.B, r *Reader, i int)
	}{
		{"trace", func(b *testing.B, r *Reader, i int) {
			d.Trace(uint64(i*7919)%(spans/20), &trace)
			rows := 0
			for batch, err := range r.Trace(b.Context(), defaultScope(), trace.ID, store.TimeRange{}) {
				if err != nil {
					b.Fatal(err)
				}
				rows += batch.Len()
			}
			if rows != len(trace.Spans) {
				b.Fatalf("%d rows, want %d", rows, len(trace.Spans))
			}
		}},
		{"newest", func(b *testing.B, r *Reader, _ int) {
			page, err := r.Search(b.Context(), defaultScope(), &store.Search{Limit: 20, Match: store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldService},
				Op: store.Eq, Value: store.Text("payment.orders")}})
			if err != nil || len(page.Traces) != 20 {
				b.Fatal(page, err)
			}
		}},
	} {
		percentiles := func(b *testing.B, took []time.Duration, fetches, bytes int64) {
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(fetches)/float64(len(took)), "fetches/op")
			b.ReportMetric(float64(bytes)/float64(len(took)), "fetched-B/op")
		}
		b.Run(fmt.Sprint(c.name, "/cold"), func(b *testing.B) {
			var took []time.Duration
			var fetches, bytes int64
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				r := reader(b)
				before := r.far.cache.Stats()
				b.StartTimer()
				began := time.Now()
				c.ask(b, r, i)
				took = append(took, time.Since(began))
				b.StopTimer()
				after := r.far.cache.Stats()
				fetches, bytes = fetches+after.Misses-before.Misses, bytes+after.Fetched-before.Fetched
				r.Close()
				b.StartTimer()
			}
			percentiles(b, took, fetches, bytes)
		})
		b.Run(fmt.Sprint(c.name, "/warm"), func(b *testing.B) {
			r := reader(b)
			defer r.Close()
			for i := range 300 {
				c.ask(b, r, i)
			}
			before := r.far.cache.Stats()
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				c.ask(b, r, i%300)
				took = append(took, time.Since(began))
			}
			after := r.far.cache.Stats()
			percentiles(b, took, after.Misses-before.Misses, after.Fetched-before.Fetched)
		})
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			reader(b).Close()
		}
	})
}
