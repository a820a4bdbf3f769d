package main

import (
	"strings"
	"testing"
)

func TestMeshRender(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"mesh", "render", "--istio-version", "1.28", "--sampling", "staging", "--for", "telemetry"}, 0, "randomSamplingPercentage: 10\n"},
		{[]string{"mesh", "render", "--istio-version", "1.21"}, 0, "apiVersion: telemetry.istio.io/v1alpha1\n"},
		{[]string{"mesh", "render", "-f", cases + "h01-otel-grpc--istio-1.31"}, 0, "# Mesh configuration for Istio 1.31,"}, // the proxies tell it
		{[]string{"mesh", "render", "-f", cases + "h01-otel-grpc", "--for", "telemetry"}, 0, "# This Telemetry exists already."},
		{[]string{"mesh", "render", "--for", "kiali,grafana,prometheus,opentelemetry-env,networkpolicy"}, 0, "kind: PrometheusRule"},
		{[]string{"mesh", "render"}, 2, "--istio-version: configmap is written differently by version"},
		{[]string{"mesh", "render", "--istio-version", "1.28", "--sampling", "0.5x"}, 2, `--sampling: "0.5x" is neither a preset nor a percentage`},
		{[]string{"mesh", "render", "--istio-version", "1.28", "-o", "xml"}, 2, "none of [yaml]"},
		{[]string{"mesh", "render", "-f", "no/such/folder"}, 2, `"no/such/folder" cannot be read`},
		{[]string{"mesh", "render", "surplus"}, 2, "unknown command"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
}
