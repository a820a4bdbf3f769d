package doctor_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
)

type verdict struct {
	name   string
	state  doctor.State
	causes []string
}

func verdicts(t testing.TB, file string) []verdict {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []verdict
	for _, line := range strings.Split(string(data), "\n") {
		w := strings.Fields(line)
		if len(w) < 3 || w[0] == "#" {
			continue
		}
		v := verdict{name: w[0], state: doctor.State(w[1])}
		if w[2] != "-" {
			v.causes = w[2:]
		}
		out = append(out, v)
	}
	return out
}

// grave are the causes of errors and warnings, in order.
func grave(r *doctor.Report) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity != doctor.Info {
			out = append(out, f.Cause)
		}
	}
	return out
}

func same(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if !slices.Contains(strings.Split(want[i], "|"), got[i]) {
			return false
		}
	}
	return true
}

func diagnose(t testing.TB, paths ...string) *doctor.Report {
	t.Helper()
	f, err := collect.Files(t.Context(), paths, collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return doctor.Diagnose(f, doctor.Options{})
}

// Every recorded case of real Istio and real Envoy: the cause named alone and first, healthy ones healthy.
func TestCases(t *testing.T) {
	seen := 0
	for _, v := range verdicts(t, "testdata/cases.txt") {
		for _, common := range []bool{true, false} {
			name := v.name
			paths := []string{filepath.Join("testdata/cases", v.name)}
			if common {
				paths = append(paths, "testdata/cases/common-services.yaml")
			} else {
				name += " alone"
			}
			t.Run(name, func(t *testing.T) {
				r := diagnose(t, paths...)
				if r.State != v.state || !same(grave(r), v.causes) {
					t.Errorf("%s %v, want %s %v\n%s", r.State, grave(r), v.state, v.causes, text(r))
				}
			})
		}
		seen++
	}
	dirs, _ := filepath.Glob("testdata/cases/*/inputs")
	if seen != len(dirs) {
		t.Errorf("%d verdicts for %d cases", seen, len(dirs))
	}
}

func text(r *doctor.Report) string {
	var b strings.Builder
	doctor.Print(&b, r)
	return b.String()
}
