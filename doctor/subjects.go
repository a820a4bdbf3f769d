package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// subject is one workload whose spans should arrive.
type subject struct {
	name      string // namespace/workload
	namespace string
	workload  string
	labels    map[string]string
	gateway   bool
	waypoint  bool
	ambient   bool
	use       *istio.Use   // of an ambient workload: the waypoint that its requests pass; nil if there is none
	via       *istio.Proxy // the waypoint's proxy, where the waypoint was read
	proxy     *envoy.Proxy
	written   *istio.Workload
	pods      []*istio.Workload // that run of it, where it is known by what makes them
	booked    bool              // known from receipts or spans only
	outside   bool              // of the mesh, as what was read says: it owes no spans
	assumed   bool              // nothing of it was read; it stands for workloads like it
	policy    istio.Policy
	seen      seen
	tracer    *envoy.Tracer
	provider  *istio.Provider
	source    string // provider, bootstrap, envoyfilter
	sampling  float64
	chain     []Station
	broken    *draft // the first red station's
	sent      bool   // its proxy's counters prove that requests with spans were answered well
}

func (s *subject) target() istio.Proxy {
	if s.via != nil {
		return *s.via
	}
	p := istio.Proxy{Namespace: s.namespace, Labels: s.labels, Gateway: s.gateway && !s.waypoint, Waypoint: s.waypoint}
	if s.proxy != nil {
		p.Version = s.proxy.Istio
	}
	if s.proxy != nil && s.proxy.Node != "" {
		p.Injected = s.proxy.Config
		if p.Injected == nil {
			p.Injected = &istio.ProxyConfig{}
		}
	} else if c := s.running(); c != nil {
		p.Injected = c
	} else if s.written != nil && s.written.Config != nil && s.written.Config.Tracing != nil {
		p.Injected = s.written.Config // tracing of the annotation replaces the mesh's
	}
	return p
}

// findSubjects lists the workloads: those with a proxy, those that are only written, and if there is neither some that
// stand for what the objects imply.
func (x *exam) findSubjects() {
	byName := make(map[string]bool)
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		s := &subject{namespace: p.Namespace, workload: p.Workload, labels: p.Labels, gateway: p.Type == "router", proxy: p}
		s.waypoint = p.Type == "waypoint" || x.f.Objects.IsWaypoint(p.Namespace, p.Labels)
		if s.workload == "" {
			s.workload = firstOf(p.Labels["service.istio.io/canonical-name"], p.Labels["app"], p.Pod, p.Name)
		}
		s.name = s.namespace + "/" + s.workload
		if x.isCollector(s) {
			continue
		}
		byName[s.name] = true
		x.subjects = append(x.subjects, s)
	}
	for i := range x.f.Objects.Workloads {
		w := &x.f.Objects.Workloads[i]
		s := &subject{namespace: w.Namespace, workload: w.Name, labels: w.Labels, gateway: isGateway(w), written: w, pods: x.podsOf(w)}
		s.gateway = s.gateway || slices.ContainsFunc(s.pods, isGateway)
		s.waypoint = s.gateway && x.f.Objects.IsWaypoint(w.Namespace, w.Labels)
		if w.Pod && w.Of != "" {
			s.workload = w.Of // what made it was not read
		}
		s.name = s.namespace + "/" + s.workload
		if w.Kind == "istiod" || w.Kind == "SpringConfig" || w.Labels["app"] == "istiod" || w.ControlsTrc != nil || byName[s.name] || w.Pod && x.ofWritten(w) || x.proxied(w) || x.isCollector(s) || slices.Contains(systemNamespaces, w.Namespace) {
			continue
		}
		if w.Namespace == x.root() && !s.gateway {
			continue
		}
		byName[s.name] = true
		x.findWaypoint(s)
		x.subjects = append(x.subjects, s)
	}
	if len(x.subjects) == 0 {
		x.assume()
	}
	slices.SortStableFunc(x.subjects, func(a, b *subject) int { return strings.Compare(a.name, b.name) })
}

var systemNamespaces = []string{"kube-system", "kube-public", "kube-node-lease", "cert-manager", "argocd", "flux-system", "kiali-operator"}

func isGateway(w *istio.Workload) bool {
	return w.Gateway || strings.Contains(w.Labels["istio"], "gateway") || w.Labels["gateway.networking.k8s.io/gateway-name"] != ""
}

// indexWorkloads sorts pods and what makes them by namespace: a large mesh has thousands of each.
func (x *exam) indexWorkloads() {
	x.podsIn, x.makersIn = make(map[string][]*istio.Workload), make(map[string][]*istio.Workload)
	for i := range x.f.Objects.Workloads {
		if w := &x.f.Objects.Workloads[i]; w.Pod {
			x.podsIn[w.Namespace] = append(x.podsIn[w.Namespace], w)
		} else {
			x.makersIn[w.Namespace] = append(x.makersIn[w.Namespace], w)
		}
	}
	seen := make(map[[3]string]bool)
	for i := range x.f.Objects.Workloads {
		w := &x.f.Objects.Workloads[i]
		if w.Pod {
			of := [3]string{w.Namespace, w.OfKind, w.Of}
			if x.ofWritten(w) || w.Of != "" && seen[of] {
				continue
			}
			seen[of] = true
		}
		x.distinct = append(x.distinct, w)
	}
}

// makes tells whether a workload made a pod: by the pod's owner, else by its labels.
func makes(w, pod *istio.Workload) bool {
	if pod.Of != "" {
		return pod.Of == w.Name && (pod.OfKind == w.Kind || pod.OfKind == "Job" && w.Kind == "CronJob")
	}
	return len(w.Labels) > 0 && istio.Matches(w.Labels, pod.Labels)
}

// ofWritten tells whether a pod belongs to a Deployment or the like that is a subject of its own.
func (x *exam) ofWritten(pod *istio.Workload) bool {
	return slices.ContainsFunc(x.makersIn[pod.Namespace], func(w *istio.Workload) bool { return makes(w, pod) })
}

// podsOf are the running pods of a workload; of a pod whose maker was not read, that pod.
func (x *exam) podsOf(w *istio.Workload) []*istio.Workload {
	var out []*istio.Workload
	for _, pod := range x.podsIn[w.Namespace] {
		if w.Pod && (pod == w || w.Of != "" && pod.Of == w.Of && pod.OfKind == w.OfKind) || !w.Pod && makes(w, pod) {
			out = append(out, pod)
		}
	}
	return out
}

// running is the configuration that the workload's proxies run with, as they were injected; nil if it was not read. Before
// Istio 1.22 a proxy without a tracing part had a default tracer, so nothing is said of it then.
func (s *subject) running() *istio.ProxyConfig {
	if s.proxy != nil {
		return s.proxy.Config
	}
	for _, pod := range s.pods {
		if c := pod.Running; c != nil && (c.Tracing != nil || pod.Version != "" && minorAtLeast(istio.MinorOf(pod.Version), 22)) {
			return c
		}
	}
	return nil
}

func (x *exam) proxied(w *istio.Workload) bool {
	return slices.ContainsFunc(x.byPlace[w.Namespace], func(i int) bool {
		p := &x.f.Proxies[i]
		return (p.Workload == w.Name || p.Pod == w.Name || len(w.Labels) > 0 && istio.Matches(w.Labels, p.Labels))
	})
}

// collectors are the hosts that spans are sent to, as the configuration names them.
func (x *exam) collectors() []string {
	var out []string
	for _, m := range []*istio.MeshConfig{x.mesh, x.raw} {
		for _, p := range m.TracingProviders(x.f.Istio) {
			if p.Service != "" {
				out = append(out, istio.HostOf(p.Service))
			}
		}
		if m != nil && m.Config != nil && m.Config.Tracing != nil {
			if host, _ := hostPort(m.Config.Tracing.Address); host != "" {
				out = append(out, x.fullHost(host))
			}
		}
	}
	return out
}

// fullHost completes "zipkin.istio-system" if there is such a service.
func (x *exam) fullHost(host string) string {
	if full := host + ".svc." + istio.Domain; strings.Count(host, ".") == 1 && len(x.f.Objects.FindHost(full)) > 0 {
		return full
	}
	if full := host + "." + istio.Domain; strings.HasSuffix(host, ".svc") {
		return full
	}
	return host
}

func hostPort(address string) (host string, port int) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address, 0
	}
	port, _ = strconv.Atoi(address[i+1:])
	return strings.Trim(address[:i], "[]"), port
}

// isCollector tells whether a workload is where spans go to: it need not send any.
func (x *exam) isCollector(s *subject) bool {
	if s.proxy != nil {
		if parts := strings.Split(s.proxy.Node, "~"); len(parts) == 4 && x.addresses[parts[1]] {
			return true
		}
	}
	for host := range x.hosts {
		name, rest, _ := strings.Cut(host, ".")
		ns, _, _ := strings.Cut(rest, ".")
		if ns != s.namespace && ns != "" { // a host without a namespace is wrong, and means this one all the same
			continue
		}
		for _, svc := range x.f.Objects.FindHost(host) {
			if len(svc.Selector) > 0 && istio.Matches(svc.Selector, s.labels) {
				return true
			}
		}
		for _, n := range []string{s.workload, s.labels["app"], s.labels["app.kubernetes.io/name"]} {
			if n != "" && (n == name || strings.TrimSuffix(name, "-collector") == n) {
				return true
			}
		}
	}
	return false
}

func (x *exam) isTracerCluster(cluster string) bool {
	_, _, _, host, ok := envoy.SplitCluster(cluster)
	return ok && x.hosts[host] || cluster == "zipkin"
}

// assume makes subjects out of what the objects imply: workloads behind services, else "any workload".
func (x *exam) assume() {
	seen := make(map[string]bool)
	add := func(ns, name string, labels map[string]string) {
		s := &subject{namespace: ns, workload: name, labels: labels, assumed: true, name: ns + "/" + name}
		if seen[s.name] || ns == x.root() || slices.Contains(systemNamespaces, ns) || x.isCollector(s) {
			return
		}
		seen[s.name] = true
		x.subjects = append(x.subjects, s)
	}
	for i := range x.f.Objects.Services {
		svc := &x.f.Objects.Services[i]
		if slices.ContainsFunc(svc.Hosts, func(h string) bool { return x.hosts[h] }) || svc.External != "" {
			continue
		}
		if !svc.Entry && len(svc.Selector) > 0 && !collectorLike(svc) {
			add(svc.Namespace, svc.Name, svc.Selector)
		}
		for _, a := range svc.Addresses {
			if a.InMesh && a.App != "" && !collectorLike(svc) {
				add(svc.Namespace, a.App, map[string]string{"app": a.App, "service.istio.io/canonical-name": a.App})
			}
		}
	}
	if len(x.subjects) > 0 {
		return
	}
	scoped := false
	for _, t := range x.f.Objects.Telemetries {
		if len(t.Tracing) > 0 && t.Namespace != x.root() && t.Namespace != "" {
			scoped = true
			add(t.Namespace, "(any workload)", t.Selector)
		}
	}
	if !scoped && (x.mesh != nil || x.raw != nil || len(x.f.Objects.Telemetries)+len(x.f.Objects.EnvoyFilters) > 0) {
		add("(any)", "(any workload)", nil)
	}
}

// collectorLike tells a collector's Service by its ports.
func collectorLike(s *istio.Service) bool {
	return slices.ContainsFunc(s.Ports, func(p istio.Port) bool {
		return slices.Contains([]int{4317, 4318, 9411, 14250, 14268, 16685, 16686, 3200}, p.Number)
	})
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// seen is what a proxy's connection managers show, by direction.
type seen struct {
	any     bool
	out, in *envoy.Manager // the one that traces best; nil if there is no manager of that direction
}

func look(p *envoy.Proxy, gateway bool) seen {
	var s seen
	if p == nil {
		return s
	}
	rank := func(m *envoy.Manager) int {
		switch {
		case m == nil:
			return -1
		case m.Tracer != nil && !m.Rejected:
			return 4
		case m.Tracer != nil:
			return 3
		case m.Tracing:
			return 2
		}
		return 1
	}
	for i := range p.Managers {
		m := &p.Managers[i]
		slot := &s.out
		if m.Direction == "INBOUND" {
			if gateway {
				continue
			}
			slot = &s.in
		}
		s.any = true
		if rank(m) > rank(*slot) {
			*slot = m
		}
	}
	return s
}

// needed are the managers that a workload's spans come from.
func (s seen) needed() []*envoy.Manager {
	var out []*envoy.Manager
	for _, m := range []*envoy.Manager{s.out, s.in} {
		if m != nil {
			out = append(out, m)
		}
	}
	return out
}
