package compact

import (
	"cmp"
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// cursor walks over the rows of a long trace in one input. They stand in the order of their starts.
type cursor struct {
	pieces []piece
	row    int32 // within the first of the pieces
}

func (c *cursor) step() {
	if c.row++; c.row >= c.pieces[0].rows {
		c.pieces, c.row = c.pieces[1:], 0
	}
}

// ref names a row of an input.
type ref struct {
	input, block, row int32
	end               uint64
}

// long joins a trace that is too long to be held: rows of one effective start at a time, into blocks of its own.
func (m *merger) long(pieces []piece) error {
	var cursors []cursor
	for from := 0; from < len(pieces); {
		to := from
		for to < len(pieces) && pieces[to].input == pieces[from].input {
			to++
		}
		cursors = append(cursors, cursor{pieces: pieces[from:to]})
		from = to
	}
	var w window
	for len(cursors) > 0 {
		if err := m.fill(&w, cursors); err != nil {
			return err
		}
		for _, r := range w.refs {
			if m.out.Rows() >= m.o.BlockRows {
				if err := m.flushLong(); err != nil {
					return err
				}
			}
			b, err := m.cache.get(r.input, r.block)
			if err != nil {
				return err
			}
			b.begin(m.out, m.epoch)
			b.copy.Row(int(r.row), b.received[r.row])
		}
		cursors = slices.DeleteFunc(cursors, func(c cursor) bool { return len(c.pieces) == 0 })
	}
	return m.flushLong()
}

// window is rows of one trace with one effective start, without duplicates.
type window struct {
	refs []ref
	seen map[identity]int
}

// identity is span.Identity within a trace.
type identity struct {
	span    span.SpanID
	kind    span.Kind
	start   uint64
	service string
}

// fill takes the rows of the lowest start from all cursors, in the order they were received.
func (m *merger) fill(w *window, cursors []cursor) error {
	w.refs = w.refs[:0]
	if w.seen == nil {
		w.seen = make(map[identity]int)
	}
	clear(w.seen)
	lowest := int64(math.MaxInt64)
	for i := range cursors {
		t, err := m.timeOf(&cursors[i])
		if err != nil {
			return err
		}
		lowest = min(lowest, t)
	}
	for i := range cursors {
		for c := &cursors[i]; len(c.pieces) > 0; c.step() {
			t, err := m.timeOf(c)
			if err != nil {
				return err
			}
			if t > lowest {
				break
			}
			if err := m.take(w, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merger) timeOf(c *cursor) (int64, error) {
	p := &c.pieces[0]
	b, err := m.cache.get(p.input, p.block)
	if err != nil {
		return 0, err
	}
	return b.view.Time[p.row+c.row], nil
}

// take adds a row to the window, or puts it in the place of a copy that ends no later.
func (m *merger) take(w *window, c *cursor) error {
	p := &c.pieces[0]
	b, err := m.cache.get(p.input, p.block)
	if err != nil {
		return err
	}
	v, row := b.view, p.row+c.row
	key := identity{v.Span[row], v.Kind[row], v.Start[row], string(v.Texts.Bytes(v.Idents[v.Ident[row]].Service))}
	r := ref{p.input, p.block, row, v.End[row]}
	at, ok := w.seen[key]
	switch {
	case !ok:
		w.seen[key] = len(w.refs)
		w.refs = append(w.refs, r)
		return nil
	case cmp.Compare(r.end, w.refs[at].end) >= 0:
		w.refs[at] = r
	}
	m.stats.Duplicates++
	return nil
}

// flushLong writes the rows of out as they stand: one trace, in order, without duplicates.
func (m *merger) flushLong() error {
	m.out.Sync()
	m.w.Source(&m.out.View)
	m.rows = m.rows[:0]
	for row := range m.out.Rows() {
		m.rows = append(m.rows, uint32(row))
	}
	if len(m.rows) == 0 {
		return nil
	}
	if err := m.packer.Trace(m.rows, m.out.Heads[0].Received); err != nil {
		return err
	}
	return m.written()
}
