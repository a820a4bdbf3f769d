package app

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
)

// smallVolume is a file system of so many bytes; the test is skipped where it may not be mounted.
func smallVolume(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("spanloom", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a small volume cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullVolume: a queue whose volume is full refuses senders for a while, says which folder and what helps, keeps what it took, and goes on
// by itself when there is room.
func TestFullVolume(t *testing.T) {
	volume := smallVolume(t, 20<<20) // 16 MiB of it are the queue's reserve
	ballast := filepath.Join(volume, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 7<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(volume, "data")
	// Nobody listens there.
	r := startServe(t, nil, map[string][]string{"store": {"clickhouse"}, "clickhouse-dsn": {"clickhouse://127.0.0.1:1/spans"}, "data-dir": {data}})
	const each = 200
	random := rand.New(rand.NewPCG(1, 2))
	body := func(i int) string {
		list := make([]string, each)
		for n := range list {
			id := 1 + i*each + n
			list[n] = fmt.Sprintf(`{"traceId":"%016x","id":"%016x","timestamp":%d,"duration":1000,"localEndpoint":{"serviceName":"web"},"tags":{"noise":"%x%x%x%x"}}`,
				id, id, time.Now().UnixMicro(), random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	post := func(url, body string) (status int, retry, text string) {
		res, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		all, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Retry-After"), string(all)
	}
	zipkin, otlp := "http://"+r.Zipkin+"/api/v2/spans", "http://"+r.OTLPHTTP+"/v1/traces"
	taken := 0
	status, retry, refused := post(zipkin, body(taken))
	for status == http.StatusAccepted && taken < 1000 {
		taken++
		status, retry, refused = post(zipkin, body(taken))
	}
	if status != http.StatusServiceUnavailable || retry == "" {
		t.Fatalf("after %d requests: %d, Retry-After %q: %s", taken, status, retry, refused)
	}
	for _, part := range []string{"the volume of " + filepath.Join(data, "queue", "log"), "free space on the volume"} {
		if !strings.Contains(refused, part) {
			t.Errorf("after %d requests the refusal says nothing of %q: %s", taken, part, refused)
		}
	}
	span := fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"x","startTimeUnixNano":"%d","endTimeUnixNano":"%[3]d"}]}]}]}`, 1<<40, 1, time.Now().UnixNano())
	if status, retry, text := post(otlp, span); status != http.StatusServiceUnavailable || retry == "" || !strings.Contains(text, "free space on the volume") {
		t.Errorf("OTLP: %d, Retry-After %q: %s", status, retry, text)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	wait.For(t, time.Minute, "spans to be taken again", func() bool {
		status, _, _ := post(zipkin, body(taken))
		return status == http.StatusAccepted
	})
	taken++
	if _, text := r.do("GET", "http://"+r.Admin+"/metrics", ""); !strings.Contains(text, fmt.Sprintf("\nspanloom_queue_spans %d\n", taken*each)) {
		t.Errorf("%d spans were taken; the queue has others: %s", taken*each, text[strings.Index(text, "spanloom_queue_spans"):][:200])
	}
	for _, id := range []int{1, taken * each} {
		if status, text := r.do("GET", fmt.Sprintf("http://%s/api/traces/%016x", r.HTTP, id), ""); status != http.StatusOK {
			t.Errorf("span %d of %d: %d %s", id, taken*each, status, text)
		}
	}
}
