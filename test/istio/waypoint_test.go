package istio_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/spanloom/spanloom/doctor/collect"
)

// randomWaypoints are two Gateways, a namespace and its Service, with labels as people set them.
func randomWaypoints(r *rand.Rand) (gateways, services string) {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	labels := func() string {
		var out []string
		if name := one("", "waypoint", "waypoint", "waypoint", "none", "gone"); name != "" {
			out = append(out, "istio.io/use-waypoint: "+name)
		}
		if place := one("", "", "infra", "infra", "shop"); place != "" {
			out = append(out, "istio.io/use-waypoint-namespace: "+place)
		}
		return strings.Join(out, ", ")
	}
	var g, s strings.Builder
	for i, namespace := range []string{"shop", "infra"} {
		of := ""
		if f := one("", "", "", "service", "all", "workload", "none"); f != "" {
			of = "istio.io/waypoint-for: " + f
		}
		allowed := one("", ", allowedRoutes: {namespaces: {from: All}}", ", allowedRoutes: {namespaces: {from: Same}}")
		fmt.Fprintf(&g, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: waypoint, namespace: %s, labels: {%s}}\nspec:\n  gatewayClassName: %s\n  listeners: [{name: mesh, port: 15008, protocol: HBONE%s}]\nstatus:\n  addresses: [{type: Hostname, value: waypoint.%s.svc.cluster.local}]\n",
			namespace, of, one("istio-waypoint", "istio-waypoint", "istio-waypoint", "istio-waypoint", "istio"), allowed, namespace)
		fmt.Fprintf(&s, "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: waypoint\n  namespace: %s\n  labels: {gateway.istio.io/managed: istio.io-mesh-controller, gateway.networking.k8s.io/gateway-name: waypoint}\nspec:\n  clusterIP: 10.2.1.%d\n  ports: [{name: mesh, port: 15008, appProtocol: hbone}]\n  selector: {gateway.networking.k8s.io/gateway-name: waypoint}\n", namespace, 10+i)
		fmt.Fprintf(&s, "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: waypoint-%d, namespace: %s}\nspec: {address: %s, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}\n", i, namespace, waypointOf[namespace])
	}
	fmt.Fprintf(&s, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, %s}}\n", labels())
	fmt.Fprintf(&s, "---\napiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop, labels: {%s}}\nspec:\n  clusterIP: 10.2.1.20\n  ports: [{name: http, port: 80}]\n  selector: {app: cart}\n", labels())
	return g.String(), s.String()
}

var waypointOf = map[string]string{"shop": "10.1.2.1", "infra": "10.1.2.2"}

// TestRandomWaypoints: the waypoint that mesh/istio says takes a Service's requests is the one for which istiod makes a
// chain of that Service. SPANLOOM_MESHES/3 cases, from SPANLOOM_SEED.
func TestRandomWaypoints(t *testing.T) {
	kinds := make(map[string]int)
	cases, first := number("SPANLOOM_MESHES", 200)/3, number("SPANLOOM_SEED", 1)
	for seed := first; seed < first+cases; seed++ {
		gateways, services := randomWaypoints(rand.New(rand.NewPCG(uint64(seed), 1)))
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			c := meshCase{mesh: "rootNamespace: istio-system\n", configs: strings.TrimPrefix(gateways, "---\n"), services: strings.TrimPrefix(services, "---\n"), version: "1.31.0", waypoint: true, host: "cart.shop.svc.cluster.local"}
			s, m := serve(t, c)
			var theirs []string
			for _, namespace := range []string{"infra", "shop"} {
				c.namespace = namespace
				c.labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "waypoint", "gateway.istio.io/managed": "istio.io-mesh-controller"}
				c.address = waypointOf[namespace]
				// What istiod deploys for a Gateway of another class is a router, whatever names it as a waypoint.
				_, of, _ := strings.Cut(gateways, "namespace: "+namespace+",")
				of, _, _ = strings.Cut(of, "listeners")
				c.waypoint = strings.Contains(of, "istio-waypoint")
				c.gateway = !c.waypoint
				if slices.ContainsFunc(s.Listeners(proxyOf(t, s, m, c)), func(l *listener.Listener) bool {
					return slices.ContainsFunc(chains(l), func(f *listener.FilterChain) bool { return strings.HasSuffix(f.Name, "|"+c.host) })
				}) {
					theirs = append(theirs, namespace+"/waypoint")
				}
			}
			file := filepath.Join(t.TempDir(), "mesh.yaml")
			text := gateways + services + "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart, namespace: shop}\nspec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: cart}]}}}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := collect.Files(t.Context(), []string{file}, collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var say []string
			for i := range f.Objects.Workloads {
				w := &f.Objects.Workloads[i]
				if !f.Objects.Ambient(w) {
					t.Errorf("%s is not ambient", w.Name)
				}
				for _, u := range f.Objects.Waypoints(w) {
					if u.Gateway != nil && u.Service != nil {
						say = append(say, u.Namespace+"/"+u.Name)
					}
				}
			}
			kinds[strings.Join(theirs, " ")]++
			if !slices.Equal(say, theirs) {
				t.Errorf("istiod: %v, ours: %v\n%s", theirs, say, text)
			}
		})
	}
	t.Logf("%d cases: %v", cases, kinds)
	if cases >= 60 && len(kinds) < 3 {
		t.Errorf("only %v came up", kinds)
	}
}
