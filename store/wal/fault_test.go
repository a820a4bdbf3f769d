package wal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
)

// script makes the log do every kind of call it knows; it reports which batches were acknowledged.
func script(l *Log, n int, acked map[int]bool) {
	for i := range n {
		if ticket, err := l.Append(batch(i, rows)); err == nil {
			acked[i] = true
			l.Done(ticket)
		}
		if i%3 == 2 {
			_ = l.Tick()
		}
	}
	_ = l.Tick()
	_ = l.Tick()
}

// TestFaultAtEveryCall fails the nth call of the write path for every n, alone and with all that follow, whole and short.
// Whatever fails: what was acknowledged is replayed, nothing comes in part, and the log works again afterwards.
func TestFaultAtEveryCall(t *testing.T) {
	const batches = 10
	persistent := func(n int, err error) faultfs.Rule {
		return func(c faultfs.Call) error {
			if c.N >= n && c.N < n+6 {
				return err
			}
			return nil
		}
	}
	for _, mode := range []Mode{Interval, Always} {
		for name, rule := range map[string]func(n int) faultfs.Rule{
			"once":      func(n int) faultfs.Rule { return faultfs.Nth(n, syscall.EIO) },
			"no space":  func(n int) faultfs.Rule { return faultfs.Nth(n, &faultfs.Short{Len: 50, Err: syscall.ENOSPC}) },
			"short":     func(n int) faultfs.Rule { return faultfs.Nth(n, &faultfs.Short{Len: 250, Err: syscall.EIO}) },
			"six times": func(n int) faultfs.Rule { return persistent(n, syscall.EIO) },
		} {
			for n := 1; ; n++ {
				mem := newFS(t, uint64(n))
				fsys := faultfs.Inject(mem, nil)
				o := options(fsys, mode)
				o.FileSize = 900
				l, _ := open(t, o)
				before := fsys.Calls()
				fsys.SetRule(rule(before + n))
				acked := map[int]bool{}
				script(l, batches, acked)
				hits, call := fsys.Hits()
				fsys.SetRule(nil)
				what := fmt.Sprintf("mode %d, %s, n %d, %s", mode, name, n, call)
				for range 2 {
					if err := l.Tick(); err != nil {
						t.Fatalf("%s: after the fault: %v", what, err)
					}
				}
				l.o.Now = func() time.Time { return time.Unix(1790000060, 0) }
				if _, err := l.Append(batch(batches, rows)); err != nil {
					t.Fatalf("%s: after the fault: %v", what, err)
				}
				acked[batches] = true
				if mode == Interval {
					if err := l.Tick(); err != nil {
						t.Fatal(err)
					}
				}
				// The process is gone without Close; the power may be, too.
				after := faultfs.FS(mem)
				if n%2 == 0 {
					after = mem.PowerCut()
				}
				o.FS = after
				l2, got := open(t, o)
				counted := map[int]int{}
				for _, b := range got {
					counted[b]++
				}
				for b := range acked {
					if counted[b] == 0 {
						t.Fatalf("%s: batch %d was acknowledged and is lost; got %v, damage %v", what, b, got, l2.Stats().Damage)
					}
				}
				for b, times := range counted {
					if times > 1 {
						t.Fatalf("%s: batch %d came %d times", what, b, times)
					}
				}
				if hits == 0 {
					break
				}
			}
		}
	}
}

// TestPowerCuts cuts the power at random moments. Always: nothing acknowledged is lost. Interval: nothing that a Tick made
// durable is lost. Never does a batch come back in part, and the log goes on afterwards.
func TestPowerCuts(t *testing.T) {
	cuts := uint64(200)
	if long() {
		cuts = 1000
	}
	for _, mode := range []Mode{Interval, Always} {
		lost := 0
		for seed := range cuts {
			r := rand.New(rand.NewPCG(seed, 7))
			mem := newFS(t, seed)
			acked, durable := map[int]bool{}, map[int]bool{}
			next := 0
			for range 1 + r.IntN(4) { // several lives of one log
				fsys := faultfs.Inject(mem, nil)
				o := options(fsys, mode)
				o.FileSize = int64(300 + r.IntN(3000))
				l, got := open(t, o)
				found := map[int]bool{}
				for _, b := range got {
					if found[b] {
						t.Fatalf("mode %d, seed %d: batch %d came twice", mode, seed, b)
					}
					found[b] = true
				}
				for b := range durable {
					if !found[b] {
						t.Fatalf("mode %d, seed %d: batch %d was durable and is lost", mode, seed, b)
					}
				}
				for b := range acked {
					if !found[b] {
						lost++
					}
				}
				acked, durable = maps.Clone(found), maps.Clone(found)
				switch r.IntN(4) {
				case 0: // one failing call on the way
					fsys.SetRule(faultfs.Nth(fsys.Calls()+1+r.IntN(30), syscall.EIO))
				case 1: // a disk that fails again and again
					fsys.SetRule(func(c faultfs.Call) error {
						switch r.IntN(30) {
						case 0, 1:
							return syscall.EIO
						case 2:
							return &faultfs.Short{Len: r.IntN(c.Len + 1), Err: syscall.ENOSPC}
						}
						return nil
					})
				}
				for range r.IntN(25) {
					if ticket, err := l.Append(batch(next, rows)); err == nil {
						acked[next] = true
						if mode == Always {
							durable[next] = true
						}
						l.Done(ticket)
					}
					next++
					if r.IntN(5) == 0 && l.Tick() == nil {
						durable = maps.Clone(acked)
					}
				}
				mem = mem.PowerCut()
			}
		}
		if mode == Interval && lost == 0 {
			t.Error("no power cut lost anything: they are too kind to prove anything")
		}
	}
}

// TestFailedSync: after a failed fsync the log refuses, the file is not synced again, and what was acknowledged before is
// safe in a new file afterwards.
func TestFailedSync(t *testing.T) {
	mem := newFS(t, 1)
	fsys := faultfs.Inject(mem, nil)
	o := options(fsys, Interval)
	l, _ := open(t, o)
	appendBatch(t, l, 0)
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, l, 1)
	appendBatch(t, l, 2)
	old := mem.Files(".log")[0]
	fsys.SetRule(faultfs.On(faultfs.OpSync, old, syscall.EIO))
	if err := l.Tick(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("tick: %v", err)
	}
	_, err := l.Append(batch(3, rows))
	if p := problem.Of(err); p.Kind != problem.Unavailable || p.RetryAfter == 0 || p.Hint == "" {
		t.Fatalf("append while not durable: %v", err)
	}
	if l.Stats().Refusing == "" {
		t.Error("stats don't say that the log refuses")
	}
	fsys.SetRule(func(c faultfs.Call) error {
		if c.Op == faultfs.OpSync && c.Name == old {
			t.Errorf("%s: a file is synced after a failed sync", c)
		}
		return nil
	})
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, l, 3)
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	o.FS = mem.PowerCut()
	l, got := open(t, o)
	same(t, "after the cut", got, upTo(4))
	if d := l.Stats().Damage; len(d) != 0 {
		t.Errorf("damage: %v", d)
	}
}

func TestFullDisk(t *testing.T) {
	mem := newFS(t, 1)
	c := &clock{now: time.Unix(1790000000, 0)}
	o := options(mem, Interval)
	o.Now, o.Reserve, o.FileSize = c.Now, 2000, 1500
	l, _ := open(t, o)
	mem.SetCapacity(8000)
	acked := 0
	var err error
	for err == nil {
		if _, err = l.Append(batch(acked, rows)); err == nil {
			acked++
		}
		if acked > 1000 {
			t.Fatal("a disk of 8000 bytes is never full")
		}
	}
	p := problem.Of(err)
	if p.Kind != problem.Unavailable || p.RetryAfter == 0 || !strings.Contains(p.Hint, "--max-disk") {
		t.Fatalf("full: %v", err)
	}
	if free, _, _ := mem.Space("/"); free < 1000 {
		t.Errorf("%d bytes are left of a reserve of 2000", free)
	}
	if l.Stats().Refusing == "" {
		t.Error("stats don't say that the log refuses")
	}
	mem.SetCapacity(100_000) // somebody frees space
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, l, acked)
	l.Close()
	_, got := open(t, o)
	same(t, "replay", got, upTo(acked+1))
}

func TestMaxBytes(t *testing.T) {
	mem := newFS(t, 1)
	o := options(mem, Interval)
	o.MaxBytes, o.FileSize = 3000, 1000
	l, _ := open(t, o)
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		var ticket Ticket
		if ticket, err = l.Append(batch(n, rows)); err == nil {
			l.Done(ticket)
		}
	}
	if !errors.Is(err, ErrFull) || l.Stats().Bytes > 3000 {
		t.Fatalf("%v with %d bytes", err, l.Stats().Bytes)
	}
	newest, _, ok := l.Oldest()
	if dropped, err := l.DropBefore(0, newest+1); !ok || dropped == 0 || err != nil {
		t.Fatalf("dropped %d, %v", dropped, err)
	}
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	appendBatch(t, l, n)
}
