package otlp

import (
	"cmp"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
)

const (
	watchEvery    = 20 * time.Millisecond
	longCall      = 20 * time.Millisecond // on its way for longer: its message is large, or its sender slow
	longestWay    = time.Minute           // a message has this long to arrive, as a body over HTTP has
	idleReceivers = 16                    // that wait for the next message
	spared        = 2                     // oldest long calls that memory never ends, so that something always gets through
)

// arrivals are the calls whose messages are on their way. grpc-go gathers a message before anybody sees its size, so a few
// dozen large ones at once are more than the process has memory for, whatever the budget says. While calls are on their way
// their watch looks at the heap: where the last collection found more alive than limit, the newest of the long calls are
// refused and what came of them is let go. It also ends calls whose message does not arrive.
type arrivals struct {
	limit uint64                            // bytes alive; 0 for none
	heap  func() (alive, collection uint64) // as of the last collection, and its number
	now   func() time.Time

	mu       sync.Mutex
	calls    []*arrival // in no order
	watched  bool
	answered uint64        // the last collection that ended calls: its successor shows what that brought
	quiet    chan struct{} // closed when the watch ends

	jobs chan job // to receivers without one
	idle atomic.Int32
	pool sync.Pool
}

type arrival struct {
	began time.Time
	at    int          // in calls; -1 once it is off the list
	ended chan outcome // of the message, and of the watch if that ends the call
}

// job is a message to be received.
type job struct {
	call       *arrival
	receiveMsg func(any) error
	m          *message
}

// outcome is how a call ended: cut is not nil where the watch ended it.
type outcome struct {
	err error
	cut *refusal
}

// refusal is why a call was ended.
type refusal struct {
	reason  receive.Reason
	problem *problem.Problem
}

func newArrivals(memory int64, now func() time.Time) *arrivals {
	return &arrivals{limit: uint64(max(memory, 0)) / 10 * 7, heap: heapAlive, now: now, jobs: make(chan job)}
}

func heapAlive() (alive, collection uint64) {
	s := [2]metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// receive waits for a message, or for the call's end by the watch. In the latter case m is not to be used: it is freed as soon
// as grpc-go lets go of it, which the handler's return brings about.
func (a *arrivals) receive(receiveMsg func(any) error, m *message) (error, *refusal) {
	c, ok := a.pool.Get().(*arrival)
	if !ok {
		c = &arrival{ended: make(chan outcome, 2)}
	}
	c.began = a.now()
	a.mu.Lock()
	c.at = len(a.calls)
	a.calls = append(a.calls, c)
	if !a.watched {
		a.watched, a.quiet = true, make(chan struct{})
		go a.watch()
	}
	quiet := a.quiet
	a.mu.Unlock()
	j := job{c, receiveMsg, m}
	select {
	case a.jobs <- j:
	default:
		go a.receiver(j, quiet)
	}
	end := <-c.ended
	if end.cut != nil {
		go func() {
			<-c.ended
			m.free()
		}()
		return nil, end.cut
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.at >= 0 { // else the watch ended it at the same moment and says so in ended
		a.drop(c)
		a.pool.Put(c)
	}
	return end.err, nil
}

// receiver receives messages until the watch ends. A goroutine of its own for each message costs a fifth of a small request:
// its stack grows anew every time.
func (a *arrivals) receiver(j job, quiet chan struct{}) {
	for {
		j.call.ended <- outcome{err: j.receiveMsg(j.m)}
		if a.idle.Add(1) > idleReceivers {
			a.idle.Add(-1)
			return
		}
		select {
		case j = <-a.jobs:
			a.idle.Add(-1)
		case <-quiet:
			a.idle.Add(-1)
			return
		}
	}
}

// drop takes a call off the list.
func (a *arrivals) drop(c *arrival) {
	last := len(a.calls) - 1
	a.calls[c.at] = a.calls[last]
	a.calls[c.at].at = c.at
	a.calls[last] = nil
	a.calls = a.calls[:last]
	c.at = -1
}

// watch runs while calls are on their way.
func (a *arrivals) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for range tick.C {
		if !a.look() {
			return
		}
	}
}

// look ends what is to be ended. It reports whether there is anything left to watch.
func (a *arrivals) look() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	var long []*arrival
	for _, c := range a.calls {
		if now.Sub(c.began) >= longCall {
			long = append(long, c)
		}
	}
	slices.SortFunc(long, func(x, y *arrival) int { return cmp.Or(x.began.Compare(y.began), cmp.Compare(x.at, y.at)) })
	for len(long) > 0 && now.Sub(long[0].began) >= longestWay {
		a.end(long[0], receive.TimedOut, problem.New(problem.Invalid, "the message did not arrive in time", "send it faster or in smaller batches"))
		long = long[1:]
	}
	if len(long) > spared && a.limit > 0 {
		alive, collection := a.heap()
		if alive > a.limit && collection != a.answered {
			a.answered = collection
			for _, c := range long[spared+(len(long)-spared)/2:] {
				a.end(c, receive.TooBusy, receive.ErrBusy())
			}
		}
	}
	if a.watched && len(a.calls) == 0 {
		a.watched = false
		close(a.quiet)
	}
	return a.watched
}

func (a *arrivals) end(c *arrival, reason receive.Reason, pr *problem.Problem) {
	a.drop(c)
	c.ended <- outcome{cut: &refusal{reason, pr}}
}
