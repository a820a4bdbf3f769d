package doctor_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
)

// Saved facts give the same report.
func TestFactsAreReplayed(t *testing.T) {
	for _, dir := range []string{"testdata/cases/f30-sidecar-egress-hides-collector", "testdata/cases/h12-collector-in-mesh-strict-mtls", "testdata/set-ups/set-up-3-before-9411", "testdata/set-ups/set-up-1"} {
		f, err := collect.Files(t.Context(), []string{dir}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := text(doctor.Diagnose(f, doctor.Options{}))
		var saved bytes.Buffer
		if err := f.Save(&saved); err != nil {
			t.Fatal(err)
		}
		again, err := doctor.LoadFacts(&saved)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(doctor.Diagnose(again, doctor.Options{})); got != want {
			t.Errorf("%s: replayed\n%s\nwant\n%s", dir, got, want)
		}
	}
}

func TestFactsHoldNoSecrets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "objects.yaml", `
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {password: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, annotations: {deploy-key: hunter2}}
spec:
  template:
    metadata:
      labels: {app: web}
      annotations: {vault.hashicorp.com/token: hunter2, proxy.istio.io/config: "{proxyMetadata: {KEY: hunter2}, tracing: {customTags: {a: {literal: {value: hunter2}}}}}"}
    spec:
      containers:
      - name: web
        env:
        - {name: PASSWORD, value: hunter2}
        - {name: OTEL_EXPORTER_OTLP_HEADERS, value: "authorization=hunter2"}
        - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://user:hunter2@tempo.monitoring:4317/x?key=hunter2"}
        - {name: OTEL_PROPAGATORS, value: "b3,hunter2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {proxyMetadata: {KEY: hunter2}, tracing: {customTags: {a: {literal: {value: hunter2}}}}}", other: hunter2}
`)
	f, err := collect.Files(t.Context(), []string{dir}, collect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Save(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a secret is in the facts:\n%s", b.String())
	}
	if w := f.Objects.Workloads[0]; w.SDK == nil || w.SDK.Host != "tempo.monitoring" || w.SDK.Port != 4317 {
		t.Errorf("the endpoint is lost: %+v", w.SDK)
	}
}

func TestLoadFactsRefusesOthers(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"version": 99, "source": "files", "objects": {}}`, "version 99"},
		{`{"kind": "Pod"}`, "no facts file"},
		{`not JSON`, "no facts file"},
	} {
		if _, err := doctor.LoadFacts(strings.NewReader(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.in, err)
		}
	}
}

// JSON is what others read: these names must stay.
func TestReportJSON(t *testing.T) {
	r := diagnose(t, "testdata/cases/f08-otlp-port-4317-missing-in-service")
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		State    string
		Findings []map[string]json.RawMessage
		Stations []struct {
			Workload string
			Stations []map[string]string
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"code", "cause", "severity", "object", "workloads", "evidence", "fix", "dependsOn"} {
		if _, ok := got.Findings[0][key]; !ok {
			t.Errorf("finding without %s", key)
		}
	}
	if string(got.Findings[0]["cause"]) != `"provider-port-missing"` || got.State != "broken" || len(got.Stations) != 3 || len(got.Stations[0].Stations) != len(doctor.StationNames) {
		t.Errorf("%s", data)
	}
	empty, err := json.Marshal(doctor.Diagnose(&doctor.Facts{}, doctor.Options{}))
	if err != nil || !strings.Contains(string(empty), `"findings":[],"stations":[]`) {
		t.Errorf("%s %v", empty, err)
	}
}
