package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// server is what stands behind a port.
type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// port is one listener with its server.
type port struct {
	name   string // as in config.Listeners
	key    string // in endpoints.json
	speaks string // the log line people look for
	addr   string // as configured; host:0 until it listens
	tls    bool
	open   bool // no token is asked for
	server server

	listener net.Listener
}

// listen opens every port before any of them serves, so that a taken one fails the start as a whole.
func listen(ports []*port) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			closeAll(ports)
			return fmt.Errorf("listen on --%s-addr %s: %w (choose another address, 0 for a free port, or off)", p.name, p.addr, err)
		}
		p.listener = l
		p.addr = l.Addr().String()
	}
	return nil
}

func closeAll(ports []*port) {
	for _, p := range ports {
		if p.listener != nil {
			_ = p.listener.Close()
		}
	}
}

// serve runs every port until ctx ends or one fails, then stops them all: GOAWAY, and up to patience for requests in flight.
func serve(ctx context.Context, ports []*port, patience time.Duration, stopping func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, p := range ports {
		running.Go(func() {
			if err := p.server.Serve(p.listener); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("serve %s on %s: %w", p.name, p.addr, err))
			}
		})
	}
	<-ctx.Done()
	stopping()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer done()
	for _, p := range ports {
		running.Go(func() { _ = p.server.Shutdown(stop) }) // what is not finished by then is cut off
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// writeEndpoints tells scripts where everything listens.
func writeEndpoints(dir string, ports []*port) error {
	ends := map[string]any{"pid": os.Getpid()}
	for _, p := range ports {
		if p.key != "" {
			ends[p.key] = p.addr
		}
	}
	data, err := json.MarshalIndent(ends, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "endpoints.json")
	if err := os.WriteFile(name+".tmp", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write endpoints: %w", err)
	}
	return os.Rename(name+".tmp", name)
}
