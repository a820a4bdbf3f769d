package otlp

import (
	"encoding/binary"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// maxRequest is the longest body: positions in a batch are 32-bit, and repairing text may treble it. Receivers refuse far earlier.
const maxRequest = 1 << 30

// Decoder reads requests. The zero Decoder is ready; it keeps its memory from request to request and is not for
// concurrent use.
type Decoder struct {
	// Room, when set, is asked each time a batch is to hold more than it was promised, with the number of bytes more. No
	// ends the request with an Overloaded problem. Without it a batch grows to at most about thirty times the body.
	Room func(bytes int) bool

	b     *span.Batch
	limit int // bytes of batch that may be held before Room is asked again
	attrs int // attributes likewise: a bound that costs one comparison

	// Keys come in the same order span after span, so what followed a key last time is tried before its hash is asked.
	follows [followers + 1]uint32
	last    uint32 // slot in follows of the key seen last

	component, nodeID, sdkName uint32 // indexes in Batch.Keys; noKey until seen

	whole int       // capacity of the body of the request
	mark  span.Mark // of the row, resource or scope at hand
	first *firstBad // why the first span was left out; nil if none was
	proxy bool      // the resource at hand is an Envoy
}

type firstBad struct {
	reason receive.Reason
	fault  *fault
}

const (
	followers = 128
	noKey     = 1<<32 - 1
)

// Decode appends the spans of an ExportTraceServiceRequest (or TracesData, which is the same on the wire) to dst. Spans
// that cannot be taken are left out and counted in dst.Refused. The error is an Invalid *problem.Problem that names the
// offset; dst then holds an undefined part of the request. Neither body nor views of it are kept.
//
// Cost: no allocation a span once dst has grown, about 0.8 µs for a span of Envoy's.
func Decode(dst *span.Batch, body []byte) error {
	var d Decoder
	return d.Protobuf(dst, body)
}

// Protobuf is Decode with the Decoder's memory. Besides Invalid its error may be Overloaded, from Room.
func (d *Decoder) Protobuf(dst *span.Batch, body []byte) error {
	if err := d.begin(dst, body); err != nil {
		return err
	}
	if f := d.request(body); f != nil {
		return d.failed(f)
	}
	return nil
}

// Refusal says why the first span of the last request was left out; nil if none was.
func (d *Decoder) Refusal() *problem.Problem {
	if d.first == nil {
		return nil
	}
	return d.first.fault.problem()
}

func (d *Decoder) begin(dst *span.Batch, body []byte) *problem.Problem {
	if len(body) > maxRequest {
		return problem.New(problem.TooLarge, "request of more than 1 GiB", "send smaller batches")
	}
	d.b, d.whole, d.first, d.mark, d.proxy = dst, cap(body), nil, 0, false
	d.component, d.nodeID, d.sdkName = noKey, noKey, noKey
	for i, k := range dst.Keys {
		d.notice(uint32(i), dst.Bytes(k))
	}
	d.limit, d.attrs = 1<<62, 1<<62
	if d.Room != nil {
		d.limit, d.attrs = dst.Size(), len(dst.Attrs)
		if !d.grow(firstRoom(len(body))) {
			return receive.ErrBusy()
		}
	}
	return nil
}

// firstRoom is what a batch of a body is promised at once: with Envoy's spans a batch is 1.1 times its request.
func firstRoom(body int) int { return body + body/4 + 4<<10 }

// grow asks for room.
func (d *Decoder) grow(bytes int) bool {
	if !d.Room(bytes) {
		return false
	}
	d.limit += bytes
	d.attrs += bytes / attrSize
	return true
}

const attrSize = 16

// full reports that the batch outgrew its room and got no more.
func (d *Decoder) full() bool {
	if len(d.b.Attrs) < d.attrs && d.b.Size() <= d.limit {
		return false
	}
	return d.Room != nil && !d.grow(max(d.b.Size()-d.limit, 0)+max(1<<20, d.b.Size()/2))
}

var noRoom = &fault{what: "no room"}

func (d *Decoder) failed(f *fault) error {
	if f == noRoom {
		return receive.ErrBusy()
	}
	return f.problem()
}

// refuse counts a span left out.
func (d *Decoder) refuse(r receive.Reason, f *fault) {
	receive.CountRefused(d.b, r, 1)
	if d.first == nil {
		d.first = &firstBad{r, f}
	}
}

// request reads field 1, resource_spans.
func (d *Decoder) request(m []byte) *fault {
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		if f.tag == 1<<3|bytes_ {
			if bad := d.resourceSpans(f.body); bad != nil {
				return within(bad, f.at, "resource_spans")
			}
		}
		i = next
	}
	return nil
}

// within names the field a fault lies in.
func within(f *fault, at int, name string) *fault {
	if f == noRoom {
		return f
	}
	return f.in(at, name)
}

// resourceSpans reads the resource first, wherever it stands: rows need its index and marks, and attributes of one owner
// must lie together. The framing of everything inside is checked on that pass.
func (d *Decoder) resourceSpans(m []byte) *fault {
	b := d.b
	resource := uint32(len(b.Resources))
	r := span.Resource{Attrs: span.Range{Off: b.AttrMark()}}
	d.mark, d.proxy = 0, false
	arena := len(b.Arena)
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			if bad := d.resource(&r, f.body); bad != nil {
				return within(bad, f.at, "resource")
			}
		case 3<<3 | bytes_:
			r.SchemaURL = b.AddString(f.body)
		}
		i = next
	}
	r.Attrs = b.AttrsSince(r.Attrs.Off)
	if !ascii(b.Arena[arena:]) {
		d.mend(&r.SchemaURL)
		d.mendAttrs(r.Attrs)
	}
	d.judgeResource(r.Attrs)
	b.Resources = append(b.Resources, r)
	if d.full() {
		return noRoom
	}
	mark := d.mark
	for i := 0; i < len(m); {
		f, next, _ := nextField(m, i)
		// 1000 is instrumentation_library_spans of before 2022: the same shape.
		if f.tag == 2<<3|bytes_ || f.tag == 1000<<3|bytes_ {
			d.mark = mark
			if bad := d.scopeSpans(f.body, resource); bad != nil {
				return within(bad, f.at, "scope_spans")
			}
		}
		i = next
	}
	return nil
}

// judgeResource sees whether a resource is an Envoy; its rows get the mark.
func (d *Decoder) judgeResource(r span.Range) {
	if d.sdkName == noKey {
		return
	}
	for _, a := range d.b.AttrsOf(r) {
		if a.Key == d.sdkName {
			d.proxy = a.Type == span.TypeString && string(d.b.Bytes(a.Value().Str())) == "envoy"
		}
	}
	if d.proxy {
		d.mark |= span.MarkProxy
	}
}

func (d *Decoder) resource(r *span.Resource, m []byte) *fault {
	d.last = followers
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			if bad := d.attr(f.body); bad != nil {
				return within(bad, f.at, "attributes")
			}
		case 2<<3 | varint:
			r.Dropped = uint32(f.num)
		}
		i = next
	}
	return nil
}

// scopeSpans reads the scope first, like resourceSpans.
func (d *Decoder) scopeSpans(m []byte, resource uint32) *fault {
	b := d.b
	scope := uint32(len(b.Scopes))
	s := span.Scope{Attrs: span.Range{Off: b.AttrMark()}}
	arena := len(b.Arena)
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			if bad := d.scope(&s, f.body); bad != nil {
				return within(bad, f.at, "scope")
			}
		case 3<<3 | bytes_:
			s.SchemaURL = b.AddString(f.body)
		}
		i = next
	}
	s.Attrs = b.AttrsSince(s.Attrs.Off)
	if !ascii(b.Arena[arena:]) {
		d.mend(&s.SchemaURL)
		d.mend(&s.Name)
		d.mend(&s.Version)
		d.mendAttrs(s.Attrs)
	}
	b.Scopes = append(b.Scopes, s)
	if d.full() {
		return noRoom
	}
	mark := d.mark
	for i := 0; i < len(m); {
		f, next, _ := nextField(m, i)
		if f.tag == 2<<3|bytes_ {
			d.mark = mark
			row := b.AddRow()
			reason, bad := d.span(row, f.body)
			if reason != "" {
				b.DropLastRow()
				// Views keep the body's capacity, so what is missing of it is where m begins.
				d.refuse(reason, within(bad, d.whole-cap(m)+f.at, "resource_spans.scope_spans.spans"))
			} else if bad != nil {
				return bad
			} else {
				b.Resource[row], b.Scope[row], b.Mark[row] = resource, scope, d.mark
			}
			if d.full() {
				return noRoom
			}
		}
		i = next
	}
	return nil
}

func (d *Decoder) scope(s *span.Scope, m []byte) *fault {
	d.last = followers
	for i := 0; i < len(m); {
		f, next, bad := nextField(m, i)
		if bad != nil {
			return bad
		}
		switch f.tag {
		case 1<<3 | bytes_:
			s.Name = d.b.AddString(f.body)
		case 2<<3 | bytes_:
			s.Version = d.b.AddString(f.body)
		case 3<<3 | bytes_:
			if bad := d.attr(f.body); bad != nil {
				return within(bad, f.at, "attributes")
			}
		case 4<<3 | varint:
			s.Dropped = uint32(f.num)
		}
		i = next
	}
	return nil
}

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
	return &fault{at: f.at, path: name, what: lengthText(len(f.body), want)}
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

// ascii reports whether all bytes are below 0x80: then whatever is text in it is UTF-8. Cost: 8 bytes a step.
func ascii(p []byte) bool {
	var or uint64
	for len(p) >= 32 {
		or |= binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:]) | binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		p = p[32:]
	}
	for len(p) >= 8 {
		or |= binary.LittleEndian.Uint64(p)
		p = p[8:]
	}
	for _, c := range p {
		or |= uint64(c)
	}
	return or&0x8080808080808080 == 0
}
