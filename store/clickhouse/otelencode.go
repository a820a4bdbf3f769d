package clickhouse

import (
	"encoding/base64"
	"math"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/match"
)

// pair is the elements of maps, which are lists of a key and a value.
type pair struct {
	keys   *words
	values proto.ColStr
}

// Type implements proto.Column, as do the methods below.
func (p *pair) Type() proto.ColumnType { return "Tuple(LowCardinality(String), String)" }
func (p *pair) Rows() int              { return p.values.Rows() }

func (p *pair) Reset() {
	p.keys.Reset()
	p.values.Reset()
}

func (p *pair) EncodeState(b *proto.Buffer) { p.keys.EncodeState(b) }

func (p *pair) EncodeColumn(b *proto.Buffer) {
	p.keys.EncodeColumn(b)
	p.values.EncodeColumn(b)
}

func (p *pair) WriteColumn(w *proto.Writer) {
	p.keys.WriteColumn(w)
	p.values.WriteColumn(w)
}

func (p *pair) DecodeColumn(r *proto.Reader, rows int) error {
	if err := p.keys.DecodeColumn(r, rows); err != nil {
		return err
	}
	return p.values.DecodeColumn(r, rows)
}

// mapColumn is a column of maps.
type mapColumn struct {
	*list
	pair *pair
}

func newMaps() mapColumn {
	p := &pair{keys: newWords()}
	return mapColumn{newList(p), p}
}

// Type implements proto.Column.
func (m mapColumn) Type() proto.ColumnType { return "Map(LowCardinality(String), String)" }

// otelEncoder turns batches into blocks of the exporter's table. It keeps its memory from batch to batch.
type otelEncoder struct {
	scoped bool

	timestamp                                                                      *proto.ColDateTime64
	traceID, spanID, parent, traceState, message, scope, version                   proto.ColStr
	name, kind, service, status                                                    *words
	duration                                                                       proto.ColUInt64
	resources, spans, eventAttrs, linkAttrs                                        mapColumn
	eventTime                                                                      *proto.ColDateTime64
	eventName                                                                      *words
	linkTrace, linkSpan, linkState                                                 proto.ColStr
	eventTimes, eventNames, eventMaps, linkTraces, linkSpans, linkStates, linkMaps *list

	in      proto.Input
	b       *span.Batch
	seen    []uint32 // per key of the batch: the owner that had it last
	owner   uint32
	kept    []span.Attr
	scratch []byte
}

func newOtelEncoder(scoped bool) *otelEncoder {
	e := &otelEncoder{scoped: scoped, timestamp: newInstants(), eventTime: newInstants(), name: newWords(), kind: newWords(), service: newWords(), status: newWords(),
		eventName: newWords(), resources: newMaps(), spans: newMaps(), eventAttrs: newMaps(), linkAttrs: newMaps()}
	e.eventTimes, e.eventNames, e.eventMaps = newList(e.eventTime), newList(e.eventName), newList(e.eventAttrs)
	e.linkTraces, e.linkSpans, e.linkStates, e.linkMaps = newList(&e.linkTrace), newList(&e.linkSpan), newList(&e.linkState), newList(e.linkAttrs)
	add := func(name string, data proto.ColInput) {
		e.in = append(e.in, proto.InputColumn{Name: name, Data: data})
	}
	add("Timestamp", e.timestamp)
	add("TraceId", &e.traceID)
	add("SpanId", &e.spanID)
	add("ParentSpanId", &e.parent)
	add("TraceState", &e.traceState)
	add("SpanName", e.name)
	add("SpanKind", e.kind)
	add("ServiceName", e.service)
	add("ResourceAttributes", e.resources)
	if scoped {
		add("ScopeName", &e.scope)
		add("ScopeVersion", &e.version)
	}
	add("SpanAttributes", e.spans)
	add("Duration", &e.duration)
	add("StatusCode", e.status)
	add("StatusMessage", &e.message)
	add("Events.Timestamp", e.eventTimes)
	add("Events.Name", e.eventNames)
	add("Events.Attributes", e.eventMaps)
	add("Links.TraceId", e.linkTraces)
	add("Links.SpanId", e.linkSpans)
	add("Links.TraceState", e.linkStates)
	add("Links.Attributes", e.linkMaps)
	return e
}

func (e *otelEncoder) input() proto.Input { return e.in }
func (e *otelEncoder) rows() int          { return e.traceID.Rows() }

func (e *otelEncoder) reset() {
	for _, c := range e.in {
		c.Data.(proto.Resettable).Reset()
	}
}

// encode adds rows of a batch to the block. The table does not tell who wrote it.
func (e *otelEncoder) encode(b *span.Batch, rows []uint32, _, _ uint64) {
	e.b = b
	e.owner = 0
	e.seen = append(e.seen[:0], make([]uint32, len(b.Keys))...)
	for _, row := range rows {
		e.row(int(row))
	}
	e.b = nil
}

func (e *otelEncoder) row(row int) {
	b := e.b
	resource, scope := b.Resources[b.Resource[row]], b.Scopes[b.Scope[row]]
	e.timestamp.Data = append(e.timestamp.Data, proto.DateTime64(b.Time[row]))
	e.traceID.Append(b.TraceID[row].String())
	e.spanID.Append(idText(b.SpanID[row]))
	e.parent.Append(idText(b.Parent[row]))
	e.traceState.AppendBytes(b.Bytes(b.TraceState[row]))
	e.name.add(b.Bytes(b.Name[row]))
	e.kind.add(wordOf(otelKinds[:], int(b.Kind[row])))
	e.service.add(b.Bytes(b.Service[row]))
	e.attrs(e.resources, resource.Attrs)
	e.resources.end()
	e.attrs(e.spans, b.SpanAttrs[row])
	name, version := b.Bytes(scope.Name), b.Bytes(scope.Version)
	if e.scoped {
		e.scope.AppendBytes(name)
		e.version.AppendBytes(version)
	} else {
		e.text(e.spans, "otel.scope.name", name)
		e.text(e.spans, "otel.scope.version", version)
	}
	e.spans.end()
	e.duration = append(e.duration, uint64(b.Duration(row)))
	e.status.add(wordOf(otelStatuses[:], int(b.Status[row])))
	e.message.AppendBytes(b.Bytes(b.StatusMessage[row]))
	for _, v := range b.EventsOf(row) {
		e.eventTime.Data = append(e.eventTime.Data, proto.DateTime64(min(v.Time, math.MaxInt64)))
		e.eventName.add(b.Bytes(v.Name))
		e.attrs(e.eventAttrs, v.Attrs)
		e.eventAttrs.end()
	}
	for _, l := range b.LinksOf(row) {
		e.linkTrace.Append(idText(l.TraceID))
		e.linkSpan.Append(idText(l.SpanID))
		e.linkState.AppendBytes(b.Bytes(l.TraceState))
		e.attrs(e.linkAttrs, l.Attrs)
		e.linkAttrs.end()
	}
	for _, l := range []*list{e.eventTimes, e.eventNames, e.eventMaps, e.linkTraces, e.linkSpans, e.linkStates, e.linkMaps} {
		l.end()
	}
}

// idText is an id as the exporter writes it: empty if it is absent.
func idText(id interface {
	IsZero() bool
	String() string
}) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// wordOf is the word of a number, that of 0 for numbers without one.
func wordOf(words []string, n int) []byte {
	if n >= len(words) {
		n = 0
	}
	return []byte(words[n])
}

// attrs adds an owner's attributes, of repeated keys the last; the caller ends the map.
func (e *otelEncoder) attrs(m mapColumn, r span.Range) {
	attrs := e.b.AttrsOf(r)
	e.owner++
	e.kept = e.kept[:0]
	for i := len(attrs) - 1; i >= 0; i-- {
		if a := attrs[i]; e.seen[a.Key] != e.owner {
			e.seen[a.Key] = e.owner
			e.kept = append(e.kept, a)
		}
	}
	for i := len(e.kept) - 1; i >= 0; i-- {
		a := e.kept[i]
		m.pair.keys.add(e.b.Key(a))
		e.scratch = appendOtelText(e.scratch[:0], e.b, a.Value())
		m.pair.values.AppendBytes(e.scratch)
	}
}

func (e *otelEncoder) text(m mapColumn, key string, value []byte) {
	if len(value) > 0 {
		m.pair.keys.add([]byte(key))
		m.pair.values.AppendBytes(value)
	}
}

// appendOtelText writes a value as the exporter does: scalars as their text, bytes as base64, lists and maps as JSON.
func appendOtelText(dst []byte, b *span.Batch, v span.Value) []byte {
	switch v.Type {
	case span.TypeNull:
		return dst
	case span.TypeBytes:
		return base64.StdEncoding.AppendEncode(dst, b.Bytes(v.Str()))
	}
	if text, ok := match.AppendText(dst, b, v); ok {
		return text
	}
	return otlpjson.AppendValue(dst, b, v)
}
