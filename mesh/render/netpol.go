package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// OpenPorts are those that the ingress policy of Spanloom's pods leaves open.
var OpenPorts = []int{4317, 4318, 9411, 15008, 16686, 16685, 3200, 9095, 8888}

// Isolated are pods whose egress a NetworkPolicy limits already, and what spans need and it does not let pass.
type Isolated struct {
	Namespace string
	Policy    string // the first policy that isolates them
	Pods      istio.LabelQuery
	Spans     bool // spans do not pass
	DNS       bool // name look-ups do not pass
	Istiod    bool // the control plane cannot be reached
}

// Name of the policy that lets spans pass.
func (i Isolated) Name() string {
	if len(i.Pods.Labels)+len(i.Pods.Rules) == 0 {
		return "allow-spans"
	}
	return "allow-spans-" + i.Policy
}

// Missing says what the pods cannot reach.
func (i Isolated) Missing() string {
	var out []string
	for _, m := range []struct {
		missing bool
		what    string
	}{{i.Spans, "spans"}, {i.DNS, "DNS (53)"}, {i.Istiod, "istiod (15012)"}} {
		if m.missing {
			out = append(out, m.what)
		}
	}
	return strings.Join(out, ", ")
}

// Selector is the pods' selector in YAML's flow form.
func (i Isolated) Selector() (string, error) {
	var parts []string
	if len(i.Pods.Labels) > 0 {
		var pairs []string
		for _, k := range sortedKeys(i.Pods.Labels) {
			v, err := quote(i.Pods.Labels[k])
			if err != nil {
				return "", err
			}
			pairs = append(pairs, k+": "+v)
		}
		parts = append(parts, "matchLabels: {"+strings.Join(pairs, ", ")+"}")
	}
	var rules []string
	for _, r := range i.Pods.Rules {
		text := "{key: " + r.Key + ", operator: " + r.Op
		if len(r.Values) > 0 {
			var values []string
			for _, x := range r.Values {
				v, err := quote(x)
				if err != nil {
					return "", err
				}
				values = append(values, v)
			}
			text += ", values: [" + strings.Join(values, ", ") + "]"
		}
		rules = append(rules, text+"}")
	}
	if len(rules) > 0 {
		parts = append(parts, "matchExpressions: ["+strings.Join(rules, ", ")+"]")
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Isolate lists the pods that need an egress rule for the intent's spans, for DNS or for istiod.
func Isolate(in Intent, present *istio.Objects) []Isolated {
	return view{Intent: in, present: present}.Isolated()
}

// Read tells whether anything of the mesh was read.
func (v view) Read() bool { return v.present != nil }

// Policies is how many NetworkPolicies were read.
func (v view) Policies() int {
	if v.present == nil {
		return 0
	}
	return len(v.present.NetworkPolicies)
}

// Isolated lists the pods that need an egress rule: those that some egress policy selects and none lets out. Pods that no
// egress policy selects may send everything, and the first policy would take that from them.
func (v view) Isolated() []Isolated {
	if v.present == nil {
		return nil
	}
	var out []Isolated
	for _, p := range v.present.NetworkPolicies {
		if !p.Egress || slices.ContainsFunc(out, func(i Isolated) bool { return i.Namespace == p.Namespace && sameQuery(i.Pods, p.Pods) }) {
			continue
		}
		i := Isolated{Namespace: p.Namespace, Policy: p.Name, Pods: p.Pods}
		i.Spans = !v.passes(p, v.Namespace, "TCP", v.Port())
		i.DNS = !v.passes(p, "kube-system", "UDP", 53)
		i.Istiod = !v.passes(p, v.RootNamespace, "TCP", 15012)
		if i.Spans || i.DNS || i.Istiod {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b Isolated) int {
		return strings.Compare(a.Namespace+"/"+a.Policy, b.Namespace+"/"+b.Policy)
	})
	return out
}

func sameQuery(a, b istio.LabelQuery) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// passes tells whether the pods of a policy may reach a port of a namespace. Policies add up: another one with the same
// pods, or with all of the namespace, counts too. A rule whose peers cannot be judged from objects (addresses, labels of
// pods) counts as passing: a rule more is harmless, an alarm about a healthy mesh is not.
func (v view) passes(of istio.NetworkPolicy, namespace, protocol string, port int) bool {
	for _, p := range v.present.NetworkPolicies {
		if !p.Egress || p.Namespace != of.Namespace || !sameQuery(p.Pods, of.Pods) && len(p.Pods.Labels)+len(p.Pods.Rules) > 0 {
			continue
		}
		for _, r := range p.Out {
			if portPasses(r, protocol, port) && v.peerPasses(r, of.Namespace, namespace) {
				return true
			}
		}
	}
	return false
}

func portPasses(r istio.PolicyRule, protocol string, port int) bool {
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p istio.PolicyPort) bool {
		return or(p.Protocol, "TCP") == protocol && (p.Name != "" || p.From == 0 || port >= p.From && port <= max(p.To, p.From))
	})
}

func (v view) peerPasses(r istio.PolicyRule, own, namespace string) bool {
	return len(r.Peers) == 0 || slices.ContainsFunc(r.Peers, func(p istio.PolicyPeer) bool {
		switch {
		case p.CIDR != "":
			return true
		case p.Namespaces == nil:
			return own == namespace
		}
		labels := map[string]string{"kubernetes.io/metadata.name": namespace}
		for _, n := range v.present.Namespaces {
			if n.Name == namespace {
				for k, l := range n.Labels {
					labels[k] = l
				}
			}
		}
		return matches(*p.Namespaces, labels)
	})
}

func matches(q istio.LabelQuery, labels map[string]string) bool {
	return istio.Matches(q.Labels, labels) && !slices.ContainsFunc(q.Rules, func(r istio.LabelRule) bool {
		value, has := labels[r.Key]
		in := has && slices.Contains(r.Values, value)
		return r.Op == "In" && !in || r.Op == "NotIn" && in || r.Op == "Exists" && !has || r.Op == "DoesNotExist" && has
	})
}
