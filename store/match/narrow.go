package match

import (
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Engines in columns judge a condition by its column, once for each different value, instead of row by row. Narrow walks the
// tree for them; Values says what a condition thinks of one value.

// Leaf keeps the rows on which one condition holds, in order. It may write into rows.
type Leaf func(cond int, rows []uint32) ([]uint32, error)

// Narrow keeps the rows on which the program holds: what Filter answers, with each condition asked of leaf.
func (p *Program) Narrow(rows []uint32, leaf Leaf) ([]uint32, error) {
	if p.root == nil {
		return rows, nil
	}
	return narrow(p.root, rows, leaf)
}

func narrow(n *node, rows []uint32, leaf Leaf) (_ []uint32, err error) {
	switch n.op {
	case opCond:
		return leaf(n.cond, rows)
	case opAnd:
		for _, kid := range n.kids {
			if len(rows) == 0 {
				break
			}
			if rows, err = narrow(kid, rows, leaf); err != nil {
				return nil, err
			}
		}
		return rows, nil
	case opOr:
		var hits []uint32
		for _, kid := range n.kids {
			if len(rows) == 0 {
				break
			}
			some, err := narrow(kid, slices.Clone(rows), leaf)
			if err != nil {
				return nil, err
			}
			hits = append(hits, some...)
			rows = without(rows, some)
		}
		slices.Sort(hits)
		return hits, nil
	default:
		hits, err := narrow(n.kids[0], slices.Clone(rows), leaf)
		return without(rows, hits), err
	}
}

// without takes some of rows out in place; both are in order.
func without(rows, some []uint32) []uint32 {
	if len(some) == 0 {
		return rows
	}
	kept, next := rows[:0], 0
	for _, row := range rows {
		for next < len(some) && some[next] < row {
			next++
		}
		if next == len(some) || some[next] != row {
			kept = append(kept, row)
		}
	}
	return kept
}

// Field is the field of a condition.
func (p *Program) Field(cond int) store.Field { return p.conds[cond].field }

// One is a program of one condition, about an attribute of the given owner.
func (p *Program) One(i int, owner store.FieldScope) *Program {
	c := *p.conds[i]
	if c.field.In != store.Intrinsic {
		c.field.In = owner
	}
	conds := append([]*cond(nil), &c)
	return &Program{root: &node{op: opCond}, conds: conds}
}

// Need is the columns and attributes that the program reads.
func (p *Program) Need() store.Need {
	var n store.Need
	for _, c := range p.conds {
		n = n.And(fieldNeed(c.field, c.intrinsic))
	}
	return n
}

func fieldNeed(f store.Field, in intrinsic) store.Need {
	if f.In != store.Intrinsic {
		n := store.Need{Fields: []store.Field{f}}
		if f.In == store.InAny || f.In == store.InEvent {
			n.Columns |= store.ColEvents
		}
		if f.In == store.InAny || f.In == store.InLink {
			n.Columns |= store.ColLinks
		}
		return n
	}
	switch in {
	case inService, inGroup, inNamespace:
		return store.Need{Columns: store.ColService}
	case inName:
		return store.Need{Columns: store.ColName}
	case inKind:
		return store.Need{Columns: store.ColKind}
	case inStatus, inError:
		return store.Need{Columns: store.ColStatus}
	case inStatusMessage:
		return store.Need{Columns: store.ColStatusMessage}
	case inDuration:
		return store.Need{Columns: store.ColTime}
	case inRoot, inParentID:
		return store.Need{Columns: store.ColParent}
	case inSpanID:
		return store.Need{Columns: store.ColSpanID}
	case inTraceState:
		return store.Need{Columns: store.ColTraceState}
	case inScopeName, inScopeVersion:
		return store.Need{Columns: store.ColScope}
	case inEventName:
		return store.Need{Columns: store.ColEvents}
	}
	return store.Need{}
}

// Need is what the getter reads.
func (g *Getter) Need() store.Need { return fieldNeed(g.field, g.intrinsic) }

// MinDuration is a duration in ns below which the program holds on no row: blocks without a longer span are passed over.
func (p *Program) MinDuration() int64 {
	if p.root == nil {
		return 0
	}
	return p.minDuration(p.root)
}

func (p *Program) minDuration(n *node) int64 {
	switch n.op {
	case opAnd:
		least := int64(0)
		for _, kid := range n.kids {
			least = max(least, p.minDuration(kid))
		}
		return least
	case opOr:
		least := int64(math.MaxInt64)
		for _, kid := range n.kids {
			least = min(least, p.minDuration(kid))
		}
		if len(n.kids) == 0 {
			return 0
		}
		return least
	case opNot:
		return 0
	}
	c := p.conds[n.cond]
	if c.field.In != store.Intrinsic || c.intrinsic != inDuration || !c.numeric {
		return 0
	}
	switch c.op {
	case store.Eq, store.Gt, store.Ge:
		if c.num.float {
			if c.num.f > 0 && c.num.f < math.MaxInt64 {
				return int64(c.num.f)
			}
			return 0
		}
		return max(c.num.i, 0)
	}
	return 0
}

// Values asks a program of one condition (One) about values of an attribute or a text column, of which it does not matter where
// they stand. It is not safe for concurrent use.
type Values struct {
	bound Bound
	batch span.Batch
}

// Values makes one. Arena must be called before the first question about a text.
func (p *Program) Values() *Values {
	v := &Values{}
	v.bound = Bound{prog: p, keys: make([]int64, 1), columns: make([][]span.Str, 1)}
	v.bound.batch = &v.batch
	return v
}

// Text is the only string that the condition holds on, where there is one. Arrays are another matter.
func (v *Values) Text() (text string, ok bool) {
	c := v.bound.prog.conds[0]
	return c.text, c.needsText()
}

// Arena sets the memory in which texts lie.
func (v *Values) Arena(p []byte) {
	v.batch.Arena = p
	if v.bound.prog.conds[0].re != nil {
		v.bound.memos = []*memo{new(memo)}
	}
}

// Holds reports whether the condition holds on a value: of an attribute, or of a column of texts.
func (v *Values) Holds(x span.Value) bool {
	c := v.bound.prog.conds[0]
	if c.field.In == store.Intrinsic {
		return v.bound.text(0, c, x.Str())
	}
	return v.bound.value(0, c, x)
}
