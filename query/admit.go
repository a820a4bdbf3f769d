package query

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// placeWaiting is how many questions may wait for a place.
const placeWaiting = 64

// places lets few questions of a kind run at once. Who waits holds nothing and is served in the order of arrival.
type places struct {
	free    chan struct{}
	waiting atomic.Int32

	patience time.Duration // how long one waits
	message  string        // to those who got none
	hint     string
}

func newPlaces(atOnce int, patience time.Duration, message, hint string) *places {
	return &places{free: make(chan struct{}, atOnce), patience: patience, message: message, hint: hint}
}

// enter waits for a place. It is given back by leave or when ctx ends, whichever is first; leave may be called again.
func (p *places) enter(ctx context.Context) (leave func(), err error) {
	select {
	case p.free <- struct{}{}:
	default:
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
	}
	leave = sync.OnceFunc(func() { <-p.free })
	context.AfterFunc(ctx, leave)
	return leave, nil
}

func (p *places) wait(ctx context.Context) error {
	busy := &problem.Problem{Kind: problem.Overloaded, Message: p.message, Hint: p.hint, RetryAfter: 2 * time.Second}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > placeWaiting {
		return busy
	}
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	select {
	case p.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return busy
	}
}

// Effort is how much a question reads. The closed list decides whom it waits for.
type Effort uint8

// The efforts.
const (
	Page  Effort = iota // a page of traces or a list: mostly milliseconds
	Sweep               // everything of a window: rates, maps, metrics
)

// admission shares the processors. Look-ups of traces are not asked for: they never wait behind anything here. Sweeps take turns
// such that one place is always left for pages.
type admission struct{ all, sweeps *places }

func newAdmission(atOnce int) *admission {
	// A dashboard of slow panels is one reader: they come one after the other, and most clients wait for half a minute.
	const patience = 30 * time.Second
	const hint = "try again, or ask for a shorter window"
	return &admission{
		all:    newPlaces(max(atOnce, 2), patience, "too many searches at once", hint),
		sweeps: newPlaces(max(atOnce-1, 1), patience, "too many questions over whole windows at once", hint),
	}
}

// Admit waits for the right to read more than single traces; an Overloaded problem says that too many others wait. leave gives it
// back, as does the end of ctx. The methods of Query that need it ask themselves; who reads a store by other ways asks
// here once per request, and not again inside of it.
func (q *Query) Admit(ctx context.Context, e Effort) (leave func(), err error) {
	leaveSweeps := func() {}
	if e == Sweep {
		if leaveSweeps, err = q.admission.sweeps.enter(ctx); err != nil {
			return nil, err
		}
	}
	leaveAll, err := q.admission.all.enter(ctx)
	if err != nil {
		leaveSweeps()
		return nil, err
	}
	return func() {
		leaveAll()
		leaveSweeps()
	}, nil
}
