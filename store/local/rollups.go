package local

import (
	"context"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
)

var _ rollup.Reader = (*Engine)(nil)

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
		b.Collect(store.Rows{Batch: batch, Rows: counting(batch.Len())})
	}
	b.Flush(store.TimeRange{})
	c.table, c.rows, c.at = b.Table(), v.view.Rows(), time.Now()
	c.took = c.at.Sub(began)
	return c.table
}

// Rollups implements rollup.Reader: the tables of all segments that have spans in the range, and counts of the memtables, which may
// be a second old where they are large. Cost: decoding and merging a table of each segment.
func (e *Engine) Rollups(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	done := store.Done{Complete: true}
	if err := e.readable(s); err != nil {
		return nil, done, err
	}
	snap, err := e.snapshot()
	if err != nil {
		return nil, done, err
	}
	defer snap.release()
	total := rollup.New()
	done.Read.Of = int64(len(snap.segments) + len(snap.mems))
	for _, f := range snap.segments {
		if err := ctx.Err(); err != nil {
			done.Complete, done.Reason = false, reason(err)
			return total, done, nil
		}
		if !r.Overlaps(f.entry.MinStart, f.entry.MaxStart) {
			continue
		}
		var t *rollup.Table
		err := segment.Guard(func() (err error) {
			t, err = f.rollups(&e.rolls)
			return err
		})
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
	for _, m := range snap.mems {
		done.Read.Blocks++
		total.MergeRange(m.rollups(), r)
	}
	return total, done, nil
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
