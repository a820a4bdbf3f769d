// Package oracle compares engines with a reader that knows nothing of them: what `spanloom export` writes is asked by DuckDB, and the
// engine it came from is asked the same.
package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/realparts"
)

// duckdb gives the path of a DuckDB, fetching it if need be. A test without it fails; SPANLOOM_NO_TOOLS says that this machine
// is not to fetch anything.
func duckdb(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("duckdb"); err == nil {
		return path
	}
	if os.Getenv("SPANLOOM_NO_TOOLS") != "" {
		t.Skip("SPANLOOM_NO_TOOLS is set and no duckdb is on PATH: no question was asked")
	}
	return realparts.Get(t, "duckdb")
}

// prelude loads the file. scalar finds an attribute of a list, elements gives an array's elements as text.
const prelude = `
CREATE TABLE spans AS SELECT * FROM read_parquet(%s);
CREATE MACRO scalar(list, k) AS list_filter(list, lambda a: a.key = k)[-1];
CREATE MACRO elements(a) AS from_json(a."string", '["VARCHAR"]');
`

// ask gives DuckDB all questions in one process and answers the lines of each.
func ask(t *testing.T, binary, file string, questions []question) [][]string {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, prelude, quote(file))
	for i, q := range questions {
		fmt.Fprintf(&script, "SELECT %d AS number, coalesce(list(line ORDER BY o), []) AS lines FROM (SELECT line, row_number() OVER () AS o FROM (%s));\n", i, q.sql)
	}
	c := exec.CommandContext(t.Context(), binary, "-init", os.DevNull, "-bail", "-jsonlines", ":memory:")
	c.Stdin = strings.NewReader(script.String())
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("duckdb: %v: %s", err, &stderr)
	}
	answers := make([][]string, len(questions))
	n := 0
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); n++ {
		var a struct {
			Number int
			Lines  []string
		}
		if err := d.Decode(&a); err != nil || a.Number != n || n >= len(questions) {
			t.Fatalf("answer %d is number %d: %v", n, a.Number, err)
		}
		answers[n] = a.Lines
	}
	if n != len(questions) {
		t.Fatalf("%d answers to %d questions", n, len(questions))
	}
	return answers
}

// quote makes an SQL text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
