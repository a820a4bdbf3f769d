package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/golden"
)

// TestEncryption asks of every pair of workloads in shop whether calls are encrypted, and prints the answers.
func TestEncryption(t *testing.T) {
	golden.Files(t, "testdata/encryption/*.txt", func(t *testing.T, in string) string {
		file := filepath.Join(t.TempDir(), "objects.yaml")
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		facts, err := collect.Files(t.Context(), []string{file}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e := doctor.NewEncryption(facts)
		var b strings.Builder
		for _, pair := range [][2]string{{"web", "api"}, {"web", "ledger"}, {"web", "stock"}, {"web", "mixed"}, {"web", "mail"}, {"web", "old"}, {"old", "api"}, {"web", "nobody"}} {
			secrecy, why := e.Between("shop", pair[0], "shop", pair[1])
			fmt.Fprintf(&b, "%s -> %s: %s, %s\n", pair[0], pair[1], secrecy, why)
		}
		return strings.ReplaceAll(b.String(), file, "objects.yaml")
	})
}
