package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/load"
)

// slowLog delays every write of the log, as a disk does that others keep busy.
type slowLog struct {
	faultfs.FS
	delay time.Duration
}

type slowFile struct {
	faultfs.File
	delay time.Duration
}

func (s slowLog) Create(name string) (faultfs.File, error) {
	f, err := s.FS.Create(name)
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return slowFile{f, s.delay}, nil
}

func (f slowFile) Write(p []byte) (int, error) {
	time.Sleep(f.delay)
	return f.File.Write(p)
}

// serve is the child: the whole server on a folder with a slow log, until it is told to stop.
func serve(ctx context.Context, dir string, memory int64, delay time.Duration) error {
	flags := map[string][]string{"data-dir": {dir}, "max-memory": {fmt.Sprint(memory)}}
	for _, name := range []string{"http-addr", "zipkin-addr", "otlp-grpc-addr", "otlp-http-addr", "admin-addr", "jaeger-grpc-addr", "tempo-addr", "tempo-grpc-addr"} {
		flags[name] = []string{"127.0.0.1:0"}
	}
	c, err := config.Load(config.Source{Flags: flags, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	o := app.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Ready: func(app.Endpoints) { fmt.Println("ready") }}
	if delay > 0 {
		o.FS = slowLog{faultfs.OS{}, delay}
	}
	return app.Serve(ctx, c, o)
}

const (
	logDelay    = 4 * time.Second // of a write, which takes all that waits
	connections = 320
)

// server is a child that serves.
type server struct {
	cmd *exec.Cmd
	in  io.Closer
}

func startServer(dir string, memory int64, delay time.Duration) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, "-child", "serve", "-dir", dir, "-memory", fmt.Sprint(memory), "-life", fmt.Sprint(int64(delay)))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	var word string
	if _, err := fmt.Fscanln(out, &word); err != nil || word != "ready" {
		_ = c.Process.Kill()
		return nil, errors.Join(fmt.Errorf("the server did not get ready: %q, %w", word, err), c.Wait())
	}
	return &server{c, in}, nil
}

// overloaded sends as much as many connections can to a server whose log is slow, kills it, and verifies on a healthy one that
// whatever was acknowledged is there.
func overloaded(ctx context.Context, dir string, memory int64, length time.Duration) error {
	s, err := startServer(dir, memory, logDelay)
	if err != nil {
		return err
	}
	manifest := dir + "-manifest.json"
	defer os.Remove(manifest)
	began := time.Now()
	var heap curve
	var sent load.SendReport
	ended := make(chan error, 1)
	go func() {
		sent, err = load.Send(ctx, load.SendOptions{Protocol: load.OTLPHTTP, Endpoints: dir, Duration: length, Connections: connections, SpansPerRequest: 512,
			RetryFor: length + 10*time.Minute, Manifest: manifest}, os.Stdout)
		ended <- err
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for sending := true; sending; {
		select {
		case err = <-ended:
			sending = false
		case <-tick.C:
			if own, err := ownMemory(s.cmd.Process.Pid); err == nil {
				heap.add(time.Since(began), own)
			}
		}
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if err != nil && sent.Accepted == 0 {
		return err
	}
	tries := sent.Requests + sent.Retried
	fmt.Printf("overload  %d of %d requests refused at first, %.0f %% of the tries\n", sent.Retried, tries, 100*float64(sent.Retried)/float64(max(tries, 1)))
	heap.print(memory)
	if s, err = startServer(dir, memory, 0); err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	var said strings.Builder
	_, err = load.Verify(ctx, load.VerifyOptions{Endpoints: dir, Manifest: manifest, All: true, Sample: 50}, &said)
	_ = s.in.Close()
	fmt.Print(said.String())
	err = errors.Join(err, s.cmd.Wait())
	if heap.top() > memory {
		err = errors.Join(err, fmt.Errorf("the process took %d MiB of %d", heap.top()>>20, memory>>20))
	}
	return err
}
