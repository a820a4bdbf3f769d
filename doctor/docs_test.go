package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/golden"
)

// The pages of the catalog and the table of cases are written from the catalog and from what the doctor says; -update
// rewrites them.
func TestDocs(t *testing.T) {
	pages := make(map[string]string)
	shown := casesByCode(t)
	korean := "# 닥터의 진단\n\n코드마다 한 쪽입니다. `spanloom doctor -o json` 이 코드와 원인(cause)을 줍니다.\n\n| 코드 | 원인 | 무엇 |\n| --- | --- | --- |\n"
	index := "# Findings of the doctor\n\nA page for each code. `spanloom doctor -o json` gives code and cause; both keep their meaning.\n\n| code | cause | severity | station | what |\n| --- | --- | --- | --- | --- |\n"
	for _, e := range doctor.Catalog() {
		pages["../docs/findings/"+e.Code+".md"] = page(e, shown[e.Code])
		index += fmt.Sprintf("| [%s](%s.md) | `%s` | %s | %s | %s |\n", e.Code, e.Code, e.Cause, e.Severity, e.Station, e.Title)
	}
	for _, e := range doctor.Catalog() {
		k := doctor.InKorean(e.Code)
		if k.Title == "" || k.Means == "" || k.Fix == "" {
			t.Errorf("%s has no Korean text", e.Code)
		}
		korean += fmt.Sprintf("| [%s](%s.md) | `%s` | %s |\n", e.Code, e.Code, e.Cause, k.Title)
		pages["../docs/findings/ko/"+e.Code+".md"] = fmt.Sprintf("# %s: %s\n\n원인 `%s` · %s · `%s`\n\n**무슨 일이 생기나.** %s\n\n**무엇을 할까.** %s\n%s\n[English](../%s.md)\n", e.Code, k.Title, e.Cause, inKorean[e.Severity], e.Station, k.Means, k.Fix, kits(e.Code, "복사할 코드", "../../../kits/README.ko.md"), e.Code)
	}
	pages["../docs/findings/ko/README.md"] = korean
	pages["../docs/findings/README.md"] = index
	pages["../docs/doctor.md"] = between(t, read(t, "../docs/doctor.md"), "cases", table(t))
	for _, p := range []struct {
		set, symptoms string
		korean        bool
	}{{"set-ups.md", "troubleshooting.md", false}, {"set-ups.ko.md", "troubleshooting.ko.md", true}} {
		const users = "../docs/users/"
		pages[users+p.set] = between(t, between(t, read(t, users+p.set), "set-ups", setUps(t, "testdata/set-ups/set-up-*", p.korean)), "attempts", setUps(t, "testdata/set-ups/set-up-0-attempts/*", p.korean))
		pages[users+p.symptoms] = between(t, read(t, users+p.symptoms), "symptoms", bySymptom(t, p.korean))
	}
	for path, want := range pages {
		if *golden.Update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the catalog says: go test ./doctor -run Docs -update (%v)", path, err)
		}
	}
	files, _ := filepath.Glob("../docs/findings/T*.md")
	if len(files) != len(doctor.Catalog()) {
		t.Errorf("%d pages for %d findings", len(files), len(doctor.Catalog()))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// between replaces what stands between two marks.
func between(t *testing.T, text, mark, with string) string {
	t.Helper()
	head, rest, ok1 := strings.Cut(text, "<!-- "+mark+" -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok1 || !ok2 {
		t.Fatalf("no place for %s", mark)
	}
	return head + "<!-- " + mark + " -->\n" + with + "<!-- end -->" + tail
}

// setUps is one row for each folder: everything that is said of it, but cost and style, in English or as --lang ko says it.
func setUps(t *testing.T, pattern string, korean bool) string {
	dirs, err := filepath.Glob(pattern)
	if err != nil || len(dirs) == 0 {
		t.Fatal(err)
	}
	var b strings.Builder
	head, nothing := "| folder | state | what the doctor says | fix |", "nothing is wrong"
	if korean {
		head, nothing = "| 폴더 | 상태 | 닥터의 진단 | 고치는 방법 |", "문제가 없습니다"
	}
	b.WriteString(head + "\n| --- | --- | --- | --- |\n")
	for _, dir := range dirs {
		if strings.HasSuffix(dir, "-attempts") {
			continue
		}
		r := diagnose(t, dir)
		if korean {
			r.In("ko")
		}
		var said []string
		fix := "-"
		for _, f := range r.Findings {
			if f.Severity == doctor.Info {
				continue
			}
			folder, severity := "", string(f.Severity)
			if korean {
				folder, severity = "ko/", inKorean[f.Severity]
			}
			line := fmt.Sprintf("%s [%s](../findings/%s%s.md) `%s`: %s", severity, f.Code, folder, f.Code, f.Cause, f.Detail)
			if said == nil {
				fix = f.Fix.Text
			}
			said = append(said, line)
		}
		if said == nil {
			said = []string{nothing}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", filepath.Base(dir), r.State, strings.Join(said, "; "), fix)
	}
	return b.String()
}

// inKorean are the severities as the pages name them.
var inKorean = map[doctor.Severity]string{doctor.Error: "오류", doctor.Warning: "경고", doctor.Info: "참고"}

// kits leads from what an application does wrong to code that does it right.
func kits(code, text, readme string) string {
	if code != "T0403" && code != "T0404" {
		return ""
	}
	return fmt.Sprintf("\n%[1]s: [Python](%[2]s#python), [Go](%[2]s#go), [Node](%[2]s#node), [Java](%[2]s#java).\n", text, readme)
}

func page(e doctor.Entry, cases []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\nCause `%s` · %s · station `%s`\n\n**What it does.** %s\n\n**What shows it.** %s\n\n**What to do.** %s\n", e.Code, e.Title, e.Cause, e.Severity, e.Station, e.Means, e.Shown, e.Fix)
	b.WriteString(kits(e.Code, "Code to copy", "../../kits/README.md"))
	if len(e.After) > 0 {
		fmt.Fprintf(&b, "\nNot said where `%s` explains it.\n", strings.Join(e.After, "` or `"))
	}
	fmt.Fprintf(&b, "\n[한국어](ko/%s.md)\n", e.Code)
	if len(cases) > 0 {
		fmt.Fprintf(&b, "\nSeen in `doctor/testdata`: %s.\n", strings.Join(cases, ", "))
	}
	return b.String()
}

func casesByCode(t *testing.T) map[string][]string {
	out := make(map[string][]string)
	for _, v := range verdicts(t, "testdata/cases.txt") {
		for _, f := range diagnose(t, filepath.Join("testdata/cases", v.name), "testdata/cases/common-services.yaml").Findings {
			if f.Severity != doctor.Info {
				out[f.Code] = append(out[f.Code], v.name)
			}
		}
	}
	return out
}

// table is one row for each recorded case: what the doctor says of it now.
func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| recorded case | state | finding | fix |\n| --- | --- | --- | --- |\n")
	total := make(map[doctor.State]int)
	for _, v := range verdicts(t, "testdata/cases.txt") {
		r := diagnose(t, filepath.Join("testdata/cases", v.name), "testdata/cases/common-services.yaml")
		total[r.State]++
		finding, fix := "-", "-"
		for _, f := range r.Findings {
			if f.Severity != doctor.Info {
				finding, fix = fmt.Sprintf("[%s](findings/%s.md) `%s` (%s)", f.Code, f.Code, f.Cause, f.Severity), strings.ReplaceAll(f.Fix.Text, "|", "\\|")
				break
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.name, r.State, finding, fix)
	}
	fmt.Fprintf(&b, "\n%d broken, %d partial, %d healthy; each with the cause that was made, alone and first.\n", total[doctor.Broken], total[doctor.Partial], total[doctor.Healthy])
	return b.String()
}

// Every code is used once and says everything; every cause of a verdict exists.
func TestCatalog(t *testing.T) {
	seen := make(map[string]bool)
	causes := make(map[string]bool)
	for _, e := range doctor.Catalog() {
		if seen[e.Code] {
			t.Errorf("%s twice", e.Code)
		}
		seen[e.Code], causes[e.Cause] = true, true
		if e.Title == "" || e.Means == "" || e.Shown == "" || e.Fix == "" || e.Station == "" {
			t.Errorf("%s is not complete", e.Code)
		}
	}
	for _, cause := range strings.Fields(`not-configured provider-not-selected provider-undefined provider-host-unknown provider-host-ambiguous provider-port-missing
		tracer-cluster-unknown port-protocol otlp-protocol-mismatch tls-mismatch collector-path collector-port-closed collector-no-endpoints collector-hidden
		address-unresolvable network-blocked telemetry-scope telemetry-conflict reporting-disabled tracing-disabled sampling-zero sampling-low sampling-invalid
		caller-not-sampled match-mode envoyfilter-no-effect envoyfilter-scope annotation-replaces restart-needed meshconfig-invalid meshconfig-unknown-field
		sidecar-missing app-port-not-http propagation-none propagation-family secret-in-tag split-stores kiali-config helm-values-ignored gitops-reverts`) {
		if !causes[cause] {
			t.Errorf("no finding has the cause %s", cause)
		}
	}
}
