package otlp

import (
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

	whole int         // capacity of the body of the request
	mark  span.Mark   // of the row, resource or scope at hand
	first *firstBad   // why the first span was left out; nil if none was
	proxy bool        // the resource at hand is an Envoy
	json  *jsonReader // of the JSON form; nil until used
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
