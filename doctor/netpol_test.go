package doctor_test

import (
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
)

// NetworkPolicies are evaluated at both ends: what is said of spans of shop/web to monitoring/tempo, port 4317.
func TestNetworkPolicies(t *testing.T) {
	const base = "extensionProviders: [{name: tempo, opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}}]\n"
	const objects = `apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: m, namespace: istio-system}
spec: {tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 10}]}
---
apiVersion: v1
kind: Service
metadata: {name: tempo, namespace: monitoring}
spec: {selector: {app: tempo}, ports: [{name: grpc-otlp, port: 4317, targetPort: 14317}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled, team: a}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}}
---
`
	policy := func(namespace, spec string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: " + namespace + "}\nspec: " + spec + "\n---\n"
	}
	const dns = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: dns, namespace: shop}\nspec: {podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}]}]}\n---\n"
	for _, c := range []struct{ name, policies, says string }{
		{"none", "", ""},
		{"egress to everything", policy("shop", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), ""},
		{"egress denied", dns + policy("shop", "{podSelector: {}, policyTypes: [Egress]}"), "ports 53 only, not to 14317"},
		{"egress to another port", dns + policy("shop", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 4317}]}]}"), "not to 14317"},
		{"egress to the pod's port", dns + policy("shop", "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 14317}]}]}"), ""},
		{"egress to a range", dns + policy("shop", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 14000, endPort: 15000}]}]}"), ""},
		{"another policy adds it", dns + policy("shop", "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}]}"), ""},
		{"a policy for other pods", policy("shop", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}"), ""},
		{"ingress from nobody", policy("monitoring", "{podSelector: {matchLabels: {app: tempo}}, policyTypes: [Ingress]}"), "lets ingress of monitoring pass to the ports none only"},
		{"ingress from its own namespace", policy("monitoring", "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), "does not let ingress of monitoring pass from namespace shop"},
		{"ingress from a team", policy("monitoring", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [a, b]}]}}]}]}"), ""},
		{"ingress from another team", policy("monitoring", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [a]}]}}]}]}"), "from namespace shop"},
		{"ingress by address", policy("monitoring", "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "mesh.yaml", base)
			write(t, dir, "o.yaml", objects+c.policies)
			f, err := collect.Files(t.Context(), []string{dir}, collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			for _, x := range doctor.Diagnose(f, doctor.Options{}).Findings {
				if x.Cause == "network-blocked" {
					said += x.Detail
				}
			}
			if (c.says == "") != (said == "") || !strings.Contains(said, c.says) {
				t.Errorf("said %q, want %q", said, c.says)
			}
		})
	}
}
