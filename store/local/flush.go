package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
)

// retryFlush is how long the engine waits after a segment could not be written.
const retryFlush = time.Second

// makeRoom freezes a memtable that is full, and waits while another one is still being written.
func (e *Engine) makeRoom(ctx context.Context, b *span.Batch) error {
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return answer.Closed()
		}
		rows, used := e.cur.size()
		full := rows >= e.o.SegmentRows || used >= e.maxMem || rows > 0 && !e.cur.fits(b)
		frozen, failed := e.frozen, e.flushErr
		again, tried := e.now().Sub(e.flushed) >= retryFlush, e.tried
		e.mu.Unlock()
		switch {
		case !full:
			return nil
		case frozen == nil:
			e.freeze(func() bool { return e.full(b) })
		case failed != nil && again:
			_ = e.flush(ctx) // its error is what the next round answers
		case failed != nil:
			return &problem.Problem{Kind: problem.Unavailable, Message: "memory is full and the last segment could not be written", Err: failed,
				RetryAfter: 5 * time.Second, Hint: "look at the disk under --data-dir (space, permissions, kernel log)"}
		default:
			select {
			case <-frozen.done:
			case <-tried:
			case <-ctx.Done():
				return ctx.Err()
			case <-e.ctx.Done():
				return answer.Closed()
			}
		}
	}
}

// full reports whether the current memtable is to be frozen before a batch. mu is held.
func (e *Engine) full(b *span.Batch) bool {
	rows, used := e.cur.size()
	return rows >= e.o.SegmentRows || used >= e.maxMem || rows > 0 && b != nil && !e.cur.fits(b)
}

// freeze ends the current memtable at a border of the log, if is still says so and none is being written.
func (e *Engine) freeze(is func() bool) {
	e.accepting.Lock() // no batch is between log and memtable
	defer e.accepting.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.frozen != nil || e.closed || !is() {
		return
	}
	rows, _ := e.cur.size()
	if rows == 0 {
		return
	}
	e.frozen = &frozenTable{m: e.cur, through: e.wal.Roll(), done: make(chan struct{})}
	e.cur = newMemtable(min(rows*roomForRows/8, e.o.SegmentRows))
	select {
	case e.flushNow <- struct{}{}:
	default: // it is awake
	}
}

// flushes writes frozen memtables until the engine is closed.
func (e *Engine) flushes() {
	tick := time.NewTicker(retryFlush)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.flushNow:
		case <-tick.C:
			e.freeze(func() bool {
				age := e.now().Sub(e.began)
				return age >= segmentAge || age <= -segmentAge // a clock that was set back must not keep rows in memory for hours
			})
		}
		last = e.logNew("a segment could not be written", e.flush(e.ctx), last)
	}
}

// flush writes the frozen memtable, if there is one, as a segment. On an error it stays frozen and readable, and its log stays.
func (e *Engine) flush(ctx context.Context) error {
	e.flushing.Lock()
	defer e.flushing.Unlock()
	e.mu.Lock()
	f := e.frozen
	e.mu.Unlock()
	if f == nil {
		return nil
	}
	err := e.write(ctx, f)
	e.mu.Lock()
	e.flushErr, e.flushed = err, e.now()
	close(e.tried)
	e.tried = make(chan struct{})
	e.mu.Unlock()
	if err != nil {
		return err
	}
	close(f.done)
	if e.wal == nil { // at the start, while the log is replayed
		return nil
	}
	_, err = e.wal.DropBefore(f.through+1, 0)
	select {
	case e.wake <- struct{}{}:
	default: // it is awake
	}
	return err
}

// write makes a segment of a frozen memtable and puts it into its place.
func (e *Engine) write(ctx context.Context, f *frozenTable) error {
	if f.entry.Number == 0 {
		if f.made.Number == 0 {
			entry, err := e.create(ctx, f)
			if err != nil {
				return err
			}
			f.made = entry
		}
		// After an unknown end of Apply the file must stay: the next start tells whether it counts. The next try enters the same one.
		if err := e.man.Apply(manifest.Change{Add: []manifest.Entry{f.made}, Through: f.through}); err != nil {
			return fmt.Errorf("enter segment %d: %w", f.made.Number, err)
		}
		f.entry = f.made
	}
	file, err := openSegment(e.fs, e.segDir(), f.entry, e.sides, e.setAside)
	if err != nil {
		return fmt.Errorf("open segment %d that was just written: %w", f.entry.Number, err)
	}
	e.mu.Lock()
	e.insert(file)
	e.frozen = nil
	e.counts.duplicates += int64(f.m.t.Rows()) - f.entry.Rows
	e.mu.Unlock()
	e.pokeUploads()
	return nil
}

// create writes the file of a frozen memtable's segment.
func (e *Engine) create(ctx context.Context, f *frozenTable) (manifest.Entry, error) {
	if e.wal != nil { // at the start the log, which is of the same size, cannot grow
		if err := e.makeDiskRoom(ctx); err != nil {
			return manifest.Entry{}, err
		}
	}
	at := manifest.Entry{Number: e.man.Take(), Hour: hourOf(f.m.received.max)}
	rolled := compact.NewRolling()
	return compact.Create(e.fs, e.segDir(), at, func(w *segment.Writer) ([]byte, error) {
		w.Range(f.m.first, f.m.last)
		if err := segment.WriteTable(ctx, w, f.m.t, e.o.BlockRows, rolled.Add); err != nil {
			return nil, err
		}
		return rolled.Encoded(), nil
	})
}

// hourOf is the hour since the epoch of an instant in ns.
func hourOf(ns int64) int64 { return ns / int64(time.Hour) }

// Flush writes all that is in memory as segments now. Tests and tools that look at files call it.
func (e *Engine) Flush(ctx context.Context) error {
	err := e.flush(ctx) // of a memtable that was frozen before
	e.freeze(func() bool { return true })
	return errors.Join(ctx.Err(), err, e.flush(ctx))
}
