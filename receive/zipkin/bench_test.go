package zipkin

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
)

// benchBodies are the recorded bodies of exactly five spans.
func benchBodies(b *testing.B, suffix string, announced Format) (bodies [][]byte) {
	all := envoyBodies(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		batch := new(span.Batch)
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		if _, err := new(Decoder).Decode(batch, bytes.Clone(all[name]), announced); err == nil && batch.Len() == 5 {
			bodies = append(bodies, all[name])
		}
	}
	return bodies
}

func benchDecode(b *testing.B, suffix string, announced Format) {
	bodies := benchBodies(b, suffix, announced)
	d, batch := new(Decoder), new(span.Batch)
	var buf []byte
	bytesIn := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		buf = append(buf[:0], bodies[i%len(bodies)]...)
		bytesIn += len(buf)
		batch.Reset()
		if _, err := d.Decode(batch, buf, announced); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(5*b.N), "ns/span")
	b.ReportMetric(float64(bytesIn)/float64(5*b.N), "B-in/span")
}

func BenchmarkDecodeJSON(b *testing.B) { benchDecode(b, ".json", JSONv2) }

func BenchmarkDecodeProto(b *testing.B) { benchDecode(b, ".pb", Proto3) }
