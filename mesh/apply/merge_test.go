package apply

import (
	"reflect"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/golden"
)

// Each file holds what was written, what was there before, and what is there now; then what a rollback makes of it and what
// it leaves.
func TestMerge(t *testing.T) {
	golden.Files(t, "testdata/merge/*.txt", func(t *testing.T, in string) string {
		written, rest, ok1 := strings.Cut(in, "-- before --\n")
		before, live, ok2 := strings.Cut(rest, "-- live --\n")
		if !ok1 || !ok2 {
			t.Fatal("sections are: written, -- before --, -- live --, -- want --")
		}
		read := func(text string) Object {
			o, err := fromYAML(text)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		merged, left := merge3(read(written), read(before), read(live), nil)
		if again, _ := merge3(read(written), read(before), merged, nil); !reflect.DeepEqual(again, merged) {
			t.Errorf("a second time it is another: %v", again)
		}
		text, err := toYAML(merged.(Object))
		if err != nil {
			t.Fatal(err)
		}
		return text + "left: " + strings.Join(left, ", ") + "\n"
	})
}

// Any string comes back byte by byte from a backup.
func FuzzBackupKeepsStrings(f *testing.F) {
	for _, s := range []string{"", "a\n", "\n\n  a: b \t\n", "- x\r\n", "\u2028\ufeff", "---\n", "no", "1e3", "a: |\n  b\n\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		text, err := toYAML(Object{"data": Object{"mesh": s}})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := fromYAML(text); err != nil || str(back, "data", "mesh") != s {
			t.Errorf("%q became %q (%v)\n%s", s, str(back, "data", "mesh"), err, text)
		}
	})
}

// Lines that one side changed and the other did not come from the one that did; both must not be lost silently.
func FuzzMergeLines(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n")
	f.Fuzz(func(t *testing.T, from, to, live string) {
		if got, ok := mergeLines(from, to, from); !ok || got != to {
			t.Errorf("where nobody else wrote: %q, want %q", got, to)
		}
		if got, ok := mergeLines(from, from, live); !ok || got != live {
			t.Errorf("where nothing is taken back: %q, want %q", got, live)
		}
		a, ok1 := mergeLines(from, to, live)
		b, ok2 := mergeLines(from, live, to)
		if ok1 != ok2 || a != b {
			t.Errorf("the sides are not alike: %q %v, %q %v", a, ok1, b, ok2)
		}
	})
}
