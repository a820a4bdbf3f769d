package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

// realEnvoy gives the path of an Envoy, fetching it if need be. A test without Envoy fails, it is not skipped in
// silence: SPANLOOM_NO_TOOLS says that this machine is not to fetch anything.
func realEnvoy(t *testing.T) string {
	t.Helper()
	if path, err := FindEnvoy(); err == nil {
		return path
	}
	if os.Getenv("SPANLOOM_NO_TOOLS") != "" {
		t.Skip("SPANLOOM_NO_TOOLS is set and no envoy is on PATH or in the cache")
	}
	return realparts.Get(t, "envoy")
}

// sink is a Zipkin collector that keeps the bodies it answers with 202.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	spans []zipkinSpan
	paths map[string]int
}

type zipkinSpan struct {
	TraceID, ID, ParentID, Name, Kind string
	LocalEndpoint                     struct{ ServiceName string }
	Tags                              map[string]string
}

func newSink(t *testing.T) *sink {
	s := &sink{paths: make(map[string]int)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var spans []zipkinSpan
		if err == nil {
			err = json.Unmarshal(body, &spans)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.spans = append(s.spans, spans...)
		s.paths[r.URL.Path]++
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) received() []zipkinSpan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]zipkinSpan(nil), s.spans...)
}

func TestSidecarReportsToZipkin(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "details of "+r.URL.Path)
	}))
	t.Cleanup(app.Close)
	collector := newSink(t)

	for _, tracer := range []Tracer{ZipkinB3, ZipkinB3W3C} {
		t.Run(string(tracer), func(t *testing.T) {
			proxy := detailsProxy(tracer)
			proxy.Inbound[0].App = app.Listener.Addr().String()
			envoy, err := StartEnvoy(t.Context(), EnvoyOptions{
				Path:      realEnvoy(t),
				WorkDir:   t.TempDir(),
				Proxy:     proxy,
				Collector: Collector{Zipkin: collector.Listener.Addr().String()},
				Flush:     Flush{Interval: 100 * time.Millisecond},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(envoy.Stop)

			resp, err := http.Get("http://" + envoy.Inbound(9080) + "/details/0")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got, want := string(body), "details of /details/0"; got != want {
				t.Fatalf("the application behind the sidecar answers %q, want %q", got, want)
			}

			wait.For(t, 10*time.Second, "a report that the collector accepted", func() bool {
				stats, err := envoy.Stats(t.Context(), "tracing.zipkin.")
				if err != nil {
					t.Fatal(err)
				}
				if n := stats["tracing.zipkin.reports_dropped"]; n > 0 {
					t.Fatalf("envoy counts %d dropped reports", n)
				}
				return stats["tracing.zipkin.reports_sent"] > 0
			})
			spans := collector.received()
			span := spans[len(spans)-1]
			if got, want := span.Name, "details.bookinfo.svc.cluster.local:9080/*"; got != want {
				t.Errorf("span name %q, want %q", got, want)
			}
			if got, want := span.LocalEndpoint.ServiceName, "details.bookinfo"; got != want {
				t.Errorf("service name %q, want %q", got, want)
			}
			if got, want := span.Kind, "SERVER"; got != want {
				t.Errorf("kind %q, want %q", got, want)
			}
			for key, want := range map[string]string{
				"istio.canonical_service":  "details",
				"istio.canonical_revision": "v1",
				"istio.namespace":          "bookinfo",
				"node_id":                  proxy.node(),
				"upstream_cluster.name":    "inbound|9080||;",
			} {
				if got := span.Tags[key]; got != want {
					t.Errorf("tag %s = %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestStartEnvoySaysWhatIsWrong(t *testing.T) {
	good := EnvoyOptions{
		Path:      realEnvoy(t),
		Proxy:     detailsProxy(ZipkinB3),
		Collector: Collector{Zipkin: "127.0.0.1:9411"},
	}
	for name, c := range map[string]struct {
		change func(*EnvoyOptions)
		want   string
	}{
		"no such executable": {func(o *EnvoyOptions) { o.Path = "/nonexistent/envoy" }, "tools/get envoy"},
		"no collector":       {func(o *EnvoyOptions) { o.Collector.Zipkin = "" }, `collector address Zipkin ""`},
		"unknown tracer":     {func(o *EnvoyOptions) { o.Proxy.Tracer = "jaeger" }, `tracer "jaeger"`},
		"app has no port":    {func(o *EnvoyOptions) { o.Proxy.Inbound = []Inbound{{Host: "details", App: "127.0.0.1"}} }, "write host:port"},
		"refused by envoy":   {func(o *EnvoyOptions) { o.Proxy.Address = "no-address" }, "malformed IP address: no-address"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			o.WorkDir = t.TempDir()
			c.change(&o)
			envoy, err := StartEnvoy(t.Context(), o)
			if err == nil {
				envoy.Stop()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want it to contain %q", err, c.want)
			}
			if (name == "no such executable") != errors.Is(err, ErrNoEnvoy) {
				t.Errorf("errors.Is(%v, ErrNoEnvoy) is wrong", err)
			}
		})
	}
}

func TestStartEnvoyEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := StartEnvoy(ctx, EnvoyOptions{
		Path:      realEnvoy(t),
		WorkDir:   t.TempDir(),
		Proxy:     detailsProxy(ZipkinB3),
		Collector: Collector{Zipkin: "127.0.0.1:9411"},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
}
