package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/store/mem"
)

// running is a Serve inside the test.
type running struct {
	Endpoints
	t    *testing.T
	stop func() error
}

// startServe runs Serve on free ports until the test or stop ends it.
func startServe(t *testing.T, now func() time.Time, flags map[string][]string) *running {
	t.Helper()
	if flags == nil {
		flags = make(map[string][]string)
	}
	for _, name := range []string{"http-addr", "tempo-addr", "tempo-grpc-addr", "zipkin-addr", "otlp-grpc-addr", "otlp-http-addr", "admin-addr", "jaeger-grpc-addr"} {
		if flags[name] == nil {
			flags[name] = []string{":0"}
		}
	}
	if flags["data-dir"] == nil {
		flags["data-dir"] = []string{t.TempDir()}
	}
	flags["max-memory"] = []string{"256MiB"}
	c, err := config.Load(config.Source{Flags: flags, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan Endpoints, 1), make(chan error, 1)
	go func() {
		done <- Serve(ctx, c, Options{Log: slog.New(slog.DiscardHandler), Now: now, Ready: func(e Endpoints) { ready <- e }})
	}()
	r := &running{t: t}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	select {
	case r.Endpoints = <-ready:
	case err := <-done:
		stopped = true
		cancel()
		t.Fatalf("serve did not start: %v", err)
	case <-time.After(wait.Scale(30 * time.Second)):
		t.Fatal("serve is not ready after 30 s")
	}
	return r
}

// do sends a request and answers status and body.
func (r *running) do(method, url, body string, headers ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// zipkinSpan is one span that starts at an instant.
func zipkinSpan(id int, at time.Time) string {
	return fmt.Sprintf(`[{"traceId":"%016x","id":"%016x","name":"get /x","kind":"SERVER","timestamp":%d,"duration":1000,"localEndpoint":{"serviceName":"web"}}]`, id, id, at.UnixMicro())
}

// search answers the ids found by the default window of the own API.
func (r *running) search() (ids []string) {
	r.t.Helper()
	code, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/search", "")
	var page struct {
		Items []struct {
			TraceID string `json:"traceId"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(body), &page); code != 200 || err != nil {
		r.t.Fatalf("search: %d %v %s", code, err, body)
	}
	for _, i := range page.Items {
		ids = append(ids, i.TraceID)
	}
	return ids
}

// A server whose clock, like its senders', is 400 days ahead works like any other: no room has a clock of its own.
func TestClock400DaysAhead(t *testing.T) {
	now := func() time.Time { return time.Now().Add(400 * 24 * time.Hour) }
	dir := t.TempDir()
	r := startServe(t, now, map[string][]string{"data-dir": {dir}})
	if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(1, now())); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	if ids := r.search(); len(ids) != 1 {
		t.Fatalf("found %v", ids)
	}
	_, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/traces/1", "")
	if strings.Contains(body, `"impossible_time"`) || !strings.Contains(body, fmt.Sprint(now().Unix()/1000)) {
		t.Errorf("the trace is %s", body)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = startServe(t, now, map[string][]string{"data-dir": {dir}})
	if ids := r.search(); len(ids) != 1 {
		t.Errorf("after a restart found %v", ids)
	}
}

func TestEndpointsFileComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	r := startServe(t, nil, map[string][]string{"data-dir": {dir}, "otlp-http-addr": {"off"}})
	data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	if e["http"] != r.HTTP || e["zipkin"] != r.Zipkin || e["otlpGrpc"] != r.OTLPGRPC || e["admin"] != r.Admin || e["jaegerGrpc"] != r.JaegerGRPC || r.JaegerGRPC == "" || e["pid"] != float64(os.Getpid()) {
		t.Errorf("endpoints.json is %s", data)
	}
	if _, ok := e["otlpHttp"]; ok {
		t.Error("a listener that is off is in endpoints.json")
	}
	if code, body := r.do("GET", "http://"+r.Admin+"/readyz", ""); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "endpoints.json")); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

func TestTokensGuardEveryDoor(t *testing.T) {
	tokenFile := writeFile(t, "ingest aaaaaaaaaaaaaaaa\nread bbbbbbbbbbbbbbbb\n")
	r := startServe(t, nil, map[string][]string{"auth-token-file": {tokenFile}, "auth-exempt": {"zipkin"}})
	for _, c := range []struct {
		method, url, token string
		want               int
	}{
		{"POST", "http://" + r.Zipkin + "/api/v2/spans", "", 202},
		{"POST", "http://" + r.OTLPHTTP + "/v1/traces", "", 401},
		{"POST", "http://" + r.OTLPHTTP + "/v1/traces", "bbbbbbbbbbbbbbbb", 403},
		{"POST", "http://" + r.OTLPHTTP + "/v1/traces", "aaaaaaaaaaaaaaaa", 200},
		{"POST", "http://" + r.OTLPGRPC + "/v1/traces", "", 401},
		{"POST", "http://" + r.OTLPGRPC + "/v1/traces", "aaaaaaaaaaaaaaaa", 200},
		{"GET", "http://" + r.HTTP + "/api/spanloom/v1/status", "", 401},
		{"GET", "http://" + r.HTTP + "/api/spanloom/v1/status", "bbbbbbbbbbbbbbbb", 200},
		{"GET", "http://" + r.HTTP + "/api/services", "aaaaaaaaaaaaaaaa", 403},
		{"GET", "http://" + r.HTTP + "/jaeger/api/services", "bbbbbbbbbbbbbbbb", 200},
		{"POST", "http://" + r.HTTP + "/api/spanloom/v1/traces/1/keep", "bbbbbbbbbbbbbbbb", 403},
		{"GET", "http://" + r.HTTP + "/", "", 200},
		{"GET", "http://" + r.Admin + "/healthz", "", 200},
	} {
		body := "{}"
		if strings.HasSuffix(c.url, "/spans") {
			body = "[]"
		}
		headers := []string{}
		if c.token != "" {
			headers = append(headers, "Authorization", "Bearer "+c.token)
		}
		if code, text := r.do(c.method, c.url, body, headers...); code != c.want {
			t.Errorf("%s %s with %q: %d %.200s, want %d", c.method, c.url, c.token, code, text, c.want)
		}
	}
}

func TestBasePathIsServedKeptAndCut(t *testing.T) {
	r := startServe(t, nil, map[string][]string{"base-path": {"/a/b"}})
	for _, path := range []string{"/a/b/", "/", "/a/b/search", "/a/b/jaeger/", "/jaeger/search"} {
		code, body := r.do("GET", "http://"+r.HTTP+path, "")
		if code != 200 || !strings.Contains(body, "/a/b/") {
			t.Errorf("%s: %d without its base: %.200s", path, code, body)
		}
	}
	for _, path := range []string{"/a/b/api/services", "/api/services", "/a/b/jaeger/api/services", "/a/b/api/spanloom/v1/status"} {
		if code, body := r.do("GET", "http://"+r.HTTP+path, ""); code != 200 || !strings.HasPrefix(body, "{") {
			t.Errorf("%s: %d %.200s", path, code, body)
		}
	}
	if code, _ := r.do("GET", "http://"+r.HTTP+"/", "", "Host", "evil.example"); code != 403 {
		t.Errorf("an unknown host on loopback: %d", code)
	}
	if code, _ := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", "[]", "Host", "zipkin.istio-system"); code != 202 {
		t.Errorf("a receiver asked for its host: %d", code)
	}
}

func TestReloadTakesNewRulesAndRefusesBadOnes(t *testing.T) {
	file := writeFile(t, "sampling-percent: 10\n")
	c, err := config.Load(config.Source{File: file, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Rules(c)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := process.New(rules, mem.New(mem.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{config: c, tokens: &tokens{}, steps: steps}
	for _, step := range []struct {
		text string
		fine bool
		want float64
	}{
		{"sampling-percent: 25\n", true, 25},
		{"sampling-percent: 500\n", false, 25},
		{"redact-pattern: ['(']\nsampling-percent: 1\n", false, 25},
		{"sampling-percent: 50\n", true, 50},
	} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.reload(); (err == nil) != step.fine {
			t.Errorf("reload of %q: %v", step.text, err)
		}
		if got := steps.Rules().SamplePercent; got != step.want {
			t.Errorf("after %q %v %% are kept, want %v", step.text, got, step.want)
		}
	}
}

// Every listener speaks TLS with the default certificate, one of them with its own that asks for the client's.
func TestListenersSpeakTLS(t *testing.T) {
	files, pool, pair := selfSigned(t, "all")
	r := startServe(t, nil, map[string][]string{"tls-cert": {files.Cert}, "tls-key": {files.Key},
		"tls-zipkin-cert": {files.Cert}, "tls-zipkin-key": {files.Key}, "tls-zipkin-client-ca": {files.Cert}})
	client := func(certs ...tls.Certificate) *http.Client {
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, DisableKeepAlives: true}}
	}
	for _, c := range []struct {
		client      *http.Client
		method, url string
		body        string
		want        int // 0: no answer at all
	}{
		{client(pair), "POST", "https://" + r.Zipkin + "/api/v2/spans", "[]", 202},
		{client(), "POST", "https://" + r.Zipkin + "/api/v2/spans", "[]", 0},
		{client(), "POST", "https://" + r.OTLPHTTP + "/v1/traces", "{}", 200},
		{client(), "POST", "https://" + r.OTLPGRPC + "/v1/traces", "{}", 200},
		{client(), "GET", "https://" + r.HTTP + "/api/services", "", 200},
		{client(), "GET", "https://" + r.Admin + "/readyz", "", 200},
		{http.DefaultClient, "GET", "http://" + r.HTTP + "/api/services", "", 400},
	} {
		req, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		code := 0
		if res, err := c.client.Do(req); err == nil {
			code = res.StatusCode
			_ = res.Body.Close()
		}
		if code != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.url, code, c.want)
		}
	}
	conn, err := grpc.NewClient(r.OTLPGRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(10*time.Second))
	defer cancel()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("gRPC over TLS: %v", err)
	}
}
