package query

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// assembly builds one trace. Its nodes are the batch's rows sorted by start, so that whatever is gathered in the order of
// nodes is in the order of siblings; placeholders are numbered after them.
//
// Nothing recurses and nothing is quadratic: spans come from strangers, and a chain 200,000 deep, 200,000 rows of one id or
// 200,000 orphans must cost no more than an ordinary trace of that size.
type assembly struct {
	b     *span.Batch // strings interned: equal ones are equal runs
	order []int32     // node -> row of b

	first  map[span.SpanID]int32 // the first node of an id
	next   []int32               // node -> next node of the same id, -1
	gone   []bool                // left out: a copy of another span, or of a trace that is only a look-alike
	parent []int32               // node -> node, -1
	flags  []Flag

	missing []placeholder
	lost    map[span.SpanID]int32 // missing parent -> index in missing
	cycles  []int32               // nodes at which a cycle was cut
	copies  int                   // duplicates left out
}

// placeholder stands for a parent that never arrived. It spans its children.
type placeholder struct {
	id         span.SpanID
	trace      span.TraceID
	start, end int64
	child      int32 // its first child
}

// maxCandidates bounds how many spans of one id are weighed against each other as a parent. Honest traces have two (the
// halves of a shared id) or a few more (retries under a shared id).
const maxCandidates = 64

// skewTolerance absorbs that Zipkin cuts times to microseconds and OTLP does not.
const skewTolerance = 1000

// assemble turns spans into a trace; see the steps for the rules. The batch's strings must be interned (Query.Spans).
func assemble(b *span.Batch, id span.TraceID) *Trace {
	a := &assembly{b: b, order: sortedRows(b)}
	n := len(a.order)
	a.gone, a.flags = make([]bool, n), make([]Flag, n)
	a.index()
	a.dropDuplicates()
	a.parent = make([]int32, n)
	a.joinHalves()
	a.findParents()
	id = a.dropStrangers(id)
	a.cutCycles()
	return a.emit(id)
}

// sortedRows orders rows by effective start, then id; the client half of a shared id stands before the server half, and
// copies in the order of their receipt.
func sortedRows(b *span.Batch) []int32 {
	type entry struct {
		time int64
		row  int32
	}
	entries := make([]entry, b.Len())
	for i := range entries {
		entries[i] = entry{b.Time[i], int32(i)}
	}
	slices.SortFunc(entries, func(x, y entry) int {
		if x.time != y.time {
			return cmp.Compare(x.time, y.time)
		}
		if c := bytes.Compare(b.SpanID[x.row][:], b.SpanID[y.row][:]); c != 0 {
			return c
		}
		if c := cmp.Compare(callOrder[b.Kind[x.row]%8], callOrder[b.Kind[y.row]%8]); c != 0 {
			return c
		}
		return cmp.Compare(x.row, y.row)
	})
	order := make([]int32, len(entries))
	for i, e := range entries {
		order[i] = e.row
	}
	return order
}

// callOrder puts the side that calls before the side that is called.
var callOrder = [8]uint8{span.KindClient: 0, span.KindProducer: 0, span.KindUnspecified: 1, span.KindInternal: 1, span.KindServer: 2, span.KindConsumer: 2}

func (a *assembly) index() {
	a.first = make(map[span.SpanID]int32, len(a.order))
	a.next = make([]int32, len(a.order))
	for n := len(a.order) - 1; n >= 0; n-- { // backwards, so that chains run forwards
		id := a.b.SpanID[a.order[n]]
		if follower, ok := a.first[id]; ok {
			a.next[n] = follower
		} else {
			a.next[n] = -1
		}
		a.first[id] = int32(n)
	}
}

// chain appends the nodes of the id whose first node is n.
func (a *assembly) chain(nodes []int32, n int32) []int32 {
	for ; n >= 0; n = a.next[n] {
		nodes = append(nodes, n)
	}
	return nodes
}

// heads calls f with the nodes of every id that several nodes carry. f may keep some of them by answering them, in order.
func (a *assembly) heads(f func(nodes []int32) []int32) {
	var nodes []int32
	for n, row := range a.order {
		if a.next[n] < 0 {
			continue
		}
		id := a.b.SpanID[row]
		if a.first[id] != int32(n) {
			continue
		}
		nodes = a.chain(nodes[:0], int32(n))
		kept := f(nodes)
		a.first[id] = kept[0]
		for i, k := range kept {
			a.next[k] = -1
			if i > 0 {
				a.next[kept[i-1]] = k
			}
		}
	}
}

// dropDuplicates keeps one of each set of equal spans: the latest-ending, of those the last received. Equal are spans of
// one identity (span.Identity), and the same span delivered by Zipkin and by OTLP: there the starts agree to the microsecond
// that Zipkin has.
func (a *assembly) dropDuplicates() {
	b := a.b
	a.heads(func(nodes []int32) []int32 {
		slices.SortFunc(nodes, func(x, y int32) int {
			i, j := a.order[x], a.order[y]
			return cmp.Or(bytes.Compare(b.TraceID[i][:], b.TraceID[j][:]), cmp.Compare(b.Kind[i], b.Kind[j]),
				cmp.Compare(b.Service[i].Off, b.Service[j].Off), cmp.Compare(b.Start[i], b.Start[j]), cmp.Compare(i, j))
		})
		for from := 0; from < len(nodes); {
			best, to := nodes[from], from+1
			exact := b.Start[a.order[best]] // the start with nanoseconds that joins a start without
			for ; to < len(nodes) && a.equal(nodes[from], nodes[to], &exact); to++ {
				if a.wins(nodes[to], best) {
					best = nodes[to]
				}
			}
			for _, n := range nodes[from:to] {
				a.gone[n] = n != best
			}
			if to-from > 1 {
				a.flags[best] |= FlagDuplicates
				a.copies += to - from - 1
			}
			from = to
		}
		kept := slices.DeleteFunc(nodes, func(n int32) bool { return a.gone[n] })
		slices.Sort(kept)
		return kept
	})
}

func (a *assembly) equal(first, other int32, exact *uint64) bool {
	b, i, j := a.b, a.order[first], a.order[other]
	if b.TraceID[i] != b.TraceID[j] || b.Kind[i] != b.Kind[j] || b.Service[i] != b.Service[j] {
		return false
	}
	start := b.Start[j]
	if start == *exact {
		return true
	}
	if *exact == b.Start[i] && start/1000 == b.Start[i]/1000 && b.Start[i]%1000 == 0 {
		*exact = start
		return true
	}
	return false
}

// wins reports whether a copy is kept instead of another one.
func (a *assembly) wins(n, over int32) bool {
	i, j := a.order[n], a.order[over]
	if x, y := a.b.EndTime(int(i)), a.b.EndTime(int(j)); x != y {
		return x > y
	}
	return i > j
}

const unknownParent = -2

// joinHalves makes the server half of an id that client and server share (Zipkin) a child of the client half: rows of one
// id of which one is a client or producer and the other a server or consumer, or is marked as shared by its sender. Several
// servers under one client are its tries.
func (a *assembly) joinHalves() {
	for n := range a.parent {
		a.parent[n] = unknownParent
	}
	var clients, others, servers []int32
	a.heads(func(nodes []int32) []int32 {
		clients, others, servers = clients[:0], others[:0], servers[:0]
		for _, n := range nodes {
			switch row := a.order[n]; {
			case a.b.Mark[row]&span.MarkShared != 0 || serves(a.b.Kind[row]):
				servers = append(servers, n)
			case calls(a.b.Kind[row]):
				clients = append(clients, n)
			default:
				others = append(others, n)
			}
		}
		for _, s := range servers {
			c := a.best(s, clients)
			if c < 0 && a.b.Mark[a.order[s]]&span.MarkShared != 0 {
				c = a.best(s, others) // the client half came without a kind
			}
			if c >= 0 {
				a.parent[s] = c
				a.flags[s] |= FlagShared
				a.noteTwin(s, c)
			}
		}
		return nodes
	})
}

func serves(k span.Kind) bool { return k == span.KindServer || k == span.KindConsumer }

func calls(k span.Kind) bool { return k == span.KindClient || k == span.KindProducer }

// findParents links every other row to the span its parent id names, or to a placeholder.
func (a *assembly) findParents() {
	a.lost = make(map[span.SpanID]int32)
	var candidates []int32
	for n, row := range a.order {
		if a.gone[n] || a.parent[n] != unknownParent {
			continue
		}
		id := a.b.Parent[row]
		if id.IsZero() {
			a.parent[n] = -1
			continue
		}
		candidates = candidates[:0]
		c, ok := a.first[id]
		for ; ok && c >= 0 && len(candidates) < maxCandidates; c = a.next[c] {
			candidates = append(candidates, c)
		}
		switch p := a.best(int32(n), candidates); {
		case p >= 0:
			a.parent[n] = p
			a.noteTwin(int32(n), p)
		case id == a.b.SpanID[row]:
			a.parent[n] = -1
			a.cycles = append(a.cycles, int32(n))
		default:
			a.parent[n] = a.placeholder(int32(n), id)
		}
	}
}

// best chooses a child's parent among spans of one id, -1 if none can be: the same trace id before the twin; the child's own
// service (unless the child serves: then its parent is elsewhere); the server half of a shared id before the client half;
// the one that was running when the child began; the earliest.
func (a *assembly) best(child int32, candidates []int32) int32 {
	best, bestScore := int32(-1), -1
	row := a.order[child]
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		i := a.order[c]
		same := a.b.TraceID[i] == a.b.TraceID[row]
		if c == child || a.gone[c] || !same && !a.b.TraceID[i].IsTwin(a.b.TraceID[row]) {
			continue
		}
		score := 0
		if same {
			score += 8
		}
		if !serves(a.b.Kind[row]) && a.b.Service[i] == a.b.Service[row] {
			score += 4
		}
		if a.flags[c]&FlagShared != 0 {
			score += 2
		}
		if t := a.b.Time[row]; t+skewTolerance >= a.b.Time[i] && t-skewTolerance <= a.b.EndTime(int(i)) {
			score++
		}
		if score > bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

func (a *assembly) noteTwin(child, parent int32) {
	if a.b.TraceID[a.order[child]] != a.b.TraceID[a.order[parent]] {
		a.flags[child] |= FlagTwin
	}
}

// placeholder finds or makes the node that stands for a missing parent: orphans of one parent share it.
func (a *assembly) placeholder(child int32, id span.SpanID) int32 {
	row := int(a.order[child])
	start, end := a.b.Time[row], a.b.EndTime(row)
	i, ok := a.lost[id]
	if !ok {
		i = int32(len(a.missing))
		a.lost[id] = i
		a.missing = append(a.missing, placeholder{id, a.b.TraceID[row], start, end, child})
	}
	p := &a.missing[i]
	p.start, p.end = min(p.start, start), max(p.end, end)
	return int32(len(a.order)) + i
}

// dropStrangers leaves out the rows of look-alike ids. A look-up finds the 64-bit and the 128-bit form of an id; that they
// are one trace is believed only where a parent link (or a missing parent they share) joins them. It answers the id of the
// trace: the one that was asked for, or where no span carries that one the twin with the most spans.
func (a *assembly) dropStrangers(id span.TraceID) span.TraceID {
	count := make(map[span.TraceID]int)
	for n, row := range a.order {
		if !a.gone[n] {
			count[a.b.TraceID[row]]++
		}
	}
	if count[id] == 0 {
		for other, n := range count {
			if count[id] < n || count[id] == n && bytes.Compare(other[:], id[:]) < 0 {
				id = other
			}
		}
	}
	if len(count) < 2 {
		return id
	}

	set := newDisjoint(len(a.order) + len(a.missing))
	for n, p := range a.parent {
		if !a.gone[n] && p >= 0 {
			set.join(int32(n), p)
		}
	}
	wanted := make([]bool, len(a.order)+len(a.missing))
	for n, row := range a.order {
		if !a.gone[n] && a.b.TraceID[row] == id {
			wanted[set.root(int32(n))] = true
		}
	}
	for n := range a.order {
		if !wanted[set.root(int32(n))] {
			a.gone[n] = true
		}
	}
	for i := range a.missing {
		if !wanted[set.root(int32(len(a.order)+i))] {
			a.missing[i].child = -1
		}
	}
	a.cycles = slices.DeleteFunc(a.cycles, func(n int32) bool { return a.gone[n] })
	return id
}

// cutCycles makes the earliest span of every cycle a root.
func (a *assembly) cutCycles() {
	walk := make([]int32, len(a.order)) // node -> number of the walk that came by first, 0 for none
	for n := range a.order {
		if a.gone[n] {
			continue
		}
		mine := int32(n) + 1
		at := int32(n)
		for at >= 0 && int(at) < len(walk) && walk[at] == 0 {
			walk[at] = mine
			at = a.parent[at]
		}
		if at >= 0 && int(at) < len(walk) && walk[at] == mine {
			earliest := at // nodes are sorted by start
			for m := a.parent[at]; m != at; m = a.parent[m] {
				earliest = min(earliest, m)
			}
			a.parent[earliest] = -1
			a.flags[earliest] &^= FlagShared | FlagTwin
			a.cycles = append(a.cycles, earliest)
		}
	}
}

// disjoint is a union-find over nodes.
type disjoint []int32

func newDisjoint(n int) disjoint {
	d := make(disjoint, n)
	for i := range d {
		d[i] = int32(i)
	}
	return d
}

func (d disjoint) root(i int32) int32 {
	for d[i] != i {
		d[i] = d[d[i]]
		i = d[i]
	}
	return i
}

func (d disjoint) join(i, j int32) { d[d.root(i)] = d.root(j) }
