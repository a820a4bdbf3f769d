package collect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var kindless = schema.GroupVersion{}

// Levels of what is read of a cluster. Each needs what the one before needs.
const (
	LevelObjects = 1 // get, list and watch of objects
	LevelStats   = 2 // and get of pods/proxy: the proxies' statistics on port 15090
	LevelAdmin   = 3 // and create of pods/portforward: Envoy's admin port and istiod's debug port, both on the pod's loopback
)

// kind is a resource that is listed.
type kind struct {
	group, resource, name string
	traits                trait
}

type trait uint8

const (
	everywhere trait = 1 << iota // it has no namespace
	watched                      // few, and a change of it changes policies
	workloads                    // many: with -n only those of the namespace are read
	optional                     // an add-on: no word if it is not there
)

func (k *kind) is(t trait) bool { return k.traits&t != 0 }

// kinds are read at level 1, in this order. Secrets are none of them, and never become one.
var kinds = []kind{
	{"", "namespaces", "Namespace", everywhere | watched},
	{"networking.istio.io", "envoyfilters", "EnvoyFilter", watched},
	{"networking.istio.io", "proxyconfigs", "ProxyConfig", watched | optional},
	{"telemetry.istio.io", "telemetries", "Telemetry", watched},
	{"security.istio.io", "peerauthentications", "PeerAuthentication", watched},
	{"networking.istio.io", "serviceentries", "ServiceEntry", watched},
	{"networking.istio.io", "destinationrules", "DestinationRule", watched},
	{"networking.istio.io", "sidecars", "Sidecar", watched},
	{"networking.istio.io", "virtualservices", "VirtualService", 0},
	{"gateway.networking.k8s.io", "httproutes", "HTTPRoute", optional},
	{"gateway.networking.k8s.io", "gateways", "Gateway", watched | optional},
	{"install.istio.io", "istiooperators", "IstioOperator", optional},
	{"kiali.io", "kialis", "Kiali", optional},
	{"", "services", "Service", watched},
	{"networking.k8s.io", "networkpolicies", "NetworkPolicy", watched},
	{"apps", "deployments", "Deployment", workloads},
	{"apps", "statefulsets", "StatefulSet", workloads},
	{"apps", "daemonsets", "DaemonSet", workloads},
	{"argoproj.io", "rollouts", "Rollout", workloads | optional},
	{"", "pods", "Pod", workloads},
}

// configMaps are read in the namespace of istiod only, and those by name that pods use; endpoints only of collectors.
var (
	configMaps     = kind{group: "", resource: "configmaps", name: "ConfigMap", traits: watched}
	endpointSlices = kind{group: "discovery.k8s.io", resource: "endpointslices", name: "EndpointSlice"}
	podProxy       = kind{group: "", resource: "pods/proxy", name: "Pod"}
	podForward     = kind{group: "", resource: "pods/portforward", name: "Pod"}
)

// Roles are the rights of a level as manifests: a ClusterRole, and a Role for the ConfigMaps of Istio's namespace.
func Roles(level int, istioNamespace string) string {
	name := fmt.Sprintf("spanloom-doctor-%d", level)
	var b strings.Builder
	fmt.Fprintf(&b, "# What `spanloom doctor` reads at level %d. It never reads Secrets, never runs anything in a pod and changes nothing.\n", level)
	fmt.Fprintf(&b, "# Bind it:\n#   kubectl create clusterrolebinding %s --clusterrole=%s --user=NAME\n#   kubectl create rolebinding -n %s %s --role=%s --user=NAME\n", name, name, istioNamespace, name, name)
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: %s\nrules:\n", name)
	byGroup := make(map[string][]string)
	var groups []string
	for _, k := range append(slices.Clone(kinds), endpointSlices) {
		if byGroup[k.group] == nil {
			groups = append(groups, k.group)
		}
		byGroup[k.group] = append(byGroup[k.group], k.resource)
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "- apiGroups: [%q]\n  resources: [%s]\n  verbs: [get, list, watch]\n", g, strings.Join(byGroup[g], ", "))
	}
	if level >= LevelStats {
		b.WriteString("- apiGroups: [\"\"] # the proxies' statistics on port 15090\n  resources: [pods/proxy]\n  verbs: [get]\n")
	}
	if level >= LevelAdmin {
		b.WriteString("- apiGroups: [\"\"] # Envoy's admin port 15000 and istiod's debug port, on the pod's loopback\n  resources: [pods/portforward]\n  verbs: [create]\n")
	}
	fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: %s\n  namespace: %s\nrules:\n- apiGroups: [\"\"] # mesh configuration\n  resources: [configmaps]\n  verbs: [get, list, watch]\n", name, istioNamespace)
	return b.String()
}

// granted tells where a kind may be listed: everywhere (an empty name), or in some of the namespaces given.
func (c *Client) granted(ctx context.Context, verb string, k *kind, namespaces []string) ([]string, error) {
	if ok, err := c.may(ctx, verb, k, ""); err != nil || ok {
		return []string{""}, err
	}
	if k.is(everywhere) {
		return nil, nil
	}
	var out []string
	for _, ns := range namespaces {
		ok, err := c.may(ctx, verb, k, ns)
		if err != nil {
			return out, err
		}
		if ok {
			out = append(out, ns)
		}
	}
	return out, nil
}
