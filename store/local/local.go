// Package local is the embedded engine: its own columnar segments under one folder, which one process locks. Files of others are
// left alone.
//
// A batch goes into the log (store/wal) and then into the memtable (internal/table); the sender is answered after both. A memtable
// that is full, or five minutes old, is frozen at a border of the log and written as an immutable segment (internal/segment), which
// the manifest (internal/manifest) makes count; then its log files go. Segments of one hour are joined (internal/compact), and go
// by age and size (internal/policy). Readers take a snapshot of memtables and segments and need no lock after that.
//
// docs/format/ draws the bytes of each file.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/wal"
)

// Options are the settings of an engine. Dir is needed.
type Options struct {
	Dir       string           // the data folder; made if missing
	FS        faultfs.FS       // nil: the operating system's
	MaxMemory int64            // budget of memtables and kept traces; 0: mem.DefaultMaxBytes
	MaxDisk   int64            // of the folder's files; 0: 80 % of the volume
	Retention time.Duration    // age by receipt at which whole hours go; 0: none
	Sync      time.Duration    // how often the log is synced; 0: before every answer
	LockWait  time.Duration    // for another process to release the folder, and for another writer's beat in the bucket; 0: 30 s, negative: not at all
	Bucket    Bucket           // where closed segments are copied to, or a Reader reads; nil: none. See OpenBucket
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: none

	// What follows from the limits above where it is 0; tests set it.
	FileSize    int64 // of a log file
	Reserve     int64 // of the volume, that stays free
	SegmentRows int   // at which a memtable is frozen
	BlockRows   int   // of segments
	GatherRows  int   // of several traces, that a search holds at once
}

const (
	alwaysTick     = time.Second // repairs are looked after in this interval where Sync is 0
	houseworkEvery = time.Minute // retention, compaction and old page tokens are looked after

	segmentRows   = 500_000
	segmentAge    = 5 * time.Minute
	maxMemtable   = 64 << 20
	minMemtable   = 4 << 20
	keepShare     = 4       // of MaxMemory, that kept traces may take
	maxFileSize   = 1 << 30 // of a log file: there is one a memtable
	rowsAtFirst   = 8192    // room of the first memtable
	roomForRows   = 9       // eighths of the memtable before that the next one gets room for
	documentShare = 8       // of MaxMemory, that documents may take: the rest must go on receiving
)

// Engine implements store.Engine. Use Open.
type Engine struct {
	store.Meta // docs
	answers

	o    Options
	now  func() time.Time
	log  *slog.Logger
	fs   faultfs.FS
	lock io.Closer
	wal  *wal.Log
	man  *manifest.Manifest
	docs *documents
	kept *keptTraces
	up   *uploads // nil without a bucket

	maxMem   int64 // of one memtable
	damaged  []string
	replayed int64

	// accepting is held for reading from the log write to the memtable: who has it for writing sees a border of the log.
	accepting sync.RWMutex

	mu       sync.Mutex
	cur      *memtable
	began    time.Time       // of cur's first row
	frozen   *frozenTable    // being written as a segment
	segments []*segmentFile  // oldest first
	broken   []brokenSegment // to be mended
	missing  incomplete      // of the bucket
	lost     []string        // segments set aside since the start, in words
	flushErr error           // why the last attempt to write a segment failed
	flushed  time.Time       // when that was
	tried    chan struct{}   // closed when an attempt ends
	closed   bool
	counts   counts

	tidying   sync.Mutex     // one round of mending and compaction at a time
	unentered []*segmentFile // results of compactions that the manifest could not take. tidying is held
	housework sync.Mutex     // one change of the segments that hold at a time; taken after tidying
	flushing  sync.Mutex     // one segment at a time
	wake      chan struct{}
	flushNow  chan struct{}
	stop      context.CancelFunc
	ctx       context.Context
	stopped   sync.WaitGroup
	ended     atomic.Bool
}

// counts are for Stats.
type counts struct {
	compactions              int64
	duplicates, expiredSpans int64
}

// frozenTable is a memtable on its way to the disk. done is closed when its segment counts.
type frozenTable struct {
	m       *memtable
	through uint64
	made    manifest.Entry // of its segment's file, once that is there
	entry   manifest.Entry // the same, once the manifest has it
	done    chan struct{}
}

var _ store.Engine = (*Engine)(nil)

// Open locks the folder, opens the segments, replays the log behind them and gives an engine that is ready. It waits up to LockWait
// for another process to end. What can't be read is left out, logged and named in Stats; it ends Open only if a newer version
// wrote it.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{o: o, now: o.Now, log: o.Log, fs: o.FS, wake: make(chan struct{}, 1), flushNow: make(chan struct{}, 1), tried: make(chan struct{})}
	if e.now == nil {
		e.now = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.fs == nil {
		e.fs = faultfs.OS{}
	}
	if e.o.MaxMemory <= 0 {
		e.o.MaxMemory = mem.DefaultMaxBytes
	}
	e.answers.init(e.snapshot, e.now, e.o.MaxMemory, e.o.GatherRows)
	if e.o.SegmentRows <= 0 {
		e.o.SegmentRows = segmentRows
	}
	e.maxMem = min(max(e.o.MaxMemory*3/8, minMemtable), maxMemtable) // two of them, and what the next one gets room for
	tenant := tenantDir(o.Dir)
	if err := wal.MakeFolders(e.fs, o.Dir, filepath.Join(tenant, logDir), filepath.Join(tenant, keptDir), filepath.Join(tenant, metaDir), filepath.Join(tenant, segDir)); err != nil {
		return nil, wal.FolderProblem(o.Dir, err)
	}
	lock, err := wal.LockFolder(ctx, e.fs, o.Dir, o.LockWait, e.log)
	if err != nil {
		return nil, err
	}
	e.lock = lock
	e.wake <- struct{}{} // what got old while nobody ran
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.recover(ctx); err != nil {
		e.stop()
		return nil, errors.Join(err, e.release())
	}
	e.stopped.Go(e.ticks)
	e.stopped.Go(e.tidies)
	e.stopped.Go(e.flushes)
	if e.up != nil {
		e.stopped.Go(e.uploadOn)
		e.stopped.Go(e.beatOn)
	}
	return e, nil
}

// recover reads everything the folder holds.
func (e *Engine) recover(ctx context.Context) error {
	began := time.Now()
	dir := tenantDir(e.o.Dir)
	e.cur = newMemtable(rowsAtFirst)
	inMemory := mem.NewDocuments(e.o.MaxMemory / documentShare)
	var err error
	if e.docs, err = openDocuments(e.fs, filepath.Join(dir, metaDir), inMemory); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	e.Meta = e.docs
	e.damaged = append(e.damaged, e.docs.damaged...)
	if err := e.openSegments(); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	if e.kept, err = openKept(e.fs, filepath.Join(dir, keptDir), e.now); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	e.damaged = append(e.damaged, e.kept.damaged...)
	if e.o.Bucket != nil {
		if err := e.attach(ctx); err != nil {
			return err
		}
	} else if id, err := e.readIdentity(); err == nil && id.Bucket != "" {
		e.log.Warn("this folder has segments in a bucket, which are not read without --bucket", "bucket", id.Bucket)
	}
	for _, d := range e.damaged {
		e.log.Error("data folder is damaged", "what", d, "hint", "spanloom fsck tells more")
	}
	o, err := e.logOptions()
	if err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	if e.wal, err = wal.Open(ctx, o, func(b *span.Batch, sequence uint64) error { return e.replay(ctx, b, sequence) }); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	if err := e.kept.settle(ctx, e); err != nil {
		return wal.FolderProblem(e.o.Dir, err)
	}
	if through := e.man.Through(); through > 0 {
		if _, err := e.wal.DropBefore(through+1, 0); err != nil {
			e.log.Warn("old log files could not be removed", "err", err)
		}
	}
	e.limitLog()
	s := e.wal.Stats()
	e.log.Info("store recovered", "segments", len(e.segments), "replayed", e.replayed, "bytes", s.Bytes, "files", s.Files,
		"damaged", len(s.Damage)+len(e.damaged), "took", time.Since(began))
	return nil
}

// replay puts a frame's rows into the memtable. One that fills up on the way is written as a segment before replay goes on.
func (e *Engine) replay(ctx context.Context, b *span.Batch, sequence uint64) error {
	if e.o.Retention > 0 && b.Received < e.now().Add(-e.o.Retention).UnixNano() {
		return nil
	}
	// The log holds what two memtables did. They are joined, and written when the engine runs: a start is not to wait for it.
	if rows, used := e.cur.size(); rows >= 2*e.o.SegmentRows || used >= 2*e.maxMem || !e.cur.fits(b) {
		if err := e.replayRoom(ctx, b); err != nil {
			return err
		}
	}
	e.replayed += int64(b.Len())
	e.cur.add(b, sequence)
	e.began = e.now()
	return nil
}

// replayRoom writes the memtable as a segment. Where that fails, on a full disk for one, what was in memory before the restart still is in
// the log and fits again: it stays frozen, questions are answered, and it is written when the disk lets it.
func (e *Engine) replayRoom(ctx context.Context, b *span.Batch) error {
	if e.frozen != nil {
		if err := e.flush(ctx); err != nil {
			// Other borders than before the restart may make the second one a little larger.
			if rows, used := e.cur.size(); ctx.Err() == nil && rows < 3*e.o.SegmentRows && used < 3*e.maxMem && e.cur.fits(b) {
				return nil
			}
			return err
		}
	}
	rows, _ := e.cur.size()
	e.frozen = &frozenTable{m: e.cur, through: e.cur.last, done: make(chan struct{})}
	e.cur = newMemtable(rows)
	if err := e.flush(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		e.log.Warn("a segment of replayed spans could not be written; it stays in memory", "err", err)
	}
	return nil
}

// logOptions derives the log's settings from the limits.
func (e *Engine) logOptions() (wal.Options, error) {
	o := wal.Options{FS: e.fs, Dir: filepath.Join(tenantDir(e.o.Dir), logDir), Now: e.now, Log: e.log, FileSize: e.o.FileSize, Reserve: e.o.Reserve,
		After: e.man.Through()}
	if e.o.Sync <= 0 {
		o.Mode = wal.Always
	}
	_, total, err := e.fs.Space(e.o.Dir)
	if err != nil {
		return o, fmt.Errorf("size of the volume: %w", err)
	}
	if e.o.MaxDisk <= 0 {
		e.o.MaxDisk = total / 5 * 4
	}
	if o.FileSize == 0 {
		o.FileSize = maxFileSize
	}
	if o.Reserve == 0 {
		o.Reserve = wal.Reserve(total)
	}
	e.o.Reserve = o.Reserve
	o.FileAge = math.MaxInt64 // a memtable ends its file
	o.MaxBytes = e.o.MaxDisk
	return o, nil
}

// Accept implements store.Writer. A batch is in the log before it is in memory, so it may come back after a crash though its
// sender never had an answer. It waits while two memtables are full: one is being written then.
// Cost: about 1 µs a span for the log (encoding, compression, a share of a write) and 1 µs for the memtable.
func (e *Engine) Accept(ctx context.Context, b *span.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.acceptable(b); err != nil {
		return err
	}
	if b.Len() == 0 {
		return nil
	}
	if err := e.makeRoom(ctx, b); err != nil {
		return err
	}
	err := e.append(b)
	if errors.Is(err, wal.ErrFull) {
		if freeErr := e.free(ctx); freeErr != nil {
			return errors.Join(err, freeErr)
		}
		err = e.append(b)
	}
	return err
}

// append puts a batch into the log and the memtable.
func (e *Engine) append(b *span.Batch) error {
	e.accepting.RLock()
	defer e.accepting.RUnlock()
	t, err := e.wal.Append(b)
	if err != nil {
		return err
	}
	defer e.wal.Done(t)
	e.mu.Lock()
	m := e.cur
	if rows, _ := m.size(); rows == 0 {
		e.began = e.now()
	}
	e.mu.Unlock()
	m.add(b, t.Sequence)
	return nil
}

// acceptable refuses what no memtable would hold, before it is in the log.
func (e *Engine) acceptable(b *span.Batch) error {
	if b.Tenant != "" && b.Tenant != store.DefaultTenant {
		return &problem.Problem{Kind: problem.Unsupported, Field: "tenant", Message: fmt.Sprintf("tenant %q: this engine has no tenants", b.Tenant),
			Hint: "leave the tenant out"}
	}
	if size := int64(b.Size()); size > e.o.MaxMemory/4*3 {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d bytes does not fit into the memory budget of %d", size, e.o.MaxMemory),
			"send fewer spans in a request or raise --max-memory")
	}
	return nil
}

// Can says what local does.
func (e *Engine) Can() store.Abilities {
	return store.Abilities{CompareAndSet: true, Keep: true, TraceDuration: true, Durable: true}
}

// ticks makes the log durable and mends it until the engine is closed. Nothing else does it, so that nothing slow delays it.
func (e *Engine) ticks() {
	every := e.o.Sync
	if every <= 0 {
		every = alwaysTick
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last string
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
			last = e.logNew("log is not durable now", e.wal.Tick(), last)
		}
	}
}

// tidies does the housework until the engine is closed.
func (e *Engine) tidies() {
	every := time.NewTicker(houseworkEvery)
	defer every.Stop()
	var last string
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-every.C:
		case <-e.wake:
		}
		last = e.logNew("housework", e.tidy(), last)
	}
}

// logNew logs an error that is not the last one again.
func (e *Engine) logNew(what string, err error, last string) string {
	if err == nil || errors.Is(err, context.Canceled) {
		return last
	}
	if text := err.Error(); text != last {
		e.log.Warn(what, "err", err)
		return text
	}
	return last
}

// Close makes the log durable and releases the folder. What is in the memtable is replayed at the next start.
func (e *Engine) Close() error {
	if e.ended.Swap(true) {
		return nil
	}
	if e.up != nil {
		e.finish()
	}
	e.stop()
	e.stopped.Wait()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.release()
}

// release lets go of whatever was opened so far.
func (e *Engine) release() error {
	var errs []error
	if e.wal != nil {
		errs = append(errs, e.wal.Close())
	}
	if e.man != nil {
		errs = append(errs, e.man.Close())
	}
	if e.docs != nil {
		e.docs.Documents.Close()
	}
	if e.pages != nil {
		e.pages.close()
	}
	e.mu.Lock()
	for _, f := range e.segments {
		f.release()
	}
	e.segments, e.cur, e.frozen = nil, newMemtable(0), nil
	e.mu.Unlock()
	return errors.Join(append(errs, e.lock.Close())...)
}
