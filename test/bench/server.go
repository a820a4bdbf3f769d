package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spanloom/spanloom/load"
)

// server is one spanloom process on ports of its own choosing.
type server struct {
	*load.Endpoints
	dir   string
	ready time.Duration // from start to the answer of /readyz

	cmd *exec.Cmd
	log *tail
	end chan struct{} // closed when the process is gone
}

// startDeadline is how long a server may take to be ready, replay included.
const startDeadline = 2 * time.Minute

// start runs the binary on a data folder and waits until it is ready. The caller stops it.
func (e *bench) start(ctx context.Context, dir string, flags ...string) (*server, error) {
	if _, err := os.Stat(e.binary); err != nil {
		return nil, fmt.Errorf("no server to measure (`make build` makes it): %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "endpoints.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	args := []string{"serve", "--data-dir", dir}
	for _, listener := range []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"} {
		args = append(args, "--"+listener+"-addr", "127.0.0.1:0")
	}
	s := &server{dir: dir, cmd: exec.Command(e.binary, append(args, flags...)...), log: &tail{}, end: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		s.cmd.Wait()
		close(s.end)
	}()
	if err := s.waitReady(ctx, began.Add(startDeadline)); err != nil {
		s.kill()
		return nil, fmt.Errorf("%w: %s", err, s.log)
	}
	s.ready = time.Since(began)
	return s, nil
}

func (s *server) waitReady(ctx context.Context, deadline time.Time) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.Endpoints == nil {
			if e, err := load.ReadEndpoints(s.dir); err == nil {
				s.Endpoints = e
			}
		}
		if s.Endpoints != nil && isReady(ctx, s.Admin) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.end:
			return errors.New("the server ended instead of getting ready")
		case <-tick.C:
			if time.Now().After(deadline) {
				return fmt.Errorf("the server is not ready after %s", startDeadline)
			}
		}
	}
}

func isReady(ctx context.Context, admin string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// stop ends the server as an operator would; after 30 s it is killed.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.end:
	case <-time.After(30 * time.Second):
		s.kill()
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.end
}

func (s *server) usage() (load.Usage, error) { return load.ProcessUsage(s.cmd.Process.Pid) }

// fresh runs f with a server on an empty folder, which is removed again.
func (e *bench) fresh(ctx context.Context, flags []string, f func(s *server) (float64, error)) (float64, error) {
	dir, err := os.MkdirTemp(e.temp, "data-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	s, err := e.start(ctx, dir, flags...)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return f(s)
}

// send sends to a server without writing a manifest; refused spans are an error.
func (s *server) send(ctx context.Context, o load.SendOptions) (load.SendReport, error) {
	o.Endpoints = s.dir
	if o.Manifest == "" {
		o.Manifest = "-"
	}
	return load.Send(ctx, o, io.Discard)
}

// bytesOnDisk is the size of all files below a folder.
func bytesOnDisk(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // went while we walked
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// tail keeps the end of what a process writes, for the message when it fails.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > most {
		t.buf = bytes.Clone(t.buf[len(t.buf)-most:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
