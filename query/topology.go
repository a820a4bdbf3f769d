package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
	Compare    bool            // with the figures of the stretch of equal length before
}

// MaxDepth is the most hops around a focus.
const MaxDepth = 20

// MapAnswer is the map: nodes by id, edges by their ends.
type MapAnswer struct {
	Nodes []MapNode
	Edges []MapEdge
	Notes []Note // what an empty or a partial map is owed to
	store.Done
}

// Note says what is missing and why.
type Note struct {
	Kind    string // closed list: the Note… words
	Message string
}

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
	table, done, err := q.counts(ctx, s, mq.Range)
	if err != nil {
		return nil, err
	}
	length := mq.Range.To - mq.Range.From
	g := newGraph(table, length)
	a := &MapAnswer{Done: done}
	if mq.Compare {
		before, d, err := q.counts(ctx, s, store.TimeRange{From: mq.Range.From - length, To: mq.Range.From})
		if err != nil {
			return nil, err
		}
		a.Done = joinDone(a.Done, d)
		g.compare(newGraph(before, length))
	}
	if mq.Focus != "" && g.nodes[mq.Focus] == nil {
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "focus", Message: fmt.Sprintf("no node %.200q in this window", mq.Focus),
			Hint: "a node's id is kind/namespace/name, as the map without a focus lists it"}
	}
	g.answer(a, &mq)
	a.Notes = g.notes(a, table)
	return a, nil
}

// graph is a table folded into nodes as people name them.
type graph struct {
	length int64
	known  map[groupID]bool    // groups that sent spans
	spaces map[string][]string // group -> its namespaces
	byName map[string]groupID  // service -> group
	alias  map[groupID]groupID // names of one workload
	nodes  map[string]*graphNode
	edges  map[edgeID]*graphEdge
	proxy  bool // some proxy reported
	beside bool // some sidecar did
	client bool // some client span was seen
}

// groupID is a workload group.
type groupID struct{ namespace, group string }

type graphNode struct {
	MapNode
	entries  [numEntries]rollup.Counts // of its own spans
	versions [numEntries]map[string]*rollup.Counts
	incoming rollup.Counts // of edges to it
	own      bool          // it sent spans
	sidecar  bool
	services map[string]bool
	silent   bool
	before   *RED
}

type edgeID struct {
	from, to string
	class    rollup.Class
}

type graphEdge struct {
	client, server, lone rollup.Counts
	protocols, flags     map[string]int64
	before               *RED
}

func newGraph(t *rollup.Table, length int64) *graph {
	g := &graph{length: length, known: make(map[groupID]bool), spaces: make(map[string][]string), byName: make(map[string]groupID),
		alias: make(map[groupID]groupID), nodes: make(map[string]*graphNode), edges: make(map[edgeID]*graphEdge)}
	edges := t.Edges() // settles the halves, which finds further aliases
	for k, cells := range t.Series() {
		if len(cells) == 0 {
			continue
		}
		w := groupID{k.Namespace, k.Group}
		if !g.known[w] {
			g.known[w] = true
			g.spaces[k.Group] = append(g.spaces[k.Group], k.Namespace)
		}
		if old, ok := g.byName[k.Service]; !ok || less(w, old) {
			g.byName[k.Service] = w
		}
	}
	for a, b := range t.Aliases() {
		from, to := groupID{a.Namespace, a.Name}, groupID{b.Namespace, b.Name}
		if a.Service == "" && g.known[from] { // callers' name for it is another workload's own
			continue
		}
		if old, ok := g.alias[from]; !ok || less(to, old) {
			g.alias[from] = to
		}
	}
	for k, cells := range t.Series() {
		g.addSeries(&k, cells)
	}
	for k, cells := range edges {
		g.addEdge(&k, cells)
	}
	return g
}

func less(a, b groupID) bool {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.group, b.group)) < 0
}

// workload follows aliases and finds the namespace of a group that names none.
func (g *graph) workload(w groupID) groupID {
	for range 4 { // longer chains are rings
		to, ok := g.alias[w]
		if !ok {
			break
		}
		w = to
	}
	if w.namespace != "" {
		return w
	}
	if to, ok := g.byName[w.group]; ok && to.namespace != "" {
		return to
	}
	found := ""
	for _, ns := range g.spaces[w.group] {
		if ns == "" {
			continue
		}
		if found != "" {
			return w // two namespaces have such a group: no way to tell
		}
		found = ns
	}
	w.namespace = found
	return w
}

// node finds or makes what an end of an edge is called on the map.
func (g *graph) node(n rollup.Node) *graphNode {
	kind, w := n.Kind, groupID{n.Namespace, n.Name}
	switch kind {
	case rollup.KindService:
		w = g.workload(w)
	case rollup.KindExternal: // a host that is a workload of the mesh after all: "reviews.shop"
		if name, ns, ok := strings.Cut(n.Name, "."); ok && g.known[groupID{ns, name}] {
			kind, w = rollup.KindService, groupID{ns, name}
		}
	}
	id := kind.String() + "/" + w.namespace + "/" + w.group
	node := g.nodes[id]
	if node == nil {
		node = &graphNode{MapNode: MapNode{ID: id, Kind: kind, Namespace: w.namespace, Name: w.group}, services: make(map[string]bool)}
		g.nodes[id] = node
	}
	if n.Service != "" {
		node.services[n.Service] = true
	}
	return node
}

func (g *graph) addSeries(k *rollup.SeriesKey, cells []rollup.Cell) {
	if len(cells) == 0 {
		return
	}
	kind := rollup.KindService
	switch {
	case k.Flags&rollup.Gateway != 0:
		kind = rollup.KindGateway
	case k.Flags&rollup.Waypoint != 0:
		kind = rollup.KindWaypoint
	}
	n := g.node(rollup.Node{Kind: kind, Namespace: k.Namespace, Name: k.Group, Service: k.Service})
	n.own = true
	proxy := k.Flags&rollup.Proxy != 0
	n.sidecar = n.sidecar || proxy
	g.proxy = g.proxy || proxy
	g.beside = g.beside || proxy && kind == rollup.KindService
	g.client = g.client || calls(k.Kind)
	if !serves(k.Kind) && k.Flags&rollup.Root == 0 {
		return
	}
	class := classOf(k.Kind, proxy)
	if n.versions[class] == nil {
		n.versions[class] = make(map[string]*rollup.Counts)
	}
	version := n.versions[class][k.Version]
	if version == nil {
		version = new(rollup.Counts)
		n.versions[class][k.Version] = version
	}
	for i := range cells {
		n.entries[class].Merge(&cells[i].Counts)
		version.Merge(&cells[i].Counts)
	}
}

func (g *graph) addEdge(k *rollup.EdgeKey, cells []rollup.Cell) {
	if len(cells) == 0 {
		return
	}
	from, to := g.node(k.From), g.node(k.To)
	id := edgeID{from.ID, to.ID, k.Class}
	e := g.edges[id]
	if e == nil {
		e = &graphEdge{protocols: make(map[string]int64), flags: make(map[string]int64)}
		g.edges[id] = e
	}
	counts := [...]*rollup.Counts{&e.client, &e.server, &e.lone}[k.View%3]
	for i := range cells {
		c := &cells[i].Counts
		counts.Merge(c)
		e.protocols[k.Protocol] += c.N
		if k.Flag != "" {
			e.flags[k.Flag] += c.N
		}
		if k.View != rollup.ViewServer && k.Class != rollup.ClassTelemetry {
			to.incoming.Merge(c)
		}
	}
}

// calls of the edge.
func (e *graphEdge) calls() (c rollup.Counts) {
	c.Merge(&e.client)
	c.Merge(&e.lone)
	return c
}

// compare notes what was before.
func (g *graph) compare(before *graph) {
	over := time.Duration(g.length)
	for id, old := range before.nodes {
		n := g.nodes[id]
		if n == nil {
			if !old.own { // somebody called it then
				continue
			}
			n = &graphNode{MapNode: old.MapNode, services: old.services, silent: true, own: true, sidecar: old.sidecar}
			g.nodes[id] = n
		} else if old.own && !n.own {
			n.silent = true
		}
		red := figuresOf(old.served(), over)
		n.before = &red
	}
	for id, old := range before.edges {
		if e := g.edges[id]; e != nil {
			c := old.calls()
			red := figuresOf(&c, over)
			e.before = &red
		}
	}
}

// served are the calls to a node: as the side saw them that saw more, or as its callers did where it sent no spans.
func (n *graphNode) served() *rollup.Counts {
	if class, ok := n.class(); ok {
		return &n.entries[class]
	}
	return &n.incoming
}

func (n *graphNode) class() (entryClass, bool) {
	switch {
	case n.entries[appEntry].Weight > n.entries[proxyEntry].Weight:
		return appEntry, true
	case n.entries[proxyEntry].N > 0:
		return proxyEntry, true
	case n.entries[rootEntry].N > 0:
		return rootEntry, true
	}
	return 0, false
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
