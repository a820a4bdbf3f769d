package rollup_test

import (
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/rollup"
)

// traffic is spans as load makes them, traces whole and one after the other.
func traffic(tb testing.TB, traces int) *span.Batch {
	tb.Helper()
	d := load.New(1, time.Unix(1_790_000_000, 0), 100, load.FormOTLP)
	b := &span.Batch{}
	rows := d.Rows(b)
	var t load.Trace
	for no := range traces {
		d.Trace(uint64(no), &t)
		rows.All(&t)
	}
	return b
}

func BenchmarkAdd(b *testing.B) {
	batch := traffic(b, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	builder := rollup.NewBuilder()
	for range b.N {
		builder.Add(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Len()), "ns/span")
	b.ReportMetric(float64(len(builder.Table().AppendBinary(nil))), "table-bytes")
	b.ReportMetric(float64(builder.Table().Keys()), "keys")
	b.ReportMetric(float64(builder.Table().Cells()), "cells")
}
