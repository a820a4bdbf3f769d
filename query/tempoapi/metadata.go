package tempoapi

import (
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/span"
)

// rootMissing stands for the service of a root that is not here, so that clients show a word that people know from Tempo.
const rootMissing = "<root span not yet received>"

// maxMessage is the bytes of one message of a stream; Grafana takes 4 MiB.
const maxMessage = 2 << 20

// traceMetadata is a found trace. Its first set stands in spanSet too, and every set has a span: Kiali reads the one without
// looking for the other.
func traceMetadata(t *traceql.TraceResult) *tempopb.TraceSearchMetadata {
	m := &tempopb.TraceSearchMetadata{
		TraceID: shortTraceID(t.TraceID), RootServiceName: text(t.RootService), RootTraceName: text(t.RootName),
		StartTimeUnixNano: uint64(t.Start), DurationMs: clamped((t.End - t.Start) / 1e6),
		ServiceStats: make(map[string]*tempopb.ServiceStats, len(t.Services)),
	}
	if t.RootMissing {
		m.RootServiceName, m.RootTraceName = rootMissing, ""
	}
	for _, s := range t.Services {
		m.ServiceStats[text(s.Name)] = &tempopb.ServiceStats{SpanCount: uint32(s.Spans), ErrorCount: uint32(s.Errors)}
	}
	for i := range t.Sets {
		m.SpanSets = append(m.SpanSets, spanSet(&t.Sets[i]))
	}
	if len(m.SpanSets) > 0 {
		m.SpanSet = m.SpanSets[0]
	}
	for proto.Size(m) > maxMessage && shortened(m) {
	}
	return m
}

// shortened halves the listed spans of a trace that is too large for a message; false if each set has one span left.
func shortened(m *tempopb.TraceSearchMetadata) (any bool) {
	for _, s := range m.SpanSets {
		if n := len(s.Spans); n > 1 {
			s.Spans, any = s.Spans[:n/2], true
		}
	}
	return any
}

func spanSet(s *traceql.SpanSet) *tempopb.SpanSet {
	out := &tempopb.SpanSet{Matched: uint32(s.Matched)}
	for i := range s.Spans {
		p := &s.Spans[i]
		out.Spans = append(out.Spans, &tempopb.Span{
			SpanID: p.SpanID.String(), Name: text(p.Name), StartTimeUnixNano: uint64(p.Start), DurationNanos: uint64(p.Duration), Attributes: namedAttributes(p.Attrs),
		})
	}
	for _, a := range s.Attrs {
		out.Attributes = append(out.Attributes, keyValue(a.Name, a.Value))
	}
	return out
}

// namedAttributes is what a query names of a span under the bare names that clients look for, each once.
func namedAttributes(attrs []traceql.Attr) (out []*tempopb.KeyValue) {
	seen := make(map[string]bool, len(attrs))
	for _, a := range attrs {
		name, ok := bareName(a.Name)
		if !ok || seen[name] || a.Value.IsNil() {
			continue
		}
		seen[name] = true
		v := a.Value
		// What a span says through one event or link is a plain value to clients.
		if list := v.List(); len(list) == 1 && (strings.HasPrefix(a.Name, "event") || strings.HasPrefix(a.Name, "link")) {
			v = list[0]
		}
		out = append(out, keyValue(name, v))
	}
	return out
}

// bareName is an attribute's name without its scope, or an intrinsic's canonical one; false for what stands elsewhere in the
// answer.
func bareName(written string) (name string, ok bool) {
	switch written {
	case "name", "span:name", "duration", "span:duration", "traceDuration", "trace:duration", "rootName", "trace:rootName",
		"rootServiceName", "trace:rootService", "trace:id", "span:id":
		return "", false
	case "span:status", "span:kind", "span:statusMessage":
		return strings.TrimPrefix(written, "span:"), true
	}
	for _, s := range attributeScopes {
		if rest, cut := strings.CutPrefix(written, s.word+"."); cut {
			return unquotedKey(rest), true
		}
	}
	if rest, cut := strings.CutPrefix(written, "."); cut {
		return unquotedKey(rest), true
	}
	return written, true
}

func unquotedKey(written string) string {
	if key, ok := attributeKey(written); ok {
		return key
	}
	return written
}

func keyValue(key string, v traceql.Value) *tempopb.KeyValue {
	return &tempopb.KeyValue{Key: text(key), Value: anyValue(v)}
}

// anyValue is a value as OpenTelemetry has it. Words and durations are strings, as is nil.
func anyValue(v traceql.Value) *tempopb.AnyValue {
	switch v.Type {
	case traceql.TypeInt:
		return &tempopb.AnyValue{Value: &tempopb.AnyValue_IntValue{IntValue: v.Int()}}
	case traceql.TypeFloat:
		return &tempopb.AnyValue{Value: &tempopb.AnyValue_DoubleValue{DoubleValue: v.Float()}}
	case traceql.TypeBool:
		return &tempopb.AnyValue{Value: &tempopb.AnyValue_BoolValue{BoolValue: v.Bool()}}
	case traceql.TypeArray:
		list := &tempopb.ArrayValue{}
		for _, e := range v.List() {
			list.Values = append(list.Values, anyValue(e))
		}
		return &tempopb.AnyValue{Value: &tempopb.AnyValue_ArrayValue{ArrayValue: list}}
	default:
		return &tempopb.AnyValue{Value: &tempopb.AnyValue_StringValue{StringValue: text(v.String())}}
	}
}

// shortTraceID is an id as Tempo's search writes it: hexadecimal without leading zeros.
func shortTraceID(id span.TraceID) string { return strings.TrimLeft(id.String(), "0") }

func searchMetrics(r *traceql.SearchResult) *tempopb.SearchMetrics {
	return &tempopb.SearchMetrics{
		InspectedTraces: clamped(r.InspectedTraces), InspectedSpans: uint64(max(r.InspectedSpans, 0)), InspectedBytes: uint64(max(r.Read.Bytes, 0)),
		TotalBlocks: clamped(r.Read.Of), TotalJobs: clamped(r.Read.Of), CompletedJobs: clamped(r.Read.Blocks),
	}
}

// clamped is a count as the messages hold it.
func clamped(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }
