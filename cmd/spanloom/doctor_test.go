package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const cases = "../../doctor/testdata/cases/"

func TestDoctorCommands(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) // nobody's own cluster
	t.Setenv("HOME", t.TempDir())
	facts := filepath.Join(t.TempDir(), "facts.json")
	pasted := filepath.Join(t.TempDir(), "headers.txt")
	if err := os.WriteFile(pasted, []byte("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"doctor", "-f", cases + "f08-otlp-port-4317-missing-in-service", "--save", facts}, 1, "T0301 error"},
		{[]string{"doctor", "--facts", facts, "-o", "json"}, 1, `"cause": "provider-port-missing"`},
		{[]string{"doctor", "--facts", facts, "--workload", "web"}, 1, "  shop/web  +injected"},
		{[]string{"doctor", "--facts", facts, "-n", "istio-system"}, 1, "  istio-system/istio-ingressgateway  +injected"},
		{[]string{"doctor", "-f", cases + "h01-otel-grpc", "-f", cases + "common-services.yaml"}, 0, "healthy: 50 spans"},
		{[]string{"doctor", "-f", cases + "h06-set-up-0-as-written"}, 1, "meshconfig-unknown-field"},
		{[]string{"doctor", "-f", cases + "h06-set-up-0-as-written", "--lang", "ko"}, 1, "그런 필드가 없습니다"},
		{[]string{"doctor", "lint", cases + "h06-set-up-0-as-written", "--lang", "ko"}, 1, "그런 필드가 없습니다"},
		{[]string{"why", "web", "--facts", facts, "--lang", "ko"}, 1, "프록시가 응답합니다"},
		{[]string{"doctor", "-f", cases + "h06-set-up-0-as-written", "--lang", "fr"}, 2, "is no language of the findings"},
		{[]string{"doctor"}, 2, "look at files: -f DIR"},
		{[]string{"doctor", "-f", cases, "--kubeconfig", "x"}, 2, "leave the other out"},
		{[]string{"doctor", "--proxies", "-1"}, 2, "--level 1 to ask none"},
		{[]string{"doctor", "--level", "4"}, 2, "there is no level 4"},
		{[]string{"doctor", "--watch", "-f", cases}, 2, "--watch looks at a cluster"},
		{[]string{"doctor", "--watch", "--interval", "1ms"}, 2, "1ms is too often"},
		{[]string{"doctor", "roles", "--level", "2"}, 0, "resources: [pods/proxy]"},
		{[]string{"doctor", "roles", "--level", "0"}, 2, "there is no level 0"},
		{[]string{"doctor", "-f", "no/such/folder"}, 2, `"no/such/folder" cannot be read`},
		{[]string{"doctor", "-f", t.TempDir()}, 2, "no YAML, JSON or dump"},
		{[]string{"doctor", "--facts", pasted}, 2, "no facts file"},
		{[]string{"doctor", "--facts", facts, "-f", "."}, 2, "leave one out"},
		{[]string{"doctor", "--facts", facts, "-o", "xml"}, 2, "none of [text json]"},
		{[]string{"doctor", "lint", cases + "f44-meshconfig-type-error/inputs"}, 1, "mesh.yaml:8: error T0118 meshconfig-invalid: defaultConfig.tracing.sampling: \"all\" is no number"},
		{[]string{"doctor", "lint", cases + "h03-zipkin-provider/inputs"}, 0, "info T0409"},
		{[]string{"doctor", "lint"}, 2, "requires at least 1 arg"},
		{[]string{"doctor", "headers", pasted}, 0, "spanloom trace 4bf92f3577b34da6a3ce929d0e0e4736"},
		{[]string{"doctor", "headers", pasted, "-o", "json"}, 0, `"sampled": "yes"`},
		{[]string{"why", "web", "--facts", facts}, 1, "!  5 cluster   tempo.monitoring.svc.cluster.local has no port 4317"},
		{[]string{"why", "shop/api", "-f", cases + "h01-otel-grpc"}, 0, "provider tempo, opentelemetry to tempo.monitoring.svc.cluster.local:4317"},
		{[]string{"why", "nobody", "--facts", facts}, 2, "there are istio-system/istio-ingressgateway, shop/api, shop/web"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
}

func TestHeadersFromStandardInput(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := headersCommand()
	cmd.SetIn(strings.NewReader("b3: 0\n"))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs([]string{"-o", "json"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.ExecuteContext(t.Context()); err != errFindings {
		t.Fatalf("%v %s", err, errs.String())
	}
	var d struct{ Sampled string }
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Sampled != "no" {
		t.Errorf("%s %v", out.String(), err)
	}
}
