package rollup

import (
	"github.com/spanloom/spanloom/span"
)

// slot is an attribute that a Builder reads.
type slot uint8

const (
	slotError slot = iota
	slotNodeID
	slotRevision
	slotPeerService
	slotDBSystem
	slotDBName
	slotServerAddress
	slotServerPort
	slotCluster
	slotURL
	slotMethod
	slotRPC
	slotGRPCStatus
	slotFlags
	slotMessaging
	slotDestination
	numSlots
)

// slotKeys are the keys of the slots; several keys may stand for one, the later in this list before the earlier.
var slotKeys = [...]string{
	"error", "node_id", "istio.canonical_revision", "peer.service", "db.system", "db.system.name", "db.name", "db.namespace",
	"net.peer.name", "peer.hostname", "server.address", "net.peer.port", "server.port", "upstream_cluster", "http.url", "url.full",
	"http.method", "http.request.method", "rpc.system", "rpc.system.name", "grpc.status_code", "response_flags",
	"messaging.system", "messaging.destination", "messaging.destination.name",
}

var slotOfKey = [len(slotKeys)]slot{
	slotError, slotNodeID, slotRevision, slotPeerService, slotDBSystem, slotDBSystem, slotDBName, slotDBName,
	slotServerAddress, slotServerAddress, slotServerAddress, slotServerPort, slotServerPort, slotCluster, slotURL, slotURL,
	slotMethod, slotMethod, slotRPC, slotRPC, slotGRPCStatus, slotFlags,
	slotMessaging, slotDestination, slotDestination,
}

// versionKeys of a resource, the first that is there.
var versionKeys = [...]string{"service.istio.io/canonical-revision", "service.version"}

// batchView reads the rows of one batch.
type batchView struct {
	b       *span.Batch
	t       *Table
	slots   []slot // key index -> slot + 1, 0 for none
	attrs   [numSlots]span.Attr
	present [numSlots]bool

	strs       strCache
	operations strCache
	clusters   strCache
	versions   []uint32 // resource -> string + 1
	scratch    []byte

	http, grpc, tcp uint32

	guesses      []guess // by service
	lastSeries   [64]seriesKey
	lastSeriesAt [64]uint32 // + 1
	lastEdge     [64]edgeKey
	lastEdgeAt   [64]uint32 // + 1
}

// guess is what a service's rows said last: mostly the next one says the same, and comparing costs less than hashing.
type guess struct {
	group, namespace, version uint32

	nodes  [3]node // by kind: service, gateway, waypoint
	nodeAt [3]uint32
}

func (v *batchView) begin(b *span.Batch, t *Table) {
	v.b, v.t = b, t
	v.slots = v.slots[:0]
	for _, k := range b.Keys {
		v.slots = append(v.slots, slotFor(b.Bytes(k)))
	}
	v.versions = append(v.versions[:0], make([]uint32, len(b.Resources))...)
	v.strs.begin()
	v.operations.begin()
	v.clusters.begin()
	if v.scratch == nil {
		v.scratch = make([]byte, 0, 512)
		v.http, v.grpc, v.tcp = t.str("http"), t.str("grpc"), t.str("tcp")
	}
}

func slotFor(key []byte) slot {
	for i, k := range slotKeys {
		if string(key) == k {
			return slotOfKey[i] + 1
		}
	}
	return 0
}

// attributes finds a row's attributes; of repeated keys the last wins.
func (v *batchView) attributes(row int) {
	v.present = [numSlots]bool{}
	r := v.b.SpanAttrs[row]
	for _, a := range v.b.Attrs[r.Off:r.End()] {
		if s := v.slots[a.Key]; s != 0 {
			v.attrs[s-1], v.present[s-1] = a, true
		}
	}
}

// text is an attribute's string, nil if absent, empty or of another type.
func (v *batchView) text(s slot) []byte {
	if !v.present[s] || v.attrs[s].Type != span.TypeString {
		return nil
	}
	p := v.b.Bytes(v.attrs[s].Value().Str())
	if len(p) == 0 {
		return nil
	}
	return p
}

// failed is span.Batch.Failed, from the attributes that were found.
func (v *batchView) failed(row int) bool {
	if s := v.b.Status[row]; s != span.StatusUnset {
		return s == span.StatusError
	}
	return v.present[slotError] && v.b.Failed(row)
}

// str interns a run of the arena.
func (v *batchView) str(s span.Str) uint32 {
	if s.Len == 0 {
		return 0
	}
	if i, ok := v.strs.get(s); ok {
		return i
	}
	i := v.t.strOf(v.b.Bytes(s))
	v.strs.put(s, i)
	return i
}

// own is the node of the row itself.
func (g *guess) own(t *Table, n node) uint32 {
	if g.nodeAt[n.kind] == 0 || g.nodes[n.kind] != n {
		g.nodes[n.kind], g.nodeAt[n.kind] = n, t.node(n)+1
	}
	return g.nodeAt[n.kind] - 1
}

// series is Table.seriesOf behind a small cache.
func (v *batchView) series(k seriesKey) uint32 {
	at := (k.operation*31 + k.service*7 + k.version*3 + uint32(k.kind)) % uint32(len(v.lastSeries))
	if v.lastSeriesAt[at] != 0 && v.lastSeries[at] == k {
		return v.lastSeriesAt[at] - 1
	}
	i := v.t.seriesOf(k)
	v.lastSeries[at], v.lastSeriesAt[at] = k, i+1
	return i
}

// edge is Table.edgeOf behind a small cache.
func (v *batchView) edge(k edgeKey) uint32 {
	at := (k.from*31 + k.to*7 + uint32(k.view)) % uint32(len(v.lastEdge))
	if v.lastEdgeAt[at] != 0 && v.lastEdge[at] == k {
		return v.lastEdgeAt[at] - 1
	}
	i := v.t.edgeOf(k)
	v.lastEdge[at], v.lastEdgeAt[at] = k, i+1
	return i
}

// guessOf is the guess for a service.
func (v *batchView) guessOf(service uint32) *guess {
	for int(service) >= len(v.guesses) {
		v.guesses = append(v.guesses, guess{})
	}
	return &v.guesses[service]
}

// guessed is str for a run that probably reads like a known string.
func (v *batchView) guessed(s span.Str, known *uint32) uint32 {
	if s.Len == 0 {
		return 0
	}
	if p := v.t.strings[*known]; len(p) == int(s.Len) && p == string(v.b.Bytes(s)) {
		return *known
	}
	*known = v.str(s)
	return *known
}

// version of what made a row: the canonical revision of its own tags, else of its resource.
func (v *batchView) version(row int, known *uint32) uint32 {
	if v.present[slotRevision] && v.attrs[slotRevision].Type == span.TypeString {
		return v.guessed(v.attrs[slotRevision].Value().Str(), known)
	}
	resource := v.b.Resource[row]
	if int(resource) >= len(v.versions) {
		return 0
	}
	if at := v.versions[resource]; at != 0 {
		return at - 1
	}
	var version uint32
	for _, key := range versionKeys {
		if p := v.b.FindString(v.b.Resources[resource].Attrs, key); len(p) > 0 {
			version = v.t.strOf(p)
			break
		}
	}
	v.versions[resource] = version + 1
	return version
}

// protocol of a call.
func (v *batchView) protocol() uint32 {
	switch {
	case v.present[slotMessaging]:
		return v.t.strOf(v.text(slotMessaging))
	case v.present[slotDBSystem]:
		return v.t.strOf(v.text(slotDBSystem))
	case v.present[slotGRPCStatus]:
		return v.grpc
	case v.present[slotRPC]:
		return v.t.strOf(v.text(slotRPC))
	case v.present[slotMethod] || v.present[slotURL]:
		return v.http
	case v.present[slotCluster]:
		return v.tcp
	}
	return 0
}

// flag is the response flag that says most: the first one but URX, which says only that tries were used up.
func (v *batchView) flag() uint32 {
	p := v.text(slotFlags)
	if len(p) == 0 || string(p) == "-" {
		return 0
	}
	for len(p) > 0 {
		first, rest := p, []byte(nil)
		for i, c := range p {
			if c == ',' {
				first, rest = p[:i], p[i+1:]
				break
			}
		}
		if string(first) != "URX" || len(rest) == 0 {
			return v.t.strOf(first)
		}
		p = rest
	}
	return 0
}

// strCache remembers what was found for a run of one batch's arena: engines share runs between rows. Direct-mapped.
type strCache struct {
	generation uint32
	entries    [256]struct {
		s          span.Str
		generation uint32
		value      uint32
	}
}

func (c *strCache) begin() {
	if c.generation++; c.generation == 0 { // wrapped around
		*c = strCache{generation: 1}
	}
}

func slotOfStr(s span.Str) uint32 { return (s.Off ^ s.Off>>8 ^ s.Len<<3) & 255 }

func (c *strCache) get(s span.Str) (uint32, bool) {
	e := &c.entries[slotOfStr(s)]
	return e.value, e.generation == c.generation && e.s == s
}

func (c *strCache) put(s span.Str, value uint32) {
	e := &c.entries[slotOfStr(s)]
	e.s, e.generation, e.value = s, c.generation, value
}
