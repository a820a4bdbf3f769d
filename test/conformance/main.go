// Command conformance reads the output of `go test -json` over the engines and prints which engine passes which case of storetest, and
// how many questions the cases asked, as a page of Markdown. It ends with 1 if a test failed, after the page.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/store/storetest"
)

func main() {
	failed, err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if len(failed) > 0 {
		fmt.Fprintln(os.Stderr, "conformance: failed:", strings.Join(failed, ", "))
		os.Exit(1)
	}
}

// event is a line of `go test -json`.
type event struct {
	Action, Package, Test string
	Key, Value, Output    string
}

// result is a test that is a case of the suite, with all tests below it.
type result struct {
	engine, name string
	questions    int
	failed       bool
	skipped      string   // why it, or a part of it, did not run; empty if all ran
	ran          bool     // and not only its parts were left out
	lost         []string // what the engine does not keep, which the answers were judged without
	over         bool
}

func run(in io.Reader, out io.Writer) (failed []string, err error) {
	results := make(map[string]*result) // by package and test
	said := make(map[string]string)     // the last line that a test logged: t.Skip's reason
	var order []*result
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%q is no line of go test -json: %w", lines.Text(), err)
		}
		test := e.Package + " " + e.Test
		if e.Action == "attr" && e.Key == storetest.AttrCase {
			r := &result{engine: engineOf(e.Package, e.Test), name: e.Value}
			results[test] = r
			order = append(order, r)
		}
		if e.Action == "fail" {
			failed = append(failed, test)
		}
		r := results[test]
		for up := test; r == nil && strings.Contains(up, "/"); r = results[up] {
			up = up[:strings.LastIndexByte(up, '/')]
		}
		if r == nil {
			continue
		}
		switch e.Action {
		case "attr":
			if e.Key == storetest.AttrQuestions {
				n, err := strconv.Atoi(e.Value)
				if err != nil {
					return nil, err
				}
				r.questions += n
			}
		case "fail":
			r.failed, r.over = true, true
		case "pass":
			r.ran = true
			r.over = r.over || results[test] == r
		case "skip":
			r.over = r.over || results[test] == r
			r.skipped = cmp.Or(said[test], "no reason given")
		case "output":
			line := logLine.FindStringSubmatch(e.Output)
			if line == nil {
				continue
			}
			said[test] = line[1]
			if what, ok := strings.CutPrefix(line[1], "unsupported: "); ok && !slices.Contains(r.lost, what) {
				r.lost = append(r.lost, what)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	for _, r := range order {
		if !r.over {
			failed = append(failed, r.engine+": "+r.name+" did not end")
			r.failed = true
		}
	}
	printPage(out, order)
	return failed, nil
}

var logLine = regexp.MustCompile(`^ +\S+\.go:\d+: (.*)\n$`)

// engineOf names the engine of a test: its package, and what tells its tests apart. The case is the last part of the name where the suite
// made the test.
func engineOf(pkg, test string) string {
	_, name, _ := strings.Cut(pkg, "/store/")
	parts := strings.Split(test, "/")
	top := strings.TrimPrefix(parts[0], "Test")
	model := strings.HasPrefix(top, "Model")
	for _, what := range []string{"Conformance", "Model"} {
		top = strings.Replace(top, what, "", 1)
	}
	middle := parts[1:]
	if !model && len(middle) > 0 {
		middle = middle[:len(middle)-1]
	}
	words := append([]string{name}, strings.Fields(strings.ToLower(capital.ReplaceAllString(top, " $0")))...)
	return strings.ReplaceAll(strings.Join(append(words, middle...), " "), "_", " ")
}

var capital = regexp.MustCompile(`[A-Z][a-z]*`)

// total is what the cases of one engine come to.
type total struct{ cases, passed, questions, differential int }

func printPage(out io.Writer, order []*result) {
	totals := make(map[string]*total)
	lost := make(map[[2]string][]string) // by engine and what it does not keep: the cases
	names, engines := []string{}, []string{}
	cells := make(map[[2]string]string)
	for _, r := range order {
		t := totals[r.engine]
		if t == nil {
			t = new(total)
			totals[r.engine] = t
			engines = append(engines, r.engine)
		}
		if !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
		t.cases++
		t.questions += r.questions
		if strings.HasPrefix(r.name, "random ") {
			t.differential += r.questions
		}
		cell := "pass"
		switch {
		case r.failed:
			cell = "**FAIL**"
		case r.skipped != "" && r.ran:
			cell = "in part"
		case strings.HasPrefix(r.skipped, "unsupported"):
			cell = "unsupported"
		case r.skipped != "":
			cell = "not run"
		default:
			t.passed++
			if len(r.lost) > 0 {
				cell = "pass*"
			}
		}
		if r.skipped != "" && len(r.lost) == 0 {
			r.lost = []string{r.skipped}
		}
		for _, what := range r.lost {
			lost[[2]string{r.engine, what}] = append(lost[[2]string{r.engine, what}], r.name)
		}
		cells[[2]string{r.engine, r.name}] = cell
	}
	slices.Sort(engines)

	fmt.Fprintln(out, "## Engines")
	fmt.Fprintln(out, "\n| no. | engine | cases | pass | questions | of these random ones, compared with the model | disagreements |\n| --- | --- | --- | --- | --- | --- | --- |")
	for i, e := range engines {
		t, wrong := totals[e], 0
		for _, n := range names {
			if cells[[2]string{e, n}] == "**FAIL**" {
				wrong++
			}
		}
		fmt.Fprintf(out, "| %d | %s | %d | %d | %d | %d | %d |\n", i+1, e, t.cases, t.passed, t.questions, t.differential, wrong)
	}
	fmt.Fprintln(out, "\n## Cases\n\nEngines by their number above; a blank is a case that is not run there; pass* is with the answers of what comes back of the spans, which is less than was sent.\n\n| case |"+columns(engines))
	fmt.Fprintln(out, "| --- |"+strings.Repeat(" --- |", len(engines)))
	for _, n := range names {
		fmt.Fprintf(out, "| %s |", n)
		for _, e := range engines {
			fmt.Fprintf(out, " %s |", cells[[2]string{e, n}])
		}
		fmt.Fprintln(out)
	}
	if len(lost) > 0 {
		fmt.Fprintln(out, "\n## Unsupported or not run")
		fmt.Fprintln(out)
		for _, e := range engines {
			what := slices.DeleteFunc(slices.Collect(maps.Keys(lost)), func(k [2]string) bool { return k[0] != e })
			slices.SortFunc(what, func(a, b [2]string) int { return cmp.Compare(a[1], b[1]) })
			for _, k := range what {
				cases := strings.Join(lost[k], ", ")
				if n := len(lost[k]); n > 3 {
					cases = fmt.Sprint(n, " cases")
				}
				fmt.Fprintf(out, "- %s: %s (%s)\n", e, k[1], cases)
			}
		}
	}
}

func columns(engines []string) string {
	var w strings.Builder
	for i := range engines {
		fmt.Fprintf(&w, " %d |", i+1)
	}
	return w.String()
}
