package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// plurals of the kinds that the API server has here; the others (monitors, Kiali, IstioOperator) have no definition to check by.
var plurals = map[string]string{"ConfigMap": "configmaps", "Telemetry": "telemetries", "EnvoyFilter": "envoyfilters", "ServiceEntry": "serviceentries", "NetworkPolicy": "networkpolicies",
	"Service": "services", "ServiceAccount": "serviceaccounts", "StatefulSet": "statefulsets", "Deployment": "deployments", "Pod": "pods"}

// accept lets the API server check every document strictly, as if it were to be written, and answers how many it took.
func (c *cluster) accept(name, text string) (taken int) {
	c.t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v map[string]any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return taken
		} else if err != nil {
			c.t.Fatalf("%s: %v", name, err)
		}
		kind, _ := v["kind"].(string)
		if plurals[kind] == "" {
			continue
		}
		if code, answer := c.dry(v); code != 200 && code != 201 {
			c.t.Errorf("%s: %s: %d %s", name, kind, code, answer)
			continue
		}
		taken++
	}
}

func (c *cluster) dry(v map[string]any) (int, []byte) {
	c.t.Helper()
	meta := v["metadata"].(map[string]any)
	group := "/apis/" + v["apiVersion"].(string)
	if v["apiVersion"] == "v1" {
		group = "/api/v1"
	}
	body, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	path := fmt.Sprintf("%s/namespaces/%s/%s/%s?dryRun=All&fieldValidation=Strict&fieldManager=test", group, meta["namespace"], plurals[v["kind"].(string)], meta["name"])
	return c.Try("PATCH", path, "application/apply-patch+yaml", string(body))
}

const renderNamespaces = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: observability, labels: {pod-security.kubernetes.io/enforce: restricted}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: auth}}
`

// What `mesh render` writes for each minor has no field that Istio's definitions and Kubernetes do not have, and the plain
// manifests are taken too; their pods run at the restricted level.
func TestTheServerTakesWhatIsRendered(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("tests", renderNamespaces)
	var r istio.Reader
	if err := r.File("present.yaml", []byte("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: closed, namespace: auth}, spec: {podSelector: {matchLabels: {app: x}}, policyTypes: [Egress]}}")); err != nil {
		t.Fatal(err)
	}
	for minor := 17; minor <= 31; minor++ {
		for _, protocol := range []string{"otlp", "zipkin"} {
			for _, form := range []string{"configmap,telemetry,networkpolicy,serviceentry,grafana", "envoyfilter"} {
				in, err := render.Parse(render.Words{Protocol: protocol, Sampling: "0.5", Istio: fmt.Sprintf("1.%d", minor), Namespace: "observability", For: strings.Split(form, ","),
					Tags: []string{"a=b", "c=header:x-c:none", "d=env:D:none"}, Hosts: []string{"api.example.com:443", "*.example.com:80", "http://10.1.2.3:80", "tcp://db.example.com:5432"}})
				if err != nil {
					t.Fatal(err)
				}
				parts, err := render.Render(in, &r.Objects)
				if err != nil {
					t.Fatal(err)
				}
				var b strings.Builder
				if err := render.Write(&b, parts); err != nil {
					t.Fatal(err)
				}
				want := map[string]int{"envoyfilter": 1}[form]
				if want == 0 {
					want = 1 + 1 + 2 + 4 + 2
				}
				if n := c.accept(fmt.Sprintf("1.%d %s %s", minor, protocol, form), b.String()); n != want {
					t.Errorf("1.%d %s %s: %d objects taken, want %d", minor, protocol, form, n, want)
				}
			}
		}
	}
	for file, want := range map[string]int{"spanloom.yaml": 4, "addon.yaml": 7} {
		data, err := os.ReadFile("../../deploy/kubernetes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.accept(file, string(data)); n != want {
			t.Errorf("%s: %d objects taken, want %d", file, n, want)
		}
		c.restricted(file, string(data))
	}
	if code, _ := c.dry(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": "observability"}, "spec": map[string]any{"containers": []any{map[string]any{"name": "a", "image": "b"}}}}); code != 403 {
		t.Errorf("a pod that is not restricted got %d: the level is not enforced", code)
	}
}

// restricted makes a pod of a workload's template in a namespace that enforces the restricted level.
func (c *cluster) restricted(name, text string) {
	c.t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v struct {
			Kind string
			Spec struct{ Template map[string]any }
		}
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			c.t.Fatal(err)
		}
		if v.Kind != "StatefulSet" && v.Kind != "Deployment" {
			continue
		}
		pod := v.Spec.Template
		pod["apiVersion"], pod["kind"] = "v1", "Pod"
		meta := pod["metadata"].(map[string]any)
		meta["name"], meta["namespace"] = "p", "observability"
		spec := pod["spec"].(map[string]any)
		if volumes := spec["volumes"].([]any); !slices.ContainsFunc(volumes, func(x any) bool { return x.(map[string]any)["name"] == "data" }) {
			spec["volumes"] = append(volumes, map[string]any{"name": "data", "persistentVolumeClaim": map[string]any{"claimName": "data"}}) // as the controller does
		}
		if code, answer := c.dry(pod); code != 200 && code != 201 {
			c.t.Errorf("%s: its pod at the restricted level: %d %s", name, code, answer)
		}
	}
}

// A Telemetry that exists keeps its other parts when the rendered one is merged as its comment says.
func TestMergingKeepsTheRestOfATelemetry(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("tests", renderNamespaces)
	const there = "{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: logs, namespace: istio-system}, spec: {accessLogging: [{providers: [{name: envoy}]}], tracing: [{randomSamplingPercentage: 5}]}}"
	c.Apply("somebody", there)
	var r istio.Reader
	if err := r.File("there.yaml", []byte(there)); err != nil {
		t.Fatal(err)
	}
	in, err := render.Parse(render.Words{Istio: "1.28", Sampling: "staging", For: []string{"telemetry"}})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := render.Render(in, &r.Objects)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(parts[0].YAML, "# kubectl patch telemetry -n istio-system logs --type merge --patch-file FILE\n") {
		t.Fatal(parts[0].YAML)
	}
	var v any
	if err := yaml.Unmarshal([]byte(parts[0].YAML), &v); err != nil {
		t.Fatal(err)
	}
	path := c.Path("Telemetry", "istio-system", "logs")
	var after struct{ Spec any }
	if err := json.Unmarshal(c.Do("PATCH", path, "application/merge-patch+json", compact(v)), &after); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(compact(after.Spec)); got != `{"accessLogging":[{"providers":[{"name":"envoy"}]}],"tracing":[{"providers":[{"name":"spanloom"}],"randomSamplingPercentage":10}]}` {
		t.Error(got)
	}
}
