package query

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

const (
	smallTrace   = 4 << 20          // bytes of a batch up to which a trace is read at once, whoever else reads
	largeWait    = 10 * time.Second // for a place among the large traces
	largeWaiting = 32               // questions that may wait for one
)

// largeTraces lets few large traces be in memory at once: eight readers of a trace of 200,000 spans took twice the memory that
// the process planned with. Who waits holds nothing.
type largeTraces struct {
	places  chan struct{}
	waiting atomic.Int32
}

func newLargeTraces(atOnce int) *largeTraces {
	return &largeTraces{places: make(chan struct{}, atOnce)}
}

// enter waits for a place. It is given back by leave or when ctx ends, whichever is first; leave may be called again.
func (l *largeTraces) enter(ctx context.Context) (leave func(), err error) {
	select {
	case l.places <- struct{}{}:
	default:
		if err := l.wait(ctx); err != nil {
			return nil, err
		}
	}
	leave = sync.OnceFunc(func() { <-l.places })
	context.AfterFunc(ctx, leave)
	return leave, nil
}

func (l *largeTraces) wait(ctx context.Context) error {
	busy := &problem.Problem{Kind: problem.Overloaded, Message: "others are reading large traces", Hint: "try again; if it stays, raise --max-memory",
		RetryAfter: 2 * time.Second}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > largeWaiting {
		return busy
	}
	patience := time.NewTimer(largeWait)
	defer patience.Stop()
	select {
	case l.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return busy
	}
}
