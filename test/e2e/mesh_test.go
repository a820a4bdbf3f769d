//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spanloom/spanloom/internal/envoyspans"
	"github.com/spanloom/spanloom/internal/wait"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(p []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), p...)
	return nil
}
func (rawCodec) Name() string { return "proto" }

func TestEveryRecordedPayloadIsTakenWhole(t *testing.T) {
	s := start(t, t.TempDir())
	conn, err := grpc.NewClient(s.OTLPGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var sent int64
	for _, p := range envoyspans.Requests(t) {
		switch {
		case p.Proto == "otlp-grpc":
			var answer []byte
			if err := conn.Invoke(t.Context(), p.Path, &p.Body, &answer); err != nil || len(answer) > 0 {
				t.Errorf("%s: %v, answer % x", p.File, err, answer)
			}
		case strings.HasPrefix(p.Proto, "otlp"):
			if code, body := post(t, "http://"+s.OTLPHTTP+p.Path, p.Headers["content-type"], p.Body); code != 200 || body != "" {
				t.Errorf("%s: %d %q", p.File, code, body)
			}
		default:
			if code, body := post(t, "http://"+s.Zipkin+p.Path, p.Headers["content-type"], p.Body); code != 202 || body != "" {
				t.Errorf("%s: %d %q", p.File, code, body)
			}
		}
		sent += p.Spans
	}
	if got := s.spans(); got != sent {
		t.Errorf("%d spans were sent, %d are there", sent, got)
	}

	// The request that everything worked for: gateway, web and api, both protocols' forms.
	var found struct {
		Items []struct {
			TraceID  string `json:"traceId"`
			Spans    int    `json:"spans"`
			Services []struct {
				Name string `json:"name"`
			} `json:"services"`
			RootMissing bool `json:"rootMissing"`
		} `json:"items"`
	}
	s.api("search?start=0&limit=1000", &found)
	whole := 0
	for _, trace := range found.Items {
		if len(trace.Services) == 3 && !trace.RootMissing {
			whole++
		}
	}
	if whole < 20 {
		t.Errorf("%d of %d traces go from the gateway to the last service", whole, len(found.Items))
	}

	// M6: the body decides, whatever the path says; and the path is noted.
	for _, p := range envoyspans.Requests(t) {
		if p.Proto == "zipkin" {
			if code, _ := post(t, "http://"+s.Zipkin+"/zipkin/api/v1/spans", "application/json", p.Body); code != 202 {
				t.Errorf("v2 spans on /zipkin/api/v1/spans: %d", code)
			}
			break
		}
	}
	for _, r := range s.status().Receivers {
		if r.Protocol == "zipkin" && r.Misuses["wrong_path"] == 0 {
			t.Error("the wrong path was not noted")
		}
		if len(r.Refused) > 0 {
			t.Errorf("%s refused %v", r.Protocol, r.Refused)
		}
	}
}

func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	for _, mode := range []string{"1s", "always"} {
		t.Run(mode, func(t *testing.T) {
			dir, manifest := t.TempDir(), filepath.Join(t.TempDir(), "manifest.json")
			s := start(t, dir, "--wal-sync", mode)
			must(t, "load", "send", "--protocol", "zipkin", "--target", s.Zipkin, "--spans", "5000", "--spans-per-request", "20", "--manifest", manifest)
			before := s.spans()
			s.signal(syscall.SIGKILL)
			s = start(t, dir, "--wal-sync", mode)
			if after := s.spans(); after != before {
				t.Errorf("%d spans before the kill, %d after", before, after)
			}
			must(t, "load", "verify", "--manifest", manifest, "--endpoints", dir, "--sample", "50", "--exact")
			s.signal(syscall.SIGTERM)
			if code, out := run(t, "fsck", "--data-dir", dir); code != 0 {
				t.Errorf("fsck after a kill and a stop: %d\n%s", code, out)
			}
		})
	}
}

func TestLoadOverEachProtocolIsComplete(t *testing.T) {
	for _, protocol := range []string{"otlp-grpc", "otlp-http", "otlp-http-json", "zipkin", "zipkin-proto"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			start(t, dir)
			manifest := filepath.Join(t.TempDir(), "manifest.json")
			must(t, "load", "send", "--protocol", protocol, "--endpoints", dir, "--spans", "20000", "--manifest", manifest)
			must(t, "load", "verify", "--manifest", manifest, "--endpoints", dir, "--all", "--exact")
		})
	}
}

func TestBadInputGetsAReason(t *testing.T) {
	s := start(t, t.TempDir())
	for _, c := range []struct {
		url, contentType, body string
		code                   int
		says                   string
	}{
		{"http://" + s.Zipkin + "/api/v2/spans", "application/json", "{", 400, ""},
		{"http://" + s.Zipkin + "/api/v2/spans", "application/json", "[]", 202, ""},
		{"http://" + s.Zipkin + "/api/v2/spans", "application/json", "", 202, ""},
		{"http://" + s.Zipkin + "/nothing", "application/json", "[]", 404, "/api/v2/spans"},
		{"http://" + s.OTLPHTTP + "/v1/traces", "application/json", "{", 400, ""},
		{"http://" + s.OTLPHTTP + "/v1/traces", "text/plain", "x", 415, ""},
		{"http://" + s.OTLPHTTP + "/v1/traces", "application/x-protobuf", "\xff\xff", 400, ""},
		{"http://" + s.OTLPHTTP + "/v1/traces", "application/x-protobuf", "", 200, ""},
	} {
		code, body := post(t, c.url, c.contentType, []byte(c.body))
		if code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("POST %s %q: %d %q, want %d saying %q", c.url, c.body, code, body, c.code, c.says)
		}
	}
	for path, want := range map[string]int{"traces/xyz": 400, "traces/00000000000000000000000000000001": 404, "search?filter=durration>1s": 400, "search?limt=3": 400, "nothing": 404} {
		code, body := s.get("http://" + s.HTTP + "/api/spanloom/v1/" + path)
		if code != want || !strings.Contains(string(body), `"error"`) {
			t.Errorf("GET %s: %d %s, want %d", path, code, body, want)
		}
	}
	if code, out := run(t, "serve", "--data-dir", t.TempDir(), "--retention", "soon"); code != 2 || !strings.Contains(out, "--retention") {
		t.Errorf("serve with a bad flag: %d %s", code, out)
	}
}

func TestMetricsHaveTheNamesOfDashboards(t *testing.T) {
	s := start(t, t.TempDir())
	must(t, "load", "send", "--protocol", "zipkin", "--target", s.Zipkin, "--spans", "100", "--manifest", "-")
	_, body := s.get("http://" + s.Admin + "/metrics")
	for _, want := range []string{
		`otelcol_receiver_accepted_spans{receiver="zipkin",transport="http"} 1`, `otelcol_receiver_accepted_spans_total{receiver="zipkin",transport="http"} 1`,
		`otelcol_receiver_refused_spans{receiver="otlp",transport="grpc"} 0`, `otelcol_exporter_sent_spans{exporter="local"} 1`,
		`spanloom_refused_total{protocol="zipkin",reason="malformed"} 0`, "process_cpu_seconds_total",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	wait.For(t, 5*time.Second, "zipkin receiver started in the log", func() bool { return strings.Contains(s.log.String(), "zipkin receiver started") })
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(5*time.Second))
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+s.Admin+"/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if !strings.Contains(string(text), "# TYPE otelcol_receiver_accepted_spans unknown") {
		t.Error("in OpenMetrics the name without _total must be of type unknown")
	}
}
