package load

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/spanloom/spanloom/span"
)

// Form is which of Envoy's tracers the spans are shaped like. The two carry different things beside the same calls.
type Form uint8

// The forms.
const (
	// FormOTLP has resource attributes, a scope, span flags and the attribute zone.
	FormOTLP Form = iota
	// FormZipkin has service.name as the only resource attribute, the proxy's address as net.host.ip (localEndpoint.ipv4)
	// and one event (the end annotation cr or ss) a span.
	FormZipkin
)

// DefaultTracesPerSecond is the density of traces on the generated time line: about 1,000 spans in each second.
const DefaultTracesPerSecond = 50

// Data is a reproducible set of traces. The zero values of Form and TracesPerSecond are usable; Base must be set.
// A Data is read-only after New and safe for concurrent use.
type Data struct {
	Seed            uint64
	Base            int64 // start of trace 0's slot, ns since the epoch, whole microseconds
	TracesPerSecond int
	Form            Form

	mesh *mesh
}

// New makes a set of traces. base is cut to whole microseconds, the precision in which Envoy reports; a density of 0 is
// DefaultTracesPerSecond.
func New(seed uint64, base time.Time, tracesPerSecond int, form Form) *Data {
	if tracesPerSecond <= 0 {
		tracesPerSecond = DefaultTracesPerSecond
	}
	return &Data{seed, base.UnixNano() / 1000 * 1000, tracesPerSecond, form, newMesh()}
}

// Slot is the earliest start of a trace in ns since the epoch. Trace no starts within two intervals after it.
func (d *Data) Slot(no uint64) int64 {
	perSecond := uint64(d.TracesPerSecond)
	return d.Base + int64(no/perSecond)*int64(time.Second) + int64(no%perSecond)*int64(time.Second)/int64(perSecond)/1000*1000
}

// Span is one generated span in the generator's own small form; Data.Append makes a row of it.
type Span struct {
	ID, Parent span.SpanID
	Start, End int64 // ns since the epoch, whole microseconds
	Kind       span.Kind
	Pod        int // whose proxy made it, 0 to Pods-1

	parentRow int

	peer     int    // pod of the caller; -1 where the peer is the own application or a client outside
	callee   int    // service called; -1 for an external host
	external int    // index of the external host
	route    int    // of the callee
	number   int    // in the URL's path
	agent    string // user agent header
	request  int64  // bytes
	response int64
	code     string
	flags    string
	failed   bool
	silent   bool // failed, with the OTLP status left unset
	remote   bool // the parent's context came in by headers
}

// Trace is one generated trace. Spans[0] is the root; a parent stands before its children.
type Trace struct {
	No        uint64
	ID        span.TraceID
	RequestID string
	Spans     []Span
	Bits      float64 // information in the trace's random choices; see draw
	Repeated  float64 // information that stands on both sides of a call (sizes, path, outcome) and is in Bits once

	client string // address of the client outside
	draw   *draw
}

// Trace fills t with trace number no, reusing its memory. Equal Data give equal traces on every call.
func (d *Data) Trace(no uint64, t *Trace) {
	if t.draw == nil {
		t.draw = newDraw()
	}
	g := grower{d.mesh, t.draw, t}
	t.No, t.Repeated, t.Spans = no, 0, t.Spans[:0]
	t.draw.seed(d.Seed, no)
	t.ID = span.TraceIDFromUint64s(t.draw.word(), t.draw.word())
	t.RequestID = uuid4(t.draw)
	interval := int(time.Second/time.Microsecond) / d.TracesPerSecond
	start := d.Slot(no) + int64(t.draw.intn(2*interval))*1000
	g.root(MinSpans + t.draw.weighted(d.mesh.sizes))
	t.settle(start)
	t.Bits = t.draw.bits
}

// uuid4 is a random UUID of version 4: 122 random bits.
func uuid4(d *draw) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], d.word())
	binary.BigEndian.PutUint64(id[8:], d.word())
	d.bits -= 6
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

// settle turns the times of the spans, which are microseconds after the start of their parent, into instants.
func (t *Trace) settle(start int64) {
	for i := range t.Spans {
		s := &t.Spans[i]
		length := (s.End - s.Start) * 1000
		from := start
		if i > 0 {
			from = t.Spans[s.parentRow].Start
		}
		s.Start = from + s.Start*1000
		s.End = s.Start + length
	}
}

// grower builds the tree of one trace depth first. Times are microseconds relative to the parent until settle.
type grower struct {
	m *mesh
	d *draw
	t *Trace
}

func (g grower) add(s Span) int {
	s.ID = span.SpanIDFromUint64(g.d.word())
	g.t.Spans = append(g.t.Spans, s)
	return len(g.t.Spans) - 1
}

// root is the request that a client outside sends to the ingress gateway; size is the number of spans of the trace.
func (g grower) root(size int) {
	g.t.client = clientAddress(g.d.intn(1 << 16))
	g.t.Spans = g.t.Spans[:0]
	callee := g.m.services[gateway].calls[0]
	s := g.request(g.m.services[callee].routes, Span{Kind: span.KindServer, Pod: gateway*PodsEach + g.d.intn(PodsEach), peer: -1, callee: callee})
	s.agent = g.m.agents[g.d.intn(len(g.m.agents))]
	row := g.add(s)
	took := g.answer(row, gateway, size-1)
	g.t.Spans[row].End = took
}

func clientAddress(n int) string {
	const prefix = "198.18."
	p := make([]byte, 0, len(prefix)+7)
	p = append(p, prefix...)
	p = appendInt(p, int64(n>>8))
	p = append(p, '.')
	return string(appendInt(p, int64(n&0xff)))
}

// request draws what a call carries. Both sides of the call report it.
func (g grower) request(routes []route, s Span) Span {
	s.route = g.d.intn(len(routes))
	r := routes[s.route]
	s.number = g.d.intn(pathNumbers)
	if r.request > 0 {
		s.request = g.d.logNormal(r.request, 0.5)
	}
	s.response = g.d.logNormal(r.response, 0.6)
	s.code, s.flags = "200", "-"
	return s
}

// answer is the work of the server whose span stands in row: it makes calls with budget spans in all and answers the time
// it took.
func (g grower) answer(row, service, budget int) int64 {
	at := g.d.logNormal(g.m.services[service].median*0.4, 0.8)
	began := at
	for budget > 0 {
		if g.d.chance(0.2) {
			began += g.d.logNormal(30, 0.5) // beside the call before it
		} else {
			began = at + g.d.logNormal(80, 0.7)
		}
		share := 1
		if budget > 1 {
			share = 2 + g.d.intn(budget-1)
		}
		if service == gateway {
			share = budget
		}
		at = max(at, began+g.call(row, service, share, began))
		budget -= share
	}
	return at + g.d.logNormal(g.m.services[service].median*0.3, 0.8)
}

// call is one call with budget spans in all: the client's span, the server's and what hangs below it. It answers how
// long the caller waited.
func (g grower) call(parent, caller, budget int, at int64) int64 {
	from := g.t.Spans[parent]
	client := Span{Kind: span.KindClient, Parent: from.ID, Pod: from.Pod, Start: at,
		parentRow: parent, peer: from.Pod, callee: -1, agent: g.m.services[caller].agent, remote: caller != gateway}
	if caller == gateway {
		client.agent, client.peer = from.agent, -1
	}
	if budget == 1 {
		return g.callOutside(client)
	}
	calls := g.m.services[caller].calls
	callee := calls[g.d.intn(len(calls))]
	client.callee = callee
	if caller == gateway { // it passes on what it was asked
		client.route, client.number, client.request, client.response = from.route, from.number, from.request, from.response
		client.code, client.flags = "200", "-"
	} else {
		before := g.d.bits
		client = g.request(g.m.services[callee].routes, client)
		g.t.Repeated += g.d.bits - before
	}
	row := g.add(client)

	server := g.t.Spans[row]
	server.Kind, server.Parent, server.parentRow, server.remote = span.KindServer, server.ID, row, true
	server.Pod, server.peer = callee*PodsEach+g.d.intn(PodsEach), from.Pod
	if g.d.chance(errorShare) {
		f := g.m.faults[g.d.weighted(g.m.faultOdds)]
		g.t.Spans[row].fail(f.clientCode, f.clientFlags, false)
		server.fail(f.serverCode, f.serverFlags, f.serverSilent)
	}
	there := g.d.logNormal(210, 0.5)
	server.Start = there
	serverRow := g.add(server)
	took := g.answer(serverRow, callee, budget-2)
	g.t.Spans[serverRow].End = there + took
	back := g.d.logNormal(170, 0.5)
	g.t.Spans[row].End = at + there + took + back
	return there + took + back
}

func (g grower) callOutside(client Span) int64 {
	client.external = g.d.intn(len(g.m.externals))
	x := g.m.externals[client.external]
	client = g.request([]route{x.route}, client)
	if g.d.chance(errorShare) {
		client.fail(externalFault.clientCode, externalFault.clientFlags, false)
	}
	took := g.d.logNormal(24_000, 0.7)
	client.End = client.Start + took
	g.add(client)
	return took
}

func (s *Span) fail(code, flags string, silent bool) {
	s.failed, s.silent = true, silent
	s.code, s.flags, s.response = code, flags, 0
	if flags == "-" {
		s.response = 95 // Envoy's or the application's short error text
	}
}
