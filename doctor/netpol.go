package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// blockedBy finds the NetworkPolicies that keep a workload from its collector: egress of the sender, then ingress of the
// receiver. nil if none does, or if that cannot be told.
func (x *exam) blockedBy(s *subject, host string, port int) *draft {
	policies := x.f.Objects.NetworkPolicies
	services := x.f.Objects.FindHost(host)
	if len(policies) == 0 || port == 0 || s.assumedAnywhere() {
		return nil
	}
	to := end{namespace: namespaceOf(host)}
	target := port
	if len(services) > 0 {
		to.namespace, to.labels = services[0].Namespace, services[0].Selector
		if p := services[0].Port(port); p != nil {
			fmt.Sscanf(p.Target, "%d", &target)
		}
		for _, a := range services[0].Addresses {
			to.addresses = append(to.addresses, a.Address)
			if a.App != "" && len(to.labels) == 0 {
				to.labels = map[string]string{"app": a.App}
			}
		}
		for _, w := range x.f.Objects.Workloads {
			if w.Namespace == to.namespace && len(services[0].Selector) > 0 && istio.Matches(services[0].Selector, w.Labels) {
				to.labels = w.Labels
			}
		}
	}
	from := end{namespace: s.namespace, labels: s.labels}
	if d := x.side(policies, from, to, target, false, s); d != nil {
		return d
	}
	if to.labels == nil {
		return nil
	}
	return x.side(policies, to, from, target, true, s)
}

type end struct {
	namespace string
	labels    map[string]string
	addresses []string
}

// side evaluates the policies that select one end. Policies add up: traffic passes if any of them allows it.
func (x *exam) side(policies []istio.NetworkPolicy, own, other end, port int, ingress bool, s *subject) *draft {
	var selecting []istio.NetworkPolicy
	for _, p := range policies {
		if p.Namespace != own.namespace || !query(p.Pods, own.labels) {
			continue
		}
		rules, applies := p.Out, p.Egress
		if ingress {
			rules, applies = p.In, p.Ingress
		}
		if !applies {
			continue
		}
		for _, r := range rules {
			if x.ruleAllows(r, own, other, port) {
				return nil
			}
		}
		selecting = append(selecting, p)
	}
	if len(selecting) == 0 {
		return nil
	}
	p := selecting[0]
	direction, field := "egress", "spec.egress"
	if ingress {
		direction, field = "ingress", "spec.ingress"
	}
	rules := p.Out
	if ingress {
		rules = p.In
	}
	var has []string
	line := 0
	for _, r := range rules {
		line = r.Line
		for _, q := range r.Ports {
			has = append(has, fmt.Sprint(q.From))
		}
	}
	at := p.Ref.At(field, line)
	if slices.ContainsFunc(rules, func(r istio.PolicyRule) bool {
		return x.ruleAllows(istio.PolicyRule{Ports: r.Ports}, own, other, port)
	}) {
		return peersDraft(p, at, direction, own, other, port)
	}
	ports := quote(strings.Join(has, ", "))
	if ports.empty() {
		ports = say("none")
	}
	return &draft{code: "T0310", object: at, detail: say("%s lets %s of %s pass to the ports %s only, not to %d", p.Ref, direction, own.namespace, ports, port), evidence: []Text{say("%s: allowed ports %s; %d policies select the pods, none allows TCP %d", place(at), ports, len(selecting), port)},
		fix: Fix{text: say("Add port %d to the %s rules of %s.", port, direction, p.Ref), Command: editCommand(p.Ref), Diff: diff(at, "", fmt.Sprintf("- port: %d\n  protocol: TCP", port))}}
}

// peersDraft: the port is allowed, and not for the other end.
func peersDraft(p istio.NetworkPolicy, at istio.Ref, direction string, own, other end, port int) *draft {
	side := map[string]string{"egress": "to", "ingress": "from"}[direction]
	what := say("%s does not let egress of %s pass to namespace %s", p.Ref, own.namespace, other.namespace)
	if side == "from" {
		what = say("%s does not let ingress of %s pass from namespace %s", p.Ref, own.namespace, other.namespace)
	}
	return &draft{code: "T0310", object: at, detail: what, evidence: []Text{say("%s: no rule's peers include pods of %s", place(at), other.namespace)},
		fix: Fix{text: say("Add namespace %s to the %s rules of %s, for port %d.", other.namespace, direction, p.Ref, port), Command: editCommand(p.Ref), Diff: diff(at, "", fmt.Sprintf("- %s: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}]\n  ports: [{port: %d, protocol: TCP}]", side, other.namespace, port))}}
}

func (x *exam) ruleAllows(r istio.PolicyRule, own, other end, port int) bool {
	if len(r.Ports) > 0 && !slices.ContainsFunc(r.Ports, func(p istio.PolicyPort) bool {
		if p.Protocol != "" && p.Protocol != "TCP" {
			return false
		}
		return p.Name != "" || p.From == 0 || port >= p.From && port <= p.To // a named port cannot be told: it counts as allowed
	}) {
		return false
	}
	return len(r.Peers) == 0 || slices.ContainsFunc(r.Peers, func(p istio.PolicyPeer) bool { return x.peerIs(p, own, other) })
}

func (x *exam) peerIs(p istio.PolicyPeer, own, other end) bool {
	if p.CIDR != "" {
		prefix, err := netip.ParsePrefix(p.CIDR)
		if err != nil {
			return true
		}
		if len(other.addresses) == 0 {
			return true // pods' addresses are not known
		}
		return slices.ContainsFunc(other.addresses, func(a string) bool {
			addr, err := netip.ParseAddr(a)
			return err != nil || prefix.Contains(addr)
		})
	}
	if p.Namespaces == nil {
		if other.namespace != own.namespace {
			return false
		}
	} else if !query(*p.Namespaces, x.namespaceLabels(other.namespace)) {
		return false
	}
	return p.Pods == nil || other.labels == nil || query(*p.Pods, other.labels)
}

func (x *exam) namespaceLabels(name string) map[string]string {
	for _, n := range x.f.Objects.Namespaces {
		if n.Name == name {
			return n.Labels
		}
	}
	return map[string]string{"kubernetes.io/metadata.name": name, "name": name}
}

// query evaluates a label selector.
func query(q istio.LabelQuery, labels map[string]string) bool {
	if !istio.Matches(q.Labels, labels) {
		return false
	}
	for _, r := range q.Rules {
		v, has := labels[r.Key]
		ok := true
		switch r.Op {
		case "In":
			ok = has && slices.Contains(r.Values, v)
		case "NotIn":
			ok = !has || !slices.Contains(r.Values, v)
		case "Exists":
			ok = has
		case "DoesNotExist":
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

// egressWithoutDNS warns of namespaces whose egress policies leave DNS out.
func (x *exam) egressWithoutDNS() {
	done := make(map[string]bool)
	for _, p := range x.f.Objects.NetworkPolicies {
		if !p.Egress || done[p.Namespace] || len(p.Pods.Labels)+len(p.Pods.Rules) > 0 {
			continue
		}
		done[p.Namespace] = true
		allowed := slices.ContainsFunc(x.f.Objects.NetworkPolicies, func(o istio.NetworkPolicy) bool {
			return o.Egress && o.Namespace == p.Namespace && slices.ContainsFunc(o.Out, func(r istio.PolicyRule) bool {
				return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(q istio.PolicyPort) bool { return q.Name != "" || q.From == 0 || q.From <= 53 && q.To >= 53 })
			})
		})
		if !allowed {
			at := p.Ref.At("spec.egress", 0)
			x.add(&draft{code: "T0412", object: at, detail: say("%s is the only egress policy of %s, and it leaves DNS (53) and istiod (15012) out", p.Ref, p.Namespace), evidence: []Text{quote(place(at))},
				fix: Fix{text: say("Allow port 53 (UDP and TCP) and istiod's 15012 beside it."), Command: editCommand(p.Ref), Diff: diff(at, "", "- ports:\n  - {port: 53, protocol: UDP}\n  - {port: 53, protocol: TCP}\n- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: istio-system}}}]\n  ports: [{port: 15012}]")}}, "")
		}
	}
}

// egressYAML is a policy that lets spans of a namespace out.
func egressYAML(from, to string, port int) string {
	return fmt.Sprintf("+apiVersion: networking.k8s.io/v1\n+kind: NetworkPolicy\n+metadata: {name: allow-spans, namespace: %s}\n+spec:\n+  podSelector: {}\n+  policyTypes: [Egress]\n+  egress:\n+  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}}]\n+    ports: [{port: %d, protocol: TCP}]\n", from, to, port)
}
