package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
)

// Repositories of one file without any state of a running mesh, as a pipeline would lint them. The first line says what is right:
// the state, and the causes of errors and warnings.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob("testdata/manifests/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(data), "\n")
			want := strings.Fields(strings.TrimPrefix(head, "# want:"))
			if len(want) < 2 {
				t.Fatalf("no verdict in %q", head)
			}
			causes := want[1:]
			if causes[0] == "-" {
				causes = nil
			}
			r := diagnose(t, file)
			if r.State != doctor.State(want[0]) || !same(grave(r), causes) {
				t.Errorf("%s %v, want %v\n%s", r.State, grave(r), want, text(r))
			}
		})
	}
}
