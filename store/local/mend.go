package local

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spanloom/spanloom/store/local/internal/compact"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/segment"
)

// setAside is told of a segment whose bytes are damaged, by readers that met the damage and passed over the block. The segment stays
// in use until mend has done what can be done.
func (e *Engine) setAside(f *segmentFile, err error) {
	e.mu.Lock()
	e.broken = append(e.broken, brokenSegment{f.entry.Number, err})
	e.mu.Unlock()
	e.log.Error("a segment is damaged", "segment", f.entry.Name(), "spans", f.entry.Rows, "err", err)
	select {
	case e.wake <- struct{}{}:
	default: // it is awake
	}
}

// brokenSegment is a segment that is to be mended, and why.
type brokenSegment struct {
	number uint64
	why    error
}

// mend takes damaged segments out of use. What their good blocks hold is written into new ones, which take their places.
func (e *Engine) mend() error {
	for {
		e.mu.Lock()
		if len(e.broken) == 0 {
			e.mu.Unlock()
			return nil
		}
		b := e.broken[0]
		e.mu.Unlock()
		if f := e.holdSegment(b.number); f != nil {
			err := e.mendSegment(f, b.why)
			f.release()
			if err != nil {
				return err
			}
		}
		e.mu.Lock()
		e.broken = e.broken[1:]
		e.mu.Unlock()
	}
}

// holdSegment is a segment that is in use, nil if it isn't. The caller releases it.
func (e *Engine) holdSegment(number uint64) *segmentFile {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.segments {
		if f.entry.Number == number {
			return f.hold()
		}
	}
	return nil
}

func (e *Engine) mendSegment(f *segmentFile, why error) error {
	if healed, err := e.heal(f, why); healed || err != nil {
		return err
	}
	entry, err := e.goodBlocks(f)
	if err != nil && !errors.Is(err, segment.ErrDamaged) {
		return fmt.Errorf("write what is left of segment %d: %w", f.entry.Number, err)
	}
	e.housework.Lock()
	defer e.housework.Unlock()
	if err != nil || entry.Rows == 0 {
		return e.replace(f, nil, why)
	}
	file, err := openSegment(e.fs, e.segDir(), entry, e.sides, e.setAside)
	if err != nil {
		return fmt.Errorf("open segment %d that was just written: %w", entry.Number, err)
	}
	return e.replace(f, file, why)
}

// heal reads a damaged segment from the bucket from now on, where that has it.
func (e *Engine) heal(f *segmentFile, why error) (bool, error) {
	if list, _ := e.evictable(); e.up == nil || !slices.ContainsFunc(list, func(x manifest.Entry) bool { return x.Number == f.entry.Number }) {
		return false, nil
	}
	far, err := e.up.far.open(f.entry, e.sides)
	if err != nil {
		e.log.Warn("the bucket's copy of a damaged segment cannot be read", "segment", f.entry.Object(), "err", err)
		return false, nil
	}
	e.housework.Lock()
	defer e.housework.Unlock()
	gone := manifest.Removal{Number: f.entry.Number, Reason: manifest.Size}
	if err := e.man.Apply(manifest.Change{Remove: []manifest.Removal{gone}}); err != nil {
		far.release()
		return !errors.Is(err, manifest.ErrGone), err
	}
	e.mu.Lock()
	e.take(func(x manifest.Entry) bool { return x.Number == f.entry.Number })
	e.insert(far)
	e.mu.Unlock()
	return true, e.rename(f.entry, fmt.Sprintf("segment %s is set aside and read from the bucket, nothing is lost: %v", f.entry.Name(), why))
}

// goodBlocks writes the rows of a segment's good blocks into a new one; no rows if there are none.
func (e *Engine) goodBlocks(f *segmentFile) (manifest.Entry, error) {
	faults, err := f.r.Check(e.ctx, nil)
	if err != nil {
		return manifest.Entry{}, err
	}
	bad, lost := make(map[int]bool), 0
	for _, x := range faults {
		if lost += x.Rows; x.Block >= 0 {
			bad[x.Block] = true
		}
	}
	if lost >= f.r.Info().Rows {
		return manifest.Entry{}, nil
	}
	return compact.Rewrite(e.ctx, e.fs, e.segDir(), f.entry, e.man.Take(), func(block int) bool { return bad[block] })
}

// replace puts a segment, or nothing, in the place of a damaged one, and renames that. housework is held.
func (e *Engine) replace(f, by *segmentFile, why error) error {
	gone := manifest.Removal{Number: f.entry.Number, Reason: manifest.Damaged, Text: why.Error()}
	change := manifest.Change{}
	text := fmt.Sprintf("segment %s (%d spans) is set aside: %v", f.entry.Name(), f.entry.Rows, why)
	if by != nil {
		gone.Lost = max(1, f.entry.Rows-by.entry.Rows)
		change.Add = []manifest.Entry{by.entry}
		text = fmt.Sprintf("segment %s: %d of %d spans are lost, the others are in %s: %v", f.entry.Name(), f.entry.Rows-by.entry.Rows, f.entry.Rows,
			by.entry.Name(), why)
	}
	change.Remove = []manifest.Removal{gone}
	err := e.man.Apply(change)
	if errors.Is(err, manifest.ErrGone) { // retention was faster
		if by != nil {
			by.release()
			return e.removeFiles([]*segmentFile{by})
		}
		return nil
	}
	if err != nil {
		if by != nil {
			by.release()
		}
		return err
	}
	e.mu.Lock()
	if by != nil {
		e.insert(by)
	}
	e.take(func(x manifest.Entry) bool { return x.Number == f.entry.Number })
	e.mu.Unlock()
	e.pokeUploads()
	return e.rename(f.entry, text)
}
