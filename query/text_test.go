package query

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// readSpans reads spans in the form of testdata/assemble: one a line,
//
//	id parent kind service "name" start+duration [word or key=value ...]
//
// ids are hexadecimal, - is none; times are after the epoch. Words: proxy shared derived cut timeless error ok.
// Keys with a meaning: trace, group, ns, status; all others are attributes. A line --- starts the next batch.
func readSpans(t testing.TB, text string) []*span.Batch {
	t.Helper()
	var out []*span.Batch
	newBatch := func() *span.Batch {
		b := &span.Batch{Tenant: store.DefaultTenant, Received: epoch + int64(time.Second)}
		b.Resources = append(b.Resources, span.Resource{})
		b.Scopes = append(b.Scopes, span.Scope{})
		out = append(out, b)
		return b
	}
	b := newBatch()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line == "---":
			b = newBatch()
		default:
			if err := readSpan(b, line); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	return out
}

func readSpan(b *span.Batch, line string) error {
	words, err := splitWords(line)
	if err != nil || len(words) < 6 {
		return fmt.Errorf("want id parent kind service name start+duration: %v", err)
	}
	row := b.AddRow()
	b.TraceID[row] = testTrace
	if b.SpanID[row], err = span.ParseSpanID(words[0]); err != nil {
		return err
	}
	if words[1] != "-" {
		if b.Parent[row], err = span.ParseSpanID(words[1]); err != nil {
			return err
		}
	}
	for k := span.KindUnspecified; k <= span.KindConsumer; k++ {
		if k.String() == words[2] {
			b.Kind[row] = k
		}
	}
	b.Service[row], b.Group[row], b.Name[row] = b.AddText(words[3]), b.AddText(words[3]), b.AddText(words[4])
	from, long, _ := strings.Cut(words[5], "+")
	start, err1 := time.ParseDuration(from)
	duration, err2 := time.ParseDuration(long)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("bad time %q", words[5])
	}
	b.Time[row] = epoch + int64(start)
	b.Start[row] = uint64(b.Time[row])
	b.End[row] = b.Start[row] + uint64(duration)
	mark := b.AttrMark()
	for _, w := range words[6:] {
		key, value, isAttr := strings.Cut(w, "=")
		switch {
		case w == "proxy":
			b.Mark[row] |= span.MarkProxy
		case w == "shared":
			b.Mark[row] |= span.MarkShared
		case w == "derived":
			b.Mark[row] |= span.MarkServiceDerived
		case w == "cut":
			b.Mark[row] |= span.MarkCut
		case w == "timeless":
			b.Mark[row] |= span.MarkTimeReplaced
		case w == "error":
			b.Status[row] = span.StatusError
		case w == "ok":
			b.Status[row] = span.StatusOK
		case key == "trace":
			if b.TraceID[row], err = span.ParseTraceID(value); err != nil {
				return err
			}
		case key == "group":
			b.Group[row] = b.AddText(value)
		case key == "ns":
			b.Namespace[row] = b.AddText(value)
		case isAttr:
			b.AddTextAttr(key, value)
		default:
			return fmt.Errorf("unknown word %q", w)
		}
	}
	b.SpanAttrs[row] = b.AttrsSince(mark)
	return nil
}

func splitWords(line string) (words []string, err error) {
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] == '"' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, err
			}
			w, _ := strconv.Unquote(q)
			words, line = append(words, w), line[len(q):]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		words, line = append(words, w), rest
	}
	return words, nil
}

var flagWords = []string{"error", "proxy", "placeholder", "shared", "duplicates", "outside", "timeless", "service-derived", "name-derived", "cut", "twin", "ok"}

// writeTrace is the canonical text of an assembled trace.
func writeTrace(t *Trace) string {
	var w strings.Builder
	fmt.Fprintf(&w, "trace %s %s+%s spans=%d errors=%d depth=%d\n", t.ID, time.Duration(t.Start-epoch), time.Duration(t.End-t.Start), t.Spans, t.Errors, t.Depth)
	for i := range t.Rows {
		r := &t.Rows[i]
		s := t.Services[r.Service]
		fmt.Fprintf(&w, "%2d %s%x %s %s", i, strings.Repeat("  ", int(r.Depth)), r.ID.Uint64(), r.Kind, s.Name)
		if s.Namespace != "" {
			fmt.Fprintf(&w, " (%s in %s)", s.Group, s.Namespace)
		}
		fmt.Fprintf(&w, " %q %s+%s", t.Names[r.Name], time.Duration(r.Start-epoch), time.Duration(r.Duration))
		if r.Hop >= 0 {
			fmt.Fprintf(&w, " hop=%d", r.Hop)
		}
		for bit, word := range flagWords {
			if r.Flags&(1<<bit) != 0 {
				w.WriteString(" " + word)
			}
		}
		w.WriteString("\n")
	}
	for _, x := range t.Warnings {
		fmt.Fprintf(&w, "! %s %v: %s\n", x.Kind, x.Rows, x.Message)
	}
	return w.String()
}
