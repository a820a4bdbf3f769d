package rollup

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// target is what a name says of the other side of a call.
type target struct {
	kind            NodeKind
	namespace, name string
	weak            bool // an address, or nothing certain
	telemetry       bool
	node            uint32 // of the table, + 1; 0 where it depends on the row
}

// infer says who is at the other side of a client's, producer's or consumer's row, from the row alone: peer.service, the
// messaging or database system, the server's address, the upstream cluster, the URL's host, in this order. An address
// without a name gives way to the upstream cluster.
func (b *Builder) infer(f *fact, namespace uint32) {
	v, t := &b.batch, b.t
	if f.kind == span.KindProducer || f.kind == span.KindConsumer {
		f.class = ClassAsync
	}
	if v.present[slotMessaging] && (f.class == ClassAsync || v.present[slotDestination]) {
		f.class = ClassAsync
		f.target = t.node(node{kind: uint32(KindBroker), name: b.joined(v.text(slotMessaging), v.text(slotDestination))})
		return
	}
	if !f.calls() {
		return
	}
	if peer := v.text(slotPeerService); peer != nil && v.text(slotDBSystem) == nil {
		f.target = t.node(node{kind: uint32(KindService), name: t.strOf(peer)})
		return
	}
	if system := v.text(slotDBSystem); system != nil {
		where := v.text(slotServerAddress)
		if where == nil {
			where = v.text(slotPeerService)
		}
		if where == nil {
			where = v.text(slotDBName)
		}
		f.target = t.node(node{kind: uint32(KindDatabase), name: b.joined(system, where)})
		return
	}
	cluster := b.cluster()
	if cluster.telemetry || exportPort(v.number(slotServerPort)) {
		f.class = ClassTelemetry
	}
	address := v.text(slotServerAddress)
	url := v.text(slotURL)
	var host []byte
	if f.flags&Gateway == 0 && (cluster.name == "" || cluster.kind == KindPassthrough || cluster.kind == KindBlackHole) {
		host = hostOf(url) // of a gateway it is the host that the gateway itself was called by
	}
	if f.class == ClassTelemetry && f.flags&Proxy != 0 && !exportPath(url) && url != nil {
		f.class = ClassCall // some other server on a port of that number
	}
	best := target{kind: KindUnknown, weak: true}
	switch {
	case cluster.kind == KindPassthrough || cluster.kind == KindBlackHole:
		best = cluster
		if host != nil {
			best.name = string(host)
		}
	case address != nil && !isAddress(address):
		best = targetOfHost(address, false)
	case cluster.name != "":
		best = cluster
	case host != nil:
		best = targetOfHost(host, false)
	case address != nil:
		best = targetOfHost(address, false)
	}
	if best.kind == KindUnknown {
		f.target, f.weak = t.node(node{kind: uint32(KindUnknown)}), true
		return
	}
	if best.node != 0 {
		f.target, f.weak = best.node-1, best.weak
		return
	}
	ns := t.str(best.namespace)
	if best.kind == KindService && best.namespace == "" {
		ns = namespace // a short name is one of the caller's own namespace
	}
	f.target, f.weak = t.node(node{kind: uint32(best.kind), namespace: ns, name: t.str(best.name)}), best.weak
}

// joined is "system/detail" as a string of the table.
func (b *Builder) joined(system, detail []byte) uint32 {
	p := append(b.batch.scratch[:0], system...)
	if len(detail) > 0 {
		p = append(append(p, '/'), detail...)
	}
	return b.t.strOf(p)
}

// cluster is what a row's upstream cluster says, memoised by its name.
func (b *Builder) cluster() target {
	p := b.batch.text(slotCluster)
	if p == nil {
		return target{kind: KindUnknown, weak: true}
	}
	if c, ok := b.hosts[string(p)]; ok {
		return c
	}
	c := targetOfCluster(p)
	if c.kind == KindService && c.namespace != "" || c.kind == KindExternal {
		c.node = 1 + b.t.node(node{kind: uint32(c.kind), namespace: b.t.str(c.namespace), name: b.t.str(c.name)})
	}
	if len(b.hosts) >= maxMemo {
		clear(b.hosts)
	}
	if len(p) <= 4*maxString {
		b.hosts[string(p)] = c
	}
	return c
}

// targetOfCluster reads Istio's names of upstream clusters: direction|port|subset|host, and the ones that catch what
// matches nothing.
func targetOfCluster(p []byte) target {
	c := ParseCluster(string(p))
	switch {
	case c.Passthrough:
		return target{kind: KindPassthrough, name: "PassthroughCluster"}
	case c.BlackHole:
		return target{kind: KindBlackHole, name: "BlackHoleCluster"}
	case c.Direction == "inbound":
		return target{kind: KindUnknown, weak: true}
	case c.Host != "":
		t := targetOfHost([]byte(c.Host), c.Direction == "outbound")
		t.telemetry = exportPort(c.Port)
		return t
	}
	return target{kind: KindUnknown, weak: true}
}

// Cluster is the name of an Envoy cluster as Istio makes it.
type Cluster struct {
	Direction   string // outbound or inbound; empty where the name is of another make
	Port        int
	Subset      string
	Host        string // the whole name where it is of another make
	Passthrough bool   // what matched no service and was let through
	BlackHole   bool   // what matched no service and was refused
}

// ParseCluster reads the name of an upstream cluster. Every text is the name of some cluster: there is no error.
func ParseCluster(name string) Cluster {
	switch name {
	case "PassthroughCluster", "InboundPassthroughCluster", "InboundPassthroughClusterIpv4", "InboundPassthroughClusterIpv6", "InboundPassthroughCluster;":
		return Cluster{Passthrough: true}
	case "BlackHoleCluster":
		return Cluster{BlackHole: true}
	case "", "-":
		return Cluster{}
	}
	var c Cluster
	rest := []byte(name)
	parts := bytes.SplitN(rest, []byte{'|'}, 4)
	if len(parts) != 4 {
		c.Host = name
		return c
	}
	c.Direction = string(parts[0])
	c.Port, _ = strconv.Atoi(string(parts[1]))
	c.Subset, c.Host = string(parts[2]), string(bytes.TrimSuffix(parts[3], []byte{';'}))
	if i := bytes.IndexByte(parts[0], '_'); i >= 0 { // outbound_.8080_._.host of a gateway for other clusters
		c.Direction = string(parts[0][:i])
	}
	return c
}

// targetOfHost reads a host name. In the mesh are name.namespace.svc and longer; a name without a dot is one of the
// caller's namespace. sure says that the mesh's own registry wrote the name: then it is no guess.
func targetOfHost(host []byte, sure bool) target {
	host = bytes.TrimSuffix(trimPort(host), []byte{'.'})
	if isAddress(host) {
		return target{kind: KindExternal, name: string(host), weak: true}
	}
	labels := bytes.SplitN(host, []byte{'.'}, 4)
	switch {
	case len(host) == 0:
		return target{kind: KindUnknown, weak: true}
	case len(labels) == 1:
		return target{kind: KindService, name: string(host), weak: !sure}
	case len(labels) >= 3 && string(labels[2]) == "svc":
		return target{kind: KindService, namespace: string(labels[1]), name: string(labels[0])}
	}
	return target{kind: KindExternal, name: string(host)}
}

func trimPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host, ':') == i {
		return host[:i]
	}
	return host
}

func isAddress(host []byte) bool {
	if len(host) == 0 || !(host[0] >= '0' && host[0] <= '9' || bytes.IndexByte(host, ':') >= 0) {
		return false
	}
	if _, err := netip.ParseAddr(string(host)); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(string(host))
	return err == nil
}

// hostOf is the host of an absolute URL, nil if it names none.
func hostOf(url []byte) []byte {
	i := bytes.Index(url, []byte("://"))
	if i < 0 {
		return nil
	}
	url = url[i+3:]
	if i = bytes.IndexAny(url, "/?#"); i >= 0 {
		url = url[:i]
	}
	if i = bytes.LastIndexByte(url, '@'); i >= 0 {
		url = url[i+1:]
	}
	if url = trimPort(url); len(url) == 0 {
		return nil
	}
	return url
}

// exportPort: the ports on which telemetry is received, Spanloom's own among them.
func exportPort(port int) bool {
	switch port {
	case 4317, 4318, 9411, 14250, 14268:
		return true
	}
	return false
}

// exportPath: the paths to which telemetry is sent.
func exportPath(url []byte) bool {
	for _, path := range [...]string{"/v1/traces", "/v1/metrics", "/v1/logs", "/api/v2/spans", "/api/v1/spans", "/api/traces",
		"opentelemetry.proto.collector.", "jaeger.api_v2.CollectorService"} {
		if bytes.Contains(url, []byte(path)) {
			return true
		}
	}
	return false
}

// number reads an attribute that is an int, or text that reads as one.
func (v *batchView) number(s slot) int {
	if !v.present[s] {
		return 0
	}
	if v.attrs[s].Type == span.TypeInt {
		return int(v.attrs[s].Value().Int())
	}
	n, _ := strconv.Atoi(string(v.text(s)))
	return n
}

// Targets says of clients' rows of one batch who is at the other side.
type Targets struct{ b *Builder }

// NewTargets reads rows of a batch that nobody changes.
func NewTargets(batch *span.Batch) *Targets {
	t := &Targets{NewBuilder()}
	t.b.batch.begin(batch, t.b.t)
	return t
}

// Of is what a row says of the other side of its call, by the rules by which edges are counted. Kind is KindUnknown if it says
// nothing.
func (t *Targets) Of(row int) Node {
	if row < 0 || row >= t.b.batch.b.Len() {
		return Node{Kind: KindUnknown}
	}
	var f fact
	t.b.read(&f, row)
	if f.target == noNode {
		return Node{Kind: KindUnknown}
	}
	return t.b.t.nodeAt(f.target)
}
