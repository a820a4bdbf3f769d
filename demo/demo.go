package demo

import (
	"context"
	"fmt"
)

// Run keeps the mesh and its traffic going until ctx ends, which is no error, or a proxy dies, which is one. Where
// there is no Envoy the error is ErrNoEnvoy, before anything has started.
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
	log.Info("mesh runs: open "+m.options.UI, "gateway", "http://"+m.Gateway()+"/productpage?id=0", "rate", m.options.Rate, "logs", m.options.WorkDir)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, e := range m.Envoys() {
		go func() {
			select {
			case <-e.Done():
				cancel(&proxyDied{e.Pod(), e.lastLogLine()})
			case <-ctx.Done():
			}
		}()
	}
	if err := m.Drive(ctx); err != nil {
		return err
	}
	if died, ok := context.Cause(ctx).(*proxyDied); ok {
		return died
	}
	return nil
}

type proxyDied struct{ pod, log string }

func (e *proxyDied) Error() string { return fmt.Sprintf("envoy %s ended by itself: %s", e.pod, e.log) }
