//go:build unix

package local

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/wal"
)

// envoyBatch makes spans as Envoy's tracers send them in an Istio mesh: 22 attributes, about 926 bytes in OTLP.
func envoyBatch(r *rand.Rand, n int) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: 1790000000_000000000, Protocol: span.ProtocolOTLPGRPC}
	services := []string{"productpage", "reviews", "ratings", "details", "cart", "checkout"}
	for _, s := range services {
		m := b.AttrMark()
		for _, kv := range [][2]string{{"service.name", s + ".bookinfo"}, {"telemetry.sdk.language", "cpp"}, {"telemetry.sdk.name", "envoy"}} {
			b.AddTextAttr(kv[0], kv[1])
		}
		b.Resources = append(b.Resources, span.Resource{Attrs: b.AttrsSince(m)})
	}
	b.Scopes = []span.Scope{{}}
	var trace span.TraceID
	for i := range n {
		if i%20 == 0 {
			trace = span.TraceIDFromUint64s(r.Uint64(), r.Uint64())
		}
		row, k := b.AddRow(), r.IntN(len(services))
		s := services[k]
		b.TraceID[row], b.SpanID[row], b.Parent[row] = trace, span.SpanIDFromUint64(r.Uint64()), span.SpanIDFromUint64(r.Uint64())
		b.Start[row] = uint64(b.Received) - uint64(r.IntN(20e9))
		b.End[row] = b.Start[row] + uint64(r.IntN(30e6))
		b.Time[row] = int64(b.Start[row])
		b.Kind[row] = span.KindServer + span.Kind(i%2)
		b.Name[row] = b.AddText(s + ".bookinfo.svc.cluster.local:9080/*")
		b.Service[row], b.Group[row], b.Namespace[row] = b.AddText(s+".bookinfo"), b.AddText(s), b.AddText("bookinfo")
		b.Resource[row] = uint32(k)
		m := b.AttrMark()
		for _, kv := range [][2]string{
			{"node_id", "sidecar~10.244.1.17~" + s + "-v1-7d5f8c9b6d-x2x4z.bookinfo~bookinfo.svc.cluster.local"}, {"zone", ""},
			{"guid:x-request-id", fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))},
			{"http.url", fmt.Sprintf("http://%s:9080/%s/%d", s, s, r.IntN(10000))}, {"http.method", "GET"}, {"downstream_cluster", "-"},
			{"user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}, {"http.protocol", "HTTP/1.1"},
			{"peer.address", fmt.Sprintf("10.244.%d.%d", r.IntN(4), r.IntN(250))}, {"request_size", "0"}, {"response_size", fmt.Sprint(r.IntN(9000))},
			{"component", "proxy"}, {"upstream_cluster", "inbound|9080||"}, {"upstream_cluster.name", "outbound|9080||" + s + ".bookinfo.svc.cluster.local;"},
			{"http.status_code", "200"}, {"response_flags", "-"}, {"istio.mesh_id", "cluster.local"}, {"istio.canonical_service", s},
			{"istio.canonical_revision", "v1"}, {"istio.cluster_id", "Kubernetes"}, {"istio.namespace", "bookinfo"}, {"env", "production"},
		} {
			b.AddTextAttr(kv[0], kv[1])
		}
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	return b
}

// cpu is the process's CPU time.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportSpans(bm *testing.B, n int, used time.Duration) {
	spans := float64(bm.N) * float64(n)
	bm.ReportMetric(float64(used.Nanoseconds())/spans, "cpu-ns/span")
	bm.ReportMetric(spans/bm.Elapsed().Seconds(), "spans/s")
}

// BenchmarkLogAccept is the log's share of the way of a span: encoding, compression, checksum, write(2), on a real disk.
func BenchmarkLogAccept(bm *testing.B) {
	for _, c := range []struct {
		spans, senders int
	}{{512, 1}, {5, 1}, {5, 16}} {
		bm.Run(fmt.Sprintf("spans=%d/senders=%d", c.spans, c.senders), func(bm *testing.B) {
			e := open(bm, Options{Dir: bm.TempDir(), Sync: time.Second, Now: time.Now, MaxDisk: 1 << 40})
			batches := make([]*span.Batch, 64)
			for i := range batches {
				batches[i] = envoyBatch(rand.New(rand.NewPCG(uint64(i), 1)), c.spans)
			}
			var next atomic.Int64
			before := e.Stats().LogBytes
			bm.SetParallelism((c.senders + 1) / 2)
			bm.ReportAllocs()
			bm.ResetTimer()
			began := cpu()
			accept := func() {
				t, err := e.wal.Append(batches[next.Add(1)%64])
				if err != nil {
					bm.Error(err)
					return
				}
				e.wal.Done(t)
				if t.Rolled { // nothing is in memory: what is full can go
					if _, err := e.wal.DropBefore(t.Sequence, 0); err != nil {
						bm.Error(err)
					}
				}
			}
			if c.senders == 1 {
				for range bm.N {
					accept()
				}
			} else {
				bm.RunParallel(func(p *testing.PB) {
					for p.Next() {
						accept()
					}
				})
			}
			used := cpu() - began
			bm.StopTimer()
			reportSpans(bm, c.spans, used)
			bm.ReportMetric(float64(e.Stats().LogBytes-before)/float64(bm.N*c.spans), "B/span")
		})
	}
}

// BenchmarkAccept is the whole engine: log and memory.
func BenchmarkAccept(bm *testing.B) {
	for _, n := range []int{512, 5} {
		bm.Run(fmt.Sprintf("spans=%d", n), func(bm *testing.B) {
			e := open(bm, Options{Dir: bm.TempDir(), Sync: time.Second, Now: time.Now, MaxDisk: 1 << 40})
			batches := make([]*span.Batch, 64)
			for i := range batches {
				batches[i] = envoyBatch(rand.New(rand.NewPCG(uint64(i), 1)), n)
			}
			bm.ResetTimer()
			began := cpu()
			for i := range bm.N {
				if err := e.Accept(bm.Context(), batches[i%64]); err != nil {
					bm.Fatal(err)
				}
			}
			reportSpans(bm, n, cpu()-began)
		})
	}
}

// BenchmarkReplay reads a log of 200K spans: into nothing, and into memory as a start does.
func BenchmarkReplay(bm *testing.B) {
	const total = 200_000
	for _, n := range []int{512, 5} {
		dir := bm.TempDir()
		e := open(bm, Options{Dir: dir, Sync: time.Hour, Now: time.Now, MaxMemory: 1 << 30})
		for i := range total / n {
			if err := e.Accept(bm.Context(), envoyBatch(rand.New(rand.NewPCG(uint64(i), 1)), n)); err != nil {
				bm.Fatal(err)
			}
		}
		o, err := e.logOptions()
		if err != nil {
			bm.Fatal(err)
		}
		mustClose(bm, e)
		bm.Run(fmt.Sprintf("spans=%d/decode", n), func(bm *testing.B) {
			began := cpu()
			for range bm.N {
				l, err := wal.Open(bm.Context(), o, func(*span.Batch, uint64) error { return nil })
				if err != nil {
					bm.Fatal(err)
				}
				l.Close()
			}
			reportSpans(bm, total/n*n, cpu()-began)
		})
		bm.Run(fmt.Sprintf("spans=%d/start", n), func(bm *testing.B) {
			began := cpu()
			for range bm.N {
				e := open(bm, Options{Dir: dir, Sync: time.Hour, Now: time.Now, MaxMemory: 1 << 30})
				if got := e.Stats().ReplayedSpans; got != int64(total/n*n) {
					bm.Fatalf("%d spans", got)
				}
				mustClose(bm, e)
			}
			reportSpans(bm, total/n*n, cpu()-began)
		})
	}
}
