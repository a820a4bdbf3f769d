package zipkin

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// AppendJSONv2 appends one row as a v2 JSON object. Who writes many rows keeps an Encoder.
func AppendJSONv2(dst []byte, b *span.Batch, row int) []byte {
	return new(Encoder).AppendJSONv2(dst, b, row)
}

// AppendRequestJSON appends all rows as the list that is posted to /api/v2/spans.
func AppendRequestJSON(dst []byte, b *span.Batch) []byte {
	x := new(Encoder)
	dst = append(dst, '[')
	for i := range b.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = x.AppendJSONv2(dst, b, i)
	}
	return append(dst, ']')
}

// AppendRequestProto appends all rows as a zipkin.proto3.ListOfSpans.
func AppendRequestProto(dst []byte, b *span.Batch) []byte {
	x := new(Encoder)
	for i := range b.Len() {
		dst = x.AppendProto(dst, b, i)
	}
	return dst
}

// AppendJSONv2 appends one row as a v2 JSON object, fields in the order in which Zipkin's server writes them.
func (x *Encoder) AppendJSONv2(dst []byte, b *span.Batch, row int) []byte {
	r := x.restore(b, row)
	dst = append(dst, `{"traceId":"`...)
	dst = appendHex(dst, shortTraceID(&r.trace))
	if !r.parent.IsZero() {
		dst = append(dst, `","parentId":"`...)
		dst = appendHex(dst, r.parent[:])
	}
	dst = append(dst, `","id":"`...)
	dst = appendHex(dst, r.id[:])
	dst = append(dst, '"')
	if k := kindName(r.kind); k != "" {
		dst = append(append(append(dst, `,"kind":"`...), k...), '"')
	}
	if len(r.name) > 0 {
		dst = appendQuoted(append(dst, `,"name":`...), r.name)
	}
	if r.timestamp != 0 {
		dst = strconv.AppendUint(append(dst, `,"timestamp":`...), r.timestamp, 10)
	}
	if r.duration != 0 {
		dst = strconv.AppendUint(append(dst, `,"duration":`...), r.duration, 10)
	}
	dst = appendEndpointJSON(dst, `,"localEndpoint":`, &r.local)
	dst = appendEndpointJSON(dst, `,"remoteEndpoint":`, &r.remote)
	for i := range r.annotations {
		if i == 0 {
			dst = append(dst, `,"annotations":[{"timestamp":`...)
		} else {
			dst = append(dst, `,{"timestamp":`...)
		}
		dst = strconv.AppendUint(dst, r.annotations[i].timestamp, 10)
		dst = append(appendQuoted(append(dst, `,"value":`...), r.annotations[i].value), '}')
	}
	if len(r.annotations) > 0 {
		dst = append(dst, ']')
	}
	for i := range r.tags {
		if i == 0 {
			dst = append(dst, `,"tags":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendQuoted(append(appendQuoted(dst, r.tags[i].key), ':'), r.tags[i].value)
	}
	if len(r.tags) > 0 {
		dst = append(dst, '}')
	}
	if r.debug {
		dst = append(dst, `,"debug":true`...)
	}
	if r.shared {
		dst = append(dst, `,"shared":true`...)
	}
	return append(dst, '}')
}

// shortTraceID is the id in 8 bytes if it was sent so.
func shortTraceID(id *span.TraceID) []byte {
	if id.High() == 0 {
		return id[8:]
	}
	return id[:]
}

func kindName(k span.Kind) string {
	switch k {
	case span.KindClient:
		return "CLIENT"
	case span.KindServer:
		return "SERVER"
	case span.KindProducer:
		return "PRODUCER"
	case span.KindConsumer:
		return "CONSUMER"
	}
	return ""
}

func appendEndpointJSON(dst []byte, field string, e *endpoint) []byte {
	if e.isEmpty() {
		return dst
	}
	dst = append(append(dst, field...), '{')
	start := len(dst)
	comma := func() {
		if len(dst) > start {
			dst = append(dst, ',')
		}
	}
	if len(e.service) > 0 {
		dst = appendQuoted(append(dst, `"serviceName":`...), e.service)
	}
	if len(e.ipv4) > 0 {
		comma()
		dst = appendQuoted(append(dst, `"ipv4":`...), e.ipv4)
	}
	if len(e.ipv6) > 0 {
		comma()
		dst = appendQuoted(append(dst, `"ipv6":`...), e.ipv6)
	}
	if e.port != 0 {
		comma()
		dst = strconv.AppendUint(append(dst, `"port":`...), uint64(e.port), 10)
	}
	return append(dst, '}')
}

// AppendProto appends one row as a field of zipkin.proto3.ListOfSpans.
func (x *Encoder) AppendProto(dst []byte, b *span.Batch, row int) []byte {
	r := x.restore(b, row)
	p := x.buf[:0]
	p = appendProtoBytes(p, 1, shortTraceID(&r.trace))
	if !r.parent.IsZero() {
		p = appendProtoBytes(p, 2, r.parent[:])
	}
	p = appendProtoBytes(p, 3, r.id[:])
	if kind := protoKind(r.kind); kind != 0 {
		p = append(p, 4<<3|wireVarint, kind)
	}
	if len(r.name) > 0 {
		p = appendProtoBytes(p, 5, r.name)
	}
	if r.timestamp != 0 {
		p = binary.LittleEndian.AppendUint64(append(p, 6<<3|wireFixed8), r.timestamp)
	}
	if r.duration != 0 {
		p = binary.AppendUvarint(append(p, 7<<3|wireVarint), r.duration)
	}
	if !r.local.isEmpty() {
		p = appendProtoBytes(p, 8, protoEndpoint(&r.local))
	}
	if !r.remote.isEmpty() {
		p = appendProtoBytes(p, 9, protoEndpoint(&r.remote))
	}
	for i := range r.annotations {
		a := &r.annotations[i]
		p = append(p, 10<<3|wireBytes)
		p = binary.AppendUvarint(p, uint64(9+protoBytesSize(a.value)))
		p = binary.LittleEndian.AppendUint64(append(p, 1<<3|wireFixed8), a.timestamp)
		p = appendProtoBytes(p, 2, a.value)
	}
	for i := range r.tags {
		t := &r.tags[i]
		p = append(p, 11<<3|wireBytes)
		p = binary.AppendUvarint(p, uint64(protoBytesSize(t.key)+protoBytesSize(t.value)))
		p = appendProtoBytes(p, 1, t.key)
		p = appendProtoBytes(p, 2, t.value)
	}
	if r.debug {
		p = append(p, 12<<3|wireVarint, 1)
	}
	if r.shared {
		p = append(p, 13<<3|wireVarint, 1)
	}
	x.buf = p
	return appendProtoBytes(dst, 1, p)
}

func appendProtoBytes(dst []byte, field byte, v []byte) []byte {
	dst = append(dst, field<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// protoBytesSize is what appendProtoBytes appends.
func protoBytesSize(v []byte) int {
	n := 2 + len(v)
	for l := len(v); l >= 0x80; l >>= 7 {
		n++
	}
	return n
}

func protoKind(k span.Kind) byte {
	switch k {
	case span.KindClient:
		return 1
	case span.KindServer:
		return 2
	case span.KindProducer:
		return 3
	case span.KindConsumer:
		return 4
	}
	return 0
}

func protoEndpoint(e *endpoint) []byte {
	var p []byte
	if len(e.service) > 0 {
		p = appendProtoBytes(p, 1, e.service)
	}
	if a, err := netip.ParseAddr(string(e.ipv4)); err == nil && a.Is4() {
		v := a.As4()
		p = appendProtoBytes(p, 2, v[:])
	}
	if a, err := netip.ParseAddr(string(e.ipv6)); err == nil {
		v := a.As16()
		p = appendProtoBytes(p, 3, v[:])
	}
	if e.port != 0 {
		p = binary.AppendUvarint(append(p, 4<<3|wireVarint), uint64(e.port))
	}
	return p
}
