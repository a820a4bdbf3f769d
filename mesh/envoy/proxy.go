// Package envoy reads what a running Envoy says about itself (config_dump, clusters, stats, server_info) into small
// structs. Dumps are streamed: memory follows what is kept, not the size of the dump. Half a dump gives what it has;
// unknown types and fields are skipped; both spellings (typed_config, typedConfig) and both forms of the Zipkin tracer
// (collector_cluster, collector_service) are read.
package envoy

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// Proxy is one Envoy. What could not be read stays empty, and Has says so.
type Proxy struct {
	Name         string             `json:"name"` // of the folder or pod
	Node         string             `json:"node,omitempty"`
	Type         string             `json:"type,omitempty"` // sidecar, router
	Namespace    string             `json:"namespace,omitempty"`
	Workload     string             `json:"workload,omitempty"`
	Pod          string             `json:"pod,omitempty"`
	Service      string             `json:"serviceCluster,omitempty"` // what Zipkin's tracer calls the service
	Istio        string             `json:"istioVersion,omitempty"`
	Envoy        string             `json:"envoyVersion,omitempty"`
	Labels       map[string]string  `json:"labels,omitempty"`
	Annotations  map[string]string  `json:"annotations,omitempty"`
	Config       *istio.ProxyConfig `json:"proxyConfig,omitempty"`      // as injected
	Annotated    *istio.ProxyConfig `json:"annotatedConfig,omitempty"`  // of the pod's annotation
	Bootstrap    *Tracer            `json:"bootstrapTracer,omitempty"`  // bootstrap.tracing
	Managers     []Manager          `json:"managers,omitempty"`         // HTTP connection managers, equal ones counted
	TCPPorts     []int              `json:"tcpInboundPorts,omitempty"`  // inbound ports that are TCP only
	HTTPPorts    []int              `json:"httpInboundPorts,omitempty"` // inbound ports with a connection manager
	Clusters     []Cluster          `json:"clusters,omitempty"`
	ClusterCount int                `json:"clusterCount,omitempty"`
	AutoTLS      bool               `json:"autoTls,omitempty"` // some outbound cluster chooses TLS by the endpoint
	Hosts        []Host             `json:"hosts,omitempty"`
	Rejections   []Rejection        `json:"rejections,omitempty"`
	Stats        map[string]int64   `json:"stats,omitempty"`
	Has          Parts              `json:"has"`
	Notes        []string           `json:"notes,omitempty"`
}

// Parts say which parts of a proxy's state were read.
type Parts struct {
	Bootstrap bool `json:"bootstrap,omitempty"`
	Listeners bool `json:"listeners,omitempty"`
	Clusters  bool `json:"clusters,omitempty"`
	Endpoints bool `json:"endpoints,omitempty"`
	Hosts     bool `json:"hosts,omitempty"`
	Stats     bool `json:"stats,omitempty"`
}

// Tracer is a tracer as Envoy has it.
type Tracer struct {
	Name         string `json:"name,omitempty"` // envoy.tracers.zipkin, envoy.tracers.opentelemetry
	Cluster      string `json:"cluster,omitempty"`
	Path         string `json:"path,omitempty"`
	HTTP         bool   `json:"http,omitempty"` // OTLP over HTTP
	Service      string `json:"service,omitempty"`
	TraceContext string `json:"traceContextOption,omitempty"`
}

// Protocol is zipkin, otlp-grpc, otlp-http or the tracer's name.
func (t *Tracer) Protocol() string {
	switch {
	case t == nil:
		return ""
	case strings.Contains(t.Name, "zipkin"):
		return "zipkin"
	case strings.Contains(t.Name, "opentelemetry") && t.HTTP:
		return "otlp-http"
	case strings.Contains(t.Name, "opentelemetry"):
		return "otlp-grpc"
	}
	return strings.TrimPrefix(t.Name, "envoy.tracers.")
}

// Manager is an HTTP connection manager; managers that differ only in their listener are counted, not listed.
type Manager struct {
	Direction string   `json:"direction"` // INBOUND, OUTBOUND
	Tracing   bool     `json:"tracing"`   // it has a tracing block
	Tracer    *Tracer  `json:"tracer,omitempty"`
	Sampling  float64  `json:"sampling"` // percent
	Tags      []string `json:"headerTags,omitempty"`
	Rejected  bool     `json:"rejected,omitempty"` // of a listener that Envoy refused
	Count     int      `json:"count"`
	Listener  string   `json:"listener,omitempty"` // of the first
}

// Cluster is one upstream of Envoy.
type Cluster struct {
	Name      string `json:"name"`
	Type      string `json:"type,omitempty"` // EDS, STRICT_DNS, …
	HTTP2     bool   `json:"http2,omitempty"`
	Follows   bool   `json:"followsDownstream,omitempty"` // protocol of the caller, or by ALPN
	TLS       string `json:"tls,omitempty"`               // empty: plain; always; matching: by the endpoint's metadata
	SNI       string `json:"sni,omitempty"`
	Address   string `json:"address,omitempty"` // of a static or DNS cluster
	Port      int    `json:"port,omitempty"`
	Namespace string `json:"namespace,omitempty"` // of the service
}

// Host is one endpoint with its counters. Counters are -1 where they were not read.
type Host struct {
	Cluster     string `json:"cluster"`
	Address     string `json:"address"`
	TLSMode     string `json:"tlsMode,omitempty"` // of the endpoint's metadata
	Total       int64  `json:"rqTotal"`
	Success     int64  `json:"rqSuccess"`
	Error       int64  `json:"rqError"`
	Connects    int64  `json:"cxTotal"`
	ConnectFail int64  `json:"cxConnectFail"`
	Timeout     int64  `json:"rqTimeout"`
	Unhealthy   bool   `json:"unhealthy,omitempty"`
}

// Rejection is a configuration that Envoy refused.
type Rejection struct {
	Resource string `json:"resource"`
	Details  string `json:"details"`
}

// ClusterName is the name of istiod's outbound cluster of a host and port.
func ClusterName(host string, port string) string { return "outbound|" + port + "||" + host }

// SplitCluster takes "outbound|4317||tempo.monitoring.svc.cluster.local" apart.
func SplitCluster(name string) (direction, port, subset, host string, ok bool) {
	p := strings.SplitN(name, "|", 4)
	if len(p) != 4 {
		return "", "", "", "", false
	}
	return p[0], p[1], p[2], p[3], true
}

// Cluster finds a cluster by name; nil if it is not there or was not read.
func (p *Proxy) Cluster(name string) *Cluster {
	for i := range p.Clusters {
		if p.Clusters[i].Name == name {
			return &p.Clusters[i]
		}
	}
	return nil
}

// HostsOf are the endpoints of a cluster.
func (p *Proxy) HostsOf(cluster string) []Host {
	var out []Host
	for _, h := range p.Hosts {
		if h.Cluster == cluster {
			out = append(out, h)
		}
	}
	return out
}

// ClusterStat reads a statistic of a cluster. Newer Istio writes a semicolon behind the name; ok is false if the
// statistic is not there, which proves nothing unless others of that cluster are.
func (p *Proxy) ClusterStat(cluster, stat string) (int64, bool) {
	for _, sep := range []string{";.", "."} {
		if v, ok := p.Stats["cluster."+cluster+sep+stat]; ok {
			return v, true
		}
	}
	return 0, false
}

// SumStats adds up the statistics that begin and end so.
func (p *Proxy) SumStats(prefix, suffix string) (sum int64, found bool) {
	for name, v := range p.Stats {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			sum, found = sum+v, true
		}
	}
	return sum, found
}

// Keep drops the clusters, endpoints and statistics that have nothing to do with tracing: hosts are those of
// collectors. A proxy of a large mesh has thousands of clusters; five of them matter.
func (p *Proxy) Keep(wanted func(host string) bool) {
	tracers := make(map[string]bool)
	var short []string // a host that was written too short
	add := func(t *Tracer) {
		if t != nil && t.Cluster != "" {
			tracers[t.Cluster] = true
			if _, _, _, host, ok := SplitCluster(t.Cluster); ok {
				tracers[host] = true
				short = append(short, host+".")
			}
		}
	}
	add(p.Bootstrap)
	for i := range p.Managers {
		add(p.Managers[i].Tracer)
	}
	busy := make(map[string]bool)
	for _, h := range p.Hosts {
		busy[h.Cluster] = busy[h.Cluster] || h.Total > 0
	}
	keep := func(cluster string) bool {
		direction, _, _, host, ok := SplitCluster(cluster)
		return tracers[cluster] || cluster == "zipkin" || ok && (direction == "inbound" || tracers[host] || wanted(host) || busy[cluster] || hasPrefix(host, short))
	}
	p.ClusterCount = max(p.ClusterCount, len(p.Clusters))
	clusters := p.Clusters[:0]
	for _, c := range p.Clusters {
		p.AutoTLS = p.AutoTLS || c.TLS == "matching"
		if keep(c.Name) {
			clusters = append(clusters, c)
		}
	}
	p.Clusters = clusters
	hosts := p.Hosts[:0]
	for _, h := range p.Hosts {
		if keep(h.Cluster) {
			hosts = append(hosts, h)
		}
	}
	p.Hosts = hosts
	for name, v := range p.Stats {
		if v == 0 && strings.HasPrefix(name, "http.") {
			delete(p.Stats, name) // one per listener, and a sum of them is all that is asked for
			continue
		}
		rest, ok := strings.CutPrefix(name, "cluster.")
		if !ok {
			continue
		}
		cluster := rest
		if i := strings.LastIndex(rest, "."); i >= 0 {
			cluster = strings.TrimSuffix(rest[:i], ";")
		}
		if !keep(cluster) {
			delete(p.Stats, name)
		}
	}
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
