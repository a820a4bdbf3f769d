package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// subject is a workload with a proxy.
type subject struct {
	name  string
	proxy istio.Proxy
}

// subjects are the workloads whose proxies report, or would: those whose proxy was read, and those that are written in
// namespaces where sidecars are injected.
func (m *maker) subjects() []subject {
	seen := make(map[string]bool)
	var out []subject
	add := func(s subject) {
		if !seen[s.name] {
			seen[s.name] = true
			out = append(out, s)
		}
	}
	for i := range m.state.Proxies {
		p := &m.state.Proxies[i]
		workload := p.Workload
		if workload == "" {
			workload = p.Name
		}
		s := subject{p.Namespace + "/" + workload, istio.Proxy{Namespace: p.Namespace, Labels: p.Labels, Gateway: p.Type == "router", Waypoint: p.Type == "waypoint", Version: p.Istio}}
		if p.Node != "" {
			s.proxy.Injected = p.Config
		}
		add(s)
	}
	if o := m.state.Objects; o != nil {
		for i := range o.Workloads {
			w := &o.Workloads[i]
			gateway := w.Gateway || strings.Contains(w.Labels["istio"], "gateway") || w.Labels["gateway.networking.k8s.io/gateway-name"] != ""
			if w.Kind == "SpringConfig" || w.Kind == "istiod" || w.Pod || !gateway && !w.HasProxy && !m.injected(w) {
				continue
			}
			s := subject{w.Namespace + "/" + w.Name, istio.Proxy{Namespace: w.Namespace, Labels: w.Labels, Gateway: gateway, Waypoint: o.IsWaypoint(w.Namespace, w.Labels)}}
			if w.Config != nil && w.Config.Tracing != nil {
				s.proxy.Injected = w.Config
			}
			add(s)
		}
	}
	slices.SortFunc(out, func(a, b subject) int { return strings.Compare(a.name, b.name) })
	return out
}

// injected tells whether a workload gets a sidecar at its next start, as far as labels say.
func (m *maker) injected(w *istio.Workload) bool {
	if w.HostNetwork || w.Annotations["sidecar.istio.io/inject"] == "false" || w.Labels["sidecar.istio.io/inject"] == "false" {
		return false
	}
	if w.Labels["sidecar.istio.io/inject"] == "true" {
		return true
	}
	return slices.ContainsFunc(m.state.Objects.Namespaces, func(n istio.Namespace) bool {
		return n.Name == w.Namespace && (n.Labels["istio-injection"] == "enabled" || n.Labels["istio.io/rev"] != "" && n.Labels["istio-injection"] != "disabled")
	})
}

func (m *maker) proxied() []string {
	var out []string
	for _, s := range m.subjects() {
		out = append(out, s.name)
	}
	return out
}

// configures tells whether the intent changes what istiod decides; an EnvoyFilter goes past it.
func (m *maker) configures() bool {
	return slices.ContainsFunc(m.in.Targets, func(t render.Target) bool {
		return slices.Contains([]render.Target{render.ConfigMap, render.Helm, render.IstioOperator, render.Telemetry}, t)
	})
}

// outcomes compares how istiod decides about each workload's requests before and after.
func (m *maker) outcomes() []Outcome {
	out := []Outcome{}
	if m.state.Objects == nil {
		return out
	}
	after := istio.Reader{Minor: m.in.Minor}
	for _, f := range m.plan.files {
		_ = after.File(f.name, []byte(f.after())) // what is no YAML was none before either
	}
	for _, f := range m.plan.newFiles {
		_ = after.File(f.Name, []byte(f.Text))
	}
	meshBefore := m.state.Effective
	if meshBefore == nil {
		meshBefore = inForce(m.state.Objects)
	}
	meshAfter := inForce(&after.Objects)
	if m.state.Effective != nil && meshAfter != nil {
		// What istiod has beyond the files stays; what the files add comes.
		joined := *m.state.Effective
		joined.Providers = slices.Clone(joined.Providers)
		for _, p := range meshAfter.Providers {
			if have := joined.Provider(p.Name); have == nil {
				joined.Providers = append(joined.Providers, p)
			} else if p.Name == render.MeshName {
				*have = p
			}
		}
		meshAfter = &joined
	}
	before := *m.state.Objects
	before.Istio, after.Istio = m.in.Minor, m.in.Minor
	for _, s := range m.subjects() {
		was := before.PolicyOf(meshBefore, m.state.Sampling, s.proxy)
		will := after.PolicyOf(meshAfter, m.state.Sampling, s.proxy)
		out = append(out, Outcome{Workload: s.name, Before: says(was, s.proxy), After: says(will, s.proxy)})
	}
	return out
}

// inForce is the mesh configuration that counts of several forms, as the doctor chooses it.
func inForce(o *istio.Objects) *istio.MeshConfig {
	for _, form := range []string{"configmap", "operator", "helm", "plain"} {
		for i := range o.Meshes {
			if m := &o.Meshes[i]; m.Form == form && !m.Invalid {
				return m
			}
		}
	}
	return nil
}

// says puts a policy in words, of the direction that begins traces; requests only come to a waypoint.
func says(p istio.Policy, of istio.Proxy) string {
	d := p.Client
	if of.Waypoint {
		d = p.Server
	}
	rate := strconv.FormatFloat(d.Sampling, 'f', -1, 64) + " %"
	switch d.Decision {
	case istio.Provided:
		return fmt.Sprintf("%s to %s:%d (provider %s), %s", d.Provider.Type, istio.HostOf(d.Provider.Service), d.Provider.Port, d.Provider.Name, rate)
	case istio.Legacy:
		if p.Legacy != nil && p.Legacy.Backend != "" {
			return fmt.Sprintf("%s to %s (tracer of the proxy's start), %s", p.Legacy.Backend, p.Legacy.Address, rate)
		}
	}
	if d.Reason != "" {
		return "no spans: " + d.Reason
	}
	return "no spans"
}

// cut says which present traffic the NetworkPolicies would end. Egress rules end none: they are written for pods only that
// some policy isolates already. The ingress policy closes all ports of Spanloom's pods but those it names.
func (m *maker) cut() {
	o := m.state.Objects
	labels := map[string]string{"app.kubernetes.io/name": "spanloom"}
	for i := range o.Services {
		s := &o.Services[i]
		if s.Entry || s.Namespace != m.in.Namespace || s.Selector["app.kubernetes.io/name"] != labels["app.kubernetes.io/name"] {
			continue
		}
		for _, p := range s.Ports {
			target := p.Number
			if n, err := strconv.Atoi(p.Target); err == nil {
				target = n
			} else if p.Target != "" {
				continue // a port by its name is one of the chart's
			}
			if !slices.Contains(render.OpenPorts, target) {
				m.note(fmt.Sprintf("%s: port %d leads to %d, which the NetworkPolicy closes: add it to the policy if somebody uses it", s.Ref, p.Number, target))
			}
		}
	}
	for _, p := range o.NetworkPolicies {
		if p.Namespace == m.in.Namespace && p.Ingress && istio.Matches(p.Pods.Labels, labels) && len(p.Pods.Rules) == 0 && p.Name != m.in.Service {
			m.note(fmt.Sprintf("%s selects Spanloom's pods too: what either policy lets in comes in", p.Ref))
		}
	}
}

// notes adds what is no change and must be known.
func (m *maker) notes() {
	o := m.state.Objects
	if o == nil {
		return
	}
	if slices.Contains(m.in.Targets, render.NetworkPolicy) {
		m.cut()
	}
	if !m.configures() {
		return
	}
	if len(o.FindHost(m.in.Host())) == 0 {
		m.note(fmt.Sprintf("no Service %s/%s is %s: install Spanloom first (deploy/helm/spanloom), a provider whose host is unknown switches tracing off", m.in.Namespace, m.in.Service, m.place()))
	} else if s := o.FindHost(m.in.Host())[0]; s.Port(m.in.Port()) == nil {
		m.note(fmt.Sprintf("%s has no port %d: spans would vanish without an error", s.Ref, m.in.Port()))
	}
	if !slices.Contains(m.in.Targets, render.NetworkPolicy) {
		for _, i := range render.Isolate(m.in, o) {
			if i.Spans {
				m.note(fmt.Sprintf("NetworkPolicy %s/%s keeps spans of its pods from leaving: add --for networkpolicy", i.Namespace, i.Policy))
			}
		}
	}
	for _, w := range m.plan.Workloads {
		if !strings.Contains(w.After, "provider "+render.MeshName) && slices.Contains(m.in.Targets, render.Telemetry) {
			m.note(fmt.Sprintf("%s is not reached: %s", w.Workload, w.After))
		}
	}
}
