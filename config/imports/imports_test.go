package imports_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/config"
	"github.com/spanloom/spanloom/config/imports"
)

var update = flag.Bool("update", false, "rewrite what the tests want")

// Each file of testdata holds a configuration and the settings it gives; serve must take them.
func TestImport(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			in, want, ok := strings.Cut(string(data), "-- want --\n")
			if !ok {
				t.Fatal("no -- want --")
			}
			var im imports.Importer
			if err := im.File("in.yaml", []byte(in)); err != nil {
				t.Fatal(err)
			}
			got := written(t, im.Result())
			if *update {
				if err := os.WriteFile(name, []byte(in+"-- want --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a password of the input is in the output")
			}
			served(t, got)
		})
	}
}

func written(t testing.TB, r imports.Result) string {
	t.Helper()
	var b strings.Builder
	if err := imports.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// served checks that serve takes the settings.
func served(t testing.TB, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "spanloom.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Source{File: file, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Errorf("serve does not take it: %v\n%s", err, text)
	}
	return c
}

func TestSeveralFilesAreOneConfiguration(t *testing.T) {
	var im imports.Importer
	for name, text := range map[string]string{
		"a.yaml": "receivers: {zipkin: {endpoint: 0.0.0.0:9411}}\nexporters: {debug: {}}\n",
	} {
		if err := im.File(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := im.File("b.yaml", []byte("receivers: {zipkin: {endpoint: 0.0.0.0:9412}}\nexporters: {debug: {}}\n")); err != nil {
		t.Fatal(err)
	}
	r := im.Result()
	if len(r.Settings) != 1 || r.Settings[0].Values[0] != "0.0.0.0:9411" || len(r.Sources) != 2 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(written(t, r), "b.yaml:1 receivers.zipkin.endpoint: zipkin-addr is 0.0.0.0:9411 already, from a.yaml:1 receivers.zipkin.endpoint") {
		t.Error(written(t, r))
	}
}

func TestWhatIsNotKnown(t *testing.T) {
	for text, says := range map[string]string{
		"":                                    "in.yaml: nothing in it is known (give an OpenTelemetry Collector configuration",
		"a: 1":                                "nothing in it is known",
		"kind: Deployment\nspec: {}":          "nothing in it is known",
		"receivers: [":                        "mend the YAML first",
		"kind: ConfigMap\ndata: {relay: '['}": "nothing in it is known",
	} {
		var im imports.Importer
		if err := im.File("in.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %s", text, err, says)
		}
	}
}

// Whatever a file holds, what is written is settings that serve takes.
func FuzzImport(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		in, _, _ := strings.Cut(string(data), "-- want --\n")
		f.Add([]byte(in))
	}
	f.Add([]byte("receivers: {otlp: {protocols: {grpc: {endpoint: '${env:X}:4317', tls: {cert_file: a}}}}}\nexporters: {clickhouse: {ttl: -1h}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var im imports.Importer
		if im.File("in.yaml", data) == nil {
			served(t, written(t, im.Result()))
		}
	})
}
