package demo

import (
	"context"
	"errors"
	"fmt"
)

// ErrProxyDied comes when an Envoy ended without being told to.
var ErrProxyDied = errors.New("envoy ended by itself")

// Run keeps the mesh and its traffic going until ctx ends, which is no error, or a proxy dies (ErrProxyDied). Where there
// is no Envoy the error is ErrNoEnvoy, before anything has started.
func Run(ctx context.Context, o Options) error {
	m, err := StartMesh(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer m.Stop()
	log := m.options.Log
	for _, e := range m.Envoys() {
		log.Info("envoy runs", "pod", e.Pod(), "pid", e.PID(), "admin", "http://"+e.AdminAddr())
	}
	log.Info("mesh runs, traces at "+m.options.UI, "gateway", "http://"+m.Gateway()+"/productpage?id=0",
		"requests a second", m.options.Rate, "logs", m.options.WorkDir)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, e := range m.Envoys() {
		go func() {
			select {
			case <-e.Done():
				cancel(fmt.Errorf("%s: %w: %s", e.Pod(), ErrProxyDied, e.lastLogLine()))
			case <-ctx.Done():
			}
		}()
	}
	if err := m.Drive(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); errors.Is(err, ErrProxyDied) {
		m.tempDir = "" // the error names a log in it
		return err
	}
	return nil
}
