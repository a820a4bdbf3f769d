package jaegerapi

import (
	"encoding/hex"
	"strconv"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// traceWriter writes traces in Jaeger's JSON one after the other. Its tables are for one trace at a time.
type traceWriter struct {
	reading
	out       *answer
	written   int // traces
	processes processes
	spanTags  tagList // of the span being written; here, so that it is not allocated for each
}

// next writes a trace as the next element of a list. It reports whether the client is still there.
func (w *traceWriter) next(t *query.Trace) bool {
	if w.written++; w.written > 1 {
		w.out.buf = append(w.out.buf, ',')
	}
	w.begin(t)
	w.processes.reset()

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
		if !w.raw || warning.Kind == query.WarnTooManySpans || warning.Kind == query.WarnAway {
			w.warnings = append(w.warnings, warning.Message)
		}
	}
	o.buf = append(appendTexts(o.buf, w.warnings), '}')
	return o.spill()
}

// span writes a row of the assembled trace.
func (w *traceWriter) span(i int) {
	r := &w.t.Rows[i]
	row := int(r.Span)
	w.warnOf(r)
	w.spanHead(w.t.ID, w.idOf(int32(i)), row, w.t.Names[r.Name])
	w.references(row, w.t.ID, w.parentOf(r))
	w.times(r.Start, r.Duration)
	w.spanTail(row)
}

// storedSpan writes a row of the batch as it is stored.
func (w *traceWriter) storedSpan(row int) {
	b := w.b
	w.warnings = w.warnings[:0]
	w.spanHead(b.TraceID[row], b.SpanID[row], row, w.storedName(row))
	w.references(row, b.TraceID[row], b.Parent[row])
	w.times(b.Time[row], b.Duration(row))
	w.spanTail(row)
}

func (w *traceWriter) spanHead(trace span.TraceID, id span.SpanID, row int, name string) {
	dst := appendTraceID(append(w.out.buf, `{"traceID":"`...), trace)
	dst = hex.AppendEncode(append(dst, `","spanID":"`...), id[:])
	dst = append(dst, '"')
	if flags := w.flags(row); flags != 0 {
		dst = strconv.AppendUint(append(dst, `,"flags":`...), uint64(flags), 10)
	}
	w.out.buf = otlpjson.AppendQuoted(append(dst, `,"operationName":`...), name)
}

func (w *traceWriter) times(start, duration int64) {
	dst := strconv.AppendInt(append(w.out.buf, `,"startTime":`...), start/1000, 10)
	w.out.buf = strconv.AppendInt(append(dst, `,"duration":`...), duration/1000, 10)
}

// references writes the parent and the links.
func (w *traceWriter) references(row int, trace span.TraceID, parent span.SpanID) {
	dst := append(w.out.buf, `,"references":[`...)
	n := 0
	w.eachReference(row, trace, parent, func(typ string, trace span.TraceID, id span.SpanID) {
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"refType":"`...), typ...)
		dst = appendTraceID(append(dst, `","traceID":"`...), trace)
		dst = hex.AppendEncode(append(dst, `","spanID":"`...), id[:])
		dst = append(dst, `"}`...)
	})
	w.out.buf = append(dst, ']')
}

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
	w.readEvents(row)
	w.out.buf = append(w.out.buf, `,"logs":[`...)
	for i := range w.events {
		e := &w.events[i]
		if i > 0 {
			w.out.buf = append(w.out.buf, ',')
		}
		w.out.buf = strconv.AppendUint(append(w.out.buf, `{"timestamp":`...), e.Time/1000, 10)
		w.out.buf = append(w.out.buf, `,"fields":`...)
		l := w.list()
		if named := w.readEvent(e); e.Name.Len > 0 && !named {
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
