package jaegerapi

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
)

// reading is a trace as Jaeger shows it, whatever it is written in. Its tables are for one trace at a time.
type reading struct {
	raw      bool // as stored: no sorting, no new ids, copies too
	t        *query.Trace
	b        *span.Batch
	ids      []span.SpanID // per row the id that is shown; nil: the rows' own
	keys     []keyInfo     // per key of the batch
	attrs    []span.Attr   // of the owner being written
	moved    []span.Attr   // attributes of the span that are shown on its process
	events   []span.Event
	warnings []string
	first    int32 // row of the batch of the first span that is shown
}

// begin takes up a trace.
func (w *reading) begin(t *query.Trace) {
	w.t, w.b, w.ids, w.first = t, t.Batch, nil, -1
	if i := slices.IndexFunc(t.Rows, func(r query.Row) bool { return r.Span >= 0 }); i >= 0 {
		w.first = t.Rows[i].Span
	}
	w.readKeys()
	if !w.raw {
		w.ids = query.UniqueIDs(t.Rows)
	}
}

// readKeys fills keys, once a trace, so that attributes are sorted by numbers.
func (w *reading) readKeys() {
	b := w.b
	order := make([]uint32, len(b.Keys))
	w.keys = slices.Grow(w.keys[:0], len(b.Keys))[:len(b.Keys)]
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return bytes.Compare(b.Bytes(b.Keys[x]), b.Bytes(b.Keys[y])) })
	for rank, k := range order {
		w.keys[k] = keyInfo{uint32(rank), specialOf(b.Bytes(b.Keys[k]))}
	}
}

// storedRows are the rows of a trace's batch, copies included, in the order of time. Rows of a look-alike id that
// assembly did not believe to be of this trace are left out.
func storedRows(t *query.Trace) []int32 {
	ids := make(map[span.TraceID]bool, 1)
	noteTwins(ids, t)
	rows := make([]int32, 0, t.Batch.Len())
	for i, id := range t.Batch.TraceID {
		if ids[id] {
			rows = append(rows, int32(i))
		}
	}
	slices.SortStableFunc(rows, func(x, y int32) int { return cmp.Compare(t.Batch.Time[x], t.Batch.Time[y]) })
	return rows
}

func (w *reading) idOf(row int32) span.SpanID {
	if w.ids != nil {
		return w.ids[row]
	}
	return w.t.Rows[row].ID
}

// parentOf is the id of a row's parent as it is shown; zero for a root.
func (w *reading) parentOf(r *query.Row) span.SpanID {
	if r.Parent < 0 {
		return span.SpanID{}
	}
	return w.idOf(r.Parent)
}

// warnOf sets the warnings of a row. Jaeger's UI shows those of spans only, so the first one says that others could not be read.
func (w *reading) warnOf(r *query.Row) {
	w.warnings = w.warnings[:0]
	if w.t.Away && r.Span == w.first {
		w.warnings = append(w.warnings, w.t.Reason)
	}
	if r.Flags&query.FlagTimeReplaced != 0 {
		w.warnings = append(w.warnings, "the start time is absent or impossible; the time of receipt is shown")
	}
	if r.Flags&query.FlagCut != 0 {
		w.warnings = append(w.warnings, "attributes, events or values were cut to a limit on receipt")
	}
}

// storedName is the name of a row of the batch.
func (w *reading) storedName(row int) string {
	if name := w.b.String(w.b.Name[row]); name != "" {
		return name
	}
	return query.DeriveName(w.b, row)
}

// The trace flags that Jaeger shows.
const (
	flagSampled = 1
	flagDebug   = 2
)

// flags are a span's. OTLP's second bit says that the trace id is random; Jaeger's that the span is for debugging.
func (w *reading) flags(row int) uint32 {
	flags := w.b.Flags[row] & flagSampled
	if w.b.Mark[row]&span.MarkDebug != 0 {
		flags |= flagSampled | flagDebug
	}
	return flags
}

const (
	refChildOf     = "CHILD_OF"
	refFollowsFrom = "FOLLOWS_FROM"
)

// eachReference gives a span's parent, if it has one, and its links. Links to nowhere stand in raw traces only.
func (w *reading) eachReference(row int, trace span.TraceID, parent span.SpanID, add func(typ string, trace span.TraceID, id span.SpanID)) {
	if !parent.IsZero() {
		add(refChildOf, trace, parent)
	}
	for _, l := range w.b.LinksOf(row) {
		if !w.raw && (l.TraceID.IsZero() || l.SpanID.IsZero()) {
			continue
		}
		typ := refFollowsFrom
		if string(w.b.FindString(l.Attrs, "opentracing.ref_type")) == "child_of" {
			if typ = refChildOf; l.TraceID == trace && l.SpanID == w.b.Parent[row] {
				continue // the parent again
			}
		}
		add(typ, l.TraceID, l.SpanID)
	}
}

// readEvents sets events to those of a row, sorted by time unless raw.
func (w *reading) readEvents(row int) {
	w.events = append(w.events[:0], w.b.EventsOf(row)...)
	if !w.raw {
		slices.SortStableFunc(w.events, func(x, y span.Event) int { return cmp.Compare(x.Time, y.Time) })
	}
}

// readEvent sets attrs to an event's and reports whether one of them is called "event", which then stands for its name.
func (w *reading) readEvent(e *span.Event) (named bool) {
	w.attrs = append(w.attrs[:0], w.b.AttrsOf(e.Attrs)...)
	for _, a := range w.attrs {
		named = named || w.keys[a.Key].special == keyEvent
	}
	return named
}

// serviceOf is the name of a row's process.
func (w *reading) serviceOf(row int) []byte {
	if name := w.b.Bytes(w.b.Service[row]); len(name) > 0 {
		return name
	}
	return []byte(unnamedService)
}

// processAttrs are the tags of the process of a row whose tags were written.
func (w *reading) processAttrs(row int) []span.Attr {
	w.attrs = w.attrs[:0]
	for _, a := range w.b.AttrsOf(w.b.Resources[w.b.Resource[row]].Attrs) {
		if w.keys[a.Key].special != keyServiceName {
			w.attrs = append(w.attrs, a)
		}
	}
	w.attrs = append(w.attrs, w.moved...)
	return w.tidied(w.attrs)
}

// tidied sorts attributes by key in place and of equal keys keeps the last; raw traces are left as they are.
func (w *reading) tidied(attrs []span.Attr) []span.Attr {
	if w.raw {
		return attrs
	}
	slices.SortStableFunc(attrs, func(x, y span.Attr) int { return cmp.Compare(w.keys[x.Key].rank, w.keys[y.Key].rank) })
	n := 0
	for i, a := range attrs {
		if i+1 < len(attrs) && attrs[i+1].Key == a.Key {
			continue
		}
		attrs[n] = a
		n++
	}
	return attrs[:n]
}

// tagSink takes the tags of a span in their order.
type tagSink interface {
	text(key string, value []byte)
	isTrue(key string)
	attr(a span.Attr)
}

// eachTag gives a span's tags: scope, attributes, kind, status, trace state. A made tag replaces an attribute of its name.
func (w *reading) eachTag(row int, l tagSink) {
	b := w.b
	scope := &b.Scopes[b.Scope[row]]
	kind := kindWord(b.Kind[row])
	status := b.Status[row]
	var made specialKey
	for _, m := range [...]struct {
		made bool
		key  specialKey
	}{
		{scope.Name.Len > 0, keyScopeName}, {scope.Version.Len > 0, keyScopeVersion}, {kind != "", keyKind}, {status == span.StatusError, keyError},
		{status == span.StatusError || status == span.StatusOK, keyStatusCode}, {b.StatusMessage[row].Len > 0, keyStatusDescription},
		{b.TraceState[row].Len > 0, keyTraceState},
	} {
		if m.made {
			made |= m.key
		}
	}
	w.attrs, w.moved = w.attrs[:0], w.moved[:0]
	for _, a := range b.AttrsOf(b.SpanAttrs[row]) {
		switch special := w.keys[a.Key].special; {
		case special&made != 0:
		case special == keyLibrary && !w.raw && w.movable(row, a):
			w.moved = append(w.moved, a)
		default:
			w.attrs = append(w.attrs, a)
		}
	}

	if made&keyScopeName != 0 {
		l.text(tagScopeName, b.Bytes(scope.Name))
	}
	if made&keyScopeVersion != 0 {
		l.text(tagScopeVersion, b.Bytes(scope.Version))
	}
	for _, a := range w.tidied(w.attrs) {
		l.attr(a)
	}
	if kind != "" {
		l.text(tagKind, []byte(kind))
	}
	switch status {
	case span.StatusError:
		l.isTrue(tagError)
		l.text(tagStatusCode, []byte("ERROR"))
	case span.StatusOK:
		l.text(tagStatusCode, []byte("OK"))
	}
	if made&keyStatusDescription != 0 {
		l.text(tagStatusDescription, b.Bytes(b.StatusMessage[row]))
	}
	if made&keyTraceState != 0 {
		l.text(tagTraceState, b.Bytes(b.TraceState[row]))
	}
}

// movable reports whether a span's attribute can move to its process: unless the resource says something else.
func (w *reading) movable(row int, a span.Attr) bool {
	b := w.b
	for _, r := range b.AttrsOf(b.Resources[b.Resource[row]].Attrs) {
		if r.Key == a.Key && !sameValue(b, r, a) {
			w.warnings = append(w.warnings, "span and process disagree on "+string(b.Key(a)))
			return false
		}
	}
	return true
}

func sameValue(b *span.Batch, x, y span.Attr) bool {
	if x.Type != y.Type {
		return false
	}
	if x.Type.InArena() {
		return bytes.Equal(b.Bytes(x.Value().Str()), b.Bytes(y.Value().Str()))
	}
	return x.Bits == y.Bits
}
