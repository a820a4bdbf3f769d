package traceql

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/match"
)

// corpus is every query of the tests.
func corpus(f *testing.F) (out []string) {
	out = append(out, accepted...)
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, line := range strings.Split(string(data), "\n") {
			if q, ok := strings.CutPrefix(line, "? "); ok {
				out = append(out, q)
			}
		}
	}
	return out
}

// FuzzParse: a text is a query that prints as itself, can be planned and compiled, or an error that says where.
func FuzzParse(f *testing.F) {
	for _, q := range corpus(f) {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			var e *ParseError
			if !errors.As(err, &e) || e.Pos < 0 || e.Pos > len(text) || e.Line < 1 || e.Column < 1 || problem.Of(err).Kind != problem.Invalid {
				t.Fatalf("%q: %#v", text, err)
			}
			if !strings.HasSuffix(e.Caret(), "^") {
				t.Fatalf("%q: %q", text, e.Caret())
			}
			return
		}
		again, err := Parse(q.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, q, err)
		}
		if tree(q) != tree(again) || q.String() != again.String() {
			t.Fatalf("%q prints as %q, which prints as %q", text, q, again)
		}
		c := newCompiler()
		if q.IsMetrics() {
			return
		}
		if _, err := c.pipeline(q.Pipeline); err != nil && problem.Of(err).Kind != problem.Invalid {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := match.Compile(planPipeline(q.Pipeline).expr); err != nil {
			t.Fatalf("%q: the engine refuses the plan: %v", text, err)
		}
	})
}

// FuzzSpanFilter: whatever people type, the condition is one that engines take.
func FuzzSpanFilter(f *testing.F) {
	for _, q := range corpus(f) {
		f.Add(q)
		f.Add(q[:len(q)/2])
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := SpanFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := match.Compile(e); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
