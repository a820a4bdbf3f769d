package app

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/test/engines"
	"github.com/spanloom/spanloom/transfer"
)

func TestClickHouse(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	replicas(t, map[string][]string{"store": {"clickhouse"}, "clickhouse-dsn": {"clickhouse://" + server.Addr + "/traces"}}, server)
}

// TestClickHouseOtel is TestClickHouse on the tables of OpenTelemetry's exporter.
func TestClickHouseOtel(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	replicas(t, map[string][]string{"store": {"clickhouse"}, "clickhouse-dsn": {"clickhouse://" + server.Addr + "/otel?schema=otel"}}, server)
	if n := server.Number(t, "SELECT count() FROM otel.otel_traces WHERE ServiceName = 'web' AND SpanKind = 'Server'"); n < 24 {
		t.Errorf("others find %d spans in the table", n)
	}
}

func TestOpenSearch(t *testing.T) {
	server := searchserver.Start(t, searchserver.OpenSearch, "")
	settings := map[string][]string{"store": {"opensearch"}, "opensearch-url": {server.URL() + "/?index_prefix=traces"}}
	replicas(t, settings, server)

	// Without a folder there is no queue: a sender is answered when the server has his spans.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings["data-dir"] = []string{filepath.Join(file, "data")}
	r := startServe(t, nil, settings)
	if status, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(50, time.Now())); status != http.StatusAccepted {
		t.Error(status, body)
	}
	if _, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/status", ""); strings.Contains(body, `"queue":`) {
		t.Errorf("status without a folder: %s", body)
	}
	server.Kill()
	if status, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(51, time.Now())); status != http.StatusServiceUnavailable {
		t.Errorf("without a server and a folder: %d %s", status, body)
	}
}

// TestOpenSearchBesideJaeger: what Jaeger stored is found by the same questions as what comes in, and shown as one trace with it.
func TestOpenSearchBesideJaeger(t *testing.T) {
	server := searchserver.Start(t, searchserver.OpenSearch, "")
	now := time.Now()
	index := "/prod-jaeger-span-" + now.UTC().Format("2006-01-02")
	server.Do(t, http.MethodPut, index, `{"mappings":{"properties":{"traceID":{"type":"keyword"},"spanID":{"type":"keyword"},"operationName":{"type":"keyword"},
		"startTime":{"type":"long"},"duration":{"type":"long"},"process":{"properties":{"serviceName":{"type":"keyword"},"tags":{"type":"nested"}}},
		"tags":{"type":"nested"},"logs":{"type":"nested"},"references":{"type":"nested"}}}}`)
	document := func(trace, id, parent int, service string) {
		references := "[]"
		if parent != 0 {
			references = fmt.Sprintf(`[{"refType":"CHILD_OF","traceID":"%016x","spanID":"%016x"}]`, trace, parent)
		}
		server.Do(t, http.MethodPost, index+"/_doc?refresh=true", fmt.Sprintf(`{"traceID":"%016x","spanID":"%016x","operationName":"get","startTime":%d,"duration":500,
			"process":{"serviceName":%q,"tags":[]},"tags":[{"key":"span.kind","type":"string","value":"server"}],"logs":[],"references":%s}`, trace, id, now.UnixMicro(), service, references))
	}
	document(1, 2, 1, "ratings") // its parent comes in below
	document(7, 7, 0, "details")

	r := startServe(t, nil, map[string][]string{"store": {"opensearch"}, "opensearch-url": {server.URL() + "/?index_prefix=traces&jaeger=prod"}})
	if status, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(1, now)); status != http.StatusAccepted {
		t.Fatal(status, body)
	}
	look := func(when string) {
		if got := r.search(); len(got) != 2 {
			t.Errorf("%s: traces %v", when, got)
		}
		for path, want := range map[string][]string{
			"/api/traces/0000000000000001": {`"serviceName":"web"`, `"serviceName":"ratings"`},
			"/api/traces/0000000000000007": {`"serviceName":"details"`},
			"/api/services":                {`"web"`, `"ratings"`, `"details"`},
			fmt.Sprintf("/api/spanloom/v1/map?start=%d&end=%d", now.Add(-time.Hour).UnixNano(), now.Add(time.Hour).UnixNano()): {`"service":"web"`, `"service":"ratings"`},
		} {
			status, body := r.do("GET", "http://"+r.HTTP+path, "")
			for _, text := range want {
				if status != http.StatusOK || !strings.Contains(body, text) {
					t.Errorf("%s: %s: %d without %s: %.500s", when, path, status, text, body)
				}
			}
		}
	}
	look("while it waits in the queue")
	wait.For(t, time.Minute, "the queue to be empty", func() bool {
		_, body := r.do("GET", "http://"+r.Admin+"/metrics", "")
		return strings.Contains(body, "\nspanloom_queue_spans 0\n")
	})
	look("when the server has it")
	if said := server.Do(t, http.MethodGet, "/prod-jaeger-span-*/_count", ""); !strings.Contains(said, `"count":2`) {
		t.Errorf("Jaeger's indices: %s", said)
	}
}

// replicas runs two processes on one store: what one received the other shows, it goes on when the first one ends, and when the server
// does for a while.
func replicas(t *testing.T, settings map[string][]string, server engines.Server) {
	flags := func() map[string][]string { return maps.Clone(settings) }
	one, two := startServe(t, nil, flags()), startServe(t, nil, flags())
	for i, r := range []*running{one, two, one} {
		if status, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(i+1, time.Now())); status != http.StatusAccepted {
			t.Fatal(status, body)
		}
	}
	wait.For(t, time.Minute, "both to find what either received", func() bool {
		a, b := one.search(), two.search()
		return len(a) == 3 && slices.Equal(a, b)
	})
	a := two.search()
	status, body := two.do("GET", "http://"+two.HTTP+"/api/traces/"+a[0], "")
	if status != http.StatusOK || !strings.Contains(body, `"spanID"`) {
		t.Errorf("trace: %d %s", status, body)
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	if status, body := two.do("POST", "http://"+two.Zipkin+"/api/v2/spans", zipkinSpan(9, time.Now())); status != http.StatusAccepted {
		t.Fatal(status, body)
	}
	if got := two.search(); len(got) != 4 {
		t.Errorf("two finds %v", got)
	}

	// Without a server spans wait, are shown, and go on when it is back.
	server.Kill()
	for i := range 20 {
		if status, body := two.do("POST", "http://"+two.Zipkin+"/api/v2/spans", zipkinSpan(10+i, time.Now())); status != http.StatusAccepted {
			t.Errorf("without a server: %d %s", status, body)
		}
	}
	if got := two.search(); len(got) < 20 {
		t.Errorf("without a server two finds %v", got)
	}
	// A trace that waits is shown as what is known of it. Of one that the server has nothing is known, which is not the same as not found.
	waiting, stored := fmt.Sprintf("%016x", 10), fmt.Sprintf("%016x", 1)
	for path, says := range map[string]string{
		"http://" + two.HTTP + "/api/spanloom/v1/traces/": `"complete":false,"reason":"some spans could not be read: `,
		"http://" + two.HTTP + "/api/traces/":             `"warnings":["some spans could not be read: `,
		"http://" + two.Tempo + "/api/v2/traces/":         `"status":"PARTIAL","message":"some spans could not be read: `,
	} {
		if status, body := two.do("GET", path+waiting, ""); status != http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("without a server: %s: %d %s", path, status, body)
		}
		if status, body := two.do("GET", path+stored, ""); status != http.StatusServiceUnavailable {
			t.Errorf("without a server: %s of a trace that it has: %d %s", path, status, body)
		}
	}
	mapPath := fmt.Sprintf("http://%s/api/spanloom/v1/map?start=%d&end=%d", two.HTTP, time.Now().Add(-time.Hour).UnixNano(), time.Now().Add(time.Minute).UnixNano())
	if status, body := two.do("GET", mapPath, ""); status != http.StatusOK || !strings.Contains(body, `"service":"web"`) || !strings.Contains(body, `"complete":false`) {
		t.Errorf("map without a server: %d %.500s", status, body)
	}
	metric := func(name string) string {
		_, body := two.do("GET", "http://"+two.Admin+"/metrics", "")
		for line := range strings.Lines(body) {
			if value, ok := strings.CutPrefix(line, name+" "); ok {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	wait.For(t, time.Minute, "the queue to say that it cannot send", func() bool { return metric("spanloom_queue_failing") == "1" })
	if _, body := two.do("GET", "http://"+two.HTTP+"/api/spanloom/v1/status", ""); !strings.Contains(body, `"lastError":`) {
		t.Errorf("status: %s", body)
	}
	server.Restart(t)
	wait.For(t, 2*time.Minute, "the queue to be empty", func() bool { return metric("spanloom_queue_spans") == "0" && metric("spanloom_queue_failing") == "0" })
	if got := two.search(); len(got) != 20 { // the newest of 24: a page
		t.Errorf("two finds %d: %v", len(got), got)
	}
	if got := metric("spanloom_queue_sent_spans_total"); got != "22" {
		t.Errorf("two sent %s spans", got)
	}
	status, body = two.do("GET", fmt.Sprintf("http://%s/api/spanloom/v1/map?start=%d&end=%d", two.HTTP, time.Now().Add(-time.Hour).UnixNano(), time.Now().UnixNano()), "")
	if status != http.StatusOK || !strings.Contains(body, `"service":"web"`) {
		t.Errorf("map: %d %.300s", status, body)
	}

	// An export has every span; a span that went twice to the server may come twice.
	for query, want := range map[string]int{"": 24, `{ resource.service.name = "web" && duration < 1s }`: 24, `{ name = "nothing" }`: 0} {
		var out bytes.Buffer
		n, err := transfer.Export(t.Context(), transfer.ExportOptions{Server: "http://" + two.HTTP, TraceQL: query}, &out)
		ids := make(map[string]bool)
		for _, id := range regexp.MustCompile(`"spanId":"[0-9a-f]{16}"`).FindAllString(out.String(), -1) {
			ids[id] = true
		}
		if err != nil || len(ids) != want || n < int64(want) {
			t.Errorf("export %s: %d spans, %d different, want %d (%v)", query, n, len(ids), want, err)
		}
	}
}
