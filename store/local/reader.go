package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/wal"
)

// refreshEvery is how often a reader looks for a newer manifest: what it costs is a list of at most a few names.
const refreshEvery = 15 * time.Second

// Reader implements store.Engine on what a writer has put into a bucket. It has no spans of its own: Accept and Keep are refused. The folder
// holds a cache and the documents of this process. Answers are those of the writer without what is not in the bucket yet. Use OpenReader.
type Reader struct {
	store.Meta // docs
	answers

	o    Options
	now  func() time.Time
	log  *slog.Logger
	lock io.Closer
	docs *documents
	far  *remote

	refreshing sync.Mutex // one at a time
	mu         sync.Mutex
	gen        *manifest.Generation // what holds
	segments   []*segmentFile       // of it, in the order of receipt
	missing    incomplete           // the rest of it
	damaged    []string             // met by questions
	checked    time.Time
	closed     bool

	wake    chan struct{}
	ctx     context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup
	ended   atomic.Bool
}

var _ store.Engine = (*Reader)(nil)

// OpenReader opens the cache, finds the manifest of o.Bucket and opens what it names. It fails where the bucket cannot be reached or
// read; a bucket in which nobody wrote yet is one without spans.
func OpenReader(ctx context.Context, o Options) (*Reader, error) {
	e := &Reader{o: o, now: o.Now, log: o.Log, wake: make(chan struct{}, 1)}
	if e.now == nil {
		e.now = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.o.FS == nil {
		e.o.FS = faultfs.OS{}
	}
	if e.o.MaxMemory <= 0 {
		e.o.MaxMemory = mem.DefaultMaxBytes
	}
	e.answers.init(e.snapshot, e.now, e.o.MaxMemory, e.o.GatherRows)
	dir := tenantDir(o.Dir)
	if err := wal.MakeFolders(e.o.FS, o.Dir, filepath.Join(dir, metaDir), filepath.Join(dir, cacheDir)); err != nil {
		return nil, wal.FolderProblem(o.Dir, err)
	}
	lock, err := wal.LockFolder(ctx, e.o.FS, o.Dir, o.LockWait, e.log)
	if err != nil {
		return nil, err
	}
	e.lock = lock
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.open(ctx, dir); err != nil {
		e.stop()
		return nil, errors.Join(err, e.release())
	}
	e.stopped.Go(e.refreshes)
	return e, nil
}

func (e *Reader) open(ctx context.Context, dir string) error {
	if e.o.MaxDisk <= 0 {
		_, total, err := e.o.FS.Space(e.o.Dir)
		if err != nil {
			return fmt.Errorf("size of the volume: %w", err)
		}
		e.o.MaxDisk = total / 5 * 4
	}
	var err error
	if e.docs, err = openDocuments(e.o.FS, filepath.Join(dir, metaDir), mem.NewDocuments(e.o.MaxMemory/documentShare)); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	e.Meta = e.docs
	// There are no memtables: their part of the memory is the cache's.
	e.far, err = newRemote(e.ctx, e.o.FS, filepath.Join(dir, cacheDir), e.o.Bucket, e.now, e.log, e.o.MaxDisk, e.o.MaxMemory/2)
	if err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	e.far.report, e.far.gone = e.damage, e.poke
	if err := e.Refresh(ctx); err != nil {
		return err
	}
	e.log.Info("reading from the bucket; documents and kept traces are not there: those of the process that writes are not seen here", "bucket", e.o.Bucket.String(),
		"generation", e.gen.Number, "segments", len(e.gen.Entries))
	return nil
}

// poke makes the next look for a newer manifest come now.
func (e *Reader) poke() {
	select {
	case e.wake <- struct{}{}:
	default: // it comes
	}
}

// refreshes looks for newer manifests until the reader is closed.
func (e *Reader) refreshes() {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		case <-e.wake:
		}
		e.pages.tidy()
		err := e.Refresh(e.ctx)
		if err != nil && e.ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			e.log.Warn("no newer manifest could be read from the bucket", "err", err)
		}
	}
}

// Refresh looks for a newer manifest now, and opens what could not be opened before. The reader does so by itself; tests and tools call it.
func (e *Reader) Refresh(ctx context.Context) error {
	e.refreshing.Lock()
	defer e.refreshing.Unlock()
	err := e.refresh(ctx)
	e.far.note(err)
	return err
}

func (e *Reader) refresh(ctx context.Context) error {
	e.mu.Lock()
	was := e.gen
	e.mu.Unlock()
	after := uint64(0)
	if was != nil {
		after = was.Number
	}
	g, err := e.far.newest(ctx, after)
	if err != nil {
		return err
	}
	if g == nil {
		if g = was; g == nil {
			g = &manifest.Generation{}
		}
	}
	e.mu.Lock()
	open := make(map[string]bool)
	for _, f := range e.segments {
		open[f.entry.Object()] = true
	}
	if g == was { // what is damaged there stays so
		for _, u := range e.missing.lost {
			open[u.entry.Object()] = true
		}
	}
	e.mu.Unlock()
	var fresh []manifest.Entry
	holds := make(map[string]bool, len(g.Entries))
	for _, x := range g.Entries {
		holds[x.Object()] = true
		if !open[x.Object()] {
			fresh = append(fresh, x)
		}
	}
	files, later, lost := e.far.openAll(ctx, fresh, e.sides)
	for _, u := range lost {
		e.log.Error("a segment in the bucket cannot be read", "segment", u.entry.Object(), "spans", u.entry.Rows, "err", u.why)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		for _, f := range files {
			f.release()
		}
		return nil
	}
	if g == was {
		e.missing.later, e.missing.lost = later, append(e.missing.lost, lost...)
	} else {
		e.missing = incomplete{later: later, lost: lost}
	}
	e.segments = slices.DeleteFunc(e.segments, func(f *segmentFile) bool {
		if holds[f.entry.Object()] {
			return false
		}
		e.drop(f)
		return true
	})
	for _, f := range files {
		at, _ := slices.BinarySearchFunc(e.segments, f, func(a, b *segmentFile) int { return policy.Less(a.entry, b.entry) })
		e.segments = slices.Insert(e.segments, at, f)
	}
	e.gen, e.checked = g, e.now()
	if len(later) > 0 {
		return later[0].why
	}
	return nil
}

// drop lets go of a segment that holds no more. Who has a snapshot with it goes on reading: the writer removes objects some minutes later.
func (e *Reader) drop(f *segmentFile) {
	e.sides.drop(f)
	e.rolls.drop(f)
	f.release()
}

// damage is told of a segment of which questions met damage.
func (e *Reader) damage(f *segmentFile, err error) {
	text := damagedObject(e.log, f, err)
	e.mu.Lock()
	e.damaged = append(e.damaged, text)
	e.mu.Unlock()
}

func (e *Reader) snapshot() (*snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, answer.Closed()
	}
	s := &snapshot{segments: slices.Clone(e.segments)}
	s.missing, s.away = e.missing.reason()
	return s.hold(), nil
}

func readOnly(what string) error {
	return problem.New(problem.Unsupported, "this process only reads from the bucket (--read-only): "+what, "send it to the one that writes")
}

// Accept implements store.Writer: it refuses.
func (e *Reader) Accept(context.Context, *span.Batch) error { return readOnly("it takes no spans") }

// Keep implements store.Keeper: it refuses.
func (e *Reader) Keep(context.Context, store.Scope, span.TraceID, int64) error {
	return readOnly("it keeps no traces")
}

// Can says what a reader does.
func (e *Reader) Can() store.Abilities {
	return store.Abilities{CompareAndSet: true, TraceDuration: true, Durable: true}
}

// Stats implements store.Engine.
func (e *Reader) Stats() store.Stats {
	cached := e.far.cache.Stats()
	s := store.Stats{Kind: "local", LimitBytes: e.o.MaxMemory, Bytes: cached.Memory, DiskBytes: cached.Disk + e.docs.bytes()}
	e.mu.Lock()
	defer e.mu.Unlock()
	entries := e.gen.Entries
	s.Oldest = policy.Held(entries)
	for _, x := range entries {
		s.Spans += x.Rows
		s.Traces += x.Traces
	}
	s.Segments = &store.Segments{Files: len(entries), Bytes: policy.Bytes(entries), FullIn: -1, Holds: -1, Hours: hoursOf(entries),
		Questions: e.reads.questions.Load(), Blocks: e.reads.blocks.Load(), Passed: e.reads.passed.Load(), Sides: e.sides.len(), Rollups: e.rolls.held() + e.hours.held()}
	s.Damaged = append(append(append(s.Damaged, e.docs.damaged...), e.damaged...), e.missing.damage()...)
	s.Bucket = &store.BucketStats{ReadOnly: true, Generation: e.gen.Number, Segments: len(entries), Bytes: policy.Bytes(entries), Far: len(entries),
		CheckedAt: unixNano(e.checked)}
	e.far.stats(s.Bucket, cached)
	return s
}

// Close implements store.Engine.
func (e *Reader) Close() error {
	if e.ended.Swap(true) {
		return nil
	}
	e.stop()
	e.stopped.Wait()
	return e.release()
}

func (e *Reader) release() error {
	e.mu.Lock()
	e.closed = true
	for _, f := range e.segments {
		f.release()
	}
	e.segments = nil
	e.mu.Unlock()
	if e.docs != nil {
		e.docs.Documents.Close()
	}
	e.pages.close()
	return e.lock.Close()
}
