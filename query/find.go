package query

import (
	"bytes"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/match"
)

// Find lists, ascending, the rows that carry a text, small and capital letters alike: in an attribute of the span, its resource, scope,
// events or links, read as key=value, in an event's name or in the status message. Of arrays each scalar element is read so; bytes and
// lists are not. Blank text finds nothing. Resources and scopes are read once; an attribute costs some 50 ns.
func (t *Trace) Find(text string) []int32 {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	f := finder{b: t.Batch, wanted: []byte(strings.ToLower(text))}
	for _, c := range f.wanted {
		f.wide = f.wide || c >= 0x80
	}
	resources := make([]bool, len(t.Batch.Resources))
	for i, r := range t.Batch.Resources {
		resources[i] = f.attributes(r.Attrs)
	}
	scopes := make([]bool, len(t.Batch.Scopes))
	for i, s := range t.Batch.Scopes {
		scopes[i] = f.attributes(s.Attrs)
	}
	var rows []int32
	for i := range t.Rows {
		row := int(t.Rows[i].Span)
		if row >= 0 && (resources[t.Batch.Resource[row]] || scopes[t.Batch.Scope[row]] || f.span(row)) {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

type finder struct {
	b      *span.Batch
	wanted []byte // lower case
	wide   bool   // not all ASCII: letters of all scripts have cases then
	text   []byte
}

func (f *finder) span(row int) bool {
	if f.in(f.b.Bytes(f.b.StatusMessage[row])) || f.attributes(f.b.SpanAttrs[row]) {
		return true
	}
	for _, e := range f.b.EventsOf(row) {
		if f.in(f.b.Bytes(e.Name)) || f.attributes(e.Attrs) {
			return true
		}
	}
	for _, l := range f.b.LinksOf(row) {
		if f.attributes(l.Attrs) {
			return true
		}
	}
	return false
}

func (f *finder) attributes(r span.Range) bool {
	for _, a := range f.b.AttrsOf(r) {
		if a.Type < span.TypeStrings || a.Type > span.TypeArray {
			if f.pair(a, a.Value()) {
				return true
			}
			continue
		}
		elements := f.b.Elements(a.Value())
		for v, ok := elements.Next(); ok; v, ok = elements.Next() {
			if f.pair(a, v) {
				return true
			}
		}
	}
	return false
}

func (f *finder) pair(a span.Attr, v span.Value) bool {
	f.text = append(append(f.text[:0], f.b.Key(a)...), '=')
	f.text, _ = match.AppendText(f.text, f.b, v)
	return f.holds()
}

func (f *finder) in(text []byte) bool {
	f.text = append(f.text[:0], text...)
	return f.holds()
}

// holds looks in f.text, which it changes.
func (f *finder) holds() bool {
	if len(f.text) < len(f.wanted) {
		return false
	}
	if f.wide {
		return bytes.Contains(bytes.ToLower(f.text), f.wanted)
	}
	for i, c := range f.text {
		if 'A' <= c && c <= 'Z' {
			f.text[i] = c + ('a' - 'A')
		}
	}
	return bytes.Contains(f.text, f.wanted)
}
