// Package istio holds what matters for tracing of Istio's and Kubernetes' objects as plain data, reads them strictly and
// with lines, and computes the tracing policy of a workload the way istiod does (policy.go). Pure functions; no cluster.
//
// What is kept is what a facts file may hold: no Secrets, no values of environment variables or literal tags, annotations
// by a list.
package istio

import "strings"

// Ref names an object and where it stands. Of an object from a cluster File and Line are empty.
type Ref struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Path      string `json:"path,omitempty"` // of a field within the object
}

// At is the same object with a field and its line.
func (r Ref) At(path string, line int) Ref {
	if line > 0 {
		r.Line = line
	}
	r.Path = path
	return r
}

// String is "Telemetry istio-system/mesh-default".
func (r Ref) String() string {
	s := r.Name
	if r.Namespace != "" {
		s = r.Namespace + "/" + s
	}
	if r.Kind == "" {
		return s
	}
	if s == "" {
		return r.Kind
	}
	return r.Kind + " " + s
}

// Objects are what was read of a mesh.
type Objects struct {
	Meshes              []MeshConfig         `json:"meshes,omitempty"`
	Telemetries         []Telemetry          `json:"telemetries,omitempty"`
	EnvoyFilters        []EnvoyFilter        `json:"envoyFilters,omitempty"`
	ProxyConfigs        []ProxyConfigObject  `json:"proxyConfigs,omitempty"`
	Services            []Service            `json:"services,omitempty"`
	Endpoints           []EndpointSet        `json:"endpoints,omitempty"`
	DestinationRules    []DestinationRule    `json:"destinationRules,omitempty"`
	PeerAuthentications []PeerAuthentication `json:"peerAuthentications,omitempty"`
	Sidecars            []Sidecar            `json:"sidecars,omitempty"`
	NetworkPolicies     []NetworkPolicy      `json:"networkPolicies,omitempty"`
	Namespaces          []Namespace          `json:"namespaces,omitempty"`
	Workloads           []Workload           `json:"workloads,omitempty"`
	Bootstraps          []Bootstrap          `json:"bootstraps,omitempty"`
	Routes              []Route              `json:"routes,omitempty"`
	Gateways            []Gateway            `json:"gateways,omitempty"`
	Kialis              []Kiali              `json:"kialis,omitempty"`
	DataSources         []DataSource         `json:"dataSources,omitempty"`
	Notes               []Note               `json:"notes,omitempty"`
	Counts              map[string]int       `json:"counts,omitempty"` // objects read, by kind, those of no interest too
	// Istio is the version of the istiod that reads them, "1.28" or longer: what a policy is depends on it. Empty is the
	// newest known. It is no object; who knows it sets it.
	Istio string `json:"-"`

	byHost map[string][]int // places in Services, after Index
}

// Index makes FindHost fast. Services must not change afterwards.
func (o *Objects) Index() {
	o.byHost = make(map[string][]int, len(o.Services))
	for i := range o.Services {
		for _, h := range o.Services[i].Hosts {
			o.byHost[h] = append(o.byHost[h], i)
		}
	}
}

// Note is what reading found odd: an unknown field, a wrong type, a key written twice, a file that is no YAML.
type Note struct {
	Ref
	Reason  string `json:"reason"` // unknown, version, type, twice, syntax, values, twin
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Owner is who would undo a change of an object by hand.
type Owner struct {
	Tool string `json:"tool,omitempty"` // argocd, flux, helm, operator
	Name string `json:"name,omitempty"`
	Hand string `json:"hand,omitempty"` // a tool of people that changed it nevertheless
}

// MeshConfig is the mesh-wide configuration in one of its forms.
type MeshConfig struct {
	Ref
	Form         string       `json:"form"` // configmap, operator, helm, plain, effective
	Revision     string       `json:"revision,omitempty"`
	Owner        Owner        `json:"owner,omitzero"`
	Invalid      bool         `json:"invalid,omitempty"` // a wrong type: istiod refuses the whole document
	Tracing      *bool        `json:"enableTracing,omitempty"`
	TracingLine  int          `json:"enableTracingLine,omitempty"`
	Root         string       `json:"rootNamespace,omitempty"`
	Config       *ProxyConfig `json:"defaultConfig,omitempty"`
	Providers    []Provider   `json:"extensionProviders,omitempty"`
	Defaults     []string     `json:"defaultTracingProviders,omitempty"`
	DefaultsLine int          `json:"defaultTracingProvidersLine,omitempty"`
	Outbound     string       `json:"outboundTrafficPolicy,omitempty"`
	AutoMTLS     *bool        `json:"enableAutoMtls,omitempty"`
	ExportTo     []string     `json:"defaultServiceExportTo,omitempty"`
	Selectors    bool         `json:"discoverySelectors,omitempty"`
}

// RootNamespace is the namespace whose objects are mesh-wide.
func (m *MeshConfig) RootNamespace() string {
	if m == nil || m.Root == "" {
		return "istio-system"
	}
	return m.Root
}

// TracingEnabled is enableTracing with its default.
func (m *MeshConfig) TracingEnabled() bool { return m == nil || m.Tracing == nil || *m.Tracing }

// Provider finds an extension provider; of several with one name the first counts.
func (m *MeshConfig) Provider(name string) *Provider {
	if m == nil {
		return nil
	}
	for i := range m.Providers {
		if strings.EqualFold(m.Providers[i].Name, name) { // istiod does not mind case here
			return &m.Providers[i]
		}
	}
	return nil
}

// TracingProviders are the extension providers that can trace in that version of Istio (empty: the newest known). The one
// called stackdriver is in every mesh by default.
func (m *MeshConfig) TracingProviders(version string) []Provider {
	var out []Provider
	if m != nil {
		for _, p := range m.Providers {
			if p.TracesIn(version) && (p.Type != "stackdriver" || p.Name != "stackdriver") {
				out = append(out, p)
			}
		}
	}
	return out
}

// Provider is one extension provider.
type Provider struct {
	Name         string `json:"name"`
	Type         string `json:"type"` // zipkin, opentelemetry, datadog, …; empty if none is set
	Service      string `json:"service,omitempty"`
	Port         int    `json:"port,omitempty"`
	HTTP         bool   `json:"http,omitempty"` // OTLP over HTTP
	Path         string `json:"path,omitempty"`
	TraceContext string `json:"traceContextOption,omitempty"`
	Sampler      string `json:"sampler,omitempty"`      // of OpenTelemetry: dynatrace. Proxies give it every trace to decide on
	SamplerHost  string `json:"samplerHost,omitempty"`  // the service that the sampler asks; empty: that of the provider
	MaxTag       int    `json:"maxTagLength,omitempty"` // of the path, in bytes; 0: the proxy's own configuration decides
	Line         int    `json:"line,omitempty"`
	Index        int    `json:"index"`
}

// SamplerIncomplete tells whether the provider has a sampler that knows nobody to ask: it takes over the provider's HTTP
// settings, and there are none.
func (p *Provider) SamplerIncomplete() bool {
	return p.Sampler != "" && p.SamplerHost == "" && !p.HTTP
}

// Traces tells whether the provider can take spans, in some version of Istio.
func (p *Provider) Traces() bool {
	switch p.Type {
	case "zipkin", "opentelemetry", "datadog", "lightstep", "opencensus", "skywalking", "stackdriver":
		return true
	}
	return false
}

// ProxyConfig is the part of a proxy's configuration that concerns tracing.
type ProxyConfig struct {
	Tracing *Tracing `json:"tracing,omitempty"`
	Line    int      `json:"line,omitempty"`
}

// Tracing is the legacy tracing block: of defaultConfig, of an annotation, of a running proxy.
type Tracing struct {
	Backend      string   `json:"backend,omitempty"` // zipkin, lightstep, datadog, stackdriver, openCensusAgent; empty: none
	Address      string   `json:"address,omitempty"`
	AddressLine  int      `json:"addressLine,omitempty"`
	Sampling     *float64 `json:"sampling,omitempty"`
	SamplingLine int      `json:"samplingLine,omitempty"`
	Tags         []Tag    `json:"customTags,omitempty"`
	IstioTags    *bool    `json:"enableIstioTags,omitempty"`
	MaxPath      int      `json:"maxPathTagLength,omitempty"`
	TLS          string   `json:"tlsMode,omitempty"`
	Line         int      `json:"line,omitempty"`
}

// Tag is a custom tag without its literal value.
type Tag struct {
	Name string `json:"name"`
	From string `json:"from"`         // literal, environment, header, formatter
	Of   string `json:"of,omitempty"` // the header or variable
	Line int    `json:"line,omitempty"`
}

// Telemetry is one Telemetry object; only its tracing part.
type Telemetry struct {
	Ref
	Owner    Owner             `json:"owner,omitzero"`
	Created  string            `json:"created,omitempty"` // as written, RFC 3339
	Order    int               `json:"order"`             // the place among what was read
	Selector map[string]string `json:"selector,omitempty"`
	Targets  []Target          `json:"targets,omitempty"`
	// TargetList: they stand under targetRefs, which is newer than targetRef.
	TargetList bool          `json:"targetRefs,omitempty"`
	Tracing    []TracingRule `json:"tracing,omitempty"`
	OtherUses  bool          `json:"otherUses,omitempty"` // metrics or access logs too
	Expires    string        `json:"expires,omitempty"`   // of ExpiresAnnotation, RFC 3339
}

// ExpiresAnnotation says until when a raised sampling rate is meant to stand (`spanloom mesh sampling raise`).
const ExpiresAnnotation = "spanloom.io/sampling-expires"

// Target is what a policy attaches to by name.
type Target struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// TracingRule is one entry of a Telemetry's tracing list.
type TracingRule struct {
	Mode          string   `json:"mode,omitempty"` // CLIENT, SERVER, CLIENT_AND_SERVER, empty
	ModeLine      int      `json:"modeLine,omitempty"`
	Providers     []string `json:"providers,omitempty"`
	ProvidersLine int      `json:"providersLine,omitempty"`
	Sampling      *float64 `json:"sampling,omitempty"`
	SamplingLine  int      `json:"samplingLine,omitempty"`
	Disable       *bool    `json:"disableSpanReporting,omitempty"`
	DisableLine   int      `json:"disableLine,omitempty"`
	NoPropagation *bool    `json:"disableContextPropagation,omitempty"`
	RequestID     *bool    `json:"useRequestIdForTraceSampling,omitempty"`
	IstioTags     *bool    `json:"enableIstioTags,omitempty"`
	Tags          []Tag    `json:"customTags,omitempty"`
	TagsSet       bool     `json:"customTagsSet,omitempty"`
	Line          int      `json:"line,omitempty"`
}

// EnvoyFilter is one EnvoyFilter that has to do with tracing, and where it applies.
type EnvoyFilter struct {
	Ref
	Owner    Owner             `json:"owner,omitzero"`
	Selector map[string]string `json:"selector,omitempty"`
	Targets  []Target          `json:"targets,omitempty"`
	Patches  []Patch           `json:"patches"`
}

// Patch is one patch of an EnvoyFilter whose value has a tracing block or a tracer.
type Patch struct {
	ApplyTo    string   `json:"applyTo"`
	Context    string   `json:"context,omitempty"`
	Operation  string   `json:"operation,omitempty"`
	FilterName string   `json:"filterName,omitempty"` // of match.listener.filterChain.filter
	SubFilter  string   `json:"subFilter,omitempty"`
	Version    string   `json:"proxyVersion,omitempty"` // a regular expression
	HCM        bool     `json:"hcm,omitempty"`          // the value is a connection manager
	Typed      bool     `json:"typed,omitempty"`
	Tracer     string   `json:"tracer,omitempty"` // name of the tracer
	Cluster    string   `json:"cluster,omitempty"`
	Path       string   `json:"path,omitempty"`
	Sampling   *float64 `json:"sampling,omitempty"`
	Bootstrap  bool     `json:"bootstrap,omitempty"`
	Line       int      `json:"line,omitempty"`
}

// ProxyConfigObject is an object of kind ProxyConfig, which has no tracing part.
type ProxyConfigObject struct {
	Ref
	Selector map[string]string `json:"selector,omitempty"`
}

// Service is a Kubernetes Service or a ServiceEntry.
type Service struct {
	Ref
	Owner     Owner             `json:"owner,omitzero"`
	Hosts     []string          `json:"hosts"`
	Ports     []Port            `json:"ports,omitempty"`
	Selector  map[string]string `json:"selector,omitempty"`
	ExportTo  []string          `json:"exportTo,omitempty"`
	Headless  bool              `json:"headless,omitempty"`
	External  string            `json:"externalName,omitempty"`
	Entry     bool              `json:"serviceEntry,omitempty"`
	Location  string            `json:"location,omitempty"`
	Resolves  string            `json:"resolution,omitempty"`
	Addresses []Endpoint        `json:"endpoints,omitempty"` // of a ServiceEntry
	Uses      map[string]string `json:"waypoint,omitempty"`  // the labels that name its waypoint
}

// Endpoint is one address behind a service.
type Endpoint struct {
	Address string `json:"address"`
	InMesh  bool   `json:"inMesh,omitempty"` // its proxy takes mutual TLS
	App     string `json:"app,omitempty"`
	Ready   bool   `json:"ready"`
}

// Port is one port of a service.
type Port struct {
	Number   int    `json:"number"`
	Name     string `json:"name,omitempty"`
	Target   string `json:"targetPort,omitempty"`
	Declared string `json:"protocol,omitempty"`    // of a ServiceEntry, or TCP/UDP of a Service
	App      string `json:"appProtocol,omitempty"` // of a Service
	Line     int    `json:"line,omitempty"`
}

// EndpointSet is an EndpointSlice or Endpoints object.
type EndpointSet struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Ready     int    `json:"ready"`
	NotReady  int    `json:"notReady,omitempty"`
}

// DestinationRule is the client side of a host's TLS.
type DestinationRule struct {
	Ref
	Owner    Owner             `json:"owner,omitzero"`
	Host     string            `json:"host"`
	Mode     string            `json:"tlsMode,omitempty"`
	ModeLine int               `json:"tlsModeLine,omitempty"`
	Ports    map[int]string    `json:"portTlsModes,omitempty"`
	ExportTo []string          `json:"exportTo,omitempty"`
	Selector map[string]string `json:"selector,omitempty"`
}

// PeerAuthentication is the server side of mutual TLS.
type PeerAuthentication struct {
	Ref
	Mode     string            `json:"mode,omitempty"`
	Selector map[string]string `json:"selector,omitempty"`
	Ports    map[int]string    `json:"portModes,omitempty"`
	Created  string            `json:"created,omitempty"`
}

// Sidecar limits what a proxy sees.
type Sidecar struct {
	Ref
	Owner    Owner             `json:"owner,omitzero"`
	Selector map[string]string `json:"selector,omitempty"`
	Egress   []string          `json:"egressHosts,omitempty"` // empty: everything
	Limits   bool              `json:"limits,omitempty"`      // an egress list is there
	Line     int               `json:"egressLine,omitempty"`
}

// NetworkPolicy is a Kubernetes NetworkPolicy.
type NetworkPolicy struct {
	Ref
	Owner   Owner        `json:"owner,omitzero"`
	Pods    LabelQuery   `json:"podSelector"`
	Ingress bool         `json:"ingressPolicy,omitempty"`
	Egress  bool         `json:"egressPolicy,omitempty"`
	In      []PolicyRule `json:"ingress,omitempty"`
	Out     []PolicyRule `json:"egress,omitempty"`
}

// PolicyRule lets traffic of its peers and ports pass; no peers means all, no ports means all.
type PolicyRule struct {
	Peers []PolicyPeer `json:"peers,omitempty"`
	Ports []PolicyPort `json:"ports,omitempty"`
	Line  int          `json:"line,omitempty"`
}

// PolicyPeer is one side of a rule.
type PolicyPeer struct {
	Pods       *LabelQuery `json:"podSelector,omitempty"`
	Namespaces *LabelQuery `json:"namespaceSelector,omitempty"`
	CIDR       string      `json:"cidr,omitempty"`
	Except     []string    `json:"except,omitempty"`
}

// PolicyPort is a port or a range.
type PolicyPort struct {
	Protocol string `json:"protocol,omitempty"`
	Name     string `json:"name,omitempty"`
	From     int    `json:"from,omitempty"`
	To       int    `json:"to,omitempty"`
}

// LabelQuery is a label selector. The empty one matches everything.
type LabelQuery struct {
	Labels map[string]string `json:"matchLabels,omitempty"`
	Rules  []LabelRule       `json:"matchExpressions,omitempty"`
}

// LabelRule is one expression of a label selector.
type LabelRule struct {
	Key    string   `json:"key"`
	Op     string   `json:"operator"`
	Values []string `json:"values,omitempty"`
}

// Namespace is a namespace with the labels that matter.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Ref    Ref               `json:"ref"`
}

// Workload is a Deployment, StatefulSet, DaemonSet, Job or Pod.
type Workload struct {
	Ref
	Owner       Owner             `json:"owner,omitzero"`
	Labels      map[string]string `json:"labels,omitempty"` // of its pods
	Annotations map[string]string `json:"annotations,omitempty"`
	Config      *ProxyConfig      `json:"proxyConfig,omitempty"` // of proxy.istio.io/config
	HostNetwork bool              `json:"hostNetwork,omitempty"`
	HasProxy    bool              `json:"hasProxy,omitempty"`
	Gateway     bool              `json:"gateway,omitempty"`
	Pod         bool              `json:"pod,omitempty"` // as it runs, not as it is written
	Started     string            `json:"started,omitempty"`
	Of          string            `json:"of,omitempty"`       // of a pod: the workload that made it
	OfKind      string            `json:"ofKind,omitempty"`   // Deployment, StatefulSet, …
	IP          string            `json:"ip,omitempty"`       // of a pod
	Ready       bool              `json:"ready,omitempty"`    // of a pod
	Running     *ProxyConfig      `json:"injected,omitempty"` // of a pod: PROXY_CONFIG of its proxy, as it was injected
	Version     string            `json:"imageTag,omitempty"` // of istiod's or the proxy's image
	Ports       []int             `json:"ports,omitempty"`
	SDK         *SDK              `json:"sdk,omitempty"`
	ControlsTrc *float64          `json:"pilotTraceSampling,omitempty"` // of istiod
}

// SDK is what the environment of a container says about an OpenTelemetry SDK, decoded: no value is kept as written.
type SDK struct {
	Host        string   `json:"host,omitempty"`
	Port        int      `json:"port,omitempty"`
	Scheme      string   `json:"scheme,omitempty"`
	Protocol    string   `json:"protocol,omitempty"`
	Propagators []string `json:"propagators,omitempty"`
	Sampler     string   `json:"sampler,omitempty"`
	Exporter    string   `json:"exporter,omitempty"`
	Line        int      `json:"line,omitempty"`
	PropLine    int      `json:"propagatorsLine,omitempty"`
}

// Bootstrap is a ConfigMap with a bootstrap override.
type Bootstrap struct {
	Ref
	Tracer   string `json:"tracer,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Invalid  string `json:"invalid,omitempty"`
}

// Route is a destination that a VirtualService or HTTPRoute sends HTTP to.
type Route struct {
	Ref
	Host string `json:"host"`
	Port int    `json:"port,omitempty"`
}

// Kiali is Kiali's tracing section, of its CR or its ConfigMap.
type Kiali struct {
	Ref
	Owner     Owner    `json:"owner,omitzero"`
	Enabled   *bool    `json:"enabled,omitempty"`
	Provider  string   `json:"provider,omitempty"`
	Internal  string   `json:"internalUrl,omitempty"`
	External  string   `json:"externalUrl,omitempty"`
	GRPC      *bool    `json:"useGrpc,omitempty"`
	Line      int      `json:"line,omitempty"`
	Unknown   []Field  `json:"unknown,omitempty"`
	Misplaced string   `json:"misplaced,omitempty"` // where a tracing section stands that is not read
	Anonymous bool     `json:"anonymous,omitempty"`
	Selected  []string `json:"selectedNamespaces,omitempty"`
}

// Field is a name with its line.
type Field struct {
	Name string `json:"name"`
	Line int    `json:"line,omitempty"`
}

// DataSource is a Grafana data source for traces.
type DataSource struct {
	Ref
	Title string `json:"title"`
	Type  string `json:"type"`
	Host  string `json:"host,omitempty"`
	Port  int    `json:"port,omitempty"`
	Line  int    `json:"line,omitempty"`
}
