package uiapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/prescribe"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// meshFile is a mesh whose Telemetry Argo CD keeps, and whose Service of Spanloom lacks the port.
const meshFile = `apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: tempo
      opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata:
  name: mesh-default
  namespace: istio-system
  annotations: {argocd.argoproj.io/tracking-id: "mesh:x"}
  managedFields: [{manager: kubectl-edit, operation: Update}]
spec:
  tracing:
  - providers: [{name: tempo}]
    randomSamplingPercentage: 5
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {template: {metadata: {labels: {istio: ingressgateway}}}}
---
apiVersion: v1
kind: Service
metadata: {name: spanloom, namespace: istio-system}
spec: {ports: [{port: 80}]}
`

// readMesh plans over files what app plans over a cluster.
type meshOfFiles struct {
	facts *doctor.Facts
	files []plan.File
}

func readMesh(t testing.TB) *meshOfFiles {
	t.Helper()
	r := istio.Reader{Minor: "1.28"}
	if err := r.File("mesh.yaml", []byte(meshFile)); err != nil {
		t.Fatal(err)
	}
	return &meshOfFiles{&doctor.Facts{Version: doctor.FactsVersion, Source: "cluster", Istio: "1.28", Collected: clock().UnixNano(), Objects: r.Objects}, []plan.File{{Name: "mesh.yaml", Text: meshFile}}}
}

func (m *meshOfFiles) Facts() (*doctor.Facts, error) {
	if m.facts == nil {
		return nil, problem.New(problem.Unavailable, "the cluster could not be read: forbidden", "ask for rights")
	}
	return m.facts, nil
}

func (m *meshOfFiles) Plan(_ context.Context, in render.Intent, parts []render.Part, f *doctor.Facts) (*plan.Plan, error) {
	return plan.Parts(in, parts, m.files, prescribe.State(f))
}

func TestMeshRender(t *testing.T) {
	s := serve(t, nil)
	ask := func(query url.Values) (out meshRender) {
		t.Helper()
		w := s.get("/mesh/render?" + query.Encode())
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%v: %d %s", query, w.Code, w.Body)
		}
		return out
	}
	r := ask(nil)
	if r.Version != "1.28" || r.VersionFrom != "proxies" || r.Sampling != 5 || r.InForce != 5 || r.Command != "spanloom mesh apply" || len(r.Documents) != 2 || r.Documents[0].Use != "merge" || r.Documents[1].Use != "merge" {
		t.Errorf("%+v", r)
	}
	r = ask(url.Values{"protocol": {"zipkin"}, "sampling": {"0.5"}, "version": {"1.21"}, "namespace": {"tracing"}, "for": {"telemetry,helm"}, "tags": {"motto=it's a, b", "env=prod"}})
	if want := `spanloom mesh plan -f DIR --protocol zipkin --sampling 0.5 --for telemetry,helm --istio-version 1.21 --namespace tracing --tags '"motto=it'\''s a, b"' --tags env=prod -o patch | git apply`; r.Command != want {
		t.Errorf("%s\nwant\n%s", r.Command, want)
	}
	if p := ask(url.Values{"for": {"prometheus"}}); p.VersionFrom != "proxies" || p.Documents[0].Use != "apply" {
		t.Errorf("%+v", p)
	}
	if r.VersionFrom != "given" || !strings.Contains(r.Documents[1].YAML, `it's a, b`) || !strings.Contains(r.Documents[1].YAML, "v1alpha1") {
		t.Errorf("%+v", r)
	}
}

func TestMeshPlan(t *testing.T) {
	w := serve(t, nil).get("/mesh/plan?sampling=staging")
	var p meshPlan
	if err := json.Unmarshal(w.Body.Bytes(), &p); err == nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body) // an Instant is a string: it does not read back
	}
	for _, says := range []string{`"object":"ConfigMap istio-system/istio"`, `"restart":"100 spans a request instead of 5 (runtimeValues)"`, `"workloads":["istio-system/istio-ingressgateway"]`,
		`"owner":{"tool":"argocd","name":"mesh","hand":"kubectl-edit"}`, "Argo CD (mesh) keeps it", "+    randomSamplingPercentage: 10", `"before":"opentelemetry to tempo`, "has no port 4317"} {
		if !strings.Contains(w.Body.String(), says) {
			t.Errorf("it does not say %s\n%s", says, w.Body)
		}
	}
}

func TestMeshRefuses(t *testing.T) {
	none := func(o *Options) { o.Mesh = nil }
	away := func(o *Options) { o.Mesh = &meshOfFiles{} }
	for _, c := range []struct {
		change func(*Options)
		path   string
		code   int
		says   string
	}{
		{nil, "/mesh/render?protocol=jaeger", 400, `"field":"protocol"`},
		{nil, "/mesh/render?sampling=200", 400, `"field":"sampling"`},
		{nil, "/mesh/render?for=telemetri", 400, `did you mean telemetry`},
		{nil, "/mesh/render?version=2.0", 400, `it is one from 1.17 to 1.31`},
		{nil, "/mesh/render?namespace=A", 400, `"field":"namespace"`},
		{nil, "/mesh/render?tags=a%3Dheader:cookie", 400, `"field":"tags"`},
		{nil, "/mesh/render?rate=1", 400, `"field":"rate"`},
		{none, "/mesh/render", 400, `"field":"version"`},
		{nil, "/mesh/plan?for=helm", 400, "spanloom mesh plan -f DIR --for helm -o patch | git apply"},
		{none, "/mesh/plan?version=1.28", 501, "this server reads no cluster"},
		{away, "/mesh/plan?version=1.28", 503, "forbidden"},
	} {
		if w := serve(t, c.change).get(c.path); w.Code != c.code || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d, want %d with %s\n%s", c.path, w.Code, c.code, c.says, w.Body)
		}
	}
	if w := serve(t, nil).ask("POST", "/mesh/plan", "{}", "Content-Type: application/json"); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
