package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/store/wal"
)

// TestConformance runs the suite on memtables alone, on segments of a few rows with tiny blocks, and on a mix of both.
func TestConformance(t *testing.T) {
	for name, o := range map[string]Options{
		"memtables": {Sync: time.Second},
		"always":    {},
		"mixed":     {Sync: time.Second, SegmentRows: 40, BlockRows: 16, GatherRows: 3},
		"segments":  {Sync: time.Second, SegmentRows: 1, BlockRows: 3},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
				o := o
				o.FS, o.MaxMemory, o.Now = faultfs.NewMem(1), 512<<20, now
				return open(t, o)
			})
		})
	}
}

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1790000000, 0)} }

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

// open opens an engine that the test closes at its end, if it didn't itself.
func open(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "/data"
	}
	if o.Now == nil {
		o.Now = newClock().Now
	}
	if o.LockWait == 0 {
		o.LockWait = -1
	}
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func mustClose(t testing.TB, e *Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

const rows = 3

// numbered makes a batch whose trace id says its number, received at a time.
func numbered(n int, received time.Time) *span.Batch {
	b := &span.Batch{Tenant: store.DefaultTenant, Received: received.UnixNano()}
	b.Resources, b.Scopes = []span.Resource{{}}, []span.Scope{{}}
	service := b.AddText("shop")
	for i := range rows {
		row := b.AddRow()
		b.TraceID[row] = span.TraceIDFromUint64s(1, uint64(n)+1)
		b.SpanID[row] = span.SpanIDFromUint64(uint64(n*rows+i) + 1)
		b.Start[row] = uint64(b.Received)
		b.End[row] = b.Start[row] + 1000
		b.Time[row] = b.Received
		b.Service[row] = service
		m := b.AttrMark()
		b.AddTextAttr("batch", fmt.Sprint(n))
		b.SpanAttrs[row] = b.AttrsSince(m)
	}
	return b
}

func traceOf(n int) span.TraceID { return span.TraceIDFromUint64s(1, uint64(n)+1) }

// found counts the rows of each numbered batch that an engine holds.
func found(t testing.TB, e *Engine) map[int]int {
	t.Helper()
	got := make(map[int]int)
	for r, err := range e.Scan(t.Context(), defaultScope(), &store.Scan{Need: store.Everything()}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			n := int(r.Batch.TraceID[row].Low()) - 1
			if text := string(r.Batch.FindString(r.Batch.SpanAttrs[row], "batch")); text != fmt.Sprint(n) {
				t.Fatalf("trace %d has a row of batch %q", n, text)
			}
			got[n]++
		}
	}
	return got
}

// content is all rows of an engine as text.
func content(t testing.TB, e *Engine) string {
	t.Helper()
	all := new(span.Batch)
	c := span.NewCopier(all)
	for r, err := range e.Scan(t.Context(), defaultScope(), &store.Scan{Need: store.Everything()}) {
		if err != nil {
			t.Fatal(err)
		}
		c.Begin(r.Batch)
		for _, row := range r.Rows {
			c.Row(int(row))
		}
	}
	return storetest.Print(all)
}

func TestRestart(t *testing.T) {
	fsys := faultfs.NewMem(1)
	r := rand.New(rand.NewPCG(1, 1))
	for life := range 5 {
		e := open(t, Options{FS: fsys, FileSize: 4000})
		for i := range 10 {
			b := storetest.Batch(t, storetest.RandomText(r, 20, 15, 100*life+10*i))
			if err := e.Accept(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		want, spans := content(t, e), e.Stats().Spans
		if s := e.Stats(); s.Kind != "local" || s.DiskBytes == 0 || s.LogBytes == 0 || s.LogSyncs == 0 {
			t.Errorf("stats: %+v", s)
		}
		mustClose(t, e)
		if err := e.Accept(t.Context(), numbered(0, time.Now())); problem.Of(err).Kind != problem.Unavailable {
			t.Errorf("accept after close: %v", err)
		}
		e = open(t, Options{FS: fsys})
		if got := content(t, e); got != want {
			t.Fatalf("life %d: other spans after the restart:\n%s\nwant\n%s", life, got, want)
		}
		if s := e.Stats(); s.Spans != spans || s.ReplayedSpans != spans || len(s.Damaged) != 0 {
			t.Errorf("stats: %+v, want %d spans", s, spans)
		}
		mustClose(t, e)
	}
}

// TestReceiptTimeSurvives: rows are as old after a restart as they were before.
func TestReceiptTimeSurvives(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	e := open(t, Options{FS: fsys, Now: c.Now})
	received := c.Now()
	if err := e.Accept(t.Context(), numbered(0, received)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	c.Add(time.Hour)
	e = open(t, Options{FS: fsys, Now: c.Now})
	if got := e.Stats().Oldest; got != received.UnixNano() {
		t.Errorf("oldest %d, want %d", got, received.UnixNano())
	}
}

func TestRetention(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	o := Options{FS: fsys, Now: c.Now, Retention: 24 * time.Hour, FileSize: 1000}
	e := open(t, o)
	for n := range 48 { // two days, a batch an hour
		if err := e.Accept(t.Context(), numbered(n, c.Now())); err != nil {
			t.Fatal(err)
		}
		c.Add(time.Hour)
		if err := errors.Join(e.Flush(t.Context()), e.clean(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string) {
		t.Helper()
		got := found(t, e)
		for n := range 48 {
			switch age := 48 - n; { // hours; an hour's rows and a file go together
			case age < 24 && got[n] != rows:
				t.Errorf("%s: a batch %d h old has %d rows", what, age, got[n])
			case age > 27 && got[n] != 0:
				t.Errorf("%s: a batch %d h old has %d rows", what, age, got[n])
			}
		}
	}
	check("running")
	if files := fsys.Files(".seg"); len(files) > 26 {
		t.Errorf("files: %v", files)
	}
	if files := fsys.Files(".log"); len(files) > 1 {
		t.Errorf("files: %v", files)
	}
	mustClose(t, e)
	e = open(t, o)
	check("restarted")
}

// TestMaxDisk: where the folder would grow beyond its limit the oldest spans go, and nobody is refused.
func TestMaxDisk(t *testing.T) {
	fsys := faultfs.NewMem(1)
	const most = 1_000_000
	o := Options{FS: fsys, MaxDisk: most, SegmentRows: 900}
	e := open(t, o)
	if err := e.Accept(t.Context(), numbered(0, o.now())); err != nil {
		t.Fatal(err)
	}
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0); err != nil {
		t.Fatal(err)
	}
	const last = 60_000
	for n := 1; n <= last; n++ {
		if err := e.Accept(t.Context(), numbered(n, o.now().Add(time.Duration(n)*time.Second))); err != nil {
			t.Fatalf("batch %d: %v", n, err)
		}
		if got := fsys.Bytes(); got > most {
			t.Fatalf("batch %d: %d bytes of at most %d", n, got, most)
		}
	}
	mustClose(t, e)
	e = open(t, o)
	got := found(t, e)
	if got[last] != rows || got[1] != 0 || got[0] != rows || len(got) < last/20 {
		t.Errorf("%d batches; newest %d rows, oldest %d, kept %d", len(got), got[last], got[1], got[0])
	}
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Unix(1790000000, 0)
}

// TestLogGoesWithItsSegment: a log file goes when all in it is in segments, and only then.
func TestLogGoesWithItsSegment(t *testing.T) {
	fsys := faultfs.NewMem(1)
	o := Options{FS: fsys, SegmentRows: 3000}
	e := open(t, o)
	for n := range 5000 {
		if err := e.Accept(t.Context(), numbered(n, o.now())); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := 5000; n < 5010; n++ {
		if err := e.Accept(t.Context(), numbered(n, o.now())); err != nil {
			t.Fatal(err)
		}
	}
	if files := fsys.Files(".log"); len(files) != 1 {
		t.Errorf("log files: %v", files)
	}
	mustClose(t, e)
	e = open(t, o)
	if got := e.Stats().ReplayedSpans; got != 10*rows {
		t.Errorf("%d spans were replayed, want %d", got, 10*rows)
	}
	again := found(t, e)
	for n := range 5010 {
		if again[n] != rows {
			t.Fatalf("batch %d has %d rows after the restart", n, again[n])
		}
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	fsys := faultfs.NewMem(1)
	c := newClock()
	o := Options{FS: fsys, MaxDisk: 1 << 40, FileSize: 4000, Reserve: 10_000, Now: c.Now, SegmentRows: 600}
	e := open(t, o)
	fsys.SetCapacity(50_000)
	n := 0
	var err error
	for ; err == nil && n < 5000; n++ {
		err = e.Accept(t.Context(), numbered(n, c.Now()))
	}
	if p := problem.Of(err); p.Kind != problem.Unavailable || p.RetryAfter == 0 || p.Hint == "" {
		t.Fatalf("a full disk: %v", err)
	}
	if e.Stats().Refusing == "" {
		t.Error("stats don't say that the engine refuses")
	}
	if got := found(t, e); got[n-1] != 0 || len(got) != n-1 {
		t.Errorf("the refused batch has %d rows; %d batches", got[n-1], len(got))
	}
	fsys.SetCapacity(1 << 20)
	c.Add(time.Second)
	if err := e.Accept(t.Context(), numbered(n, c.Now())); err != nil {
		t.Fatalf("after space was freed: %v", err)
	}
	if s := e.Stats(); s.Refusing != "" {
		t.Errorf("still refusing: %s", s.Refusing)
	}
}

func TestFolders(t *testing.T) {
	temp := t.TempDir()
	file := filepath.Join(temp, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("missing folders are made", func(t *testing.T) {
		dir := filepath.Join(temp, "a", "b")
		e := open(t, Options{Dir: dir})
		if err := e.Accept(t.Context(), numbered(0, time.Now())); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		e := open(t, Options{Dir: filepath.Join(temp, "c")})
		_, err := Open(t.Context(), Options{Dir: filepath.Join(temp, "c"), LockWait: 150 * time.Millisecond})
		if p := problem.Of(err); p.Field != "--data-dir" || !strings.Contains(p.Message, fmt.Sprint(os.Getpid())) {
			t.Errorf("the holder is not named: %v", err)
		}
		time.AfterFunc(50*time.Millisecond, func() { e.Close() })
		second, err := Open(t.Context(), Options{Dir: filepath.Join(temp, "c")})
		if err != nil {
			t.Fatalf("waiting for the release: %v", err)
		}
		second.Close()
	})
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "x")} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), Options{Dir: dir, LockWait: -1})
			if p := problem.Of(err); p.Field != "--data-dir" || !strings.Contains(p.Message, "not a folder") {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, c := range map[string]struct {
		op   faultfs.Op
		err  error
		want string
	}{
		"read-only volume": {faultfs.OpMkdir, syscall.EROFS, "read-only"},
		"no permission":    {faultfs.OpLock, fs.ErrPermission, "not readable and writable"},
		"full volume":      {faultfs.OpMkdir, syscall.ENOSPC, "is full"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), Options{Dir: "/data", FS: faultfs.Inject(faultfs.NewMem(1), faultfs.On(c.op, "", c.err))})
			if p := problem.Of(err); p.Field != "--data-dir" || !strings.Contains(p.Message, c.want) || p.Hint == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	fsys := faultfs.NewMem(1)
	mustClose(t, open(t, Options{FS: fsys}))
	var names []string
	for _, name := range []string{"notes.txt", "default/mine", "default/log/notes.log", "default/log/000000000001.log.bad", "default/kept/x.kept",
		"default/kept/1.kept.bad", "default/meta/%zz.doc", "default/meta/UPPER.doc"} {
		name = filepath.Join("/data", name)
		f, err := fsys.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, "mine")
		f.Close()
		names = append(names, name)
	}
	e := open(t, Options{FS: fsys})
	if s := e.Stats(); len(s.Damaged) != 0 {
		t.Errorf("damaged: %v", s.Damaged)
	}
	mustClose(t, e)
	for _, name := range names {
		if _, err := fsys.Stat(name); err != nil {
			t.Error(err)
		}
	}
	r, err := Fsck(t.Context(), fsys, "/data", true)
	if err != nil || !r.Clean() {
		t.Errorf("fsck: %+v, %v", r, err)
	}
}

func TestNewerVersionIsNotTouched(t *testing.T) {
	fsys := faultfs.NewMem(1)
	mustClose(t, open(t, Options{FS: fsys}))
	doc := appendDocument(nil, store.Document{Version: 1})
	doc[8] = 9
	doc = append(doc[:len(doc)-4], checksumOf(doc[:len(doc)-4])...)
	f, err := fsys.Create("/data/default/meta/x.doc")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(doc)
	f.Close()
	_, err = Open(t.Context(), Options{Dir: "/data", FS: fsys, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, wal.ErrNewer) || !strings.Contains(problem.Of(err).Hint, "version") {
		t.Errorf("got %v", err)
	}
}
