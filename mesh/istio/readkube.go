package istio

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

func (r *Reader) service(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	if ref.Namespace == "" {
		ref.Namespace = "default"
	}
	s := Service{Ref: ref, Owner: owner(v), Hosts: []string{FullHost(ref.Name, ref.Namespace)}, Selector: spec.Get("selector").StringMap(), ExportTo: exportTo(v, spec),
		Headless: spec.Get("clusterIP").Str() == "None", External: spec.Get("externalName").Str(), Uses: uses(v.Get("metadata", "labels").StringMap())}
	for _, p := range spec.Get("ports").List() {
		port := Port{Name: p.Get("name").Str(), Declared: strings.ToUpper(p.Get("protocol").Str()), App: p.Get("appProtocol").Str(), Target: p.Get("targetPort").Str(), Line: p.At()}
		port.Number, _ = p.Get("port").Int()
		s.Ports = append(s.Ports, port)
	}
	r.Services = append(r.Services, s)
}

func (r *Reader) endpointSlice(v *yamldoc.Value, ref Ref) {
	e := EndpointSet{Namespace: ref.Namespace, Service: v.Get("metadata", "labels").StringMap()["kubernetes.io/service-name"]}
	for _, p := range v.Get("endpoints").List() {
		if ready, ok := p.Get("conditions", "ready").Bool(); ok && !ready {
			e.NotReady++
		} else {
			e.Ready += max(1, len(p.Get("addresses").List()))
		}
	}
	if e.Service != "" {
		r.Endpoints = append(r.Endpoints, e)
	}
}

func (r *Reader) endpoints(v *yamldoc.Value, ref Ref) {
	e := EndpointSet{Namespace: ref.Namespace, Service: ref.Name}
	for _, s := range v.Get("subsets").List() {
		e.Ready += len(s.Get("addresses").List())
		e.NotReady += len(s.Get("notReadyAddresses").List())
	}
	r.Endpoints = append(r.Endpoints, e)
}

func (r *Reader) namespace(v *yamldoc.Value, ref Ref) {
	kept := make(map[string]string)
	for k, val := range v.Get("metadata", "labels").StringMap() {
		kept[k] = val
	}
	kept["kubernetes.io/metadata.name"] = ref.Name
	r.Namespaces = append(r.Namespaces, Namespace{Name: ref.Name, Labels: kept, Ref: ref})
}

func (r *Reader) networkPolicy(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	p := NetworkPolicy{Ref: ref, Owner: owner(v), Pods: labelQuery(spec.Get("podSelector"))}
	types := spec.Get("policyTypes").Strings()
	p.Ingress = len(types) == 0 || slices.Contains(types, "Ingress")
	p.Egress = len(types) == 0 && spec.Get("egress") != nil || slices.Contains(types, "Egress")
	p.In, p.Out = policyRules(spec.Get("ingress"), "from"), policyRules(spec.Get("egress"), "to")
	r.NetworkPolicies = append(r.NetworkPolicies, p)
}

func policyRules(v *yamldoc.Value, side string) []PolicyRule {
	var out []PolicyRule
	for _, item := range v.List() {
		rule := PolicyRule{Line: item.At()}
		for _, p := range item.Get(side).List() {
			peer := PolicyPeer{CIDR: p.Get("ipBlock", "cidr").Str(), Except: p.Get("ipBlock", "except").Strings()}
			// An empty selector ({}) counts and means all.
			if q := p.Get("podSelector"); q != nil {
				l := labelQuery(q)
				peer.Pods = &l
			}
			if q := p.Get("namespaceSelector"); q != nil {
				l := labelQuery(q)
				peer.Namespaces = &l
			}
			rule.Peers = append(rule.Peers, peer)
		}
		for _, p := range item.Get("ports").List() {
			port := PolicyPort{Protocol: p.Get("protocol").Str()}
			if n, ok := p.Get("port").Int(); ok {
				port.From, port.To = n, n
				if end, ok := p.Get("endPort").Int(); ok {
					port.To = end
				}
			} else {
				port.Name = p.Get("port").Str()
			}
			rule.Ports = append(rule.Ports, port)
		}
		out = append(out, rule)
	}
	return out
}

func labelQuery(v *yamldoc.Value) LabelQuery {
	q := LabelQuery{Labels: v.Get("matchLabels").StringMap()}
	for _, e := range v.Get("matchExpressions").List() {
		q.Rules = append(q.Rules, LabelRule{Key: e.Get("key").Str(), Op: e.Get("operator").Str(), Values: e.Get("values").Strings()})
	}
	return q
}

// workload reads what makes pods, and pods.
func (r *Reader) workload(v *yamldoc.Value, ref Ref) {
	spec := v.Get("spec")
	template := spec.Get("template")
	if ref.Kind == "CronJob" {
		template = spec.Get("jobTemplate", "spec", "template")
	}
	pod := ref.Kind == "Pod"
	if pod {
		template = v
	}
	if template == nil || ref.Kind == "ReplicaSet" && v.Get("metadata", "ownerReferences") != nil {
		return
	}
	if ref.Namespace == "" {
		ref.Namespace = "default"
	}
	w := Workload{Ref: ref, Owner: owner(v), Pod: pod, Labels: template.Get("metadata", "labels").StringMap()}
	if pod {
		switch v.Get("status", "phase").Str() {
		case "Succeeded", "Failed":
			return // a job that is done
		}
		w.Started, w.IP = v.Get("status", "startTime").Str(), v.Get("status", "podIP").Str()
		w.OfKind, w.Of = maker(v.Get("metadata"))
		for _, c := range v.Get("status", "conditions").List() {
			w.Ready = w.Ready || c.Get("type").Str() == "Ready" && c.Get("status").Str() == "True"
		}
	}
	notes := template.Get("metadata", "annotations")
	w.Annotations = annotations(notes)
	path := "spec.template.metadata.annotations"
	if pod {
		path = "metadata.annotations"
	}
	if c := notes.Get("proxy.istio.io/config"); c != nil {
		at := ref.At(path, c.Line)
		w.Config = r.annotationConfig(c, at)
	}
	podSpec := template.Get("spec")
	w.HostNetwork, _ = podSpec.Get("hostNetwork").Bool()
	for _, c := range append(podSpec.Get("containers").List(), podSpec.Get("initContainers").List()...) {
		r.container(&w, c)
	}
	r.Workloads = append(r.Workloads, w)
}

func (r *Reader) container(w *Workload, v *yamldoc.Value) {
	switch v.Get("name").Str() {
	case "istio-proxy":
		w.HasProxy = true
		w.Version = imageTag(v.Get("image").Str())
		for _, e := range v.Get("env").List() {
			if e.Get("name").Str() == "PROXY_CONFIG" && w.Pod {
				w.Running = DecodeProxyConfig(e.Get("value").Str())
			}
		}
		args := v.Get("args").Strings()
		w.Gateway = len(args) > 1 && args[0] == "proxy" && args[1] == "router" || w.Gateway
		return
	case "istio-init", "istio-validation":
		return
	case "discovery":
		w.Version = imageTag(v.Get("image").Str())
		for _, e := range v.Get("env").List() {
			if e.Get("name").Str() == "PILOT_TRACE_SAMPLING" {
				if f, ok := e.Get("value").Float(); ok {
					w.ControlsTrc = &f
				}
			}
		}
	}
	for _, p := range v.Get("ports").List() {
		if n, ok := p.Get("containerPort").Int(); ok {
			w.Ports = append(w.Ports, n)
		}
	}
	if s := sdk(v.Get("env")); s != nil && w.SDK == nil {
		w.SDK = s
	}
}

// maker is the workload that made a pod. Of a ReplicaSet's pods that is the Deployment: its name without the hash.
func maker(meta *yamldoc.Value) (kind, name string) {
	for _, o := range meta.Get("ownerReferences").List() {
		if c, ok := o.Get("controller").Bool(); ok && !c {
			continue
		}
		kind, name = o.Get("kind").Str(), o.Get("name").Str()
		hash := meta.Get("labels").StringMap()["pod-template-hash"]
		if hash == "" {
			hash = meta.Get("labels").StringMap()["rollouts-pod-template-hash"]
		}
		if base, ok := strings.CutSuffix(name, "-"+hash); ok && hash != "" && kind == "ReplicaSet" {
			return "Deployment", base
		}
		return kind, name
	}
	return "", ""
}

// imageTag is the tag of an image without -distroless and the like; empty where a digest stands alone.
func imageTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, tag, ok := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	if !ok {
		return ""
	}
	for _, variant := range []string{"-distroless", "-debug"} {
		tag = strings.TrimSuffix(tag, variant)
	}
	return tag
}

// known words of variables; anything else is not kept.
var (
	knownPropagators = []string{"b3", "b3multi", "tracecontext", "baggage", "jaeger", "ottrace", "xray", "none"}
	knownSamplers    = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "jaeger_remote", "parentbased_jaeger_remote"}
	knownExporters   = []string{"otlp", "none", "zipkin", "jaeger", "console", "logging"}
	knownProtocols   = []string{"grpc", "http/protobuf", "http/json"}
	hostName         = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)
)

// sdk decodes the OTEL_ variables of a container: hosts, ports and known words. Headers and whatever else is in the
// environment are never looked at.
func sdk(env *yamldoc.Value) *SDK {
	s := SDK{}
	found := false
	for _, e := range env.List() {
		value := e.Get("value").Str()
		if value == "" {
			continue
		}
		switch e.Get("name").Str() {
		case "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_ZIPKIN_ENDPOINT":
			if s.endpoint(value) {
				s.Line, found = e.Get("value").At(), true
			}
		case "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":
			s.Protocol, found = known(value, knownProtocols), true
		case "OTEL_PROPAGATORS":
			for _, p := range strings.Split(value, ",") {
				if k := known(strings.TrimSpace(p), knownPropagators); k != "" {
					s.Propagators = append(s.Propagators, k)
				}
			}
			s.PropLine, found = e.Get("value").At(), true
		case "OTEL_TRACES_SAMPLER":
			s.Sampler, found = known(value, knownSamplers), true
		case "OTEL_TRACES_EXPORTER":
			s.Exporter, found = known(value, knownExporters), true
		}
	}
	if !found {
		return nil
	}
	return &s
}

func known(value string, words []string) string {
	if slices.Contains(words, value) {
		return value
	}
	return ""
}

// endpoint takes host and port out of "http://host:4317/path" or "host:4317"; user, password, path and query stay out.
func (s *SDK) endpoint(value string) bool {
	text := value
	if !strings.Contains(text, "://") {
		text = "//" + text
	}
	u, err := url.Parse(text)
	if err != nil || !hostName.MatchString(u.Hostname()) {
		return false
	}
	s.Host, s.Scheme = u.Hostname(), u.Scheme
	s.Port, _ = strconv.Atoi(u.Port())
	return true
}

// spring reads the application.yml of a Spring Boot application: where its SDK sends spans.
func (r *Reader) spring(v *yamldoc.Value, name string) {
	s := SDK{}
	for _, e := range []*yamldoc.Value{v.Get("otel", "exporter", "otlp", "traces", "endpoint"), v.Get("otel", "exporter", "otlp", "endpoint"), v.Get("management", "otlp", "tracing", "endpoint")} {
		if e != nil && s.endpoint(e.Str()) {
			s.Line = e.Line
			break
		}
	}
	s.Protocol = known(v.Get("otel", "exporter", "otlp", "protocol").Str(), knownProtocols)
	for _, p := range v.Get("otel", "propagators").Strings() {
		for _, word := range strings.Split(p, ",") {
			if k := known(strings.TrimSpace(word), knownPropagators); k != "" {
				s.Propagators = append(s.Propagators, k)
			}
		}
	}
	if s.Host != "" || len(s.Propagators) > 0 {
		r.Workloads = append(r.Workloads, Workload{Ref: Ref{Kind: "SpringConfig", Name: name, File: r.file, Line: v.Line}, SDK: &s})
	}
}
