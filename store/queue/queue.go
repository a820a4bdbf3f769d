package queue

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
	"syscall"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/wal"
)

// Options are the settings of a queue. Dir, Kind and Connect are needed.
type Options struct {
	Dir  string // of the queue; made if missing, locked
	Kind string // of the engine, for texts before it is there
	// Connect opens the engine. An error that Away says yes to is tried again in the background, any other ends Open.
	Connect func(ctx context.Context) (Engine, error)
	Away    func(error) bool // nil: every error ends Open

	FS        faultfs.FS       // nil: the operating system's
	MaxMemory int64            // of unsent spans that can be read; 0: 64 MiB. Older ones wait on the disk
	MaxDisk   int64            // of the queue's files; 0: no limit but the volume's reserve
	Reserve   int64            // of the volume, that stays free; 0: a hundredth, at least 16 MiB
	LockWait  time.Duration    // for another process to release the folder; 0: 30 s, negative: not at all
	Sync      time.Duration    // how often the log is synced; 0: before every answer
	Linger    time.Duration    // how long spans wait for a full batch; negative: until Flush
	Now       func() time.Time // clock of page tokens and the log; nil: time.Now
	Log       *slog.Logger     // nil: none

	// Pace, for tests: 0 takes the constants below.
	FullRows, MaxRows       int
	FirstPause, LongPause   time.Duration
	Farewell, ConnectWithin time.Duration
}

const (
	defaultMemory = 64 << 20
	fullRows      = 10_000   // of a generation that is sent before Linger
	maxRows       = 20_000   // of a generation
	maxMemBytes   = 32 << 20 // of one, in memory
	firstPause    = 100 * time.Millisecond
	longPause     = 30 * time.Second
	farewell      = 5 * time.Second // for what is left at Close
	connectWithin = 10 * time.Second
	alwaysTick    = time.Second
)

// Queue implements store.Engine. Use Open.
type Queue struct {
	o    Options
	fs   faultfs.FS
	now  func() time.Time
	slog *slog.Logger
	lock io.Closer
	log  *wal.Log

	// accepting is held for reading from the log write to the memory: who has it for writing sees a border of the log.
	accepting sync.RWMutex

	mu       sync.Mutex
	engine   Engine        // nil: not connected yet
	gens     []*generation // oldest first; the last takes spans
	cursor   cursor
	closed   bool
	flushers int
	changed  chan struct{} // closed when a generation left, or the queue ended
	counts   counts
	replayed int64
	damaged  []string
	dead     int64 // bytes of the dead letters
	deadFile string

	pages pages
	wake  chan struct{}

	ctx     context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup
	ended   atomic.Bool

	batches []*span.Batch // of the drain, kept from run to run
}

// counts are since the start.
type counts struct {
	sentSpans, inserts, failures int64
	poison, unreadable           int64
	lastError                    string
	failedAt                     time.Time
}

// generation is a run of the log that is sent as a whole.
type generation struct {
	first, last uint64 // sequences; last is 0 while it has none
	rows        int
	began       time.Time // of its first row, by the machine's clock
	oldest      int64     // receipt of it, ns
	tails       []*mem.Engine
	hidden      bool // its rows are on the disk only
}

// size is the memory of a generation.
func (g *generation) size() (n int64) {
	for _, t := range g.tails {
		n += t.Stats().Bytes
	}
	return n
}

var _ store.Engine = (*Queue)(nil)

// Open locks the folder, takes what was not sent before, and begins to send. The engine may be away then.
func Open(ctx context.Context, o Options) (*Queue, error) {
	fill(&o.FullRows, fullRows)
	fill(&o.MaxRows, maxRows)
	fill(&o.FirstPause, firstPause)
	fill(&o.LongPause, longPause)
	fill(&o.Farewell, farewell)
	fill(&o.ConnectWithin, connectWithin)
	fill(&o.MaxMemory, defaultMemory)
	q := &Queue{o: o, fs: o.FS, now: o.Now, slog: o.Log, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if q.now == nil {
		q.now = time.Now
	}
	if q.slog == nil {
		q.slog = slog.New(slog.DiscardHandler)
	}
	if q.fs == nil {
		q.fs = faultfs.OS{}
	}
	q.pages.init(q.now, o.MaxMemory)
	if err := q.recover(ctx); err != nil {
		return nil, errors.Join(err, q.release())
	}
	within, cancel := context.WithTimeout(ctx, o.ConnectWithin)
	defer cancel()
	engine, err := o.Connect(within)
	if err != nil && (o.Away == nil || !o.Away(err)) {
		return nil, errors.Join(err, q.release())
	}
	if err != nil {
		q.failed(err)
		q.slog.Warn("the engine is away; spans wait in the queue", "engine", o.Kind, "err", err)
	} else {
		q.engine = engine
	}
	q.ctx, q.stop = context.WithCancel(context.WithoutCancel(ctx))
	q.stopped.Go(q.ticks)
	q.stopped.Go(q.drain)
	return q, nil
}

func fill[T int | int64 | time.Duration](v *T, is T) {
	if *v == 0 {
		*v = is
	}
}

// recover reads the folder.
func (q *Queue) recover(ctx context.Context) (err error) {
	logDir, deadDir := filepath.Join(q.o.Dir, "log"), filepath.Join(q.o.Dir, deadName)
	if err := wal.MakeFolders(q.fs, q.o.Dir, logDir, deadDir); err != nil {
		return wal.FolderProblem(q.o.Dir, err)
	}
	if q.lock, err = wal.LockFolder(ctx, q.fs, q.o.Dir, q.o.LockWait, q.slog); err != nil {
		return err
	}
	if q.cursor, err = readCursor(q.fs, q.cursorFile()); err != nil {
		q.damaged = append(q.damaged, fmt.Sprintf("%s: %v: everything in the log is sent again", q.cursorFile(), err))
		q.cursor = cursor{}
	}
	if q.dead, q.deadFile, err = letters(q.fs, deadDir); err != nil {
		return fmt.Errorf("queue folder %s: %w", deadDir, err)
	}
	_, total, err := q.fs.Space(q.o.Dir)
	if err != nil {
		return fmt.Errorf("size of the volume: %w", err)
	}
	wo := wal.Options{FS: q.fs, Dir: logDir, Now: q.now, Log: q.slog, FileSize: math.MaxInt64, FileAge: math.MaxInt64, Reserve: q.o.Reserve, FullHint: fullHint, After: q.cursor.Through}
	fill(&wo.Reserve, wal.Reserve(total))
	if q.o.Sync <= 0 {
		wo.Mode = wal.Always
	}
	q.gens = []*generation{q.newGeneration(q.cursor.Through + 1)}
	if q.log, err = wal.Open(ctx, wo, func(b *span.Batch, sequence uint64) error {
		g := q.last()
		// The run that was on its way when the process ended is sent again as it was.
		if sending := q.cursor.Sending; g.rows > 0 && sequence > sending && (g.rows >= q.o.MaxRows || g.last <= sending) {
			q.seal(g.last)
			g = q.last()
		}
		q.replayed += int64(b.Len())
		return q.add(g, b, sequence)
	}); err != nil {
		return err
	}
	if g := q.last(); g.rows > 0 && g.last <= q.cursor.Sending {
		q.seal(g.last)
	}
	if q.gens[0].last > q.cursor.Sending || q.gens[0].rows == 0 {
		q.cursor.Token = "" // nothing was on its way
	}
	q.cursor.Sending = q.gens[0].last // numbers behind the last frame may never have been written
	q.limitLog()
	for _, d := range q.log.Stats().Damage {
		q.counts.unreadable += int64(d.Spans)
	}
	if q.replayed > 0 {
		q.slog.Info("unsent spans were found in the queue", "spans", q.replayed, "bytes", q.log.Stats().Bytes)
	}
	return nil
}

func (q *Queue) newGeneration(first uint64) *generation {
	return &generation{first: first, tails: []*mem.Engine{q.newTail()}}
}

// newTail is memory without a bound of its own: generations are bounded by rows and bytes.
func (q *Queue) newTail() *mem.Engine {
	return mem.New(mem.Options{MaxBytes: math.MaxInt64, Now: q.now})
}

// last is the generation that takes spans, for who holds mu.
func (q *Queue) last() *generation { return q.gens[len(q.gens)-1] }

// newest is last for who does not: it stays the last one while accepting is held.
func (q *Queue) newest() *generation {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last()
}

// add puts a batch that is in the log into a generation.
func (q *Queue) add(g *generation, b *span.Batch, sequence uint64) error {
	q.mu.Lock()
	tail := g.tails[len(g.tails)-1]
	if g.rows == 0 {
		g.began, g.oldest = time.Now(), b.Received
	}
	g.rows += b.Len()
	g.last = max(g.last, sequence)
	q.mu.Unlock()
	return tail.AcceptSeq(context.Background(), b, sequence)
}

// seal ends the last generation at a border of the log and begins the next one. Generations that the budget has no room for any more
// cannot be read from then on, the oldest first. Nobody adds meanwhile.
func (q *Queue) seal(border uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last().last = border
	q.gens = append(q.gens, q.newGeneration(border+1))
	var held int64
	for i := len(q.gens) - 1; i >= 0; i-- {
		if held += q.gens[i].size(); held > q.o.MaxMemory && i < len(q.gens)-1 && q.gens[i].rows > 0 {
			q.gens[i].tails, q.gens[i].hidden = nil, true
		}
	}
}

// cut seals the last generation if it has rows.
func (q *Queue) cut(worth func(g *generation) bool) {
	q.accepting.Lock()
	defer q.accepting.Unlock()
	if g := q.newest(); g.rows > 0 && worth(g) {
		q.seal(q.log.Roll())
	}
}

// Accept implements store.Writer: nil means that the batch is in the log, as durable as Options.Sync says, and readable in this process;
// on others when the engine has it. Where log and dead letters have reached Options.MaxDisk it is refused as Unavailable.
// Cost: about 1 µs a span for the log and 1 µs for the memory.
func (q *Queue) Accept(ctx context.Context, b *span.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := q.acceptable(b); err != nil || b.Len() == 0 {
		return err
	}
	rows, bytes, err := q.append(b)
	if err != nil {
		return q.full(err)
	}
	if first := rows == b.Len(); first || rows >= q.o.FullRows {
		q.signal()
	}
	if rows >= q.o.MaxRows || bytes >= min(maxMemBytes, q.o.MaxMemory/2) {
		q.cut(func(g *generation) bool {
			return g.rows >= q.o.MaxRows || g.size() >= min(maxMemBytes, q.o.MaxMemory/2)
		})
		q.signal()
	}
	return nil
}

// append puts a batch into the log and the last generation and answers what that has then.
func (q *Queue) append(b *span.Batch) (rows int, bytes int64, err error) {
	q.accepting.RLock()
	defer q.accepting.RUnlock()
	if q.ended.Load() {
		return 0, 0, answer.Closed()
	}
	t, err := q.log.Append(b)
	if err != nil {
		return 0, 0, err
	}
	defer q.log.Done(t)
	g := q.newest()
	if err := q.add(g, b, t.Sequence); err != nil {
		return 0, 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return g.rows, g.tails[len(g.tails)-1].Stats().Bytes, nil
}

// acceptable refuses what the memory would not hold, before it is in the log.
func (q *Queue) acceptable(b *span.Batch) error {
	if b.Tenant != "" && b.Tenant != store.DefaultTenant {
		return &problem.Problem{Kind: problem.Unsupported, Field: "tenant", Message: fmt.Sprintf("tenant %q: there are no tenants", b.Tenant),
			Hint: "leave the tenant out"}
	}
	if size := int64(b.Size()); size > q.o.MaxMemory/4*3 {
		return problem.New(problem.TooLarge, fmt.Sprintf("a batch of %d bytes does not fit into the queue's memory of %d", size, q.o.MaxMemory),
			"send fewer spans in a request or raise --max-memory")
	}
	if q.ended.Load() {
		return answer.Closed()
	}
	return nil
}

// fullHint is what helps when the volume is full: what waits takes its room until the engine has it.
const fullHint = "free space on the volume of --data-dir, or make it larger; spans are taken again by themselves then, and what waits is kept"

// unwritten is the error of a file beside the log.
func (q *Queue) unwritten(what string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &problem.Problem{Kind: problem.Unavailable, Message: fmt.Sprintf("%s: the volume of %s is full", what, q.o.Dir), Hint: fullHint, Err: err}
}

// full says of a refusal for want of room what it is about.
func (q *Queue) full(err error) error {
	if !errors.Is(err, wal.ErrFull) {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	p := problem.Of(err)
	hint := "it is sending; send again, or raise --max-disk"
	if why := q.counts.lastError; why != "" {
		hint = "spans are taken again when it is back; the last attempt said: " + why
	}
	return &problem.Problem{Kind: problem.Unavailable, RetryAfter: p.RetryAfter, Err: wal.ErrFull,
		Message: fmt.Sprintf("the queue before %s is full: it may take %d bytes (--max-disk)", q.o.Kind, q.o.MaxDisk), Hint: hint}
}

// limitLog gives the log what the dead letters leave of the disk.
func (q *Queue) limitLog() {
	if q.o.MaxDisk > 0 {
		q.log.SetMaxBytes(max(q.o.MaxDisk-q.dead, 1))
	}
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// ticks makes the log durable until the queue is closed.
func (q *Queue) ticks() {
	every := q.o.Sync
	if every <= 0 {
		every = alwaysTick
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-q.ctx.Done():
			return
		case <-tick.C:
			_ = q.log.Tick() // it logs, and Accept answers it
		}
	}
}

// Flush sends everything that was accepted before, and waits for it or for ctx.
func (q *Queue) Flush(ctx context.Context) error {
	q.cut(func(*generation) bool { return true })
	q.mu.Lock()
	border := q.last().first
	q.flushers++
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		q.flushers--
		q.mu.Unlock()
	}()
	for {
		q.signal()
		q.mu.Lock()
		changed, waits := q.changed, q.gens[0].first < border
		q.mu.Unlock()
		if !waits {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-q.ctx.Done():
			return answer.Closed()
		}
	}
}

// Close sends what is left for a short while, makes the log durable and closes the engine. What was not sent is at the next start.
func (q *Queue) Close() error {
	if q.ended.Swap(true) {
		return nil
	}
	q.mu.Lock()
	away := q.engine == nil || q.counts.lastError != ""
	q.mu.Unlock()
	if !away && q.o.Linger >= 0 {
		ctx, cancel := context.WithTimeout(context.Background(), q.o.Farewell)
		if err := q.Flush(ctx); err != nil {
			q.slog.Warn("not all spans were sent; they stay in the queue's folder and are sent after the next start", "spans", q.Stats().Queue.Spans)
		}
		cancel()
	}
	q.stop()
	q.stopped.Wait()
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.pages.close()
	return q.release()
}

// release lets go of whatever was opened so far.
func (q *Queue) release() error {
	var errs []error
	if q.engine != nil {
		errs = append(errs, q.engine.Close())
	}
	if q.log != nil {
		errs = append(errs, q.log.Close())
	}
	if q.lock != nil {
		errs = append(errs, q.lock.Close())
	}
	return errors.Join(errs...)
}

// Stats answers from memory: the engine's, and what waits.
func (q *Queue) Stats() store.Stats {
	l := q.log.Stats()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := store.Stats{Kind: q.o.Kind}
	if q.engine != nil {
		s = q.engine.Stats()
	}
	w := &store.QueueStats{Bytes: l.Bytes, LimitBytes: q.o.MaxDisk, SentSpans: q.counts.sentSpans, Inserts: q.counts.inserts, Failures: q.counts.failures,
		PoisonSpans: q.counts.poison, PoisonBytes: q.dead, PoisonFile: q.deadFile, UnreadableSpans: q.counts.unreadable, LastError: q.counts.lastError}
	if !q.counts.failedAt.IsZero() {
		w.FailedAt = q.counts.failedAt.UnixNano()
	}
	for _, g := range q.gens {
		if g.rows == 0 {
			continue
		}
		if w.Oldest == 0 {
			w.Oldest = g.oldest
		}
		w.Spans += int64(g.rows)
		if g.hidden {
			w.HiddenSpans += int64(g.rows)
		}
		s.Bytes += g.size()
	}
	s.Queue, s.Refusing = w, l.Refusing
	s.Spans += w.Spans
	s.LimitBytes, s.DiskBytes = q.o.MaxMemory, l.Bytes+q.dead
	s.LogSyncs, s.LogBytes, s.ReplayedSpans = int64(l.Syncs), l.Written, q.replayed
	s.Damaged = append(s.Damaged, q.damaged...)
	for _, d := range l.Damage {
		s.Damaged = append(s.Damaged, d.String())
	}
	if q.closed {
		s.Refusing = "closed"
	}
	return s
}

// Can says what the engine does.
func (q *Queue) Can() store.Abilities {
	if e := q.connected(); e != nil {
		can := e.Can()
		can.Durable = true
		return can
	}
	return store.Abilities{TraceDuration: true, Durable: true}
}

// connected is the engine, nil while it was never reached.
func (q *Queue) connected() Engine {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.engine
}
