package plan

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite what the tests want")

// Each file of testdata/edit holds a document, the place and what is to be merged there, and the document afterwards; or
// the error.
func TestEdit(t *testing.T) {
	names, err := filepath.Glob("testdata/edit/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text, rest, ok1 := strings.Cut(string(data), "-- add")
			head, want, ok2 := strings.Cut(rest, "-- want --\n")
			place, add, ok3 := strings.Cut(head, " --\n")
			if !ok1 || !ok2 || !ok3 {
				t.Fatal("sections are: document, -- add PATH --, -- want --")
			}
			got := edited(t, text, strings.Fields(place), add)
			if *update {
				if err := os.WriteFile(name, []byte(text+"-- add"+head+"-- want --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if again := edited(t, got, strings.Fields(place), add); !strings.HasPrefix(got, "error: ") && again != got {
				t.Errorf("a second time it changes again:\n%s", again)
			}
		})
	}
}

func edited(t testing.TB, text string, path []string, add string) string {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(add), &n); err != nil {
		t.Fatal(err)
	}
	got, err := edit(text, path, n.Content[0])
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return got
}

// Whatever the document, an edit of it is refused or gives a document in which what was added stands, a second edit changes
// nothing, and no line that was there is lost except those of what was replaced.
func FuzzEdit(f *testing.F) {
	const add = "enableTracing: true\nextensionProviders:\n- name: spanloom\n  zipkin:\n    service: s.n.svc.cluster.local\n    port: 9411\ndefaultConfig:\n  runtimeValues:\n    a.b: \"100\"\n"
	names, _ := filepath.Glob("testdata/edit/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		text, _, _ := strings.Cut(string(data), "-- add")
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 || strings.Contains(text, "\n---") || strings.Contains(text, "\n...") {
			return
		}
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(add), &n); err != nil {
			t.Fatal(err)
		}
		got, err := edit(text, nil, n.Content[0])
		if err != nil {
			return
		}
		var after yaml.Node
		if err := yaml.Unmarshal([]byte(got), &after); err != nil {
			t.Fatalf("what comes out is no YAML: %v\n%q", err, got)
		}
		if !holds(after.Content[0], n.Content[0]) {
			t.Fatalf("what was added is not there:\n%s", got)
		}
		again, err := edit(got, nil, n.Content[0])
		if err != nil || again != got {
			t.Fatalf("a second time it changes again (%v):\n%q\n%q", err, got, again)
		}
	})
}
