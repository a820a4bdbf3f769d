package match

import (
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Filter keeps the rows on which the program holds, in place and in order. It answers what Row answers row by row, and
// takes a third of the time where the first conditions of an And are on columns: service, name, kind, status.
func (bd *Bound) Filter(rows []uint32) []uint32 {
	if bd.prog.root == nil {
		return rows
	}
	return bd.filter(bd.prog.root, rows)
}

// Slow reports whether a row may take long: an expression is matched against its values.
func (bd *Bound) Slow() bool { return bd.memos != nil }

func (bd *Bound) filter(n *node, rows []uint32) []uint32 {
	switch n.op {
	case opAnd:
		for _, kid := range n.kids {
			rows = bd.filter(kid, rows)
		}
		return rows
	case opCond:
		c := bd.prog.conds[n.cond]
		if column := bd.columns[n.cond]; column != nil && c.op == store.Eq && !c.numeric {
			return equalRows(rows, bd.batch, column, c.text)
		}
		if c.words != nil && c.intrinsic == inKind {
			return wordRows(rows, bd.batch.Kind, c.words)
		}
		if c.words != nil {
			return wordRows(rows, bd.batch.Status, c.words)
		}
	}
	kept := rows[:0]
	for _, row := range rows {
		if bd.eval(n, int(row)) {
			kept = append(kept, row)
		}
	}
	return kept
}

// equalRows keeps rows with a text. The last run that was equal and the last that was not are remembered: where strings are
// interned the arena is hardly looked at.
func equalRows(rows []uint32, b *span.Batch, column []span.Str, text string) []uint32 {
	var hit, miss span.Str
	known := false
	kept := rows[:0]
	for _, row := range rows {
		s := column[row]
		if int(s.Len) != len(text) || s == miss && s.Len > 0 {
			continue
		}
		if !known || s != hit {
			if string(b.Bytes(s)) != text {
				miss = s
				continue
			}
			hit, known = s, true
		}
		kept = append(kept, row)
	}
	return kept
}

func wordRows[T span.Kind | span.Status](rows []uint32, column []T, words []bool) []uint32 {
	kept := rows[:0]
	for _, row := range rows {
		if words[min(int(column[row]), len(words)-1)] {
			kept = append(kept, row)
		}
	}
	return kept
}
