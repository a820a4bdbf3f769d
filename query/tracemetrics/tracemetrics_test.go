package tracemetrics

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
	"github.com/spanloom/spanloom/store/storetest"
)

var update = flag.Bool("update", false, "rewrite testdata")

const spans = `
1 1 - gw.is server "web/*" 10m 30ms node_id=router~a~b~c http.method=GET @group=gw @namespace=is @mark=proxy
1 2 1 web.shop server "web/*" 10m 20ms node_id=sidecar~a~b~c http.method=GET @group=web @namespace=shop @mark=proxy @status=error
1 3 2 web.shop client "api/*" 10m 15ms node_id=sidecar~a~b~c http.method=GET upstream_cluster="outbound|80||api.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy @weight=4
1 4 3 api.shop server "api/1" 10m 10ms node_id=sidecar~a~b~c http.method=GET @group=api @namespace=shop @mark=proxy @weight=4
1 5 4 api.shop client "SELECT" 10m 5ms db.system=postgresql server.address=pg @group=api @namespace=shop
1 6 4 api.shop client "out" 10m 5ms server.address=out.example @group=api @namespace=shop
1 8 2 web.shop client "old/*" 10m 5ms node_id=sidecar~a~b~c http.method=GET upstream_cluster="outbound|80||old.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy @weight=4
1 7 4 api.shop producer "send" 10m 5ms messaging.system=kafka messaging.destination.name=orders @group=api @namespace=shop
2 1 - web.shop server "late" 11m30s 5ms @group=web @namespace=shop
`

type world struct {
	now       time.Time
	engine    *mem.Engine
	collector *Collector
	registry  *prometheus.Registry
}

func newWorld(t *testing.T) *world {
	w := &world{now: storetest.Epoch.Add(10*time.Minute + 5*time.Second)}
	clock := func() time.Time { return w.now }
	w.engine = mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { w.engine.Close() })
	w.collector = New(query.New(query.Options{Reader: w.engine, Now: clock}), store.Scope{Tenant: store.DefaultTenant}, nil)
	w.registry = prometheus.NewPedanticRegistry()
	w.registry.MustRegister(w.collector)
	return w
}

func (w *world) scrape(t *testing.T, accept string) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	out := httptest.NewRecorder()
	promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(out, r)
	if out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	return out.Body.String()
}

func TestBothForms(t *testing.T) {
	w := newWorld(t)
	if err := w.engine.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
		t.Fatal(err)
	}
	if got := w.scrape(t, "text/plain"); strings.Contains(got, "\ntraces_spanmetrics") || strings.Contains(got, "\ntraces_service_graph_request") {
		t.Errorf("spans of a minute that may still grow are counted:\n%s", got)
	}
	w.now = storetest.Epoch.Add(12*time.Minute + time.Second)
	var got strings.Builder
	for _, accept := range []string{"text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"} {
		got.WriteString("== " + accept + "\n" + w.scrape(t, accept))
	}
	const file = "testdata/both-forms.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got.String() {
		t.Errorf("%v; got\n%s", err, got.String())
	}
}

// TestCountersGrow: a minute is counted once, counters never fall, and what comes too late is not counted.
func TestCountersGrow(t *testing.T) {
	w := newWorld(t)
	total := func() (n float64) {
		t.Helper()
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "traces_spanmetrics_calls_total" {
				for _, m := range f.Metric {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	accept := func(at time.Duration) {
		t.Helper()
		if err := w.engine.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%x 1 - a server \"x\" %s 1ms", at.Milliseconds(), at))); err != nil {
			t.Fatal(err)
		}
	}
	accept(10 * time.Minute)
	accept(11 * time.Minute)
	for _, step := range []struct {
		at   time.Duration
		want float64
	}{{11 * time.Minute, 0}, {12 * time.Minute, 1}, {12*time.Minute + 30*time.Second, 1}, {13 * time.Minute, 2}, {20 * time.Minute, 2}} {
		w.now = storetest.Epoch.Add(step.at)
		if got := total(); got != step.want {
			t.Errorf("at %s: %g spans, want %g", step.at, got, step.want)
		}
	}
	accept(12 * time.Minute) // late
	w.now = storetest.Epoch.Add(30 * time.Minute)
	if got := total(); got != 2 {
		t.Errorf("%g spans, want 2", got)
	}
	accept(5 * time.Hour) // beyond CatchUp
	w.now = storetest.Epoch.Add(7 * time.Hour)
	if got := total(); got != 2 {
		t.Errorf("%g spans, want 2", got)
	}
	if w.collector.incomplete != 1 {
		t.Errorf("%g stretches are said to be incomplete, want 1", w.collector.incomplete)
	}
}

func TestBounded(t *testing.T) {
	w := newWorld(t)
	b := &span.Batch{Tenant: store.DefaultTenant, Received: w.now.UnixNano(), Resources: make([]span.Resource, 1), Scopes: make([]span.Scope, 1)}
	for i := range 2 * MaxSeries {
		row := b.AddRow()
		b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(1, uint64(i+1)), span.SpanIDFromUint64(1)
		b.Name[row] = b.AddText(fmt.Sprintf("op-%dx", i))
		if i == 0 {
			b.Name[row] = b.AddString([]byte("bad \xff utf8"))
		}
		b.Service[row] = b.AddText("noisy")
		if i%4 == 0 {
			b.Service[row] = b.AddText(fmt.Sprintf("svc-%dx", i))
		}
		b.Group[row], b.Kind[row], b.Time[row] = b.Service[row], span.KindServer, storetest.At(10*time.Minute)
		b.Start[row] = uint64(b.Time[row])
	}
	if err := w.engine.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.now = storetest.Epoch.Add(12 * time.Minute)
	text := w.scrape(t, "text/plain")
	if n := strings.Count(text, "\ntraces_spanmetrics_calls_total{"); n > MaxSeries+MaxSeries/4+10 {
		t.Errorf("%d label sets", n)
	}
	if n := strings.Count(text, "\ntraces_service_graph_request_total{"); n > MaxSeries+10 {
		t.Errorf("%d edges", n)
	}
	if !strings.Contains(text, `service="noisy",span_kind="SPAN_KIND_SERVER",span_name="`+rollup.Other+`"`) {
		t.Error("no overflow series names the service that made them")
	}
}

// TestEngineAway: minutes of which a part cannot be read wait for a scrape that can.
func TestEngineAway(t *testing.T) {
	w := newWorld(t)
	if err := w.engine.Accept(t.Context(), storetest.Batch(t, "1 1 - a server x 10m 1ms")); err != nil {
		t.Fatal(err)
	}
	w.now = storetest.Epoch.Add(12 * time.Minute)
	reader := &storetest.Behind{Engine: w.engine, Err: problem.New(problem.Unavailable, "1 of 3 shards did not answer", "")}
	w.collector.query = query.New(query.Options{Reader: reader, Now: func() time.Time { return w.now }})
	if text := w.scrape(t, "text/plain"); strings.Contains(text, "traces_spanmetrics_calls_total{") {
		t.Errorf("counted by half: %s", text)
	}
	w.collector.query = query.New(query.Options{Reader: w.engine, Now: func() time.Time { return w.now }})
	if text := w.scrape(t, "text/plain"); !strings.Contains(text, "traces_spanmetrics_calls_total{") || w.collector.incomplete != 0 {
		t.Errorf("not counted when it could be: %s", text)
	}
}
