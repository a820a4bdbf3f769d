package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/golden"
)

// What Spanloom's own book says, as facts and the whole text of the report.
func TestBook(t *testing.T) {
	files, err := filepath.Glob("testdata/book/*.json")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			f, err := doctor.LoadFacts(in)
			if err != nil {
				t.Fatal(err)
			}
			got := text(doctor.Diagnose(f, doctor.Options{}))
			told := strings.TrimSuffix(file, ".json") + ".txt"
			if *golden.Update {
				if err := os.WriteFile(told, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(told)
			if err != nil || got != string(want) {
				t.Errorf("%v, differs from %s (-update rewrites it):\n%s", err, told, got)
			}
		})
	}
}

func TestReportInKorean(t *testing.T) {
	r := &doctor.Report{Findings: []doctor.Finding{{Code: "T0101", Title: "Nothing asks for tracing"}}}
	r.In("en")
	if f := r.Findings[0]; f.Title != "Nothing asks for tracing" || f.Fix.General != doctor.Lookup("T0101").Fix {
		t.Errorf("%+v", f)
	}
	r.In("ko")
	if f := r.Findings[0]; f.Title != doctor.InKorean("T0101").Title || f.Consequence != doctor.InKorean("T0101").Means || f.Fix.General != doctor.InKorean("T0101").Fix {
		t.Errorf("%+v", f)
	}
}
