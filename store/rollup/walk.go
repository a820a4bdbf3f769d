package rollup

import "github.com/spanloom/spanloom/span"

// walk is what is found out about the rows of one trace.
type walk struct {
	ids     []uint64
	parent  []int32 // row of the caller or parent; noParent or lostParent
	callee  []int32 // of a client's row: the first row that serves its call, -1
	below   []int32 // of an application's client row: its sidecar's client row, -1
	inner   []bool  // a sidecar's client row below one, or an application's server row behind one: no call of its own
	foreign []bool  // neither a client's nor a server's row, below one of another service
	first   map[uint64]int32
	next    []int32
}

const (
	noParent   = -1
	lostParent = -2
)

// fewRows: below it, looking through all ids is cheaper than a map.
const fewRows = 48

// trace counts the rows of one trace.
func (b *Builder) trace(facts []fact) {
	w := &b.walk
	w.begin(facts)
	for i := range facts {
		w.parent[i] = w.find(facts, i)
	}
	for i := range facts {
		b.unmute(facts, i)
		b.addSeries(&facts[i])
	}
	for i := range facts {
		b.join(facts, i)
	}
	for i := range facts {
		f := &facts[i]
		switch {
		case w.inner[i]:
		case f.calls():
			b.client(facts, i)
		case f.serves() || w.foreign[i]:
			b.server(facts, i)
		}
	}
}

// unmute: the span that a gateway or a waypoint makes for each try of a request has no node id and no request's tags; the
// span above it has.
func (b *Builder) unmute(facts []fact, i int) {
	f, p := &facts[i], b.walk.parent[i]
	if !f.mute || p < 0 || facts[p].service != f.service || facts[p].flags&(Gateway|Waypoint) == 0 {
		return
	}
	f.flags |= facts[p].flags & (Gateway | Waypoint)
	n := b.t.nodes[f.node]
	n.kind = f.nodeKind()
	f.node = b.t.node(n)
}

func (w *walk) begin(facts []fact) {
	n := len(facts)
	w.ids, w.parent, w.callee, w.below, w.next = w.ids[:0], w.parent[:0], w.callee[:0], w.below[:0], w.next[:0]
	w.inner, w.foreign = w.inner[:0], w.foreign[:0]
	for i := range facts {
		w.ids = append(w.ids, facts[i].id)
		w.parent, w.callee, w.below = append(w.parent, noParent), append(w.callee, -1), append(w.below, -1)
		w.inner, w.foreign = append(w.inner, false), append(w.foreign, false)
	}
	if n < fewRows {
		return
	}
	if w.first == nil {
		w.first = make(map[uint64]int32)
	}
	clear(w.first)
	w.next = append(w.next, make([]int32, n)...)
	for i := n - 1; i >= 0; i-- {
		follower, ok := w.first[w.ids[i]]
		if !ok {
			follower = -1
		}
		w.next[i], w.first[w.ids[i]] = follower, int32(i)
	}
}

// maxCandidates bounds how many rows of one id are weighed against each other.
const maxCandidates = 64

// each calls f with the rows of an id.
func (w *walk) each(id uint64, f func(i int)) {
	if len(w.next) > 0 {
		i, ok := w.first[id]
		for tries := 0; ok && i >= 0 && tries < maxCandidates; tries++ {
			f(int(i))
			i = w.next[i]
		}
		return
	}
	for i, o := range w.ids {
		if o == id {
			f(i)
		}
	}
}

// find is the row that called or made row i. The server half of an id that client and server share was called by the
// client half. Of several rows with the parent's id the same service comes first (unless the row serves: then its parent
// is elsewhere), then a server half, then the one that was running.
func (w *walk) find(facts []fact, i int) int32 {
	f := &facts[i]
	if f.serves() || f.shared {
		best := int32(noParent)
		w.each(f.id, func(c int) {
			o := &facts[c]
			if c != i && best == noParent && !o.shared && (o.calls() || f.shared && !o.serves()) {
				best = int32(c)
			}
		})
		if best != noParent {
			return best
		}
	}
	if f.parent == 0 {
		return noParent
	}
	best, bestScore := int32(lostParent), -1
	w.each(f.parent, func(c int) {
		o := &facts[c]
		if c == i || f.parent == f.id {
			return
		}
		score := 0
		if !f.serves() && o.service == f.service {
			score += 4
		}
		if o.serves() {
			score += 2
		}
		if f.time >= o.time && f.time <= o.time+o.took {
			score++
		}
		if score > bestScore {
			best, bestScore = int32(c), score
		}
	})
	return best
}

// join finds out how a row and the one above it belong together.
func (b *Builder) join(facts []fact, i int) {
	w := &b.walk
	p := w.parent[i]
	if p < 0 {
		return
	}
	f, o := &facts[i], &facts[p]
	// Spans without a kind that go on in another service were called by it all the same.
	w.foreign[i] = !f.calls() && !f.serves() && f.service != o.service
	serves := f.serves() || w.foreign[i]
	switch {
	case f.calls() && o.calls() && f.sidecar() && o.flags&Proxy == 0 && b.t.beside(o.node, f.node):
		w.inner[i] = true
		if w.below[p] < 0 {
			w.below[p] = int32(i)
		}
	case serves && o.serves() && o.sidecar() && f.flags&Proxy == 0 && b.t.beside(f.node, o.node):
		w.inner[i] = true
	case serves && (o.calls() || f.shared) && w.callee[p] < 0:
		w.callee[p] = int32(i)
	}
}

// beside reports whether an application's and a sidecar's row are of one workload, and notes it where they name it
// differently. An application that says no namespace takes the one of the sidecar next to it, and its name.
func (t *Table) beside(app, sidecar uint32) bool {
	if app == sidecar {
		return true
	}
	a, s := t.nodes[app], t.nodes[sidecar]
	if a.namespace != 0 && (a.namespace != s.namespace || a.name != s.name) {
		return false
	}
	t.alias(app, sidecar)
	return true
}

// client counts the client's view of the call in row i.
func (b *Builder) client(facts []fact, i int) {
	w, f := &b.walk, &facts[i]
	last := f
	callee := w.callee[i]
	if j := w.below[i]; j >= 0 {
		last = &facts[j]
		if callee < 0 {
			callee = w.callee[j]
		}
	}
	k := edgeKey{from: b.home(facts, i), protocol: f.protocol, flag: last.flag, class: max(f.class, last.class), view: ViewClient}
	if f.protocol == 0 {
		k.protocol = last.protocol
	}
	if p := w.parent[i]; k.protocol == b.batch.tcp { // a guess for want of better
		switch {
		case callee >= 0 && facts[callee].protocol != 0:
			k.protocol = facts[callee].protocol
		case f.flags&Proxy != 0 && p >= 0 && facts[p].service == f.service && facts[p].protocol != 0:
			k.protocol = facts[p].protocol
		}
	}
	if b.broker(f) {
		k.to = f.target
		b.addEdge(f, k)
		return
	}
	above := uint64(0) // of the application's row, where that is in another segment
	if f.sidecar() && w.parent[i] == lostParent {
		above = f.parent
	}
	if callee >= 0 {
		k.to = b.home(facts, int(callee))
		b.t.named(last.target, k.to)
		if above != 0 {
			b.addReached(f, above, k)
		} else {
			b.addEdge(f, k)
		}
		return
	}
	if f.flags&Gateway != 0 && (f.target == noNode || NodeKind(b.t.nodes[f.target].kind) == KindUnknown) {
		// A gateway that answered itself, in a mesh whose gateways make one span a request.
		k.from, k.to, k.view = b.t.node(node{kind: uint32(KindClient)}), k.from, ViewLone
		b.addEdge(f, k)
		return
	}
	k.to = f.target
	if last.target != noNode && (f.target == noNode || f.weak) {
		k.to = last.target
	}
	if k.to == noNode {
		k.to = b.t.node(node{kind: uint32(KindUnknown)})
	}
	switch kind := NodeKind(b.t.nodes[k.to].kind); {
	case kind == KindService || kind == KindUnknown || kind == KindExternal && last.weak:
		b.addHalf(f, last.id, above, k, k.to)
	case above != 0 || kind == KindExternal && f.flags&Proxy == 0 && w.below[i] < 0:
		b.addReached(f, above, k)
	default:
		b.addEdge(f, k)
	}
}

// home is the node of a row: of an application that does not know its namespace, the sidecar's next to it or to a row of
// the same service above it.
func (b *Builder) home(facts []fact, i int) uint32 {
	w, own := &b.walk, facts[i].node
	if b.t.nodes[own].namespace != 0 || facts[i].flags&Proxy != 0 {
		return own
	}
	for range maxCandidates {
		p := w.parent[i]
		switch {
		case w.below[i] >= 0:
			return facts[w.below[i]].node
		case p < 0 || facts[p].flags&Proxy != 0 && !w.inner[i]:
			return own
		case w.inner[i]:
			return facts[p].node
		case facts[p].service != facts[i].service:
			return own
		}
		i = int(p)
	}
	return own
}

// named notes which workload answers to the name by which it was called, a Kubernetes service's.
func (t *Table) named(target, callee uint32) {
	if target == noNode {
		return
	}
	n, c := &t.nodes[target], &t.nodes[callee]
	if NodeKind(n.kind) == KindService && NodeKind(c.kind) == KindService && n.namespace != 0 && n.namespace == c.namespace && n.name != c.name {
		t.alias(target, callee)
	}
}

// broker reports whether a row names the broker that its message goes through.
func (b *Builder) broker(f *fact) bool {
	return f.target != noNode && NodeKind(b.t.nodes[f.target].kind) == KindBroker
}

// server counts the server's view of the call in row i.
func (b *Builder) server(facts []fact, i int) {
	w, f := &b.walk, &facts[i]
	k := edgeKey{to: b.home(facts, i), protocol: f.protocol, flag: f.flag, class: f.class, view: ViewLone}
	if f.kind == span.KindConsumer && b.broker(f) {
		k.from = f.target
		b.addEdge(f, k)
		return
	}
	switch p := w.parent[i]; {
	case p >= 0:
		o := &facts[p]
		k.from = b.home(facts, int(p))
		switch {
		case o.calls():
			k.view, k.class = ViewServer, max(k.class, o.class)
		case k.from == k.to:
			return // an inner span of the same workload that was given the kind server
		}
		b.addEdge(f, k)
	case p == lostParent:
		b.addHalf(f, f.parent, f.id, k, k.to)
	case f.shared:
		b.addHalf(f, f.id, f.id, k, k.to)
	case f.kind == span.KindConsumer && f.linkSpan != 0:
		b.addLinked(f, k)
	default:
		k.from = b.t.node(node{kind: uint32(KindClient)})
		b.addEdge(f, k)
	}
}
