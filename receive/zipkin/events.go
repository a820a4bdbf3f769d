package zipkin

import (
	"bytes"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// events adds annotations as events, in the order they were sent.
func (m *mapper) events(b *span.Batch, row int, list []annotation) {
	first := uint32(len(b.Events))
	for i := range list {
		a := &list[i]
		e := span.Event{Time: nanos(a.timestamp)}
		if !annotationParts(b, a.value, &e) {
			e.Name = b.AddString(a.value)
		}
		b.Events = append(b.Events, e)
	}
	b.SpanEvents[row] = span.Range{Off: first, Len: uint32(len(list))}
}

// annotationParts splits an annotation that is an OpenTelemetry event: `name|{json}|dropped` as the Collector writes it or
// `"name": {json}` as the SDKs do. False leaves the text as it is.
func annotationParts(b *span.Batch, v []byte, e *span.Event) bool {
	if len(v) < 4 {
		return false
	}
	if v[0] == '"' && v[len(v)-1] == '}' {
		s := scanner{p: bytes.Clone(v)}
		name, ok := s.str()
		if !ok || s.next() != ':' {
			return false
		}
		s.at++
		s.next()
		return eventAttrs(b, s.p[s.at:], string(name), 0, e)
	}
	if c := v[len(v)-1]; c < '0' || c > '9' {
		return false
	}
	from, to := bytes.IndexByte(v, '|'), bytes.LastIndexByte(v, '|')
	if from < 0 || from == to {
		return false
	}
	dropped, err := strconv.ParseUint(string(v[to+1:]), 10, 32)
	if err != nil {
		return false
	}
	return eventAttrs(b, bytes.Clone(v[from+1:to]), string(v[:from]), uint32(dropped), e)
}

func eventAttrs(b *span.Batch, object []byte, name string, dropped uint32, e *span.Event) bool {
	attrs, ok := objectAttrs(b, object)
	if !ok {
		return false
	}
	*e = span.Event{Time: e.Time, Name: b.AddText(name), Attrs: attrs, Dropped: dropped}
	return true
}

// objectAttrs adds a JSON object's fields as attributes: text, whole numbers, other numbers, booleans and null have their
// types, lists and objects stay JSON text. It changes object. False, with nothing added, if it is no object.
func objectAttrs(b *span.Batch, object []byte) (span.Range, bool) {
	mark := b.AttrMark()
	s := scanner{p: object}
	if s.next() != '{' {
		return span.Range{}, false
	}
	s.at++
	good := true
	for first := true; good; first = false {
		key, ok := s.field(first)
		if !ok {
			break
		}
		var v span.Value
		if v, good = attrValue(b, &s); !good {
			break
		}
		k := b.InternKey(key)
		if at := findSince(b, mark, k); at >= 0 {
			b.Attrs[at] = span.Attr{Key: k, Type: v.Type, Bits: v.Bits}
			continue
		}
		b.AddAttr(k, v)
	}
	if !good || s.broken != "" || s.next() != 0 {
		b.Attrs = b.Attrs[:mark]
		return span.Range{}, false
	}
	return b.AttrsSince(mark), true
}

// findSince looks for a repeated key; only among few, where it is worth it.
func findSince(b *span.Batch, mark, key uint32) int {
	if len(b.Attrs)-int(mark) > 64 {
		return -1
	}
	for i := int(mark); i < len(b.Attrs); i++ {
		if b.Attrs[i].Key == key {
			return i
		}
	}
	return -1
}

func attrValue(b *span.Batch, s *scanner) (span.Value, bool) {
	if s.next() == '"' {
		v, ok := s.str()
		return span.StrValue(span.TypeString, b.AddString(v)), ok
	}
	text, ok := s.skip()
	if !ok {
		return span.Value{}, false
	}
	switch string(text) {
	case "true", "false":
		return span.BoolValue(text[0] == 't'), true
	case "null":
		return span.Value{}, true
	}
	if text[0] != '{' && text[0] != '[' {
		if !isNumeric(text) {
			return span.Value{}, false
		}
		if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return span.IntValue(n), true
		}
		f, err := strconv.ParseFloat(string(text), 64)
		return span.DoubleValue(f), err == nil
	}
	return span.StrValue(span.TypeString, b.AddString(appendValid(nil, text))), true
}

// isLink reports whether a tag's value is a link: traceid|spanid|state|json|dropped.
func isLink(v []byte) bool {
	_, _, ok := linkIDs(v)
	return ok && bytes.Count(v, []byte{'|'}) >= 4
}

func linkIDs(v []byte) (trace span.TraceID, id span.SpanID, ok bool) {
	t, rest, _ := bytes.Cut(v, []byte{'|'})
	i, _, _ := bytes.Cut(rest, []byte{'|'})
	trace, err := span.ParseTraceID(t)
	if err != nil {
		return trace, id, false
	}
	id, err = span.ParseSpanID(i)
	return trace, id, err == nil
}

// addLinks adds the links in the order of their tags. What is wrong with a link's attributes leaves them out; its ids stand.
func (m *mapper) addLinks(b *span.Batch, row int) {
	first := uint32(len(b.Links))
	for _, t := range m.links {
		trace, id, _ := linkIDs(t.value)
		l := span.Link{TraceID: trace, SpanID: id}
		parts := bytes.SplitN(t.value, []byte{'|'}, 4)
		l.TraceState = b.AddString(parts[2])
		object, count := parts[3], []byte(nil)
		if at := bytes.LastIndexByte(object, '|'); at >= 0 {
			object, count = object[:at], object[at+1:]
		}
		l.Attrs, _ = objectAttrs(b, bytes.Clone(object))
		if n, err := strconv.ParseUint(string(count), 10, 32); err == nil {
			l.Dropped = uint32(n)
		}
		b.Links = append(b.Links, l)
	}
	b.SpanLinks[row] = span.Range{Off: first, Len: uint32(len(m.links))}
}
