package jaegerapi

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// traceWriter writes traces in Jaeger's JSON one after the other. Its tables are for one trace at a time.
type traceWriter struct {
	out     *answer
	raw     bool // as stored: no sorting, no new ids, copies too
	written int  // traces

	t         *query.Trace
	b         *span.Batch
	ids       []span.SpanID // per row the id that is shown; nil: the rows' own
	keys      []keyInfo     // per key of the batch
	processes processes
	attrs     []span.Attr // of the owner being written
	moved     []span.Attr // attributes of the span that are shown on its process
	events    []span.Event
	warnings  []string
}

// next writes a trace as the next element of a list. It reports whether the client is still there.
func (w *traceWriter) next(t *query.Trace) bool {
	if w.written++; w.written > 1 {
		w.out.buf = append(w.out.buf, ',')
	}
	w.t, w.b = t, t.Batch
	w.readKeys()
	w.processes.reset()
	w.ids = nil

	o := w.out
	o.buf = append(appendTraceID(append(o.buf, `{"traceID":"`...), t.ID), `","spans":[`...)
	if w.raw {
		for i, row := range storedRows(t) {
			if i > 0 {
				o.buf = append(o.buf, ',')
			}
			w.storedSpan(int(row))
			if !o.spill() {
				return false
			}
		}
	} else {
		w.ids = query.UniqueIDs(t.Rows)
		first := true
		for i := range t.Rows {
			if t.Rows[i].Span < 0 {
				continue
			}
			if !first {
				o.buf = append(o.buf, ',')
			}
			first = false
			w.span(i)
			if !o.spill() {
				return false
			}
		}
	}
	o.buf = append(o.buf, `],"processes":{`...)
	for i, text := range w.processes.texts {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = append(appendProcessID(append(o.buf, '"'), i), `":`...)
		o.buf = append(o.buf, text...)
		if !o.spill() {
			return false
		}
	}
	o.buf = append(o.buf, `},"warnings":`...)
	w.warnings = w.warnings[:0]
	for _, warning := range t.Warnings {
		if !w.raw || warning.Kind == query.WarnTooManySpans {
			w.warnings = append(w.warnings, warning.Message)
		}
	}
	o.buf = append(appendTexts(o.buf, w.warnings), '}')
	return o.spill()
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

func (w *traceWriter) idOf(row int32) span.SpanID {
	if w.ids != nil {
		return w.ids[row]
	}
	return w.t.Rows[row].ID
}

// span writes a row of the assembled trace.
func (w *traceWriter) span(i int) {
	r := &w.t.Rows[i]
	row := int(r.Span)
	w.warnings = w.warnings[:0]
	if r.Flags&query.FlagTimeReplaced != 0 {
		w.warnings = append(w.warnings, "the start time is absent or impossible; the time of receipt is shown")
	}
	if r.Flags&query.FlagCut != 0 {
		w.warnings = append(w.warnings, "attributes, events or values were cut to a limit on receipt")
	}
	w.spanHead(w.t.ID, w.idOf(int32(i)), row, w.t.Names[r.Name])
	if r.Parent >= 0 {
		w.references(row, w.t.ID, w.idOf(r.Parent))
	} else {
		w.references(row, w.t.ID, span.SpanID{})
	}
	w.times(r.Start, r.Duration)
	w.spanTail(row)
}

// storedSpan writes a row of the batch as it is stored.
func (w *traceWriter) storedSpan(row int) {
	b := w.b
	w.warnings = w.warnings[:0]
	name := b.String(b.Name[row])
	if name == "" {
		name = query.DeriveName(b, row)
	}
	w.spanHead(b.TraceID[row], b.SpanID[row], row, name)
	w.references(row, b.TraceID[row], b.Parent[row])
	w.times(b.Time[row], b.Duration(row))
	w.spanTail(row)
}

// The trace flags that Jaeger shows.
const (
	flagSampled = 1
	flagDebug   = 2
)

func (w *traceWriter) spanHead(trace span.TraceID, id span.SpanID, row int, name string) {
	dst := appendTraceID(append(w.out.buf, `{"traceID":"`...), trace)
	dst = hex.AppendEncode(append(dst, `","spanID":"`...), id[:])
	dst = append(dst, '"')
	// OTLP's second bit says that the trace id is random; Jaeger's that the span is for debugging.
	flags := w.b.Flags[row] & flagSampled
	if w.b.Mark[row]&span.MarkDebug != 0 {
		flags |= flagSampled | flagDebug
	}
	if flags != 0 {
		dst = strconv.AppendUint(append(dst, `,"flags":`...), uint64(flags), 10)
	}
	w.out.buf = otlpjson.AppendQuoted(append(dst, `,"operationName":`...), name)
}

func (w *traceWriter) times(start, duration int64) {
	dst := strconv.AppendInt(append(w.out.buf, `,"startTime":`...), start/1000, 10)
	w.out.buf = strconv.AppendInt(append(dst, `,"duration":`...), duration/1000, 10)
}

// references writes the parent and the links. Links to nowhere stand in raw traces only.
func (w *traceWriter) references(row int, trace span.TraceID, parent span.SpanID) {
	dst := append(w.out.buf, `,"references":[`...)
	n := 0
	add := func(typ string, trace span.TraceID, id span.SpanID) {
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"refType":"`...), typ...)
		dst = appendTraceID(append(dst, `","traceID":"`...), trace)
		dst = hex.AppendEncode(append(dst, `","spanID":"`...), id[:])
		dst = append(dst, `"}`...)
	}
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
	w.out.buf = append(dst, ']')
}

const (
	refChildOf     = "CHILD_OF"
	refFollowsFrom = "FOLLOWS_FROM"
)

// spanTail writes tags, logs, process and warnings.
func (w *traceWriter) spanTail(row int) {
	w.tags(row)
	w.logs(row)
	process := w.process(row)
	dst := appendProcessID(append(w.out.buf, `,"processID":"`...), process)
	w.out.buf = append(appendTexts(append(dst, `","warnings":`...), w.warnings), '}')
}

// logs writes the events, sorted by time unless raw.
func (w *traceWriter) logs(row int) {
	w.events = append(w.events[:0], w.b.EventsOf(row)...)
	if !w.raw {
		slices.SortStableFunc(w.events, func(x, y span.Event) int { return cmp.Compare(x.Time, y.Time) })
	}
	w.out.buf = append(w.out.buf, `,"logs":[`...)
	for i := range w.events {
		e := &w.events[i]
		if i > 0 {
			w.out.buf = append(w.out.buf, ',')
		}
		w.out.buf = strconv.AppendUint(append(w.out.buf, `{"timestamp":`...), e.Time/1000, 10)
		w.out.buf = append(w.out.buf, `,"fields":`...)
		l := w.list()
		named := false
		w.attrs = append(w.attrs[:0], w.b.AttrsOf(e.Attrs)...)
		for _, a := range w.attrs {
			named = named || w.keys[a.Key].special == keyEvent
		}
		if e.Name.Len > 0 && !named {
			l.text(fieldEvent, w.b.Bytes(e.Name))
		}
		l.attrs(w.tidied(w.attrs))
		l.end()
		w.out.buf = append(w.out.buf, '}')
		w.out.spill()
	}
	w.out.buf = append(w.out.buf, ']')
}

// appendTraceID appends an id as Jaeger writes it: 16 digits where the upper half is zero.
func appendTraceID(dst []byte, id span.TraceID) []byte {
	if id.High() == 0 {
		return hex.AppendEncode(dst, id[8:])
	}
	return hex.AppendEncode(dst, id[:])
}

func appendProcessID(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, 'p'), int64(i)+1, 10)
}

// appendTexts appends a list of texts; null if there are none.
func appendTexts(dst []byte, texts []string) []byte {
	if len(texts) == 0 {
		return append(dst, "null"...)
	}
	for i, t := range texts {
		if i == 0 {
			dst = append(dst, '[')
		} else {
			dst = append(dst, ',')
		}
		dst = otlpjson.AppendQuoted(dst, t)
	}
	return append(dst, ']')
}
