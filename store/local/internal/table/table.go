// Package table holds rows of spans in dictionary codes: the memtable of the embedded engine, the form in which segments are
// written, and the form into which their blocks are read for compaction.
//
// Every string is stored once and named by an ID. The attributes of a row are a shape, which is a list of fields (owner, key,
// type) that many rows share, and one code of 4 bytes for each of its fields. What seldom differs from span to span (resource,
// scope, service, flags and the like) stands in side tables. A span of a sidecar with 22 attributes takes about 220 bytes.
//
// Rows only grow at their end. View is what of a table a reader may use while a writer goes on: slice headers of one moment.
package table

import (
	"unsafe"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Field is an attribute's place: the same key with another type, or a second time in one owner, is another field.
type Field struct {
	Owner store.FieldScope // InSpan, InResource, InScope, InEvent or InLink
	Key   ID
	Type  span.Type
	Nth   uint8 // how many attributes of the key stand before it in the same owner; at most maxNth
}

// maxNth is where counting of repeated keys ends: a shape with more of them names the last field several times.
const maxNth = 255

// List is the attributes of one owner: a shape and its codes from At on in Codes. The code of a string, of bytes, an array or a
// list is an ID; of an int or double an index in Nums; of a bool 0 or 1; of null 0.
type List struct{ Shape, At uint32 }

// Ident is the columns Service, Group and Namespace.
type Ident struct{ Service, Group, Namespace ID }

// Rare is the columns that are the same for nearly all rows.
type Rare struct {
	Flags                                     uint32
	DroppedAttrs, DroppedEvents, DroppedLinks uint32
	Weight                                    float64
	StatusMessage, TraceState                 ID
}

// Resource and Scope are span.Resource and span.Scope in codes.
type (
	Resource struct {
		Attrs   List
		Dropped uint32
		Schema  ID
	}
	Scope struct {
		Name, Version, Schema ID
		Attrs                 List
		Dropped               uint32
	}
)

// Event and Link are span.Event and span.Link in codes.
type (
	Event struct {
		Time    uint64
		Name    ID
		Attrs   List
		Dropped uint32
	}
	Link struct {
		Trace   span.TraceID
		Span    span.SpanID
		State   ID
		Attrs   List
		Dropped uint32
		Flags   uint32
	}
)

// View is the rows of one moment. Nothing of it changes; more rows need a new View. Entry i of every row column belongs to row i.
type View struct {
	Texts
	Nums   []uint64
	Codes  []uint32
	Fields []Field
	Shapes [][]uint32 // fields

	Idents    []Ident
	Rares     []Rare // 0 is {Weight: 1}
	Resources []Resource
	Scopes    []Scope
	Events    []Event
	Links     []Link

	Trace        []uint32 // index in TraceIDs
	Span, Parent []span.SpanID
	Start, End   []uint64
	Time         []int64
	Name         []ID
	Kind         []span.Kind
	Status       []span.Status
	Mark         []span.Mark
	Ident        []uint32
	Rare         []uint32
	Resource     []uint32
	Scope        []uint32
	Attrs        []List
	EventsEnd    []uint32 // of the row's events, which begin where those of the row before end
	LinksEnd     []uint32
	Prev         []uint32 // 1 + the row of the same trace before it; 0 for none

	TraceIDs []span.TraceID
}

// Rows is the number of rows.
func (v *View) Rows() int { return len(v.Trace) }

// EventsOf is a row's events, LinksOf its links.
func (v *View) EventsOf(row int) []Event { return v.Events[begin(v.EventsEnd, row):v.EventsEnd[row]] }

// LinksOf is a row's links.
func (v *View) LinksOf(row int) []Link { return v.Links[begin(v.LinksEnd, row):v.LinksEnd[row]] }

func begin(ends []uint32, row int) uint32 {
	if row == 0 {
		return 0
	}
	return ends[row-1]
}

// CodesOf is the codes of a list, one for each field of its shape.
func (v *View) CodesOf(l List) []uint32 {
	n := uint32(len(v.Shapes[l.Shape]))
	return v.Codes[l.At : l.At+n : l.At+n]
}

// Duration is span.Batch.Duration.
func (v *View) Duration(row int) int64 { return span.DurationOf(v.Start[row], v.End[row]) }

// EndTime is span.Batch.EndTime.
func (v *View) EndTime(row int) int64 { return span.EndTimeOf(v.Time[row], v.Duration(row)) }

// Trace is what a table knows of a trace beside its rows.
type Trace struct {
	Last     uint32 // 1 + its newest row
	Rows     uint32
	Received int64 // receipt of its newest row, ns
}

// Table is a View that grows. It is not safe for concurrent use; views of it are.
type Table struct {
	View
	strings Strings // Texts of View are a copy of its header
	nums    numbers
	traces  traceIndex
	known   known
	from    source
	Heads   []Trace // by index in TraceIDs
}

// New makes a table with room for about rows spans of the usual size.
func New(rows int) *Table {
	t := &Table{strings: newStrings(rows, rows*40), nums: newNumbers(), known: newKnown()}
	t.Trace = make([]uint32, 0, rows)
	t.Span, t.Parent = make([]span.SpanID, 0, rows), make([]span.SpanID, 0, rows)
	t.Start, t.End, t.Time = make([]uint64, 0, rows), make([]uint64, 0, rows), make([]int64, 0, rows)
	t.Name = make([]ID, 0, rows)
	t.Kind, t.Status, t.Mark = make([]span.Kind, 0, rows), make([]span.Status, 0, rows), make([]span.Mark, 0, rows)
	t.Ident, t.Rare = make([]uint32, 0, rows), make([]uint32, 0, rows)
	t.Resource, t.Scope = make([]uint32, 0, rows), make([]uint32, 0, rows)
	t.Attrs = make([]List, 0, rows)
	t.EventsEnd, t.LinksEnd = make([]uint32, 0, rows), make([]uint32, 0, rows)
	t.Prev = make([]uint32, 0, rows)
	t.Codes = make([]uint32, 0, 22*rows)
	t.traces = newTraceIndex(rows / 16)
	t.begin()
	return t
}

// begin puts in what every table has.
func (t *Table) begin() {
	t.Rares = append(t.Rares, Rare{Weight: 1})
	t.known.rares[Rare{Weight: 1}] = 0
	t.Shapes = append(t.Shapes, nil)
	t.known.addShape(nil, 0)
	t.sync()
}

// sync shows what the tables of strings and numbers grew to.
func (t *Table) sync() { t.Texts, t.Nums = t.strings.Texts, t.nums.list }

// Reset empties a table and keeps its memory. Views of it must not be used any more.
func (t *Table) Reset() {
	t.strings.reset()
	t.nums.reset()
	t.traces.reset()
	t.known.reset()
	t.from = source{}
	v := &t.View
	v.Codes, v.Fields, v.Shapes = v.Codes[:0], v.Fields[:0], v.Shapes[:0]
	v.Idents, v.Rares, v.Resources, v.Scopes = v.Idents[:0], v.Rares[:0], v.Resources[:0], v.Scopes[:0]
	v.Events, v.Links = v.Events[:0], v.Links[:0]
	v.Trace, v.Span, v.Parent = v.Trace[:0], v.Span[:0], v.Parent[:0]
	v.Start, v.End, v.Time = v.Start[:0], v.End[:0], v.Time[:0]
	v.Name, v.Kind, v.Status, v.Mark = v.Name[:0], v.Kind[:0], v.Status[:0], v.Mark[:0]
	v.Ident, v.Rare, v.Resource, v.Scope = v.Ident[:0], v.Rare[:0], v.Resource[:0], v.Scope[:0]
	v.Attrs, v.EventsEnd, v.LinksEnd, v.Prev = v.Attrs[:0], v.EventsEnd[:0], v.LinksEnd[:0], v.Prev[:0]
	v.TraceIDs, t.Heads = v.TraceIDs[:0], t.Heads[:0]
	t.begin()
}

// FindString is the ID of a string, 0 if no row has it.
func (t *Table) FindString(text string) ID { return t.strings.Find(text) }

// Twins appends the indexes of all traces whose ids have a lower half.
func (t *Table) Twins(dst []uint32, low uint64) []uint32 { return t.traces.find(dst, low, t.TraceIDs) }

// FindTrace is the index of a trace; not ok if it is not here.
func (t *Table) FindTrace(id span.TraceID) (uint32, bool) {
	var buf [4]uint32
	for _, i := range t.traces.find(buf[:0], id.Low(), t.TraceIDs) {
		if t.TraceIDs[i] == id {
			return i, true
		}
	}
	return 0, false
}

// Bytes is the memory of a table, by capacity.
func (t *Table) Bytes() int64 {
	n := t.strings.bytes() + t.nums.bytes() + t.traces.bytes() + t.known.bytes()
	v := &t.View
	n += size(v.Codes) + size(v.Fields) + size(v.Idents) + size(v.Rares) + size(v.Resources) + size(v.Scopes) + size(v.Events) + size(v.Links)
	n += size(v.Trace) + size(v.Span) + size(v.Parent) + size(v.Start) + size(v.End) + size(v.Time) + size(v.Name)
	n += size(v.Kind) + size(v.Status) + size(v.Mark) + size(v.Ident) + size(v.Rare) + size(v.Resource) + size(v.Scope)
	n += size(v.Attrs) + size(v.EventsEnd) + size(v.LinksEnd) + size(v.Prev) + size(v.TraceIDs) + size(t.Heads)
	return n
}

// Used is the memory of a table's rows, by length: what decides that it is full. Capacity that a guess made too large does not count.
func (t *Table) Used() int64 {
	const perRow = 4 + 16 + 24 + 4 + 4 + 16 + 8 + 8 + 4
	v := &t.View
	return perRow*int64(v.Rows()) + 4*int64(len(v.Codes)) + int64(len(v.arena)) + 16*int64(v.Texts.Len()) + 16*int64(len(v.Nums)) +
		int64(len(v.Events))*int64(unsafe.Sizeof(Event{})) + int64(len(v.Links))*int64(unsafe.Sizeof(Link{})) +
		56*int64(len(v.TraceIDs)) + 64*int64(len(v.Resources)+len(v.Scopes)) + t.known.bytes()
}

func size[T any](s []T) int64 {
	var t T
	return int64(cap(s)) * int64(unsafe.Sizeof(t))
}
