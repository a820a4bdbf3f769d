package zipkin

import (
	"bytes"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// decodeJSON reads a list of spans or a single span, each of version 1 or 2. What was read before a place where the text
// breaks off stays; the rest counts as one malformed piece.
func (d *Decoder) decodeJSON(body []byte) {
	s := &d.scan
	s.reset(body)
	switch s.next() {
	case '{':
		if d.Strict {
			d.malformed("a single object", "send a list: [ ... ]")
			return
		}
		d.jsonSpan(s)
	case '[':
		s.at++
		for first := true; s.element(first); first = false {
			if s.p[s.at] == '{' {
				if !d.jsonSpan(s) {
					break
				}
				continue
			}
			text, ok := s.skip()
			if !ok {
				break
			}
			d.raw.reset()
			d.raw.bad(receive.BadSpan, "", text, "is not an object", "send a list of span objects")
			d.finish(&d.raw)
		}
	default:
		s.fail("expected [ or {")
	}
	if s.broken == "" && s.next() != 0 {
		s.fail("text after the end")
	}
	if s.broken != "" {
		d.malformedAt(s.broken, s.at)
	}
}

// jsonSpan reads the object at the scanner and hands it on; false if the text breaks off inside.
func (d *Decoder) jsonSpan(s *scanner) bool {
	r := &d.raw
	r.reset()
	s.at++
	for first := true; ; first = false {
		name, ok := s.field(first)
		if !ok {
			break
		}
		if !d.spanField(s, r, name) {
			return false
		}
	}
	if s.broken != "" {
		return false
	}
	d.finish(r)
	return true
}

// spanField reads one field's value. The names of both versions are known here, so that telling them apart costs nothing.
func (d *Decoder) spanField(s *scanner, r *rawSpan, name []byte) bool {
	switch string(name) {
	case "traceId":
		text, ok := d.idText(s, r, "traceId")
		if !ok || len(text) == 0 {
			return ok
		}
		if !fastHex(r.trace[:], text) {
			id, err := span.ParseTraceID(text)
			if err != nil || !d.oddID(text) {
				r.bad(receive.BadID, "traceId", text, "is not 1 to 32 hexadecimal digits other than zero", "send 16 or 32 lower-case hexadecimal digits")
			}
			r.trace = id
		}
	case "id":
		text, ok := d.idText(s, r, "id")
		if !ok || len(text) == 0 {
			return ok
		}
		if !fastHex(r.id[:], text) {
			id, err := span.ParseSpanID(text)
			if err != nil || !d.oddID(text) {
				r.bad(receive.BadID, "id", text, "is not 1 to 16 hexadecimal digits other than zero", "send 16 lower-case hexadecimal digits")
			}
			r.id = id
		}
	case "parentId":
		text, ok := d.idText(s, r, "parentId")
		if !ok || len(text) == 0 {
			return ok
		}
		if !fastHex(r.parent[:], text) {
			id, err := span.ParseSpanID(text)
			if (err != nil && !isZeroHex(text)) || !d.oddID(text) {
				r.bad(receive.BadID, "parentId", text, "is not 1 to 16 hexadecimal digits", "send 16 lower-case hexadecimal digits, or no parentId for a root")
			}
			r.parent = id
		}
	case "name":
		return d.text(s, r, "name", &r.name)
	case "kind":
		r.isV2 = true
		return d.jsonKind(s, r)
	case "timestamp":
		return d.micros(s, r, "timestamp", &r.timestamp)
	case "duration":
		return d.micros(s, r, "duration", &r.duration)
	case "localEndpoint":
		r.isV2 = true
		return d.jsonEndpoint(s, r, "localEndpoint", &r.local)
	case "remoteEndpoint":
		r.isV2 = true
		return d.jsonEndpoint(s, r, "remoteEndpoint", &r.remote)
	case "annotations":
		return d.jsonAnnotations(s, r)
	case "tags":
		r.isV2 = true
		return d.jsonTags(s, r)
	case "binaryAnnotations":
		r.isV1 = true
		return d.jsonBinaryAnnotations(s, r)
	case "debug":
		return d.flag(s, r, "debug", &r.debug)
	case "shared":
		r.isV2 = true
		return d.flag(s, r, "shared", &r.shared)
	case "resourceSpans":
		d.otlp = true
		fallthrough
	default:
		_, ok := s.skip()
		return ok
	}
	return true
}

func (d *Decoder) jsonKind(s *scanner, r *rawSpan) bool {
	var v []byte
	if !d.text(s, r, "kind", &v) {
		return false
	}
	switch string(v) {
	case "CLIENT":
		r.kind = span.KindClient
	case "SERVER":
		r.kind = span.KindServer
	case "PRODUCER":
		r.kind = span.KindProducer
	case "CONSUMER":
		r.kind = span.KindConsumer
	case "":
	default:
		for k := span.KindServer; k <= span.KindConsumer && !d.Strict; k++ {
			if bytes.EqualFold(v, []byte(k.String())) {
				r.kind = k
				return true
			}
		}
		r.bad(receive.BadSpan, "kind", v, "is no kind", "send CLIENT, SERVER, PRODUCER, CONSUMER or no kind")
	}
	return true
}

// open steps into an object or a list; null is told apart, anything else is a fault of the span.
func (d *Decoder) open(s *scanner, r *rawSpan, bracket byte, field, what, fix string) (isOpen, isNull, ok bool) {
	if s.next() == bracket {
		s.at++
		return true, false, true
	}
	if s.isNull() {
		return false, true, true
	}
	text, ok := s.skip()
	if ok {
		r.bad(receive.BadSpan, field, text, what, fix)
	}
	return false, false, ok
}

func (d *Decoder) jsonEndpoint(s *scanner, r *rawSpan, field string, e *endpoint) bool {
	isOpen, isNull, ok := d.open(s, r, '{', field, "is not an object", "send {serviceName, ipv4, ipv6, port}")
	if isNull {
		*e = endpoint{}
	}
	if !isOpen {
		return ok
	}
	for first := true; ; first = false {
		name, ok := s.field(first)
		if !ok {
			return s.broken == ""
		}
		switch string(name) {
		case "serviceName":
			ok = d.text(s, r, field, &e.service)
		case "ipv4", "ipv6":
			var text []byte
			ok = d.text(s, r, field, &text)
			d.setIP(e, text)
		case "port":
			var text []byte
			if text, ok = d.numberText(s); ok {
				if v, neg, isNumber := number(text); isNumber && !neg && v <= 65535 {
					e.port = uint16(v)
				}
			}
		default:
			_, ok = s.skip()
		}
		if !ok {
			return false
		}
	}
}

func (d *Decoder) jsonAnnotations(s *scanner, r *rawSpan) bool {
	isOpen, isNull, ok := d.open(s, r, '[', "annotations", "is not a list", "send [{timestamp, value}]")
	if isOpen || isNull {
		r.annotations = r.annotations[:0]
	}
	if !isOpen {
		return ok
	}
	for first := true; s.element(first); first = false {
		var a annotation
		isOpen, _, ok := d.open(s, r, '{', "annotations", "is not an object", "send {timestamp, value}")
		if !ok {
			return false
		}
		for first := true; isOpen; first = false {
			name, ok := s.field(first)
			if !ok {
				break
			}
			switch string(name) {
			case "timestamp":
				ok = d.micros(s, r, "annotations.timestamp", &a.timestamp)
			case "value":
				ok = d.text(s, r, "annotations.value", &a.value)
			case "endpoint", "host":
				r.isV1, a.hasHost = true, true
				ok = d.jsonEndpoint(s, r, "annotations.endpoint", &a.host)
				a.hasHost = !a.host.isEmpty()
			default:
				_, ok = s.skip()
			}
			if !ok {
				return false
			}
		}
		if s.broken != "" {
			return false
		}
		if isOpen && (a.timestamp != 0 || len(a.value) > 0) {
			r.annotations = append(r.annotations, a)
		}
	}
	return s.broken == ""
}

// jsonTags reads tags. Values that are no strings are taken as their JSON text, null as an absent tag.
func (d *Decoder) jsonTags(s *scanner, r *rawSpan) bool {
	isOpen, isNull, ok := d.open(s, r, '{', "tags", "is not an object", `send {"key": "value"}`)
	if isNull {
		r.tags = r.tags[:0]
	}
	if !isOpen {
		return ok
	}
	for first := true; ; first = false {
		key, ok := s.field(first)
		if !ok {
			return s.broken == ""
		}
		if s.next() == '"' {
			value, ok := s.str()
			if !ok {
				return false
			}
			r.tags = append(r.tags, tag{key, value})
			continue
		}
		if d.Strict {
			r.bad(receive.BadSpan, "tags", key, "has a value that is not a string", "send strings only")
		}
		value, ok := d.looseText(s)
		if !ok {
			return false
		}
		if value != nil {
			r.tags = append(r.tags, tag{key, value})
		}
	}
}

func (d *Decoder) jsonBinaryAnnotations(s *scanner, r *rawSpan) bool {
	isOpen, isNull, ok := d.open(s, r, '[', "binaryAnnotations", "is not a list", "send [{key, value, endpoint}]")
	if isOpen || isNull {
		r.binary = r.binary[:0]
	}
	if !isOpen {
		return ok
	}
	for first := true; s.element(first); first = false {
		var a binaryAnnotation
		isOpen, _, ok := d.open(s, r, '{', "binaryAnnotations", "is not an object", "send {key, value, endpoint}")
		if !ok {
			return false
		}
		for first := true; isOpen; first = false {
			name, ok := s.field(first)
			if !ok {
				break
			}
			switch string(name) {
			case "key":
				ok = d.text(s, r, "binaryAnnotations.key", &a.key)
			case "value":
				a.value, ok = d.looseText(s)
			case "endpoint", "host":
				ok = d.jsonEndpoint(s, r, "binaryAnnotations.endpoint", &a.host)
				a.hasHost = !a.host.isEmpty()
			default: // type too: the text says it all
				_, ok = s.skip()
			}
			if !ok {
				return false
			}
		}
		if s.broken != "" {
			return false
		}
		if isOpen && len(a.key) > 0 {
			r.binary = append(r.binary, a)
		}
	}
	return s.broken == ""
}
