package rollup

import (
	"iter"

	"github.com/spanloom/spanloom/span"
)

// half is a call of which the other side is not in this segment: a client's row without the server's, or a server's row
// whose parent is elsewhere.
type half struct {
	trace      span.TraceID
	low, call  uint64 // of the trace and the client's span: what joins the two
	own        uint64 // of a server: its own span, which is the client's too where the two share it; 0 for clients
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
}

func (b *Builder) addHalf(f *fact, call, own uint64, k edgeKey, target uint32) {
	h := half{trace: f.trace, low: f.trace.Low(), call: call, own: own, time: f.time, took: f.took, weight: f.weight,
		target: target, protocol: k.protocol, flag: k.flag, class: k.class, failed: f.failed, node: k.to, client: k.view == ViewClient,
		proxy: f.flags&Proxy != 0, context: !b.counts(f)}
	if h.client {
		h.node = k.from
	}
	b.t.addHalf(h)
}

// addLinked is a consumer that names its producer by a link.
func (b *Builder) addLinked(f *fact, k edgeKey) {
	b.t.addHalf(half{trace: f.trace, low: f.linkTrace, call: f.linkSpan, own: f.id, time: f.time, took: f.took, weight: f.weight,
		node: k.to, target: k.to, protocol: k.protocol, flag: k.flag, class: ClassAsync, failed: f.failed,
		proxy: f.flags&Proxy != 0, context: !b.counts(f)})
}

func (t *Table) addHalf(h half) {
	if len(t.halves) < MaxHalves {
		t.halves = append(t.halves, h)
		return
	}
	if !h.context {
		t.Unpaired++
		t.alone(&h)
	}
}

// alone counts a half whose other side was not found: a client's call goes to what it says of its callee, a server's comes
// from a client without spans. An application's server row whose parent is elsewhere has its own sidecar above it, if the
// workload has one: the sidecar's row counts that call.
func (t *Table) alone(h *half) {
	k := edgeKey{protocol: h.protocol, flag: h.flag, class: h.class}
	if h.client {
		k.from, k.to, k.view = h.node, h.target, ViewClient
	} else {
		if !h.proxy && t.sidecars[t.groupOf(h.node)] {
			return
		}
		k.from, k.to, k.view = t.node(node{kind: uint32(KindClient)}), h.node, ViewLone
	}
	t.addHalfEdge(h, k)
	if !h.context && sendsSpans(NodeKind(t.nodes[k.to].kind)) && !unreached(t.strings[h.flag]) {
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
	t.findSidecars()
	j := t.joinHalves()
	for i := range t.halves {
		if h := &t.halves[i]; !h.client && j.caller[i] == nobody {
			t.alone(h)
		}
	}
	for i := range t.halves {
		if h := &t.halves[i]; h.client && j.callee[i] == nobody {
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
		case h.client && j.callee[i] != nobody:
			if h.time > first+tryMargin && h.time < last-tryMargin {
				continue
			}
			h.context = true
		}
		kept = append(kept, h)
	}
	t.halves = kept
}

// tryMargin is how far apart the spans of the tries of one call come in, at most.
const tryMargin = 2 * Minute

const nobody = -1

// joined is which half of a table belongs to which, by index; nobody for none.
type joined struct {
	caller []int32 // of a server: its client
	callee []int32 // of a client: its first server
}

// joinHalves finds pairs and counts both of their sides.
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
	j := joined{make([]int32, len(t.halves)), make([]int32, len(t.halves))}
	for i := range t.halves {
		j.caller[i], j.callee[i] = nobody, nobody
	}
	for i := range t.halves {
		h := &t.halves[i]
		if h.client {
			continue
		}
		c, ok := clients[call{h.low, h.call}]
		if !ok && h.own != h.call {
			c, ok = clients[call{h.low, h.own}]
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
	for i := range t.halves {
		if s := j.callee[i]; s != nobody {
			h := &t.halves[i]
			t.named(h.target, t.halves[s].node)
			t.addHalfEdge(h, edgeKey{from: h.node, to: t.halves[s].node, protocol: h.protocol, flag: h.flag, class: h.class, view: ViewClient})
		}
	}
	return j
}

type workload struct{ namespace, group uint32 }

// groupOf is a node's workload; an alias is that of its sidecar.
func (t *Table) groupOf(i uint32) workload {
	if sidecar, ok := t.aliases[i]; ok {
		i = sidecar
	}
	return workload{t.nodes[i].namespace, t.nodes[i].name}
}

// findSidecars notes the workloads with sidecars that serve.
func (t *Table) findSidecars() {
	t.sidecars = make(map[workload]bool)
	for _, k := range t.series.keys {
		if k.flags&Proxy != 0 && k.flags&(Gateway|Waypoint) == 0 && k.kind == span.KindServer {
			t.sidecars[workload{k.namespace, k.group}] = true
		}
	}
}
