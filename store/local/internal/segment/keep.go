package segment

import (
	"slices"

	"github.com/spanloom/spanloom/store"
)

// Side names a column whose values are indexes of the side tables or small numbers.
type Side int

// The side columns that questions are about.
const (
	SideResource = Side(colResource)
	SideIdent    = Side(colIdent)
	SideScope    = Side(colScope)
	SideKind     = Side(colKind)
	SideStatus   = Side(colStatus)
)

// Keep keeps the rows on whose value of a side column keep says yes, in place. It is asked once for each different value.
func (b *Rows) Keep(column Side, rows []uint32, keep func(value uint32) bool) []uint32 {
	s := b.sideColumn(int(column))
	yes := make([]bool, len(s.values))
	for i, v := range s.values {
		yes[i] = keep(uint32(v))
	}
	return b.keep(&s.decoded, rows, yes)
}

// keep keeps rows by code. Where codes follow from the contexts so does the answer.
func (b *Rows) keep(d *decoded, rows []uint32, yes []bool) []uint32 {
	kept := rows[:0]
	if d.codes != nil {
		for _, row := range rows {
			if yes[d.codes[row]] {
				kept = append(kept, row)
			}
		}
		return kept
	}
	byContext := make([]bool, b.ctx.n)
	for c, code := range d.fine {
		byContext[c] = code != noCode && yes[code]
	}
	for _, row := range rows {
		if byContext[b.ctx.fine[row]] {
			kept = append(kept, row)
		}
	}
	return kept
}

// KeepCodes keeps the rows that have a column on whose value keep says yes, in place. It is asked once for each different value that
// occurs in rows. Its error ends it.
func (b *Rows) KeepCodes(c *Column, rows []uint32, keep func(code uint32) (bool, error)) ([]uint32, error) {
	const unknown, no, yes = 0, 1, 2
	memo := make([]byte, c.Dict.Len())
	ask := func(code uint32) (bool, error) {
		if memo[code] == unknown {
			ok, err := keep(code)
			if err != nil {
				return false, err
			}
			memo[code] = no
			if ok {
				memo[code] = yes
			}
		}
		return memo[code] == yes, nil
	}
	if fine, ok := c.ByContext(); ok {
		answers := make([]bool, len(fine))
		for i, code := range fine {
			if code == noCode {
				continue
			}
			var err error
			if answers[i], err = ask(code); err != nil {
				return nil, err
			}
		}
		kept := rows[:0]
		for _, row := range rows {
			if answers[b.ctx.fine[row]] {
				kept = append(kept, row)
			}
		}
		return kept, nil
	}
	codes := b.Codes(c)
	kept := rows[:0]
	for _, row := range rows {
		code := codes[row]
		if code == noCode {
			continue
		}
		ok, err := ask(code)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, row)
		}
	}
	return kept, nil
}

// KeepText keeps the rows that have a column of texts with a value, in place.
func (b *Rows) KeepText(c *Column, rows []uint32, text string) []uint32 {
	code, ok := c.Dict.Find([]byte(text))
	switch {
	case !ok:
		return rows[:0]
	case c.at == nil && c.codes == nil:
		return slices.DeleteFunc(rows, func(row uint32) bool { return c.fine[b.ctx.fine[row]] != code })
	case c.at == nil:
		return slices.DeleteFunc(rows, func(row uint32) bool { return c.codes[row] != code })
	}
	kept, next := rows[:0], 0
	for i, row := range c.at {
		if c.code(&b.ctx, i) != code {
			continue
		}
		for next < len(rows) && rows[next] < row {
			next++
		}
		if next < len(rows) && rows[next] == row {
			kept = append(kept, row)
			next++
		}
	}
	return kept
}

// FieldsOf appends the fields of the side tables with a key in an owner.
func (b *Rows) FieldsOf(dst []uint32, owner store.FieldScope, key string) []uint32 {
	for i, f := range b.Side.Fields {
		if f.Owner == owner && string(b.Side.Texts.Bytes(f.Key)) == key {
			dst = append(dst, uint32(i))
		}
	}
	return dst
}

// Repeated reports whether some span of the block has a key twice: the last one counts, which columns cannot tell.
func (b *Rows) Repeated() bool { return b.meta.Repeated }
