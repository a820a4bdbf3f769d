package local

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
)

// adopt opens what the bucket has and the engine has not.
func (e *Engine) adopt(ctx context.Context) error {
	has := e.allEntries()
	var far []manifest.Entry
	for _, x := range e.up.gen.Entries {
		if !slices.ContainsFunc(has, func(h manifest.Entry) bool { return h.Number == x.Number || h.Covers(x) }) {
			far = append(far, x)
		}
	}
	e.openFar(ctx, far)
	return ctx.Err()
}

// openFar opens segments in the bucket; those that cannot be opened are missing.
func (e *Engine) openFar(ctx context.Context, far []manifest.Entry) {
	files, later, lost := e.up.far.openAll(ctx, far, e.sides)
	for _, x := range lost {
		e.log.Error("a segment in the bucket cannot be read", "segment", x.entry.Object(), "spans", x.entry.Rows, "err", x.why)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range files {
		e.insert(f)
	}
	e.missing.later, e.missing.lost = append(e.missing.later, later...), append(e.missing.lost, lost...)
}

// reopen tries again what was away.
func (e *Engine) reopen(ctx context.Context) {
	e.mu.Lock()
	again := e.missing.later
	e.missing.later = nil
	e.mu.Unlock()
	if len(again) == 0 {
		return
	}
	entries := make([]manifest.Entry, len(again))
	for i, x := range again {
		entries[i] = x.entry
	}
	e.openFar(ctx, entries)
}

// farDamage is told of a segment of which questions met damage in the bucket.
func (e *Engine) farDamage(f *segmentFile, err error) {
	text := damagedObject(e.log, f, err)
	e.mu.Lock()
	e.lost = append(e.lost, text)
	e.mu.Unlock()
}

// damagedObject logs damage that was met in the bucket and answers what Stats say of it.
func damagedObject(log *slog.Logger, f *segmentFile, err error) string {
	log.Error("a segment in the bucket is damaged", "segment", f.entry.Object(), "spans", f.entry.Rows, "err", err)
	return fmt.Sprintf("segment %s is damaged in the bucket: %v", f.entry.Object(), err)
}

// allEntries is every segment that holds, those that could not be opened too.
func (e *Engine) allEntries() []manifest.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []manifest.Entry
	for _, f := range e.segments {
		list = append(list, f.entry)
	}
	for _, x := range slices.Concat(e.missing.later, e.missing.lost) {
		list = append(list, x.entry)
	}
	return list
}

// evictable are the segments on the disk that are in the bucket, and the bytes of those that are not yet. Without a bucket all may go.
func (e *Engine) evictable() (list []manifest.Entry, held int64) {
	local := e.localEntries()
	if e.up == nil {
		return local, 0
	}
	e.up.mu.Lock()
	defer e.up.mu.Unlock()
	in := make(map[string]bool, len(e.up.gen.Entries))
	for _, x := range e.up.gen.Entries {
		in[x.Object()] = true
	}
	for _, x := range local {
		if in[x.Object()] {
			list = append(list, x)
		} else {
			held += x.Bytes
		}
	}
	return list, held
}

// oversize lets segments go from the disk so that the rest fits: for good, or into the bucket only. housework is held.
func (e *Engine) oversize(ctx context.Context, next int64) error {
	list, held := e.evictable()
	use := e.use(next)
	use.Kept += held
	gone := policy.Oversize(list, e.limits(), use)
	if e.up == nil {
		return e.drop(ctx, gone)
	}
	for _, g := range gone {
		if f := e.holdSegment(g.Number); f != nil {
			err := e.evict(f, g)
			f.release()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// evict takes a segment off the disk that is in the bucket. What a look-up needs of it is taken over into the cache.
func (e *Engine) evict(f *segmentFile, g manifest.Removal) error {
	if f.far {
		return nil
	}
	far, err := e.up.far.openFrom(f.entry, e.sides, f.m.Bytes())
	if err != nil {
		return err
	}
	if err := e.man.Apply(manifest.Change{Remove: []manifest.Removal{g}}); err != nil {
		far.release()
		return err
	}
	e.mu.Lock()
	e.take(func(x manifest.Entry) bool { return x.Number == g.Number })
	e.insert(far)
	e.mu.Unlock()
	return e.removeFiles([]*segmentFile{f})
}
