package main

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
)

// requests are the first bodies of the traffic by a protocol, more than the processor's caches hold.
func requests(p load.Protocol, perRequest int) (bodies [][]byte, spans int) {
	const most = 20_000
	s := load.New(1, time.Unix(1_767_225_600, 0), 0, p.Form()).Stream(perRequest, most, load.EncoderOf(p))
	for {
		q, ok := s.Next()
		if !ok {
			return bodies, spans
		}
		bodies = append(bodies, q.Body)
		spans += q.Spans
	}
}

// perSpan runs one over all items until b.N is reached and reports CPU time and allocations a span. The CPU time is the whole
// process's: waiting for a processor does not count, collecting garbage does. one answers how many spans its item has.
func perSpan(b *testing.B, items int, one func(i int) int) {
	var before, after runtime.MemStats
	for i := range items {
		one(i) // grows what is reused
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	spans := 0
	cpu := cpuTime()
	b.ResetTimer()
	for i := range b.N {
		spans += one(i % items)
	}
	b.StopTimer()
	cpu = cpuTime() - cpu
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(spans), "cpu-ns/span")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(spans), "allocs/span")
}

func BenchmarkOTLPDecode(b *testing.B) {
	for _, n := range []int{512, 5} {
		b.Run(name(n), func(b *testing.B) {
			bodies, _ := requests(load.OTLPGRPC, n)
			var batch span.Batch
			var d otlp.Decoder
			perSpan(b, len(bodies), func(i int) int {
				batch.Reset()
				if err := d.Protobuf(&batch, bodies[i]); err != nil {
					b.Fatal(err)
				}
				return batch.Len()
			})
		})
	}
}

func name(spans int) string {
	if spans == 5 {
		return "sidecar" // 5 spans a request
	}
	return "collector" // 512
}

func BenchmarkZipkinDecode(b *testing.B) {
	for _, c := range []struct {
		name     string
		protocol load.Protocol
		format   zipkin.Format
	}{{"json", load.Zipkin, zipkin.JSONv2}, {"proto", load.ZipkinProto, zipkin.Proto3}} {
		b.Run(c.name, func(b *testing.B) {
			bodies, _ := requests(c.protocol, 5)
			var batch span.Batch
			var d zipkin.Decoder
			var body []byte // reading changes it
			perSpan(b, len(bodies), func(i int) int {
				batch.Reset()
				body = append(body[:0], bodies[i]...)
				if _, err := d.Decode(&batch, body, c.format); err != nil {
					b.Fatal(err)
				}
				return batch.Len()
			})
		})
	}
}

// batches are decoded collector requests.
func batches(b *testing.B) (all []*span.Batch) {
	bodies, _ := requests(load.OTLPGRPC, 512)
	for _, body := range bodies {
		batch := &span.Batch{Tenant: "default", Received: time.Now().UnixNano(), Protocol: span.ProtocolOTLPGRPC}
		if err := otlp.Decode(batch, body); err != nil {
			b.Fatal(err)
		}
		all = append(all, batch)
	}
	return all
}

type nowhere struct{}

func (nowhere) Accept(context.Context, *span.Batch) error { return nil }

func BenchmarkProcess(b *testing.B) {
	all := batches(b)
	steps, err := process.New(process.DefaultRules(), nowhere{})
	if err != nil {
		b.Fatal(err)
	}
	type length struct{ arena, attrs int }
	fresh := make([]length, len(all))
	for i, batch := range all {
		fresh[i] = length{len(batch.Arena), len(batch.Attrs)}
	}
	perSpan(b, len(all), func(i int) int {
		// Steps only add to the tables: what the last pass added goes.
		all[i].Arena, all[i].Attrs = all[i].Arena[:fresh[i].arena], all[i].Attrs[:fresh[i].attrs]
		if err := steps.Accept(b.Context(), all[i]); err != nil {
			b.Fatal(err)
		}
		return all[i].Len()
	})
}

func BenchmarkMemAccept(b *testing.B) {
	engine := mem.New(mem.Options{MaxBytes: 256 << 20})
	defer engine.Close()
	steps, err := process.New(process.DefaultRules(), engine)
	if err != nil {
		b.Fatal(err)
	}
	all := batches(b)
	for _, batch := range all { // sets the columns that an engine needs
		if err := steps.Accept(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	pass := byte(0)
	perSpan(b, len(all), func(i int) int {
		if i == 0 {
			pass++
		}
		for row := range all[i].Len() { // other traces in every pass
			all[i].TraceID[row][0], all[i].TraceID[row][15] = pass, all[i].TraceID[row][15]+1
		}
		if err := engine.Accept(b.Context(), all[i]); err != nil {
			b.Fatal(err)
		}
		return all[i].Len()
	})
}

func BenchmarkEncodeBatch(b *testing.B) {
	all := batches(b)
	var out []byte
	bytes, spans := 0, 0
	perSpan(b, len(all), func(i int) int {
		out = all[i].AppendBinary(out[:0])
		bytes += len(out)
		spans += all[i].Len()
		return all[i].Len()
	})
	b.ReportMetric(float64(bytes)/float64(spans), "B/span")
}

func BenchmarkDecodeBatch(b *testing.B) {
	var forms [][]byte
	for _, batch := range batches(b) {
		forms = append(forms, batch.AppendBinary(nil))
	}
	var batch span.Batch
	perSpan(b, len(forms), func(i int) int {
		if err := batch.DecodeBinary(forms[i]); err != nil {
			b.Fatal(err)
		}
		return batch.Len()
	})
}

// BenchmarkRollup counts spans as a segment does when it is written: of the usual mesh, of one with 10,000 operations, and of a
// sender that makes a new operation of each span. MiB is what the table takes in the end.
func BenchmarkRollup(b *testing.B) {
	for _, c := range []struct {
		name       string
		operations int // distinct ones over all; 0: as the mesh names them
	}{{"mesh", 0}, {"operations", 10_000}, {"attack", 1_000_000}} {
		b.Run(c.name, func(b *testing.B) {
			const traces, senders = 250, 2 * load.Services // a service serves and calls
			d := load.New(1, time.Unix(1_767_225_600, 0), 0, load.FormOTLP)
			var t load.Trace
			var batch span.Batch
			spans, cpu := 0, time.Duration(0)
			var table *rollup.Table
			for b.Loop() {
				builder, seen, made := rollup.NewBuilder(), 0, make(map[string]int)
				for no := uint64(0); seen < max(c.operations, 500_000); no += traces {
					batch.Reset()
					rows := d.Rows(&batch)
					for i := range uint64(traces) {
						d.Trace(no+i, &t)
						rows.All(&t)
					}
					for i := range batch.Len() {
						if c.operations > 0 {
							who := batch.String(batch.Service[i]) + batch.Kind[i].String()
							made[who]++
							batch.Name[i] = batch.AddText(letters(made[who] % (c.operations / senders)))
						}
						batch.Time[i] = batch.Time[i]/300e9*300e9 + int64(seen+i)%5*60e9 // all in 5 minutes
					}
					began := cpuTime()
					builder.Add(&batch)
					cpu += cpuTime() - began
					seen += batch.Len()
				}
				spans += seen
				table = builder.Table()
			}
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(spans), "cpu-ns/span")
			b.ReportMetric(float64(table.Bytes())/mib, "MiB")
			b.ReportMetric(float64(table.Keys()), "keys")
		})
	}
}

// letters is a number that does not look like an id, which would be templated.
func letters(n int) string {
	text := []byte("operation-")
	for range 5 {
		text = append(text, 'g'+byte(n%20))
		n /= 20
	}
	return string(text)
}
