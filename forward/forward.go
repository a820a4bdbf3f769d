// Package forward sends copies of what was accepted to other backends by OTLP, so that people can try Spanloom beside what they have, or
// feed both for good.
//
// Accepted batches are appended to a log of its own (store/wal), one for all targets, each of which has a cursor in it: a target that
// is slow or away delays neither senders nor the engine nor other targets. It is not the engine's log: that one goes when the engine has
// its rows, and what a backend has missed for a day must neither keep the engine's files nor be read at each of its starts.
//
// The log is cut into runs. A target is sent a run in requests of some thousand spans, and its cursor moves when the run is through; after a
// crash a run is sent again, so copies may come twice. Where the log has reached its limit, the oldest run goes, and is counted for
// every target that did not have it.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/wal"
)

// Options are the settings of a forwarder. Dir and Targets are needed.
type Options struct {
	Dir     string // made if missing, locked
	Targets []*Target
	MaxDisk int64         // of the log: beyond it the oldest spans go; 0: 1 GiB
	Sync    time.Duration // how often the log is synced; 0: before every answer

	FS       faultfs.FS       // nil: the operating system's
	LockWait time.Duration    // for another process to release the folder; 0: 30 s, negative: not at all
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: none
	// Wait waits before a request is sent again; nil: time. Tests count the intervals.
	Wait func(ctx context.Context, d time.Duration) error

	// Pace, for tests: 0 takes the constants below.
	Rows             int
	Linger, Farewell time.Duration
}

const (
	defaultDisk = 1 << 30
	runRows     = 4096        // of a run that waits for no more: what is sent twice after a crash, at most
	runLinger   = time.Second // how long spans wait for a full run
	farewell    = 5 * time.Second
	alwaysTick  = time.Second
	minFile     = 1 << 20 // of the log. A limit lets go of whole files, so they are small
	maxFile     = 32 << 20
	filesOfDisk = 16
)

// Forwarder takes copies of accepted batches. Use Open; its methods are safe for concurrent use.
type Forwarder struct {
	o    Options
	fs   faultfs.FS
	now  func() time.Time
	slog *slog.Logger
	lock io.Closer
	log  *wal.Log

	// accepting is held for reading while a batch is appended: who has it for writing sees a border of the log.
	accepting sync.RWMutex

	mu       sync.Mutex
	runs     []*run // that some target does not have, oldest first
	open     run    // takes spans; last is 0 while it has none
	senders  []*sender
	changed  chan struct{} // closed when there is a new run, or one went
	damaged  []string
	toldDrop time.Time

	ctx     context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup
	ended   atomic.Bool
}

// run is a part of the log.
type run struct {
	first, last uint64 // sequences
	spans       int
	oldest      int64     // receipt, ns
	began       time.Time // by the machine's clock
}

// Stats is the state of a forwarder.
type Stats struct {
	Bytes      int64 // of the log
	LimitBytes int64 // at which the oldest spans go
	Damaged    []string
	Targets    []TargetStats
}

// TargetStats is what became of the copies for one target. Counts are since the start.
type TargetStats struct {
	Name, Address   string
	Spans           int64  // that wait
	Oldest          int64  // receipt of the oldest of these, ns; 0 if none waits
	SentSpans       int64  // that the target took
	RefusedSpans    int64  // that it refused for good
	DroppedSpans    int64  // that went because the disk's limit was reached
	UnreadableSpans int64  // lost to damage of the log
	Failures        int64  // attempts
	LastError       string // of the last attempt; empty if that went well
	FailedAt        int64  // ns; 0 for never
	LastRefusal     string // why spans were refused last
}

// Open locks the folder, takes what was not sent before, and begins to send.
func Open(ctx context.Context, o Options) (*Forwarder, error) {
	fill(&o.MaxDisk, defaultDisk)
	fill(&o.Rows, runRows)
	fill(&o.Linger, runLinger)
	fill(&o.Farewell, farewell)
	f := &Forwarder{o: o, fs: o.FS, now: o.Now, slog: o.Log, changed: make(chan struct{})}
	if f.fs == nil {
		f.fs = faultfs.OS{}
	}
	if f.now == nil {
		f.now = time.Now
	}
	if f.slog == nil {
		f.slog = slog.New(slog.DiscardHandler)
	}
	if f.o.Wait == nil {
		f.o.Wait = pause.For
	}
	if len(o.Targets) == 0 {
		return nil, errors.New("forward: no targets")
	}
	names := make(map[string]bool)
	for _, t := range o.Targets {
		if names[t.Name] {
			return nil, t.invalid(fmt.Sprintf("two targets are called %s", t.Name), "give one of them another ?name=")
		}
		names[t.Name] = true
	}
	if err := f.recover(ctx); err != nil {
		return nil, errors.Join(err, f.release())
	}
	f.ctx, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	f.stopped.Go(f.ticks)
	for _, s := range f.senders {
		f.stopped.Go(s.loop)
	}
	return f, nil
}

func fill[T int | int64 | time.Duration](v *T, is T) {
	if *v == 0 {
		*v = is
	}
}

// recover reads the folder.
func (f *Forwarder) recover(ctx context.Context) (err error) {
	logDir := filepath.Join(f.o.Dir, "log")
	if err := wal.MakeFolders(f.fs, f.o.Dir, logDir); err != nil {
		return wal.FolderProblem(f.o.Dir, err)
	}
	if f.lock, err = wal.LockFolder(ctx, f.fs, f.o.Dir, f.o.LockWait, f.slog); err != nil {
		return err
	}
	_, total, err := f.fs.Space(f.o.Dir)
	if err != nil {
		return fmt.Errorf("size of the volume: %w", err)
	}
	var borders []uint64
	var fresh []*sender
	for _, t := range f.o.Targets {
		s := &sender{f: f, target: t}
		if s.client, err = t.client(); err != nil {
			return err
		}
		f.senders = append(f.senders, s)
		through, found, err := f.readCursor(t.Name)
		if err != nil {
			f.damaged = append(f.damaged, fmt.Sprintf("%s: %v: everything in the log is sent again", f.cursorFile(t.Name), err))
		}
		if !found {
			fresh = append(fresh, s)
			continue
		}
		s.through = through
		borders = append(borders, through)
	}
	slices.Sort(borders)
	after := uint64(0)
	if len(borders) > 0 {
		after = borders[0]
	}
	wo := wal.Options{FS: f.fs, Dir: logDir, Now: f.now, Log: f.slog, FileSize: min(max(f.o.MaxDisk/filesOfDisk, minFile), maxFile),
		Reserve: wal.Reserve(total), After: after,
		FullHint: "free space on the volume of --data-dir, or lower --forward-max-disk; copies are taken again by themselves then"}
	if f.o.Sync <= 0 {
		wo.Mode = wal.Always
	}
	f.open.first = after + 1
	var replayed int64
	if f.log, err = wal.Open(ctx, wo, func(b *span.Batch, sequence uint64) error {
		// A run is on one side of every cursor.
		crosses := slices.ContainsFunc(borders, func(at uint64) bool { return f.open.last <= at && at < sequence })
		if f.open.spans > 0 && (crosses || f.open.spans >= f.o.Rows) {
			f.cutOpen()
		}
		f.add(b, sequence)
		replayed += int64(b.Len())
		return nil
	}); err != nil {
		return err
	}
	if f.open.spans > 0 {
		f.cutOpen()
	}
	// A target that is new gets what comes from now on.
	end := f.log.Roll()
	f.open.first = max(f.open.first, end+1)
	for _, s := range fresh {
		s.through = end
		if err := s.writeCursor(); err != nil {
			return err
		}
	}
	for _, d := range f.log.Stats().Damage {
		for _, s := range f.senders {
			if d.Sequence == 0 || d.Sequence > s.through {
				s.stats.UnreadableSpans += int64(d.Spans)
			}
		}
	}
	f.forget()
	if replayed > 0 && len(f.runs) > 0 {
		f.slog.Info("spans that were not forwarded yet were found", "spans", replayed, "bytes", f.log.Stats().Bytes)
	}
	return f.dropCursors()
}

// add counts a batch that is in the log. mu is held, or nobody else is there yet.
func (f *Forwarder) add(b *span.Batch, sequence uint64) {
	if f.open.spans == 0 {
		f.open.oldest, f.open.began = b.Received, time.Now()
	}
	f.open.spans += b.Len()
	f.open.oldest = min(f.open.oldest, b.Received)
	f.open.last = max(f.open.last, sequence)
}

// cutOpen makes a run of what came since the last one. mu is held, or nobody else is there yet.
func (f *Forwarder) cutOpen() {
	r := f.open
	f.runs = append(f.runs, &r)
	f.open = run{first: r.last + 1}
	close(f.changed)
	f.changed = make(chan struct{})
}

// cut is cutOpen at a border of the log, if there is anything to cut and it is worth it.
func (f *Forwarder) cut(worth func(r *run) bool) {
	f.accepting.Lock()
	defer f.accepting.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open.spans > 0 && worth(&f.open) {
		f.cutOpen()
	}
}

// Accept appends a batch that the engine has accepted. It does not fail: what cannot be written is counted as dropped, because a copy is
// no reason to refuse spans. Cost: about 1 µs a span.
func (f *Forwarder) Accept(b *span.Batch) {
	if b.Len() == 0 {
		return
	}
	if f.log.Stats().Bytes >= f.o.MaxDisk {
		f.makeRoom()
	}
	rows, err := f.append(b)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range f.senders {
			s.stats.DroppedSpans += int64(b.Len())
		}
		f.tellDrop("copies of spans could not be written and are not forwarded", "spans", b.Len(), "err", err)
		return
	}
	if rows >= f.o.Rows {
		f.cut(func(r *run) bool { return r.spans >= f.o.Rows })
	}
}

func (f *Forwarder) append(b *span.Batch) (rows int, err error) {
	f.accepting.RLock()
	defer f.accepting.RUnlock()
	t, err := f.log.Append(b)
	if err != nil {
		return 0, err
	}
	defer f.log.Done(t)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(b, t.Sequence)
	return f.open.spans, nil
}

// makeRoom lets the oldest runs go until a file of the log goes with them.
func (f *Forwarder) makeRoom() {
	f.accepting.Lock()
	defer f.accepting.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.Roll()
	if f.open.spans > 0 {
		f.cutOpen()
	}
	was := make([]int64, len(f.senders))
	for i, s := range f.senders {
		was[i] = s.stats.DroppedSpans
	}
	for len(f.runs) > 0 && f.log.Stats().Bytes >= f.o.MaxDisk {
		r := f.runs[0]
		for _, s := range f.senders {
			s.drop(r)
		}
		f.forget()
	}
	for i, s := range f.senders {
		if n := s.stats.DroppedSpans - was[i]; n > 0 {
			f.tellDrop("the oldest spans that were not forwarded yet went: the disk's limit (--forward-max-disk) is reached", "target", s.target.Name, "spans", n, "bytes", f.o.MaxDisk)
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// tellDrop logs, once a minute: a limit that is reached stays so. mu is held.
func (f *Forwarder) tellDrop(message string, args ...any) {
	if now := time.Now(); now.Sub(f.toldDrop) >= time.Minute {
		f.toldDrop = now
		f.slog.Error(message, args...)
	}
}

// forget lets go of runs that every target has, and of their files. mu is held, or nobody else is there yet.
func (f *Forwarder) forget() {
	least := f.senders[0].through
	for _, s := range f.senders {
		least = min(least, s.through)
	}
	n := 0
	for n < len(f.runs) && f.runs[n].last <= least {
		f.runs[n] = nil
		n++
	}
	f.runs = f.runs[n:]
	if _, err := f.log.DropBefore(least+1, 0); err != nil {
		f.slog.Warn("forwarded log files could not be removed", "err", err)
	}
}

// ticks cuts runs by age and makes the log durable, until Close.
func (f *Forwarder) ticks() {
	every := f.o.Sync
	if every <= 0 {
		every = alwaysTick
	}
	sync, linger := time.NewTicker(every), time.NewTicker(max(f.o.Linger/2, time.Millisecond))
	defer sync.Stop()
	defer linger.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-sync.C:
			_ = f.log.Tick() // it logs, and Append answers it
		case <-linger.C:
			f.cut(func(r *run) bool { return time.Since(r.began) >= f.o.Linger/2 })
		}
	}
}

// Flush waits until every target has been offered all that was accepted before, or for ctx.
func (f *Forwarder) Flush(ctx context.Context) error {
	f.cut(func(*run) bool { return true })
	f.mu.Lock()
	border := f.open.first
	f.mu.Unlock()
	return f.until(ctx, func(s *sender) bool { return s.through+1 >= border })
}

// until waits for something of every sender.
func (f *Forwarder) until(ctx context.Context, is func(*sender) bool) error {
	for {
		f.mu.Lock()
		changed, all := f.changed, true
		for _, s := range f.senders {
			all = all && is(s)
		}
		f.mu.Unlock()
		if all {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close sends what is left for a short while and makes the log durable. What was not sent is at the next start. Nobody accepts any more.
func (f *Forwarder) Close() error {
	if f.ended.Swap(true) {
		return nil
	}
	f.cut(func(*run) bool { return true })
	f.mu.Lock()
	border := f.open.first
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), f.o.Farewell)
	if f.until(ctx, func(s *sender) bool { return s.through+1 >= border || s.stats.LastError != "" }) != nil {
		f.slog.Warn("not all copies were forwarded; they stay in the folder and are sent after the next start", "dir", f.o.Dir)
	}
	cancel()
	f.stop()
	f.stopped.Wait()
	return f.release()
}

// release lets go of whatever was opened so far.
func (f *Forwarder) release() error {
	var errs []error
	for _, s := range f.senders {
		if s.client != nil {
			s.client.close()
		}
	}
	if f.log != nil {
		errs = append(errs, f.log.Close())
	}
	if f.lock != nil {
		errs = append(errs, f.lock.Close())
	}
	return errors.Join(errs...)
}

// Stats answers from memory.
func (f *Forwarder) Stats() Stats {
	l := f.log.Stats()
	f.mu.Lock()
	defer f.mu.Unlock()
	out := Stats{Bytes: l.Bytes, LimitBytes: f.o.MaxDisk, Damaged: slices.Clone(f.damaged)}
	for _, d := range l.Damage {
		out.Damaged = append(out.Damaged, d.String())
	}
	for _, s := range f.senders {
		t := s.stats
		t.Name, t.Address = s.target.Name, s.target.Address
		for _, r := range append(slices.Clip(f.runs), &f.open) {
			if r.last <= s.through || r.spans == 0 {
				continue
			}
			if t.Oldest == 0 {
				t.Oldest = r.oldest
			}
			t.Spans += int64(r.spans)
		}
		t.Spans -= s.done
		out.Targets = append(out.Targets, t)
	}
	return out
}

const cursorPrefix, cursorSuffix = "cursor-", ".json"

func (f *Forwarder) cursorFile(name string) string {
	return filepath.Join(f.o.Dir, cursorPrefix+name+cursorSuffix)
}

// dropCursors removes the cursors of targets that are not wanted any more: one of that name that comes back is a new one.
func (f *Forwarder) dropCursors() error {
	files, err := f.fs.ReadDir(f.o.Dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		name, ok := strings.CutPrefix(file.Name(), cursorPrefix)
		if name, ok = strings.CutSuffix(name, cursorSuffix); !ok || !strings.HasPrefix(file.Name(), cursorPrefix) ||
			slices.ContainsFunc(f.o.Targets, func(t *Target) bool { return t.Name == name }) {
			continue
		}
		f.slog.Info("spans are not forwarded to this target any more", "target", name)
		if err := f.fs.Remove(filepath.Join(f.o.Dir, file.Name())); err != nil {
			return err
		}
	}
	return nil
}
