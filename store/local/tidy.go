package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/segment"
)

// limits are what policy goes by.
func (e *Engine) limits() policy.Limits {
	return policy.Limits{Retention: e.o.Retention, MaxDisk: e.o.MaxDisk}
}

// use is what the folder holds beside segments, with room for what comes next.
func (e *Engine) use(next int64) policy.Use {
	return policy.Use{Log: e.wal.Stats().Bytes, Kept: e.kept.bytes(), Docs: e.docs.bytes() + e.man.Bytes(), Next: next}
}

// roomShare is the part of the disk limit that is kept free for the next segment.
const roomShare = 16

// nextSegment is about what the next segment will need at most: it is smaller than its log, and a small one is mostly footer.
func (e *Engine) nextSegment() int64 { return e.segmentOf(e.wal.Stats().Bytes) }

func (e *Engine) segmentOf(log int64) int64 {
	const footer = 8 << 10
	return min(log, e.maxMem) + footer
}

// roomNext is what clean keeps free.
func (e *Engine) roomNext() int64 { return max(e.nextSegment(), e.o.MaxDisk/roomShare) }

// tidy lets go of what retention and the disk limit say is to go, and joins segments.
func (e *Engine) tidy() error {
	e.tidying.Lock()
	defer e.tidying.Unlock()
	e.pages.tidy()
	if err := e.mend(); err != nil {
		return err
	}
	if err := e.clean(e.ctx); err != nil {
		return err
	}
	return e.compact()
}

// clean removes segments by age and by size.
func (e *Engine) clean(ctx context.Context) error {
	e.housework.Lock()
	defer e.housework.Unlock()
	gone := policy.Expired(e.allEntries(), e.limits(), e.now())
	if err := e.drop(ctx, gone); err != nil {
		return err
	}
	if len(gone) == 0 {
		if err := e.oversize(ctx, e.roomNext()); err != nil {
			return err
		}
	}
	e.limitLog()
	return nil
}

// makeDiskRoom removes the oldest segments where the next one would not fit below the limit.
func (e *Engine) makeDiskRoom(ctx context.Context) error {
	e.housework.Lock()
	defer e.housework.Unlock()
	return e.oversize(ctx, e.nextSegment())
}

// drop removes segments, and keeps what kept traces have in them.
func (e *Engine) drop(ctx context.Context, gone []manifest.Removal) error {
	numbers := make(map[uint64]bool, len(gone))
	for _, g := range gone {
		numbers[g.Number] = true
	}
	is := func(x manifest.Entry) bool { return numbers[x.Number] }
	e.mu.Lock()
	var files []*segmentFile
	for _, f := range e.segments {
		if is(f.entry) {
			files = append(files, f.hold())
		}
	}
	e.mu.Unlock()
	defer func() {
		for _, f := range files {
			f.release()
		}
	}()
	if err := e.kept.rescue(ctx, e, files); err != nil {
		return err
	}
	if len(gone) == 0 {
		return nil
	}
	var local []*segmentFile
	here := make(map[uint64]bool) // the manifest of the folder names only what it has
	for _, f := range files {
		if !f.far {
			local = append(local, f)
			here[f.entry.Number] = true
		}
	}
	if err := e.man.Apply(manifest.Change{Remove: slices.DeleteFunc(gone, func(g manifest.Removal) bool { return !here[g.Number] })}); err != nil {
		return err
	}
	e.mu.Lock()
	for _, f := range e.take(is) {
		e.counts.expiredSpans += f.entry.Rows
	}
	e.missing.take(is)
	e.mu.Unlock()
	e.pokeUploads()
	return e.removeFiles(local)
}

// removeFiles removes the files of segments that do not count any more. Readers that still have them mapped go on.
func (e *Engine) removeFiles(files []*segmentFile) error {
	var errs []error
	for _, f := range files {
		if err := e.fs.Remove(filepath.Join(e.segDir(), f.entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove segment: %w", err))
		}
	}
	return errors.Join(errs...)
}

// free makes room where the log would outgrow the disk limit: what is in memory becomes a segment, so that its log can go, then the
// oldest segments go.
func (e *Engine) free(ctx context.Context) error {
	e.freeze(func() bool { return true })
	if err := errors.Join(e.clean(ctx), e.flush(ctx)); err != nil {
		return err
	}
	return e.clean(ctx)
}

// compact does the most useful compaction that is due, one after the other until none is left.
func (e *Engine) compact() error {
	if err := e.removeUnentered(); err != nil {
		return err
	}
	for e.ctx.Err() == nil {
		left, log := e.left()
		room := left - log - e.segmentOf(log)
		if free, _, err := e.fs.Space(e.o.Dir); err == nil {
			room = min(room, free-e.o.Reserve)
		}
		job, ok := policy.Next(e.localEntries(), e.now(), room)
		if !ok {
			return nil
		}
		if err := e.join(job); err != nil {
			return err
		}
	}
	return nil
}

// removeUnentered removes results of compactions that were not entered, as soon as the manifest can tell that they never will be. Until
// then there is no further compaction, which would leave one more.
func (e *Engine) removeUnentered() error {
	if len(e.unentered) == 0 {
		return nil
	}
	if err := e.man.Mend(); err != nil {
		return err
	}
	files := e.unentered
	e.unentered = nil
	return e.removeFiles(files)
}

// The budget of compaction: the share of a core that it takes while it is not behind by more than some jobs.
const (
	compactShare = 0.5
	maxDebt      = 8
)

// join does one compaction. Readers see its inputs or its result, never both.
func (e *Engine) join(job policy.Job) error {
	rolled := compact.NewRolling()
	o := compact.Options{BlockRows: e.o.BlockRows, Rows: rolled.Add}
	if policy.DebtOf(e.localEntries(), e.now()).Jobs <= maxDebt {
		o.Pace = compact.Pace(e.ctx, compactShare)
	}
	entry, stats, err := compact.Run(e.ctx, e.fs, e.segDir(), job, e.man.Take(), o, rolled.Encoded)
	if err != nil {
		var bad *compact.BadInput
		if errors.As(err, &bad) && errors.Is(bad.Err, segment.ErrDamaged) {
			if f := e.holdSegment(bad.Number); f != nil {
				f.damage(bad.Err)
				f.release()
			}
			return e.mend() // the others are joined without it
		}
		return fmt.Errorf("join segments: %w", err)
	}
	e.housework.Lock()
	defer e.housework.Unlock()
	err = e.man.Apply(manifest.Change{Add: []manifest.Entry{entry}, Remove: compact.Removals(job)})
	if errors.Is(err, manifest.ErrGone) { // retention or damage took an input meanwhile
		return e.removeFiles([]*segmentFile{{entry: entry}})
	}
	if err != nil {
		e.unentered = append(e.unentered, &segmentFile{entry: entry})
		return err
	}
	file, err := openSegment(e.fs, e.segDir(), entry, e.sides, e.setAside)
	if err != nil {
		return fmt.Errorf("open segment %d that was just written: %w", entry.Number, err)
	}
	inputs := make(map[uint64]bool, len(job.Inputs))
	for _, in := range job.Inputs {
		inputs[in.Number] = true
	}
	e.mu.Lock()
	e.insert(file)
	gone := e.take(func(x manifest.Entry) bool { return inputs[x.Number] })
	e.counts.compactions++
	e.counts.duplicates += stats.Duplicates
	e.mu.Unlock()
	e.pokeUploads()
	return e.removeFiles(gone)
}

// left is what kept traces, documents and segments leave of the disk limit, and how much of it the log may take: half, for the other
// half is for the segment that its rows become. Where that is less than an eighth of the limit, segments go when the log needs it.
func (e *Engine) left() (left, log int64) {
	left = e.o.MaxDisk - e.kept.bytes() - e.docs.bytes() - e.man.Bytes() - policy.Bytes(e.localEntries())
	floor := e.o.MaxDisk / 8
	if list, held := e.evictable(); left <= 0 && len(list) == 0 && held > 0 {
		floor = 0 // nothing may go before it is in the bucket: senders are refused
	}
	return left, max(1, left/2, floor)
}

// limitLog tells the log its share of the disk limit.
func (e *Engine) limitLog() {
	_, log := e.left()
	e.wal.SetMaxBytes(log)
}

// Stats implements store.Engine.
func (e *Engine) Stats() store.Stats {
	l := e.wal.Stats()
	s := store.Stats{Kind: "local", LimitBytes: e.o.MaxMemory, LogBytes: l.Written, LogSyncs: l.Syncs, ReplayedSpans: e.replayed, Refusing: l.Refusing}
	entries, local := e.entries(), e.localEntries()
	s.DiskBytes = l.Bytes + e.kept.bytes() + e.docs.bytes() + policy.Bytes(local) + e.man.Bytes()
	s.Oldest = policy.Held(entries)
	due := policy.DebtOf(local, e.now())
	ahead := policy.ForecastOf(local, e.limits(), e.use(e.roomNext()), e.now())
	s.Segments = &store.Segments{Files: len(local), Bytes: policy.Bytes(local), DueJobs: due.Jobs, DueBytes: due.Bytes,
		BytesPerHour: ahead.PerHour, FullIn: ahead.Full, Holds: ahead.Holds, Hours: hoursOf(entries),
		Questions: e.reads.questions.Load(), Blocks: e.reads.blocks.Load(), Passed: e.reads.passed.Load(),
		Sides: e.sides.len(), Rollups: e.rolls.held() + e.hours.held()}
	inMemory := e.memoryStats(&s, entries)
	if s.Bucket = e.bucketStats(inMemory); s.Bucket != nil {
		s.DiskBytes += s.Bucket.CacheBytes
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Segments.Joined, s.Segments.Duplicates = e.counts.compactions, e.counts.duplicates
	s.EvictedSpans, s.EvictedTraces = e.counts.expiredSpans, 0
	s.Damaged = append(append(append(s.Damaged, e.damaged...), e.lost...), e.missing.damage()...)
	for _, d := range l.Damage {
		s.Damaged = append(s.Damaged, d.String())
	}
	return s
}

// memoryStats adds up what is held. It answers the receipt of the oldest row that is in no segment, 0 if there is none.
func (e *Engine) memoryStats(s *store.Stats, entries []manifest.Entry) (oldest int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range entries {
		s.Spans += x.Rows
		s.Traces += x.Traces
	}
	mems := []*memtable{e.kept.rows, e.cur}
	if e.frozen != nil {
		mems = append(mems, e.frozen.m)
	}
	for _, m := range mems {
		m.mu.Lock()
		s.Spans += int64(m.t.Rows())
		s.Traces += int64(len(m.t.TraceIDs))
		s.Bytes += m.t.Used()
		if m.t.Rows() > 0 && (s.Oldest == 0 || m.received.min < s.Oldest) {
			s.Oldest = m.received.min
		}
		if m != e.kept.rows && m.t.Rows() > 0 && (oldest == 0 || m.received.min < oldest) {
			oldest = m.received.min
		}
		m.mu.Unlock()
	}
	return oldest
}

// hoursOf sums segments up by hour of receipt.
func hoursOf(entries []manifest.Entry) []store.HourStats {
	index := make(map[int64]int)
	var list []store.HourStats
	for _, x := range entries {
		i, ok := index[x.Hour]
		if !ok {
			i = len(list)
			index[x.Hour] = i
			list = append(list, store.HourStats{Hour: x.Hour})
		}
		list[i].Spans += x.Rows
		list[i].Bytes += x.Bytes
	}
	slices.SortFunc(list, func(a, b store.HourStats) int { return cmp.Compare(a.Hour, b.Hour) })
	return list
}
