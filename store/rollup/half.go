package rollup

import (
	"iter"
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// half is a call of which the other side is not in this segment: a client's row without the server's, or a server's row
// whose parent is elsewhere.
type half struct {
	trace      span.TraceID
	low, call  uint64 // of the trace and the client's span: what joins the two
	own        uint64 // of a server: its own span, which is the client's too where the two share it; 0 for clients
	above      uint64 // of a sidecar's client row: the application's, which is elsewhere; 0 if none is known
	time, took int64
	weight     float64
	node       uint32 // whose row it is
	target     uint32 // a client's: what it says of the other side
	protocol   uint32
	flag       uint32
	class      Class
	failed     bool
	client     bool
	proxy      bool // made by a proxy
	context    bool // outside of the range: joins others, is not counted
	reached    bool // the target is who served it, or sends no spans: only the row above or below may be elsewhere
	weak       bool // the target is an address or a guess
}

// addHalf: other is a server's own span, or of a client the row above it.
func (b *Builder) addHalf(f *fact, call, other uint64, k edgeKey, target uint32) {
	h := half{trace: f.trace, low: f.trace.Low(), call: call, time: f.time, took: f.took, weight: f.weight,
		target: target, protocol: k.protocol, flag: k.flag, class: k.class, failed: f.failed, node: k.to, client: k.view == ViewClient,
		proxy: f.flags&Proxy != 0, context: !b.counts(f)}
	if h.client {
		h.node, h.weak, h.above = k.from, f.weak, other
	} else {
		h.own = other
	}
	b.t.addHalf(h)
}

// addReached is a call of which all is known here but whether the row above it, or below it, is elsewhere: an application's
// and its sidecar's row are one call.
func (b *Builder) addReached(f *fact, above uint64, k edgeKey) {
	b.t.addHalf(half{trace: f.trace, low: f.trace.Low(), call: f.id, above: above, time: f.time, took: f.took, weight: f.weight,
		node: k.from, target: k.to, protocol: k.protocol, flag: k.flag, class: k.class, failed: f.failed, client: true,
		proxy: f.flags&Proxy != 0, context: !b.counts(f), reached: true, weak: f.weak})
}

// addLinked is a consumer that names its producer by a link.
func (b *Builder) addLinked(f *fact, k edgeKey) {
	b.t.addHalf(half{trace: f.trace, low: f.linkTrace, call: f.linkSpan, own: f.id, time: f.time, took: f.took, weight: f.weight,
		node: k.to, target: k.to, protocol: k.protocol, flag: k.flag, class: ClassAsync, failed: f.failed,
		proxy: f.flags&Proxy != 0, context: !b.counts(f)})
}

func (t *Table) addHalf(h half) {
	limit := MaxHalves
	if h.reached {
		limit = maxReached
	}
	if len(t.halves) < limit {
		t.halves = append(t.halves, h)
		return
	}
	if !h.context {
		if !h.reached {
			t.Unpaired++
		}
		t.alone(&h)
	}
}

// maxReached: such halves are many and seldom find another row; they leave room for those that do.
const maxReached = MaxHalves / 2

// alone counts a half whose other side was not found: a client's call goes to what it says of its callee, a server's comes
// from a client without spans. An application's server row whose parent is elsewhere has its own sidecar above it, if the
// workload has one: the sidecar's row counts that call.
func (t *Table) alone(h *half) {
	k := edgeKey{protocol: h.protocol, flag: h.flag, class: h.class}
	if h.client {
		k.from, k.to, k.view = h.node, h.target, ViewClient
	} else {
		if !h.proxy && t.sides[t.groupOf(h.node)]&sidecarServes != 0 {
			return
		}
		k.from, k.to, k.view = t.node(node{kind: uint32(KindClient)}), h.node, ViewLone
	}
	t.addHalfEdge(h, k)
	if !h.context && !h.reached && sendsSpans(NodeKind(t.nodes[k.to].kind)) && !unreached(t.strings[h.flag]) {
		if t.oneSided == nil {
			t.oneSided = make(map[edgeKey]float64)
		}
		t.oneSided[edgeKey{from: k.from, to: k.to, class: k.class, view: k.view}] += h.weight
	}
}

// sendsSpans: of hosts outside, databases and brokers none are expected.
func sendsSpans(k NodeKind) bool {
	return k == KindService || k == KindGateway || k == KindWaypoint
}

// unreached: by these flags no server saw the request, so that none can tell of it.
func unreached(flag string) bool {
	switch flag {
	case "NC", "NR", "UF", "UH", "UO":
		return true
	}
	return false
}

// OneSided yields the calls within the mesh of which the other side was looked for and not found, with their Σ weight: a
// client's without the server's span, where the request reached one, and servers whose parent never came, whose From is of
// KindClient. Traces that begin at a server are not among them. Halves are settled first: see Edges. Keys have no protocol and
// no flag.
func (t *Table) OneSided() iter.Seq2[EdgeKey, float64] {
	t.settle()
	return func(yield func(EdgeKey, float64) bool) {
		for k, weight := range t.oneSided {
			if !yield(EdgeKey{From: t.nodeAt(k.from), To: t.nodeAt(k.to), Class: k.class, View: k.view}, weight) {
				return
			}
		}
	}
}

func (t *Table) addHalfEdge(h *half, k edgeKey) {
	if !h.context {
		t.addEdge(t.edgeOf(k), h.trace, h.time, h.took, h.weight, h.failed)
	}
}

// settle counts all halves. Cost: one map over the clients.
func (t *Table) settle() {
	if t.settled {
		return
	}
	t.settled = true
	t.findSides()
	j := t.joinHalves()
	for i := range t.halves {
		if h := &t.halves[i]; !h.client && j.caller[i] == nobody {
			t.alone(h)
		}
	}
	for i := range t.halves {
		if h := &t.halves[i]; h.client && !j.counted[i] && j.above[i] == nobody {
			t.alone(h)
		}
	}
	t.halves = nil
}

// Pair counts the halves that find their other side in this table and keeps the rest, which a table that is merged into it, or
// that it is merged into, may have: a table that is kept gets small, and MaxHalves holds for longer. The client of a call stays
// as context near the first and the last half there is, where a further try of it may be in another table. The counts are
// those that Edges gives without Pair, but for calls whose tries came more than tryMargin apart. Cost: as Edges.
func (t *Table) Pair() {
	if t.settled || len(t.halves) < 2 {
		return
	}
	first, last := t.halves[0].time, t.halves[0].time
	for i := range t.halves {
		first, last = min(first, t.halves[i].time), max(last, t.halves[i].time)
	}
	j := t.joinHalves()
	kept := t.halves[:0]
	for i := range t.halves {
		h := t.halves[i]
		switch {
		case !h.client && j.caller[i] != nobody:
			continue
		case h.client && j.counted[i]:
			if h.time > first+tryMargin && h.time < last-tryMargin {
				continue
			}
			h.context = true
		}
		kept = append(kept, h)
	}
	t.halves = kept
	t.trim(first, last)
}

// tryMargin is how far apart the spans of the tries of one call come in, at most.
const tryMargin = 2 * Minute

// Trim counts the calls of which nothing can be in another segment: those that are known as far as this mesh tells of them, and
// began well after the first and before the last row here. A table gets small by it before it is written.
func (t *Table) Trim() {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, cells := range t.series.cells {
		for i := range cells {
			first, last = min(first, cells[i].Start), max(last, cells[i].Start+t.step)
		}
	}
	t.trim(first, last)
}

func (t *Table) trim(first, last int64) {
	t.findSides()
	t.halves = slices.DeleteFunc(t.halves, func(h half) bool {
		other := sidecarCalls
		if h.proxy {
			other = application
		}
		if !h.reached || t.sides[t.groupOf(h.node)]&other != 0 && (h.time < first+partMargin || h.time > last-partMargin) {
			return false
		}
		t.alone(&h)
		return true
	})
}

// partMargin is how far apart an application and the sidecar next to it send their spans of one call, at most.
const partMargin = Minute / 2

const nobody = -1

// joined is which half of a table belongs to which, by index; nobody for none.
type joined struct {
	caller  []int32 // of a server: its client
	callee  []int32 // of a client: its first server
	below   []int32 // of an application's client: its sidecar's
	above   []int32 // of a sidecar's client: its application's
	counted []bool  // of a client: its call is, or the application's row above it is that call
}

func newJoined(n int) joined {
	j := joined{make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n), make([]bool, n)}
	for i := range n {
		j.caller[i], j.callee[i], j.below[i], j.above[i] = nobody, nobody, nobody, nobody
	}
	return j
}

// joinHalves finds what belongs together and counts both sides of it.
func (t *Table) joinHalves() joined {
	type call struct{ low, span uint64 }
	n := 0
	for i := range t.halves {
		if t.halves[i].client {
			n++
		}
	}
	clients := make(map[call]int32, n)
	for i := range t.halves {
		if h := &t.halves[i]; h.client {
			clients[call{h.low, h.call}] = int32(i)
		}
	}
	j := newJoined(len(t.halves))
	for i := range t.halves {
		h := &t.halves[i]
		if !h.client || h.above == 0 {
			continue
		}
		if a, ok := clients[call{h.low, h.above}]; ok && !t.halves[a].proxy && j.below[a] == nobody && t.beside(t.halves[a].node, h.node) {
			j.below[a], j.above[i] = int32(i), a
		}
	}
	for i := range t.halves {
		h := &t.halves[i]
		if h.client {
			continue
		}
		c, ok := clients[call{h.low, h.own}] // the two halves of a shared span
		if !ok {
			c, ok = clients[call{h.low, h.call}]
		}
		if !ok {
			continue
		}
		if j.caller[i] = c; j.callee[c] == nobody {
			j.callee[c] = int32(i)
		}
		t.addHalfEdge(h, edgeKey{from: t.halves[c].node, to: h.node, protocol: h.protocol, flag: h.flag,
			class: max(h.class, t.halves[c].class), view: ViewServer})
	}
	for a, i := range j.below {
		if i != nobody {
			j.counted[a] = t.joinParts(&j, a)
			j.counted[i] = j.counted[a]
		}
	}
	for i := range t.halves {
		h, s := &t.halves[i], j.callee[i]
		if s == nobody || j.counted[i] {
			continue
		}
		t.named(h.target, t.halves[s].node)
		if h.above != 0 { // it is the call, unless the row above it comes
			h.target, h.reached = t.halves[s].node, true
			continue
		}
		j.counted[i] = true
		t.addHalfEdge(h, edgeKey{from: h.node, to: t.halves[s].node, protocol: h.protocol, flag: h.flag, class: h.class, view: ViewClient})
	}
	return j
}

// joinParts makes one call of an application's client row and its sidecar's, as the walk over a trace does where both are in
// one segment, and counts it if its callee is known; reports whether it did.
func (t *Table) joinParts(j *joined, a int) bool {
	app, sidecar := &t.halves[a], &t.halves[j.below[a]]
	app.flag, app.class = sidecar.flag, max(app.class, sidecar.class)
	if app.protocol == 0 {
		app.protocol = sidecar.protocol
	}
	if t.nodes[app.node].namespace == 0 {
		app.node = sidecar.node
	}
	s := j.callee[a]
	if s == nobody {
		s = j.callee[j.below[a]]
	}
	to := app.target
	switch {
	case s != nobody:
		to = t.halves[s].node
		t.named(sidecar.target, to)
	case sidecar.reached && sendsSpans(NodeKind(t.nodes[sidecar.target].kind)):
		to = sidecar.target
	default:
		if app.weak {
			app.target, app.weak, app.reached = sidecar.target, sidecar.weak, sidecar.reached
		}
		if !app.reached {
			return false
		}
		to = app.target
	}
	t.addHalfEdge(app, edgeKey{from: app.node, to: to, protocol: app.protocol, flag: app.flag, class: app.class, view: ViewClient})
	return true
}

type workload struct{ namespace, group uint32 }

// groupOf is a node's workload; an alias is that of its sidecar.
func (t *Table) groupOf(i uint32) workload {
	if sidecar, ok := t.aliases[i]; ok {
		i = sidecar
	}
	return workload{t.nodes[i].namespace, t.nodes[i].name}
}

// side is who sends spans of a workload.
type side uint8

const (
	sidecarServes side = 1 << iota
	sidecarCalls
	application
)

// findSides notes who sends spans of each workload.
func (t *Table) findSides() {
	t.sides = make(map[workload]side)
	for _, k := range t.series.keys {
		w := workload{k.namespace, k.group}
		switch {
		case k.flags&Proxy == 0:
			t.sides[w] |= application
		case k.flags&(Gateway|Waypoint) != 0:
		case k.kind == span.KindServer:
			t.sides[w] |= sidecarServes
		case k.kind == span.KindClient:
			t.sides[w] |= sidecarCalls
		}
	}
	for app := range t.aliases { // an application that the sidecar next to it names differently
		if w := (workload{t.nodes[app].namespace, t.nodes[app].name}); t.sides[w]&application != 0 {
			t.sides[t.groupOf(app)] |= application
		}
	}
}
