package otlp

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/receive"
)

// onTheWay is a set of calls whose messages are held back.
type onTheWay struct {
	*arrivals
	mu      sync.Mutex
	at      time.Time
	alive   uint64
	cycle   uint64
	letGo   []chan error
	refused []receive.Reason // by call; empty while it waits or when it was received
	ended   int
}

func newOnTheWay() *onTheWay {
	w := &onTheWay{at: time.Unix(1_800_000_000, 0)}
	w.arrivals = newArrivals(1000, func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.at })
	w.arrivals.heap = func() (uint64, uint64) { w.mu.Lock(); defer w.mu.Unlock(); return w.alive, w.cycle }
	w.arrivals.watched, w.arrivals.quiet = true, make(chan struct{}) // the test looks itself
	return w
}

// begin starts a call a millisecond after the last one.
func (w *onTheWay) begin(t *testing.T) {
	w.mu.Lock()
	w.at = w.at.Add(time.Millisecond)
	n, hold := len(w.letGo), make(chan error)
	w.letGo, w.refused = append(w.letGo, hold), append(w.refused, "")
	w.mu.Unlock()
	go func() {
		_, cut := w.receive(func(any) error { return <-hold }, new(message))
		w.mu.Lock()
		defer w.mu.Unlock()
		if cut != nil {
			w.refused[n] = cut.reason
		}
		w.ended++
	}()
	wait.For(t, 5*time.Second, "the calls", func() bool {
		w.arrivals.mu.Lock()
		defer w.arrivals.mu.Unlock()
		return len(w.calls) == n+1
	})
}

// look passes time, looks, and answers the calls' reasons once n of them ended.
func (w *onTheWay) look(t *testing.T, after time.Duration, alive, cycle uint64, n int) []receive.Reason {
	t.Helper()
	w.mu.Lock()
	w.at, w.alive, w.cycle = w.at.Add(after), alive, cycle
	w.mu.Unlock()
	w.arrivals.look()
	wait.For(t, 5*time.Second, "the calls", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ended >= n })
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != n {
		t.Errorf("%d calls ended, want %d", w.ended, n)
	}
	return append([]receive.Reason(nil), w.refused...)
}

func TestArrivalsAreEndedNewestFirst(t *testing.T) {
	w := newOnTheWay()
	for range 6 {
		w.begin(t)
	}
	w.look(t, 0, 900, 1, 0)        // all of them just came
	w.look(t, longCall, 700, 2, 0) // long, but there is room
	got := w.look(t, 0, 701, 3, 2) // too much is alive
	if got[5] != receive.TooBusy || got[4] != receive.TooBusy {
		t.Errorf("refused %q, want the two newest", got)
	}
	w.look(t, 0, 701, 3, 2) // the same collection says nothing new
	w.look(t, 0, 701, 4, 3)
	w.look(t, 0, 701, 5, 4)
	if got = w.look(t, 0, 2000, 6, 4); got[0] != "" || got[1] != "" {
		t.Errorf("refused %q, the two oldest are to be spared", got)
	}
	close(w.letGo[0]) // it arrives
	wait.For(t, 5*time.Second, "the calls", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.ended == 5 })
	if got = w.look(t, longestWay, 0, 7, 6); got[0] != "" || got[1] != receive.TimedOut {
		t.Errorf("refused %q, want the last one as slow", got)
	}
	if w.arrivals.look() {
		t.Error("nothing is on its way, and it is watched")
	}
	for _, hold := range w.letGo[1:] {
		hold <- errors.New("stream is gone") // somebody still waits for it
	}
}
