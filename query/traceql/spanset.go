package traceql

import (
	"fmt"
	"slices"
)

// spanset is spans of one trace by local number.
type spanset struct {
	spans []int32
	attrs []Attr
}

// step is an element of a pipeline made ready.
type step interface {
	run(r *runner, in []spanset) []spanset
}

// runner runs steps on one trace after the other. What steps allocate for spans is given back at the next trace.
type runner struct {
	ev    *evaluator
	frame *frame
	trace *traceRows
	rows  []int32
	ints  []int32 // arena
	masks [4][]bool
	keys  map[string]int
	key   []byte
	sets  []spanset

	cancelled func() error // the query's context
	room      int          // spans that the steps of one trace may name in all, a bound of memory
	used      int
}

// begin moves to a trace and is the set of its spans that keep holds for.
func (r *runner) begin(t *traceRows, keep func(row int) bool) spanset {
	r.trace, r.rows = t, r.frame.rows(t)
	r.ints, r.used = r.ints[:0], 0
	all := r.alloc(len(r.rows))
	for local, row := range r.rows {
		if keep(int(row)) {
			all = append(all, int32(local))
		}
	}
	return spanset{spans: all}
}

// alloc is an empty slice with room for n spans. Past the bound of memory the query ends.
func (r *runner) alloc(n int) []int32 {
	if r.used += n; r.used > r.room && r.ev.err == nil {
		r.ev.err = errBudget{fmt.Sprintf("stopped at the memory budget: the steps of the query name more than %d spans of one trace of %d", r.room, len(r.rows))}
	}
	from := len(r.ints)
	if cap(r.ints)-from < n {
		r.ints, from = make([]int32, 0, max(n, 2*cap(r.ints), 1024)), 0 // slices of the old one live on
	}
	r.ints = r.ints[:from+n]
	return r.ints[from : from : from+n]
}

// mask is scratch with an entry for every span of the trace, all false.
func (r *runner) mask(i int) []bool {
	n := len(r.rows)
	if cap(r.masks[i]) < n {
		r.masks[i] = make([]bool, n)
	}
	m := r.masks[i][:n]
	clear(m)
	return m
}

// pipeline runs steps one after the other.
type pipeline []step

func (p pipeline) run(r *runner, in []spanset) []spanset {
	for _, s := range p {
		if len(in) == 0 || r.ev.err != nil {
			return nil
		}
		in = s.run(r, in)
	}
	return in
}

type filterStep struct{ cond *node }

func (f filterStep) run(r *runner, in []spanset) []spanset {
	if r.ev.err != nil {
		return nil
	}
	out := make([]spanset, 0, len(in))
	for _, set := range in {
		if f.cond != nil {
			kept := r.alloc(len(set.spans))
			for i, local := range set.spans {
				if err := r.ev.pause(i, r.cancelled); err != nil {
					r.ev.err = err
					return nil
				}
				if r.ev.holds(f.cond, int(r.rows[local])) {
					kept = append(kept, local)
				}
			}
			set.spans = kept
		}
		if len(set.spans) > 0 {
			out = append(out, set)
		}
	}
	return out
}

type passStep struct{} // select: changes only what is shown

func (passStep) run(_ *runner, in []spanset) []spanset { return in }

type coalesceStep struct{}

// run joins all sets into one, each span once, in order of start. Attributes of sets are gone.
func (coalesceStep) run(r *runner, in []spanset) []spanset {
	mask := r.mask(0)
	n := 0
	for _, set := range in {
		mark(mask, set.spans)
		n += len(set.spans)
	}
	return []spanset{{spans: collect(r.alloc(min(n, len(mask))), mask)}}
}

func mark(mask []bool, spans []int32) {
	for _, local := range spans {
		mask[local] = true
	}
}

func collect(dst []int32, mask []bool) []int32 {
	for local, in := range mask {
		if in {
			dst = append(dst, int32(local))
		}
	}
	return dst
}

type groupStep struct {
	expr *node
	name string
}

// run splits each set by a value, groups in the order in which they are met. Spans without a value are a group too.
func (g groupStep) run(r *runner, in []spanset) []spanset {
	var out []spanset
	for _, set := range in {
		if r.keys == nil {
			r.keys = make(map[string]int)
		}
		clear(r.keys)
		first := len(out)
		of := r.alloc(len(set.spans))
		var sizes []int
		for _, local := range set.spans {
			v := r.ev.valueOf(g.expr, int(r.rows[local]))
			r.key = appendValKey(r.key[:0], v)
			i, ok := r.keys[string(r.key)]
			if !ok {
				i = len(sizes)
				r.keys[string(r.key)] = i
				sizes = append(sizes, 0)
				attrs := append(slices.Clip(set.attrs), Attr{Name: g.name, Value: v.value()})
				out = append(out, spanset{attrs: attrs})
			}
			sizes[i]++
			of = append(of, int32(i))
		}
		for i, n := range sizes {
			out[first+i].spans = r.alloc(n)
		}
		for i, local := range set.spans {
			group := &out[first+int(of[i])]
			group.spans = append(group.spans, local)
		}
	}
	return out
}

// appendValKey is Value.appendKey before the value is copied out of the batch.
func appendValKey(dst []byte, v val) []byte {
	if v.typ == TypeString {
		dst = append(dst, byte(TypeString))
		return append(appendUint64(dst, uint64(len(v.s))), v.s...)
	}
	return v.value().appendKey(dst)
}

type subStep struct{ pipeline pipeline }

func (s subStep) run(r *runner, in []spanset) []spanset {
	var out []spanset
	for i := range in {
		out = append(out, s.pipeline.run(r, in[i:i+1])...)
	}
	return out
}

// joinStep is && and ||.
type joinStep struct {
	op   Op
	l, r step
}

func (j joinStep) run(r *runner, in []spanset) []spanset {
	var out []spanset
	for i := range in {
		left := j.l.run(r, in[i:i+1])
		if j.op == OpAnd && len(left) == 0 {
			continue
		}
		right := j.r.run(r, in[i:i+1])
		if len(right) == 0 && (j.op == OpAnd || len(left) == 0) {
			continue
		}
		out = append(out, spanset{spans: r.union(left, right), attrs: in[i].attrs})
	}
	return out
}

// union joins two sides, each span once: the smaller side comes first, because answers are cut to the first few spans.
func (r *runner) union(left, right []spanset) []int32 {
	count := func(sets []spanset) (n int) {
		for _, s := range sets {
			n += len(s.spans)
		}
		return n
	}
	small, large := right, left
	if count(left) < count(right) {
		small, large = left, right
	}
	seen := r.mask(0)
	out := r.alloc(count(left) + count(right))
	for _, sets := range [][]spanset{small, large} {
		for _, s := range sets {
			for _, local := range s.spans {
				if !seen[local] {
					seen[local] = true
					out = append(out, local)
				}
			}
		}
	}
	return out
}

type aggregateStep struct {
	name  string
	fn    string
	expr  *node // nil for count
	op    Op
	value val
}

// run computes the aggregate of each set and drops those that do not compare. The result stands on the set.
func (a aggregateStep) run(r *runner, in []spanset) []spanset {
	out := in[:0:0]
	for _, set := range in {
		v, ok := a.compute(r, set.spans)
		if !ok || !compareScalars(a.op, v, a.value, nil) {
			continue
		}
		set.attrs = append(slices.Clip(set.attrs), Attr{Name: a.name, Value: v.value()})
		out = append(out, set)
	}
	return out
}

// compute is not ok where no span has a number. The result has the type of the values where they all have one: avg of ints
// is a float, avg of durations a duration in whole nanoseconds.
func (a aggregateStep) compute(r *runner, spans []int32) (val, bool) {
	if a.fn == "count" {
		return val{typ: TypeInt, n: int64(len(spans))}, true
	}
	var t tally
	for _, local := range spans {
		v := r.ev.valueOf(a.expr, int(r.rows[local]))
		if v.typ == TypeArray {
			for _, e := range v.list {
				t.add(e)
			}
			continue
		}
		t.add(v)
	}
	if t.n == 0 {
		return val{}, false
	}
	switch a.fn {
	case "min":
		return t.min, true
	case "max":
		return t.max, true
	case "sum":
		if t.typ == TypeFloat {
			return val{typ: TypeFloat, f: t.float}, true
		}
		return val{typ: t.typ, n: t.int}, true
	default:
		mean := t.float / float64(t.n)
		if t.typ == TypeDuration {
			return val{typ: TypeDuration, n: int64(mean)}, true
		}
		return val{typ: TypeFloat, f: mean}, true
	}
}

// tally adds up numbers; NaN is none.
type tally struct {
	n        int
	typ      ValueType // int or duration while all are of it, else float
	int      int64
	float    float64
	min, max val
}

func (t *tally) add(v val) {
	if !v.numeric() || v.typ == TypeFloat && v.f != v.f {
		return
	}
	if t.n == 0 {
		t.typ, t.min, t.max = v.typ, v, v
	} else if t.typ != v.typ {
		t.typ = TypeFloat
	}
	t.n++
	t.int += v.n
	t.float += v.number()
	if c, ok := compareNumbers(v, t.min); ok && c < 0 {
		t.min = v
	}
	if c, ok := compareNumbers(v, t.max); ok && c > 0 {
		t.max = v
	}
}
