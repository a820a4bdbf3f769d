package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
)

// serving runs serve in a folder until the test ends and answers where it listens.
func serving(t *testing.T) (dir string, ends struct{ HTTP, Zipkin string }) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"serve", "--data-dir", dir, "--max-memory", "256MiB", "--log-level", "error"}
	for _, name := range []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"} {
		args = append(args, "--"+name+"-addr", "127.0.0.1:0")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan string, 1)
	go func() {
		var out strings.Builder
		code := run(ctx, args, &out, &out)
		ended <- fmt.Sprint(code, " ", out.String())
	}()
	t.Cleanup(func() {
		cancel()
		if got := <-ended; !strings.HasPrefix(got, "0 ") {
			t.Errorf("serve ended with %s", got)
		}
	})
	wait.For(t, 30*time.Second, "endpoints.json", func() bool {
		data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
		return err == nil && json.Unmarshal(data, &ends) == nil && ends.HTTP != ""
	})
	return dir, ends
}

func report(t *testing.T, addr, body string) {
	t.Helper()
	res, err := http.Post("http://"+addr+"/api/v2/spans", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Fatal(res.Status)
	}
}

// TestQueryAndTrace asks a real server: over gRPC, and over HTTP through a proxy that speaks nothing newer.
func TestQueryAndTrace(t *testing.T) {
	dir, ends := serving(t)
	start := time.Now().Add(-time.Minute).UnixMicro()
	report(t, ends.Zipkin, fmt.Sprintf(`[
		{"traceId":"000000000000000a","id":"0000000000000001","name":"get /cart","kind":"SERVER","timestamp":%d,"duration":90000,"localEndpoint":{"serviceName":"front"}},
		{"traceId":"000000000000000a","id":"0000000000000002","parentId":"0000000000000001","name":"read\u001b[31m","kind":"CLIENT","timestamp":%d,"duration":50000,"localEndpoint":{"serviceName":"front"},"tags":{"error":"true","db":"cart"}},
		{"traceId":"000000000000000a","id":"0000000000000003","parentId":"0000000000000001","name":"render","timestamp":%d,"duration":10000,"localEndpoint":{"serviceName":"front"}}]`,
		start, start+10_000, start+70_000))

	target, err := url.Parse("http://" + ends.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}) // HTTP/1.1 only
	defer proxy.Close()
	for _, where := range [][]string{{"--data-dir", dir}, {"--server", "http://" + ends.HTTP + "/"}, {"--server", proxy.URL}} {
		for _, c := range []struct {
			args []string
			code int
			says []string
		}{
			{[]string{"query", `{ resource.service.name = "front" }`}, 0, []string{"TRACE ", "MATCHED", "\na ", "90ms", "get /cart", "3      1       3"}},
			{[]string{"query", "--spans", "2", `{ .db = "cart" }`}, 0, []string{"0000000000000002", "{db=cart}", "read\uFFFD[31m"}},
			{[]string{"query", "--since", "10s", `{}`}, 0, []string{"no trace matches"}},
			{[]string{"query", `{} | count_over_time() by (resource.service.name)`}, 0, []string{"SERIES", "{resource.service.name=front}", "▁", "█"}},
			{[]string{"query", `{ name = "nothing" } | rate()`}, 0, []string{"no series"}},
			{[]string{"query", "-o", "json", `{ .db = "cart" }`}, 0, []string{`{"traces":[{"traceID":"a",`}},
			{[]string{"query", "-o", "json", "--step", "1m", `{} | rate()`}, 0, []string{`{"series":[{"labels":[{"key":"__name__"`}},
			{[]string{"query", "-o", "xml", `{}`}, 2, []string{"none of [text json]"}},
			{[]string{"query", `{ name = }`}, 2, []string{"line 1, col 10", "^"}},
			{[]string{"query", "--since", "soon", `{}`}, 2, []string{"--since \"soon\""}},
			{[]string{"query", "--limit", "100000", `{}`}, 2, []string{"100000 is out of bounds"}},
			{[]string{"trace", "a"}, 0, []string{"90ms, 3 spans, 1 error, 1 service", "front get /cart ", "├─ front read\uFFFD[31m", "└─ front render", "[  █████████████", "error"}},
			{[]string{"trace", "-o", "table", "a"}, 0, []string{"START ", "+10ms  50ms      0000000000000002  front"}},
			{[]string{"trace", "-o", "json", "a"}, 0, []string{`"spanCount":3`}},
			{[]string{"trace", "b"}, 1, []string{"not found"}},
			{[]string{"trace", "-o", "xml", "a"}, 2, []string{"none of [text table json yaml]"}},
		} {
			args := append(c.args, where...)
			code, stdout, stderr := command(t, args...)
			for _, says := range c.says {
				if code != c.code || !strings.Contains(stdout+stderr, says) {
					t.Errorf("spanloom %q: exit code %d\n%s%s\nwant %d, saying %q", args, code, stdout, stderr, c.code, says)
				}
			}
		}
	}
	for _, args := range [][]string{{"query", "{}", "--server", "http://127.0.0.1:1"}, {"query", "{}|rate()", "--server", "http://127.0.0.1:1"}} {
		if code, _, stderr := command(t, args...); code != 2 || !strings.Contains(stderr, "is `spanloom serve` running") {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
	if code, _, stderr := command(t, "query", "{}", "--server", "16686"); code != 2 || !strings.Contains(stderr, "is not a URL") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestTreeOfOddTraces(t *testing.T) {
	// A chain as deep as strangers send: the lines stop growing, and it costs no more than its length.
	const n = 5000
	s := skeleton{Duration: 0}
	s.Services = append(s.Services, struct {
		Name string `json:"name"`
	}{"x"})
	s.Names = []string{"y"}
	for i := range n {
		s.Spans.ID = append(s.Spans.ID, fmt.Sprint(i))
		s.Spans.Parent = append(s.Spans.Parent, i-1)
		s.Spans.Start, s.Spans.Duration = append(s.Spans.Start, 0), append(s.Spans.Duration, 0)
		s.Spans.Service, s.Spans.Name, s.Spans.Flags = append(s.Spans.Service, 0), append(s.Spans.Name, 0), append(s.Spans.Flags, 0)
	}
	s.Spans.Flags[n-1] = flagPlaceholder
	var out strings.Builder
	if err := s.printTree(&out); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != n || out.Len() > n*1500 || !strings.Contains(out.String(), "(parent 4999 never arrived)") {
		t.Errorf("%d lines, %d bytes", lines, out.Len())
	}
}
