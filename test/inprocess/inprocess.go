// Package inprocess runs Spanloom inside of a test, for tests that hold it against other programs.
package inprocess

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/config"
)

// Setup is what a test wants otherwise than usual.
type Setup struct {
	Flags map[string]string // settings by the name of their flag
	Now   func() time.Time  // the clock of every room; nil: the real one
}

// Serve runs Spanloom on free ports and an empty data folder until the test ends.
func Serve(t *testing.T) app.Endpoints {
	t.Helper()
	return Start(t, Setup{})
}

// Start is Serve with a set-up.
func Start(t *testing.T, s Setup) app.Endpoints {
	t.Helper()
	flags := map[string][]string{"data-dir": {t.TempDir()}, "max-memory": {"512MiB"}, "debug-addr": {"off"}, "tempo-addr": {"off"}, "tempo-grpc-addr": {"off"}}
	for _, name := range []string{"http-addr", "zipkin-addr", "otlp-grpc-addr", "otlp-http-addr", "admin-addr", "jaeger-grpc-addr"} {
		flags[name] = []string{":0"}
	}
	for name, value := range s.Flags {
		flags[name] = []string{value}
	}
	c, err := config.Load(config.Source{Flags: flags, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan app.Endpoints, 1), make(chan error, 1)
	go func() {
		ended <- app.Serve(ctx, c, app.Options{Now: s.Now, Log: slog.New(slog.DiscardHandler), Ready: func(e app.Endpoints) { ready <- e }})
	}()
	select {
	case e := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		return e
	case err := <-ended:
		cancel()
		t.Fatalf("serve did not start: %v", err)
		return app.Endpoints{}
	}
}
