package app

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
)

// TestClickHouse runs two processes on one database: what one received the other shows, and it goes on when the first one ends.
func TestClickHouse(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	dsn := map[string][]string{"store": {"clickhouse"}, "clickhouse-dsn": {"clickhouse://" + server.Addr + "/traces"}}
	flags := func() map[string][]string {
		copied := make(map[string][]string)
		for k, v := range dsn {
			copied[k] = v
		}
		return copied
	}
	one, two := startServe(t, nil, flags()), startServe(t, nil, flags())
	for i, r := range []*running{one, two, one} {
		if status, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", zipkinSpan(i+1, time.Now())); status != http.StatusAccepted {
			t.Fatal(status, body)
		}
	}
	a, b := one.search(), two.search()
	if len(a) != 3 || !slices.Equal(a, b) {
		t.Errorf("one finds %v, two finds %v", a, b)
	}
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

	// Without a server a sender hears that he should try again, and the process stays.
	server.Kill()
	if status, body := two.do("POST", "http://"+two.Zipkin+"/api/v2/spans", zipkinSpan(10, time.Now())); status != http.StatusServiceUnavailable {
		t.Errorf("without a server: %d %s", status, body)
	}
	server.Restart(t)
	if status, body := two.do("POST", "http://"+two.Zipkin+"/api/v2/spans", zipkinSpan(10, time.Now())); status != http.StatusAccepted {
		t.Error(status, body)
	}
	if got := two.search(); len(got) != 5 {
		t.Errorf("two finds %v", got)
	}
	status, body = two.do("GET", "http://"+two.Admin+"/metrics", "")
	if status != http.StatusOK || !strings.Contains(body, "spanloom_") {
		t.Errorf("metrics: %d %.200s", status, body)
	}
	status, body = two.do("GET", fmt.Sprintf("http://%s/api/spanloom/v1/map?start=%d&end=%d", two.HTTP, time.Now().Add(-time.Hour).UnixNano(), time.Now().UnixNano()), "")
	if status != http.StatusOK || !strings.Contains(body, `"service":"web"`) {
		t.Errorf("map: %d %.300s", status, body)
	}
}
