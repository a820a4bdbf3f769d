package zipkin

import (
	"bytes"
	"math"

	"github.com/spanloom/spanloom/span"
)

// v1Halves turns a v1 span, which holds both sides of a call in one, into the spans of those sides, by the rules of
// Zipkin's own converter.
type v1Halves struct {
	src   *rawSpan
	list  []v1Half
	owner []uint8 // per annotation of src: its half, or consumed
	tagOf []uint8 // per binary annotation of src, likewise
	out   rawSpan

	// The core annotations found; nil where absent.
	cs, cr, ss, sr, ms, mr, ws, wr *annotation

	made [2]annotation // starts that were recovered
}

// v1Half is a span in the making.
type v1Half struct {
	local, remote       endpoint
	bound               bool // local is decided
	kind                span.Kind
	timestamp, duration uint64
	shared              bool
	end                 *annotation // kept as an annotation: the call is incomplete
}

const (
	// maxHalves bounds how many services one span can be split by; what is beyond stays with the first. Real spans have two.
	maxHalves = 16
	consumed  = 0xff
)

// convertV1 writes the one or two spans of a v1 span. Fields that only version 2 has, if there are any, belong to the first.
func (d *Decoder) convertV1(r *rawSpan) {
	h := &d.half
	h.begin(r)
	h.readAnnotations()
	h.times()
	h.addresses()
	for i := range h.list {
		d.m.add(d.b, h.emit(i))
	}
	h.src = nil
}

func (h *v1Halves) begin(r *rawSpan) {
	*h = v1Halves{src: r, list: h.list[:0], owner: h.owner[:0], tagOf: h.tagOf[:0], out: h.out}
	h.list = append(h.list, v1Half{local: r.local, remote: r.remote, bound: !r.local.isEmpty(), kind: r.kind, shared: r.shared})
}

// half finds or adds the half of an endpoint: the first for none, else the one with that service name.
func (h *v1Halves) half(a *annotation) int {
	if !a.hasHost {
		return 0
	}
	return h.halfOf(&a.host)
}

func (h *v1Halves) halfOf(e *endpoint) int {
	if first := &h.list[0]; !first.bound {
		first.local, first.bound = *e, true
		return 0
	}
	for i := range h.list {
		if bytes.Equal(h.list[i].local.service, e.service) {
			return i
		}
	}
	if len(h.list) == maxHalves {
		return 0
	}
	return h.fork(e, span.KindUnspecified)
}

func (h *v1Halves) fork(e *endpoint, k span.Kind) int {
	h.list = append(h.list, v1Half{local: *e, bound: true, kind: k})
	return len(h.list) - 1
}

// readAnnotations gives every annotation to a half and takes out the core ones, which set the kind.
func (h *v1Halves) readAnnotations() {
	for i := range h.src.annotations {
		a := &h.src.annotations[i]
		half := h.half(a)
		core, kind := h.core(a)
		if core == nil {
			h.owner = append(h.owner, uint8(half))
			continue
		}
		*core = a
		if kind != span.KindUnspecified {
			h.list[half].kind = kind
		}
		h.owner = append(h.owner, consumed)
	}
	// Bridges between event and span models lose the start.
	if h.cs == nil && h.endsSpan(h.cr) {
		h.made[0] = annotation{timestamp: h.src.timestamp, hasHost: true, host: h.cr.host}
		h.cs = &h.made[0]
	}
	if h.sr == nil && h.endsSpan(h.ss) {
		h.made[1] = annotation{timestamp: h.src.timestamp, hasHost: true, host: h.ss.host}
		h.sr = &h.made[1]
	}
}

// core is the place and kind of a core annotation, which must have an endpoint.
func (h *v1Halves) core(a *annotation) (**annotation, span.Kind) {
	if !a.hasHost {
		return nil, 0
	}
	switch string(a.value) {
	case "cs":
		return &h.cs, span.KindClient
	case "cr":
		return &h.cr, span.KindClient
	case "sr":
		return &h.sr, span.KindServer
	case "ss":
		return &h.ss, span.KindServer
	case "ms":
		return &h.ms, span.KindProducer
	case "mr":
		return &h.mr, span.KindConsumer
	case "ws":
		return &h.ws, 0
	case "wr":
		return &h.wr, 0
	}
	return nil, 0
}

func (h *v1Halves) endsSpan(end *annotation) bool {
	return end != nil && h.src.timestamp != 0 && h.src.duration != 0 && addTime(h.src.timestamp, h.src.duration) == end.timestamp
}

// times sets kind, start and duration of each half from the core annotations.
func (h *v1Halves) times() {
	switch {
	case h.cs != nil && h.sr != nil: // the client owns the span's own times
		h.timeOf(h.cs, h.cr)
		client := h.half(h.cs)
		server := client
		if bytes.Equal(h.cs.host.service, h.sr.host.service) {
			h.list[client].kind = span.KindClient
			server = h.fork(&h.sr.host, span.KindServer)
		} else {
			server = h.half(h.sr)
		}
		s := &h.list[server]
		s.shared, s.timestamp, s.duration = true, h.sr.timestamp, 0
		if h.ss != nil {
			s.duration = between(h.sr, h.ss)
		}
		if h.cr == nil && h.src.duration == 0 && client != server {
			h.list[client].duration = 0 // one way
		}
	case h.cs != nil && h.cr != nil:
		h.timeOf(h.cs, h.cr)
	case h.sr != nil && h.ss != nil:
		h.timeOf(h.sr, h.ss)
	default:
		h.incomplete()
	}
	// v1 has no shared flag: a server span without an own time is one by convention.
	if h.cs == nil && h.sr != nil && (h.src.timestamp == 0 || h.ss != nil && h.src.duration == 0) {
		h.list[h.half(h.sr)].shared = true
	}
	h.messaging()
}

// timeOf sets a half's times: the span's own if it has them, else those of the annotations.
func (h *v1Halves) timeOf(begin, end *annotation) {
	half := &h.list[h.half(begin)]
	if h.src.timestamp != 0 && h.src.duration != 0 {
		half.timestamp, half.duration = h.src.timestamp, h.src.duration
		return
	}
	half.timestamp = begin.timestamp
	if end != nil {
		half.duration = between(begin, end)
	}
}

// between is 0, unknown, where clocks disagree.
func between(begin, end *annotation) uint64 {
	if end.timestamp <= begin.timestamp {
		return 0
	}
	return end.timestamp - begin.timestamp
}

// incomplete handles a call of which only a start or an end is known: the end stays an annotation.
func (h *v1Halves) incomplete() {
	for i := range h.list {
		half := &h.list[i]
		begin, end := h.cs, h.cr
		switch half.kind {
		case span.KindClient:
		case span.KindServer:
			begin, end = h.sr, h.ss
		default:
			continue
		}
		if begin != nil {
			half.timestamp = begin.timestamp
		}
		half.end = end
	}
	if h.src.timestamp != 0 {
		h.list[0].timestamp, h.list[0].duration = h.src.timestamp, h.src.duration
	}
}

func (h *v1Halves) messaging() {
	switch {
	case h.ms != nil && h.mr != nil:
		producer := h.half(h.ms)
		consumer := producer
		if bytes.Equal(h.ms.host.service, h.mr.host.service) {
			h.list[producer].kind = span.KindProducer
			consumer = h.fork(&h.mr.host, span.KindConsumer)
		} else {
			consumer = h.half(h.mr)
		}
		c, p := &h.list[consumer], &h.list[producer]
		c.shared, c.timestamp, c.duration = true, h.mr.timestamp, 0
		if h.wr != nil {
			c.timestamp, c.duration = h.wr.timestamp, between(h.wr, h.mr)
		}
		p.timestamp, p.duration = h.ms.timestamp, 0
		if h.ws != nil {
			p.duration = between(h.ms, h.ws)
		}
	case h.ms != nil:
		h.timeOf(h.ms, h.ws)
	case h.mr != nil && h.wr != nil:
		h.timeOf(h.wr, h.mr)
	case h.mr != nil:
		h.timeOf(h.mr, nil)
	default:
		h.giveBack(h.ws)
		h.giveBack(h.wr)
	}
}

// giveBack makes a wire event without messaging an ordinary annotation again.
func (h *v1Halves) giveBack(wire *annotation) {
	for i := range h.src.annotations {
		if wire == &h.src.annotations[i] {
			h.owner[i] = uint8(h.half(wire))
		}
	}
}

// addresses gives every binary annotation to a half and reads those that are addresses of the other side.
func (h *v1Halves) addresses() {
	var ca, sa, ma *endpoint
	for i := range h.src.binary {
		a := &h.src.binary[i]
		owner := 0
		switch key := string(a.key); {
		case a.hasHost && key == "ca":
			ca, owner = &a.host, consumed
		case a.hasHost && key == "sa":
			sa, owner = &a.host, consumed
		case a.hasHost && key == "ma":
			ma, owner = &a.host, consumed
		case a.hasHost:
			owner = h.halfOf(&a.host)
		}
		if string(a.key) == "lc" && len(a.value) == 0 { // says which endpoint is the local one, nothing else
			owner = consumed
		}
		h.tagOf = append(h.tagOf, uint8(owner))
	}
	if h.cs == nil && h.cr == nil && h.ss == nil && h.sr == nil && (ca != nil || sa != nil) {
		switch {
		case ca != nil && sa != nil:
			h.list[h.halfOf(ca)].remote = *sa
		case sa != nil:
			h.list[0].remote = *sa
		default:
			h.list[0].kind, h.list[0].remote = span.KindServer, *ca
		}
		return
	}
	server := h.sr
	if server == nil {
		server = h.ss
	}
	if ca != nil && server != nil && !sameEndpoint(ca, &server.host) {
		i := h.serverHalf(server)
		h.list[i].remote = *ca
		if bytes.Equal(ca.service, server.host.service) { // Finagle: the socket's client port under the own name
			h.list[i].remote.service = nil
		}
	}
	client := h.cs
	if client == nil {
		client = h.cr
	}
	if sa != nil && client != nil {
		h.list[h.half(client)].remote = *sa
	}
	if ma != nil && h.ms != nil {
		h.list[h.half(h.ms)].remote = *ma
	}
	if ma != nil && h.mr != nil {
		h.list[h.half(h.mr)].remote = *ma
	}
}

// serverHalf finds the server half; where both sides have one service name it is the one that was forked.
func (h *v1Halves) serverHalf(server *annotation) int {
	for i := range h.list {
		if h.list[i].kind == span.KindServer && bytes.Equal(h.list[i].local.service, server.host.service) {
			return i
		}
	}
	return h.half(server)
}

func sameEndpoint(a, b *endpoint) bool {
	return bytes.Equal(a.service, b.service) && bytes.Equal(a.ipv4, b.ipv4) && bytes.Equal(a.ipv6, b.ipv6) && a.port == b.port
}

// emit writes one half as a plain span, valid until the next.
func (h *v1Halves) emit(i int) *rawSpan {
	src, half, out := h.src, &h.list[i], &h.out
	out.reset()
	out.trace, out.id, out.parent, out.name, out.debug = src.trace, src.id, src.parent, src.name, src.debug
	out.kind, out.local, out.remote, out.shared = half.kind, half.local, half.remote, half.shared
	out.timestamp, out.duration = half.timestamp, min(half.duration, math.MaxInt64)
	for k := range src.annotations {
		if h.owner[k] == uint8(i) {
			out.annotations = append(out.annotations, src.annotations[k])
		}
	}
	if half.end != nil {
		out.annotations = append(out.annotations, *half.end)
	}
	if i == 0 {
		out.tags = append(out.tags, src.tags...)
	}
	for k := range src.binary {
		if h.tagOf[k] == uint8(i) {
			out.tags = append(out.tags, tag{src.binary[k].key, src.binary[k].value})
		}
	}
	return out
}
