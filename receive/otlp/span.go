package otlp

import (
	"fmt"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// span fills a row. A reason means that the row is to be taken back, a fault without a reason that the request ends.
func (d *Decoder) span(row int, m []byte) (receive.Reason, *fault) {
	b := d.b
	arena := len(b.Arena)
	attrs := b.AttrMark()
	var traceOK, spanOK, children bool
	d.last = followers
	for i := 0; i < len(m); {
		// Attributes are most of a span: their tag and length are read without the general way.
		if m[i] == 9<<3|bytes_ {
			n, at := size(m, i+1)
			if at < 0 {
				return receive.Malformed, within(badSize(m, i+1), 0, "attributes")
			}
			i = at + n
			if bad := d.attr(m[at:i]); bad != nil {
				return reasonOf(bad), within(bad, at, "attributes")
			}
			continue
		}
		f, next, bad := nextField(m, i)
		if bad != nil {
			return receive.Malformed, bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			if len(f.body) != len(b.TraceID[row]) {
				return receive.BadID, badID(f, "trace_id", 16)
			}
			b.TraceID[row] = span.TraceID(f.body)
			traceOK = true
		case 2<<3 | bytes_:
			if len(f.body) != len(b.SpanID[row]) {
				return receive.BadID, badID(f, "span_id", 8)
			}
			b.SpanID[row] = span.SpanID(f.body)
			spanOK = true
		case 3<<3 | bytes_:
			b.TraceState[row] = b.AddString(f.body)
		case 4<<3 | bytes_:
			switch len(f.body) {
			case 0:
				b.Parent[row] = span.SpanID{}
			case len(b.Parent[row]):
				b.Parent[row] = span.SpanID(f.body)
			default:
				return receive.BadID, badID(f, "parent_span_id", 8)
			}
		case 5<<3 | bytes_:
			b.Name[row] = b.AddString(f.body)
		case 6<<3 | varint:
			b.Kind[row] = kindOf(f.num)
		case 7<<3 | fixed64:
			b.Start[row] = f.num
		case 8<<3 | fixed64:
			b.End[row] = f.num
		case 10<<3 | varint:
			b.DroppedAttrs[row] = uint32(f.num)
		case 11<<3 | bytes_, 13<<3 | bytes_:
			children = true
		case 12<<3 | varint:
			b.DroppedEvents[row] = uint32(f.num)
		case 14<<3 | varint:
			b.DroppedLinks[row] = uint32(f.num)
		case 15<<3 | bytes_:
			if bad := d.status(row, f.body); bad != nil {
				return receive.Malformed, within(bad, f.at, "status")
			}
		case 16<<3 | fixed32:
			b.Flags[row] = uint32(f.num)
		}
		i = next
	}
	if !traceOK || b.TraceID[row].IsZero() {
		return receive.BadID, &fault{path: "trace_id", what: "is absent or zero"}
	}
	if !spanOK || b.SpanID[row].IsZero() {
		return receive.BadID, &fault{path: "span_id", what: "is absent or zero"}
	}
	b.SpanAttrs[row] = b.AttrsSince(attrs)
	if !d.proxy {
		d.judgeSpan(b.SpanAttrs[row])
	}
	if children {
		if reason, bad := d.children(row, m); bad != nil {
			return reason, bad
		}
	}
	if !ascii(b.Arena[arena:]) {
		d.mendRow(row)
	}
	return "", nil
}

// reasonOf is the reason of a fault inside a span: none if the request is to end with it.
func reasonOf(f *fault) receive.Reason {
	if f == noRoom {
		return ""
	}
	return receive.Malformed
}

func badID(f field, name string, want int) *fault {
	return &fault{at: f.at, path: name, what: fmt.Sprintf("is %d bytes long, must be %d", len(f.body), want)}
}

// judgeSpan sees whether a span of a resource that does not say so is a proxy's.
func (d *Decoder) judgeSpan(r span.Range) {
	if d.nodeID == noKey && d.component == noKey {
		return
	}
	for _, a := range d.b.AttrsOf(r) {
		if a.Key == d.nodeID || a.Key == d.component && a.Type == span.TypeString && string(d.b.Bytes(a.Value().Str())) == "proxy" {
			d.mark |= span.MarkProxy
			return
		}
	}
}

// children reads events and links in passes of their own, so that each owner's attributes lie together however the
// sender mixed the fields.
func (d *Decoder) children(row int, m []byte) (receive.Reason, *fault) {
	b := d.b
	events := uint32(len(b.Events))
	for i := 0; i < len(m); {
		f, next, _ := nextField(m, i)
		if f.tag == 11<<3|bytes_ {
			if bad := d.event(f.body); bad != nil {
				return reasonOf(bad), within(bad, f.at, "events")
			}
			if d.full() {
				return "", noRoom
			}
		}
		i = next
	}
	b.SpanEvents[row] = span.Range{Off: events, Len: uint32(len(b.Events)) - events}
	links := uint32(len(b.Links))
	for i := 0; i < len(m); {
		f, next, _ := nextField(m, i)
		if f.tag == 13<<3|bytes_ {
			if reason, bad := d.link(f.body); bad != nil {
				return reason, within(bad, f.at, "links")
			}
			if d.full() {
				return "", noRoom
			}
		}
		i = next
	}
	b.SpanLinks[row] = span.Range{Off: links, Len: uint32(len(b.Links)) - links}
	return "", nil
}

func (d *Decoder) event(m []byte) *fault {
	b := d.b
	var e span.Event
	attrs := b.AttrMark()
	d.last = followers
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 1<<3 | fixed64:
			e.Time = f.num
		case 2<<3 | bytes_:
			e.Name = b.AddString(f.body)
		case 3<<3 | bytes_:
			if bad := d.attr(f.body); bad != nil {
				return within(bad, f.at, "attributes")
			}
		case 4<<3 | varint:
			e.Dropped = uint32(f.num)
		}
		i = next
	}
	e.Attrs = b.AttrsSince(attrs)
	b.Events = append(b.Events, e)
	return nil
}

func (d *Decoder) link(m []byte) (receive.Reason, *fault) {
	b := d.b
	var l span.Link
	attrs := b.AttrMark()
	d.last = followers
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return receive.Malformed, bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			switch len(f.body) {
			case 0:
				l.TraceID = span.TraceID{}
			case len(l.TraceID):
				l.TraceID = span.TraceID(f.body)
			default:
				return receive.BadID, badID(f, "trace_id", 16)
			}
		case 2<<3 | bytes_:
			switch len(f.body) {
			case 0:
				l.SpanID = span.SpanID{}
			case len(l.SpanID):
				l.SpanID = span.SpanID(f.body)
			default:
				return receive.BadID, badID(f, "span_id", 8)
			}
		case 3<<3 | bytes_:
			l.TraceState = b.AddString(f.body)
		case 4<<3 | bytes_:
			if bad := d.attr(f.body); bad != nil {
				return reasonOf(bad), within(bad, f.at, "attributes")
			}
		case 5<<3 | varint:
			l.Dropped = uint32(f.num)
		case 6<<3 | fixed32:
			l.Flags = uint32(f.num)
		}
		i = next
	}
	l.Attrs = b.AttrsSince(attrs)
	b.Links = append(b.Links, l)
	return "", nil
}

func (d *Decoder) status(row int, m []byte) *fault {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 2<<3 | bytes_:
			d.b.StatusMessage[row] = d.b.AddString(f.body)
		case 3<<3 | varint:
			d.b.Status[row] = statusOf(f.num)
		}
		i = next
	}
	return nil
}

// kindOf reads an enum number. Numbers that the specification does not know are unspecified.
func kindOf(v uint64) span.Kind {
	if v > uint64(span.KindConsumer) {
		return span.KindUnspecified
	}
	return span.Kind(v)
}

func statusOf(v uint64) span.Status {
	if v > uint64(span.StatusError) {
		return span.StatusUnset
	}
	return span.Status(v)
}
