package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
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
