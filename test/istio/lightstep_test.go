package istio_test

import "testing"

// istiod 1.31 has no tracer for Lightstep, and does not say so: asked for one, it calls a function that is not there.
// mesh/istio takes such a provider for none at all since 1.27; what really happens is worse, and docs/findings/T0103.md
// says it.
func TestLightstepStopsIstiod(t *testing.T) {
	c := meshCase{
		mesh:     "extensionProviders:\n- name: step\n  lightstep: {service: otel.obs.svc.cluster.local, port: 4317, accessToken: x}\nrootNamespace: istio-system\n",
		configs:  fixed + "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: mesh-default, namespace: istio-system}\nspec: {tracing: [{providers: [{name: step}]}]}\n",
		services: collectors, namespace: "shop", labels: map[string]string{"app": "web"}, version: "1.31.0",
	}
	defer func() {
		if recover() == nil {
			t.Error("istiod made listeners: does it trace to Lightstep again? Then lastTraced of mesh/istio is out of date")
		}
	}()
	client, server := istiod(t, c)
	t.Logf("client %v, server %v", client, server)
}
