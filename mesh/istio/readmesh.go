package istio

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/schema"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// IsMeshName tells whether the ConfigMap of a mesh configuration may have a name: istio, or istio-REVISION.
func IsMeshName(name string) bool { return name == "istio" || strings.HasPrefix(name, "istio-") }

// configMap reads the ConfigMaps that concern tracing: mesh configuration, a bootstrap override, Kiali, Grafana.
func (r *Reader) configMap(v *yamldoc.Value, ref Ref) {
	data := v.Get("data")
	labels := v.Get("metadata", "labels").StringMap()
	if mesh := data.Get("mesh"); mesh != nil && IsMeshName(ref.Name) {
		ref.Path = "data.mesh"
		before := len(r.Meshes)
		if root := r.nested(mesh, ref); root != nil && root.Kind == yamldoc.Map {
			r.mesh(root, ref, "configmap")
		} else if mesh.Kind == yamldoc.String && strings.TrimSpace(mesh.Text) != "" {
			r.Meshes = append(r.Meshes, MeshConfig{Ref: ref, Form: "configmap", Invalid: true})
		}
		for i := before; i < len(r.Meshes); i++ {
			r.Meshes[i].Owner = owner(v)
			r.Meshes[i].Revision = labels["istio.io/rev"]
		}
	}
	if b := data.Get("custom_bootstrap.json"); b != nil {
		ref.Path = "data.custom_bootstrap.json"
		r.bootstrap(r.nested(b, ref), ref)
	}
	if c := data.Get("config.yaml"); c != nil && strings.Contains(ref.Name, "kiali") {
		ref.Path = "data.config.yaml"
		before := len(r.Kialis)
		r.kiali(r.nested(c, ref), ref)
		for i := before; i < len(r.Kialis); i++ {
			r.Kialis[i].Owner = owner(v)
		}
	}
	if data == nil {
		return
	}
	for _, f := range data.Fields {
		if strings.HasSuffix(f.Name, ".yaml") && f.Value != nil && strings.Contains(f.Value.Text, "datasources:") {
			ref.Path = "data." + f.Name
			r.dataSources(r.nested(f.Value, ref), ref)
		}
	}
}

func (r *Reader) operator(v *yamldoc.Value, ref Ref) {
	if m := v.Get("spec", "meshConfig"); m != nil {
		ref.Path = "spec.meshConfig"
		r.mesh(m, ref, "operator")
	}
	if values := v.Get("spec", "values"); values != nil {
		ref.Path = "spec.values"
		r.helmValues(values, ref)
	}
}

// helmValues reads the values of the istiod chart: meshConfig at the top is what counts. What is written under global
// looks right and is not read.
func (r *Reader) helmValues(v *yamldoc.Value, ref Ref) {
	prefix := ref.Path
	at := func(path string) string { return strings.TrimPrefix(prefix+"."+path, ".") }
	if m := v.Get("meshConfig"); m != nil {
		r.mesh(m, ref.At(at("meshConfig"), m.Line), "helm")
	}
	global := v.Get("global")
	if m := global.Get("meshConfig"); m != nil {
		r.note(ref.At(at("global.meshConfig"), m.Line), "values", "meshConfig stands under global, where the istiod chart does not read it", "move it to the top level: meshConfig: …")
	}
	if a := global.Get("tracer", "zipkin", "address"); a.Str() != "" && global.Get("proxy", "tracer").Str() != "zipkin" {
		r.note(ref.At(at("global.tracer.zipkin.address"), a.Line), "values", "global.tracer.zipkin.address is read only when global.proxy.tracer is zipkin, which is no longer the default",
			"set meshConfig.defaultConfig.tracing.zipkin.address, or an extension provider and a Telemetry")
	}
	if m := global.Get("mtls", "enabled"); m != nil {
		r.note(ref.At(at("global.mtls.enabled"), m.Line), "values", "global.mtls.enabled was removed long ago and does nothing", "use a PeerAuthentication")
	}
	pilot := v.Get("pilot")
	if p := pilot.Get("env", "PILOT_TRACE_SAMPLING"); p != nil {
		r.pilotSampling(p, ref.At(at("pilot.env.PILOT_TRACE_SAMPLING"), p.Line))
	}
	if p := pilot.Get("traceSampling"); p != nil {
		r.pilotSampling(p, ref.At(at("pilot.traceSampling"), p.Line))
	}
	if e := v.Get("external_services"); e != nil {
		r.kiali(v, ref)
	}
}

func (r *Reader) pilotSampling(v *yamldoc.Value, ref Ref) {
	if f, ok := v.Float(); ok {
		ref.Kind = "istiod"
		r.Workloads = append(r.Workloads, Workload{Ref: ref, ControlsTrc: &f})
	}
}

// mesh reads mesh configuration in any form. Its names come in camelCase and in snake_case.
func (r *Reader) mesh(v *yamldoc.Value, ref Ref, form string) {
	m := MeshConfig{Ref: ref, Form: form}
	if form != "effective" {
		m.Invalid = r.check(ref, "mesh.MeshConfig", v, ref.Path, true)
	}
	if t := v.Get("enableTracing"); t != nil {
		if on, ok := t.Bool(); ok {
			m.Tracing, m.TracingLine = &on, t.Line
		}
	}
	if m.Tracing == nil && form == "effective" {
		off := false // istiod writes its answer without fields that are zero, and the default is true
		m.Tracing = &off
	}
	m.Root = v.Get("rootNamespace").Str()
	m.Outbound = v.Get("outboundTrafficPolicy", "mode").Str()
	if on, ok := v.Get("enableAutoMtls").Bool(); ok {
		m.AutoMTLS = &on
	}
	m.ExportTo = v.Get("defaultServiceExportTo").Strings()
	m.Selectors = len(v.Get("discoverySelectors").List()) > 0
	if c := v.Get("defaultConfig"); c != nil {
		m.Config = proxyConfig(c)
	}
	if d := v.Get("defaultProviders", "tracing"); d != nil {
		m.Defaults, m.DefaultsLine = d.Strings(), d.Line
	}
	for i, p := range v.Get("extensionProviders").List() {
		m.Providers = append(m.Providers, provider(p, i))
	}
	r.Meshes = append(r.Meshes, m)
}

func proxyConfig(v *yamldoc.Value) *ProxyConfig {
	c := &ProxyConfig{Line: v.At()}
	if t := v.Get("tracing"); t != nil {
		c.Tracing = tracing(t)
	}
	return c
}

func tracing(v *yamldoc.Value) *Tracing {
	t := &Tracing{Line: v.At()}
	for _, backend := range []string{"zipkin", "lightstep", "datadog", "stackdriver", "openCensusAgent"} {
		if b := v.Get(backend); b != nil {
			t.Backend = backend
			if a := b.Get("address"); a != nil {
				t.Address, t.AddressLine = a.Str(), a.Line
			}
			break
		}
	}
	if s := v.Get("sampling"); s != nil {
		if f, ok := s.Float(); ok {
			t.Sampling, t.SamplingLine = &f, s.Line
		}
	}
	t.Tags = tags(v.Get("customTags"))
	if on, ok := v.Get("enableIstioTags").Bool(); ok {
		t.IstioTags = &on
	}
	t.MaxPath, _ = v.Get("maxPathTagLength").Int()
	t.TLS = v.Get("tlsSettings", "mode").Str()
	return t
}

func tags(v *yamldoc.Value) []Tag {
	if v == nil {
		return nil
	}
	var out []Tag
	for _, f := range v.Fields {
		t := Tag{Name: f.Name, Line: f.Line}
		for _, from := range []string{"literal", "environment", "header", "formatter"} {
			if s := f.Value.Get(from); s != nil {
				t.From = from
				if from == "environment" || from == "header" {
					t.Of = s.Get("name").Str()
				}
			}
		}
		out = append(out, t)
	}
	return out
}

// providerTypes are the fields of an extension provider that name its type. All others are for logs and metrics.
var providerTypes = []string{"zipkin", "opentelemetry", "datadog", "lightstep", "opencensus", "skywalking", "stackdriver",
	"prometheus", "envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls", "envoyExtAuthzHttp", "envoyExtAuthzGrpc", "sds"}

func provider(v *yamldoc.Value, index int) Provider {
	p := Provider{Name: v.Get("name").Str(), Line: v.At(), Index: index}
	for _, t := range providerTypes {
		// An empty one counts: stackdriver: {}.
		body := v.Get(t)
		if body == nil {
			continue
		}
		p.Type = t
		p.Service = body.Get("service").Str()
		p.Port, _ = body.Get("port").Int()
		p.Path = body.Get("path").Str()
		p.TraceContext = body.Get("traceContextOption").Str()
		if h := body.Get("http"); h != nil && t == "opentelemetry" {
			p.HTTP = true
			p.Path = h.Get("path").Str()
		}
		p.MaxTag, _ = body.Get("maxTagLength").Int()
		if t == "skywalking" {
			p.MaxTag = 0 // its tracer has no such field
		}
		if d := body.Get("dynatraceSampler"); d != nil {
			p.Sampler, p.SamplerHost = "dynatrace", d.Get("httpService", "service").Str()
		}
		break
	}
	return p
}

// Effective reads what istiod answers on /debug/mesh: the configuration in force.
func (r *Reader) Effective(name string, data []byte) error {
	docs, err := yamldoc.Read(data)
	if err != nil {
		return err
	}
	r.file = name
	if len(docs) == 0 {
		return nil
	}
	if docs[0].Err != nil {
		return docs[0].Err
	}
	at := Ref{Kind: "MeshConfig", Name: "in force", File: name, Line: 1}
	if r.NoLines {
		withoutLines(docs[0].Root)
		at.Line = 0
	}
	r.mesh(docs[0].Root, at, "effective")
	return nil
}

// bootstrap reads an override of Envoy's bootstrap. Booleans in quotes are tolerated, as Envoy does.
func (r *Reader) bootstrap(v *yamldoc.Value, ref Ref) {
	b := Bootstrap{Ref: ref}
	http := v.Get("tracing", "http")
	if http == nil {
		if v == nil {
			b.Invalid = "it is no JSON"
			r.Bootstraps = append(r.Bootstraps, b)
		}
		return
	}
	b.Tracer = http.Get("name").Str()
	c := http.Get("typedConfig")
	b.Cluster, b.Endpoint = c.Get("collectorCluster").Str(), c.Get("collectorEndpoint").Str()
	if e := c.Get("collectorEndpoint"); e != nil {
		b.Ref = ref.At(strings.TrimPrefix(ref.Path+".tracing.http.typedConfig.collectorEndpoint", "."), e.Line)
	}
	r.Bootstraps = append(r.Bootstraps, b)
}

// annotationConfig decodes proxy.istio.io/config.
func (r *Reader) annotationConfig(v *yamldoc.Value, ref Ref) *ProxyConfig {
	if v == nil {
		return nil
	}
	ref.Path += ".proxy.istio.io/config"
	root := r.nested(v, ref)
	if root == nil || root.Kind != yamldoc.Map {
		return nil
	}
	r.check(ref, "mesh.ProxyConfig", root, ref.Path, true)
	return proxyConfig(root)
}

// DecodeProxyConfig reads the text of a proxy.istio.io/config annotation on its own; nil if it is none.
func DecodeProxyConfig(text string) *ProxyConfig {
	docs, err := yamldoc.Read([]byte(text))
	if err != nil || len(docs) == 0 || docs[0].Err != nil || docs[0].Root.Kind != yamldoc.Map {
		return nil
	}
	withoutLines(docs[0].Root) // those of a value inside of something else
	return proxyConfig(docs[0].Root)
}

// MinorOf gives the minor of a version.
func MinorOf(version string) string { return schema.Minor(version) }

// ProxyConfigOf reads a proxy's configuration that was parsed elsewhere.
func ProxyConfigOf(v *yamldoc.Value) *ProxyConfig {
	if v == nil || v.Kind != yamldoc.Map {
		return nil
	}
	return proxyConfig(v)
}

// KeptAnnotations are those of a pod that facts may hold.
func KeptAnnotations(v *yamldoc.Value) map[string]string { return annotations(v) }
