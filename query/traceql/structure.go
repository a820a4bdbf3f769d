package traceql

// structureStep is one of the fifteen structural operators.
type structureStep struct {
	op       Op
	relation Op // OpChild to OpSibling
	negated  bool
	union    bool
	l, r     step
}

func newStructure(op Op, l, r step) structureStep {
	s := structureStep{op: op, l: l, r: r}
	switch {
	case op >= OpUnionChild:
		s.relation, s.union = op-OpUnionChild+OpChild, true
	case op >= OpNotChild:
		s.relation, s.negated = op-OpNotChild+OpChild, true
	default:
		s.relation = op
	}
	return s
}

// inverse: if y stands in a relation to x, x stands in the inverse one to y.
var inverse = map[Op]Op{OpChild: OpParent, OpParent: OpChild, OpDescendant: OpAncestor, OpAncestor: OpDescendant, OpSibling: OpSibling}

func (s structureStep) run(r *runner, in []spanset) []spanset {
	var out []spanset
	for i := range in {
		right := s.one(r, s.r.run(r, in[i:i+1]))
		if len(right) == 0 {
			continue
		}
		left := s.one(r, s.l.run(r, in[i:i+1]))
		if len(left) == 0 && !s.negated {
			continue
		}
		if spans := s.relate(r, left, right); len(spans) > 0 {
			out = append(out, spanset{spans: spans, attrs: in[i].attrs})
		}
	}
	return out
}

// one is the spans of a side, which must be one set.
func (s structureStep) one(r *runner, sets []spanset) []int32 {
	switch len(sets) {
	case 0:
		return nil
	case 1:
		return sets[0].spans
	}
	r.ev.fail("operator %s between groups of spans: it takes one set on each side, put | coalesce() after by()", s.op)
	return nil
}

// relate keeps the spans of the right side of which (none, if negated) of the left stands in the relation; the union form
// adds those of the left that take part, all in order of start.
func (s structureStep) relate(r *runner, left, right []int32) []int32 {
	source, related := r.mask(0), r.mask(1)
	mark(source, left)
	r.related(s.relation, source, related)
	if !s.union {
		kept := r.alloc(len(right))
		for _, local := range right {
			if related[local] != s.negated {
				kept = append(kept, local)
			}
		}
		return kept
	}
	result := r.mask(2)
	for _, local := range right {
		result[local] = related[local]
	}
	back := r.mask(3)
	clear(related)
	mark(related, right)
	r.related(inverse[s.relation], related, back)
	for _, local := range left {
		result[local] = result[local] || back[local]
	}
	return collect(r.alloc(min(len(left)+len(right), len(result))), result)
}

// related sets dst for every span that is a child (descendant, parent ...) of a source. Cost: one pass over the trace.
func (r *runner) related(relation Op, source, dst []bool) {
	f, t := r.frame, r.trace
	parent, order := f.parent[t.from:t.to], f.topological[t.from:t.to]
	switch relation {
	case OpChild:
		for i, p := range parent {
			dst[i] = p >= 0 && source[p]
		}
	case OpDescendant:
		for _, i := range order {
			if p := parent[i]; p >= 0 {
				dst[i] = source[p] || dst[p]
			}
		}
	case OpParent:
		for i, p := range parent {
			if p >= 0 && source[i] {
				dst[p] = true
			}
		}
	case OpAncestor:
		for k := len(order) - 1; k >= 0; k-- {
			i := order[k]
			if p := parent[i]; p >= 0 && (source[i] || dst[i]) {
				dst[p] = true
			}
		}
	case OpSibling:
		marked := r.alloc(len(parent))[:len(parent)]
		clear(marked)
		for i, p := range parent {
			if p >= 0 && source[i] {
				marked[p]++
			}
		}
		for i, p := range parent {
			if p >= 0 {
				others := marked[p]
				if source[i] {
					others--
				}
				dst[i] = others > 0
			}
		}
	}
}
