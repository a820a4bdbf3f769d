package demo

import (
	"strconv"
	"time"
)

// A Tracer says how a proxy reports its spans and which trace headers it reads and writes.
type Tracer string

const (
	// ZipkinB3 is Istio's zipkin provider with its defaults: JSON to :9411, B3 headers.
	ZipkinB3 Tracer = "zipkin-b3"
	// ZipkinB3W3C is the zipkin provider with traceContextOption USE_B3_WITH_W3C_PROPAGATION (Istio 1.28 and later):
	// B3 is read first, traceparent where there is none, and both are written.
	ZipkinB3W3C Tracer = "zipkin-b3-w3c"
	// OTLPGRPC is the opentelemetry provider: gRPC to :4317, traceparent only.
	OTLPGRPC Tracer = "otlp-grpc"
	// OTLPHTTP is the opentelemetry provider with http.path: protobuf to :4318, traceparent only.
	OTLPHTTP Tracer = "otlp-http"
	// OTLPHTTPMisnamed is OTLPHTTP sent to :4317 behind a port named grpc-…, for which Istio speaks HTTP/2: a frequent mistake.
	OTLPHTTPMisnamed Tracer = "otlp-http-on-grpc-port"
)

// Collector names Spanloom's receivers, each as host:port. An address that a proxy's tracer doesn't use may be empty.
type Collector struct {
	Zipkin   string
	OTLPGRPC string
	OTLPHTTP string
}

// Flush says when proxies and SDKs send what they have gathered.
type Flush struct {
	// Interval is the longest time a span waits; 0 means Envoy's 5 s.
	Interval time.Duration
	// Spans is the number that makes a proxy send at once; 0 means Envoy's 5.
	Spans int
}

// Proxy describes one Envoy: the workload it stands beside and what it lets in and out.
type Proxy struct {
	Router    bool   // an ingress gateway; otherwise a sidecar
	Pod       string // productpage-v1-54bb874995-9q5wp
	App       string // productpage; the canonical service
	Version   string // v1; the canonical revision
	Namespace string // bookinfo
	Address   string // IP its listeners bind to and its connections come from
	Port      int    // where a router's listener binds; 0 lets the kernel choose, as for all other listeners
	Tracer    Tracer
	Percent   float64 // of the requests that are traced, by request id; 0 is 100

	KeepRequestIDs bool // a router's: take x-request-id from outside

	Inbound  []Inbound // ports of the workload's own application
	Outbound []Service // destinations its application may call, grouped by port as Istio groups them
	Routes   []Route   // a router's routes, first match wins
}

// Inbound is one port of the application behind a sidecar.
type Inbound struct {
	Host string // Service the port belongs to: productpage.bookinfo.svc.cluster.local
	Port int    // of the Service; names the listener and the span, whatever port is really bound
	App  string // host:port where the application listens
	GRPC bool
}

// Service is a destination as a Kubernetes Service or ServiceEntry and its VirtualService describe it.
type Service struct {
	Host      string   // reviews.bookinfo.svc.cluster.local, or an external name
	Port      int      // 9080
	GRPC      bool     // HTTP/2 to the endpoints
	Endpoints []string // host:port each; none makes Envoy answer 503 UH

	Timeout time.Duration // of the VirtualService; 0 is none
	Retries int           // attempts after the first; 0 means Istio's default policy
	RetryOn string        // 5xx; only read with Retries
}

// Route is one match of a gateway's VirtualService.
type Route struct {
	Exact  string // this path and no other, or
	Prefix string // every path that begins so
	To     Service
}

// node is the id under which Envoy reports; Istio puts type, address, pod and domain into it.
func (p Proxy) node() string {
	kind := "sidecar"
	if p.Router {
		kind = "router"
	}
	return kind + "~" + p.Address + "~" + p.Pod + "." + p.Namespace + "~" + p.Namespace + ".svc.cluster.local"
}

// service is the name that spans carry: app.namespace.
func (p Proxy) service() string { return p.App + "." + p.Namespace }

// cluster is Istio's name of the destination: direction, port, subset, host.
func (s Service) cluster() string { return "outbound|" + strconv.Itoa(s.Port) + "||" + s.Host }

func (s Service) hostport() string { return s.Host + ":" + strconv.Itoa(s.Port) }

func (in Inbound) cluster() string { return "inbound|" + strconv.Itoa(in.Port) + "||" }

func (in Inbound) listener() string { return "inbound_0.0.0.0_" + strconv.Itoa(in.Port) }

func outboundListener(port int) string { return "0.0.0.0_" + strconv.Itoa(port) }
