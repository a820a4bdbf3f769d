package uiapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
)

// factsFile is a mesh whose Telemetry names a provider that is not defined.
const factsFile = `{"version":1,"source":"files","collected":"1767229190000000000","objects":{"counts":{"Telemetry":1},
"meshes":[{"kind":"MeshConfig","name":"mesh.yaml","file":"mesh.yaml","line":1,"form":"plain","extensionProviders":[{"name":"otel","type":"opentelemetry","service":"c.t.svc.cluster.local","port":4317,"line":2,"index":0}]}],
"telemetries":[{"kind":"Telemetry","namespace":"istio-system","name":"mesh","file":"t.yaml","line":1,"order":0,"tracing":[{"providers":["otle"],"providersLine":7,"sampling":100}]}],
"workloads":[{"kind":"Deployment","namespace":"shop","name":"web","labels":{"app":"web"}}]},
"unread":[{"name":"x.json","why":"half a file"}]}`

func (s *server) report(t *testing.T, method, path, body string) *doctor.Report {
	t.Helper()
	w := s.ask(method, path, body, "Content-Type: application/json")
	r := new(doctor.Report)
	if err := json.Unmarshal(w.Body.Bytes(), r); err != nil || w.Code != 200 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return r
}

func causes(r *doctor.Report) string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity != doctor.Info {
			out = append(out, f.Cause)
		}
	}
	return string(r.State) + ": " + strings.Join(out, " ")
}

func TestDoctor(t *testing.T) {
	s := serve(t, nil)
	if got := causes(s.report(t, "GET", "/doctor?start=1h", "")); got != "healthy: collector-path" {
		t.Error(got)
	}
	if got := causes(s.report(t, "POST", "/doctor?alone=true", factsFile)); got != "broken: provider-undefined" {
		t.Error(got)
	}
	both := s.report(t, "POST", "/doctor", factsFile)
	if got := causes(both); got != "partial: provider-undefined collector-path" {
		t.Error(got)
	}
	if both.Window == nil || both.Source != "files" {
		t.Errorf("window %v, source %s", both.Window, both.Source)
	}
	ko := s.report(t, "POST", "/doctor?alone=true&lang=ko", factsFile)
	if k := doctor.InKorean("T0103"); len(ko.Findings) == 0 || ko.Findings[0].Title != k.Title || ko.Findings[0].Fix.General != k.Fix {
		t.Errorf("%+v", ko.Findings)
	}
}

func TestDoctorRefuses(t *testing.T) {
	s := serve(t, nil)
	for _, c := range []struct{ method, path, body, contentType, want string }{
		{"POST", "/doctor", "{", "application/json", `"field":"facts"`},
		{"POST", "/doctor", `{"version":9}`, "application/json", "version 9"},
		{"POST", "/doctor", `{"version":1,"secret":1}`, "application/json", "no facts file"},
		{"POST", "/doctor", factsFile, "text/plain", `"field":"Content-Type"`},
		{"POST", "/doctor?alone=yes", factsFile, "application/json", `"field":"alone"`},
		{"POST", "/doctor?lang=fr", factsFile, "application/json", `"field":"lang"`},
		{"GET", "/doctor?alone=true", "", "", `"field":"alone"`},
		{"GET", "/doctor?start=1m&end=2m", "", "", `"field":"start"`},
		{"DELETE", "/doctor", "", "", "GET, POST"},
		{"POST", "/doctor", `{"version":1,"source":"` + strings.Repeat("x", maxFactsBody) + `"}`, "application/json", "at most 67108864"},
	} {
		w := s.ask(c.method, c.path, c.body, "Content-Type: "+c.contentType)
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if w := s.ask("POST", "/doctor", factsFile, "Content-Type: application/json", "Origin: https://elsewhere.example"); w.Code != 403 {
		t.Errorf("a foreign page may post facts: %d", w.Code)
	}
	s = serve(t, func(o *Options) { o.Doctor = nil })
	if w := s.get("/doctor"); w.Code != 501 {
		t.Errorf("no doctor: %d", w.Code)
	}
}
