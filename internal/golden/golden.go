// Package golden runs tests whose cases are files: what goes in, a line "-- want --", and what must come out, as text.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Update says that the answers of the code at hand are to be written into the files.
var Update = flag.Bool("update", false, "rewrite what the tests want")

const line = "-- want --\n"

// Files runs a subtest for each file that a pattern matches, and compares what run makes of the text before the line with the text
// behind it. A pattern without files fails, and so does a file without the line, unless it is to be written.
func Files(t *testing.T, pattern string, run func(t *testing.T, in string) (got string)) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases %s: %v", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in, want, ok := strings.Cut(string(data), line)
			if !ok && !*Update {
				t.Fatalf("no line %q", strings.TrimSpace(line))
			}
			got := run(t, in)
			switch {
			case *Update:
				if err := os.WriteFile(name, []byte(in+line+got), 0o644); err != nil {
					t.Fatal(err)
				}
			case got != want:
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
