package app

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestZipkinPortAndMirror: what was posted to the port is answered there and under /zipkin of --http-addr.
func TestZipkinPortAndMirror(t *testing.T) {
	r := startServe(t, nil, nil)
	if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(1, time.Now())); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	for _, base := range []string{r.Zipkin, r.Zipkin + "/zipkin", r.HTTP + "/zipkin"} {
		for path, want := range map[string]string{
			"/api/v2/services":                         `["web"]`,
			"/api/v2/spans?serviceName=WEB":            `["get /x"]`,
			"/api/v2/traces?serviceName=web":           `"id":"0000000000000001"`,
			"/api/v2/trace/1":                          `"localEndpoint":{"serviceName":"web"}`,
			"/api/v2/dependencies?endTs=1795853083000": `[]`,
			"/config.json":                             `"queryLimit":10`,
			"/health":                                  `"status":"UP"`,
			"/info":                                    `"zipkin"`,
		} {
			if code, body := r.do("GET", "http://"+base+path, ""); code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s%s: %d %s", base, path, code, body)
			}
		}
		if code, body := r.do("GET", "http://"+base+"/api/v2/trace/2", ""); code != 404 || body != "0000000000000002 not found" {
			t.Errorf("%s: %d %s", base, code, body)
		}
	}
	// Senders that probe the receiver get an empty list.
	if code, body := r.do("GET", "http://"+r.Zipkin+"/api/v2/spans", ""); code != 200 || body != "[]" {
		t.Errorf("probe: %d %s", code, body)
	}
	if code, body := r.do("POST", "http://"+r.HTTP+"/zipkin/api/v2/spans", zipkinSpan(2, time.Now())); code != 404 && code != 405 {
		t.Errorf("spans posted to the mirror: %d %s", code, body)
	}
}

// TestZipkinSecurity: pages of other origins may post spans and nothing else; Host and token are asked of queries only.
func TestZipkinSecurity(t *testing.T) {
	tokenFile := writeFile(t, "ingest aaaaaaaaaaaaaaaa\nread bbbbbbbbbbbbbbbb\n")
	open := startServe(t, nil, nil)
	guarded := startServe(t, nil, map[string][]string{"auth-token-file": {tokenFile}})
	for _, c := range []struct {
		r            *running
		method, path string
		header       string
		want         int
		cors         string
	}{
		{open, "POST", "/api/v2/spans", "Origin: http://evil.example", 202, "*"},
		{open, "OPTIONS", "/api/v2/spans", "Origin: http://evil.example", 204, "*"},
		{open, "GET", "/api/v2/services", "Origin: http://evil.example", 200, ""},
		{open, "GET", "/api/v2/traces", "Origin: http://evil.example", 200, ""},
		{open, "OPTIONS", "/api/v2/traces", "Origin: http://evil.example", 404, ""},
		{open, "POST", "/api/v2/spans", "Host: zipkin.istio-system", 202, ""},
		{open, "GET", "/api/v2/services", "Host: evil.example", 403, ""},
		{guarded, "POST", "/api/v2/spans", "", 401, ""},
		{guarded, "POST", "/api/v2/spans", "Authorization: Bearer aaaaaaaaaaaaaaaa", 202, ""},
		{guarded, "GET", "/api/v2/services", "", 401, ""},
		{guarded, "GET", "/api/v2/services", "Authorization: Bearer aaaaaaaaaaaaaaaa", 403, ""},
		{guarded, "GET", "/api/v2/services", "Authorization: Bearer bbbbbbbbbbbbbbbb", 200, ""},
	} {
		req, err := http.NewRequest(c.method, "http://"+c.r.Zipkin+c.path, strings.NewReader(zipkinSpan(1, time.Now())))
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(c.header, ": ")
		if req.Header.Set(key, value); key == "Host" {
			req.Host = value
		}
		if key == "" {
			req.Header = http.Header{}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != c.want || got != c.cors {
			t.Errorf("%s %s %s: %d, CORS %q; want %d, %q", c.method, c.path, c.header, res.StatusCode, got, c.want, c.cors)
		}
		if methods := res.Header.Get("Access-Control-Allow-Methods"); strings.Contains(methods, "GET") {
			t.Errorf("%s may be asked by other origins: %s", c.path, methods)
		}
	}
}
