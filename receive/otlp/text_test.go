package otlp

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/span"
)

// batchText writes what rows say, one line a thing, resource and scope with every row: it is equal for two batches that say
// the same, and for the collector's data model (pdataText).
func batchText(b *span.Batch) string {
	var w strings.Builder
	attrs := func(indent string, r span.Range) {
		for _, a := range b.AttrsOf(r) {
			fmt.Fprintf(&w, "%s%q = %s\n", indent, b.Key(a), valueText(b, a.Value()))
		}
	}
	for i := range b.Len() {
		fmt.Fprintf(&w, "span %s %s parent %s %q kind %d\n", b.TraceID[i], b.SpanID[i], b.Parent[i], b.String(b.Name[i]), b.Kind[i])
		fmt.Fprintf(&w, " time %d %d state %q flags %x dropped %d %d %d\n", b.Start[i], b.End[i], b.String(b.TraceState[i]), b.Flags[i],
			b.DroppedAttrs[i], b.DroppedEvents[i], b.DroppedLinks[i])
		fmt.Fprintf(&w, " status %d %q\n", b.Status[i], b.String(b.StatusMessage[i]))
		attrs(" ", b.SpanAttrs[i])
		for _, e := range b.EventsOf(i) {
			fmt.Fprintf(&w, " event %d %q dropped %d\n", e.Time, b.String(e.Name), e.Dropped)
			attrs("  ", e.Attrs)
		}
		for _, l := range b.LinksOf(i) {
			fmt.Fprintf(&w, " link %s %s %q flags %x dropped %d\n", l.TraceID, l.SpanID, b.String(l.TraceState), l.Flags, l.Dropped)
			attrs("  ", l.Attrs)
		}
		r := b.Resources[b.Resource[i]]
		fmt.Fprintf(&w, " resource %q dropped %d\n", b.String(r.SchemaURL), r.Dropped)
		attrs("  ", r.Attrs)
		s := b.Scopes[b.Scope[i]]
		fmt.Fprintf(&w, " scope %q %q %q dropped %d\n", b.String(s.Name), b.String(s.Version), b.String(s.SchemaURL), s.Dropped)
		attrs("  ", s.Attrs)
	}
	return w.String()
}

func valueText(b *span.Batch, v span.Value) string {
	switch v.Type {
	case span.TypeString:
		return fmt.Sprintf("%q", b.Bytes(v.Str()))
	case span.TypeBytes:
		return fmt.Sprintf("bytes %x", b.Bytes(v.Str()))
	case span.TypeInt:
		return fmt.Sprintf("int %d", v.Int())
	case span.TypeDouble:
		return fmt.Sprintf("double %x", math.Float64bits(v.Double()))
	case span.TypeBool:
		return fmt.Sprintf("bool %t", v.Bool())
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return fmt.Sprintf("array %d ", v.Type) + otlpText(b.Bytes(v.Str()), true)
	case span.TypeKVList:
		return "list " + otlpText(b.Bytes(v.Str()), false)
	default:
		return "null"
	}
}

// otlpText reads canonical ArrayValue or KeyValueList bytes with protobuf's own primitives.
func otlpText(p []byte, array bool) string {
	var parts []string
	for len(p) > 0 {
		body, rest := mustField(p, 1)
		p = rest
		if array {
			parts = append(parts, anyText(body))
			continue
		}
		key := []byte(nil)
		if body[0] == 1<<3|bytes_ {
			key, body = mustField(body, 1)
		}
		value, rest := mustField(body, 2)
		if len(rest) > 0 {
			panic("more than key and value")
		}
		parts = append(parts, fmt.Sprintf("%q:", key)+anyText(value))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func mustField(p []byte, number protowire.Number) (body, rest []byte) {
	num, typ, n := protowire.ConsumeTag(p)
	if n < 0 || num != number || typ != protowire.BytesType {
		panic(fmt.Sprintf("not canonical: %x", p))
	}
	body, k := protowire.ConsumeBytes(p[n:])
	if k < 0 || len(protowire.AppendBytes(nil, body)) != k {
		panic(fmt.Sprintf("not canonical: %x", p))
	}
	return body, p[n+k:]
}

func anyText(p []byte) string {
	if len(p) == 0 {
		return "null"
	}
	num, _, n := protowire.ConsumeTag(p)
	p = p[n:]
	switch num {
	case anyString:
		s, _ := protowire.ConsumeBytes(p)
		return fmt.Sprintf("%q", s)
	case anyBool:
		v, _ := protowire.ConsumeVarint(p)
		return fmt.Sprintf("bool %t", v != 0)
	case anyInt:
		v, _ := protowire.ConsumeVarint(p)
		return fmt.Sprintf("int %d", int64(v))
	case anyDouble:
		v, _ := protowire.ConsumeFixed64(p)
		return fmt.Sprintf("double %x", v)
	case anyArray, anyKVList:
		body, _ := protowire.ConsumeBytes(p)
		return otlpText(body, num == anyArray)
	case anyBytes:
		body, _ := protowire.ConsumeBytes(p)
		return fmt.Sprintf("bytes %x", body)
	default:
		panic(fmt.Sprintf("member %d", num))
	}
}

// pdataText is batchText of the collector's data model. Spans that the receiver refuses by their ids are left out.
func pdataText(td ptrace.Traces) string {
	var w strings.Builder
	attrs := func(indent string, m pcommon.Map) {
		for k, v := range m.All() {
			fmt.Fprintf(&w, "%s%q = %s\n", indent, text(k), pvalueText(v, true))
		}
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				if s.TraceID().IsEmpty() || s.SpanID().IsEmpty() {
					continue
				}
				kind, status := uint32(s.Kind()), uint32(s.Status().Code())
				if kind > 5 {
					kind = 0
				}
				if status > 2 {
					status = 0
				}
				fmt.Fprintf(&w, "span %s %s parent %s %q kind %d\n", span.TraceID(s.TraceID()), span.SpanID(s.SpanID()), span.SpanID(s.ParentSpanID()), text(s.Name()), kind)
				fmt.Fprintf(&w, " time %d %d state %q flags %x dropped %d %d %d\n", s.StartTimestamp(), s.EndTimestamp(), text(s.TraceState().AsRaw()), s.Flags(),
					s.DroppedAttributesCount(), s.DroppedEventsCount(), s.DroppedLinksCount())
				fmt.Fprintf(&w, " status %d %q\n", status, text(s.Status().Message()))
				attrs(" ", s.Attributes())
				for _, e := range s.Events().All() {
					fmt.Fprintf(&w, " event %d %q dropped %d\n", e.Timestamp(), text(e.Name()), e.DroppedAttributesCount())
					attrs("  ", e.Attributes())
				}
				for _, l := range s.Links().All() {
					fmt.Fprintf(&w, " link %s %s %q flags %x dropped %d\n", span.TraceID(l.TraceID()), span.SpanID(l.SpanID()), text(l.TraceState().AsRaw()), l.Flags(), l.DroppedAttributesCount())
					attrs("  ", l.Attributes())
				}
				fmt.Fprintf(&w, " resource %q dropped %d\n", text(rs.SchemaUrl()), rs.Resource().DroppedAttributesCount())
				attrs("  ", rs.Resource().Attributes())
				fmt.Fprintf(&w, " scope %q %q %q dropped %d\n", text(ss.Scope().Name()), text(ss.Scope().Version()), text(ss.SchemaUrl()), ss.Scope().DroppedAttributesCount())
				attrs("  ", ss.Scope().Attributes())
			}
		}
	}
	return w.String()
}

func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// pvalueText is valueText; elements of arrays are written without the array's type.
func pvalueText(v pcommon.Value, top bool) string {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return fmt.Sprintf("%q", text(v.Str()))
	case pcommon.ValueTypeInt:
		return fmt.Sprintf("int %d", v.Int())
	case pcommon.ValueTypeDouble:
		return fmt.Sprintf("double %x", math.Float64bits(v.Double()))
	case pcommon.ValueTypeBool:
		return fmt.Sprintf("bool %t", v.Bool())
	case pcommon.ValueTypeBytes:
		return fmt.Sprintf("bytes %x", v.Bytes().AsRaw())
	case pcommon.ValueTypeSlice:
		var parts []string
		kinds := make(map[pcommon.ValueType]bool)
		for _, e := range v.Slice().All() {
			parts = append(parts, pvalueText(e, false))
			kinds[e.Type()] = true
		}
		out := "[" + strings.Join(parts, " ") + "]"
		if !top {
			return out
		}
		t := span.TypeArray
		if len(kinds) == 0 {
			t = span.TypeStrings
		}
		for k := range kinds {
			scalar := map[pcommon.ValueType]span.Type{pcommon.ValueTypeStr: span.TypeStrings, pcommon.ValueTypeInt: span.TypeInts,
				pcommon.ValueTypeDouble: span.TypeDoubles, pcommon.ValueTypeBool: span.TypeBools}
			if of, ok := scalar[k]; ok && len(kinds) == 1 {
				t = of
			}
		}
		return fmt.Sprintf("array %d ", t) + out
	case pcommon.ValueTypeMap:
		var parts []string
		for k, e := range v.Map().All() {
			parts = append(parts, fmt.Sprintf("%q:", text(k))+pvalueText(e, false))
		}
		out := "[" + strings.Join(parts, " ") + "]"
		if top {
			return "list " + out
		}
		return out
	default:
		return "null"
	}
}

// pdataDecode decodes with the collector's library.
func pdataDecode(body []byte) (ptrace.Traces, error) {
	req := ptraceotlp.NewExportRequest()
	err := req.UnmarshalProto(body)
	return req.Traces(), err
}

func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s: line %d:\n got %s\nwant %s", what, i, lineAt(g, i), lineAt(w, i))
		}
	}
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end)"
}
