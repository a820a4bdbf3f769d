package storetest

import (
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
)

// Print writes spans in text form, sorted by trace, effective start and span id: equal text means equal spans with equal tables
// behind them. Batch.Received and how resources and scopes are shared are not written.
func Print(batches ...*span.Batch) string {
	type block struct {
		key  string
		text string
	}
	var blocks []block
	for _, b := range batches {
		for row := range b.Len() {
			blocks = append(blocks, block{
				fmt.Sprintf("%s %020d %s", b.TraceID[row], uint64(b.Time[row])+1<<63, b.SpanID[row]),
				printRow(b, row),
			})
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return strings.Compare(a.key+"\x00"+a.text, b.key+"\x00"+b.text) })
	var out strings.Builder
	for _, b := range blocks {
		out.WriteString(b.text)
	}
	return out.String()
}

// printRow writes one span with its events and links.
func printRow(b *span.Batch, row int) string {
	var w strings.Builder
	parent := "-"
	if !b.Parent[row].IsZero() {
		parent = short(b.Parent[row].String())
	}
	kind := b.Kind[row].String()
	if b.Kind[row] > span.KindConsumer {
		kind = strconv.Itoa(int(b.Kind[row]))
	}
	service := b.String(b.Service[row])
	fmt.Fprintf(&w, "%s %s %s %s %s %s %s %s", short(b.TraceID[row].String()), short(b.SpanID[row].String()), parent,
		printName(service), kind, printName(b.String(b.Name[row])), printInstant(b.Start[row]), printEnd(b.Start[row], b.End[row]))
	printAttrs(&w, b, "", b.SpanAttrs[row])
	printResource(&w, b, b.Resources[b.Resource[row]], service)
	printScope(&w, b, b.Scopes[b.Scope[row]])
	text := func(name string, s span.Str) { printText(&w, b, name, s) }
	if s := b.Status[row]; s != span.StatusUnset {
		word := s.String()
		if s > span.StatusError {
			word = strconv.Itoa(int(s))
		}
		fmt.Fprintf(&w, " @status=%s", word)
	}
	text("message", b.StatusMessage[row])
	text("state", b.TraceState[row])
	printNumber(&w, "flags", b.Flags[row])
	text("group", b.Group[row])
	text("namespace", b.Namespace[row])
	if b.Weight[row] != 1 {
		fmt.Fprintf(&w, " @weight=%s", strconv.FormatFloat(b.Weight[row], 'g', -1, 64))
	}
	if b.Time[row] != int64(b.Start[row]) {
		fmt.Fprintf(&w, " @time=%s", printInstant(uint64(b.Time[row])))
	}
	var marks []string
	for i, n := range markNames {
		if b.Mark[row]&(1<<i) != 0 {
			marks = append(marks, n)
		}
	}
	if len(marks) > 0 {
		fmt.Fprintf(&w, " @mark=%s", strings.Join(marks, ","))
	}
	if a, e, l := b.DroppedAttrs[row], b.DroppedEvents[row], b.DroppedLinks[row]; a+e+l > 0 {
		fmt.Fprintf(&w, " @dropped=%d,%d,%d", a, e, l)
	}
	w.WriteByte('\n')
	for _, e := range b.EventsOf(row) {
		fmt.Fprintf(&w, "  event %s %s", printName(b.String(e.Name)), printInstant(e.Time))
		printAttrs(&w, b, "", e.Attrs)
		printNumber(&w, "dropped", e.Dropped)
		w.WriteByte('\n')
	}
	for _, l := range b.LinksOf(row) {
		fmt.Fprintf(&w, "  link %s %s", printID(l.TraceID), printID(l.SpanID))
		printAttrs(&w, b, "", l.Attrs)
		printText(&w, b, "state", l.TraceState)
		printNumber(&w, "flags", l.Flags)
		printNumber(&w, "dropped", l.Dropped)
		w.WriteByte('\n')
	}
	return w.String()
}

func printID(id interface {
	IsZero() bool
	String() string
}) string {
	if id.IsZero() {
		return "-"
	}
	return short(id.String())
}

// short leaves out leading zeros.
func short(id string) string { return strings.TrimLeft(id, "0") }

func printText(w *strings.Builder, b *span.Batch, name string, s span.Str) {
	if s.Len > 0 {
		fmt.Fprintf(w, " @%s=%s", name, quoteUnless(wordForm, b.String(s)))
	}
}

func printNumber(w *strings.Builder, name string, n uint32) {
	if n > 0 {
		fmt.Fprintf(w, " @%s=%d", name, n)
	}
}

func printResource(w *strings.Builder, b *span.Batch, r span.Resource, service string) {
	attrs := r.Attrs
	name := b.FindString(attrs, "service.name")
	switch {
	case attrs.Len > 0 && service != "" && string(b.Key(b.Attrs[attrs.Off])) == "service.name" && string(name) == service &&
		count(b, attrs, "service.name") == 1:
		attrs.Off++
		attrs.Len--
	case service != "" && count(b, attrs, "service.name") == 0:
		w.WriteString(" @bare")
	}
	printAttrs(w, b, "resource:", attrs)
	printText(w, b, "resource.url", r.SchemaURL)
	printNumber(w, "resource.dropped", r.Dropped)
}

func count(b *span.Batch, r span.Range, key string) (n int) {
	for _, a := range b.AttrsOf(r) {
		if string(b.Key(a)) == key {
			n++
		}
	}
	return n
}

func printScope(w *strings.Builder, b *span.Batch, s span.Scope) {
	printText(w, b, "scope", s.Name)
	printText(w, b, "scope.version", s.Version)
	printAttrs(w, b, "scope:", s.Attrs)
	printText(w, b, "scope.url", s.SchemaURL)
	printNumber(w, "scope.dropped", s.Dropped)
}

func printAttrs(w *strings.Builder, b *span.Batch, prefix string, r span.Range) {
	for _, a := range b.AttrsOf(r) {
		fmt.Fprintf(w, " %s%s=%s", prefix, quoteUnless(keyForm, string(b.Key(a))), PrintValue(b, a.Value()))
	}
}

var (
	keyForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.\-/]*$`)
	wordForm = regexp.MustCompile(`^[A-Za-z_/][A-Za-z0-9_.\-/*=]*$`)
)

func quoteUnless(form *regexp.Regexp, s string) string {
	if form.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

func printName(s string) string {
	if s == "" {
		return "-"
	}
	return quoteUnless(wordForm, s)
}

// PrintValue writes one value in text form.
func PrintValue(b *span.Batch, v span.Value) string {
	switch v.Type {
	case span.TypeNull:
		return "null"
	case span.TypeString:
		s := b.String(v.Str())
		if _, other := scalar(s); other {
			return strconv.Quote(s)
		}
		return quoteUnless(wordForm, s)
	case span.TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case span.TypeDouble:
		return printDouble(v.Double())
	case span.TypeBool:
		return strconv.FormatBool(v.Bool())
	}
	raw := b.Bytes(v.Str())
	if list, ok := elements(raw); ok && v.Type >= span.TypeStrings && v.Type <= span.TypeBools {
		words := make([]string, len(list))
		for i, e := range list {
			switch e := e.(type) {
			case string:
				words[i] = strconv.Quote(e)
			case float64:
				words[i] = printDouble(e)
			default:
				words[i] = fmt.Sprint(e)
			}
		}
		text := "[" + strings.Join(words, ",") + "]"
		if typ, again, err := encodeArray(text); err == nil && typ == v.Type && string(again) == string(raw) {
			return text
		}
	}
	for name, typ := range arenaTypes {
		if typ == v.Type {
			return name + ":" + hex.EncodeToString(raw)
		}
	}
	return fmt.Sprintf("type%d:%s", v.Type, hex.EncodeToString(raw))
}

// printDouble writes a double so that it is not read as an int.
func printDouble(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, ".e") {
		return s
	}
	return s + ".0"
}

// farAway is where a number says more than a duration.
const farAway = int64(20 * 365 * 24 * time.Hour)

func printInstant(t uint64) string {
	if t == 0 {
		return "none"
	}
	if d := int64(t) - Epoch.UnixNano(); t <= math.MaxInt64 && d > -farAway && d < farAway {
		return time.Duration(d).String()
	}
	return "=" + strconv.FormatUint(t, 10)
}

func printEnd(start, end uint64) string {
	if end == 0 {
		return "none"
	}
	if d := int64(end - start); (d >= 0) == (end >= start) && d > -farAway && d < farAway {
		return time.Duration(d).String()
	}
	return "=" + strconv.FormatUint(end, 10)
}
