package traceql

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// plant finds the parents of all spans and numbers the trees. Nothing recurses and nothing is quadratic: a chain 100,000 deep
// costs no more than any trace of that size.
func (f *frame) plant() {
	n := len(f.order)
	f.parent, f.children = make([]int32, n), make([]int32, n)
	f.left, f.right, f.up = make([]int32, n), make([]int32, n), make([]int32, n)
	f.topological = make([]int32, n)
	for i := range f.traces {
		t := &f.traces[i]
		f.findParents(t)
		f.cutCycles(t)
		f.number(t)
	}
}

// findParents links the spans of a trace. The server half of a shared id (Zipkin) is a child of its client half. Where several
// spans carry the id of a parent, it is the serving one, then the first.
func (f *frame) findParents(t *traceRows) {
	b, rows := f.batch, f.rows(t)
	parent := f.parent[t.from:t.to]
	f.byID = f.byID[:0]
	for local := range rows {
		f.byID = append(f.byID, int32(local))
	}
	slices.SortFunc(f.byID, func(x, y int32) int {
		return cmp.Or(bytes.Compare(b.SpanID[rows[x]][:], b.SpanID[rows[y]][:]), cmp.Compare(servesLast(b.Kind[rows[x]]), servesLast(b.Kind[rows[y]])), cmp.Compare(x, y))
	})
	for local, row := range rows {
		parent[local] = -1
		up := b.Parent[row]
		if up.IsZero() {
			continue
		}
		if serves(b.Kind[row]) {
			if half := f.callingHalf(rows, row); half >= 0 {
				parent[local] = half
				continue
			}
		}
		for _, c := range f.withID(rows, up) {
			if int(c) != local {
				parent[local] = c
				break
			}
		}
	}
}

func serves(k span.Kind) bool { return k == span.KindServer || k == span.KindConsumer }
func calls(k span.Kind) bool  { return k == span.KindClient || k == span.KindProducer }

func servesLast(k span.Kind) int {
	if serves(k) {
		return 0
	}
	return 1
}

// withID lists the spans of an id, local numbers.
func (f *frame) withID(rows []int32, id span.SpanID) []int32 {
	b := f.batch
	i, _ := slices.BinarySearchFunc(f.byID, id, func(local int32, id span.SpanID) int { return bytes.Compare(b.SpanID[rows[local]][:], id[:]) })
	j := i
	for j < len(f.byID) && b.SpanID[rows[f.byID[j]]] == id {
		j++
	}
	return f.byID[i:j]
}

// maxHalves bounds how many spans of one id are looked at: honest traces have two, or a few more by retries.
const maxHalves = 64

// callingHalf is the client half of a shared id, -1 if there is none.
func (f *frame) callingHalf(rows []int32, row int32) int32 {
	b := f.batch
	list := f.withID(rows, b.SpanID[row])
	for _, c := range list[:min(len(list), maxHalves)] {
		if other := rows[c]; calls(b.Kind[other]) && b.Parent[other] == b.Parent[row] {
			return c
		}
	}
	return -1
}

// cutCycles makes the first span of each cycle an orphan.
func (f *frame) cutCycles(t *traceRows) {
	parent := f.parent[t.from:t.to]
	const fresh, onWay, done = 0, 1, 2
	state := make([]uint8, len(parent))
	var path []int32
	for start := range parent {
		path = path[:0]
		at := int32(start)
		for at >= 0 && state[at] == fresh {
			state[at] = onWay
			path = append(path, at)
			at = parent[at]
		}
		if at >= 0 && state[at] == onWay {
			first := at
			for x := parent[at]; x != at; x = parent[x] {
				first = min(first, x)
			}
			parent[first] = -1
		}
		for _, x := range path {
			state[x] = done
		}
	}
}

// number counts children, orders spans with parents first and sets the nested set: depth first from the roots, siblings in
// order of start. Spans that no root leads to keep zeros.
func (f *frame) number(t *traceRows) {
	n := t.len()
	parent, children := f.parent[t.from:t.to], f.children[t.from:t.to]
	left, right, up := f.left[t.from:t.to], f.right[t.from:t.to], f.up[t.from:t.to]
	f.firstChild, f.nextChild = slices.Grow(f.firstChild[:0], n)[:n], slices.Grow(f.nextChild[:0], n)[:n]
	first, next := f.firstChild, f.nextChild
	for i := range first {
		first[i], next[i] = -1, -1
	}
	for i := n - 1; i >= 0; i-- { // backwards, so that lists run forwards
		if p := parent[i]; p >= 0 {
			children[p]++
			next[i] = first[p]
			first[p] = int32(i)
		}
	}
	order := f.topological[t.from:t.from]
	counter := int32(0)
	for i := range parent {
		if parent[i] >= 0 {
			continue
		}
		rooted := f.batch.Parent[f.order[t.from+i]].IsZero()
		at := int32(i)
		order = append(order, at)
		enter := func(x, above int32) {
			if rooted {
				counter++
				left[x], up[x] = counter, above
			}
		}
		enter(at, -1)
		for {
			if c := first[at]; c >= 0 {
				first[at] = next[c] // taken
				enter(c, left[at])
				order = append(order, c)
				at = c
				continue
			}
			if rooted {
				counter++
				right[at] = counter
			}
			if int(at) == i {
				break
			}
			at = parent[at]
		}
	}
}
