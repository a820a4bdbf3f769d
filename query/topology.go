package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// MapQuery asks who called whom.
type MapQuery struct {
	Range      store.TimeRange // both ends set
	Namespaces []string        // nodes of these, and what they touch; empty: all
	Focus      string          // id of a node; empty: all
	Depth      int             // hops up and down from Focus; 0 is 1
	Telemetry  bool            // with the export of spans, metrics and logs
	Compare    bool            // with the figures of the stretch of equal length before; not where a part of the store is away
}

// MaxDepth is the most hops around a focus.
const MaxDepth = 20

// MapAnswer is the map: nodes by id, edges by their ends.
type MapAnswer struct {
	Nodes   []MapNode
	Edges   []MapEdge
	Notes   []Note // what an empty or a partial map is owed to
	Missing []Missing
	store.Done
}

// Badge is a fact about a node that the map marks.
type Badge string

// The badges.
const (
	BadgeNoSpans   Badge = "no_spans"   // called by spans, sends none itself
	BadgeNoSidecar Badge = "no_sidecar" // its spans come from the application only, while others have sidecars
	BadgeInferred  Badge = "inferred"   // known from the spans of its callers only
	BadgeSilent    Badge = "silent"     // sent in the stretch before, not in this one (Compare)
)

// MapNode is a workload group, or what stands for something without spans.
type MapNode struct {
	ID        string // kind/namespace/name
	Kind      rollup.NodeKind
	Namespace string
	Name      string
	Services  []string // as dialects list them, sorted
	Versions  []VersionFigures
	RED       RED // calls to it
	Before    *RED
	Badges    []Badge
	Inferred  string // from what it is known, in words; empty where it sent spans
}

// VersionFigures are the calls that one version of a workload served.
type VersionFigures struct {
	Version string
	RED     RED
}

// MapEdge is the calls between two nodes.
type MapEdge struct {
	From, To  string // ids of nodes
	Class     rollup.Class
	Protocol  string   // the most frequent one
	Protocols []string // all, sorted
	RED       RED      // calls: as the client saw them, or the server where the client sent no span
	Client    *RED     // only the calls that a client's span shows
	Server    *RED     // what servers did for them, each try
	Before    *RED
	Flags     []FlagCount
	Seen      string       // both, client or server: whose spans show it
	Slowest   span.TraceID // examples
	Failed    span.TraceID
}

// FlagCount is how often a response flag stood on the calls of an edge.
type FlagCount struct {
	Flag  string
	N     int64
	Words ResponseFlag
}

// Map answers who called whom in a window, by rules that are told in docs/topology.md. Cost: some milliseconds from
// rollups; a scan otherwise.
func (q *Query) Map(ctx context.Context, s store.Scope, mq MapQuery) (*MapAnswer, error) {
	if mq.Range.To <= mq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if mq.Depth < 0 || mq.Depth > MaxDepth {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "depth", Message: fmt.Sprintf("depth is %d", mq.Depth), Hint: fmt.Sprintf("use 1 to %d", MaxDepth)}
	}
	counts := q.sums
	if mq.Compare { // asks when somebody sent last
		counts = q.Counts
	}
	table, done, err := counts(ctx, s, mq.Range)
	if err != nil {
		return nil, err
	}
	length := mq.Range.To - mq.Range.From
	g := newGraph(table, length)
	a := &MapAnswer{Done: done}
	if mq.Compare {
		before, d, err := q.Counts(ctx, s, store.TimeRange{From: mq.Range.From - length, To: mq.Range.From})
		if away, ok := Away(err); ok && ctx.Err() == nil {
			d, err = away, nil
		}
		if err != nil {
			return nil, err
		}
		a.Done = joinDone(a.Done, d)
		if mq.Compare = !a.Away; mq.Compare { // else spans that were not read look like a service that fell silent
			g.compare(newGraph(before, length))
		}
	}
	if mq.Focus != "" && g.nodes[mq.Focus] == nil {
		if a.Away {
			return nil, unknown(a.Done, "focus", fmt.Sprintf("node %.200q", mq.Focus))
		}
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "focus", Message: fmt.Sprintf("no node %.200q in this window", mq.Focus),
			Hint: "a node's id is kind/namespace/name, as the map without a focus lists it"}
	}
	g.answer(a, &mq)
	if !a.Away { // else it may have been sent, and not been read
		a.Notes = g.notes(a, table)
		a.Missing = g.missing(a, table.Step())
	}
	return a, nil
}

// answer writes what the question wants of the graph.
func (g *graph) answer(a *MapAnswer, mq *MapQuery) {
	over := time.Duration(g.length)
	show := g.within(mq)
	touched := make(map[string]bool)
	for id, e := range g.edges {
		if !show[id.from] || !show[id.to] || id.class == rollup.ClassTelemetry && !mq.Telemetry || !g.inNamespaces(mq, id.from) && !g.inNamespaces(mq, id.to) {
			continue
		}
		touched[id.from], touched[id.to] = true, true
		a.Edges = append(a.Edges, e.answer(id, over, mq.Compare))
	}
	for id, n := range g.nodes {
		// What is known from telemetry only is as hidden as that.
		if !show[id] || !touched[id] && (!n.own || !g.inNamespaces(mq, id)) {
			continue
		}
		a.Nodes = append(a.Nodes, n.answer(g, over, mq.Compare))
	}
	slices.SortFunc(a.Nodes, func(x, y MapNode) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(a.Edges, func(x, y MapEdge) int {
		return cmp.Or(cmp.Compare(x.From, y.From), cmp.Compare(x.To, y.To), cmp.Compare(x.Class, y.Class))
	})
}

func (g *graph) inNamespaces(mq *MapQuery, id string) bool {
	return len(mq.Namespaces) == 0 || slices.Contains(mq.Namespaces, g.nodes[id].Namespace)
}

// within are the nodes at most Depth hops up or down from the focus; all without one.
func (g *graph) within(mq *MapQuery) map[string]bool {
	show := make(map[string]bool, len(g.nodes))
	if mq.Focus == "" {
		for id := range g.nodes {
			show[id] = true
		}
		return show
	}
	show[mq.Focus] = true
	for _, down := range []bool{true, false} {
		reached, front := map[string]bool{mq.Focus: true}, []string{mq.Focus}
		for range max(mq.Depth, 1) {
			var next []string
			for id := range g.edges {
				from, to := id.from, id.to
				if !down {
					from, to = to, from
				}
				if id.class == rollup.ClassTelemetry && !mq.Telemetry || !slices.Contains(front, from) || reached[to] {
					continue
				}
				reached[to], show[to] = true, true
				next = append(next, to)
			}
			front = next
		}
	}
	return show
}

func (n *graphNode) answer(g *graph, over time.Duration, compare bool) MapNode {
	m := n.MapNode
	m.RED = figuresOf(n.served(), over)
	m.Services = sortedKeys(n.services)
	if class, ok := n.class(); ok {
		for _, v := range sortedKeys(n.versions[class]) {
			if v != "" {
				m.Versions = append(m.Versions, VersionFigures{v, figuresOf(n.versions[class][v], over)})
			}
		}
	}
	if compare {
		m.Before = n.before
		if m.Before == nil {
			m.Before = &RED{}
		}
	}
	switch {
	case n.silent:
		m.Badges = append(m.Badges, BadgeSilent)
	case !n.own:
		m.Badges = append(m.Badges, BadgeInferred)
		m.Inferred = inferredFrom[m.Kind%rollup.NumKinds]
		if m.Kind == rollup.KindService {
			m.Badges = append(m.Badges, BadgeNoSpans)
		}
	case m.Kind == rollup.KindService && !n.sidecar && g.beside:
		m.Badges = append(m.Badges, BadgeNoSidecar)
	}
	return m
}

// inferredFrom says from what a node is known that sent nothing.
var inferredFrom = [rollup.NumKinds]string{
	rollup.KindService:     "the callers' peer.service, server.address or upstream_cluster",
	rollup.KindExternal:    "the callers' server.address, upstream_cluster or URL",
	rollup.KindDatabase:    "the callers' db.system",
	rollup.KindBroker:      "messaging.system and messaging.destination of producers and consumers",
	rollup.KindPassthrough: "the callers' upstream_cluster PassthroughCluster: no service of the mesh matched",
	rollup.KindBlackHole:   "the callers' upstream_cluster BlackHoleCluster: outbound policy refused it",
	rollup.KindClient:      "server spans without a parent, or whose caller's span never arrived",
	rollup.KindUnknown:     "client spans that do not say whom they called",
	rollup.KindOther:       "what had no place of its own in the rollups",
}

func (e *graphEdge) answer(id edgeID, over time.Duration, compare bool) MapEdge {
	c := e.calls()
	m := MapEdge{From: id.from, To: id.to, Class: id.class, RED: figuresOf(&c, over), Slowest: c.Slowest, Failed: c.Failed}
	if m.Failed.IsZero() {
		m.Failed = e.server.Failed
	}
	m.Seen = "both"
	switch {
	case e.client.N == 0:
		m.Seen = "server"
	case e.server.N+e.lone.N == 0:
		m.Seen = "client"
	}
	if e.client.N > 0 && e.server.N > 0 {
		client, server := figuresOf(&e.client, over), figuresOf(&e.server, over)
		m.Client, m.Server = &client, &server
	}
	for _, p := range sortedKeys(e.protocols) {
		if p == "" {
			continue
		}
		m.Protocols = append(m.Protocols, p)
		if m.Protocol == "" || e.protocols[p] > e.protocols[m.Protocol] {
			m.Protocol = p
		}
	}
	for _, f := range sortedKeys(e.flags) {
		m.Flags = append(m.Flags, FlagCount{f, e.flags[f], FlagWords(f)})
	}
	slices.SortStableFunc(m.Flags, func(a, b FlagCount) int { return cmp.Compare(b.N, a.N) })
	if compare {
		m.Before = e.before
		if m.Before == nil {
			m.Before = &RED{}
		}
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
