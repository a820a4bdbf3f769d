package istio_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ours "github.com/spanloom/spanloom/mesh/istio"
)

// fixed is what every mesh has: collectors, one of them twice, the web workload, what it calls, and a gateway. A waypoint
// has meshes of its own (ambient).
const fixed = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.1.1.1, labels: {app: web}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8081, name: http, protocol: HTTP}]
  endpoints: [{address: 10.1.1.3, labels: {app: api}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dup, namespace: obs}
spec:
  hosts: [dup.example.com]
  resolution: STATIC
  ports: [{number: 4317, name: grpc, protocol: GRPC}]
  endpoints: [{address: 10.1.1.4}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dup, namespace: shop}
spec:
  hosts: [dup.example.com]
  resolution: STATIC
  ports: [{number: 4317, name: grpc, protocol: GRPC}]
  endpoints: [{address: 10.1.1.5}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gateway, namespace: ingress}
spec:
  selector: {app: gateway}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: ingress}
spec:
  hosts: ["*"]
  gateways: [gateway]
  http: [{route: [{destination: {host: web.shop.svc.cluster.local, port: {number: 8080}}}]}]
`

// ambient is a waypoint and what it serves: services of its own namespace, of another and of the root.
const ambient = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]
status:
  addresses: [{type: Hostname, value: waypoint.shop.svc.cluster.local}]
---
apiVersion: v1
kind: Service
metadata:
  name: waypoint
  namespace: shop
  labels: {gateway.istio.io/managed: istio.io-mesh-controller, gateway.networking.k8s.io/gateway-name: waypoint}
spec:
  clusterIP: 10.2.0.9
  ports: [{name: mesh, port: 15008, appProtocol: hbone}]
  selector: {gateway.networking.k8s.io/gateway-name: waypoint}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: waypoint-a, namespace: shop}
spec: {address: 10.1.1.6, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec:
  hosts: [app.example.com]
  addresses: [10.3.0.1]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.1.1.7}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop, labels: {istio.io/use-waypoint: waypoint}}
spec:
  clusterIP: 10.2.0.10
  ports: [{name: http, port: 80}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: app, namespace: other, labels: {istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: shop}}
spec:
  hosts: [app.other.example.com]
  addresses: [10.3.0.2]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.1.1.8}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: istio-system, labels: {istio.io/use-waypoint: waypoint, istio.io/use-waypoint-namespace: shop}}
spec:
  clusterIP: 10.2.0.11
  ports: [{name: http, port: 80}]
`

// served are the services of ambient.
var served = []struct {
	ours.ServiceName
	host string
}{
	{ours.ServiceName{Namespace: "shop", Name: "app", Entry: true}, "app.example.com"},
	{ours.ServiceName{Namespace: "shop", Name: "cart"}, "cart.shop.svc.cluster.local"},
	{ours.ServiceName{Namespace: "other", Name: "app", Entry: true}, "app.other.example.com"},
	{ours.ServiceName{Namespace: "istio-system", Name: "cart"}, "cart.istio-system.svc.cluster.local"},
}

// targets are what a Telemetry can attach to; not all of them are there.
var targets = []string{
	"{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}",
	"{group: gateway.networking.k8s.io, kind: Gateway, name: edge}",
	"{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}",
	"{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio}",
	`{group: "", kind: Service, name: cart}`,
	"{group: core, kind: Service, name: cart}",
	"{kind: Service, name: app}",
	"{group: networking.istio.io, kind: ServiceEntry, name: app}",
	"{group: networking.istio.io, kind: ServiceEntry, name: cart}",
}

const collectors = `apiVersion: v1
kind: Service
metadata: {name: otel, namespace: obs}
spec:
  clusterIP: 10.2.0.1
  ports: [{name: grpc-otlp, port: 4317}, {name: http-otlp, port: 4318}]
---
apiVersion: v1
kind: Service
metadata: {name: zipkin, namespace: obs}
spec:
  clusterIP: 10.2.0.2
  ports: [{name: http, port: 9411}]
---
apiVersion: v1
kind: Service
metadata: {name: agent, namespace: shop}
spec:
  clusterIP: 10.2.0.3
  ports: [{name: tcp, port: 8126}, {name: grpc, port: 11800}]
`

// providers are the ways to define one, by name.
var providers = []struct{ name, text string }{
	{"zip", "zipkin: {service: zipkin.obs.svc.cluster.local, port: 9411}"},
	{"zip-ns", "zipkin: {service: obs/zipkin.obs.svc.cluster.local, port: 9411, maxTagLength: 64}"},
	{"zip-lost", "zipkin: {service: gone.obs.svc.cluster.local, port: 9411}"},
	{"zip-path", "zipkin: {service: zipkin.obs.svc.cluster.local, port: 9411, path: /spans, traceContextOption: USE_B3_WITH_W3C_PROPAGATION}"},
	{"otel", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4317}"},
	{"otel-http", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 5s}}"},
	{"otel-short", "opentelemetry: {service: otel, port: 4317}"},
	{"otel-port", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 9999}"},
	{"otel-dup", "opentelemetry: {service: dup.example.com, port: 4317}"},
	{"otel-one", "opentelemetry: {service: obs/dup.example.com, port: 4317}"},
	{"otel-long", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4317, maxTagLength: 512}"},
	{"dyn", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4318, http: {path: /v1/traces, timeout: 5s}, dynatraceSampler: {tenant: a, clusterId: 1}}"},
	{"dyn-own", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4317, dynatraceSampler: {tenant: a, clusterId: 1, httpService: {service: zipkin.obs.svc.cluster.local, port: 9411, http: {path: /sampling, timeout: 5s}}}}"},
	{"dyn-lost", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4317, dynatraceSampler: {tenant: a, clusterId: 1, httpService: {service: gone.obs.svc.cluster.local, port: 9411, http: {path: /sampling, timeout: 5s}}}}"},
	{"dyn-grpc", "opentelemetry: {service: otel.obs.svc.cluster.local, port: 4317, dynatraceSampler: {tenant: a, clusterId: 1}}"},
	{"census", "opencensus: {service: otel.obs.svc.cluster.local, port: 4317}"},
	{"stack", "stackdriver: {maxTagLength: 64}"},
	{"dog", "datadog: {service: agent.shop.svc.cluster.local, port: 8126, maxTagLength: 32}"},
	{"sky", "skywalking: {service: agent.shop.svc.cluster.local, port: 11800}"},
	{"logs", "envoyOtelAls: {service: otel.obs.svc.cluster.local, port: 4317}"},
	{"metrics", "prometheus: {}"},
}

// sound are providers that trace, so that not most of the meshes are off.
var sound = []string{"zip", "zip-ns", "zip-path", "otel", "otel-http", "otel-port", "otel-one", "otel-long", "dyn", "dog", "sky"}

// randomCase combines what people write.
func randomCase(r *rand.Rand) meshCase {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	some := func(percent int) bool { return r.IntN(100) < percent }
	provider := func() string {
		if some(6) {
			return "nobody"
		}
		name := providers[r.IntN(len(providers))].name
		if some(60) {
			name = sound[r.IntN(len(sound))]
		}
		if some(5) {
			return strings.ToUpper(name) // istiod does not mind case
		}
		return name
	}
	var m strings.Builder
	if some(30) {
		fmt.Fprintf(&m, "enableTracing: %v\n", some(50))
	}
	if some(30) {
		fmt.Fprintf(&m, "defaultProviders:\n  tracing: [%s]\n", provider())
	}
	tracing := func() string {
		var t []string
		if some(60) {
			t = append(t, "sampling: "+one("0", "0.5", "25", "100", "130", "-5"))
		}
		switch r.IntN(4) {
		case 0:
			t = append(t, "zipkin: {address: zipkin.obs:9411}")
		case 1:
			t = append(t, "{}")
		}
		if some(25) {
			t = append(t, one("customTags: {old: {literal: {value: a}}}", "customTags: {agent: {header: {name: user-agent, defaultValue: none}}, pod: {environment: {name: POD}}}"))
		}
		if some(20) {
			t = append(t, "maxPathTagLength: "+one("0", "128", "1024"))
		}
		if some(15) {
			t = append(t, "enableIstioTags: "+strconv.FormatBool(some(30)))
		}
		t = slices.DeleteFunc(t, func(s string) bool { return s == "{}" })
		return "{" + strings.Join(t, ", ") + "}"
	}
	if some(50) {
		fmt.Fprintf(&m, "defaultConfig:\n  tracing: %s\n", tracing())
	}
	m.WriteString("extensionProviders:\n")
	for _, p := range providers {
		if some(90) {
			fmt.Fprintf(&m, "- name: %s\n  %s\n", p.name, p.text)
		}
	}
	m.WriteString("rootNamespace: istio-system\n")

	var b strings.Builder
	b.WriteString(fixed)
	for i := range r.IntN(7) {
		b.WriteString("---\napiVersion: telemetry.istio.io/" + one("v1", "v1alpha1") + "\nkind: Telemetry\n")
		created := time.Date(2026, 1, 1, 0, 0, r.IntN(5), 0, time.UTC).Format(time.RFC3339)
		fmt.Fprintf(&b, "metadata: {name: t%d, namespace: %s, creationTimestamp: %q}\nspec:\n", i, one("istio-system", "istio-system", "shop", "shop", "ingress", "other"), created)
		switch {
		case some(40):
			fmt.Fprintf(&b, "  selector: {matchLabels: {%s}}\n", one("app: web", "app: web", "app: api", "app: gateway", "tier: front", "gateway.networking.k8s.io/gateway-name: waypoint"))
		case some(12):
			fmt.Fprintf(&b, "  targetRef: %s\n", one(targets...))
		case some(35):
			fmt.Fprintf(&b, "  targetRefs: [%s, %s]\n", one(targets...), one(targets...))
		}
		if some(8) {
			b.WriteString("  metrics: [{providers: [{name: metrics}]}]\n")
			continue
		}
		b.WriteString("  tracing:\n")
		for range 1 + r.IntN(2) {
			var rule []string
			if some(65) {
				rule = append(rule, "providers: [{name: "+provider()+"}]")
			}
			if some(55) {
				rule = append(rule, "randomSamplingPercentage: "+one("0", "0.1", "12.5", "50", "100"))
			}
			if some(20) {
				rule = append(rule, "disableSpanReporting: "+strconv.FormatBool(some(50)))
			}
			if some(30) {
				rule = append(rule, "match: {mode: "+one("CLIENT", "SERVER", "CLIENT_AND_SERVER")+"}")
			}
			if some(35) {
				rule = append(rule, one("customTags: {env: {literal: {value: prod}}}", "customTags: {user: {header: {name: x-user}}, zone: {environment: {name: ZONE}}}", "customTags: {}", "customTags: {path: {formatter: {value: '%REQ(:PATH)%'}}}", "customTags: {path: {formatter: {value: '%REQ(:PATH)%'}}, env: {literal: {value: b}}}"))
			}
			if some(15) {
				rule = append(rule, "useRequestIdForTraceSampling: "+strconv.FormatBool(some(50)))
			}
			if some(15) {
				rule = append(rule, "enableIstioTags: "+strconv.FormatBool(some(40)))
			}
			if some(12) {
				rule = append(rule, "disableContextPropagation: "+strconv.FormatBool(some(60)))
			}
			fmt.Fprintf(&b, "  - {%s}\n", strings.Join(rule, ", "))
		}
	}
	c := meshCase{mesh: m.String(), configs: b.String(), services: collectors, namespace: "shop", labels: map[string]string{"app": "web", "tier": "front"}, version: one("1.27.3", "1.29.0", "1.31.0", "1.31.0", "1.31.0")}
	switch kind := r.IntN(100); {
	case kind < 20:
		c.namespace, c.labels, c.gateway = "ingress", map[string]string{"app": "gateway"}, true
		if some(50) {
			c.labels["gateway.networking.k8s.io/gateway-name"] = "edge"
		}
	case kind < 45:
		to := served[r.IntN(len(served))]
		c.waypoint, c.service, c.host, c.configs = true, &to.ServiceName, to.host, c.configs+ambient
		c.labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "waypoint", "gateway.istio.io/managed": "istio.io-mesh-controller"}
	}
	if some(15) {
		env := []float64{0, 7, 100}[r.IntN(3)]
		c.env = &env
	}
	if some(20) {
		c.annotation = "tracing: " + tracing() + "\n"
	}
	return c
}

func number(name string, usual int) int {
	if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return v
	}
	return usual
}

// TestRandomMeshes holds the two against each other. SPANLOOM_MESHES is how many meshes (200), SPANLOOM_SEED where they begin.
func TestRandomMeshes(t *testing.T) {
	meshes, first := number("SPANLOOM_MESHES", 200), number("SPANLOOM_SEED", 1)
	kinds := make(map[string]int)
	different := 0
	for seed := first; seed < first+meshes; seed++ {
		c := randomCase(rand.New(rand.NewPCG(uint64(seed), 0)))
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			client, server := istiod(t, c)
			ourClient, ourServer := computed(t, c)
			if c.waypoint {
				ourClient = client // requests come to a waypoint; it has no other side
			} else {
				kinds[client.String()]++
			}
			if !c.gateway {
				kinds[server.String()]++
			}
			if client != ourClient || !c.gateway && server != ourServer {
				different++
				t.Errorf("istiod: client %v\n        server %v\nours:   client %v\n        server %v\n%s", client, server, ourClient, ourServer, c.yaml())
			}
		})
	}
	t.Logf("%d meshes, %d different, %d kinds of policy", meshes, different, len(kinds))
	for _, k := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return kinds[b] - kinds[a] }) {
		t.Logf("%5d  %s", kinds[k], k)
	}
	if meshes >= 600 && len(kinds) < 150 {
		t.Errorf("%d kinds of policy are too few to show anything", len(kinds))
	}
}
