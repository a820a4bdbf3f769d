// Package local is the embedded engine: spans are readable from memory (store/mem) and safe in a log
// (store/local/internal/wal) that is replayed at the start. Everything lies under one folder, which one process locks;
// docs/format/log.md draws it. Files of others are left alone.
//
// A batch goes into the log first and then into memory; the sender is answered after both. A log file goes when every trace
// in it was evicted from memory, when retention says so, or when the folder would grow beyond its limit, oldest first.
// Kept traces are copied to files of their own, which none of this touches.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/wal"
	"github.com/spanloom/spanloom/store/mem"
)

// Options are the settings of an engine. Dir is needed.
type Options struct {
	Dir       string           // the data folder; made if missing
	FS        faultfs.FS       // nil: the operating system's
	MaxMemory int64            // budget of the spans in memory; 0: mem.DefaultMaxBytes
	MaxDisk   int64            // of the folder's files; 0: 80 % of the volume
	Retention time.Duration    // age at which spans go; 0: none
	Sync      time.Duration    // how often the log is synced; 0: before every answer
	LockWait  time.Duration    // for another process to release the folder; 0: 30 s, negative: not at all
	Now       func() time.Time // nil: time.Now
	Log       *slog.Logger     // nil: none

	// FileSize and Reserve follow from the limits above where they are 0; tests set them.
	FileSize int64 // of a log file
	Reserve  int64 // of the volume, that stays free
}

const (
	defaultLockWait = 30 * time.Second
	alwaysTick      = time.Second // repairs are looked after in this interval where Sync is 0
	houseworkEvery  = time.Minute // old files and traces are looked for
	minFileSize     = 4 << 20
	maxFileSize     = 64 << 20
	minReserve      = 16 << 20
	maxReserve      = 512 << 20
	chunkAge        = time.Hour // rows that close together are let go together
)

// Engine implements store.Engine. Use Open.
type Engine struct {
	store.Reader // mem's
	store.Meta   // docs

	o       Options
	now     func() time.Time
	log     *slog.Logger
	fs      faultfs.FS
	lock    io.Closer
	mem     *mem.Engine
	wal     *wal.Log
	docs    *documents
	kept    *keptTraces
	maxMem  int64
	maxFile int64
	damaged []string // found at the start, the log's excepted

	replayed int64

	housework sync.Mutex // one round at a time
	wake      chan struct{}
	stop      context.CancelFunc
	stopped   sync.WaitGroup
	closed    atomic.Bool
}

var _ store.Engine = (*Engine)(nil)

// Open locks the folder, replays the log and gives an engine that is ready. It waits up to LockWait for another process to
// end. What can't be read is left out, logged and named in Stats; it ends Open only if a newer version wrote it.
func Open(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{o: o, now: o.Now, log: o.Log, fs: o.FS, maxMem: o.MaxMemory, wake: make(chan struct{}, 1)}
	if e.now == nil {
		e.now = time.Now
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.fs == nil {
		e.fs = faultfs.OS{}
	}
	if e.maxMem <= 0 {
		e.maxMem = mem.DefaultMaxBytes
	}
	if err := makeFolders(e.fs, o.Dir); err != nil {
		return nil, folderProblem(o.Dir, err)
	}
	lock, err := lockFolder(ctx, e.fs, o.Dir, o.LockWait, e.log)
	if err != nil {
		return nil, err
	}
	e.lock = lock
	e.wake <- struct{}{} // what got old while nobody ran
	if err := e.recover(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.stopped.Go(func() { e.run(ctx) })
	return e, nil
}

// recover reads everything the folder holds.
func (e *Engine) recover(ctx context.Context) error {
	began := time.Now()
	e.mem = mem.New(mem.Options{MaxBytes: e.maxMem, Now: e.now})
	e.Reader = e.mem
	var err error
	if e.docs, err = openDocuments(e.fs, filepath.Join(tenantDir(e.o.Dir), metaDir), e.mem.Documents); err != nil {
		return folderProblem(e.o.Dir, err)
	}
	if e.kept, err = openKept(ctx, e.fs, filepath.Join(tenantDir(e.o.Dir), keptDir), e.mem, e.now); err != nil {
		return folderProblem(e.o.Dir, err)
	}
	e.Meta = e.docs
	e.damaged = append(e.docs.damaged, e.kept.damaged...)
	for _, d := range e.damaged {
		e.log.Error("data folder is damaged", "what", d, "hint", "spanloom fsck tells more")
	}
	o, err := e.logOptions()
	if err != nil {
		return folderProblem(e.o.Dir, err)
	}
	e.wal, err = wal.Open(ctx, o, func(b *span.Batch, sequence uint64) error { return e.replay(ctx, b, sequence) })
	if err != nil {
		return folderProblem(e.o.Dir, err)
	}
	e.kept.settle(ctx)
	e.limitLog()
	s := e.wal.Stats()
	e.log.Info("log replayed", "spans", e.replayed, "bytes", s.Bytes, "files", s.Files, "damaged", len(s.Damage), "took", time.Since(began))
	return nil
}

// replay puts a frame's rows into memory. A frame that memory does not take (the budget was larger when it was written) is
// no reason not to start.
func (e *Engine) replay(ctx context.Context, b *span.Batch, sequence uint64) error {
	n := int64(b.Len())
	e.kept.dropKnown(b)
	err := e.mem.AcceptSeq(ctx, b, sequence)
	if p := problem.Of(err); err != nil && (p.Kind == problem.TooLarge || p.Kind == problem.Unsupported) {
		e.log.Warn("frame of the log is left out", "sequence", sequence, "spans", n, "err", err)
		return nil
	}
	if err == nil {
		e.replayed += n
	}
	return err
}

// logOptions derives the log's settings from the limits.
func (e *Engine) logOptions() (wal.Options, error) {
	o := wal.Options{FS: e.fs, Dir: filepath.Join(tenantDir(e.o.Dir), logDir), Now: e.now, Log: e.log, FileSize: e.o.FileSize, Reserve: e.o.Reserve}
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
	if o.FileSize == 0 { // memory holds about five times a log's bytes: a file is to be a small part of that
		o.FileSize = min(max(min(e.maxMem/16, e.o.MaxDisk/16), minFileSize), maxFileSize)
	}
	if o.Reserve == 0 {
		o.Reserve = min(max(total/100, minReserve), maxReserve)
	}
	e.maxFile = o.FileSize
	o.MaxBytes = e.o.MaxDisk
	o.Since = e.oldest()
	return o, nil
}

// oldest is the receipt time before which rows go, or 0.
func (e *Engine) oldest() int64 {
	if e.o.Retention <= 0 {
		return 0
	}
	return e.now().Add(-e.o.Retention).UnixNano()
}

// run syncs and cleans up until the engine is closed.
func (e *Engine) run(ctx context.Context) {
	every := e.o.Sync
	if every <= 0 {
		every = alwaysTick
	}
	tick, housework := time.NewTicker(every), time.NewTicker(houseworkEvery)
	defer tick.Stop()
	defer housework.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			last = e.logNew("log is not durable now", e.wal.Tick(), last)
		case <-housework.C:
			last = e.logNew("old data could not be removed", e.clean(), last)
		case <-e.wake:
			last = e.logNew("old data could not be removed", e.clean(), last)
		}
	}
}

// logNew logs an error that is not the last one again.
func (e *Engine) logNew(what string, err error, last string) string {
	if err == nil {
		return last
	}
	if text := err.Error(); text != last {
		e.log.Warn(what, "err", err)
		return text
	}
	return last
}

// Accept implements store.Writer. A batch is in the log before it is in memory, so it may come back after a crash though its
// sender never had an answer.
// Cost: about 1 µs a span for the log (encoding, compression, a share of a write) and 1 µs for memory.
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
	t, err := e.wal.Append(b)
	if errors.Is(err, wal.ErrFull) {
		if cleanErr := e.clean(); cleanErr != nil {
			return errors.Join(err, cleanErr)
		}
		t, err = e.wal.Append(b)
	}
	if err != nil {
		return err
	}
	defer e.wal.Done(t)
	if t.Rolled {
		select {
		case e.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return e.mem.AcceptSeq(context.WithoutCancel(ctx), b, t.Sequence)
}

// acceptable refuses what memory would refuse, before it is in the log.
func (e *Engine) acceptable(b *span.Batch) error {
	if b.Tenant != "" && b.Tenant != store.DefaultTenant {
		return &problem.Problem{Kind: problem.Unsupported, Field: "tenant", Message: fmt.Sprintf("tenant %q: this engine has no tenants", b.Tenant),
			Hint: "leave the tenant out"}
	}
	if size := int64(b.Size()); size > e.maxMem/4*3 {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d bytes does not fit into the memory budget of %d", size, e.maxMem),
			"send fewer spans in a request or raise --max-memory")
	}
	return nil
}

// Can adds to mem's abilities that spans survive the process.
func (e *Engine) Can() store.Abilities {
	can := e.mem.Can()
	can.Durable = true
	return can
}

// Stats implements store.Engine.
func (e *Engine) Stats() store.Stats {
	s, l := e.mem.Stats(), e.wal.Stats()
	s.Kind = "local"
	s.DiskBytes = l.Bytes + e.kept.bytes() + e.docs.bytes()
	s.LogBytes, s.LogSyncs, s.ReplayedSpans = l.Written, l.Syncs, e.replayed
	if s.Refusing == "" {
		s.Refusing = l.Refusing
	}
	s.Damaged = append(s.Damaged, e.damaged...)
	for _, d := range l.Damage {
		s.Damaged = append(s.Damaged, d.String())
	}
	return s
}

// Close makes the log durable and releases the folder.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.stop()
	e.stopped.Wait()
	return errors.Join(e.wal.Close(), e.mem.Close(), e.lock.Close())
}
