package local

import (
	"context"
	"errors"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/local/internal/segment"
	"github.com/spanloom/spanloom/store/local/internal/table"
)

// snapshot is all rows of one moment, oldest part first. It holds its segments; release lets go of them.
type snapshot struct {
	segments []*segmentFile
	mems     []*memView
	missing  string // why answers are not complete; empty if they are
	away     error  // set where what is missing comes back
}

// complete says so where parts are missing.
func (s *snapshot) complete(done *store.Done) {
	if s.missing != "" && done.Complete {
		done.Complete, done.Reason = false, s.missing
	}
}

func (s *snapshot) hold() *snapshot {
	for _, f := range s.segments {
		f.hold()
	}
	return s
}

func (s *snapshot) release() {
	for _, f := range s.segments {
		f.release()
	}
}

// blocks is the number of blocks.
func (s *snapshot) blocks() (n int64) {
	for _, f := range s.segments {
		n += int64(len(f.r.Blocks()))
	}
	for _, m := range s.mems {
		n += int64(len(m.blocks))
	}
	return n
}

// unit is one block of a segment or of a memtable: what a question reads at once.
type unit struct {
	seg    *segmentFile
	block  int
	mem    *memView
	lo, hi int // rows of the memtable
	bounds
}

// each calls fn with every unit, newest part first, until it says stop.
func (s *snapshot) each(fn func(u *unit) (more bool)) {
	for i := len(s.mems) - 1; i >= 0; i-- {
		for block := len(s.mems[i].blocks) - 1; block >= 0; block-- {
			if u := s.mems[i].unit(block); !fn(&u) {
				return
			}
		}
	}
	for i := len(s.segments) - 1; i >= 0; i-- {
		for block := len(s.segments[i].r.Blocks()) - 1; block >= 0; block-- {
			if u := s.segments[i].unit(block); !fn(&u) {
				return
			}
		}
	}
}

func (v *memView) unit(block int) unit {
	lo := block * segment.BlockRows
	return unit{mem: v, lo: lo, hi: min(lo+segment.BlockRows, v.view.Rows()), bounds: v.blocks[block]}
}

func (f *segmentFile) unit(block int) unit {
	b := &f.r.Blocks()[block]
	return unit{seg: f, block: block, bounds: bounds{b.MinStart, b.MaxStart, b.MaxEnd, b.MaxDuration}}
}

// rows is the number of rows of a unit.
func (u *unit) rows() int {
	if u.mem != nil {
		return u.hi - u.lo
	}
	return u.seg.r.Blocks()[u.block].Rows
}

// bytes is what reading a unit costs at most: of a segment its bytes on disk, of a memtable about what its rows take.
func (u *unit) bytes() int64 {
	if u.mem != nil {
		return int64(u.hi-u.lo) * 220
	}
	return int64(u.seg.r.Blocks()[u.block].Rows) * u.seg.entry.Bytes / max(u.seg.entry.Rows, 1)
}

// opened is a unit whose columns can be read, until its opener lets go of it. Not safe for concurrent use.
type opened struct {
	*unit
	rows *segment.Rows // of a segment
}

// batch makes a batch of some rows (nil: all), relative to the unit, which is the caller's own.
func (o *opened) batch(need store.Need, rows []uint32) (*span.Batch, error) {
	return o.fill(table.NewFiller(need), need, rows)
}

// fill is batch with a filler of the need, whose batch is valid until its next use.
func (o *opened) fill(filler *table.Filler, need store.Need, rows []uint32) (*span.Batch, error) {
	if o.mem == nil {
		var b *span.Batch
		err := segment.Guard(func() error {
			v, err := o.rows.View(need, rows)
			if err != nil {
				return err
			}
			b = filler.Batch(v, nil, 0, v.Rows())
			return nil
		})
		return b, err
	}
	if rows == nil {
		return filler.Batch(&o.mem.view, nil, o.lo, o.hi), nil
	}
	own := make([]uint32, len(rows))
	for i, row := range rows {
		own[i] = row + uint32(o.lo)
	}
	return filler.Batch(&o.mem.view, own, 0, 0), nil
}

// gathered is the rows of one trace in all parts, in the order they were received.
type gathered struct {
	id   span.TraceID
	rows []answer.Row
}

// gatherOnce is gather with an opener of its own.
func (s *snapshot) gatherOnce(ctx context.Context, ids []span.TraceID, need store.Need) ([]gathered, error) {
	var open opener
	defer open.close()
	return s.gather(ctx, &open, ids, need)
}

// gather finds the rows of traces in every part, each with what need says of it. Batches are shared by traces that lie in one block.
// Cost: a filter of each segment for each id, then the blocks.
func (s *snapshot) gather(ctx context.Context, open *opener, ids []span.TraceID, need store.Need) ([]gathered, error) {
	g, err := s.gatherer(ctx, open, ids, gathering{need: need})
	return g.list, err
}

// gathering says how traces are gathered.
type gathering struct {
	need  store.Need
	twins bool // all traces with the lower halves of the ids
	most  int  // rows of several traces; where there are more the answer is errManyRows. 0: any number
}

var errManyRows = errors.New("traces have more rows than are held at once")

// gatherer is gather for those who want to know where the rows are too.
func (s *snapshot) gatherer(ctx context.Context, open *opener, ids []span.TraceID, how gathering) (gatherer, error) {
	if len(ids) == 1 {
		how.most = 0
	}
	g := gatherer{gathering: how, open: open, index: make(map[span.TraceID]int, len(ids)), lows: make(map[uint64]bool, len(ids))}
	for _, id := range ids {
		if !how.twins {
			g.index[id] = len(g.list)
			g.list = append(g.list, gathered{id: id})
		}
		g.lows[id.Low()] = true
	}
	for i, f := range s.segments {
		if i&63 == 0 && ctx.Err() != nil {
			return g, ctx.Err()
		}
		err := segment.Guard(func() error { return g.segment(ctx, f) })
		if err != nil && !f.damage(err) {
			return g, err
		}
	}
	for _, m := range s.mems {
		if err := g.memory(m, ids); err != nil {
			return g, err
		}
	}
	return g, nil
}

// more counts rows before they are read.
func (g *gatherer) more(rows int) error {
	if g.rows += rows; g.most > 0 && g.rows > g.most {
		return errManyRows
	}
	return nil
}

// gatherer is one gathering on its way.
type gatherer struct {
	gathering
	open  *opener
	rows  int
	index map[span.TraceID]int // in list
	lows  map[uint64]bool
	list  []gathered
	found []*segmentFile // those that have rows of the traces
	parts []int
	wants []wantedPart
}

type wantedPart struct {
	part, trace int // in the segment's list of traces; in list
}

// at is the place of a trace in the list; -1 if it is not asked for.
func (g *gatherer) at(id span.TraceID) int {
	i, ok := g.index[id]
	switch {
	case ok:
	case !g.twins || !g.lows[id.Low()]:
		return -1
	default:
		i = len(g.list)
		g.index[id] = i
		g.list = append(g.list, gathered{id: id})
	}
	return i
}

func (g *gatherer) segment(ctx context.Context, f *segmentFile) error {
	g.wants = g.wants[:0]
	var err error
	if g.parts, err = g.find(f, g.parts[:0]); err != nil {
		return err
	}
	for _, part := range g.parts {
		id, err := f.r.TraceID(part)
		if err != nil {
			return err
		}
		if i := g.at(id); i >= 0 {
			g.wants = append(g.wants, wantedPart{part, i})
		}
	}
	if len(g.wants) > 0 {
		g.found = append(g.found, f)
	}
	slices.SortFunc(g.wants, func(a, b wantedPart) int { return a.part - b.part })
	for from := 0; from < len(g.wants); {
		if err := ctx.Err(); err != nil {
			return err
		}
		block := f.r.BlockOf(g.wants[from].part)
		to := from
		for last := f.r.Blocks()[block].FirstPart + f.r.Blocks()[block].Parts; to < len(g.wants) && g.wants[to].part < last; to++ {
		}
		if err := g.block(f, block, g.wants[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// manyIDs is how many ids are looked up one by one: each costs a pass over the segment's list of traces, all together one pass and
// a map.
const manyIDs = 8

func (g *gatherer) find(f *segmentFile, parts []int) ([]int, error) {
	hits := make([]uint64, 0, manyIDs)
	for low := range g.lows {
		ok, err := f.r.MayHaveTrace(low)
		if err != nil {
			return parts, err
		}
		if ok {
			hits = append(hits, low)
		}
	}
	if len(hits) > manyIDs {
		return f.r.PartsOf(parts, g.lows)
	}
	for _, low := range hits {
		var err error
		if parts, err = f.r.Parts(parts, low); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

func (g *gatherer) block(f *segmentFile, block int, wants []wantedPart) error {
	u := f.unit(block)
	o, err := g.open.get(&u)
	if err != nil {
		return err
	}
	first := f.r.Blocks()[block].FirstPart
	var rows []uint32
	counts := make([]int, len(wants))
	starts := o.rows.Starts()
	for i, w := range wants {
		from, to := starts[w.part-first], starts[w.part-first+1]
		for row := from; row < to; row++ {
			rows = append(rows, row)
		}
		counts[i] = int(to - from)
	}
	if err := g.more(len(rows)); err != nil {
		return err
	}
	b, err := o.batch(g.need, rows)
	if err != nil {
		return err
	}
	at := 0
	for i, w := range wants {
		received := o.rows.Received(w.part - first)
		b.Received = max(b.Received, received)
		for range counts[i] {
			g.list[w.trace].rows = append(g.list[w.trace].rows, answer.Row{Batch: b, Row: at, Received: received})
			at++
		}
	}
	return nil
}

func (g *gatherer) memory(m *memView, ids []span.TraceID) error {
	traces := m.traces(ids, g.twins)
	if len(traces) == 0 {
		return nil
	}
	var rows []uint32
	for _, tr := range traces {
		rows = append(rows, tr.rows...)
	}
	if err := g.more(len(rows)); err != nil {
		return err
	}
	b := table.NewFiller(g.need).Batch(&m.view, rows, 0, 0)
	at := 0
	for _, tr := range traces {
		i := g.at(tr.id)
		b.Received = max(b.Received, tr.received)
		for range tr.rows {
			if i >= 0 {
				g.list[i].rows = append(g.list[i].rows, answer.Row{Batch: b, Row: at, Received: tr.received})
			}
			at++
		}
	}
	return nil
}
