package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/golden"
)

// The cases are lines as `go test -json` prints them, and the page with what is told to have failed.
func TestPage(t *testing.T) {
	golden.Files(t, "testdata/*.txt", func(t *testing.T, in string) string {
		var out bytes.Buffer
		failed, err := run(strings.NewReader(in), &out)
		if err != nil {
			return fmt.Sprintln("error:", err)
		}
		return out.String() + "\nfailed: " + strings.Join(failed, ", ") + "\n"
	})
}
