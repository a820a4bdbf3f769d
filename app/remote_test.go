package app

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/wait"
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
}
