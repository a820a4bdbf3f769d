package clickhouse

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/rollup"
)

// What a process stores is counted while it is in memory, a window at a time. When all inserts of a window have ended well it becomes a row of
// rollups, if the server has the rows that were counted, and no others. Otherwise nothing is written: those rows are read when somebody
// asks, and counted by whoever looks for such rows next (adopt.go).
const (
	windowAge  = time.Minute
	windowRows = 200_000 // some 30 MB until they are counted
	maxReady   = 4       // windows that wait to be written; later ones are not

	farewell = 10 * time.Second // to write what is open at Close
)

// window is inserts that follow each other, of spans received on one day.
type window struct {
	day      int64
	from, to uint64 // numbers
	began    time.Time
	pending  int  // inserts that have not ended
	rows     int  // that were counted
	sealed   bool // no insert begins in it any more
	broken   bool // what the server has of it is not known

	mu      sync.Mutex
	tenants map[string]*counted
}

// counted is the rows of one tenant in a window.
type counted struct {
	builder     *rollup.Builder
	inserts     map[uint64]uint64 // number -> rows
	first, last int64             // starts
}

// rolls makes rollups of what an engine stores.
type rolls struct {
	e *Engine

	mu    sync.Mutex
	there bool               // the table of rollups
	open  *window            // that inserts begin in
	of    map[uint64]*window // inserts that have not ended
	next  uint64             // where the next window begins; 0: at its first insert
	ready []*window
	off   bool // the server refuses rows for good

	looked map[proto.Date]time.Time // when days were tidied

	wake   chan struct{}
	ctx    context.Context
	stop   context.CancelFunc
	ended  sync.WaitGroup
	tables keptTables
}

func newRolls(e *Engine) *rolls {
	r := &rolls{e: e, of: make(map[uint64]*window), looked: make(map[proto.Date]time.Time), wake: make(chan struct{}, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// begun starts to make rollups in the background: there is a table for them.
func (r *rolls) begun() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.there && r.ctx.Err() == nil {
		r.there = true
		r.ended.Go(r.run)
		r.ended.Go(r.tidy)
	}
}

// kept reports whether there are rollups.
func (r *rolls) kept() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.there
}

// begin puts an insert into the open window.
func (r *rolls) begin(seq uint64, batches []*span.Batch) {
	if len(batches) == 0 {
		return
	}
	day := dayOf(batches[0])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off || !r.there {
		return
	}
	if w := r.open; w != nil && w.day != day {
		r.seal()
	}
	if r.open == nil {
		r.open = &window{day: day, from: seq, began: time.Now(), tenants: make(map[string]*counted)}
		if r.next != 0 {
			r.open.from = r.next // so that windows leave no number between them
		}
	}
	r.open.to = seq
	r.open.pending++
	r.of[seq] = r.open
}

func dayOf(b *span.Batch) int64 { return b.Received / int64(24*time.Hour) }

// end counts the batches of an insert that went well; after an error their window is left to be read.
func (r *rolls) end(seq uint64, batches []*span.Batch, err error) {
	r.mu.Lock()
	w := r.of[seq]
	delete(r.of, seq)
	r.mu.Unlock()
	if w == nil {
		return // it ended before
	}
	if err == nil {
		for _, b := range batches {
			w.add(seq, b)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range batches {
		w.rows += b.Len()
	}
	r.done(w, err != nil)
	if w == r.open && w.rows >= windowRows {
		r.seal()
	}
}

// forget ends an insert that will never go well. mu of the engine is held.
func (r *rolls) forget(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.of[seq]; w != nil {
		delete(r.of, seq)
		r.done(w, true)
	}
}

// add counts the rows of a batch.
func (w *window) add(seq uint64, b *span.Batch) {
	if b.Len() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	tenant := answer.Tenant(b.Tenant)
	c := w.tenants[tenant]
	if c == nil {
		c = &counted{builder: rollup.NewBuilder(), inserts: make(map[uint64]uint64), first: b.Time[0], last: b.Time[0]}
		w.tenants[tenant] = c
	}
	c.first, c.last = min(c.first, slices.Min(b.Time)), max(c.last, slices.Max(b.Time))
	c.builder.Collect(store.Whole(b))
	c.inserts[seq] += uint64(b.Len())
}

// done takes an insert off a window; a broken one takes no more. mu is held.
func (r *rolls) done(w *window, broken bool) {
	w.pending--
	w.broken = w.broken || broken
	if w.broken && w == r.open {
		r.seal()
		return
	}
	r.offer(w)
}

// seal ends the open window. mu is held.
func (r *rolls) seal() {
	w := r.open
	w.sealed = true
	r.open, r.next = nil, w.to+1
	r.offer(w)
}

// offer gives a window to be written when nothing comes into it any more. mu is held.
func (r *rolls) offer(w *window) {
	if !w.sealed || w.pending > 0 || w.broken || len(r.ready) >= maxReady {
		return
	}
	r.ready = append(r.ready, w)
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// sealOld ends the open window if it has been open for so long.
func (r *rolls) sealOld(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open != nil && time.Since(r.open.began) >= age {
		r.seal()
	}
}

// take gives the oldest window that is ready; nil if none is.
func (r *rolls) take() *window {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 {
		return nil
	}
	w := r.ready[0]
	r.ready = r.ready[1:]
	return w
}

// run writes windows until the engine is closed.
func (r *rolls) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
			r.sealOld(windowAge)
		}
		r.writeReady(r.ctx)
	}
}

// writeReady writes the windows that wait. One that may be written later waits again.
func (r *rolls) writeReady(ctx context.Context) {
	for w := r.take(); w != nil; w = r.take() {
		err := r.write(ctx, w)
		if err == nil {
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch ClassOf(err) {
		case remote.Retry:
			r.ready = slices.Insert(r.ready, 0, w)
		case remote.Fatal:
			r.off, r.ready = true, nil
		}
		return
	}
}

// close writes what is open; the engine takes nothing any more.
func (r *rolls) close() {
	r.stop()
	r.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	r.sealOld(0)
	r.writeReady(ctx)
}
