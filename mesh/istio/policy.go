package istio

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Target of a policy: a proxy.
type Proxy struct {
	Namespace string
	Labels    map[string]string
	Gateway   bool
	// Injected is the proxy's own configuration as it runs; nil takes the mesh's, as a new pod would get it.
	Injected *ProxyConfig
	Services []string // names of services in front of it, for targetRefs
	Gateways []string // names of Gateway API gateways it serves
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
	SampledBy   string    `json:"sampledBy"` // telemetry, proxy, mesh, istiod, default
	Invalid     bool      `json:"invalidSampling,omitempty"`
	Tags        []Tag     `json:"tags,omitempty"`
	TagsRef     Ref       `json:"tagsRef,omitzero"`
	DisabledRef Ref       `json:"disabledRef,omitzero"`
	ModeRef     Ref       `json:"modeRef,omitzero"` // of a rule that leaves this direction out
	RequestID   bool      `json:"useRequestId"`
}

// Policy is the effective tracing policy of one proxy.
type Policy struct {
	Client    Direction `json:"client"` // outbound, and everything of a gateway
	Server    Direction `json:"server"` // inbound
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

// Applicable are the Telemetries that apply to a proxy, in the order in which they are merged, and those which istiod
// passes over because another one of the same place is older.
func (o *Objects) Applicable(root string, p Proxy) (used, ignored []*Telemetry) {
	sorted := make([]*Telemetry, 0, len(o.Telemetries))
	for i := range o.Telemetries {
		sorted = append(sorted, &o.Telemetries[i])
	}
	sort.SliceStable(sorted, func(i, j int) bool { return older(sorted[i], sorted[j]) })
	wide := func(namespace string) {
		taken := false
		for _, t := range sorted {
			if t.Namespace != namespace || len(t.Selector) > 0 || len(t.Targets) > 0 {
				continue
			}
			switch {
			case !taken:
				used, taken = append(used, t), true
			case used[len(used)-1].Name != t.Name: // one name in two files is one object in two environments
				ignored = append(ignored, t)
			}
		}
	}
	wide(root)
	if p.Namespace != root {
		wide(p.Namespace)
	}
	taken := false
	for _, t := range sorted {
		if t.Namespace != p.Namespace || len(t.Selector) == 0 && len(t.Targets) == 0 || !t.selects(p) {
			continue
		}
		switch {
		case !taken:
			used, taken = append(used, t), true
		case used[len(used)-1].Name != t.Name:
			ignored = append(ignored, t)
		}
	}
	return used, ignored
}

// older orders as istiod does: by creation, then by name and namespace. An object from a file has no time; the order of
// such objects is a guess, and Guessed tells so.
func older(a, b *Telemetry) bool {
	if a.Created != b.Created && a.Created != "" && b.Created != "" {
		return a.Created < b.Created
	}
	if a.Name != b.Name {
		return a.Name < b.Name
	}
	return a.Namespace < b.Namespace
}

func (t *Telemetry) selects(p Proxy) bool {
	if len(t.Targets) > 0 {
		return slices.ContainsFunc(t.Targets, func(x Target) bool {
			return x.Kind == "Service" && slices.Contains(p.Services, x.Name) || x.Kind == "Gateway" && slices.Contains(p.Gateways, x.Name)
		})
	}
	return Matches(t.Selector, p.Labels)
}

// Matches tells whether labels have all of a selector's; the empty selector matches.
func Matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// PolicyOf computes the tracing policy of a proxy as istiod does (Telemetries merged from root to namespace to
// workload, first provider only, a provider that cannot be found switches tracing off). mesh may be nil. env is istiod's
// PILOT_TRACE_SAMPLING, or nil.
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
		pol.Used = append(pol.Used, t.Ref)
		for i := range t.Tracing {
			rules = append(rules, usedRule{t, &t.Tracing[i], i})
		}
	}
	base := Direction{SamplingRef: Ref{}, RequestID: true}
	base.samplingOf(mesh, env, config)
	pol.Client, pol.Server = base, base
	var defaults []string
	if mesh != nil {
		defaults = mesh.Defaults
	}
	if len(rules) == 0 && len(defaults) == 0 {
		for _, d := range []*Direction{&pol.Client, &pol.Server} {
			d.legacy(mesh, pol.Legacy)
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
		if len(d.Tags) == 0 && pol.Legacy != nil {
			d.Tags = pol.Legacy.Tags // a Telemetry without tags leaves the proxy's own in place
		}
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
}

func (r usedRule) leavesOut(d *Direction) {
	if len(r.rule.Providers) > 0 || r.rule.Sampling != nil {
		d.ModeRef = r.at("match.mode", r.rule.ModeLine)
	}
}

// samplingOf is the rate that counts where no Telemetry sets one. Zero is not a rate there: protobuf cannot tell it from
// "not set". Above 100 istiod takes 1.
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
	if d.Sampling > 100 || d.Sampling < 0 {
		d.Sampling, d.Invalid = 1, true
	}
}

func join(prefix, path string) string { return strings.TrimPrefix(prefix+"."+path, ".") }

// legacy decides where no Telemetry and no default provider has a say.
func (d *Direction) legacy(mesh *MeshConfig, t *Tracing) {
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
	case len(mesh.TracingProviders()) > 0:
		d.Reason = ReasonNoProvider
	default:
		d.Reason = ReasonNothing
	}
	if t != nil && d.SampledBy != "telemetry" {
		d.Tags = t.Tags
	}
}

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
	if d.Provider == nil || !d.Provider.Traces() {
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
