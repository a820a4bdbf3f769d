package doctor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/golden"
)

// shown are the recorded cases whose whole text is kept, beside all set-ups.
var shown = []string{"f01-unknown-provider", "f07-provider-host-not-in-registry", "f13-collector-strict-mtls-dr-disable", "f16-envoyfilter-wrong-namespace", "f19-bootstrap-override-wrong-endpoint",
	"f26-app-w3c-only-sidecar-zipkin-b3", "f28-web-without-sidecar", "f30-sidecar-egress-hides-collector", "f35-network-policy-drops-collector", "f44-meshconfig-type-error", "f54-annotation-removes-tracing", "h06-set-up-0-as-written"}

// The same in Korean, read sentence by sentence; and English again afterwards, as if Korean had never been asked for.
func TestGoldenKorean(t *testing.T) {
	for _, c := range shown {
		t.Run(c, func(t *testing.T) {
			r := diagnose(t, filepath.Join("testdata/cases", c), "testdata/cases/common-services.yaml")
			r.In("en")
			before := text(r)
			r.In("ko")
			got := []byte(text(r))
			file := filepath.Join("testdata/golden/ko", c+".txt")
			if *golden.Update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs (-update rewrites it):\n%s", file, got)
			}
			if r.In("en"); text(r) != before {
				t.Errorf("English is not what it was:\n%s", text(r))
			}
		})
	}
}

// The whole text for people, for the set-ups of five teams and for some recorded cases.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/set-ups/set-up-*")
	if err != nil || len(dirs) < 9 {
		t.Fatalf("%d set-ups: %v", len(dirs), err)
	}
	attempts, _ := filepath.Glob("testdata/set-ups/set-up-0-attempts/*")
	dirs = append(dirs, attempts...)
	for _, c := range shown {
		dirs = append(dirs, filepath.Join("testdata/cases", c))
	}
	for _, dir := range dirs {
		if strings.HasSuffix(dir, "-attempts") {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(dir, "testdata/"), "set-ups/"), "/", "-")
		t.Run(name, func(t *testing.T) {
			paths := []string{dir}
			if strings.HasPrefix(dir, "testdata/cases") {
				paths = append(paths, "testdata/cases/common-services.yaml")
			}
			got := []byte(text(diagnose(t, paths...)))
			file := filepath.Join("testdata/golden", strings.TrimPrefix(name, "cases-")+".txt")
			if *golden.Update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs (-update rewrites it):\n%s", file, got)
			}
		})
	}
}
