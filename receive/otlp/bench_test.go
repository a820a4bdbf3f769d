package otlp

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/spanloom/spanloom/span"
)

// fiveSpans are the recorded requests with exactly five spans, the size sidecars send.
func fiveSpans(t testing.TB) [][]byte {
	t.Helper()
	var names []string
	bodies := envoyBodies(t)
	for name, body := range bodies {
		if decode(t, body).Len() == 5 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([][]byte, len(names))
	for i, name := range names {
		out[i] = bodies[name]
	}
	return out
}

// bigRequest joins recorded requests into one of about n spans: what a collector in between sends.
func bigRequest(t testing.TB, n int) (body []byte, spans int) {
	for spans < n {
		for _, p := range fiveSpans(t) {
			body = append(body, p...)
			spans += 5
		}
	}
	return body, spans
}

// BenchmarkDecode decodes Envoy's requests into a pooled batch: arena copy and key interning included.
func BenchmarkDecode(bm *testing.B) {
	run := func(name string, bodies [][]byte) {
		bm.Run(name, func(bm *testing.B) {
			var d Decoder
			b := new(span.Batch)
			bm.ReportAllocs()
			spans, size := 0, 0
			cpu := cpuTime()
			for i := 0; bm.Loop(); i++ {
				b.Reset()
				body := bodies[i%len(bodies)]
				if err := d.Protobuf(b, body); err != nil {
					bm.Fatal(err)
				}
				spans += b.Len()
				size += len(body)
			}
			perSpan(bm, cpu, spans, size)
		})
	}
	run("5spans", fiveSpans(bm))
	big, _ := bigRequest(bm, 512)
	run("512spans", [][]byte{big})
}

// BenchmarkDecodeWalk finds every span's ids, name and times and views of its keys and values, into reused arrays: what the
// wire format itself costs, without copies and interning.
func BenchmarkDecodeWalk(bm *testing.B) {
	bodies := fiveSpans(bm)
	var w viewWalk
	spans, size := 0, 0
	cpu := cpuTime()
	for i := 0; bm.Loop(); i++ {
		w.attrs, w.spans = w.attrs[:0], 0
		w.request(bodies[i%len(bodies)])
		spans += w.spans
		size += len(bodies[i%len(bodies)])
	}
	perSpan(bm, cpu, spans, size)
}

// viewWalk collects views.
type viewWalk struct {
	spans  int
	fields [17]field // of the span at hand, by number
	attrs  [][2][]byte
}

func (w *viewWalk) request(m []byte) {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			panic(bad.what)
		}
		for j := 0; f.tag == 1<<3|bytes_ && j < len(f.body); {
			g, next, bad := nextField(f.body, j)
			if bad != nil {
				panic(bad.what)
			}
			for k := 0; g.tag == 2<<3|bytes_ && k < len(g.body); {
				s, next, bad := nextField(g.body, k)
				if bad != nil {
					panic(bad.what)
				}
				if s.tag == 2<<3|bytes_ {
					w.span(s.body)
				}
				k = next
			}
			j = next
		}
		i = next
	}
}

func (w *viewWalk) span(m []byte) {
	w.spans++
	for i := 0; i < len(m); {
		if m[i] == 9<<3|bytes_ {
			n, at := size(m, i+1)
			i = at + n
			kv := m[at:i]
			keyEnd, at := stringAttr(kv)
			w.attrs = append(w.attrs, [2][]byte{kv[2:keyEnd], kv[at:]})
			continue
		}
		f, next, bad := nextField(m, i)
		if bad != nil {
			panic(bad.what)
		}
		if f.tag>>3 < uint64(len(w.fields)) {
			w.fields[f.tag>>3] = f
		}
		i = next
	}
}

// BenchmarkDecodePdata is the collector's decoder on the same requests: the reference that ratios are taken to.
func BenchmarkDecodePdata(bm *testing.B) {
	bodies := fiveSpans(bm)
	bm.ReportAllocs()
	spans, size := 0, 0
	cpu := cpuTime()
	for i := 0; bm.Loop(); i++ {
		td, err := pdataDecode(bodies[i%len(bodies)])
		if err != nil {
			bm.Fatal(err)
		}
		spans += td.SpanCount()
		size += len(bodies[i%len(bodies)])
	}
	perSpan(bm, cpu, spans, size)
}

// BenchmarkDecodeJSON decodes the same spans in OTLP's JSON.
func BenchmarkDecodeJSON(bm *testing.B) {
	var bodies [][]byte
	for _, p := range fiveSpans(bm) {
		td, err := pdataDecode(p)
		if err != nil {
			bm.Fatal(err)
		}
		text, err := new(ptrace.JSONMarshaler).MarshalTraces(td)
		if err != nil {
			bm.Fatal(err)
		}
		bodies = append(bodies, text)
	}
	var d Decoder
	b := new(span.Batch)
	bm.ReportAllocs()
	spans, size := 0, 0
	cpu := cpuTime()
	for i := 0; bm.Loop(); i++ {
		b.Reset()
		if err := d.JSON(b, bodies[i%len(bodies)]); err != nil {
			bm.Fatal(err)
		}
		spans += b.Len()
		size += len(bodies[i%len(bodies)])
	}
	perSpan(bm, cpu, spans, size)
}

// BenchmarkEncode writes requests back.
func BenchmarkEncode(bm *testing.B) {
	big, n := bigRequest(bm, 512)
	b := decode(bm, big)
	var out []byte
	bm.ReportAllocs()
	spans := 0
	cpu := cpuTime()
	for bm.Loop() {
		out = AppendRequest(out[:0], b)
		spans += n
	}
	perSpan(bm, cpu, spans, spans/n*len(out))
}

// cpuTime is what this process has used, user and system: on a shared machine the clock on the wall says little.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perSpan(bm *testing.B, since time.Duration, spans, bytes int) {
	bm.ReportMetric(float64(cpuTime()-since)/float64(spans), "cpu-ns/span")
	bm.ReportMetric(float64(bytes)/float64(spans), "B/span")
}
