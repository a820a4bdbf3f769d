package app

import (
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/internal/problem"
)

// TestReaderOfABucket: what a writer took is answered by another process that only reads, which takes no spans.
func TestReaderOfABucket(t *testing.T) {
	bucket := []string{"file://" + t.TempDir()}
	writer := startServe(t, nil, map[string][]string{"bucket": bucket})
	if code, body := writer.do("POST", "http://"+writer.Zipkin+"/api/v2/spans", zipkinSpan(1, time.Now())); code != 202 {
		t.Fatalf("%d %s", code, body)
	}
	if _, body := writer.do("GET", "http://"+writer.Admin+"/metrics", ""); !strings.Contains(body, "spanloom_bucket_lag_seconds") || strings.Contains(body, "\nspanloom_bucket_lag_seconds 0\n") {
		t.Error("a span that is in memory only is no lag")
	}
	if err := writer.stop(); err != nil { // uploads what is in memory
		t.Fatal(err)
	}
	reader := startServe(t, nil, map[string][]string{"bucket": bucket, "read-only": {"true"}})
	if ids := reader.search(); len(ids) != 1 {
		t.Errorf("the reader found %v", ids)
	}
	if code, body := reader.do("GET", "http://"+reader.HTTP+"/api/spanloom/v1/status", ""); code != 200 || !strings.Contains(body, `"readOnly":true`) {
		t.Errorf("status: %d %s", code, body)
	}
	if code, body := reader.do("POST", "http://"+reader.Zipkin+"/api/v2/spans", zipkinSpan(2, time.Now())); code != 501 || !strings.Contains(body, "--read-only") {
		t.Errorf("the reader answers a sender %d %s", code, body)
	}
}

func TestBucketSettings(t *testing.T) {
	for _, c := range []struct {
		config config.Config
		want   string
	}{
		{config.Config{Store: "local"}, ""},
		{config.Config{Store: "local", Bucket: "file:///x", ReadOnly: true}, ""},
		{config.Config{Store: "memory", Bucket: "file:///x"}, "--bucket: --store memory"},
		{config.Config{Store: "local", ReadOnly: true}, "--read-only: there is nothing"},
	} {
		err := checkBucket(&c.config)
		if got := problem.Of(err); err == nil != (c.want == "") || err != nil && (got.Kind != problem.Invalid || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}
