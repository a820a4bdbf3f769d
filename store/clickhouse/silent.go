package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A server that hangs takes connections and says nothing. A busy one may say nothing for long too, so silence is no proof; but it greets who connects.
const (
	lookTime   = 5 * time.Second  // that a question hears nothing, not even progress, until its server is looked at
	insertTime = time.Minute      // the same of an insert
	greetTime  = 3 * time.Second  // in which a server greets, or it is taken for hanging
	hangTime   = 10 * time.Second // in which it is not asked again, if there are others
)

// errSilent ends what is asked of a server that hangs.
var errSilent = fmt.Errorf("it does not answer: %w", os.ErrDeadlineExceeded)

// silentHosts are the hosts that hung when they were last tried, with when that was; pools of the same servers share them.
type silentHosts struct {
	mu    sync.Mutex
	since map[string]time.Time
}

func newSilentHosts() *silentHosts { return &silentHosts{since: make(map[string]time.Time)} }

// of is zero for a host that answered.
func (s *silentHosts) of(host string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since[host]
}

// note takes what came of trying a host.
func (s *silentHosts) note(host string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		s.since[host] = time.Now()
	} else {
		delete(s.since, host)
	}
}

// watch gives a context that ends with errSilent when answers, asked every so often, says no.
func watch(ctx context.Context, every time.Duration, answers func(context.Context) bool) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		look := time.NewTicker(every)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			if !answers(ctx) {
				end(errSilent)
			}
		}
	}()
	return ctx, func() { end(nil) }
}
