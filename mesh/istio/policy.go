package istio

import (
	"fmt"
	"slices"
	"strings"
)

// Proxy is what a policy is asked for.
type Proxy struct {
	Namespace string
	Labels    map[string]string
	Gateway   bool
	Waypoint  bool
	// Service is the one whose requests are asked about, of a waypoint: its policy differs by service. nil asks about none
	// in particular.
	Service *ServiceName
	// Injected is the proxy's own configuration as it runs; nil takes the mesh's, as a new pod would get it.
	Injected *ProxyConfig
	Version  string // of the proxy, "1.28" or longer; empty: that of istiod
}

// ServiceName names a Service or a ServiceEntry.
type ServiceName struct {
	Namespace string
	Name      string
	Entry     bool // a ServiceEntry
}

// Decision is what becomes of tracing in one direction.
type Decision string

// The decisions, in the words of what Envoy then has.
const (
	Off      Decision = "off"      // no tracing block: nothing is traced
	Legacy   Decision = "legacy"   // a tracing block without provider: only a tracer in the bootstrap reports
	Provided Decision = "provided" // a tracing block with a provider
)

// Direction is the policy of requests going one way.
type Direction struct {
	Decision    Decision  `json:"decision"`
	Reason      string    `json:"reason,omitempty"` // a slug, when Off or Legacy
	Provider    *Provider `json:"provider,omitempty"`
	Named       string    `json:"named,omitempty"` // the provider asked for, found or not
	ProviderRef Ref       `json:"providerRef,omitzero"`
	Sampling    float64   `json:"sampling"`
	SamplingRef Ref       `json:"samplingRef,omitzero"`
	SampledBy   string    `json:"sampledBy"` // telemetry, proxy, mesh, istiod, default; provider: its sampler decides; omitted: ratelessIsNothing
	Invalid     bool      `json:"invalidSampling,omitempty"`
	Tags        []Tag     `json:"tags,omitempty"`
	TagsRef     Ref       `json:"tagsRef,omitzero"`
	DisabledRef Ref       `json:"disabledRef,omitzero"`
	ModeRef     Ref       `json:"modeRef,omitzero"` // of a rule that leaves this direction out
	RequestID   bool      `json:"useRequestId"`
	IstioTags   bool      `json:"istioTags"`                           // istio.mesh_id, istio.namespace and their like
	MaxTag      int       `json:"maxPathTagLength,omitempty"`          // in bytes; 0 leaves it to Envoy, which takes 256
	Silent      bool      `json:"disableContextPropagation,omitempty"` // trace headers are not sent on
}

// Policy is the effective tracing policy of one proxy.
type Policy struct {
	Client    Direction `json:"client"` // outbound, and everything of a gateway
	Server    Direction `json:"server"` // inbound, and everything of a waypoint
	Used      []Ref     `json:"used,omitempty"`
	Legacy    *Tracing  `json:"legacy,omitempty"` // of the proxy: what its bootstrap can have
	Restart   bool      `json:"restart,omitempty"`
	Telemetry bool      `json:"anyTelemetry"` // a Telemetry or a default provider decides
}

// Reasons of Off and Legacy; they are causes of the doctor's catalog.
const (
	ReasonDisabled      = "reporting-disabled"
	ReasonEnableTracing = "tracing-disabled"
	ReasonUndefined     = "provider-undefined"
	ReasonNoProvider    = "provider-not-selected"
	ReasonUnknownHost   = "provider-host-unknown"
	ReasonAmbiguous     = "provider-host-ambiguous"
	ReasonMode          = "match-mode"
	ReasonNothing       = "not-configured"
)

// DefaultSampling is PILOT_TRACE_SAMPLING where nobody set it, in percent.
const DefaultSampling = 1.0

// PolicyOf computes the tracing policy of a proxy as istiod does (Telemetries merged from root to namespace to
// workload, first provider only, a provider that cannot be found switches tracing off). mesh may be nil. env is istiod's
// PILOT_TRACE_SAMPLING, or nil. What changed between minors of Istio is as Objects.Istio has it.
func (o *Objects) PolicyOf(mesh *MeshConfig, env *float64, p Proxy) Policy {
	root := mesh.RootNamespace()
	used, _ := o.Applicable(root, p)
	config := p.Injected
	if config == nil && mesh != nil {
		config = mesh.Config
	}
	pol := Policy{}
	if config != nil && config.Tracing != nil {
		pol.Legacy = config.Tracing
	}
	var rules []usedRule
	for _, t := range used {
		if !slices.Contains(pol.Used, t.Ref) {
			pol.Used = append(pol.Used, t.Ref)
		}
		for i := range t.Tracing {
			rules = append(rules, usedRule{t, &t.Tracing[i], i})
		}
	}
	base := Direction{RequestID: true, IstioTags: true}
	base.samplingOf(mesh, env, config)
	pol.Client, pol.Server = base, base
	var defaults []string
	if mesh != nil {
		defaults = mesh.Defaults
	}
	if len(rules) == 0 && len(defaults) == 0 {
		for _, d := range []*Direction{&pol.Client, &pol.Server} {
			d.legacy(o, mesh, pol.Legacy)
		}
		return pol
	}
	pol.Telemetry = true
	for _, d := range []*Direction{&pol.Client, &pol.Server} {
		if len(defaults) > 0 {
			d.Named, d.ProviderRef = defaults[0], mesh.Ref.At("defaultProviders.tracing", mesh.DefaultsLine)
		}
	}
	for _, r := range rules {
		switch strings.ToUpper(r.rule.Mode) {
		case "CLIENT":
			r.apply(&pol.Client)
			r.leavesOut(&pol.Server)
		case "SERVER":
			r.apply(&pol.Server)
			r.leavesOut(&pol.Client)
		default:
			r.apply(&pol.Client)
			r.apply(&pol.Server)
		}
	}
	for _, d := range []*Direction{&pol.Client, &pol.Server} {
		d.decide(o, mesh)
		d.details(o, p, pol.Legacy)
	}
	return pol
}

type usedRule struct {
	of    *Telemetry
	rule  *TracingRule
	index int
}

func (r usedRule) at(field string, line int) Ref {
	return r.of.Ref.At(fmt.Sprintf("spec.tracing[%d].%s", r.index, field), line)
}

func (r usedRule) apply(d *Direction) {
	if len(r.rule.Providers) > 0 {
		d.Named, d.ProviderRef = r.rule.Providers[0], r.at("providers", r.rule.ProvidersLine)
	}
	if r.rule.Disable != nil {
		d.DisabledRef = Ref{}
		if *r.rule.Disable {
			d.DisabledRef = r.at("disableSpanReporting", r.rule.DisableLine)
		}
	}
	if r.rule.TagsSet {
		d.Tags, d.TagsRef = r.rule.Tags, r.at("customTags", r.rule.Line)
	}
	if r.rule.Sampling != nil {
		d.Sampling, d.SampledBy, d.SamplingRef = *r.rule.Sampling, "telemetry", r.at("randomSamplingPercentage", r.rule.SamplingLine)
		d.Invalid = d.Sampling > 100 || d.Sampling < 0
	}
	if r.rule.RequestID != nil {
		d.RequestID = *r.rule.RequestID
	}
	if r.rule.IstioTags != nil {
		d.IstioTags = *r.rule.IstioTags
	}
	if r.rule.NoPropagation != nil {
		d.Silent = *r.rule.NoPropagation
	}
}

func (r usedRule) leavesOut(d *Direction) {
	if len(r.rule.Providers) > 0 || r.rule.Sampling != nil {
		d.ModeRef = r.at("match.mode", r.rule.ModeLine)
	}
}

// samplingOf is the rate that counts where no Telemetry sets one. Zero is not a rate there: protobuf cannot tell it from
// "not set". Above 100 istiod takes 1; what is below zero it passes on, and Envoy refuses the listener.
func (d *Direction) samplingOf(mesh *MeshConfig, env *float64, config *ProxyConfig) {
	d.Sampling, d.SampledBy = DefaultSampling, "default"
	if env != nil {
		d.Sampling, d.SampledBy = *env, "istiod"
	}
	if config == nil || config.Tracing == nil || config.Tracing.Sampling == nil || *config.Tracing.Sampling == 0 {
		return
	}
	d.Sampling, d.SampledBy = *config.Tracing.Sampling, "proxy"
	if mesh != nil && config == mesh.Config {
		d.SampledBy, d.SamplingRef = "mesh", mesh.Ref.At(join(mesh.Path, "defaultConfig.tracing.sampling"), config.Tracing.SamplingLine)
	}
	switch {
	case d.Sampling > 100:
		d.Sampling, d.Invalid = 1, true
	case d.Sampling < 0:
		d.Invalid = true
	}
}

func join(prefix, path string) string { return strings.TrimPrefix(prefix+"."+path, ".") }

// legacy decides where no Telemetry and no default provider has a say.
func (d *Direction) legacy(o *Objects, mesh *MeshConfig, t *Tracing) {
	hasTracer := t != nil && t.Backend != ""
	if !mesh.TracingEnabled() {
		d.Decision, d.Reason = Off, ReasonNothing
		if hasTracer {
			d.Reason = ReasonEnableTracing
		}
		if mesh.TracingLine > 0 {
			d.DisabledRef = mesh.Ref.At(join(mesh.Path, "enableTracing"), mesh.TracingLine)
		}
		return
	}
	d.Decision = Legacy
	switch {
	case hasTracer:
	case len(mesh.TracingProviders(o.Istio)) > 0:
		d.Reason = ReasonNoProvider
	default:
		d.Reason = ReasonNothing
	}
	if t == nil {
		return
	}
	d.Tags, d.MaxTag = ofKnownKind(t.Tags), t.MaxPath
	if t.IstioTags != nil && o.from(sinceIstioTags) {
		d.IstioTags = *t.IstioTags
	}
}

// details are the parts of a tracing block beside provider and rate. t is the proxy's own tracing configuration, or nil.
func (d *Direction) details(o *Objects, p Proxy, t *Tracing) {
	if !o.from(sinceIstioTags) {
		d.IstioTags = true
	}
	proxy := p.Version
	if proxy == "" {
		proxy = o.Istio
	}
	d.Silent = d.Silent && from(proxy, sinceSilence)
	switch {
	case len(d.Tags) > 0 && !from(proxy, sinceFormatter):
		d.Tags = slices.DeleteFunc(slices.Clone(d.Tags), func(x Tag) bool { return x.From == "formatter" })
	case len(d.Tags) == 0 && t != nil:
		d.Tags = ofKnownKind(t.Tags) // a Telemetry without tags leaves the proxy's own in place
	}
	if d.Decision != Provided {
		return
	}
	d.MaxTag = d.Provider.MaxTag
	if d.MaxTag == 0 && t != nil {
		d.MaxTag = t.MaxPath
	}
	if d.SampledBy != "telemetry" && ratelessIsNothing(o.Istio) {
		d.Sampling, d.SampledBy, d.SamplingRef, d.Invalid = 0, "omitted", d.ProviderRef, false
	}
	if d.Provider.Sampler != "" {
		d.Sampling, d.SampledBy, d.SamplingRef, d.Invalid = 100, "provider", Ref{}, false
	}
}

// ofKnownKind are the tags of which istiod knows the kind: of a proxy's configuration it leaves the others out.
func ofKnownKind(tags []Tag) []Tag {
	if !slices.ContainsFunc(tags, unknownKind) {
		return tags
	}
	return slices.DeleteFunc(slices.Clone(tags), unknownKind)
}

func unknownKind(t Tag) bool { return t.From == "" || t.From == "formatter" }

// decide looks the provider up.
func (d *Direction) decide(o *Objects, mesh *MeshConfig) {
	d.Decision = Off
	switch {
	case d.DisabledRef.Path != "":
		d.Reason = ReasonDisabled
		d.Provider = mesh.Provider(d.Named)
		return
	case d.Named == "":
		d.Reason = ReasonNoProvider
		if d.ModeRef.Path != "" {
			d.Reason = ReasonMode
		}
		return
	}
	d.Provider = mesh.Provider(d.Named)
	if d.Provider == nil || !d.Provider.TracesIn(o.Istio) || d.Provider.SamplerIncomplete() {
		d.Reason = ReasonUndefined
		return
	}
	if d.Provider.Service != "" {
		switch found := o.FindHost(d.Provider.Service); {
		case len(found) > 1:
			d.Reason = ReasonAmbiguous
			return
		case len(found) == 0:
			d.Reason = ReasonUnknownHost // as far as the objects go; Envoy's clusters may know better
		}
	}
	if d.Provider.SamplerHost != "" && len(o.FindHost(d.Provider.SamplerHost)) != 1 {
		d.Reason = ReasonUnknownHost
	}
	d.Decision = Provided
}

// FindHost finds the services that istiod would find for a provider's service: "host" in any namespace, or
// "namespace/host". Several with the same namespace are one.
func (o *Objects) FindHost(service string) []*Service {
	namespace, host := "", service
	if ns, h, ok := strings.Cut(service, "/"); ok {
		namespace, host = ns, h
	}
	var out []*Service
	take := func(s *Service) {
		if namespace != "" && s.Namespace != namespace || !slices.Contains(s.Hosts, host) {
			return
		}
		if !slices.ContainsFunc(out, func(x *Service) bool { return x.Namespace == s.Namespace }) {
			out = append(out, s)
		}
	}
	if o.byHost != nil {
		for _, i := range o.byHost[host] {
			take(&o.Services[i])
		}
		return out
	}
	for i := range o.Services {
		take(&o.Services[i])
	}
	return out
}

// HostOf is the host of a provider's service without the namespace in front.
func HostOf(service string) string {
	if _, h, ok := strings.Cut(service, "/"); ok {
		return h
	}
	return service
}
