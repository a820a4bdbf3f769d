package queue_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue"
	remoteengine "github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/store/wal"
)

// remote is mem behind the contract of remote engines, with faults. Inserts are seen when they count.
type remote struct {
	*mem.Engine
	mu     sync.Mutex
	held   map[string][]*span.Batch
	taken  map[string]bool
	fault  func(token string, batches []*span.Batch) error // before the insert
	lose   func() error                                    // after it: the answer is lost
	stored int
	calls  int
}

func newRemote(now func() time.Time) *remote {
	return &remote{Engine: mem.New(mem.Options{Now: now, MaxBytes: 1 << 30}), held: make(map[string][]*span.Batch), taken: make(map[string]bool)}
}

func (r *remote) Insert(_ context.Context, token string, batches []*span.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.fault != nil {
		if err := r.fault(token, batches); err != nil {
			return err
		}
	}
	if !r.taken[token] {
		r.taken[token] = true
		for _, b := range batches {
			r.held[token] = append(r.held[token], b.Clone())
			r.stored += b.Len()
		}
	}
	if r.lose != nil {
		return r.lose()
	}
	return nil
}

func (r *remote) Count(tokens ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range tokens {
		for _, b := range r.held[t] {
			if err := r.Engine.Accept(context.Background(), b); err != nil {
				panic(err)
			}
		}
		delete(r.held, t)
	}
}

func (r *remote) Pin() queue.Reader { return r.Engine }

func (r *remote) set(fault func(string, []*span.Batch) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

func (r *remote) rows() (stored, calls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored, r.calls
}

func options(e queue.Engine) queue.Options {
	return queue.Options{Dir: "/data/queue", Kind: "mem", FS: faultfs.NewMem(1), Sync: time.Second, Linger: -1, Reserve: 1, FirstPause: time.Millisecond, LongPause: 2 * time.Millisecond,
		Connect: func(context.Context) (queue.Engine, error) { return e, nil }}
}

func open(t testing.TB, o queue.Options) *queue.Queue {
	t.Helper()
	q, err := queue.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func flush(t testing.TB, q *queue.Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := q.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// sometimes flushes after some batches, so that answers come from both sides. A trace is not asked for meanwhile: mem cannot be pinned.
type sometimes struct {
	*queue.Queue
	t     *testing.T
	every int
	mu    sync.RWMutex
	n     int
}

func (s *sometimes) Trace(ctx context.Context, sc store.Scope, id span.TraceID, hint store.TimeRange) iter.Seq2[*span.Batch, error] {
	return func(yield func(*span.Batch, error) bool) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		s.Queue.Trace(ctx, sc, id, hint)(yield)
	}
}

func (s *sometimes) Accept(ctx context.Context, b *span.Batch) error {
	if err := s.Queue.Accept(ctx, b); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.every > 0 && s.n%s.every == 0 {
		return s.Queue.Flush(ctx)
	}
	return nil
}

// TestConformance runs the suite with everything in the queue, everything in the engine, and some of both.
func TestConformance(t *testing.T) {
	for _, every := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("flush every %d", every), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
				o := options(newRemote(now))
				o.Now, o.MaxMemory = now, 1<<30
				return &sometimes{Queue: open(t, o), t: t, every: every}
			})
		})
	}
}

// send puts n batches of two spans into a queue and answers their number of spans.
func send(t testing.TB, q store.Writer, from, n int) int {
	t.Helper()
	for i := from; i < from+n; i++ {
		if err := q.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%x a - front server get 0s 1ms\n%x b a cart client get 0s 1ms", i+1, i+1))); err != nil {
			t.Fatal(err)
		}
	}
	return 2 * n
}

func spans(t testing.TB, q store.Reader) (n int) {
	t.Helper()
	for r, err := range q.Scan(t.Context(), store.Scope{}, &store.Scan{}) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(r.Rows)
	}
	return n
}

var errAway = &problem.Problem{Kind: problem.Unavailable, Message: "connection refused"}

// TestAway stops the engine under load, restarts the process meanwhile, and starts the engine again: sent = found, in order.
func TestAway(t *testing.T) {
	e := newRemote(time.Now)
	o := options(e)
	o.MaxRows, o.FullRows, o.Linger = 20, 10, time.Millisecond
	o.MaxMemory = 64 << 20
	q := open(t, o)
	sent := send(t, q, 0, 50)
	flush(t, q)
	e.set(func(string, []*span.Batch) error { return errAway })
	sent += send(t, q, 50, 100)
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d spans are readable while the engine is away", got, sent)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	away := true
	o.Connect = func(context.Context) (queue.Engine, error) {
		if away {
			return nil, errAway
		}
		return e, nil
	}
	if q, err := queue.Open(t.Context(), o); err == nil {
		q.Close()
		t.Fatal("an error that is not Away did not end Open")
	}
	o.Away = func(err error) bool { return errors.Is(err, errAway) }
	q = open(t, o)
	if s := q.Stats(); s.Queue.Spans != 200 || s.ReplayedSpans != 200 || s.Queue.LastError == "" {
		t.Errorf("after the restart: %+v", s.Queue)
	}
	page, err := q.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1000})
	if err != nil || len(page.Traces) != 100 || page.Complete {
		t.Errorf("search without an engine: %d traces, %v, %v", len(page.Traces), page.Done, err)
	}
	sent += send(t, q, 150, 10)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	away = false
	e.set(nil)
	e.Engine = reopened()
	q = open(t, o)
	sent += send(t, q, 160, 10)
	flush(t, q)
	if stored, _ := e.rows(); stored != sent || spans(t, q) != 240 {
		t.Errorf("%d spans were sent, the engine stored %d and has %d of 240 since its restart", sent, stored, spans(t, q))
	}
	s := q.Stats()
	if s.Queue.Spans != 0 || s.Queue.LastError != "" || s.Queue.PoisonSpans != 0 {
		t.Errorf("in the end: %+v", s.Queue)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// reopened is an empty engine in the place of the one that Close ended with the queue.
func reopened() *mem.Engine {
	return mem.New(mem.Options{MaxBytes: 1 << 30})
}

// TestLostAnswers loses the answer of every other insert: nothing is stored twice.
func TestLostAnswers(t *testing.T) {
	e := newRemote(time.Now)
	n := 0
	e.lose = func() error {
		if n++; n%2 == 1 {
			return errAway
		}
		return nil
	}
	q := open(t, options(e))
	sent := 0
	for i := range 10 {
		sent += send(t, q, 5*i, 5)
		flush(t, q)
	}
	if stored, calls := e.rows(); stored != sent || spans(t, q) != sent || calls != 20 {
		t.Errorf("%d sent, %d stored in %d inserts, %d readable", sent, stored, calls, spans(t, q))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCrash ends the process between an insert and its answer, by power cut: the run is sent again under its token.
func TestCrash(t *testing.T) {
	disk := faultfs.NewMem(7)
	e := newRemote(time.Now)
	o := options(e)
	o.FS, o.Sync = disk, 0
	inserted := make(chan struct{}, 100)
	e.lose = func() error {
		select {
		case inserted <- struct{}{}:
		default:
		}
		return errAway
	}
	q := open(t, o)
	sent := send(t, q, 0, 20)
	go q.Flush(t.Context())
	<-inserted
	sent += send(t, q, 20, 5)
	after := disk.PowerCut()
	_ = q.Close()
	e.mu.Lock()
	e.lose = nil
	e.mu.Unlock()
	e.Engine = reopened()
	o.FS = after
	q = open(t, o)
	flush(t, q)
	if stored, _ := e.rows(); stored != sent || spans(t, q) != sent {
		t.Errorf("%d sent, %d stored, %d readable", sent, stored, spans(t, q))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPoison sets aside the spans that the engine refuses, and only them.
func TestPoison(t *testing.T) {
	e := newRemote(time.Now)
	bad := func(b *span.Batch, row int) bool { return b.TraceID[row].Low()%16 == 5 && b.Parent[row].IsZero() }
	e.set(func(_ string, batches []*span.Batch) error {
		for _, b := range batches {
			for row := range b.Len() {
				if bad(b, row) {
					return problem.New(problem.Invalid, "no such thing", "")
				}
			}
		}
		return nil
	})
	disk := faultfs.NewMem(3)
	o := options(e)
	o.FS = disk
	q := open(t, o)
	sent := send(t, q, 0, 64)
	flush(t, q)
	stored, _ := e.rows()
	s := q.Stats().Queue
	if stored != sent-4 || s.PoisonSpans != 4 || s.PoisonBytes == 0 || s.Spans != 0 || s.SentSpans != int64(stored) {
		t.Errorf("%d sent, %d stored, %+v", sent, stored, s)
	}
	files, err := disk.ReadDir("/data/queue/dead")
	if err != nil || len(files) != 8 {
		t.Errorf("dead letters: %v, %v", files, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRefused has an engine that says which rows it will never take: they go into one file, also where the insert is asked for twice.
func TestRefused(t *testing.T) {
	e := newRemote(time.Now)
	bad := func(b *span.Batch, row int) bool { return b.TraceID[row].Low()%16 == 5 && b.Parent[row].IsZero() }
	lost := false
	e.set(func(_ string, batches []*span.Batch) error {
		if !lost {
			lost = true
			return errAway
		}
		r := &remoteengine.Refused{Err: problem.New(problem.Invalid, "no such thing", "")}
		for i, b := range batches {
			for row := range b.Len() {
				if bad(b, row) {
					r.Rows = append(r.Rows, remoteengine.Place{Batch: i, Row: row})
				} else {
					e.stored++
				}
			}
		}
		return r
	})
	disk := faultfs.NewMem(3)
	o := options(e)
	o.FS = disk
	q := open(t, o)
	sent := send(t, q, 0, 64)
	flush(t, q)
	stored, _ := e.rows()
	s := q.Stats().Queue
	if stored != sent-4 || s.PoisonSpans != 4 || s.PoisonBytes == 0 || s.Spans != 0 || s.SentSpans != int64(stored) || s.PoisonFile == "" {
		t.Errorf("%d sent, %d stored, %+v", sent, stored, s)
	}
	n := 0
	_, _, damage, err := wal.ReadFile(disk, s.PoisonFile, func(b *span.Batch) error {
		for row := range b.Len() {
			if n++; !bad(b, row) {
				t.Errorf("trace %v was set aside", b.TraceID[row])
			}
		}
		return nil
	})
	if n != 4 || err != nil || len(damage) > 0 {
		t.Errorf("%d spans in %s, %v, %v", n, s.PoisonFile, damage, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFull refuses when the disk may take no more, keeps what it accepted, and takes spans again when the engine is back.
func TestFull(t *testing.T) {
	e := newRemote(time.Now)
	e.set(func(string, []*span.Batch) error { return errAway })
	o := options(e)
	o.MaxDisk, o.MaxRows, o.FullRows, o.Linger = 20_000, 20, 10, time.Millisecond
	q := open(t, o)
	sent := 0
	var refused error
	for i := 0; refused == nil && i < 10_000; i++ {
		if refused = q.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%x a - front server get 0s 1ms", i+1))); refused == nil {
			sent++
		}
	}
	p, ok := errors.AsType[*problem.Problem](refused)
	if !ok || p.Kind != problem.Unavailable || p.RetryAfter <= 0 {
		t.Fatalf("after %d spans: %v", sent, refused)
	}
	if got := spans(t, q); got != sent {
		t.Errorf("%d of %d readable", got, sent)
	}
	e.set(nil)
	flush(t, q)
	sent += send(t, q, 20_000, 1)
	flush(t, q)
	if stored, _ := e.rows(); stored != sent {
		t.Errorf("%d sent, %d stored", sent, stored)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestVolumeFull has no room on the volume of the folder: senders are refused for a while and told where and why, and what was accepted goes
// when there is room again, without a restart and with one.
func TestVolumeFull(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			e, disk := newRemote(time.Now), faultfs.NewMem(1)
			e.set(func(string, []*span.Batch) error { return errAway })
			o := options(e)
			o.FS, o.MaxRows, o.FullRows, o.Linger, o.Farewell = disk, 20, 10, time.Millisecond, time.Millisecond
			q := open(t, o)
			sent := send(t, q, 0, 30)
			disk.SetCapacity(disk.Bytes())
			for i := range 5 {
				err := q.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%x a - front server get 0s 1ms", 1000+i)))
				p := problem.Of(err)
				if p == nil || p.Kind != problem.Unavailable || p.RetryAfter <= 0 || !strings.Contains(p.Message, "volume of /data/queue/log") || !strings.Contains(p.Hint, "--data-dir") {
					t.Fatalf("accepted on a full disk: %v", err)
				}
			}
			if got := spans(t, q); got != sent {
				t.Errorf("%d of %d readable", got, sent)
			}
			if restart {
				if err := q.Close(); err != nil {
					t.Fatal(err)
				}
				e.Engine = reopened()
				q = open(t, o)
				if got := spans(t, q); got != sent {
					t.Errorf("%d of %d readable after a start", got, sent)
				}
			}
			e.set(nil)
			wait.For(t, time.Minute, "the queue to say what holds it up", func() bool {
				said := q.Stats().Queue.LastError
				return strings.Contains(said, "the volume of /data/queue is full") && strings.Contains(said, "--data-dir")
			})
			disk.SetCapacity(1 << 40)
			wait.For(t, time.Minute, "spans to be taken again", func() bool {
				err := q.Accept(t.Context(), storetest.Batch(t, "ffff a - front server get 0s 1ms"))
				return err == nil
			})
			sent++
			flush(t, q)
			if stored, _ := e.rows(); stored != sent {
				t.Errorf("%d sent, %d stored", sent, stored)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestHidden bounds the memory: what has no room waits on the disk, answers say so, and it is sent all the same.
func TestHidden(t *testing.T) {
	e := newRemote(time.Now)
	e.set(func(string, []*span.Batch) error { return errAway })
	o := options(e)
	o.MaxMemory, o.MaxRows, o.FullRows = 256<<10, 100, 50
	q := open(t, o)
	sent := send(t, q, 0, 2000)
	s := q.Stats()
	if s.Queue.HiddenSpans == 0 || s.Queue.Spans != int64(sent) || s.Bytes > 2*o.MaxMemory {
		t.Errorf("%d bytes, %+v", s.Bytes, s.Queue)
	}
	page, err := q.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10})
	if err != nil || page.Complete || page.Reason == "" || len(page.Traces) != 10 {
		t.Errorf("search: %v, %v", page, err)
	}
	// What cannot be read is missing in scans and traces too: they say so behind what can.
	rows := 0
	var last error
	for r, err := range q.Scan(t.Context(), store.Scope{}, &store.Scan{}) {
		if rows += len(r.Rows); err != nil {
			last = err
		}
	}
	if p := problem.Of(last); p == nil || p.Kind != problem.Unavailable || !strings.Contains(p.Message, "wait in this process's queue on the disk") || rows == 0 || rows >= sent {
		t.Errorf("%d of %d rows, then %v", rows, sent, last)
	}
	for id, want := range map[span.TraceID]int{span.TraceIDFromUint64s(0, 1): 0, page.Traces[0].TraceID: page.Traces[0].Spans} {
		found := 0
		last = nil
		for b, err := range q.Trace(t.Context(), store.Scope{}, id, store.TimeRange{}) {
			if err != nil {
				last = err
				continue
			}
			found += b.Len()
		}
		if p := problem.Of(last); found != want || p == nil || p.Kind != problem.Unavailable {
			t.Errorf("trace %s: %d spans, want %d, then %v", id, found, want, last)
		}
	}
	e.set(nil)
	flush(t, q)
	if stored, _ := e.rows(); stored != sent || spans(t, q) != sent {
		t.Errorf("%d sent, %d stored", sent, stored)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// Another process has the folder, or it is no folder: the error says what to do.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	o := options(newRemote(time.Now))
	o.FS, o.Dir, o.LockWait = nil, filepath.Join(dir, "queue"), -1
	first := open(t, o)
	defer first.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{filepath.Join(dir, "queue"): "is in use by process", filepath.Join(file, "queue"): "is not a folder"} {
		o.Dir = at
		_, err := queue.Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
}
