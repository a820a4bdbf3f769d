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

// BenchmarkAddShared is the same with equal texts of a batch sharing one run, as engines hand them.
func BenchmarkAddShared(b *testing.B) {
	batch := traffic(b, 1000)
	shared := make(map[string]span.Str)
	share := func(s span.Str) span.Str {
		if known, ok := shared[batch.String(s)]; ok {
			return known
		}
		shared[batch.String(s)] = s
		return s
	}
	for i := range batch.Len() {
		batch.Service[i], batch.Group[i], batch.Namespace[i], batch.Name[i] = share(batch.Service[i]), share(batch.Group[i]), share(batch.Namespace[i]), share(batch.Name[i])
	}
	wanted := make(map[string]bool)
	for _, f := range rollup.Need().Fields {
		wanted[f.Key] = true
	}
	var attrs []span.Attr
	for i := range batch.Len() {
		from := len(attrs)
		for _, a := range batch.AttrsOf(batch.SpanAttrs[i]) {
			if !wanted[string(batch.Key(a))] {
				continue
			}
			if a.Type == span.TypeString {
				a.Bits = span.StrValue(a.Type, share(a.Value().Str())).Bits
			}
			attrs = append(attrs, a)
		}
		batch.SpanAttrs[i] = span.Range{Off: uint32(from), Len: uint32(len(attrs) - from)}
	}
	resources := len(attrs)
	for i, r := range batch.Resources {
		attrs = append(attrs, batch.AttrsOf(r.Attrs)...)
		batch.Resources[i].Attrs.Off = uint32(resources)
		resources = len(attrs)
	}
	batch.Attrs = attrs
	b.ReportAllocs()
	b.ResetTimer()
	builder := rollup.NewBuilder()
	for range b.N {
		builder.Add(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Len()), "ns/span")
}
