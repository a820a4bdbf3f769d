package compact

import (
	"context"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/store/local/internal/manifest"
	"github.com/spanloom/spanloom/store/local/internal/policy"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/rollup"
)

// Rolling counts the rows of a segment while it is written.
type Rolling struct {
	b      *rollup.Builder
	filler *table.Filler
}

// NewRolling begins the counts of one segment.
func NewRolling() *Rolling { return &Rolling{rollup.NewBuilder(), table.NewFiller(rollup.Need())} }

// Add counts rows, whole traces: what Options.Rows is called with.
func (r *Rolling) Add(v *table.View, rows []uint32) error {
	r.b.Add(r.filler.Batch(v, rows, 0, 0))
	return nil
}

// Encoded is the section of the segment.
func (r *Rolling) Encoded() []byte {
	t := r.b.Table()
	t.Trim()
	return t.AppendBinary(nil)
}

// Rewrite writes the rows of a segment into a new one, without the blocks that skip names (nil: none), and makes filters, counts and
// rollups anew. The caller enters it and takes the old one out. What is lost is the difference of their rows, duplicates in the
// old one excepted.
func Rewrite(ctx context.Context, fsys faultfs.FS, dir string, e manifest.Entry, number uint64, skip func(block int) bool) (manifest.Entry, error) {
	r := NewRolling()
	o := Options{Rows: r.Add}
	if skip != nil {
		o.Skip = func(_, block int) bool { return skip(block) }
	}
	j := policy.Job{Hour: e.Hour, Level: e.Level, Inputs: []manifest.Entry{e}}
	out, _, err := Run(ctx, fsys, dir, j, number, o, r.Encoded)
	return out, err
}
