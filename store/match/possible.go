package match

import (
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Possible reports whether the program can hold on any row of a block, given whether a string occurs in it as a value, an
// array's element, a name or any other text: false is certain, true is not. has may err on the side of true, as a Bloom filter
// does; it is asked only for strings that are not empty.
func (p *Program) Possible(has func(text string) bool) bool {
	return p.root == nil || p.possible(p.root, has)
}

func (p *Program) possible(n *node, has func(string) bool) bool {
	switch n.op {
	case opAnd:
		for _, kid := range n.kids {
			if !p.possible(kid, has) {
				return false
			}
		}
		return true
	case opOr:
		for _, kid := range n.kids {
			if p.possible(kid, has) {
				return true
			}
		}
		return false
	case opNot:
		return true
	default:
		c := p.conds[n.cond]
		return !c.needsText() || has(c.text)
	}
}

// needsText reports whether the condition holds only where its operand occurs as a string.
func (c *cond) needsText() bool {
	if c.op != store.Eq || c.typ != span.TypeString || c.numeric || c.text == "" {
		return false
	}
	if c.field.In == store.Intrinsic {
		switch c.intrinsic {
		case inService, inGroup, inNamespace, inName, inStatusMessage, inTraceState, inScopeName, inScopeVersion, inEventName:
			return true
		}
		return false
	}
	// A loose operand may be the text form of a number or a bool.
	return !c.loose || !(c.wantInt || c.textOfScalar)
}
