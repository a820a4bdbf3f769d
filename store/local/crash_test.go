package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/wait"
)

// long reports whether the long tests are wanted.
func long() bool { return os.Getenv("SPANLOOM_LONG") == "1" }

// The environment of a test binary that is to be the victim of TestKill.
const (
	victimDir   = "SPANLOOM_TEST_VICTIM_DIR"
	victimSync  = "SPANLOOM_TEST_VICTIM_SYNC"
	victimFirst = "SPANLOOM_TEST_VICTIM_FIRST"
	victimWait  = "SPANLOOM_TEST_VICTIM_WAIT"  // for the folder; may be missing
	victimLarge = "SPANLOOM_TEST_VICTIM_LARGE" // one segment of several parts; may be missing
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim accepts batches from several senders, and writes the number of each to stdout once it was acknowledged, until it is
// killed.
func victim(dir string) error {
	sync, err := time.ParseDuration(os.Getenv(victimSync))
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(victimFirst))
	if err != nil {
		return err
	}
	lock, _ := time.ParseDuration(os.Getenv(victimWait))
	o := Options{Dir: dir, Sync: sync, SegmentRows: 1500, LockWait: lock}
	if at := os.Getenv(victimBucket); at != "" {
		o.SegmentRows = 60
		if o.Bucket, err = OpenBucket(context.Background(), at); err != nil {
			return err
		}
	}
	large := os.Getenv(victimLarge) != ""
	if large {
		o.SegmentRows = 0
	}
	e, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if large {
		return largeVictim(e, first)
	}
	var next atomic.Int64
	next.Store(int64(first) - 1)
	failed := make(chan error)
	for range 4 {
		go func() {
			for {
				n := int(next.Add(1))
				b := numbered(n, time.Now())
				if err := e.Accept(context.Background(), b); err != nil {
					failed <- err
					return
				}
				fmt.Println(n) // one write(2): the kernel has it before this process can die
			}
		}()
	}
	return <-failed
}

// TestKill kills a process with SIGKILL at random moments while it accepts spans, in both modes, and opens its folder:
// every acknowledged batch is there as a whole, in every life that follows.
func TestKill(t *testing.T) {
	kills := 5
	if long() {
		kills = 100
	}
	for name, sync := range map[string]string{"always": "0s", "1s": "1s"} {
		t.Run(name, func(t *testing.T) {
			seed := time.Now().UnixNano()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(uint64(seed), 0))
			var dir string
			acked, next, total := map[int]bool{}, 0, 0
			for n := range kills {
				if n%10 == 0 { // a folder that grows for ever would make every check slower
					dir, acked, next = filepath.Join(t.TempDir(), "data"), map[int]bool{}, 0
				}
				next = kill(t, dir, sync, next, r, acked)
				e := open(t, Options{Dir: dir, MaxMemory: 1 << 30})
				got := found(t, e)
				for b := range acked {
					if got[b] != rows {
						t.Fatalf("kill %d: batch %d was acknowledged and has %d rows; damaged: %v", n, b, got[b], e.Stats().Damaged)
					}
				}
				for b, have := range got {
					if have != rows {
						t.Fatalf("kill %d: batch %d has %d rows", n, b, have)
					}
					next = max(next, b+1)
				}
				if s := e.Stats(); len(s.Damaged) != 0 {
					t.Errorf("kill %d: damaged: %v", n, s.Damaged)
				}
				mustClose(t, e)
				total += len(acked)
			}
			if total == 0 {
				t.Error("no batch was ever acknowledged")
			}
			t.Logf("%d kills, %d batches acknowledged in the last folder, none lost", kills, len(acked))
		})
	}
}

// kill runs one life of the victim and adds what it acknowledged.
func kill(t *testing.T, dir, sync string, first int, r *rand.Rand, acked map[int]bool) (next int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), victimDir+"="+dir, victimSync+"="+sync, victimFirst+"="+strconv.Itoa(first))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	life := wait.Scale(time.Duration(1+r.IntN(60)) * time.Millisecond)
	die := func() { time.AfterFunc(life, func() { _ = c.Process.Kill() }) }
	if r.IntN(6) == 0 {
		die() // maybe while it starts
	}
	next = first
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			die()
			continue
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			continue // the line that was cut
		}
		acked[n] = true
		next = max(next, n+1)
	}
	err = c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the victim ended by itself: %v", err)
	}
	return next
}

// life is what a random life of an engine was promised.
type life struct {
	acked, durable map[int]bool
	docs           map[string]string // "?" where a refused one may be there
}

// TestPowerCuts cuts the power at random moments of random lives, some with a failing call. What was promised holds: with
// Sync 0 every acknowledged batch is there, else every batch before the last good sync; documents and kept traces always; and
// never a batch in part.
func TestPowerCuts(t *testing.T) {
	cuts := uint64(100)
	if long() {
		cuts = 1000
	}
	for name, sync := range map[string]time.Duration{"always": 0, "1s": time.Hour} { // the test is the ticker
		t.Run(name, func(t *testing.T) {
			lost := 0
			for seed := range cuts {
				lost += powerCut(t, seed, sync)
			}
			if sync != 0 && lost == 0 {
				t.Error("no cut lost anything: they are too kind to prove anything")
			}
		})
	}
}

func powerCut(t *testing.T, seed uint64, sync time.Duration) (lost int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 11))
	mem := faultfs.NewMem(seed)
	want := life{map[int]bool{}, map[int]bool{}, map[string]string{}}
	next := 0
	for lives := 1 + r.IntN(3); ; lives-- {
		fsys := faultfs.Inject(mem, nil)
		c := newClock()
		e := open(t, Options{FS: fsys, Sync: sync, Now: c.Now, FileSize: int64(500 + r.IntN(5000)), SegmentRows: 3 + r.IntN(30), BlockRows: 1 + r.IntN(8)})
		got := found(t, e)
		for b := range want.durable {
			if got[b] != rows {
				t.Fatalf("seed %d: batch %d was durable and has %d rows; damaged: %v", seed, b, got[b], e.Stats().Damaged)
			}
		}
		for b := range want.acked {
			if got[b] == 0 {
				lost++
				delete(want.acked, b)
			}
		}
		for b, have := range got {
			if have != rows {
				t.Fatalf("seed %d: batch %d has %d rows", seed, b, have)
			}
			want.durable[b] = true
		}
		for name, data := range want.docs {
			if d, err := e.Load(t.Context(), defaultScope(), name); err != nil || string(d.Data) != data && data != "?" {
				t.Fatalf("seed %d: document %s is %q, %v; want %q", seed, name, d.Data, err, data)
			}
		}
		if lives == 0 {
			mustClose(t, e)
			return lost
		}
		if r.IntN(2) == 0 {
			fsys.SetRule(faultfs.Nth(fsys.Calls()+1+r.IntN(60), syscall.EIO))
		}
		for range r.IntN(30) {
			switch r.IntN(9) {
			case 8:
				if e.Flush(t.Context()) == nil {
					want.durable = maps.Clone(want.acked)
				}
				_ = e.tidy()
			case 0:
				if e.wal.Tick() == nil {
					want.durable = maps.Clone(want.acked)
				}
			case 1:
				name := string(rune('a' + r.IntN(4)))
				d, err := e.Load(t.Context(), defaultScope(), name)
				if err != nil {
					t.Fatal(err)
				}
				data := fmt.Sprint(name, r.IntN(1000))
				if _, err := e.Save(t.Context(), defaultScope(), name, []byte(data), d.Version); err == nil {
					want.docs[name] = data
				} else if want.docs[name] != "" {
					want.docs[name] = "?"
				}
			case 2:
				if n := r.IntN(next + 1); want.acked[n] && e.Keep(t.Context(), defaultScope(), traceOf(n), 0) == nil {
					want.durable[n] = true
				}
			default:
				if e.Accept(t.Context(), numbered(next, c.Now())) == nil {
					want.acked[next] = true
					if sync == 0 {
						want.durable[next] = true
					}
				}
				next++
			}
		}
		mem = mem.PowerCut()
		_ = e.Close() // its file system is gone
	}
}

// TestFaultAtEveryCall fails each call of a life in which everything happens, one at a time. What was acknowledged is found
// after a restart, nothing in part, and the engine works on when the fault is over.
func TestFaultAtEveryCall(t *testing.T) {
	for name, sync := range map[string]time.Duration{"always": 0, "1s": time.Hour} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				mem := faultfs.NewMem(uint64(n))
				fsys := faultfs.Inject(mem, faultfs.Nth(n, syscall.EIO))
				c := newClock()
				o := Options{Dir: "/data", FS: fsys, Sync: sync, Now: c.Now, FileSize: 900, LockWait: -1, SegmentRows: 9, BlockRows: 4}
				e, err := Open(t.Context(), o)
				if err != nil { // the fault hit the start: it says so, and the next one works
					if !errors.Is(err, syscall.EIO) {
						t.Fatalf("call %d: open: %v", n, err)
					}
					if e, err = Open(t.Context(), o); err != nil {
						t.Fatalf("call %d: open again: %v", n, err)
					}
				}
				acked, saved := map[int]bool{}, map[string]string{}
				var version uint64
				kept := false
				for i := range 10 {
					if e.Accept(t.Context(), numbered(i, c.Now())) == nil {
						acked[i] = true
					}
					if i%4 == 3 {
						_ = e.wal.Tick()
					}
					if i%3 == 1 {
						data := fmt.Sprint(i)
						if v, err := e.Save(t.Context(), defaultScope(), "doc", []byte(data), version); err == nil {
							saved["doc"], version = data, v
						}
					}
					if i == 7 {
						_ = e.Flush(t.Context())
						_ = e.tidy()
					}
					if i == 5 {
						kept = e.Keep(t.Context(), defaultScope(), traceOf(0), 0) == nil
					}
				}
				hits, call := fsys.Hits()
				if hits == 0 { // a flush may still be on its way and meet it
					fsys.SetRule(nil)
				}
				for range 3 {
					_ = e.wal.Tick()
				}
				c.Add(time.Minute)
				if err := e.Accept(t.Context(), numbered(10, c.Now())); err != nil {
					t.Fatalf("call %d (%s): after the fault: %v", n, call, err)
				}
				acked[10] = true
				if err := errors.Join(e.clean(t.Context()), e.Close()); err != nil {
					t.Fatalf("call %d (%s): %v", n, call, err)
				}
				e = open(t, Options{FS: mem.PowerCut(), Now: c.Now})
				got := found(t, e)
				for b := range acked {
					if got[b] != rows {
						t.Fatalf("call %d (%s): batch %d was acknowledged and has %d rows", n, call, b, got[b])
					}
				}
				for b, have := range got {
					if have != rows {
						t.Fatalf("call %d (%s): batch %d has %d rows", n, call, b, have)
					}
				}
				if s := e.Stats(); len(s.Damaged) != 0 {
					t.Fatalf("call %d (%s): damaged: %v", n, call, s.Damaged)
				}
				if d, err := e.Load(t.Context(), defaultScope(), "doc"); err != nil || d.Version < version {
					t.Fatalf("call %d (%s): document is %q, %v; want %q", n, call, d.Data, err, saved["doc"])
				}
				if files := mem.Files(".kept"); kept && len(files) != 1 {
					t.Fatalf("call %d (%s): kept: %v", n, call, files)
				}
				mustClose(t, e)
				if hits == 0 {
					t.Logf("%d calls", n-1)
					return
				}
			}
		})
	}
}
