package mem

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// generator makes batches as a mesh sends them: 22 attributes of Envoy's keys and lengths, traces of some spans whose order
// is shuffled, random ids, 12 services with 3 pods each.
type generator struct {
	r        *rand.Rand
	perTrace int
	n        int
	pending  []pendingSpan
	request  []byte
}

type pendingSpan struct {
	trace   span.TraceID
	request string
	start   int64
}

func newGenerator(perTrace int) *generator {
	return &generator{r: rand.New(rand.NewPCG(1, 1)), perTrace: perTrace}
}

func (g *generator) batch(n int) *span.Batch {
	r := g.r
	b := &span.Batch{Tenant: store.DefaultTenant}
	for i := range 36 {
		mark := b.AttrMark()
		service := fmt.Sprintf("service%d.ns%d", i/3, i%4)
		b.AddTextAttr("service.name", service)
		b.AddTextAttr("telemetry.sdk.name", "envoy")
		b.AddTextAttr("k8s.pod.name", fmt.Sprintf("service%d-7d4f9c8b6-x%d", i/3, i))
		b.Resources = append(b.Resources, span.Resource{Attrs: b.AttrsSince(mark)})
	}
	b.Scopes = append(b.Scopes, span.Scope{})
	keys := make(map[string]uint32)
	sidecar := r.IntN(36) // small requests are one sidecar's
	for range n {
		if len(g.pending) < 40*g.perTrace {
			for range 40 {
				var id [16]byte
				for i := range id {
					id[i] = byte(r.Uint32())
				}
				g.n++
				start := storetest.At(0) + int64(g.n)*1e6
				for range g.perTrace {
					g.pending = append(g.pending, pendingSpan{trace: id, request: uuid(r), start: start + r.Int64N(1e8)})
				}
			}
		}
		i := r.IntN(len(g.pending))
		p := g.pending[i]
		g.pending[i] = g.pending[len(g.pending)-1]
		g.pending = g.pending[:len(g.pending)-1]

		row := b.AddRow()
		pod := sidecar
		if n > 10 {
			pod = r.IntN(36)
		}
		svc := pod / 3
		b.TraceID[row] = p.trace
		b.SpanID[row] = span.SpanIDFromUint64(r.Uint64() | 1)
		b.Parent[row] = span.SpanIDFromUint64(r.Uint64())
		b.Kind[row] = span.KindServer + span.Kind(r.IntN(2))
		b.Start[row] = uint64(p.start)
		b.Time[row] = p.start
		b.End[row] = b.Start[row] + uint64(r.Int64N(1e8))
		b.Received = max(b.Received, p.start)
		b.Resource[row] = uint32(pod)
		service := fmt.Sprintf("service%d.ns%d", svc, pod%4)
		b.Service[row] = b.AddText(service)
		b.Group[row] = b.AddText(fmt.Sprintf("service%d", svc))
		b.Namespace[row] = b.AddText(fmt.Sprintf("ns%d", pod%4))
		b.Name[row] = b.AddText(fmt.Sprintf("service%d.ns%d.svc.cluster.local:8080/*", svc, pod%4))
		mark := b.AttrMark()
		attr := func(key, value string) {
			k, ok := keys[key]
			if !ok {
				k = b.InternKey([]byte(key))
				keys[key] = k
			}
			b.AddAttr(k, span.StrValue(span.TypeString, b.AddText(value)))
		}
		status := "200"
		if r.IntN(100) == 0 {
			status = "503"
			b.Status[row] = span.StatusError
			attr("error", "true")
		}
		attr("node_id", fmt.Sprintf("sidecar~10.244.%d.%d~service%d-7d4f9c8b6-x%d.ns%d~ns%d.svc.cluster.local", svc, pod, svc, pod, pod%4, pod%4))
		attr("zone", "eu-central-1a")
		attr("guid:x-request-id", p.request)
		attr("http.url", fmt.Sprintf("http://service%d.ns%d:8080/api/v1/items/%d", svc, pod%4, r.IntN(100_000)))
		attr("http.method", "GET")
		attr("downstream_cluster", "-")
		attr("user_agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
		attr("http.protocol", "HTTP/1.1")
		attr("peer.address", fmt.Sprintf("10.244.%d.%d", r.IntN(12), r.IntN(36)))
		attr("request_size", "0")
		attr("response_size", fmt.Sprint(r.IntN(4000)))
		attr("component", "proxy")
		attr("upstream_cluster", "outbound|8080||"+service+".svc.cluster.local")
		attr("upstream_cluster.name", "outbound|8080||"+service+".svc.cluster.local;")
		attr("upstream_address", fmt.Sprintf("10.244.%d.%d:8080", svc, pod))
		attr("http.status_code", status)
		attr("response_flags", "-")
		attr("istio.canonical_service", fmt.Sprintf("service%d", svc))
		attr("istio.canonical_revision", "v1")
		attr("istio.mesh_id", "cluster.local")
		attr("istio.cluster_id", "Kubernetes")
		attr("istio.namespace", fmt.Sprintf("ns%d", pod%4))
		b.SpanAttrs[row] = b.AttrsSince(mark)
	}
	return b
}

func uuid(r *rand.Rand) string {
	var p [16]byte
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	h := hex.EncodeToString(p[:])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-" + h[16:20] + "-" + h[20:]
}

// BenchmarkAccept reports what a span costs in time, in garbage and in memory held, in requests of sidecars and of collectors.
func BenchmarkAccept(b *testing.B) {
	for _, perBatch := range []int{5, 512} {
		b.Run(fmt.Sprintf("batch=%d", perBatch), func(b *testing.B) {
			g := newGenerator(20)
			batches := make([]*span.Batch, 40_000/perBatch)
			for i := range batches {
				batches[i] = g.batch(perBatch)
			}
			e := New(Options{MaxBytes: 128 << 20})
			b.ReportAllocs()
			spans := 0
			for b.Loop() {
				src := batches[spans/perBatch%len(batches)]
				if round := spans / perBatch / len(batches); spans/perBatch%len(batches) == 0 && round > 0 {
					b.StopTimer()
					for _, src := range batches {
						renew(src, uint64(round))
					}
					b.StartTimer()
				}
				if err := e.Accept(b.Context(), src); err != nil {
					b.Fatal(err)
				}
				spans += perBatch
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(spans), "ns/span")
			if s := e.Stats(); s.Spans > 0 {
				b.ReportMetric(float64(s.Bytes)/float64(s.Spans), "B/span")
			}
		})
	}
}

// renew gives a batch new trace ids and request ids, so that the same batch can be sent again as another.
func renew(b *span.Batch, round uint64) {
	for row := range b.Len() {
		b.TraceID[row][0] = byte(round)
		b.TraceID[row][1] = byte(round >> 8)
		if a, ok := b.FindAttr(b.SpanAttrs[row], "guid:x-request-id"); ok {
			s := a.Value().Str()
			hex.Encode(b.Arena[s.Off:s.Off+4], []byte{byte(round), byte(round >> 8)})
		}
	}
}

const benchSpans = 200_000

func filled(b *testing.B) (*Engine, *generator, []span.TraceID) {
	e := New(Options{MaxBytes: 1 << 30})
	g := newGenerator(20)
	var ids []span.TraceID
	for n := 0; n < benchSpans; n += 512 {
		batch := g.batch(512)
		ids = append(ids, batch.TraceID[0])
		if err := e.Accept(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	return e, g, ids
}

func benchSearch(b *testing.B, wantTraces int, q store.Search) {
	e, _, _ := filled(b)
	b.ReportAllocs()
	for b.Loop() {
		page, err := e.Search(b.Context(), store.Scope{}, &q)
		if err != nil || len(page.Traces) != wantTraces {
			b.Fatal(len(page.Traces), err)
		}
	}
}

func own(key, value string) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: store.Eq, Value: store.Text(value)}
}

// BenchmarkSearchService is the newest 20 traces of a service with an error.
func BenchmarkSearchService(b *testing.B) {
	benchSearch(b, 20, store.Search{Limit: 20, Match: store.And{own(store.FieldService, "service3.ns1"), own(store.FieldStatus, "error")}})
}

// BenchmarkSearchRareAttribute looks in 200,000 spans for a value that no span has.
func BenchmarkSearchRareAttribute(b *testing.B) {
	benchSearch(b, 0, store.Search{Limit: 20, Match: store.Cond{Field: store.Field{Key: "guid:x-request-id"}, Op: store.Eq, Value: store.LooseText("00000000-0000-4000-8000-000000000000")}})
}

// BenchmarkSearchAny is a search that holds for no span and cannot leave out any.
func BenchmarkSearchAny(b *testing.B) {
	benchSearch(b, 0, store.Search{Limit: 20, Match: store.Cond{Field: store.Field{Key: "http.url"}, Op: store.Regex, Value: store.Text("ftp://.*")}})
}

func BenchmarkTraceByID(b *testing.B) {
	e, _, ids := filled(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := 0
		for batch, err := range e.Trace(b.Context(), store.Scope{}, ids[i%len(ids)], store.TimeRange{}) {
			if err != nil {
				b.Fatal(err)
			}
			n += batch.Len()
		}
		if n == 0 {
			b.Fatal("no spans")
		}
	}
}

func BenchmarkServices(b *testing.B) {
	e, _, _ := filled(b)
	for b.Loop() {
		if list, _, err := e.Services(b.Context(), store.Scope{}, store.TimeRange{To: storetest.At(24 * time.Hour)}); err != nil || len(list) == 0 {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	e, _, _ := filled(b)
	for b.Loop() {
		if list, _, err := e.Keys(b.Context(), store.Scope{}, store.KeysQuery{}); err != nil || len(list) == 0 {
			b.Fatal(err)
		}
	}
}
