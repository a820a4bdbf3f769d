//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
	"github.com/spanloom/spanloom/internal/wait"
)

func envoyPath(t *testing.T) string {
	t.Helper()
	path, err := demo.FindEnvoy()
	if err != nil {
		t.Fatalf("%v: `make test-e2e` fetches Envoy with tools/get envoy", err)
	}
	return path
}

// TestSidecarReportsByEachProtocol is one real sidecar for each tracer: what Envoy's own counters and our search say must agree.
func TestSidecarReportsByEachProtocol(t *testing.T) {
	s := start(t, t.TempDir())
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "details of ", r.URL.Path) }))
	defer app.Close()
	for i, tracer := range []demo.Tracer{demo.ZipkinB3, demo.ZipkinB3W3C, demo.OTLPGRPC, demo.OTLPHTTP, demo.OTLPHTTPMisnamed} {
		t.Run(string(tracer), func(t *testing.T) {
			name := fmt.Sprint("details", i)
			host := name + ".bookinfo.svc.cluster.local"
			e, err := demo.StartEnvoy(t.Context(), demo.EnvoyOptions{
				Path: envoyPath(t), WorkDir: t.TempDir(), Flush: demo.Flush{Interval: 100 * time.Millisecond},
				Collector: demo.Collector{Zipkin: s.Zipkin, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP},
				Proxy: demo.Proxy{Pod: name + "-v1-65cfcf56f9-hhgnt", App: name, Version: "v1", Namespace: "bookinfo", Address: "127.0.0.1", Tracer: tracer,
					Inbound: []demo.Inbound{{Host: host, Port: 9080, App: app.Listener.Addr().String()}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Stop()
			res, err := http.Get("http://" + e.Inbound(9080) + "/details/0?token=secret-of-the-user")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()

			var found struct {
				Items []struct {
					TraceID       string `json:"traceId"`
					RootService   string `json:"rootService"`
					RootOperation string `json:"rootOperation"`
				} `json:"items"`
			}
			wait.For(t, 20*time.Second, "the sidecar's span in our search", func() bool {
				s.api("search?filter="+url.QueryEscape("service="+name+".bookinfo"), &found)
				return len(found.Items) == 1
			})
			if got := found.Items[0]; got.RootOperation != host+":9080/*" || got.RootService != name+".bookinfo" {
				t.Errorf("the trace is shown as %+v", got)
			}
			_, otlp := s.get("http://" + s.HTTP + "/api/spanloom/v1/traces/" + found.Items[0].TraceID + "/otlp")
			if strings.Contains(string(otlp), "secret-of-the-user") || !strings.Contains(string(otlp), "token=***") {
				t.Error("the token of the URL's query was stored")
			}
			sent, dropped := "tracing.opentelemetry.spans_sent", "tracing.opentelemetry.spans_dropped"
			if strings.HasPrefix(string(tracer), "zipkin") {
				sent, dropped = "tracing.zipkin.reports_sent", "tracing.zipkin.reports_dropped"
			}
			// Envoy counts when it has our answer: the span is found before that.
			wait.For(t, 10*time.Second, "Envoy to count a success", func() bool {
				stats, err := e.Stats(t.Context(), "tracing.")
				if err != nil {
					t.Fatal(err)
				}
				if stats[dropped] != 0 {
					t.Fatalf("Envoy counts %v", stats)
				}
				return stats[sent] > 0
			})
		})
	}
}

// TestMeshGivesOneTreeAcrossProtocols runs the whole demo mesh and asks for what a newcomer sees first; then a browser looks.
func TestMeshGivesOneTreeAcrossProtocols(t *testing.T) {
	s := start(t, t.TempDir())
	m, err := demo.StartMesh(t.Context(), demo.Options{Envoy: envoyPath(t), WorkDir: t.TempDir(), Rate: 20,
		Collector: demo.Collector{Zipkin: s.Zipkin, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	driven := make(chan error, 1)
	go func() { driven <- m.Drive(ctx) }()
	defer func() {
		cancel()
		if err := <-driven; err != nil {
			t.Error(err)
		}
	}()

	var found struct {
		Items []struct {
			TraceID  string `json:"traceId"`
			Services []struct {
				Name string `json:"name"`
			} `json:"services"`
		} `json:"items"`
	}
	var tree struct {
		Services []struct {
			Name  string `json:"name"`
			Group string `json:"group"`
		} `json:"services"`
		Spans struct {
			Parent  []int `json:"parent"`
			Service []int `json:"service"`
			Flags   []int `json:"flags"`
		} `json:"spans"`
	}
	wait.For(t, 60*time.Second, "a trace of at least five workload groups with gateway, sidecar and app spans in one tree", func() bool {
		s.api("search?limit=50&filter="+url.QueryEscape("service=istio-ingressgateway.istio-system"), &found)
		for _, item := range found.Items {
			if len(item.Services) < 6 {
				continue
			}
			s.api("traces/"+item.TraceID, &tree)
			groups, apps, roots := make(map[string]bool), 0, 0
			for i, svc := range tree.Spans.Service {
				groups[tree.Services[svc].Group] = true
				if tree.Spans.Flags[i]&2 == 0 {
					apps++
				}
				if tree.Spans.Parent[i] < 0 {
					roots++
				}
			}
			if len(groups) >= 5 && apps > 0 && roots == 1 {
				return true
			}
		}
		return false
	})
	for _, e := range m.Envoys() {
		stats, err := e.Stats(t.Context(), "tracing.")
		if err != nil {
			t.Fatal(err)
		}
		if stats["tracing.zipkin.reports_dropped"]+stats["tracing.opentelemetry.spans_dropped"] > 0 {
			t.Errorf("%s counts %v", e.Pod(), stats)
		}
	}
	browse(t, s)
}

// browse drives Chromium over every screen, in both languages and themes with SPANLOOM_LONG=1; see web/e2e/run.mjs.
func browse(t *testing.T, s *server) {
	out := os.Getenv("SPANLOOM_SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	script, err := filepath.Abs("../../web/e2e/run.mjs")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{script, "--base", "http://" + s.HTTP + "/", "--out", out}
	if os.Getenv("SPANLOOM_LONG") != "1" {
		args = append(args, "--some")
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = filepath.Dir(filepath.Dir(script))
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the browser walk failed: %v\n%s", err, text)
	}
	t.Logf("%s", text)
}

// TestHostileData opens every screen on spans whose every string is hostile, then on a server that is slow, older, partial and gone;
// see web/e2e/hostile-run.mjs. It takes minutes.
func TestHostileData(t *testing.T) {
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("set SPANLOOM_LONG=1")
	}
	out := os.Getenv("SPANLOOM_SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	s := start(t, t.TempDir())
	cmd := exec.CommandContext(t.Context(), "node", "e2e/hostile-run.mjs", "--base", "http://"+s.HTTP+"/",
		"--otlp", "http://"+s.OTLPHTTP+"/", "--pid", strconv.Itoa(s.PID), "--out", out)
	cmd.Dir = "../../web"
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the browser walk failed: %v\n%s", err, text)
	}
	t.Logf("%s", text)
}
