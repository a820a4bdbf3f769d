package engines_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/searchserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/test/engines"
)

// TestOutage stops the server under load for most of a run and starts it again: spans sent = spans found, by `spanloom load verify`. It prints
// memory and disk of Spanloom over time. SPANLOOM_OUTAGE sets how long the load lasts (20s), SPANLOOM_OUTAGE_RATE its spans a second (1000). Up to
// 200,000 spans every trace is compared, else totals and a sample.
func TestOutage(t *testing.T) {
	length, err := time.ParseDuration(get("SPANLOOM_OUTAGE", "20s"))
	if err != nil {
		t.Fatal(err)
	}
	rate, err := strconv.Atoi(get("SPANLOOM_OUTAGE_RATE", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	realparts.Lane(t, "real servers")
	program := build(t)
	t.Run("clickhouse", func(t *testing.T) {
		server := clickhouseserver.Start(t, "")
		outage(t, program, server, length, rate, "--store", "clickhouse", "--clickhouse-dsn", "clickhouse://"+server.Addr+"/outage")
	})
	t.Run("opensearch", func(t *testing.T) {
		server := searchserver.Start(t, searchserver.OpenSearch, "")
		outage(t, program, server, length, rate, "--store", "opensearch", "--opensearch-url", server.URL())
	})
}

func get(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "spanloom")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/spanloom").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// serving is a spanloom process.
type serving struct {
	cmd                 *exec.Cmd
	dir                 string
	admin, http, zipkin string
}

// serve starts a process on a folder, until the test ends.
func serve(t *testing.T, program, dir string, args []string) *serving {
	t.Helper()
	s := &serving{dir: dir}
	endpoints := filepath.Join(s.dir, "endpoints.json")
	_ = os.Remove(endpoints) // of one that was killed
	args = append([]string{"serve", "--data-dir", s.dir, "--max-memory", "512MiB", "--kubeconfig", "off", "--log-level", "warn"}, args...)
	for _, name := range []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"} {
		args = append(args, "--"+name+"-addr", "127.0.0.1:0")
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Stderr = t.Output()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd == nil {
			return
		}
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	wait.For(t, time.Minute, "serve", func() bool {
		var e struct{ Admin, HTTP, Zipkin string }
		text, err := os.ReadFile(endpoints)
		if err != nil || json.Unmarshal(text, &e) != nil || e.Admin == "" {
			return false
		}
		s.admin, s.http, s.zipkin = e.Admin, e.HTTP, e.Zipkin
		return true
	})
	return s
}

// kill ends the process as kill -9 does.
func (s *serving) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// metrics are those without labels.
func (s *serving) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	list := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			list[name] = v
		}
	}
	return list
}

// memory is what the process holds, in MiB.
func (s *serving) memory(t *testing.T) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Skip("needs Linux: ", err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kib, _ := strconv.Atoi(string(bytes.Fields(rest)[0]))
			return kib >> 10
		}
	}
	return 0
}

func outage(t *testing.T, program string, server engines.Server, length time.Duration, rate int, args ...string) {
	s := serve(t, program, filepath.Join(t.TempDir(), "data"), args)
	manifest := filepath.Join(t.TempDir(), "sent.json")
	load := exec.Command(program, "load", "send", "--endpoints", s.dir, "--duration", length.String(), "--rate", strconv.Itoa(rate), "--manifest", manifest)
	var said bytes.Buffer
	load.Stdout, load.Stderr = &said, &said
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()

	began := time.Now()
	step := min(max(length/6, time.Second), 10*time.Second)
	next, most := time.Duration(0), 0
	var disk float64
	t.Logf("| at | server | memory MiB | spans wait | of these on disk only | queue MiB | oldest s | sent |")
	look := func(state string) map[string]float64 {
		m := s.metrics(t)
		memory := s.memory(t)
		most, disk = max(most, memory), max(disk, m["spanloom_queue_bytes"])
		if at := time.Since(began); at >= next {
			next += step
			t.Logf("| %3.0f s | %s | %d | %.0f | %.0f | %.1f | %.0f | %.0f |", at.Seconds(), state, memory, m["spanloom_queue_spans"], m["spanloom_queue_hidden_spans"],
				m["spanloom_queue_bytes"]/(1<<20), m["spanloom_queue_oldest_age_seconds"], m["spanloom_queue_sent_spans_total"])
		}
		return m
	}
	tick := time.NewTicker(2 * time.Second) // a scrape counts spans: it is no more often than people's
	defer tick.Stop()
	over := time.After(wait.Scale(2*length + 2*time.Minute))
	killed := false
	for sending := true; sending; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("load send: %v: %s", err, &said)
			}
			sending = false
		case <-over:
			_ = load.Process.Kill()
			t.Fatalf("load send does not end: %s", &said)
		case <-tick.C:
			if !killed && time.Since(began) >= length/10 {
				server.Kill()
				killed = true
			}
			look(map[bool]string{false: "there", true: "away"}[killed])
		}
	}
	m := s.metrics(t)
	if m["spanloom_queue_spans"] == 0 {
		t.Error("nothing waited: the server was not away")
	}
	perSpan := m["spanloom_queue_bytes"] / max(m["spanloom_queue_spans"], 1)
	server.Restart(t)
	back := time.Now()
	wait.For(t, 2*length+5*time.Minute, "the queue to be empty", func() bool {
		<-tick.C
		return look("back")["spanloom_queue_spans"] == 0
	})
	next = 0
	m = look("caught up")
	t.Logf("%.0f spans were sent, %.1f bytes a span in the queue, at most %.1f MiB of it and %d MiB of memory; caught up %s after the server was back", m["spanloom_queue_sent_spans_total"],
		perSpan, disk/(1<<20), most, time.Since(back).Round(100*time.Millisecond))
	t.Logf("an hour at %d spans/s is %.2f GB of queue", rate, perSpan*float64(rate)*3600/1e9)
	verify := []string{"load", "verify", "--endpoints", s.dir, "--manifest", manifest, "--exact", "--wait", "2m"}
	if m["spanloom_queue_sent_spans_total"] <= 200_000 { // more are too many questions: totals and a sample tell
		verify = append(verify, "--all")
	}
	out, err := exec.Command(program, verify...).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("load verify: %v", err)
	}
}
