package query

import (
	"fmt"

	"github.com/spanloom/spanloom/store/rollup"
)

// Note says what is missing and why.
type Note struct {
	Kind    string // closed list: the Note… words
	Message string
}

// Missing is something that ought to be on the map and is not.
type Missing struct {
	Kind     string // closed list: the Missing… words
	Node     string // id; of an edge its callee
	From     string // id of an edge's caller; empty for nodes
	LastTime int64  // MissingStopped: start of the last minute with its spans
	Message  string
}

// The kinds of what is missing.
const (
	MissingStopped    = "stopped_sending"      // regular in the stretch before, silent in this one (Compare)
	MissingCallee     = "callee_without_spans" // a workload of the mesh that is called and sends nothing
	MissingServerSide = "server_side"          // both ends send spans, but only the client shows their calls
	MissingClientSide = "client_side"          // both ends send spans, but only the server shows their calls
)

// The kinds of notes.
const (
	NoteNoSpans     = "no_spans"      // nothing was received in the window
	NoteNoCalls     = "no_calls"      // spans, but no call between two workloads
	NoteOnlyApps    = "only_apps"     // no proxy reported: no sidecars, or they do not send
	NoteOnlyServers = "only_servers"  // no client span: nobody forwards trace headers, or only gateways report
	NoteFiltered    = "filtered"      // the filter leaves nothing
	NoteUnpaired    = "unpaired"      // calls whose other side was not looked for
	NoteTooMany     = "too_many_keys" // names share an (other) key
)

// missing says what ought to be among the nodes and edges of an answer.
func (g *graph) missing(a *MapAnswer, step int64) (list []Missing) {
	for i := range a.Nodes {
		n := g.nodes[a.Nodes[i].ID]
		switch {
		case n.silent && int64(n.minutes)*step*2 >= g.length:
			list = append(list, Missing{Kind: MissingStopped, Node: n.ID, LastTime: n.last,
				Message: "sent spans regularly before, and none in this window"})
		case !n.own && n.Kind == rollup.KindService:
			list = append(list, Missing{Kind: MissingCallee, Node: n.ID,
				Message: "is called and sends no spans: no sidecar, tracing off, or its spans do not arrive"})
		}
	}
	for i := range a.Edges {
		e := &a.Edges[i]
		from, to := g.nodes[e.From], g.nodes[e.To]
		if e.Class != rollup.ClassCall || !from.own || !to.own || from.silent || to.silent {
			continue
		}
		switch e.Seen {
		case "client":
			list = append(list, Missing{Kind: MissingServerSide, Node: e.To, From: e.From, Message: "only the caller shows these calls: they fail before they arrive, or the callee begins traces of its own"})
		case "server":
			list = append(list, Missing{Kind: MissingClientSide, Node: e.To, From: e.From, Message: "only the callee shows these calls: the caller makes no client spans, or they do not arrive"})
		}
	}
	return list
}

// notes says what an empty map is owed to, so that none is a bare page.
func (g *graph) notes(a *MapAnswer, t *rollup.Table) (notes []Note) {
	own, between, workloads := false, false, 0
	for _, n := range g.nodes {
		own = own || n.own && !n.silent
		if n.own && n.Kind == rollup.KindService {
			workloads++
		}
	}
	for id := range g.edges {
		between = between || id.class != rollup.ClassTelemetry && g.nodes[id.from].Kind != rollup.KindClient
	}
	add := func(kind, message string) { notes = append(notes, Note{kind, message}) }
	switch {
	case !own:
		add(NoteNoSpans, "no span of this window is here: nothing was received, or the window is past retention")
	case !between && workloads > 1 && !g.client:
		add(NoteOnlyServers, "there are server spans but no client spans and no parent links between services: trace headers are not forwarded, or outbound sidecar spans are not reported")
	case !between && workloads > 1:
		add(NoteNoCalls, "there are spans but no call between two workloads")
	case len(a.Nodes) == 0:
		add(NoteFiltered, "the namespaces asked for have no nodes in this window")
	}
	if own && !g.proxy {
		add(NoteOnlyApps, "no span of a proxy is here: the sidecars do not report, or cannot reach their collector (ports 9411, 4317, 4318)")
	}
	if t.Unpaired > 0 {
		add(NoteUnpaired, fmt.Sprintf("%d calls were counted from one side without looking for the other", t.Unpaired))
	}
	if t.Keys() >= rollup.MaxKeys-2000 {
		add(NoteTooMany, "there are more names than rollups hold; the rarest share a key called "+rollup.Other)
	}
	return notes
}
