package match

import (
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

func TestRegexesAreBounded(t *testing.T) {
	names := strings.TrimSuffix(strings.Repeat("recommendations-v1|", 100), "|")
	for _, c := range []struct{ name, text, says string }{
		{"usual", "GET /(cart|orders)/[0-9]+", ""},
		{"a hundred names", names, ""},
		{"nested repeats match in linear time", "(a+)+b", ""},
		{"long", strings.Repeat("a", maxRegex+1), "at most 4096"},
		{"classes", strings.Repeat(`\pL*`, 1000), ""},
		{"counted", strings.Repeat("(.{30}){30}", 5), "unfolds to"},
		{"counts of counts", "((a{1000}){1000}){1000}", "invalid repeat count"},
		{"nested", strings.Repeat("(", 2000) + strings.Repeat(")", 2000), "nests too deeply"},
		{"broken", "(", "missing closing"},
		{"two halves", "a)|(b", "unexpected )"},
	} {
		_, err := Compile(store.Cond{Field: store.Field{In: store.InSpan, Key: "k"}, Op: store.Regex, Value: store.Text(c.text)})
		if c.says == "" && err == nil {
			continue
		}
		if p := problem.Of(err); err == nil || p.Kind != problem.Invalid || c.says == "" || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 500 {
			t.Errorf("%s: %.600v, want %q", c.name, err, c.says)
		}
	}
}
