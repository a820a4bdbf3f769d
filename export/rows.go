package export

import (
	"encoding/json"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// builder turns rows of batches into rows of the file. What lists and optional values point to stands in slabs that are used
// again after each piece, so that a span costs no allocation but for the text of its ids.
type builder struct {
	b    *span.Batch
	text string // the arena of b
	bad  bool   // a text of the current row is not UTF-8

	rows    []row
	attrs   []attribute
	events  []event
	links   []link
	strings []string
	ints    []int64
	doubles []float64
	bools   []bool
	bytes   [][]byte

	resources map[uint32]made[resource] // of b
	scopes    map[uint32]made[scope]
}

// made is a resource or scope that is built once a batch.
type made[T any] struct {
	v   T
	bad bool
}

// begin turns to another batch. Its rows before must have been written.
func (x *builder) begin(b *span.Batch) {
	x.b, x.text = b, string(b.Arena)
	x.resources, x.scopes = make(map[uint32]made[resource]), make(map[uint32]made[scope])
}

// clear forgets the rows that were written. Resources and scopes point into the slabs too, so those start anew.
func (x *builder) clear() {
	clear(x.rows) // drops what they point to
	x.rows, x.attrs, x.events, x.links = x.rows[:0], x.attrs[:0], x.events[:0], x.links[:0]
	x.strings, x.ints, x.doubles, x.bools, x.bytes = x.strings[:0], x.ints[:0], x.doubles[:0], x.bools[:0], x.bytes[:0]
	clear(x.resources)
	clear(x.scopes)
}

func (x *builder) str(s span.Str) string {
	text := x.text[s.Off : s.Off+s.Len]
	if !utf8.ValidString(text) {
		x.bad = true
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return text
}

func (x *builder) add(i int) {
	b := x.b
	x.bad = false
	r := row{
		TraceID:       b.TraceID[i].String(),
		SpanID:        b.SpanID[i].String(),
		TraceState:    x.str(b.TraceState[i]),
		Name:          x.str(b.Name[i]),
		Kind:          b.Kind[i].String(),
		KindCode:      uint32(b.Kind[i]),
		Status:        b.Status[i].String(),
		StatusCode:    uint32(b.Status[i]),
		StatusMessage: x.str(b.StatusMessage[i]),
		Failed:        b.Failed(i),

		Time:      b.Time[i],
		EndTime:   b.EndTime(i),
		Duration:  b.Duration(i),
		TimeNano:  b.Time[i],
		StartNano: b.Start[i],
		EndNano:   b.End[i],

		Service:       x.str(b.Service[i]),
		WorkloadGroup: x.str(b.Group[i]),
		Namespace:     x.str(b.Namespace[i]),
		Weight:        b.Weight[i],
		Marks:         uint32(b.Mark[i]),
		Flags:         b.Flags[i],

		DroppedAttributes: b.DroppedAttrs[i],
		DroppedEvents:     b.DroppedEvents[i],
		DroppedLinks:      b.DroppedLinks[i],

		Attributes: x.attributes(b.SpanAttrs[i]),
		Events:     x.eventsOf(i),
		Links:      x.linksOf(i),
	}
	if !b.Parent[i].IsZero() {
		r.ParentSpanID = slot(&x.strings, b.Parent[i].String())
	}
	res, sc := x.resource(b.Resource[i]), x.scope(b.Scope[i])
	r.Resource, r.Scope = res.v, sc.v
	if x.bad || res.bad || sc.bad {
		whole := raw(b, i)
		r.Raw = &whole
	}
	x.rows = append(x.rows, r)
}

// raw is the exact span where its text cannot stand in a text column.
func raw(b *span.Batch, i int) []byte {
	var one span.Batch
	c := span.NewCopier(&one)
	c.Begin(b)
	c.Row(i)
	return one.AppendBinary(nil)
}

func (x *builder) resource(at uint32) made[resource] {
	if m, ok := x.resources[at]; ok {
		return m
	}
	was := x.bad
	x.bad = false
	r := x.b.Resources[at]
	m := made[resource]{v: resource{Attributes: x.attributes(r.Attrs), Dropped: r.Dropped, SchemaURL: x.str(r.SchemaURL)}, bad: x.bad}
	m.bad, x.bad = x.bad, was
	x.resources[at] = m
	return m
}

func (x *builder) scope(at uint32) made[scope] {
	if m, ok := x.scopes[at]; ok {
		return m
	}
	was := x.bad
	x.bad = false
	s := x.b.Scopes[at]
	m := made[scope]{v: scope{Name: x.str(s.Name), Version: x.str(s.Version), Attributes: x.attributes(s.Attrs), Dropped: s.Dropped, SchemaURL: x.str(s.SchemaURL)}}
	m.bad, x.bad = x.bad, was
	x.scopes[at] = m
	return m
}

func (x *builder) eventsOf(i int) []event {
	from := len(x.events)
	for _, e := range x.b.EventsOf(i) {
		x.events = append(x.events, event{TimeNano: e.Time, Name: x.str(e.Name), Attributes: x.attributes(e.Attrs), Dropped: e.Dropped})
	}
	return x.events[from:len(x.events):len(x.events)]
}

func (x *builder) linksOf(i int) []link {
	from := len(x.links)
	for _, l := range x.b.LinksOf(i) {
		out := link{TraceState: x.str(l.TraceState), Attributes: x.attributes(l.Attrs), Dropped: l.Dropped, Flags: l.Flags}
		if !l.TraceID.IsZero() {
			out.TraceID = slot(&x.strings, l.TraceID.String())
		}
		if !l.SpanID.IsZero() {
			out.SpanID = slot(&x.strings, l.SpanID.String())
		}
		x.links = append(x.links, out)
	}
	return x.links[from:len(x.links):len(x.links)]
}

func (x *builder) attributes(r span.Range) []attribute {
	from := len(x.attrs)
	for _, a := range x.b.AttrsOf(r) {
		x.attrs = append(x.attrs, x.attribute(a))
	}
	return x.attrs[from:len(x.attrs):len(x.attrs)]
}

// typeNames are the words of the column type, by span.Type.
var typeNames = [span.NumTypes]string{"null", "string", "int", "double", "bool", "bytes", "strings", "ints", "doubles", "bools", "array", "kvlist"}

func (x *builder) attribute(a span.Attr) attribute {
	out := attribute{Key: x.str(x.b.Keys[a.Key]), Type: typeNames[a.Type]}
	v := a.Value()
	switch a.Type {
	case span.TypeNull:
	case span.TypeString:
		out.String = slot(&x.strings, x.str(v.Str()))
	case span.TypeInt:
		out.Int = slot(&x.ints, v.Int())
	case span.TypeDouble:
		out.Double = slot(&x.doubles, v.Double())
	case span.TypeBool:
		out.Bool = slot(&x.bools, v.Bool())
	default:
		out.Bytes = slot(&x.bytes, x.b.Bytes(v.Str()))
		if a.Type >= span.TypeStrings && a.Type <= span.TypeBools {
			out.String = slot(&x.strings, x.list(v))
		}
	}
	return out
}

// slot puts a value into a slab and answers where. A slab that grows leaves the old values where they are.
func slot[T any](slab *[]T, v T) *T {
	*slab = append(*slab, v)
	return &(*slab)[len(*slab)-1]
}

// list is an array of one scalar type as JSON, for people and SQL; the exact form stands in bytes. Doubles that JSON has no
// number for are words, as in OTLP's JSON.
func (x *builder) list(v span.Value) string {
	list := []any{}
	elements := x.b.Elements(v)
	for {
		e, ok := elements.Next()
		if !ok {
			break
		}
		switch e.Type {
		case span.TypeString:
			list = append(list, strings.ToValidUTF8(x.b.String(e.Str()), "\uFFFD"))
		case span.TypeInt:
			list = append(list, e.Int())
		case span.TypeDouble:
			list = append(list, jsonDouble(e.Double()))
		case span.TypeBool:
			list = append(list, e.Bool())
		}
	}
	text, err := json.Marshal(list)
	if err != nil { // no value above makes one
		return "[]"
	}
	return string(text)
}

func jsonDouble(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return f
}
