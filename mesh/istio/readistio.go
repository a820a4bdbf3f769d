package istio

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

func (r *Reader) telemetry(v *yamldoc.Value, ref Ref) {
	spec := v.Exact("spec")
	r.check(ref, "telemetry.Telemetry", spec, "spec", false)
	t := Telemetry{Ref: ref, Owner: owner(v), Created: v.Exact("metadata", "creationTimestamp").Str(), Order: len(r.Telemetries),
		Selector: spec.Exact("selector", "matchLabels").StringMap(), Targets: targets(spec), TargetList: len(spec.Exact("targetRefs").List()) > 0,
		OtherUses: spec.Exact("metrics") != nil || spec.Exact("accessLogging") != nil,
		Expires:   v.Exact("metadata", "annotations").StringMap()[ExpiresAnnotation]}
	for _, rule := range spec.Exact("tracing").List() {
		if rule == nil || rule.Kind != yamldoc.Map {
			continue
		}
		t.Tracing = append(t.Tracing, tracingRule(rule))
	}
	r.Telemetries = append(r.Telemetries, t)
}

func tracingRule(v *yamldoc.Value) TracingRule {
	t := TracingRule{Line: v.Line}
	if m := v.Exact("match", "mode"); m != nil {
		t.Mode, t.ModeLine = m.Str(), m.Line
	}
	if p := v.Exact("providers"); p != nil {
		t.ProvidersLine = p.Line
		for _, item := range p.List() {
			if n := item.Exact("name"); n != nil {
				t.Providers = append(t.Providers, n.Str())
				t.ProvidersLine = n.Line
			}
		}
	}
	if s := v.Exact("randomSamplingPercentage"); s != nil {
		if f, ok := s.Float(); ok {
			t.Sampling, t.SamplingLine = &f, s.Line
		}
	}
	if d := v.Exact("disableSpanReporting"); d != nil {
		if on, ok := d.Bool(); ok {
			t.Disable, t.DisableLine = &on, d.Line
		}
	}
	if on, ok := v.Exact("disableContextPropagation").Bool(); ok {
		t.NoPropagation = &on
	}
	if on, ok := v.Exact("useRequestIdForTraceSampling").Bool(); ok {
		t.RequestID = &on
	}
	if on, ok := v.Exact("enableIstioTags").Bool(); ok {
		t.IstioTags = &on
	}
	if c := v.Exact("customTags"); c != nil {
		t.TagsSet, t.Tags = true, tags(c)
	}
	return t
}

// targets are those of targetRefs; the older targetRef counts where that list is empty.
func targets(spec *yamldoc.Value) []Target {
	list := spec.Exact("targetRefs").List()
	if len(list) == 0 {
		list = []*yamldoc.Value{spec.Exact("targetRef")}
	}
	var out []Target
	for _, t := range list {
		if t != nil {
			out = append(out, Target{Group: t.Exact("group").Str(), Kind: t.Exact("kind").Str(), Name: t.Exact("name").Str(), Namespace: t.Exact("namespace").Str()})
		}
	}
	return out
}

// envoyFilter keeps the patches whose value has to do with tracing.
func (r *Reader) envoyFilter(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "networking.EnvoyFilter", spec, "spec", false)
	f := EnvoyFilter{Ref: ref, Owner: owner(v), Selector: spec.Get("workloadSelector", "labels").StringMap(), Targets: targets(spec)}
	for _, p := range spec.Get("configPatches").List() {
		if patch, ok := envoyPatch(p); ok {
			f.Patches = append(f.Patches, patch)
		}
	}
	if len(f.Patches) > 0 {
		r.EnvoyFilters = append(r.EnvoyFilters, f)
	}
}

func envoyPatch(v *yamldoc.Value) (Patch, bool) {
	match, value := v.Get("match"), v.Get("patch", "value")
	filter := match.Get("listener", "filterChain", "filter")
	p := Patch{ApplyTo: v.Get("applyTo").Str(), Context: match.Get("context").Str(), Operation: v.Get("patch", "operation").Str(),
		FilterName: filter.Get("name").Str(), SubFilter: filter.Get("subFilter", "name").Str(), Version: match.Get("proxy", "proxyVersion").Str(), Line: v.At()}
	typed := value.Get("typedConfig")
	p.Typed = typed != nil
	p.HCM = value.Get("name").Str() == "envoy.filters.network.http_connection_manager" || strings.HasSuffix(typed.Get("@type").Str(), "HttpConnectionManager")
	trace := typed.Get("tracing")
	if trace == nil {
		trace = value.Get("tracing")
		p.Bootstrap = p.ApplyTo == "BOOTSTRAP"
		if trace != nil && p.Bootstrap {
			trace = &yamldoc.Value{Kind: yamldoc.Map, Line: trace.Line, Fields: []yamldoc.Field{{Name: "provider", Value: trace.Get("http")}}}
		}
	}
	if trace == nil {
		return p, false
	}
	provider := trace.Get("provider")
	p.Tracer = provider.Get("name").Str()
	config := provider.Get("typedConfig")
	p.Cluster = firstText(config.Get("grpcService", "envoyGrpc", "clusterName"), config.Get("httpService", "httpUri", "cluster"),
		config.Get("collectorCluster"), config.Get("collectorService", "httpUri", "cluster"))
	p.Path = firstText(config.Get("collectorEndpoint"))
	if s := trace.Get("randomSampling", "value"); s != nil {
		if f, ok := s.Float(); ok {
			p.Sampling = &f
		}
	}
	return p, true
}

func firstText(values ...*yamldoc.Value) string {
	for _, v := range values {
		if v.Str() != "" {
			return v.Str()
		}
	}
	return ""
}

func (r *Reader) proxyConfigObject(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "networking.ProxyConfig", spec, "spec", false)
	r.ProxyConfigs = append(r.ProxyConfigs, ProxyConfigObject{Ref: ref, Selector: spec.Get("selector", "matchLabels").StringMap()})
}

func (r *Reader) serviceEntry(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "networking.ServiceEntry", spec, "spec", false)
	s := Service{Ref: ref, Owner: owner(v), Entry: true, Hosts: spec.Get("hosts").Strings(), ExportTo: exportTo(v, spec),
		Location: spec.Get("location").Str(), Resolves: spec.Get("resolution").Str(), Selector: spec.Get("workloadSelector", "labels").StringMap(), Uses: uses(v.Get("metadata", "labels").StringMap())}
	for _, p := range spec.Get("ports").List() {
		port := Port{Name: p.Get("name").Str(), Declared: strings.ToUpper(p.Get("protocol").Str()), Line: p.At(), Target: p.Get("targetPort").Str()}
		port.Number, _ = p.Get("number").Int()
		s.Ports = append(s.Ports, port)
	}
	for _, e := range spec.Get("endpoints").List() {
		labels := e.Get("labels").StringMap()
		s.Addresses = append(s.Addresses, Endpoint{Address: e.Get("address").Str(), InMesh: labels["security.istio.io/tlsMode"] == "istio", App: appOf(labels), Ready: true})
	}
	r.Services = append(r.Services, s)
}

func appOf(labels map[string]string) string {
	for _, k := range []string{"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"} {
		if labels[k] != "" {
			return labels[k]
		}
	}
	return ""
}

func exportTo(v, spec *yamldoc.Value) []string {
	if e := spec.Get("exportTo"); e != nil {
		return e.Strings()
	}
	if a := v.Get("metadata", "annotations").StringMap()["networking.istio.io/exportTo"]; a != "" {
		var out []string
		for _, s := range strings.Split(a, ",") {
			out = append(out, strings.TrimSpace(s))
		}
		return out
	}
	return nil
}

func (r *Reader) destinationRule(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "networking.DestinationRule", spec, "spec", false)
	d := DestinationRule{Ref: ref, Owner: owner(v), Host: spec.Get("host").Str(), ExportTo: spec.Get("exportTo").Strings(), Selector: spec.Get("workloadSelector", "matchLabels").StringMap()}
	if m := spec.Get("trafficPolicy", "tls", "mode"); m != nil {
		d.Mode, d.ModeLine = m.Str(), m.Line
	}
	for _, p := range spec.Get("trafficPolicy", "portLevelSettings").List() {
		if n, ok := p.Get("port", "number").Int(); ok {
			if d.Ports == nil {
				d.Ports = make(map[int]string)
			}
			// A port's settings replace those of the host as a whole, TLS too.
			d.Ports[n] = p.Get("tls", "mode").Str()
		}
	}
	r.DestinationRules = append(r.DestinationRules, d)
}

func (r *Reader) peerAuthentication(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "security.PeerAuthentication", spec, "spec", false)
	p := PeerAuthentication{Ref: ref, Mode: spec.Get("mtls", "mode").Str(), Selector: spec.Get("selector", "matchLabels").StringMap(), Created: v.Get("metadata", "creationTimestamp").Str()}
	if ports := spec.Get("portLevelMtls"); ports != nil {
		for _, f := range ports.Fields {
			n, ok := (&yamldoc.Value{Kind: yamldoc.String, Text: f.Name}).Int()
			if ok {
				if p.Ports == nil {
					p.Ports = make(map[int]string)
				}
				p.Ports[n] = f.Value.Get("mode").Str()
			}
		}
	}
	r.PeerAuthentications = append(r.PeerAuthentications, p)
}

func (r *Reader) sidecar(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	r.check(ref, "networking.Sidecar", spec, "spec", false)
	s := Sidecar{Ref: ref, Owner: owner(v), Selector: spec.Get("workloadSelector", "labels").StringMap()}
	for _, e := range spec.Get("egress").List() {
		s.Limits = true
		if s.Line == 0 {
			s.Line = e.Get("hosts").At()
		}
		s.Egress = append(s.Egress, e.Get("hosts").Strings()...)
	}
	r.Sidecars = append(r.Sidecars, s)
}

func (r *Reader) virtualService(v *yamldoc.Value, ref Ref) {
	for _, h := range v.Get("spec", "http").List() {
		for _, d := range h.Get("route").List() {
			dest := d.Get("destination")
			if host := dest.Get("host").Str(); host != "" {
				port, _ := dest.Get("port", "number").Int()
				r.Routes = append(r.Routes, Route{Ref: ref.At("spec.http", d.At()), Host: FullHost(host, ref.Namespace), Port: port})
			}
		}
	}
}

func (r *Reader) httpRoute(v *yamldoc.Value, ref Ref) {
	for _, rule := range v.Get("spec", "rules").List() {
		for _, b := range rule.Get("backendRefs").List() {
			if k := b.Get("kind").Str(); k != "" && k != "Service" {
				continue
			}
			ns := b.Get("namespace").Str()
			if ns == "" {
				ns = ref.Namespace
			}
			port, _ := b.Get("port").Int()
			r.Routes = append(r.Routes, Route{Ref: ref.At("spec.rules", b.At()), Host: FullHost(b.Get("name").Str(), ns), Port: port})
		}
	}
}

func (r *Reader) gatewayObject(v *yamldoc.Value, ref Ref) {
	g := Gateway{Ref: ref, Class: v.Get("spec", "gatewayClassName").Str(), For: v.Get("metadata", "labels").StringMap()[forLabel]}
	for _, l := range v.Get("spec", "listeners").List() {
		from := l.Get("allowedRoutes", "namespaces", "from").Str()
		g.Shared = g.Shared || from == "All" || from == "Selector" // which namespaces a selector takes is not looked at
	}
	r.Gateways = append(r.Gateways, g)
}

// FullHost completes a host as Istio does: a name without dots is a service of the object's namespace.
func FullHost(host, namespace string) string {
	if host == "" || strings.Contains(host, ".") || strings.Contains(host, "*") {
		return host
	}
	if namespace == "" {
		namespace = "default"
	}
	return host + "." + namespace + ".svc." + Domain
}

// Domain is the cluster's DNS suffix. Istio's --domain can change it; nearly nobody does.
const Domain = "cluster.local"
