package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/realparts"
)

// TestMain is the command itself where a shell of TestUsersPages calls the test binary as spanloom.
func TestMain(m *testing.M) {
	if os.Getenv("SPANLOOM_TEST_AS_COMMAND") == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// blocks are the commands of a page: the lines of its blocks marked sh.
func blocks(t *testing.T, page string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs/users", page))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, part := range strings.Split(string(data), "```") {
		if body, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			out = append(out, strings.Split(strings.TrimSpace(body), "\n")...)
		}
	}
	return out
}

// pages are the names in docs/users that a pattern fits.
func pages(t *testing.T, pattern string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("../../docs/users", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no page %s (%v)", pattern, err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// Every command of these pages that needs no cluster is run as it stands, in a folder with what a reader would have. A
// line that begins with helm runs in the long lane, as far as it only renders.
func TestUsersPages(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var tested []string
	for _, name := range []string{"install", "mesh", "kong", "migration", "security", "sizing", "troubleshooting"} {
		tested = append(tested, name+".md", name+".ko.md")
	}
	for _, page := range tested {
		t.Run(page, func(t *testing.T) {
			folder := t.TempDir()
			write := func(name, text string, mode os.FileMode) {
				path := filepath.Join(folder, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			write("bin/spanloom", "#!/bin/sh\nSPANLOOM_TEST_AS_COMMAND=1 exec '"+self+"' \"$@\"\n", 0o700)
			write("otel-collector.yaml", "receivers:\n  zipkin: {endpoint: \"0.0.0.0:9411\"}\nprocessors:\n  batch: {timeout: 10s}\n  probabilistic_sampler: {sampling_percentage: 25}\nexporters:\n  zipkin: {endpoint: \"http://zipkin:9411/api/v2/spans\"}\nservice:\n  pipelines:\n    traces: {receivers: [zipkin], processors: [probabilistic_sampler, batch], exporters: [zipkin]}\n", 0o600)
			write("jaeger.yaml", "apiVersion: jaegertracing.io/v1\nkind: Jaeger\nmetadata: {name: jaeger-prod}\nspec:\n  strategy: production\n  collector: {replicas: 2}\n  storage:\n    type: elasticsearch\n    options: {es: {server-urls: https://es:9200}}\n", 0o600)
			write("tempo.yaml", "tempo:\n  retention: 336h\n  multitenancyEnabled: true\n  receivers:\n    jaeger: {protocols: {grpc: {endpoint: \"0.0.0.0:14250\"}}}\n    otlp: {protocols: {grpc: {endpoint: \"0.0.0.0:4317\"}}}\n  storage: {trace: {backend: s3, s3: {bucket: traces}}}\n", 0o600)
			write("signoz.yaml", "clickhouse: {persistence: {size: 100Gi}}\notelCollector:\n  config:\n    receivers:\n      otlp: {protocols: {grpc: {endpoint: \"0.0.0.0:4317\"}}}\n    processors:\n      resource: {attributes: [{key: cluster, value: east, action: upsert}]}\n    exporters:\n      debug: {}\n    service:\n      pipelines:\n        traces: {receivers: [otlp], processors: [resource], exporters: [debug]}\n        logs: {receivers: [otlp], exporters: [debug]}\n", 0o600)
			text, err := os.ReadFile(filepath.Join("../../docs/users", page))
			if err != nil {
				t.Fatal(err)
			}
			write("manifests/istio.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    # of the shop\n    accessLogFile: /dev/stdout\n", 0o600)
			write("manifests/spanloom.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: spanloom, namespace: istio-system}\nspec: {ports: [{name: grpc-otlp, port: 4317, appProtocol: grpc}]}\n", 0o600)
			write("manifests/web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: web:1\n", 0o600)
			if err := os.Symlink(filepath.Join(root, "deploy"), filepath.Join(folder, "deploy")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(folder, "bin") + ":" + os.Getenv("PATH")
			if os.Getenv("SPANLOOM_LONG") == "1" {
				path = filepath.Dir(realparts.Get(t, "helm")) + ":" + path
			}
			ran, later := 0, 0
			for _, line := range blocks(t, page) {
				word, _, _ := strings.Cut(line, " ")
				switch {
				case word == "kubectl", strings.HasPrefix(line, "helm ") && !strings.HasPrefix(line, "helm template "):
					continue // needs a cluster
				case word == "helm" && os.Getenv("SPANLOOM_LONG") != "1":
					later++
					continue
				}
				cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
				cmd.Dir = folder
				cmd.Env = append(os.Environ(), "PATH="+path, "GIT_CEILING_DIRECTORIES="+filepath.Dir(folder))
				out, err := cmd.CombinedOutput()
				code := cmd.ProcessState.ExitCode()
				if err != nil && code != exitFindings || len(out) == 0 && !strings.Contains(line, ">") && word != "git" {
					t.Errorf("%s: exit %d\n%s", line, code, out)
				}
				if strings.Contains(line, "--workload shop/web") && !strings.Contains(string(out), "+        - name: OTEL_PROPAGATORS") {
					t.Errorf("%s: %s", line, out)
				}
				if strings.Contains(line, "git apply") && code != 0 {
					t.Errorf("%s: %s", line, out)
				}
				// What the page shows of a file's settings is what the command prints.
				if name, ok := strings.CutPrefix(line, "spanloom config import "); ok {
					for shown := range strings.Lines(string(text)) {
						if strings.Contains(shown, " "+name+":") && !strings.Contains(string(out), shown) {
							t.Errorf("%s does not print %s", line, shown)
						}
					}
				}
				ran++
			}
			if ran+later == 0 {
				t.Error("no command was run")
			}
			if strings.HasPrefix(page, "mesh.") {
				cmd := exec.CommandContext(t.Context(), filepath.Join(folder, "bin/spanloom"), "mesh", "plan", "-f", "manifests/", "--istio-version", "1.28", "--sampling", "staging")
				cmd.Dir = folder
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "0 to create, 0 to change, 2 as they should be") {
					t.Errorf("after the page's patch: %v\n%s", err, out)
				}
			}
		})
	}
}

// A Korean page has the same commands as the English one, and each links to the other at its top.
func TestKoreanPagesHaveTheSameCommands(t *testing.T) {
	for _, korean := range pages(t, "*.ko.md") {
		english := strings.TrimSuffix(korean, ".ko.md") + ".md"
		a, b := blocks(t, english), blocks(t, korean)
		for _, lines := range [][]string{a, b} {
			for i, line := range lines { // what a command is for may be said behind it, in the page's language
				line, _, _ = strings.Cut(line, "  # ")
				lines[i] = strings.TrimSpace(line)
			}
		}
		if !slices.Equal(a, b) {
			t.Errorf("%s\n%s\n%s\n%s", english, strings.Join(a, "\n"), korean, strings.Join(b, "\n"))
		}
		for page, other := range map[string]string{english: korean, korean: english} {
			data, err := os.ReadFile(filepath.Join("../../docs/users", page))
			if err != nil {
				t.Fatal(err)
			}
			if head := string(data[:min(len(data), 600)]); !strings.Contains(head, "]("+other+")") {
				t.Errorf("%s does not link to %s at its top", page, other)
			}
		}
	}
}

// What pages of users link to is there.
func TestLinksOfUsersPages(t *testing.T) {
	for _, page := range pages(t, "*.md") {
		data, err := os.ReadFile(filepath.Join("../../docs/users", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "](")[1:] {
			target, _, _ := strings.Cut(part, ")")
			target, _, _ = strings.Cut(target, "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../../docs/users", target)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, target)
			}
		}
	}
}
