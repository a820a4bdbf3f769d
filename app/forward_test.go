package app

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
)

// TestForward sends what one Spanloom accepted to two others, over gRPC and HTTP, one of which is away for a while and asks for a token.
func TestForward(t *testing.T) {
	tokens := writeFile(t, "ingest iiiiiiiiiiiiiiii\nread rrrrrrrrrrrrrrrr\n")
	header := writeFile(t, "Bearer iiiiiiiiiiiiiiii")
	overGRPC := startServe(t, nil, map[string][]string{"store": {"memory"}})
	dir := t.TempDir()
	flags := func(addr string) map[string][]string {
		return map[string][]string{"data-dir": {dir}, "otlp-http-addr": {addr}, "auth-token-file": {tokens}}
	}
	overHTTP := startServe(t, nil, flags(":0"))
	whole := t
	for _, kind := range []string{"local", "memory"} {
		t.Run(kind, func(t *testing.T) {
			one := startServe(t, nil, map[string][]string{"store": {kind}, "forward-to": {
				"grpc://" + overGRPC.OTLPGRPC + "?name=over-grpc", "http://" + overHTTP.OTLPHTTP + "?name=over-http&header_file.Authorization=" + header}})
			metric := func(name, target string) string {
				_, body := one.do("GET", "http://"+one.Admin+"/metrics", "")
				for line := range strings.Lines(body) {
					if value, ok := strings.CutPrefix(line, name+`{target="`+target+`"} `); ok {
						return strings.TrimSpace(value)
					}
				}
				return ""
			}
			base := map[string]int{"local": 0x100, "memory": 0x200}[kind]
			post := func(from, n int) {
				t.Helper()
				for i := range n {
					if status, body := one.do("POST", "http://"+one.Zipkin+"/api/v2/spans", zipkinSpan(base+from+i, time.Now())); status != http.StatusAccepted {
						t.Fatal(status, body)
					}
				}
			}
			trace := func(r *running, id int) string {
				_, body := r.do("GET", fmt.Sprintf("http://%s/api/traces/%016x", r.HTTP, id), "", "Authorization", "Bearer rrrrrrrrrrrrrrrr")
				return body
			}
			post(0, 10)
			for _, target := range []string{"over-grpc", "over-http"} {
				wait.For(t, time.Minute, target, func() bool { return metric("spanloom_forward_sent_spans_total", target) == "10" })
			}
			at := overHTTP.OTLPHTTP
			if err := overHTTP.stop(); err != nil {
				t.Fatal(err)
			}
			post(10, 10)
			wait.For(t, time.Minute, "the one that is there", func() bool { return metric("spanloom_forward_sent_spans_total", "over-grpc") == "20" })
			wait.For(t, time.Minute, "the failure of the other", func() bool { return metric("spanloom_forward_failing", "over-http") == "1" })
			if _, body := one.do("GET", "http://"+one.HTTP+"/api/spanloom/v1/status", ""); !strings.Contains(body, `"name":"over-http"`) || !strings.Contains(body, `"lastError":`) {
				t.Errorf("status: %s", body)
			}
			overHTTP = startServe(whole, nil, flags(at))
			wait.For(t, time.Minute, "the rest", func() bool { return metric("spanloom_forward_sent_spans_total", "over-http") == "20" })
			for i := range 20 {
				want := trace(one, base+i)
				if !strings.Contains(want, "spanID") {
					t.Fatalf("the trace is not there: %s", want)
				}
				for _, r := range []*running{overGRPC, overHTTP} {
					if got := trace(r, base+i); got != want {
						t.Errorf("trace %d:\n%s\nwas sent as\n%s", i, got, want)
					}
				}
			}
		})
	}
}
