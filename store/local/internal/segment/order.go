package segment

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/spanloom/spanloom/store/local/internal/table"
)

// Packer puts traces into blocks: a trace is not cut by a block's border unless it is longer than a block; then it fills blocks of
// its own.
type Packer struct {
	w     *Writer
	size  int
	rows  []uint32
	parts []Part
}

// NewPacker makes a packer for blocks of about size rows; 0 is BlockRows.
func NewPacker(w *Writer, size int) *Packer {
	if size <= 0 {
		size = BlockRows
	}
	return &Packer{w: w, size: size}
}

// Trace adds the rows of one trace of the writer's source, in the order of their starts.
func (p *Packer) Trace(rows []uint32, received int64) error {
	if len(p.rows) > 0 && len(p.rows)+len(rows) > p.size {
		if err := p.Flush(); err != nil {
			return err
		}
	}
	for len(rows) > p.size {
		p.rows, p.parts = append(p.rows, rows[:p.size]...), append(p.parts, Part{p.size, received})
		if err := p.Flush(); err != nil {
			return err
		}
		rows = rows[p.size:]
	}
	p.rows, p.parts = append(p.rows, rows...), append(p.parts, Part{len(rows), received})
	return nil
}

// Flush writes the rows that wait. It must come before the writer's source changes.
func (p *Packer) Flush() error {
	err := p.w.Block(p.rows, p.parts)
	p.rows, p.parts = p.rows[:0], p.parts[:0]
	return err
}

// WriteTable writes all rows of a table, which nobody changes meanwhile: traces in the order of their first start, duplicates
// dropped (the latest-ending stays, of equal ones the last received). It ends with the context's error between blocks.
// each, if it is not nil, is given all rows that are written, some thousands at a time, whole traces.
func WriteTable(ctx context.Context, w *Writer, t *table.Table, blockRows int, each func(v *table.View, rows []uint32) error) error {
	w.Source(&t.View)
	p := NewPacker(w, blockRows)
	order := ByFirstStart(t)
	var d Deduper
	var told []uint32
	for i, trace := range order {
		if i&255 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		rows := d.Rows(t, trace)
		if err := p.Trace(rows, t.Heads[trace].Received); err != nil {
			return err
		}
		if each == nil {
			continue
		}
		if told = append(told, rows...); len(told) >= BlockRows || i == len(order)-1 {
			if err := each(&t.View, told); err != nil {
				return err
			}
			told = told[:0]
		}
	}
	return p.Flush()
}

// ByFirstStart is the traces of a table in the order of their first effective start.
func ByFirstStart(t *table.Table) []uint32 {
	first := make([]int64, len(t.TraceIDs))
	for i := range first {
		first[i] = 1<<63 - 1
	}
	for row, trace := range t.View.Trace {
		first[trace] = min(first[trace], t.Time[row])
	}
	order := make([]uint32, len(first))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(first[a], first[b]), bytes.Compare(t.TraceIDs[a][:], t.TraceIDs[b][:]))
	})
	return order
}

// Deduper lists the rows of traces without duplicates. It keeps its memory.
type Deduper struct {
	rows []uint32
	seen map[copyKey]int
}

type copyKey struct {
	span    [8]byte
	kind    uint8
	start   uint64
	service table.ID
}

// Rows is a trace's rows in the order of their starts, without duplicates; valid until the next call.
func (d *Deduper) Rows(t *table.Table, trace uint32) []uint32 {
	d.rows = d.rows[:0]
	for at := t.Heads[trace].Last; at != 0; at = t.Prev[at-1] {
		d.rows = append(d.rows, at-1)
	}
	slices.Reverse(d.rows)
	d.rows = d.distinct(&t.View, d.rows)
	slices.SortStableFunc(d.rows, func(a, b uint32) int { return cmp.Compare(t.Time[a], t.Time[b]) })
	return d.rows
}

// distinct drops duplicates in place, rows being in the order they were received. Small traces are compared pair by pair, which is
// faster than a map.
func (d *Deduper) distinct(v *table.View, rows []uint32) []uint32 {
	const pairwise = 40
	kept := rows[:0]
	large := len(rows) > pairwise
	if large {
		if d.seen == nil {
			d.seen = make(map[copyKey]int)
		}
		clear(d.seen)
	}
	for _, row := range rows {
		at := -1
		if large {
			key := copyKey{v.Span[row], uint8(v.Kind[row]), v.Start[row], v.Idents[v.Ident[row]].Service}
			if i, ok := d.seen[key]; ok {
				at = i
			} else {
				d.seen[key] = len(kept)
			}
		} else {
			at = slices.IndexFunc(kept, func(o uint32) bool { return same(v, row, o) })
		}
		switch {
		case at < 0:
			kept = append(kept, row)
		case v.End[row] >= v.End[kept[at]]:
			kept[at] = row
		}
	}
	return kept
}

// same reports whether two rows of one trace are copies of one span.
func same(v *table.View, a, b uint32) bool {
	return v.Span[a] == v.Span[b] && v.Kind[a] == v.Kind[b] && v.Start[a] == v.Start[b] &&
		v.Idents[v.Ident[a]].Service == v.Idents[v.Ident[b]].Service
}
