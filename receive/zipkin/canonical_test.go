package zipkin

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
)

// canonical writes a batch as text: a paragraph a span, one fact a line, absent facts left out.
func canonical(b *span.Batch) string {
	var w strings.Builder
	for i := range b.Len() {
		fmt.Fprintf(&w, "span %s %s", b.TraceID[i], b.SpanID[i])
		if !b.Parent[i].IsZero() {
			fmt.Fprintf(&w, " parent=%s", b.Parent[i])
		}
		fmt.Fprintf(&w, " %s %q\n", b.Kind[i], b.Bytes(b.Name[i]))
		fmt.Fprintf(&w, "  time %d +%d\n", b.Start[i], b.End[i]-b.Start[i])
		if b.Status[i] != span.StatusUnset || b.StatusMessage[i].Len > 0 {
			fmt.Fprintf(&w, "  status %s %q\n", b.Status[i], b.Bytes(b.StatusMessage[i]))
		}
		if m := marks(b.Mark[i]); m != "" {
			fmt.Fprintf(&w, "  marks%s\n", m)
		}
		if b.TraceState[i].Len > 0 {
			fmt.Fprintf(&w, "  tracestate %q\n", b.Bytes(b.TraceState[i]))
		}
		fmt.Fprintf(&w, "  resource%s\n", attrsText(b, b.Resources[b.Resource[i]].Attrs))
		if s := b.Scopes[b.Scope[i]]; s.Name.Len+s.Version.Len > 0 {
			fmt.Fprintf(&w, "  scope %q %q\n", b.Bytes(s.Name), b.Bytes(s.Version))
		}
		for _, a := range b.AttrsOf(b.SpanAttrs[i]) {
			fmt.Fprintf(&w, "  %s\n", attrText(b, a))
		}
		for _, e := range b.EventsOf(i) {
			fmt.Fprintf(&w, "  event %d %q%s", e.Time, b.Bytes(e.Name), attrsText(b, e.Attrs))
			if e.Dropped > 0 {
				fmt.Fprintf(&w, " dropped=%d", e.Dropped)
			}
			w.WriteByte('\n')
		}
		for _, l := range b.LinksOf(i) {
			fmt.Fprintf(&w, "  link %s %s %q%s dropped=%d\n", l.TraceID, l.SpanID, b.Bytes(l.TraceState), attrsText(b, l.Attrs), l.Dropped)
		}
	}
	for _, r := range b.Refused {
		fmt.Fprintf(&w, "refused %s %d\n", r.Reason, r.Spans)
	}
	return w.String()
}

func marks(m span.Mark) (s string) {
	for _, k := range []struct {
		m    span.Mark
		name string
	}{{span.MarkShared, "shared"}, {span.MarkDebug, "debug"}, {span.MarkProxy, "proxy"}} {
		if m&k.m != 0 {
			s += " " + k.name
		}
	}
	return s
}

func attrsText(b *span.Batch, r span.Range) (s string) {
	for _, a := range b.AttrsOf(r) {
		s += " " + attrText(b, a)
	}
	return s
}

func attrText(b *span.Batch, a span.Attr) string {
	v := a.Value()
	text := ""
	switch v.Type {
	case span.TypeNull:
		text = "null"
	case span.TypeString:
		text = strconv.Quote(string(b.Bytes(v.Str())))
	case span.TypeInt:
		text = strconv.FormatInt(v.Int(), 10)
	case span.TypeDouble:
		text = strconv.FormatFloat(v.Double(), 'g', -1, 64) + "f"
	case span.TypeBool:
		text = strconv.FormatBool(v.Bool())
	default:
		text = fmt.Sprintf("type%d:%s", v.Type, hex.EncodeToString(b.Bytes(v.Str())))
	}
	return string(b.Key(a)) + "=" + text
}
