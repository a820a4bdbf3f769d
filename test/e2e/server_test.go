//go:build e2e

// Package e2e tests the real binary from outside: as a child process, on ports it picks itself, with a real Envoy and a real
// browser. `make test-e2e` builds what it needs.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
)

// server is a running `spanloom serve`.
type server struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	log *syncBuffer

	HTTP     string `json:"http"`
	Zipkin   string `json:"zipkin"`
	OTLPGRPC string `json:"otlpGrpc"`
	OTLPHTTP string `json:"otlpHttp"`
	Admin    string `json:"admin"`
	PID      int    `json:"pid"`
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/spanloom")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

// start runs serve on a data folder and waits until it is ready.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, log: &syncBuffer{}}
	args = append([]string{"serve", "--data-dir", dir, "--http-addr", ":0", "--jaeger-grpc-addr", ":0", "--tempo-addr", ":0", "--tempo-grpc-addr", ":0",
		"--zipkin-addr", ":0", "--otlp-grpc-addr", ":0", "--otlp-http-addr", ":0", "--admin-addr", ":0", "--max-memory", "1GiB"}, args...)
	s.cmd = exec.Command(binary(t), args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // how it ended is the test's matter
		close(ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // a second time for those that ended
		<-ended
		if t.Failed() {
			t.Logf("log of the server:\n%s", s.log)
		}
	})
	wait.For(t, 30*time.Second, "endpoints.json of the new process", func() bool {
		select {
		case <-ended:
			t.Fatalf("the server ended: %v", s.cmd.ProcessState)
		default:
		}
		data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
		return err == nil && json.Unmarshal(data, s) == nil && s.PID == s.cmd.Process.Pid
	})
	wait.For(t, 30*time.Second, "/readyz", func() bool {
		code, _ := s.get("http://" + s.Admin + "/readyz")
		return code == http.StatusOK
	})
	return s
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	wait.For(s.t, 30*time.Second, "the process to end", func() bool { return syscall.Kill(s.PID, 0) != nil })
}

func (s *server) get(url string) (int, []byte) {
	res, err := http.Get(url)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return res.StatusCode, body
}

// api asks the own API and decodes its answer.
func (s *server) api(path string, into any) {
	s.t.Helper()
	code, body := s.get("http://" + s.HTTP + "/api/spanloom/v1/" + path)
	if code != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, code, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		s.t.Fatalf("GET %s: %v in %.300s", path, err, body)
	}
}

type status struct {
	Receivers []struct {
		Protocol string           `json:"protocol"`
		Spans    int64            `json:"spans"`
		Refused  map[string]int64 `json:"refused"`
		Misuses  map[string]int64 `json:"misuses"`
	} `json:"receivers"`
	Store struct {
		Spans         int64 `json:"spans"`
		EvictedTraces int64 `json:"evictedTraces"`
	} `json:"store"`
}

func (s *server) status() (st status) {
	s.t.Helper()
	s.api("status", &st)
	return st
}

func (s *server) spans() int64 { return s.status().Store.Spans }

// run runs another subcommand of the binary and answers its exit code and output.
func run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(binary(t), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out := run(t, args...)
	if code != 0 {
		t.Fatalf("spanloom %v: exit code %d\n%s", args, code, out)
	}
	return out
}

func post(t *testing.T, url, contentType string, body []byte) (int, string) {
	t.Helper()
	res, err := http.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, fmt.Sprintf("%s", text)
}
