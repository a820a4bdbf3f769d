package match

import (
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Known is what an engine can tell of a block without its rows. Each answer may err on the side of yes, as a filter does.
type Known struct {
	// Text reports whether a string, never an empty one, occurs as a value, an array's element, a name or any other text.
	Text func(text string) bool
	// Failed reports whether a span of a service has the status error or an attribute `error`; nil: nothing is known.
	Failed func(service string) bool
}

// Possible reports whether the program can hold on any row of a block: false is certain, true is not.
func (p *Program) Possible(k Known) bool {
	return p.root == nil || p.possible(p.root, k)
}

func (p *Program) possible(n *node, k Known) bool {
	switch n.op {
	case opAnd:
		for _, kid := range n.kids {
			if !p.possible(kid, k) {
				return false
			}
		}
		return k.Failed == nil || p.mayFail(n, k)
	case opOr:
		for _, kid := range n.kids {
			if p.possible(kid, k) {
				return true
			}
		}
		return false
	case opNot:
		return true
	default:
		c := p.conds[n.cond]
		return !c.needsText() || k.Text(c.text)
	}
}

// mayFail asks whether each service that a conjunction names has failed spans, where it asks for such.
func (p *Program) mayFail(and *node, k Known) bool {
	wanted := false
	for _, kid := range and.kids {
		wanted = wanted || kid.op == opCond && p.conds[kid.cond].needsFailed()
	}
	if !wanted {
		return true
	}
	for _, kid := range and.kids {
		if kid.op != opCond {
			continue
		}
		if c := p.conds[kid.cond]; c.field.In == store.Intrinsic && c.intrinsic == inService && c.needsText() && !k.Failed(c.text) {
			return false
		}
	}
	return true
}

// needsFailed reports whether the condition holds only on spans with the status error or an attribute `error`.
func (c *cond) needsFailed() bool {
	if c.field.In != store.Intrinsic {
		return false
	}
	switch c.intrinsic {
	case inStatus:
		for status, holds := range c.words {
			if holds != (span.Status(status) == span.StatusError) {
				return false
			}
		}
		return true
	case inError:
		return !c.loose && c.op == store.Eq && c.isBool
	}
	return false
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
