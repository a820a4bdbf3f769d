package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// envoySpan is a span as a sidecar's or gateway's Zipkin tracer sends it.
type envoySpan struct {
	trace, id, parent, kind, workload, upstream, request string
	role                                                 string
	after, lasts                                         time.Duration
}

func sendSpans(t *testing.T, zipkin string, began time.Time, spans ...envoySpan) {
	t.Helper()
	var out []string
	for _, s := range spans {
		ns := "shop"
		if s.role == "router" {
			ns = "istio-system"
		}
		tags := fmt.Sprintf(`"component":"proxy","node_id":"%s~10.0.0.1~%s-1.%s~%s.svc.cluster.local","http.method":"GET","http.url":"http://h/x","guid:x-request-id":"%s"`, s.role, s.workload, ns, ns, s.request)
		if s.upstream != "" {
			tags += fmt.Sprintf(`,"upstream_cluster":"outbound|80||%s.shop.svc.cluster.local"`, s.upstream)
		}
		parent := ""
		if s.parent != "" {
			parent = `"parentId":"` + s.parent + `",`
		}
		out = append(out, fmt.Sprintf(`{"traceId":%q,"id":%q,%s"kind":%q,"name":"x","timestamp":%d,"duration":%d,"localEndpoint":{"serviceName":"%s.%s"},"tags":{%s}}`,
			s.trace, s.id, parent, s.kind, began.Add(s.after).UnixMicro(), s.lasts.Microseconds(), s.workload, ns, tags))
	}
	report(t, zipkin, "["+strings.Join(out, ",")+"]")
}

const request = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"

func TestWhyRequest(t *testing.T) {
	_, s := serving(t)
	began := time.Now().Add(-time.Second)
	whole := []envoySpan{
		{trace: "00000000000000000000000000000abc", id: "0000000000000001", kind: "SERVER", workload: "gw", role: "router", request: request, lasts: 40 * time.Millisecond},
		{trace: "00000000000000000000000000000abc", id: "0000000000000002", parent: "0000000000000001", kind: "CLIENT", workload: "gw", role: "router", upstream: "web", request: request, after: 1e6, lasts: 30 * time.Millisecond},
		{trace: "00000000000000000000000000000abc", id: "0000000000000003", parent: "0000000000000002", kind: "SERVER", workload: "web", role: "sidecar", request: request, after: 2e6, lasts: 20 * time.Millisecond},
	}
	sendSpans(t, s.Zipkin, began, whole...)
	for _, c := range []struct {
		arg  string
		code int
		says []string
	}{
		{"abc0000000000000", 1, []string{"! nothing: no span of it arrived"}},
		{"00000000000000000000000000000abc", 0, []string{"istio-system/gw -> shop/web  GET /x", "seen by caller_proxy, callee_proxy", "the way is whole"}},
		{"b3: 00000000000000000000000000000abc-0000000000000001-1", 0, []string{"the way is whole"}},
		{request, 0, []string{"trace 00000000000000000000000000000abc: 3 spans", "the way is whole"}},
		{"11111111-77b3-4da6-a3ce-929d0e0e4736", 1, []string{"! nothing"}},
	} {
		code, stdout, stderr := command(t, "why", c.arg, "--server", "http://"+s.HTTP)
		if code != c.code {
			t.Errorf("why %s: exit %d\n%s%s", c.arg, code, stdout, stderr)
		}
		for _, says := range c.says {
			if !strings.Contains(stdout, says) {
				t.Errorf("why %s does not say %q:\n%s%s", c.arg, says, stdout, stderr)
			}
		}
	}
	// web calls api in a trace of its own: the headers were not forwarded; and calls gone, which does not report.
	sendSpans(t, s.Zipkin, began,
		envoySpan{trace: "00000000000000000000000000000def", id: "0000000000000011", kind: "CLIENT", workload: "web", role: "sidecar", upstream: "api", request: request, after: 3e6, lasts: 5 * time.Millisecond},
		envoySpan{trace: "00000000000000000000000000000def", id: "0000000000000012", parent: "0000000000000011", kind: "SERVER", workload: "api", role: "sidecar", request: request, after: 4e6, lasts: 3 * time.Millisecond},
		envoySpan{trace: "00000000000000000000000000000def", id: "0000000000000013", parent: "0000000000000012", kind: "CLIENT", workload: "api", role: "sidecar", upstream: "gone", request: request, after: 5e6, lasts: time.Millisecond},
		envoySpan{trace: "00000000000000000000000000000def", id: "0000000000000014", parent: "00000000000000ff", kind: "SERVER", workload: "api", role: "sidecar", request: request, after: 5e6, lasts: time.Millisecond})
	code, stdout, _ := command(t, "why", request, "--server", "http://"+s.HTTP)
	for _, says := range []string{"! split: one request, 2 traces", "! missing_callee: shop/gone did not report: only the caller shop/api shows this call", "! missing_parent: span 00000000000000ff never arrived, and 1 span below it did",
		"! context_lost: shop/web loses the context: the request goes on in trace 00000000000000000000000000000def"} {
		if !strings.Contains(stdout, says) {
			t.Errorf("it does not say %q:\n%s", says, stdout)
		}
	}
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	var f Followed
	if code, stdout, _ = command(t, "why", request, "--server", "http://"+s.HTTP, "-o", "json"); json.Unmarshal([]byte(stdout), &f) != nil || code != 1 || len(f.Traces) != 2 || len(f.Breaks) < 4 || f.RequestID != request {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if code, _, stderr := command(t, "why", request, "--server", "http://127.0.0.1:1"); code != 2 || !strings.Contains(stderr, "is `spanloom serve` running") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A gateway that answers at once, whose proxies report later; api never does.
func TestProbe(t *testing.T) {
	_, s := serving(t)
	began := time.Now().Add(-time.Second)
	var asked http.Header
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		trace, span, id := r.Header.Get("x-b3-traceid"), r.Header.Get("x-b3-spanid"), r.Header.Get("x-request-id")
		go sendSpans(t, s.Zipkin, began,
			envoySpan{trace: trace, id: "0000000000000001", parent: span, kind: "SERVER", workload: "gw", role: "router", request: id, lasts: 40 * time.Millisecond},
			envoySpan{trace: trace, id: "0000000000000002", parent: "0000000000000001", kind: "CLIENT", workload: "gw", role: "router", upstream: "web", request: id, after: 1e6, lasts: 30 * time.Millisecond},
			envoySpan{trace: trace, id: "0000000000000003", parent: "0000000000000002", kind: "SERVER", workload: "web", role: "sidecar", request: id, after: 2e6, lasts: 20 * time.Millisecond},
			envoySpan{trace: trace, id: "0000000000000004", parent: "0000000000000003", kind: "CLIENT", workload: "web", role: "sidecar", upstream: "api", request: id, after: 3e6, lasts: 10 * time.Millisecond})
	}))
	defer gateway.Close()
	code, stdout, stderr := command(t, "doctor", "probe", gateway.URL, "--server", "http://"+s.HTTP, "--settle", "300ms", "-H", "Host: shop.example", "-H", "x-test: yes")
	if code != 1 || !strings.Contains(stdout, "istio-system/gw -> shop/web") || !strings.Contains(stdout, "! missing_callee: shop/api did not report") || strings.Contains(stdout, "missing_parent") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if p := strings.Split(asked.Get("traceparent"), "-"); len(p) != 4 || p[1] != asked.Get("x-b3-traceid") || p[3] != "01" || asked.Get("x-b3-sampled") != "1" || !isRequestID(asked.Get("x-request-id")) || asked.Get("x-test") != "yes" {
		t.Errorf("headers %v", asked)
	}
	code, stdout, stderr = command(t, "doctor", "probe", gateway.URL, "--server", "http://"+s.HTTP, "--settle", "10ms", "--within", "1500ms", "--expect", "web", "--expect", "shop/db", "-o", "json")
	var p Probed
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || code != 1 || p.Status != "200 OK" || len(p.Traces) != 1 {
		t.Fatalf("exit %d %v\n%s%s", code, err, stdout, stderr)
	}
	kinds := ""
	for _, b := range p.Breaks {
		kinds += b.Kind + " " + b.Workload + ";"
	}
	if kinds != "missing_callee shop/api;not_seen shop/db;" {
		t.Error(kinds)
	}
	silent := httptest.NewServer(http.NotFoundHandler())
	defer silent.Close()
	code, stdout, _ = command(t, "doctor", "probe", silent.URL, "--server", "http://"+s.HTTP, "--settle", "10ms", "--within", "1s")
	if code != 1 || !strings.Contains(stdout, "answered 404") || !strings.Contains(stdout, "! nothing") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	for _, c := range [][]string{{"not-a-url"}, {"http://127.0.0.1:1/"}, {gateway.URL, "-H", "nonsense"}} {
		if code, stdout, _ := command(t, append([]string{"doctor", "probe", "--server", "http://" + s.HTTP}, c...)...); code != 2 {
			t.Errorf("%v: exit %d\n%s", c, code, stdout)
		}
	}
}
