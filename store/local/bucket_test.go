package local

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/s3server"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// bucketAt opens a bucket by its address.
func bucketAt(t testing.TB, address string) Bucket {
	t.Helper()
	b, err := OpenBucket(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func folderBucket(t testing.TB) (Bucket, string) {
	dir := t.TempDir()
	return bucketAt(t, "file://"+dir), dir
}

func openReader(t testing.TB, o Options) *Reader {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "/reader"
	}
	if o.FS == nil {
		o.FS = faultfs.NewMem(2)
	}
	if o.Now == nil {
		o.Now = newClock().Now
	}
	o.LockWait = -1
	e, err := OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// pair is a writer and a reader over one bucket as one engine: spans go to the writer, questions to the reader once it sees them. Documents
// and kept traces are the writer's.
type pair struct {
	*Engine
	reader *Reader
	mu     sync.Mutex
	dirty  atomic.Bool
}

func (p *pair) Accept(ctx context.Context, b *span.Batch) error {
	err := p.Engine.Accept(ctx, b)
	p.dirty.Store(true)
	return err
}

// sees makes the reader see all that was accepted.
func (p *pair) sees() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dirty.Swap(false) || p.ended.Load() {
		return nil
	}
	for _, step := range []func(context.Context) error{p.Engine.Flush, p.Engine.Upload, p.reader.Refresh} {
		if err := step(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func failing[V any](err error) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		var none V
		yield(none, err)
	}
}

func (p *pair) Trace(ctx context.Context, s store.Scope, id span.TraceID, r store.TimeRange) iter.Seq2[*span.Batch, error] {
	if err := p.sees(); err != nil {
		return failing[*span.Batch](err)
	}
	return p.reader.Trace(ctx, s, id, r)
}

func (p *pair) Traces(ctx context.Context, s store.Scope, ids []span.TraceID, r store.TimeRange, n store.Need) iter.Seq2[*span.Batch, error] {
	if err := p.sees(); err != nil {
		return failing[*span.Batch](err)
	}
	return p.reader.Traces(ctx, s, ids, r, n)
}

func (p *pair) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	if err := p.sees(); err != nil {
		return failing[store.Rows](err)
	}
	return p.reader.Scan(ctx, s, q)
}

func (p *pair) Search(ctx context.Context, s store.Scope, q *store.Search) (*store.Page, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	return p.reader.Search(ctx, s, q)
}

func (p *pair) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	if err := p.sees(); err != nil {
		return nil, store.Done{}, err
	}
	return p.reader.Services(ctx, s, r)
}

func (p *pair) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	if err := p.sees(); err != nil {
		return nil, store.Done{}, err
	}
	return p.reader.Operations(ctx, s, service, r)
}

func (p *pair) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	if err := p.sees(); err != nil {
		return nil, store.Done{}, err
	}
	return p.reader.Keys(ctx, s, q)
}

func (p *pair) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	if err := p.sees(); err != nil {
		return nil, store.Done{}, err
	}
	return p.reader.Values(ctx, s, q)
}

func (p *pair) Close() error {
	if err := p.Engine.Close(); err != nil {
		return err
	}
	return p.reader.Close()
}

func bucketConformance(t *testing.T, address func(t *testing.T) string, o Options) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
		o := o
		o.Bucket = bucketAt(t, address(t))
		o.MaxMemory, o.Now, o.Sync = 512<<20, now, time.Second
		reader := o
		o.FS = faultfs.NewMem(1)
		return &pair{Engine: open(t, o), reader: openReader(t, reader)}
	})
}

// TestBucketConformance runs the suite on a writer that is given spans and a reader that is asked, over one bucket.
func TestBucketConformance(t *testing.T) {
	for name, o := range map[string]Options{"large": {}, "small": {SegmentRows: 40, BlockRows: 16, GatherRows: 3}} {
		t.Run(name, func(t *testing.T) {
			bucketConformance(t, func(t *testing.T) string { return "file://" + t.TempDir() }, o)
		})
	}
}

func TestS3Conformance(t *testing.T) {
	s := s3server.Start(t)
	n := 0
	bucketConformance(t, func(*testing.T) string { n++; return s.URL(fmt.Sprint("suite/", n)) }, Options{SegmentRows: 400, BlockRows: 64})
}

// fill accepts numbered batches and uploads them.
func fill(t testing.TB, e *Engine, now time.Time, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := e.Accept(t.Context(), numbered(n, now)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func upload(t testing.TB, e *Engine) {
	t.Helper()
	if err := e.Upload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func refresh(t testing.TB, r *Reader) {
	t.Helper()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// rowsOf counts the rows of each numbered batch that an engine answers.
func rowsOf(t testing.TB, e store.Engine) map[int]int {
	t.Helper()
	got := make(map[int]int)
	for r, err := range e.Scan(t.Context(), defaultScope(), &store.Scan{Need: store.Everything()}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			got[int(r.Batch.TraceID[row].Low())-1]++
		}
	}
	return got
}

func wantBatches(t testing.TB, what string, e store.Engine, n int) {
	t.Helper()
	got := rowsOf(t, e)
	for i := range n {
		if got[i] != rows {
			t.Fatalf("%s: batch %d has %d rows; %+v", what, i, got[i], e.Stats().Bucket)
		}
	}
	if len(got) != n {
		t.Fatalf("%s: %d batches, want %d", what, len(got), n)
	}
}

// objects lists the files of a folder bucket.
func objects(t testing.TB, dir, prefix string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, prefix), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// TestTakeOver: a machine is lost, an empty folder on another one goes on with what is in the bucket.
func TestTakeOver(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	o := Options{Dir: "/data", Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: 60 * time.Millisecond}
	e := open(t, o)
	fill(t, e, c.Now(), 0, 5)
	upload(t, e)
	fill(t, e, c.Now(), 5, 10)
	upload(t, e)
	if s := e.Stats().Bucket; s.Segments != 2 || s.WaitingSegments != 0 || s.Since != 0 || s.Uploads != 2 || s.Far != 0 {
		t.Errorf("%+v", s)
	}
	if err := e.Accept(t.Context(), numbered(10, c.Now())); err != nil { // never uploaded
		t.Fatal(err)
	}
	if s := e.Stats().Bucket; s.Since != c.Now().UnixNano() {
		t.Errorf("since %d", s.Since)
	}
	abandon(e)

	other := o
	other.FS = faultfs.NewMem(3)
	e2 := open(t, other)
	wantBatches(t, "after the take-over", e2, 10)
	if s := e2.Stats(); s.Bucket.Far != 2 || s.Segments.Files != 0 || s.Spans != 10*rows {
		t.Errorf("%+v %+v", s, s.Bucket)
	}
	fill(t, e2, c.Now(), 10, 15)
	upload(t, e2)
	wantBatches(t, "and on", e2, 15)
	wantBatches(t, "a reader", openReader(t, Options{Bucket: b}), 15)
	mustClose(t, e2)
	wantBatches(t, "after a restart", open(t, other), 15)

	// The first machine comes back with a span of its own.
	if _, err := Open(t.Context(), o); problem.Of(err).Kind != problem.Invalid || !strings.Contains(err.Error(), "spans") {
		t.Errorf("a folder that went apart was let in: %v", err)
	}
}

// TestTakeOverWithBackup: documents and kept traces are not in the bucket. A copy of their folders beside an empty one brings them back on another machine,
// also after their segments went by age.
func TestTakeOverWithBackup(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	lost := t.TempDir()
	o := Options{Dir: lost, Bucket: b, Now: c.Now, LockWait: -1, Retention: 5 * time.Hour}
	e := open(t, o)
	fill(t, e, c.Now(), 0, 3)
	if err := e.Keep(t.Context(), defaultScope(), traceOf(1), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Save(t.Context(), defaultScope(), "colours", []byte("green"), 0); err != nil {
		t.Fatal(err)
	}
	upload(t, e)
	mustClose(t, e)

	for _, backup := range []bool{false, true} {
		o.Dir = t.TempDir()
		for _, name := range []string{keptDir, metaDir} {
			if !backup {
				break
			}
			if err := os.CopyFS(filepath.Join(tenantDir(o.Dir), name), os.DirFS(filepath.Join(tenantDir(lost), name))); err != nil {
				t.Fatal(err)
			}
		}
		e = open(t, o)
		wantBatches(t, "after the take-over", e, 3)
		if doc, err := e.Load(t.Context(), defaultScope(), "colours"); err != nil || (string(doc.Data) == "green") != backup {
			t.Errorf("backup %v: the document is %q, %v", backup, doc.Data, err)
		}
		if backup {
			c.Add(7 * time.Hour)
			if err := e.tidy(); err != nil {
				t.Fatal(err)
			}
			if got := rowsOf(t, e); len(got) != 1 || got[1] != rows {
				t.Errorf("when the segments have gone: %v, want the kept trace", got)
			}
		}
		mustClose(t, e)
	}
}

// abandon ends an engine as a kill does: nothing is uploaded, nothing released.
func abandon(e *Engine) {
	e.up.mu.Lock()
	e.up.lost = "abandoned by its test"
	e.up.mu.Unlock()
	e.Close()
}

// TestOneWriter: who finds another one's beat does not start; who is overtaken stops.
func TestOneWriter(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	wait := 90 * time.Millisecond
	first := open(t, Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: wait})
	fill(t, first, c.Now(), 0, 3)
	upload(t, first)
	_, err := Open(t.Context(), Options{Dir: "/data", Bucket: b, Now: c.Now, FS: faultfs.NewMem(2), LockWait: 10 * wait})
	if p := problem.Of(err); p.Kind != problem.Invalid || !strings.Contains(p.Message, fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("a second writer: %v", err)
	}
	if _, err = Open(t.Context(), Options{Dir: "/data", Bucket: b, Now: c.Now, FS: faultfs.NewMem(2), LockWait: -1}); problem.Of(err).Kind != problem.Invalid {
		t.Fatalf("a second writer that does not wait: %v", err)
	}
	// The first one's beat is not seen by the second: as if it had been cut off.
	if err := first.up.sendBeat(t.Context(), c.Now(), true); err != nil {
		t.Fatal(err)
	}
	first.up.mu.Lock()
	first.up.claimed = false // no further beat
	first.up.mu.Unlock()
	second := open(t, Options{Dir: "/data", Bucket: b, Now: c.Now, FS: faultfs.NewMem(2), LockWait: wait})
	first.up.mu.Lock()
	first.up.claimed = true
	first.up.mu.Unlock()
	fill(t, first, c.Now(), 3, 4)
	if err := first.Upload(t.Context()); problem.Of(err).Kind != problem.Invalid {
		t.Errorf("the first one still uploads: %v", err)
	}
	if s := first.Stats().Bucket; s.Lost == "" {
		t.Errorf("%+v", s)
	}
	wantBatches(t, "what the first one has", first, 4)
	fill(t, second, c.Now(), 3, 6)
	upload(t, second)
	wantBatches(t, "a reader", openReader(t, Options{Bucket: b}), 6)
	mustClose(t, first)
	if h, ok, err := second.up.readBeat(t.Context()); err != nil || !ok || h.Released || h.Owner != second.up.owner.String() {
		t.Errorf("the first one's end released the bucket: %+v %v", h, err)
	}
}

// TestCleanHandOver: after an orderly end nothing is watched, nothing lost, and the first folder may come back.
func TestCleanHandOver(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	a := Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), LockWait: -1}
	e := open(t, a)
	fill(t, e, c.Now(), 0, 3)
	if err := e.Accept(t.Context(), numbered(3, c.Now())); err != nil { // in memory: Close uploads it
		t.Fatal(err)
	}
	mustClose(t, e)
	other := a
	other.FS = faultfs.NewMem(2)
	e = open(t, other)
	wantBatches(t, "the next writer", e, 4)
	fill(t, e, c.Now(), 4, 6)
	mustClose(t, e)
	e = open(t, a)
	wantBatches(t, "the first folder again", e, 6)
	fill(t, e, c.Now(), 6, 7)
	mustClose(t, e)
	wantBatches(t, "a reader", openReader(t, Options{Bucket: b}), 7)
}

// TestBucketRetention: compaction and retention reach the bucket; objects go some minutes later, and readers do not notice.
func TestBucketRetention(t *testing.T) {
	b, dir := folderBucket(t)
	c := newClock()
	e := open(t, Options{Bucket: b, Now: c.Now, FS: faultfs.NewMem(1), Retention: 5 * time.Hour, LockWait: -1})
	e.tidying.Lock() // the eight are uploaded before they are joined
	for n := range 8 {
		fill(t, e, c.Now(), n, n+1)
	}
	upload(t, e)
	e.tidying.Unlock()
	r := openReader(t, Options{Bucket: b, Now: c.Now})
	snap, err := r.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.release()
	c.Add(2 * time.Hour)
	if err := e.tidy(); err != nil { // joins the eight
		t.Fatal(err)
	}
	upload(t, e)
	if s := e.Stats().Bucket; s.Segments != 1 || s.WaitingSegments != 0 {
		t.Errorf("after the compaction: %+v", s)
	}
	if n := len(objects(t, dir, "seg")); n != 9 {
		t.Errorf("%d objects, want the inputs and the result", n)
	}
	wantBatches(t, "the reader before it looks", r, 8)
	refresh(t, r)
	wantBatches(t, "the reader after it looked", r, 8)
	if s := r.Stats().Bucket; s.Segments != 1 || !s.ReadOnly {
		t.Errorf("%+v", s)
	}
	c.Add(retireAfter)
	upload(t, e)
	if n := len(objects(t, dir, "seg")); n != 1 {
		t.Errorf("%d objects after %v, want 1", n, retireAfter)
	}
	// Who still holds the old snapshot is told to ask again.
	r.far.cache.Keep(func(string) bool { return false })
	_, err = snap.gatherOnce(t.Context(), []span.TraceID{traceOf(3)}, store.Everything())
	if p := problem.Of(err); err == nil || p.Kind != problem.Unavailable || !strings.Contains(p.Hint, "ask again") {
		t.Errorf("an object that is gone: %v", err)
	}
	c.Add(6 * time.Hour)
	fill(t, e, c.Now(), 8, 9)
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	upload(t, e)
	c.Add(retireAfter)
	upload(t, e)
	if n := len(objects(t, dir, "seg")); n != 1 {
		t.Errorf("%d objects after the retention, want the new one", n)
	}
	refresh(t, r)
	if got := rowsOf(t, r); len(got) != 1 || got[8] != rows {
		t.Errorf("the reader has %v", got)
	}
	if n := len(objects(t, dir, "manifest")); n > oldGenerations {
		t.Errorf("%d generations are left", n)
	}
}

// TestDiskLimitWithBucket: the oldest segments leave the disk once they are in the bucket, and are read from there, also after a restart.
func TestDiskLimitWithBucket(t *testing.T) {
	b, _ := folderBucket(t)
	c := newClock()
	fsys := faultfs.NewMem(1)
	o := Options{Bucket: b, Now: c.Now, FS: fsys, LockWait: -1, MaxDisk: 400_000}
	e := open(t, o)
	const batches = 120
	for n := range batches {
		fill(t, e, c.Now(), n, n+1)
		if n%10 == 9 {
			upload(t, e)
			if err := e.tidy(); err != nil {
				t.Fatal(err)
			}
		}
		if n%40 == 39 {
			c.Add(time.Hour)
		}
	}
	s := e.Stats()
	if s.Bucket.Far == 0 {
		o.MaxDisk = policyBytes(e) / 2
	}
	mustClose(t, e)
	e = open(t, o)
	if err := e.tidy(); err != nil {
		t.Fatal(err)
	}
	s = e.Stats()
	if s.Bucket.Far == 0 || s.EvictedSpans != 0 {
		t.Errorf("%+v, %d spans evicted", s.Bucket, s.EvictedSpans)
	}
	wantBatches(t, "near and far", e, batches)
	mustClose(t, e)
	e = open(t, o)
	wantBatches(t, "after the restart", e, batches)
	if got := e.Stats().Bucket.Far; got < s.Bucket.Far {
		t.Errorf("%d far, %d before the restart", got, s.Bucket.Far)
	}
	upload(t, e)
	wantBatches(t, "a reader", openReader(t, Options{Bucket: b}), batches)
}

func policyBytes(e *Engine) (n int64) {
	for _, x := range e.localEntries() {
		n += x.Bytes
	}
	return n
}
