package app

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLargeAnswersArePacked: for clients that take gzip, with the same content; small ones are not worth it.
func TestLargeAnswersArePacked(t *testing.T) {
	r := startServe(t, nil, nil)
	var spans []string
	for i := range 200 {
		spans = append(spans, fmt.Sprintf(`{"traceId":"7","id":"%x","name":"get /items","kind":"SERVER","timestamp":%d,"duration":1000,"localEndpoint":{"serviceName":"web"}}`, i+1, time.Now().UnixMicro()))
	}
	if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", "["+strings.Join(spans, ",")+"]"); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	for url, packed := range map[string]bool{
		r.Zipkin + "/api/v2/trace/7": true, r.HTTP + "/zipkin/api/v2/trace/7": true, r.Tempo + "/api/traces/7": true, r.HTTP + "/tempo/api/v2/traces/7": true,
		r.HTTP + "/api/traces/7": true, r.Zipkin + "/api/v2/services": false, r.Tempo + "/api/echo": false,
	} {
		req, err := http.NewRequest("GET", "http://"+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if got := res.Header.Get("Content-Encoding") == "gzip"; got != packed {
			t.Errorf("%s: packed %v, want %v", url, got, packed)
			continue
		}
		if !packed {
			continue
		}
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if _, plain := r.do("GET", "http://"+url, "", "Accept-Encoding", "identity"); plain != string(text) {
			t.Errorf("%s: packed %d bytes, plain %d", url, len(text), len(plain))
		}
	}
}
