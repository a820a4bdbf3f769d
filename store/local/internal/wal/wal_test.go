package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
)

const dir = "/log"

// batch makes a batch that says its own number in every row.
func batch(n, rows int) *span.Batch {
	b := &span.Batch{Tenant: "default", Received: int64(n) + 1}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	for i := range rows {
		row := b.AddRow()
		b.TraceID[row] = span.TraceIDFromUint64s(uint64(n)+1, uint64(i)+1)
		b.SpanID[row] = span.SpanIDFromUint64(uint64(n)*0x9E3779B97F4A7C15 + uint64(i))
		m := b.AttrMark()
		b.AddTextAttr("batch", fmt.Sprint(n))
		b.AddTextAttr("text", fmt.Sprintf("%x", uint64(n)*uint64(i+1)*0x9E3779B97F4A7C15))
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	return b
}

// number is what batch was called with; a batch that is not whole fails the test.
func number(t testing.TB, b *span.Batch, rows int) int {
	t.Helper()
	n := int(b.TraceID[0].High()) - 1
	if b.Len() != rows || b.Received != int64(n)+1 || b.Tenant != "default" {
		t.Fatalf("batch %d came back with %d of %d rows, receipt %d, tenant %q", n, b.Len(), rows, b.Received, b.Tenant)
	}
	for i := range rows {
		if got := string(b.FindString(b.SpanAttrs[i], "batch")); got != fmt.Sprint(n) || b.TraceID[i].Low() != uint64(i)+1 {
			t.Fatalf("batch %d has a row %d of batch %q", n, i, got)
		}
	}
	return n
}

const rows = 3

// long reports whether the long tests are wanted.
func long() bool { return os.Getenv("SPANLOOM_LONG") == "1" }

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func options(fsys faultfs.FS, mode Mode) Options {
	c := &clock{now: time.Unix(1790000000, 0)}
	return Options{FS: fsys, Dir: dir, Mode: mode, Now: c.Now, Log: slog.New(slog.DiscardHandler)}
}

func newFS(t testing.TB, seed uint64) *faultfs.Mem {
	t.Helper()
	m := faultfs.NewMem(seed)
	if err := errors.Join(m.MkdirAll(dir), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return m
}

// open opens a log and gives the numbers of the batches it replays, in order.
func open(t testing.TB, o Options) (*Log, []int) {
	t.Helper()
	var got []int
	l, err := Open(context.Background(), o, func(b *span.Batch, _ uint64) error {
		got = append(got, number(t, b, rows))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, got
}

func appendBatch(t testing.TB, l *Log, n int) Ticket {
	t.Helper()
	ticket, err := l.Append(batch(n, rows))
	if err != nil {
		t.Fatalf("batch %d: %v", n, err)
	}
	return ticket
}

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func same(t testing.TB, what string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func TestAppendAndReplay(t *testing.T) {
	for _, mode := range []Mode{Interval, Always} {
		fsys := newFS(t, 1)
		o := options(fsys, mode)
		o.FileSize = 1000
		l, got := open(t, o)
		same(t, "empty", got, nil)
		for n := range 20 {
			appendBatch(t, l, n)
		}
		if s := l.Stats(); s.Files < 3 || s.Bytes != fsys.Bytes() {
			t.Errorf("%d files, %d of %d bytes", s.Files, s.Bytes, fsys.Bytes())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(batch(0, rows)); problem.Of(err).Kind != problem.Unavailable {
			t.Errorf("append to a closed log: %v", err)
		}
		for n := 20; n < 30; n++ {
			l, got = open(t, o)
			same(t, "again", got, upTo(n))
			appendBatch(t, l, n)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if s := l.Stats(); len(s.Damage) != 0 {
			t.Errorf("damage: %v", s.Damage)
		}
	}
}

// TestManyWriters: everyone's frames are in the log once, each sequence is used once, writes are shared.
func TestManyWriters(t *testing.T) {
	for _, mode := range []Mode{Interval, Always} {
		fsys := newFS(t, 1)
		o := options(fsys, mode)
		o.FileSize = 20_000
		l, _ := open(t, o)
		const writers, each = 16, 40
		var wg sync.WaitGroup
		var mu sync.Mutex
		used := map[uint64]bool{}
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					ticket, err := l.Append(batch(w*each+i, rows))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if used[ticket.Sequence] {
						t.Errorf("sequence %d twice", ticket.Sequence)
					}
					used[ticket.Sequence] = true
					mu.Unlock()
					l.Done(ticket)
				}
			})
		}
		stop := make(chan struct{})
		var ticks sync.WaitGroup
		ticks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := l.Tick(); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Wait()
		close(stop)
		ticks.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, got := open(t, o)
		slices.Sort(got)
		same(t, "replay", got, upTo(writers*each))
	}
}

// TestFlippedBit inverts every bit of a log, one at a time: at most the frame it lies in is lost, and it is named.
func TestFlippedBit(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	l, _ := open(t, o)
	var ends []int64
	for n := range 5 {
		appendBatch(t, l, n)
		ends = append(ends, l.Stats().Bytes)
	}
	l.Close()
	name := fsys.Files(".log")[0]
	// A second file makes the first one not the newest, whose end may be torn.
	l, _ = open(t, o)
	appendBatch(t, l, 5)
	l.Close()
	step := int64(7) // each byte in one or two of its bits
	if long() {
		step = 1
	}
	for bit := int64(0); bit < ends[4]*8; bit += step {
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
		want := upTo(6)
		if at := bit / 8; at >= fileHeaderSize {
			hit := slices.IndexFunc(ends, func(end int64) bool { return at < end })
			want = slices.Delete(want, hit, hit+1)
		}
		l, got := open(t, o)
		if !slices.Equal(got, want) {
			t.Fatalf("bit %d: got %v, want %v, damage %v", bit, got, want, l.Stats().Damage)
		}
		if d := l.Stats().Damage; len(d) != 1 || d[0].File != name || d[0].Reason == "" || d[0].Bytes == 0 {
			t.Fatalf("bit %d: damage %v", bit, d)
		}
		l.Close()
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTornEnd ends the newest file at every length: what is whole is replayed, the rest is cut off and is no damage.
func TestTornEnd(t *testing.T) {
	build := func() (*faultfs.Mem, Options, []int64) {
		fsys := newFS(t, 1)
		o := options(fsys, Interval)
		l, _ := open(t, o)
		ends := []int64{fileHeaderSize}
		for n := range 3 {
			appendBatch(t, l, n)
			ends = append(ends, l.Stats().Bytes)
		}
		l.Close()
		return fsys, o, ends
	}
	_, _, ends := build()
	for size := range ends[3] {
		for _, garbage := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("\xf3SLF", 80)} {
			if garbage != "" && !slices.Contains(ends, size) {
				continue // it would complete the frame, and be a damaged one
			}
			fsys, o, _ := build()
			f, err := fsys.Edit(fsys.Files(".log")[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			io.WriteString(f, garbage)
			f.Close()
			whole := 0
			for whole < 3 && ends[whole+1] <= size {
				whole++
			}
			l, got := open(t, o)
			same(t, fmt.Sprintf("%d bytes and %q", size, garbage), got, upTo(whole))
			if d := l.Stats().Damage; len(d) != 0 {
				t.Fatalf("%d bytes and %q: damage %v", size, garbage, d)
			}
			appendBatch(t, l, whole)
			l.Close()
			l, got = open(t, o)
			same(t, "after the next start", got, upTo(whole+1))
			if d := l.Stats().Damage; len(d) != 0 {
				t.Fatalf("after the next start: damage %v", d)
			}
			l.Close()
		}
	}
}

// TestForgedFrame: bytes in a payload that are a whole frame are none, even where the header before them is damaged, because
// who sends spans doesn't know the salt.
func TestForgedFrame(t *testing.T) {
	const salt = 0xCAFE
	frame := func(n int, sequence uint64, salt uint32) []byte {
		r := &record{}
		if err := r.encode(batch(n, rows)); err != nil {
			t.Fatal(err)
		}
		seal(r.frame, salt, sequence)
		return r.frame
	}
	for _, c := range []struct {
		salt uint32
		want []uint64
	}{{12345, []uint64{3}}, {salt, []uint64{2, 3}}} { // with the salt it is taken: so it is what keeps the forger out
		outer := append(make([]byte, frameHeaderSize), frame(99, 2, c.salt)...)
		putFrameHeader(outer, 0, rows, 1)
		seal(outer, salt, 1)
		outer[20] ^= 1
		p := append(fileHeader{salt: salt}.append(nil), outer...)
		p = append(p, frame(1, 3, salt)...)
		var got []uint64
		if _, err := scan("f", bytes.NewReader(p), func(f Frame) error { got = append(got, f.Sequence); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("salt %x: frames %v, want %v", c.salt, got, c.want)
		}
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	for what, change := range map[string]func(p []byte){
		"file":  func(p []byte) { p[8] = 2; binary.LittleEndian.PutUint32(p[36:], checksum(p[:36])) },
		"frame": func(p []byte) { p[fileHeaderSize+8] = 2; seal(p[fileHeaderSize:], saltOf(p), 1) },
	} {
		fsys := newFS(t, 1)
		o := options(fsys, Interval)
		l, _ := open(t, o)
		appendBatch(t, l, 0)
		l.Close()
		name := fsys.Files(".log")[0]
		f, _ := fsys.Edit(name)
		p, _ := io.ReadAll(f)
		change(p)
		f.Truncate(0)
		f.Write(p)
		f.Close()
		_, err := Open(t.Context(), o, func(*span.Batch, uint64) error { return nil })
		if !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", what, err)
		}
		f, _ = fsys.Open(name)
		if q, _ := io.ReadAll(f); !bytes.Equal(p, q) {
			t.Errorf("%s of a newer version was changed", what)
		}
	}
}

func saltOf(p []byte) uint32 { return binary.LittleEndian.Uint32(p[12:]) }

func TestDropBefore(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	o.FileSize = 1 // a file for each batch
	l, _ := open(t, o)
	defer l.Close()
	var tickets []Ticket
	for n := range 6 {
		tickets = append(tickets, appendBatch(t, l, n))
	}
	drop := func(lowest uint64, received int64, want int) {
		t.Helper()
		if n, err := l.DropBefore(lowest, received); n != want || err != nil {
			t.Fatalf("dropped %d, %v, want %d", n, err, want)
		}
	}
	drop(100, 0, 0) // nothing is in the memtable yet
	for _, i := range []int{0, 1, 3} {
		l.Done(tickets[i])
	}
	drop(tickets[1].Sequence, 0, 1)
	drop(100, 0, 1)
	for _, i := range []int{2, 4, 5} {
		l.Done(tickets[i])
	}
	drop(tickets[3].Sequence, 0, 1)
	if got := len(fsys.Files(".log")); got != 3 {
		t.Errorf("%d files", got)
	}
	drop(0, o.Now().UnixNano()+1, 2) // all but the current one are old enough
	if newest, _, ok := l.Oldest(); ok {
		t.Errorf("oldest droppable: %d", newest)
	}
	if l.Stats().Files != 1 {
		t.Errorf("stats: %+v", l.Stats())
	}
}

func TestOldFramesAreNotReplayed(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	l, _ := open(t, o)
	for n := range 4 {
		appendBatch(t, l, n)
	}
	l.Close()
	o.Since = 3 // batch n was received at n+1
	_, got := open(t, o)
	same(t, "replay", got, []int{2, 3})
}

func TestFileAge(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	c := &clock{now: time.Unix(1790000000, 0)}
	o.Now = c.Now
	l, _ := open(t, o)
	defer l.Close()
	l.Done(appendBatch(t, l, 0))
	c.Add(2 * time.Hour)
	if err := l.Tick(); err != nil {
		t.Fatal(err)
	}
	if n, err := l.DropBefore(0, c.Now().Add(-time.Hour).UnixNano()); n != 1 || err != nil {
		t.Errorf("an old file without new frames: dropped %d, %v", n, err)
	}
	if appendBatch(t, l, 1); l.Stats().Files != 1 {
		t.Errorf("stats: %+v", l.Stats())
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	fsys := newFS(t, 1)
	names := []string{"notes.log", "000000000001.log.bad", "1.log", "000000000000.log", "00000000000x.log"}
	for _, name := range names {
		f, err := fsys.Create(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, "mine")
		f.Close()
	}
	l, _ := open(t, options(fsys, Interval))
	appendBatch(t, l, 0)
	l.Close()
	if got := fsys.Files("/log/"); len(got) != len(names)+1 {
		t.Errorf("files: %v", got)
	}
}

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
				if r.IntN(3) == 0 { // a failed sync on the way
					fsys.SetRule(faultfs.Nth(fsys.Calls()+1+r.IntN(30), syscall.EIO))
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

func FuzzScan(f *testing.F) {
	fsys := newFS(f, 1)
	o := options(fsys, Interval)
	l, _ := open(f, o)
	for n := range 3 {
		appendBatch(f, l, n)
	}
	l.Close()
	h, _ := fsys.Open(fsys.Files(".log")[0])
	whole, _ := io.ReadAll(h)
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add(append(slices.Clone(whole[:100]), whole[60:]...))
	f.Fuzz(func(t *testing.T, p []byte) {
		var b span.Batch
		got, err := scan("f", bytes.NewReader(p), func(fr Frame) (err error) {
			_, err = fr.Decode(&b, nil)
			return err
		})
		if err != nil && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
		if err == nil && got.size != int64(len(p)) {
			t.Fatalf("%d of %d bytes", got.size, len(p))
		}
		for _, d := range got.damage {
			if d.Offset < 0 || d.Bytes <= 0 || d.Offset+d.Bytes > int64(len(p)) || d.Reason == "" {
				t.Fatalf("damage %+v of %d bytes", d, len(p))
			}
		}
	})
}
