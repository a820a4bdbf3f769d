package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		{[]string{"mesh", "render", "--istio-version", "1.28", "--for", "telemetry", "-o", "json"}, 0, `"target": "telemetry"`},
		{[]string{"mesh", "render"}, 2, "--istio-version: configmap is written differently by version"},
		{[]string{"mesh", "render", "--istio-version", "1.28", "--sampling", "0.5x"}, 2, `--sampling: "0.5x" is neither a preset nor a percentage`},
		{[]string{"mesh", "render", "--istio-version", "1.28", "-o", "xml"}, 2, "none of [yaml json]"},
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

// The outside hosts of spans that a real server holds become ServiceEntries.
func TestMeshRenderFromTraffic(t *testing.T) {
	dir, ends := serving(t)
	args := []string{"mesh", "render", "--data-dir", dir, "--istio-version", "1.28", "--for", "serviceentry", "--from-traffic"}
	if code, _, stderr := command(t, args...); code != 2 || !strings.Contains(stderr, "no span of the last day went to a host outside") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	span := `{"traceId":"%s","id":"%s","kind":"CLIENT","name":"x","timestamp":%d,"duration":5,"localEndpoint":{"serviceName":"web.shop"},"tags":{"upstream_cluster":"%s","http.url":"%s"}}`
	now := time.Now().UnixMicro()
	report(t, ends.Zipkin, "["+strings.Join([]string{
		fmt.Sprintf(span, "00000000000000a1", "00000000000000b1", now, "PassthroughCluster", "http://httpbin.org/get?token=x"),
		fmt.Sprintf(span, "00000000000000a2", "00000000000000b2", now, "PassthroughCluster", "http://10.0.0.9:8080/"),
		fmt.Sprintf(span, "00000000000000a3", "00000000000000b3", now, "outbound|80||api.shop.svc.cluster.local", "http://inside.example.com/"),
	}, ",")+"]")
	code, stdout, stderr := command(t, args...)
	if code != 0 || !strings.Contains(stdout, "  - \"httpbin.org\"\n") || strings.Contains(stdout, "inside") || strings.Contains(stdout, "10.0.0.9") || !strings.Contains(stderr, "1 URLs are left out") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := command(t, "mesh", "render", "--server", "nowhere", "--istio-version", "1.28", "--for", "serviceentry", "--from-traffic"); code != 2 || !strings.Contains(stderr, "--server") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestMeshPlan(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts: [{name: here, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: https://127.0.0.1:1}}]\nusers: [{name: u}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider"}, 1, "~ Telemetry istio-system/mesh-default (" + cases + "h03-zipkin-provider/inputs/case.yaml:1)"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider"}, 1, "Workloads: istio-system/istio-ingressgateway, shop/api, shop/web\n"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "-o", "json"}, 1, `"after": "opentelemetry to spanloom.istio-system.svc.cluster.local:4317 (provider spanloom), 100 %"`}, // the rate of before,
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "--sampling", "prod"}, 1, "(provider spanloom), 1 %\n"},
		{[]string{"mesh", "plan", "-f", cases + "f04-sampling-zero", "--sampling", ""}, 1, "(provider spanloom), 1 %\n"}, // zero is no rate to keep
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "-o", "patch", "--for", "telemetry"}, 1, "+++ b/" + cases + "h03-zipkin-provider/inputs/case.yaml\n"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "-o", "xml"}, 2, "none of [text json patch]"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "--for", "opentelemetry-env", "--workload", "shop"}, 2, `--workload: "shop" is no workload`},
		{[]string{"mesh", "plan"}, 2, "give -f DIR with the mesh's manifests, or --kubeconfig FILE"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "--kubeconfig", "x"}, 2, "both -f and a cluster are given"},
		{[]string{"mesh", "plan", "-f", cases + "h03-zipkin-provider", "--context", "x"}, 2, "both -f and a cluster are given"},
		{[]string{"mesh", "plan", "--kubeconfig", kubeconfig, "--context", "elsewhere"}, 2, `--context: "elsewhere" is no context of the kubeconfig`},
		{[]string{"mesh", "plan", "-f", "no/such/folder"}, 2, `"no/such/folder" cannot be read`},
		{[]string{"mesh", "plan", "-f", "../../doctor/testdata/set-ups/set-up-4"}, 2, "--istio-version: istiooperator is written differently by version"},
		{[]string{"mesh", "plan", "-f", "../../doctor/testdata/set-ups/set-up-4", "--istio-version", "1.24"}, 1, "IstioOperator"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
}

func TestConfigImport(t *testing.T) {
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	collector := file("otel.yaml", "receivers: {zipkin: {endpoint: 0.0.0.0:9411}}\nprocessors: {batch: {timeout: 10s}}\nexporters: {clickhouse: {ttl: 72h, password: hunter2}}\n")
	broken := file("broken.yaml", "receivers: [\n")
	other := file("other.yaml", "kind: Deployment\n")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"config", "import", collector}, 0, "retention: 72h # " + collector + ":3 exporters.clickhouse.ttl\n"},
		{[]string{"config", "import", collector}, 0, "2 settings taken over, 2 values not"},
		{[]string{"config", "import", collector, "-o", "json"}, 0, `"why": "Spanloom gathers what is waiting`},
		{[]string{"config", "import", collector, "-o", "toml"}, 2, "none of [yaml json]"},
		{[]string{"config", "import", broken}, 2, "mend the YAML first"},
		{[]string{"config", "import", other}, 2, "nothing in it is known"},
		{[]string{"config", "import", filepath.Join(folder, "absent")}, 2, "no such file"},
		{[]string{"config", "import"}, 2, "requires at least 1 arg"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) || strings.Contains(stdout, "hunter2") {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, c.code, c.says, stdout, stderr)
			}
		})
	}
	code, stdout, _ := command(t, "config", "import", collector)
	if code != 0 {
		t.Fatal(code)
	}
	if code, out, _ := command(t, "config", "check", file("spanloom.yaml", stdout)); code != 0 {
		t.Errorf("config check refuses it: %s", out)
	}
}
