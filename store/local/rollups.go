package local

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
)

var (
	_ rollup.Reader = (*answers)(nil)
	_ rollup.Summer = (*answers)(nil)
)

// slowRollup is how long counting a memtable may take before what was counted a second ago is good enough.
const (
	slowRollup  = 20 * time.Millisecond
	staleRollup = time.Second
)

// rollups counts the rows of a view. The table is shared: it must not be changed.
func (v *memView) rollups() *rollup.Table {
	c := &v.m.counted
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && (c.rows == v.view.Rows() || c.took > slowRollup && time.Since(c.at) < staleRollup) {
		return c.table
	}
	began := time.Now()
	b := rollup.NewBuilder()
	filler := table.NewFiller(rollup.Need())
	for block := range v.blocks {
		u := v.unit(block)
		batch := filler.Batch(&v.view, nil, u.lo, u.hi)
		b.Collect(store.Whole(batch))
	}
	b.Flush(store.TimeRange{})
	c.table, c.rows, c.at = b.Table(), v.view.Rows(), time.Now()
	c.took = c.at.Sub(began)
	return c.table
}

// Rollups implements rollup.Reader: the tables of all segments that have spans in the range, and counts of the memtables, which may
// be a second old where they are large. Cost: merging a table of each hour, or of each segment where an hour changed since it was asked
// last: some 0.5 ms per 10,000 cells.
func (e *answers) Rollups(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return e.mergeRollups(ctx, s, r, rollup.New())
}

// Sums implements rollup.Summer.
func (e *answers) Sums(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return e.mergeRollups(ctx, s, r, rollup.NewSums())
}

func (e *answers) mergeRollups(ctx context.Context, s store.Scope, r store.TimeRange, total *rollup.Table) (*rollup.Table, store.Done, error) {
	done := store.Done{Complete: true}
	if err := e.readable(s); err != nil {
		return nil, done, err
	}
	snap, err := e.snap()
	if err != nil {
		return nil, done, err
	}
	defer snap.release()
	done.Read.Of = int64(len(snap.segments) + len(snap.mems))
	snap.complete(&done)
	merged := e.hours.numbers()
	snap.warm(ctx, func(f *segmentFile) error {
		if !r.Overlaps(f.entry.MinStart, f.entry.MaxStart) || f.rolled.Load() != nil || merged[f.entry.Number] {
			return nil
		}
		_, err := f.guardedRollups(&e.rolls)
		return err
	})
	for rest := snap.segments; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].entry.Hour == rest[0].entry.Hour {
			n++
		}
		var hour []*segmentFile
		hour, rest = rest[:n], rest[n:]
		asked := 0
		for _, f := range hour {
			if r.Overlaps(f.entry.MinStart, f.entry.MaxStart) {
				asked++
			}
		}
		if t := e.hours.get(e, hour, asked); t != nil {
			done.Read.Blocks += int64(asked)
			total.MergeRange(t, r)
			continue
		}
		for _, f := range hour {
			if err := ctx.Err(); err != nil {
				done.Complete, done.Reason = false, answer.Cancelled(err)
				return total, done, nil
			}
			if !r.Overlaps(f.entry.MinStart, f.entry.MaxStart) {
				continue
			}
			t, err := f.guardedRollups(&e.rolls)
			if err != nil {
				if !f.damage(err) { // which writes its rollups again, of its rows
					return nil, done, err
				}
				done.Complete, done.Reason = false, fmt.Sprintf("the rollups of segment %d are damaged; they are being counted anew", f.entry.Number)
				continue
			}
			done.Read.Blocks++
			total.MergeRange(t, r)
		}
	}
	for _, m := range snap.mems {
		done.Read.Blocks++
		total.MergeRange(m.rollups(), r)
	}
	return total, done, nil
}

// hourTables keeps, for hours of which several segments were asked, their tables merged into one: segments never change, and of an
// hour that has passed the list of them does not either. The zero value is ready.
type hourTables struct {
	mu    sync.Mutex
	bytes int64
	kept  []hourTable // the last used one last
}

type hourTable struct {
	hour    int64
	numbers []uint64      // of its segments
	table   *rollup.Table // nil where the hour has more cells than fit in minutes, or in memory: that is not tried again
	bytes   int64
}

// get is the table of an hour's segments, of which so many are asked for; nil where theirs have to be merged one by one: there are few,
// one is damaged, or the hour has more cells than fit in minutes or in memory. The table is shared: it must not be changed. Two who ask for one that is
// not there both make it.
func (c *hourTables) get(e *answers, hour []*segmentFile, asked int) *rollup.Table {
	if asked < 2 {
		return nil
	}
	same := func(t *hourTable) bool {
		return t.hour == hour[0].entry.Hour && slices.EqualFunc(t.numbers, hour, func(n uint64, f *segmentFile) bool { return n == f.entry.Number })
	}
	c.mu.Lock()
	if i := slices.IndexFunc(c.kept, func(t hourTable) bool { return same(&t) }); i >= 0 {
		t := c.kept[i]
		c.kept = append(slices.Delete(c.kept, i, i+1), t)
		c.mu.Unlock()
		return t.table
	}
	c.mu.Unlock()
	if asked*2 < len(hour) {
		return nil
	}
	made := hourTable{hour: hour[0].entry.Hour}
	for _, f := range hour {
		made.numbers = append(made.numbers, f.entry.Number)
	}
	table := rollup.New()
	for _, f := range hour {
		t, err := f.guardedRollups(&e.rolls)
		if err != nil {
			return nil // the caller meets it again, and says so
		}
		if table.Merge(t); table.Step() != rollup.Minute {
			break
		}
	}
	if table.Step() == rollup.Minute {
		table.Kept()
		if n := table.Bytes(); n <= e.rolls.limit {
			made.table, made.bytes = table, n
		}
	}
	c.keep(made, e.rolls.limit)
	return made.table
}

// numbers is the segments of the hours whose tables are kept.
func (c *hourTables) numbers() map[uint64]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := make(map[uint64]bool)
	for _, t := range c.kept {
		if t.table != nil {
			for _, n := range t.numbers {
				in[n] = true
			}
		}
	}
	return in
}

// maxHours is more than anybody asks of at once; those that expired are among the kept ones for a while.
const maxHours = 1000

// keep takes a table in place of an older one of its hour and lets go of those that nobody asked for longest.
func (c *hourTables) keep(t hourTable, limit int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(slices.DeleteFunc(c.kept, func(o hourTable) bool {
		if o.hour == t.hour {
			c.bytes -= o.bytes
		}
		return o.hour == t.hour
	}), t)
	c.bytes += t.bytes
	for c.bytes > limit || len(c.kept) > maxHours {
		c.bytes -= c.kept[0].bytes
		c.kept = slices.Delete(c.kept, 0, 1)
	}
}

// held is about the memory of the tables that are kept.
func (c *hourTables) held() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// guardedRollups is rollups for a file that may be cut short or damaged.
func (s *segmentFile) guardedRollups(cache *rollupCache) (t *rollup.Table, err error) {
	err = segment.Guard(func() (err error) {
		t, err = s.rollups(cache)
		return err
	})
	return t, err
}

// rollups is the segment's table. It is shared: it must not be changed.
func (s *segmentFile) rollups(cache *rollupCache) (*rollup.Table, error) {
	if t := s.rolled.Load(); t != nil {
		return t, nil
	}
	p, err := s.r.Rollups()
	if err != nil {
		return nil, err
	}
	t, err := rollup.Decode(p)
	if err != nil {
		return nil, fmt.Errorf("%w: rollups: %w", segment.ErrDamaged, err)
	}
	cache.add(s, t, len(p))
	return t, nil
}
