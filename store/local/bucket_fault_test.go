package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/s3server"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/bucket"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

// faulty is a bucket of which chosen calls fail: before they reach it, or after they did.
type faulty struct {
	Bucket
	rule atomic.Pointer[func(op, name string) (before, after error)]
}

func (f *faulty) set(rule func(op, name string) (before, after error)) {
	if rule == nil {
		f.rule.Store(nil)
		return
	}
	f.rule.Store(&rule)
}

func (f *faulty) do(op, name string, call func() error) error {
	var before, after error
	if r := f.rule.Load(); r != nil {
		before, after = (*r)(op, name)
	}
	if before != nil {
		return before
	}
	return errors.Join(call(), after)
}

func (f *faulty) Read(ctx context.Context, name string, off int64, n int) (p []byte, err error) {
	err = f.do("read", name, func() error { p, err = f.Bucket.Read(ctx, name, off, n); return err })
	return p, err
}

func (f *faulty) Put(ctx context.Context, name string, data bucket.Content) error {
	return f.do("put", name, func() error { return f.Bucket.Put(ctx, name, data) })
}

func (f *faulty) Create(ctx context.Context, name string, data []byte) error {
	return f.do("create", name, func() error { return f.Bucket.Create(ctx, name, data) })
}

func (f *faulty) List(ctx context.Context, prefix, after string) (names []string, err error) {
	err = f.do("list", prefix, func() error { names, err = f.Bucket.List(ctx, prefix, after); return err })
	return names, err
}

func (f *faulty) Remove(ctx context.Context, name string) error {
	return f.do("remove", name, func() error { return f.Bucket.Remove(ctx, name) })
}

func (f *faulty) Sweep(ctx context.Context, prefix string) (removed int, err error) {
	err = f.do("sweep", prefix, func() error { removed, err = f.Bucket.Sweep(ctx, prefix); return err })
	return removed, err
}

var errAway = errors.New("injected: no route to host")

func away(string, string) (error, error) { return errAway, nil }

// TestEveryCallFails fails one call of an upload after the other, before and after it reached the bucket, and lets the machine be lost there: what
// a reader sees is what was there before or all of it, and the next attempt ends well.
func TestEveryCallFails(t *testing.T) {
	for _, late := range []bool{false, true} {
		for fail := 0; ; fail++ {
			b, _ := folderBucket(t)
			f := &faulty{Bucket: b}
			c := newClock()
			o := Options{Dir: "/data", Bucket: f, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1}
			e := open(t, o)
			fill(t, e, c.Now(), 0, 2)
			upload(t, e)
			e.up.round.Lock() // nothing is uploaded until all is there
			fill(t, e, c.Now(), 2, 3)
			fill(t, e, c.Now(), 3, 4)
			var mu sync.Mutex // segments are uploaded two at a time
			calls := 0
			var hit string
			f.set(func(op, name string) (error, error) {
				if name == ownerObject {
					return nil, nil
				}
				mu.Lock()
				defer mu.Unlock()
				calls++
				if calls-1 != fail {
					return nil, nil
				}
				hit = op + " " + name
				if late {
					return nil, errAway
				}
				return errAway, nil
			})
			err := e.upload(t.Context())
			f.set(nil)
			what := fmt.Sprintf("call %d (%s), late %v", fail, hit, late)
			if hit == "" {
				e.up.round.Unlock()
				if fail < 3 {
					t.Fatalf("%d calls only", fail)
				}
				break
			}
			if err == nil && !strings.HasPrefix(hit, "remove") {
				t.Errorf("%s: no error", what)
			}
			r := openReader(t, Options{Bucket: b})
			if n := len(rowsOf(t, r)); n < 2 {
				t.Errorf("%s: a reader sees %d batches", what, n)
			}
			if err := e.upload(t.Context()); err != nil {
				t.Errorf("%s: the next attempt: %v", what, err)
			}
			e.up.round.Unlock()
			refresh(t, r)
			wantBatches(t, what, r, 4)
			mustClose(t, e)
		}
	}
}

// TestBucketAway: spans are taken and answered, nothing that is only here goes by size, and all is there when the bucket is back.
func TestBucketAway(t *testing.T) {
	b, dir := folderBucket(t)
	f := &faulty{Bucket: b}
	c := newClock()
	fsys := faultfs.NewMem(1)
	o := Options{Dir: "/data", Bucket: f, Now: c.Now, FS: fsys, LockWait: -1, MaxDisk: 30_000}
	e := open(t, o)
	fill(t, e, c.Now(), 0, 10)
	upload(t, e)
	f.set(away)
	c.Add(time.Minute)                            // what is newest is here
	if err := e.Upload(t.Context()); err != nil { // there is nothing to do
		t.Error(err)
	}
	accepted := 10
	for ; accepted < 2000; accepted++ {
		if err := e.Accept(t.Context(), numbered(accepted, c.Now())); err != nil {
			if p := problem.Of(err); p.Kind != problem.Unavailable {
				t.Fatalf("batch %d: %v", accepted, err)
			}
			break
		}
		if accepted%10 == 9 {
			if err := e.Flush(t.Context()); err != nil {
				break
			}
			if err := e.tidy(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if accepted == 2000 {
		t.Fatalf("the disk was never full: %+v %+v", e.Stats(), e.Stats().Segments)
	}
	if err := e.Upload(t.Context()); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("upload: %v", err)
	}
	s := e.Stats()
	if s.EvictedSpans != 0 || s.Bucket.LastError == "" || s.Bucket.WaitingSegments == 0 || s.Bucket.Failures == 0 {
		t.Errorf("%+v, %d evicted", s.Bucket, s.EvictedSpans)
	}
	// Acknowledged is what Accept took; the last one may have failed in Flush behind it.
	for n := 10; n < accepted; n++ {
		got := 0
		for b, err := range e.Trace(t.Context(), defaultScope(), traceOf(n), store.TimeRange{}) {
			if err != nil {
				t.Fatalf("batch %d while the bucket is away: %v", n, err)
			}
			got += b.Len()
		}
		if got != rows {
			t.Fatalf("batch %d has %d rows while the bucket is away", n, got)
		}
	}
	// A restart without the bucket.
	abandon(e)
	if _, err := Open(t.Context(), Options{Dir: "/data", Bucket: f, Now: c.Now, FS: faultfs.NewMem(9), LockWait: -1}); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("an empty folder without its bucket: %v", err)
	}
	if _, err := OpenReader(t.Context(), Options{Dir: "/r", Bucket: f, Now: c.Now, FS: faultfs.NewMem(9), LockWait: -1}); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("a reader without its bucket: %v", err)
	}
	e = open(t, o)
	if p, err := e.Search(t.Context(), defaultScope(), &store.Search{Limit: 5}); err != nil || len(p.Traces) != 5 {
		t.Errorf("search without the bucket: %+v, %v", p, err)
	}
	f.set(nil)
	upload(t, e)
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	for n, got := range rowsOf(t, e) {
		if got != rows {
			t.Fatalf("batch %d has %d rows", n, got)
		}
	}
	if err := e.Accept(t.Context(), numbered(5000, c.Now())); err != nil {
		t.Errorf("senders are still refused: %v", err)
	}
	_ = dir
}

// TestLeftovers: halves of files and generations that could not be removed are there until a start can tidy, and harm nobody meanwhile.
func TestLeftovers(t *testing.T) {
	b, dir := folderBucket(t)
	f := &faulty{Bucket: b}
	c := newClock()
	o := Options{Dir: "/data", Bucket: f, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1}
	e := open(t, o)
	f.set(func(op, name string) (error, error) {
		if op == "sweep" || op == "remove" {
			return errAway, nil
		}
		return nil, nil
	})
	const uploads = oldGenerations + 4
	for n := range uploads {
		fill(t, e, c.Now(), n, n+1)
		upload(t, e)
	}
	half := filepath.Join(filepath.Dir(objects(t, dir, "seg")[0]), "half.seg.123.tmp")
	if err := os.WriteFile(half, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, dir, "manifest")); n <= oldGenerations {
		t.Fatalf("%d generations: nothing to tidy", n)
	}
	wantBatches(t, "a reader before", openReader(t, Options{Bucket: b}), uploads)
	abandon(e)
	f.set(nil)
	e = open(t, o)
	upload(t, e)
	if n := len(objects(t, dir, "manifest")); n != oldGenerations {
		t.Errorf("%d generations, want %d", n, oldGenerations)
	}
	for _, name := range objects(t, dir, "seg") {
		if name == half {
			t.Error("the half of a file is still there")
		}
	}
	wantBatches(t, "a reader after", openReader(t, Options{Bucket: b}), uploads)
}

// TestJoinedWhileUploading: segments are joined between their upload and the generation that would have named them. Their objects go as others do.
func TestJoinedWhileUploading(t *testing.T) {
	b, dir := folderBucket(t)
	f := &faulty{Bucket: b}
	c := newClock()
	e := open(t, Options{Bucket: f, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
	e.tidying.Lock()
	e.up.round.Lock()
	const batches = 8
	for n := range batches {
		fill(t, e, c.Now(), n, n+1)
	}
	e.tidying.Unlock()
	var puts atomic.Int32
	f.set(func(op, name string) (error, error) {
		if strings.HasPrefix(name, manifest.SegmentPrefix) && op == "put" && puts.Add(1) == batches {
			c.Add(2 * time.Hour)
			if err := e.tidy(); err != nil {
				t.Error(err)
			}
		}
		return nil, nil
	})
	if err := e.upload(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.up.round.Unlock()
	if n := len(objects(t, dir, "seg")); n != batches+1 {
		t.Fatalf("%d objects, want %d and the joined one", n, batches)
	}
	c.Add(retireAfter)
	upload(t, e)
	if n := len(objects(t, dir, "seg")); n != 1 {
		t.Errorf("%d objects in the end, want the joined one", n)
	}
	wantBatches(t, "a reader", openReader(t, Options{Bucket: b}), batches)
}

// TestFarIsAway: a question that needs what cannot be fetched says so; what is cached is answered.
func TestFarIsAway(t *testing.T) {
	b, _ := folderBucket(t)
	f := &faulty{Bucket: b}
	c := newClock()
	e := open(t, Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
	for n := range 4 {
		fill(t, e, c.Now(), n, n+1)
	}
	upload(t, e)
	r := openReader(t, Options{Bucket: f})
	trace := func(n int) (rows int, err error) {
		for b, err := range r.Trace(t.Context(), defaultScope(), traceOf(n), store.TimeRange{}) {
			if err != nil {
				return rows, err
			}
			rows += b.Len()
		}
		return rows, nil
	}
	if n, err := trace(2); n != rows || err != nil {
		t.Fatal(n, err)
	}
	f.set(away)
	if n, err := trace(2); n != rows || err != nil {
		t.Errorf("a cached trace: %d rows, %v", n, err)
	}
	if _, err := trace(1); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("a trace that is away: %v", err)
	}
	if _, err := r.Search(t.Context(), defaultScope(), &store.Search{Limit: 10}); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("a search: %v", err)
	}
	if err := r.Refresh(t.Context()); problem.Of(err).Kind != problem.Unavailable || r.Stats().Bucket.LastError == "" {
		t.Errorf("refresh: %v", err)
	}
	// A segment that came while it was away is missing, and answers say so.
	f.set(func(op, name string) (error, error) {
		if strings.HasPrefix(name, "seg/") {
			return errAway, nil
		}
		return nil, nil
	})
	fill(t, e, c.Now(), 4, 5)
	upload(t, e)
	if err := r.Refresh(t.Context()); err == nil {
		t.Error("a segment that cannot be opened is no error")
	}
	if _, done, err := r.Services(t.Context(), defaultScope(), store.TimeRange{}); err == nil && done.Complete {
		t.Error("services are complete")
	}
	if _, err := trace(2); problem.Of(err).Kind != problem.Unavailable {
		t.Errorf("a trace of which a part may be missing: %v", err)
	}
	f.set(nil)
	refresh(t, r)
	wantBatches(t, "when it is back", r, 5)
	if s := r.Stats(); len(s.Damaged) != 0 || s.Bucket.LastError != "" {
		t.Errorf("%v %+v", s.Damaged, s.Bucket)
	}
}

// TestCorruptedObject flips bytes of objects: the spans are missing, answers and Stats say so, and nothing else is wrong.
func TestCorruptedObject(t *testing.T) {
	for _, spoil := range []string{"middle", "footer", "cut", "gone"} {
		t.Run(spoil, func(t *testing.T) {
			b, dir := folderBucket(t)
			c := newClock()
			e := open(t, Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
			fill(t, e, c.Now(), 0, 3)
			upload(t, e)
			bad := objects(t, dir, "seg")[0]
			fill(t, e, c.Now(), 3, 6)
			upload(t, e)
			p, err := os.ReadFile(bad)
			if err != nil {
				t.Fatal(err)
			}
			switch spoil {
			case "middle":
				p[40] ^= 1 // in the first block
			case "footer":
				p[len(p)-40] ^= 1
			case "cut":
				p = p[:len(p)-100]
			}
			if err = os.WriteFile(bad, p, 0o644); spoil == "gone" {
				err = os.Remove(bad)
			}
			if err != nil {
				t.Fatal(err)
			}
			r := openReader(t, Options{Bucket: b})
			page, err := r.Search(t.Context(), defaultScope(), &store.Search{Limit: 10})
			if err != nil || page.Complete || !strings.Contains(page.Reason, "damaged") || len(page.Traces) != 3 {
				t.Errorf("%+v, %v", page, err)
			}
			if s := r.Stats(); len(s.Damaged) != 1 || !strings.Contains(s.Damaged[0], "seg/") {
				t.Errorf("damaged: %q", s.Damaged)
			}
			if got := rowsOf(t, r); len(got) != 3 || got[4] != rows {
				t.Errorf("%v", got)
			}
			wantBatches(t, "the writer", e, 6)
		})
	}
}

// TestDamagedSegmentHeals: a segment that is damaged on the disk is read from the bucket.
func TestDamagedSegmentHeals(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	fsys := faultfs.NewMem(1)
	o := Options{Bucket: b, Now: c.Now, FS: fsys, LockWait: -1}
	e := open(t, o)
	fill(t, e, c.Now(), 0, 5)
	upload(t, e)
	mustClose(t, e)
	if err := fsys.Flip(fsys.Files(manifest.SegmentSuffix)[0], 8*40); err != nil {
		t.Fatal(err)
	}
	e = open(t, o)
	_ = rowsOf(t, e) // meets the damage
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	wantBatches(t, "healed", e, 5)
	if s := e.Stats().Bucket; s.Far != 1 || s.Segments != 1 {
		t.Errorf("%+v", s)
	}
}

// TestWrongManifest: what is no manifest, or a newer one, ends the start.
func TestWrongManifest(t *testing.T) {
	b, dir := folderBucket(t)
	e := open(t, Options{Bucket: b, FS: faultfs.NewMem(1), LockWait: -1})
	fill(t, e, newClock().Now(), 0, 1)
	upload(t, e)
	name := filepath.Join(dir, filepath.FromSlash(manifest.GenerationName(99)))
	if err := os.WriteFile(name, []byte("not a manifest"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(t.Context(), Options{Dir: "/r", Bucket: b, FS: faultfs.NewMem(2), LockWait: -1}); err == nil || !strings.Contains(err.Error(), "manifest/") {
		t.Errorf("%v", err)
	}
}

func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"version":1,"owner":"00","writer":"a","beat":7,"released":true}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		if h, err := parseHeartbeat(p); err == nil && h.Version != 1 {
			t.Fatalf("%+v", h)
		}
	})
}

// The environment of a test binary that uploads until it is killed.
const victimBucket = "SPANLOOM_TEST_VICTIM_BUCKET"

// TestKillWhileUploading kills a writer at random moments, and lets the same folder, then an empty one, go on: every acknowledged batch is in
// the folder, what a reader sees is whole, and what the folder uploads afterwards is all of it.
func TestKillWhileUploading(t *testing.T) {
	killUploads(t, func(t *testing.T) string { return "file://" + t.TempDir() }, 4)
}

func TestS3KillWhileUploading(t *testing.T) {
	s := s3server.Start(t)
	killUploads(t, func(*testing.T) string { return s.URL("killed") }, 6)
}

func killUploads(t *testing.T, address func(*testing.T) string, kills int) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	at := address(t)
	b := bucketAt(t, at)
	dir := filepath.Join(t.TempDir(), "data")
	t.Setenv(victimBucket, at)
	acked, next := map[int]bool{}, 0
	for n := range kills {
		next = killWriter(t, dir, next, r, acked)
		reader := openReader(t, Options{Bucket: b, MaxMemory: 1 << 28})
		for batch, have := range rowsOf(t, reader) {
			if have != rows {
				t.Fatalf("kill %d: a reader sees %d rows of batch %d", n, have, batch)
			}
			next = max(next, batch+1)
		}
		mustCloseReader(t, reader)
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	e := open(t, Options{Dir: dir, Bucket: b, MaxMemory: 1 << 28, LockWait: wait.Scale(5 * time.Second), Now: time.Now})
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	upload(t, e)
	for what, x := range map[string]store.Engine{"writer": e, "reader": openReader(t, Options{Bucket: b, MaxMemory: 1 << 28})} {
		got := rowsOf(t, x)
		for batch := range acked {
			if got[batch] != rows {
				t.Fatalf("%s: batch %d was acknowledged and has %d rows", what, batch, got[batch])
			}
		}
	}
	t.Logf("%d kills, %d batches acknowledged, none lost; %+v", kills, len(acked), e.Stats().Bucket)
	abandon(e)
	empty := open(t, Options{Dir: filepath.Join(t.TempDir(), "other"), Bucket: b, MaxMemory: 1 << 28, LockWait: 60 * time.Millisecond, Now: time.Now})
	got := rowsOf(t, empty)
	for batch := range acked {
		if got[batch] != rows {
			t.Fatalf("after the take-over: batch %d has %d rows", batch, got[batch])
		}
	}
}

func mustCloseReader(t *testing.T, r *Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// killWriter runs one life of a writer and adds what it acknowledged.
func killWriter(t *testing.T, dir string, first int, r *rand.Rand, acked map[int]bool) (next int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), victimDir+"="+dir, victimSync+"=1s", victimFirst+"="+strconv.Itoa(first))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	life := wait.Scale(time.Duration(50+r.IntN(250)) * time.Millisecond)
	next = first
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			time.AfterFunc(life, func() { _ = c.Process.Signal(syscall.SIGKILL) })
			continue
		}
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the victim says %q", lines.Text())
		}
		acked[n] = true
		next = max(next, n+1)
	}
	_ = c.Wait()
	return next + 4 // what its four senders had on the way
}

// proxy passes connections on to a server until it is told to cut them.
type proxy struct {
	net.Listener
	to   string
	mu   sync.Mutex
	cut  bool
	live map[net.Conn]bool
}

func startProxy(t *testing.T, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, live: make(map[net.Conn]bool)}
	go p.run()
	t.Cleanup(func() { l.Close(); p.set(true) })
	return p
}

func (p *proxy) run() {
	for {
		in, err := p.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", p.to)
			p.mu.Lock()
			if err != nil || p.cut {
				p.mu.Unlock()
				return
			}
			p.live[in], p.live[out] = true, true
			p.mu.Unlock()
			defer out.Close()
			go func() { io.Copy(out, in); out.Close() }()
			io.Copy(in, out)
		}()
	}
}

// set cuts all connections and refuses further ones, or ends that.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut = cut; cut {
		for c := range p.live {
			c.Close()
		}
		clear(p.live)
	}
}

// TestS3Cut cuts the connection to S3 again and again while segments are uploaded and read: what comes through is right, and all is there
// at the end.
func TestS3Cut(t *testing.T) {
	s := s3server.Start(t)
	p := startProxy(t, s.Addr)
	direct := bucketAt(t, s.URL("cut"))
	b := bucketAt(t, strings.Replace(s.URL("cut"), s.Addr, p.Addr().String(), 1))
	c := newClock()
	e := open(t, Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1})
	failed := 0
	const rounds = 20
	for n := range rounds {
		fill(t, e, c.Now(), n, n+1)
		if n%3 == 2 {
			p.set(true)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := e.Upload(ctx); err != nil {
				failed++
			}
			cancel()
			p.set(false)
		}
	}
	if failed == 0 {
		t.Error("nothing failed: too easy")
	}
	wait.For(t, 30*time.Second, "an upload to end well", func() bool { return e.Upload(t.Context()) == nil })
	wantBatches(t, "after the cuts", openReader(t, Options{Bucket: direct}), rounds)
	r := openReader(t, Options{Bucket: b, MaxDisk: 1, MaxMemory: 64}) // nothing is cached
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		for cut := true; ; cut = !cut {
			p.set(cut)
			select {
			case <-stop:
				p.set(false)
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	for n := range rounds {
		got := 0
		var failure error
		for batch, err := range r.Trace(t.Context(), defaultScope(), traceOf(n), store.TimeRange{}) {
			if failure = err; err == nil {
				got += batch.Len()
			}
		}
		if failure == nil && got != rows || failure != nil && problem.Of(failure).Kind != problem.Unavailable {
			t.Errorf("trace %d: %d rows, %v", n, got, failure)
		}
	}
	close(stop)
	all.Wait()
	wantBatches(t, "when the line is back", r, rounds)
	if d := r.Stats().Damaged; len(d) != 0 {
		t.Errorf("a cut line is no damage: %q", d)
	}
}
