package query

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/store/rollup"
)

// graph is a table folded into nodes as people name them.
type graph struct {
	length  int64
	known   map[groupID]bool            // groups that sent spans
	spaces  map[string][]string         // group -> its namespaces
	byName  map[string]groupID          // service -> group
	alias   map[groupID]groupID         // names of one workload
	borders map[groupID]rollup.NodeKind // gateways and waypoints
	nodes   map[string]*graphNode
	edges   map[edgeID]*graphEdge
	proxy   bool // some proxy reported
	beside  bool // some sidecar did
	client  bool // some client span was seen
}

// groupID is a workload group.
type groupID struct{ namespace, group string }

type graphNode struct {
	MapNode
	entries  [numEntries]rollup.Counts // of its own spans
	versions [numEntries]map[string]*rollup.Counts
	incoming rollup.Counts // of edges to it, where it sent no entry span
	own      bool          // it sent spans
	sidecar  bool
	proxied  string // the service that its proxies report
	services map[string]bool
	silent   bool
	before   *RED
	minutes  int   // cells of its busiest series: in how many stretches it sent
	last     int64 // start of its last cell
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
		alias: make(map[groupID]groupID), borders: make(map[groupID]rollup.NodeKind), nodes: make(map[string]*graphNode), edges: make(map[edgeID]*graphEdge)}
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
		if n := seriesNode(&k); n.Kind != rollup.KindService {
			g.borders[w] = n.Kind
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
	g.sum()
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
		// The span of a gateway's try whose parent is elsewhere does not say what it is; nor do callers say that they call one.
		if border, ok := g.borders[w]; ok {
			kind = border
		}
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
	n := g.node(seriesNode(k))
	n.own = true
	proxy := k.Flags&rollup.Proxy != 0
	n.sidecar = n.sidecar || proxy
	if proxy && (n.proxied == "" || k.Service < n.proxied) {
		n.proxied = k.Service
	}
	n.minutes, n.last = max(n.minutes, len(cells)), max(n.last, cells[len(cells)-1].Start)
	g.proxy = g.proxy || proxy
	g.beside = g.beside || proxy && n.Kind == rollup.KindService
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
		version.Merge(&cells[i].Counts)
	}
}

// sum adds up what is made of other sums: merging those is cheaper than each cell twice.
func (g *graph) sum() {
	for _, n := range g.nodes {
		for class, versions := range n.versions {
			for _, v := range sortedKeys(versions) {
				n.entries[class].Merge(versions[v])
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(g.edges), compareEdges) {
		if to := g.nodes[id.to]; id.class != rollup.ClassTelemetry {
			if _, served := to.class(); !served {
				to.incoming.Merge(&g.edges[id].client)
				to.incoming.Merge(&g.edges[id].lone)
			}
		}
	}
}

func compareEdges(x, y edgeID) int {
	return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.to, y.to), cmp.Compare(x.class, y.class))
}

// seriesNode is where the spans of a series ran.
func seriesNode(k *rollup.SeriesKey) rollup.Node {
	n := rollup.Node{Kind: rollup.KindService, Namespace: k.Namespace, Name: k.Group, Service: k.Service}
	switch {
	case k.Flags&rollup.Gateway != 0:
		n.Kind = rollup.KindGateway
	case k.Flags&rollup.Waypoint != 0:
		n.Kind = rollup.KindWaypoint
	}
	return n
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
	counts, n := [...]*rollup.Counts{&e.client, &e.server, &e.lone}[k.View%3], int64(0)
	for i := range cells {
		counts.Merge(&cells[i].Counts)
		n += cells[i].N
	}
	e.protocols[k.Protocol] += n
	if k.Flag != "" {
		e.flags[k.Flag] += n
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
			n.minutes, n.last = old.minutes, old.last
			g.nodes[id] = n
		} else if old.own && !n.own {
			n.silent, n.minutes, n.last = true, old.minutes, old.last
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
