package zipkin

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// Wire types of protobuf.
const (
	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// protoMessage walks the fields of one message.
type protoMessage struct {
	p      []byte
	at     int
	field  int
	wire   int
	number uint64 // value of a varint or fixed field
	bytes  []byte // value of a length-delimited field, a view
	broken bool
}

// next reads a field; false at the end, and where the message is broken.
func (m *protoMessage) next() bool {
	if m.at >= len(m.p) {
		return false
	}
	key := m.varint()
	m.field, m.wire = int(key>>3), int(key&7)
	if m.broken || key > math.MaxUint32 || m.field == 0 {
		m.broken = true
		return false
	}
	rest := len(m.p) - m.at
	switch m.wire {
	case wireVarint:
		m.number = m.varint()
	case wireFixed8:
		if rest < 8 {
			m.broken = true
			return false
		}
		m.number = binary.LittleEndian.Uint64(m.p[m.at:])
		m.at += 8
	case wireFixed4:
		if rest < 4 {
			m.broken = true
			return false
		}
		m.number = uint64(binary.LittleEndian.Uint32(m.p[m.at:]))
		m.at += 4
	case wireBytes:
		n := m.varint()
		if m.broken || n > uint64(len(m.p)-m.at) {
			m.broken = true
			return false
		}
		m.bytes = m.p[m.at : m.at+int(n) : m.at+int(n)]
		m.at += int(n)
	default: // groups are not part of proto3
		m.broken = true
	}
	return !m.broken
}

func (m *protoMessage) varint() uint64 {
	if m.at < len(m.p) && m.p[m.at] < 0x80 {
		m.at++
		return uint64(m.p[m.at-1])
	}
	v, n := binary.Uvarint(m.p[min(m.at, len(m.p)):])
	if n <= 0 {
		m.broken = true
		return 0
	}
	m.at += n
	return v
}

// isProtoList reads through the first span of a body that may as well be text.
func isProtoList(body []byte) bool {
	list := protoMessage{p: body}
	if !list.next() || list.field != 1 || list.wire != wireBytes {
		return false
	}
	m := protoMessage{p: list.bytes}
	for m.next() {
		if m.field > 13 || m.field == 1 && len(m.bytes) != 8 && len(m.bytes) != 16 {
			return false
		}
	}
	return !m.broken
}

// decodeProto reads a zipkin.proto3.ListOfSpans. A span's bytes are delimited, so a broken span costs only itself.
func (d *Decoder) decodeProto(body []byte) {
	d.format = Proto3
	list := protoMessage{p: body}
	for list.next() {
		if list.field == 1 && list.wire == wireBytes {
			d.protoSpan(list.bytes)
		}
	}
	if list.broken {
		d.malformedAt("the protobuf message breaks off", list.at)
	}
}

const protoFix = "send zipkin.proto3.Span as zipkin.proto defines it"

func (d *Decoder) protoSpan(p []byte) {
	r := &d.raw
	r.reset()
	m := protoMessage{p: p}
	for m.next() {
		if want, ok := spanWire(m.field); ok && m.wire != want {
			r.bad(receive.BadSpan, protoSpanFields[m.field], nil, "has the wrong wire type", protoFix)
			continue
		}
		switch m.field {
		case 1:
			switch len(m.bytes) {
			case 16:
				r.trace = span.TraceID(m.bytes)
			case 8:
				r.trace = span.TraceID{}
				copy(r.trace[8:], m.bytes)
			default:
				r.bad(receive.BadID, "trace_id", m.bytes, "is not 8 or 16 bytes", protoFix)
			}
		case 2:
			r.parent = protoID(r, "parent_id", m.bytes)
		case 3:
			r.id = protoID(r, "id", m.bytes)
		case 4:
			r.kind = [...]span.Kind{1: span.KindClient, span.KindServer, span.KindProducer, span.KindConsumer, 7: 0}[m.number&7]
			if m.number > 4 {
				r.kind = span.KindUnspecified // a kind of the future
			}
		case 5:
			r.name = d.utf8(m.bytes)
		case 6:
			r.timestamp = notNegative(m.number)
		case 7:
			if m.number > math.MaxInt64 {
				r.bad(receive.BadSpan, "duration", nil, "is negative", protoFix)
			}
			r.duration = m.number
		case 8:
			d.protoEndpoint(r, "local_endpoint", m.bytes, &r.local)
		case 9:
			d.protoEndpoint(r, "remote_endpoint", m.bytes, &r.remote)
		case 10:
			d.protoAnnotation(r, m.bytes)
		case 11:
			d.protoTag(r, m.bytes)
		case 12:
			r.debug = m.number != 0
		case 13:
			r.shared = m.number != 0
		}
	}
	if m.broken {
		r.bad(receive.BadSpan, "", nil, "breaks off", protoFix)
	}
	d.finish(r)
}

var protoSpanFields = [...]string{1: "trace_id", "parent_id", "id", "kind", "name", "timestamp", "duration", "local_endpoint",
	"remote_endpoint", "annotations", "tags", "debug", "shared"}

// spanWire is the wire type of a field of Span.
func spanWire(field int) (int, bool) {
	switch field {
	case 4, 7, 12, 13:
		return wireVarint, true
	case 6:
		return wireFixed8, true
	}
	return wireBytes, field >= 1 && field <= 11
}

// notNegative takes times before 1970 as unknown.
func notNegative(v uint64) uint64 {
	if v > math.MaxInt64 {
		return 0
	}
	return v
}

func protoID(r *rawSpan, field string, p []byte) (id span.SpanID) {
	switch len(p) {
	case 0:
	case 8:
		return span.SpanID(p)
	default:
		r.bad(receive.BadID, field, p, "is not 8 bytes", protoFix)
	}
	return id
}

func (d *Decoder) protoEndpoint(r *rawSpan, field string, p []byte, e *endpoint) {
	m := protoMessage{p: p}
	for m.next() {
		switch {
		case m.field == 1 && m.wire == wireBytes:
			e.service = d.utf8(m.bytes)
		case m.field == 2 && m.wire == wireBytes && len(m.bytes) == 4:
			d.setAddr(e, netip.AddrFrom4([4]byte(m.bytes)))
		case m.field == 3 && m.wire == wireBytes && len(m.bytes) == 16:
			d.setAddr(e, netip.AddrFrom16([16]byte(m.bytes)))
		case m.field == 4 && m.wire == wireVarint && m.number <= 65535:
			e.port = uint16(m.number)
		}
	}
	if m.broken {
		r.bad(receive.BadSpan, field, nil, "breaks off", protoFix)
	}
}

func (d *Decoder) protoAnnotation(r *rawSpan, p []byte) {
	var a annotation
	m := protoMessage{p: p}
	for m.next() {
		switch {
		case m.field == 1 && m.wire == wireFixed8:
			a.timestamp = notNegative(m.number)
		case m.field == 2 && m.wire == wireBytes:
			a.value = d.utf8(m.bytes)
		}
	}
	if m.broken {
		r.bad(receive.BadSpan, "annotations", nil, "breaks off", protoFix)
	}
	if a.timestamp != 0 || len(a.value) > 0 {
		r.annotations = append(r.annotations, a)
	}
}

func (d *Decoder) protoTag(r *rawSpan, p []byte) {
	if t, ok := shortTag(p); ok {
		r.tags = append(r.tags, t)
		return
	}
	t := tag{value: []byte{}}
	m := protoMessage{p: p}
	for m.next() {
		switch {
		case m.field == 1 && m.wire == wireBytes:
			t.key = d.utf8(m.bytes)
		case m.field == 2 && m.wire == wireBytes:
			t.value = d.utf8(m.bytes)
		}
	}
	if m.broken {
		r.bad(receive.BadSpan, "tags", nil, "breaks off", protoFix)
	}
	r.tags = append(r.tags, t)
}

// shortTag reads the entry that nearly all tags are: key, then value, both shorter than 128 bytes and plain ASCII.
func shortTag(p []byte) (t tag, ok bool) {
	if len(p) < 4 || p[0] != 1<<3|wireBytes || !isASCII(p) {
		return t, false
	}
	value := 2 + int(p[1]) // where the value's field begins
	if value+2 > len(p) || p[value] != 2<<3|wireBytes || value+2+int(p[value+1]) != len(p) {
		return t, false
	}
	return tag{p[2:value:value], p[value+2:]}, true
}

func isASCII(p []byte) bool {
	var or uint64
	for len(p) >= 8 {
		or |= binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	for _, c := range p {
		or |= uint64(c)
	}
	return or&highs == 0
}
