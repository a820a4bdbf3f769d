package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
)

// aMesh traces everything to Tempo. NS are labels of the namespace shop, WEB those of the Service web.
const aMesh = `apiVersion: v1
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
metadata: {name: mesh-default, namespace: istio-system}
spec: {tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 10}]}
---
apiVersion: v1
kind: Service
metadata: {name: tempo, namespace: monitoring}
spec: {selector: {app: tempo}, ports: [{name: grpc-otlp, port: 4317}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: tempo, namespace: monitoring}
spec: {template: {metadata: {labels: {app: tempo}}, spec: {containers: [{name: c, ports: [{containerPort: 4317}]}]}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {NS}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {WEB}}
spec: {selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec: {rules: [{backendRefs: [{name: web, port: 8080}]}]}
`

const aWaypoint = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: FOR}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`

const ambientMode = "istio.io/dataplane-mode: ambient"

// An ambient workload is called what it is: no sidecar is missing, and its spans are a waypoint's.
func TestAmbient(t *testing.T) {
	shared := strings.NewReplacer("namespace: shop, labels", "namespace: infra, labels", "protocol: HBONE", "protocol: HBONE, allowedRoutes: {namespaces: {from: All}}").Replace(aWaypoint)
	for _, c := range []struct {
		name, namespace, service, more, waypointFor string
		causes                                      []string
		injected, policy                            string // beginnings of what the stations of shop/web say
	}{
		{"no waypoint", ambientMode, "", "", "", []string{"ambient-without-waypoint"}, "unknown in ambient mode without a waypoint", "unknown nothing makes spans"},
		{"a waypoint that nobody uses", ambientMode, "", aWaypoint, "service", []string{"ambient-without-waypoint"}, "unknown in ambient mode without", "unknown"},
		{"a waypoint of the namespace", ambientMode + ", istio.io/use-waypoint: waypoint", "", aWaypoint, "service", nil, "green in ambient mode: ztunnel makes no spans, waypoint shop/waypoint makes them (Namespace shop names it)", "green as written: provider tempo"},
		{"a waypoint of the Service", ambientMode, "istio.io/use-waypoint: waypoint", aWaypoint, "all", nil, "green in ambient mode: ztunnel makes no spans, waypoint shop/waypoint makes them (Service shop/web names it)", "green as written"},
		{"a waypoint for workloads only", ambientMode, "istio.io/use-waypoint: waypoint", aWaypoint, "workload", []string{"ambient-without-waypoint"}, "unknown in ambient mode without", "unknown"},
		{"the Service wants none", ambientMode + ", istio.io/use-waypoint: waypoint", "istio.io/use-waypoint: none", aWaypoint, "service", []string{"ambient-without-waypoint"}, "unknown", "unknown"},
		{"a waypoint of another namespace", ambientMode, "istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: infra", shared, "service", nil, "green in ambient mode: ztunnel makes no spans, waypoint infra/waypoint", "green"},
		{"a waypoint that is not there", ambientMode, "istio.io/use-waypoint: other", aWaypoint, "service", nil, "unknown in ambient mode: ztunnel makes no spans, waypoint shop/other would", "unknown waypoint shop/other was not read"},
		{"a waypoint that is switched off", ambientMode + ", istio.io/use-waypoint: waypoint", "", aWaypoint + "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: quiet, namespace: shop}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}], tracing: [{disableSpanReporting: true}]}\n",
			"service", []string{"reporting-disabled"}, "green", "red"},
		{"sidecars as ever", "istio-injection: enabled", "", "", "", nil, "green the namespace has istio-injection=enabled", "green"},
		{"sidecars win over ambient mode", ambientMode + ", istio-injection: enabled", "", "", "", nil, "green the namespace has istio-injection=enabled", "green"},
		{"neither", "team: a", "", "", "", []string{"sidecar-missing"}, "red", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "mesh.yaml")
			text := strings.NewReplacer("NS", c.namespace, "WEB", c.service, "FOR", c.waypointFor).Replace(aMesh + c.more)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := diagnose(t, file)
			if !same(grave(r), c.causes) {
				t.Errorf("%v, want %v\n%s", grave(r), c.causes, r.Reason)
			}
			looked := 0
			for _, chain := range r.Stations {
				for _, s := range chain.Stations {
					want := map[string]string{"injected": c.injected, "policy": c.policy}[s.Name]
					if chain.Workload != "shop/web" {
						continue
					}
					if looked++; !strings.HasPrefix(string(s.State)+" "+s.Reason, want) {
						t.Errorf("%s: %s %s, want %s…", s.Name, s.State, s.Reason, want)
					}
				}
			}
			if looked != len(doctor.StationNames) {
				t.Errorf("%d stations of shop/web, want %d", looked, len(doctor.StationNames))
			}
		})
	}
}
