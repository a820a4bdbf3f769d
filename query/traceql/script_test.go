package traceql

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

var update = flag.Bool("update", false, "rewrite the answers of testdata/*.txt")

var scope = store.Scope{Tenant: store.DefaultTenant}

// TestScripts runs testdata/*.txt: spans as storetest reads them, then questions with their answers. A question is
//
//	? QUERY        an answer a line: TRACE: SPANS of the first set (attributes of the set) | of the second ...
//	?+ QUERY       the same with the attributes of the spans
//	range FROM TO [STEP]   for the questions that follow, from storetest.Epoch; no answer
//	instant FROM TO        the same, for instant metrics
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head := string(data)
	for _, mark := range []string{"\n? ", "\n?+ "} {
		head, _, _ = strings.Cut(head, mark)
	}
	text, window := head, ""
	for _, word := range []string{"\nrange ", "\ninstant "} {
		if i := strings.Index(head, word); i >= 0 {
			text, window = head[:i], head[i+1:]
		}
	}
	engine := mem.New(mem.Options{Now: func() time.Time { return storetest.Epoch.Add(time.Hour) }})
	defer engine.Close()
	if b := storetest.Batch(t, text); b.Len() > 0 {
		if err := engine.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	s := &script{engine: New(strictReader{engine}, Options{Now: func() time.Time { return storetest.Epoch.Add(time.Hour) }}), from: 0, to: time.Hour, step: time.Minute}
	var out strings.Builder
	out.WriteString(head + "\n")
	s.directive(t, window)
	lines := strings.Split(string(data[len(head)+1:]), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "? "), strings.HasPrefix(line, "?+ "):
			mark, query, _ := strings.Cut(line, " ")
			for i+1 < len(lines) && lines[i+1] != "" && lines[i+1][0] != '?' && lines[i+1][0] != '#' {
				i++
			}
			out.WriteString(line + "\n" + s.answer(t, query, mark == "?+"))
		default:
			s.directive(t, line)
			out.WriteString(line + "\n")
		}
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := strings.Split(string(data), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(want) || want[i] != line {
			t.Errorf("%s:%d\n got %s\nwant %s", file, i+1, line, want[min(i, len(want)-1)])
			return
		}
	}
}

type script struct {
	engine         *Engine
	from, to, step time.Duration
	instant        bool
}

func (s *script) directive(t *testing.T, line string) {
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "range" && words[0] != "instant" {
		return
	}
	s.instant = words[0] == "instant"
	for i, to := range []*time.Duration{&s.from, &s.to, &s.step} {
		if i+1 < len(words) {
			d, err := time.ParseDuration(words[i+1])
			if err != nil {
				t.Fatal(err)
			}
			*to = d
		}
	}
}

func (s *script) answer(t *testing.T, text string, attrs bool) string {
	q, err := Parse(text)
	if err != nil {
		var e *ParseError
		if !errors.As(err, &e) || problem.Of(err).Kind != problem.Invalid {
			t.Errorf("%s: the error is %T, %v", text, err, err)
			return ""
		}
		return "error " + e.Error() + "\n  " + strings.ReplaceAll(e.Caret(), "\n", "\n  ") + "\n"
	}
	window := store.TimeRange{From: storetest.At(s.from), To: storetest.At(s.to)}
	if q.IsMetrics() {
		return s.metrics(t, q, window)
	}
	r, err := s.engine.Search(t.Context(), scope, SearchRequest{Query: q, Range: window, SpansPerSet: 20}, nil)
	if err != nil {
		if problem.Of(err).Kind != problem.Invalid {
			t.Errorf("%s: %v", text, err)
		}
		return "error " + err.Error() + "\n"
	}
	var w strings.Builder
	for _, tr := range r.Traces {
		fmt.Fprintf(&w, "%s:", shortID(tr.TraceID))
		for i, set := range tr.Sets {
			if i > 0 {
				w.WriteString(" |")
			}
			for _, m := range set.Spans {
				w.WriteString(" " + strings.TrimLeft(m.SpanID.String(), "0"))
				if attrs {
					w.WriteString(printAttrs(m.Attrs, "{", "}"))
				}
			}
			if set.Matched != len(set.Spans) {
				fmt.Fprintf(&w, " of %d", set.Matched)
			}
			if len(set.Attrs) > 0 {
				w.WriteString(" " + printAttrs(set.Attrs, "(", ")"))
			}
		}
		w.WriteByte('\n')
	}
	if !r.Complete {
		w.WriteString("partial " + r.Reason + "\n")
	}
	return w.String()
}

func shortID(id span.TraceID) string { return strings.TrimLeft(id.String(), "0") }

func printAttrs(list []Attr, open, end string) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.Name + "=" + a.Value.Literal()
	}
	return open + strings.Join(words, ", ") + end
}

func (s *script) metrics(t *testing.T, q *Query, window store.TimeRange) string {
	r, err := s.engine.Metrics(t.Context(), scope, MetricsRequest{Query: q, Range: window, Step: s.step, Instant: s.instant}, nil)
	if err != nil {
		return "error " + err.Error() + "\n"
	}
	var w strings.Builder
	for _, series := range r.Series {
		w.WriteString(printAttrs(series.Labels, "{", "}"))
		for _, sample := range series.Samples {
			if sample.Value != 0 {
				fmt.Fprintf(&w, " %s:%.6g", time.Duration(sample.Time-storetest.At(0)), sample.Value)
			}
		}
		for _, e := range series.Exemplars {
			fmt.Fprintf(&w, " *%s/%s", shortID(e.TraceID), strings.TrimLeft(e.SpanID.String(), "0"))
		}
		w.WriteByte('\n')
	}
	if !r.Complete {
		w.WriteString("partial " + r.Reason + "\n")
	}
	return w.String()
}
