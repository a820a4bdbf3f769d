package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/store/local"
)

// The shape of a life. The clock runs so that a segment is closed every few seconds and an hour passes in half a minute.
const (
	speed       = 120
	retention   = time.Hour
	segmentRows = 5000
	blockRows   = 512
	engineShare = 2 // of the process's memory, as serve has it
	mostKept    = 300
	senders     = 3
	checkers    = 2
	pause       = 12 * time.Millisecond // between two batches of a sender
)

// life is one process's: it accepts, keeps, asks and checks until its input ends or it is killed. What the parent must know it writes
// to its output, a line each, before (t) and after (a) it is true.
type life struct {
	clock  clock
	seed   uint64
	ledger *ledger
	engine *local.Engine
	out    sync.Mutex
	counts [kinds]atomic.Int64
}

// kinds of checks that are counted.
const (
	accepted = iota
	resent
	byID
	gone
	searched
	scanned
	listed
	rolled
	keptFound
	kinds
)

var kindNames = [kinds]string{"batches accepted", "batches sent again", "batches looked up", "batches gone by age", "searches", "scans", "lists", "rollups", "kept looked up"}

func (l *life) say(format string, args ...any) {
	l.out.Lock()
	defer l.out.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", args...) // one write(2): the kernel has it before this process can die
}

func (l *life) fail(format string, args ...any) { l.say("f "+format, args...) }

// live is the child.
func live(dir string, memory int64, seed, number uint64, origin time.Time) error {
	debug.SetMemoryLimit(memory)
	debug.SetGCPercent(40)
	known, err := readLedger(os.Stdin)
	if err != nil {
		return err
	}
	l := &life{clock: clock{origin, speed}, seed: seed, ledger: known}
	began := time.Now()
	l.engine, err = local.Open(context.Background(), local.Options{Dir: dir, MaxMemory: memory / engineShare, Retention: retention, Sync: time.Second,
		Now: l.clock.now, SegmentRows: segmentRows, BlockRows: blockRows})
	if err != nil {
		return err
	}
	l.say("o %d", time.Since(began).Milliseconds())
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() { l.send(ctx, rand.New(rand.NewPCG(seed, number<<8+uint64(i)))) })
	}
	for i := range checkers {
		all.Go(func() { l.check(ctx, rand.New(rand.NewPCG(seed, number<<8+128+uint64(i)))) })
	}
	all.Go(func() { l.report(ctx) })
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent lets go
	stop()
	all.Wait()
	l.figures()
	return l.engine.Close()
}

// send accepts batches, some of them twice, and keeps a trace now and then.
func (l *life) send(ctx context.Context, r *rand.Rand) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := l.clock.now().UnixNano()
		n, first := -1, now
		if r.IntN(20) == 0 {
			var e entry
			if n, e = l.ledger.pick(r, func(e entry) bool { return e.first > now-int64(5*time.Minute) }); n >= 0 {
				first = e.first
				l.counts[resent].Add(1)
			}
		}
		if n < 0 {
			n = l.ledger.take()
		}
		l.ledger.try(n, first, now)
		l.say("t %d %d %d", n, first, now)
		if err := l.engine.Accept(ctx, batchOf(l.seed, n, first, now)); err != nil {
			if !errors.Is(err, context.Canceled) {
				l.fail("batch %d was refused: %v", n, err)
			}
			continue
		}
		l.ledger.ack(n)
		l.say("a %d", n)
		l.counts[accepted].Add(1)
		if r.IntN(100) == 0 {
			l.keep(ctx, r, n, now)
		}
	}
}

func (l *life) keep(ctx context.Context, r *rand.Rand, n int, now int64) {
	l.ledger.mu.Lock()
	full := len(l.ledger.kept) >= mostKept
	l.ledger.mu.Unlock()
	if full || n%10 < 2 { // of a trace in two batches the second may come after it was kept
		return
	}
	until := int64(0)
	if r.IntN(2) == 0 {
		until = now + int64(3*time.Hour)
	}
	if err := l.engine.Keep(ctx, scope, traceOf(n), until); err != nil {
		if ctx.Err() == nil {
			l.fail("batch %d could not be kept: %v", n, err)
		}
		return
	}
	l.ledger.keep(n, until)
	l.say("k %d %d", n, until)
}

// report tells what only this process knows.
func (l *life) report(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.figures()
		}
	}
}

func (l *life) figures() {
	s := l.engine.Stats()
	for _, d := range s.Damaged {
		l.fail("damaged: %s", d)
	}
	text := fmt.Sprintf("s %d %d %d %d %d %d", runtime.NumGoroutine(), s.Segments.Files, s.Segments.Joined, s.DiskBytes, s.EvictedSpans, s.Bytes)
	for i := range l.counts {
		text += fmt.Sprint(" ", l.counts[i].Load())
	}
	l.say("%s", text)
}
