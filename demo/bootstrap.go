package demo

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What istiod sends a proxy over xDS stands here in one static bootstrap, field by field as Istio 1.31 writes it.
// Left out is what the demo has no use for: mTLS, the catch-all and pass-through chains, Istio's own stats and its filter of Envoy's.

type (
	obj  = map[string]any // one message of Envoy's configuration in its JSON form
	list = []any
)

const (
	collectorHost = "spanloom.observability.svc.cluster.local"
	gatewayPort   = 8080
	// Connections of a sidecar to its own application come from here, so that iptables can tell them.
	inboundSource = "127.0.0.6"
)

// bootstrap is the whole configuration of the proxy. It can be marshalled to JSON and is the same for the same input.
func (p Proxy) bootstrap(c Collector, f Flush) (obj, error) {
	trace, collector, err := p.tracer(c)
	if err != nil {
		return nil, err
	}
	if err := p.checkEndpoints(); err != nil {
		return nil, err
	}
	var listeners list
	clusters := list{collector}
	for _, in := range p.Inbound {
		listeners = append(listeners, p.inboundListener(in, trace))
		clusters = append(clusters, in.inboundCluster())
	}
	if p.Router {
		listeners = append(listeners, p.gatewayListener(trace))
	}
	for _, port := range p.outboundPorts() {
		listeners = append(listeners, p.outboundListener(port, trace))
	}
	for _, s := range p.destinations() {
		clusters = append(clusters, s.outboundCluster(p.Address))
	}
	return obj{
		"node": obj{
			"id":      p.node(),
			"cluster": p.service(),
			"metadata": obj{
				"NAME":          p.Pod,
				"NAMESPACE":     p.Namespace,
				"WORKLOAD_NAME": p.App + "-" + p.Version,
				"INSTANCE_IPS":  p.Address,
				"CLUSTER_ID":    "Kubernetes",
				"MESH_ID":       "cluster.local",
				"ISTIO_VERSION": "1.31.0",
				"LABELS": obj{
					"app":                                 p.App,
					"version":                             p.Version,
					"service.istio.io/canonical-name":     p.App,
					"service.istio.io/canonical-revision": p.Version,
				},
			},
		},
		"admin":        obj{"address": socketAddress("127.0.0.1", 0)},
		"stats_config": statsConfig(),
		"static_resources": obj{
			"listeners": listeners,
			"clusters":  clusters,
		},
		"overload_manager": obj{"resource_monitors": list{
			typed("envoy.resource_monitors.global_downstream_max_connections",
				"envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
				obj{"max_active_downstream_connections": "2147483647"}),
		}},
		"layered_runtime": obj{"layers": list{obj{
			"name":         "flush",
			"static_layer": f.runtime(),
		}}},
	}, nil
}

// statsConfig gives Envoy's statistics the labels that they have in Istio, where clusters and connection managers are known
// to Prometheus as cluster_name and http_conn_manager_prefix. Their names end in a semicolon, which tells where the rest begins.
func statsConfig() obj {
	tag := func(name, regex string) obj { return obj{"tag_name": name, "regex": regex} }
	return obj{"use_all_default_tags": false, "stats_tags": list{
		tag("cluster_name", `^cluster\.((.+?);\.)`),
		tag("http_conn_manager_prefix", `^http\.((.+?);\.)`),
		tag("response_code", `_rq(_(\d{3}))$`),
		tag("response_code_class", `_rq(_(\dxx))$`),
	}}
}

// runtime gives the flush settings as Envoy's runtime keys, which is where Istio's runtimeValues end up too.
func (f Flush) runtime() obj {
	keys := obj{}
	for _, tracer := range []string{"zipkin", "opentelemetry"} {
		if f.Interval > 0 {
			keys["tracing."+tracer+".flush_interval_ms"] = f.Interval.Milliseconds()
		}
		if f.Spans > 0 {
			keys["tracing."+tracer+".min_flush_spans"] = f.Spans
		}
	}
	return keys
}

// tracer gives the tracing provider of the proxy and the cluster of the collector it reports to.
func (p Proxy) tracer(c Collector) (provider, cluster obj, err error) {
	to := Service{Host: collectorHost}
	var address, field string
	switch p.Tracer {
	case ZipkinB3, ZipkinB3W3C:
		to.Port, address, field = 9411, c.Zipkin, "Zipkin"
	case OTLPGRPC:
		to.Port, address, field, to.GRPC = 4317, c.OTLPGRPC, "OTLPGRPC", true
	case OTLPHTTP:
		to.Port, address, field = 4318, c.OTLPHTTP, "OTLPHTTP"
	case OTLPHTTPMisnamed:
		to.Port, address, field, to.GRPC = 4317, c.OTLPGRPC, "OTLPGRPC", true
	default:
		return nil, nil, fmt.Errorf("tracer %q of %s is unknown: use %s, %s, %s, %s or %s",
			p.Tracer, p.Pod, ZipkinB3, ZipkinB3W3C, OTLPGRPC, OTLPHTTP, OTLPHTTPMisnamed)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, nil, fmt.Errorf("collector address %s %q, which %s reports to: %w", field, address, p.Pod, err)
	}
	to.Endpoints = []string{dialable(address)}

	switch p.Tracer {
	case ZipkinB3: // as Istio wrote it up to 1.28
		provider = typed("envoy.tracers.zipkin", "envoy.config.trace.v3.ZipkinConfig", obj{
			"collector_cluster":          to.cluster(),
			"collector_endpoint":         "/api/v2/spans",
			"collector_hostname":         collectorHost,
			"collector_endpoint_version": "HTTP_JSON",
			"trace_id_128bit":            true,
			"shared_span_context":        false,
		})
	case ZipkinB3W3C: // as Istio writes it from 1.29 on
		provider = typed("envoy.tracers.zipkin", "envoy.config.trace.v3.ZipkinConfig", obj{
			"collector_service": obj{"http_uri": obj{
				"uri":     "http://" + collectorHost + "/api/v2/spans",
				"cluster": to.cluster(),
				"timeout": "5s",
			}},
			"collector_endpoint_version": "HTTP_JSON",
			"trace_id_128bit":            true,
			"shared_span_context":        false,
			"trace_context_option":       "USE_B3_WITH_W3C_PROPAGATION",
		})
	case OTLPGRPC:
		provider = typed("envoy.tracers.opentelemetry", "envoy.config.trace.v3.OpenTelemetryConfig", obj{
			"grpc_service": obj{"envoy_grpc": obj{
				"cluster_name": to.cluster(),
				"authority":    collectorHost,
			}},
			"service_name":       p.service(),
			"resource_detectors": environmentDetector(),
		})
	case OTLPHTTP, OTLPHTTPMisnamed:
		provider = typed("envoy.tracers.opentelemetry", "envoy.config.trace.v3.OpenTelemetryConfig", obj{
			"http_service": obj{"http_uri": obj{
				"uri":     collectorHost + "/v1/traces",
				"cluster": to.cluster(),
				"timeout": "5s",
			}},
			"service_name":       p.service(),
			"resource_detectors": environmentDetector(),
		})
	}
	return provider, to.outboundCluster(p.Address), nil
}

// environmentDetector makes Envoy report OTEL_RESOURCE_ATTRIBUTES as resource attributes.
func environmentDetector() list {
	const kind = "envoy.tracers.opentelemetry.resource_detectors.environment"
	return list{typed(kind, "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig", nil)}
}

// resourceAttributes is the value of OTEL_RESOURCE_ATTRIBUTES for the proxy.
func (p Proxy) resourceAttributes() string {
	return "k8s.namespace.name=" + p.Namespace + ",k8s.pod.name=" + p.Pod + ",deployment.environment.name=demo"
}

// tracing is the tracing block of a connection manager; five tags name the workload.
func (p Proxy) tracing(provider obj) obj {
	all, random := obj{"value": 100}, obj{"value": 100}
	if p.Percent > 0 {
		random = obj{"value": p.Percent}
	}
	tag := func(key, value string) obj { return obj{"tag": key, "literal": obj{"value": value}} }
	return obj{
		"client_sampling":  all,
		"random_sampling":  random,
		"overall_sampling": all,
		"custom_tags": list{
			tag("istio.canonical_revision", p.Version),
			tag("istio.canonical_service", p.App),
			tag("istio.cluster_id", "Kubernetes"),
			tag("istio.mesh_id", "cluster.local"),
			tag("istio.namespace", p.Namespace),
		},
		"provider": provider,
	}
}

// connectionManager is what all three kinds of listeners have in common.
func (p Proxy) connectionManager(statPrefix string, provider, routes obj) obj {
	return obj{
		"stat_prefix":  statPrefix,
		"route_config": routes,
		"http_filters": list{
			typed("envoy.filters.http.grpc_stats", "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
				obj{"emit_filter_state": true, "stats_for_all_methods": false}),
			typed("envoy.filters.http.fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", nil),
			typed("envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.Cors", nil),
			typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router", nil),
		},
		"tracing":             p.tracing(provider),
		"use_remote_address":  false,
		"proxy_100_continue":  true,
		"stream_idle_timeout": "0s",
		"normalize_path":      true,
		"request_id_extension": obj{"typed_config": obj{
			"@type":                             "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
			"use_request_id_for_trace_sampling": true,
		}},
		"path_with_escaped_slashes_action": "KEEP_UNCHANGED",
	}
}

func (p Proxy) listener(name, direction string, port int, manager obj) obj {
	return obj{
		"name":              name,
		"address":           socketAddress(p.Address, port),
		"traffic_direction": direction,
		"filter_chains": list{obj{"filters": list{
			typed("envoy.filters.network.http_connection_manager",
				"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager),
		}}},
	}
}

// inboundListener stands for the chain of Istio's virtualInbound that belongs to one port of the application.
func (p Proxy) inboundListener(in Inbound, provider obj) obj {
	manager := p.connectionManager("inbound_0.0.0.0_"+strconv.Itoa(in.Port)+";", provider, obj{
		"name": in.cluster(),
		"virtual_hosts": list{obj{
			"name":    "inbound|http|" + strconv.Itoa(in.Port),
			"domains": list{"*"},
			"routes": list{obj{
				"name":  "default",
				"match": obj{"prefix": "/"},
				"route": obj{
					"cluster":             in.cluster(),
					"timeout":             "0s",
					"retry_policy":        obj{"retry_on": "reset-before-request", "num_retries": 2},
					"max_stream_duration": noStreamLimit(),
				},
				"decorator": obj{"operation": in.Host + ":" + strconv.Itoa(in.Port) + "/*"},
			}},
		}},
		"validate_clusters": false,
	})
	manager["server_name"] = "istio-envoy"
	manager["forward_client_cert_details"] = "APPEND_FORWARD"
	manager["set_current_client_cert_details"] = obj{"subject": true, "dns": true, "uri": true}
	return p.listener(in.listener(), "INBOUND", 0, manager)
}

// outboundListener takes what the application sends to one port, whatever the host: the virtual host decides.
func (p Proxy) outboundListener(port int, provider obj) obj {
	var hosts list
	for _, s := range p.Outbound {
		if s.Port == port {
			hosts = append(hosts, s.virtualHost())
		}
	}
	manager := p.connectionManager("outbound_"+outboundListener(port)+";", provider, obj{
		"name":                         strconv.Itoa(port),
		"virtual_hosts":                hosts,
		"validate_clusters":            false,
		"ignore_port_in_host_matching": true,
	})
	return p.listener(outboundListener(port), "OUTBOUND", 0, manager)
}

func (p Proxy) gatewayListener(provider obj) obj {
	var routes list
	for _, r := range p.Routes {
		routes = append(routes, r.entry())
	}
	manager := p.connectionManager("outbound_"+outboundListener(gatewayPort)+";", provider, obj{
		"name": "http." + strconv.Itoa(gatewayPort),
		"virtual_hosts": list{obj{
			"name":                          "*:" + strconv.Itoa(gatewayPort),
			"domains":                       list{"*"},
			"routes":                        routes,
			"include_request_attempt_count": true,
		}},
		"validate_clusters":            false,
		"ignore_port_in_host_matching": true,
	})
	manager["server_name"] = "istio-envoy"
	manager["use_remote_address"] = true
	manager["forward_client_cert_details"] = "SANITIZE_SET"
	if p.KeepRequestIDs {
		manager["preserve_external_request_id"] = true
	}
	// A server span and one client span for every try upstream (Istio 1.28 and later).
	manager["tracing"].(obj)["spawn_upstream_span"] = true
	return p.listener(outboundListener(gatewayPort), "OUTBOUND", p.Port, manager)
}

// virtualHost makes the Service reachable by all names that cluster DNS would resolve to it.
func (s Service) virtualHost() obj {
	domains := list{s.Host}
	if name, rest, ok := strings.Cut(s.Host, "."); ok && strings.HasSuffix(rest, ".svc.cluster.local") {
		namespace := strings.TrimSuffix(rest, ".svc.cluster.local")
		domains = append(domains, name, name+"."+namespace, name+"."+namespace+".svc")
	}
	return obj{
		"name":                          s.hostport(),
		"domains":                       domains,
		"routes":                        list{Route{Prefix: "/", To: s}.entry()},
		"include_request_attempt_count": true,
	}
}

// entry is the route with the span name istiod gives it: host, port and the matched path.
func (r Route) entry() obj {
	match, path := obj{"path": r.Exact}, r.Exact
	if r.Exact == "" {
		match, path = obj{"prefix": r.Prefix}, r.Prefix+"*"
	}
	action := obj{
		"cluster":      r.To.cluster(),
		"timeout":      seconds(r.To.Timeout),
		"retry_policy": r.To.retryPolicy(),
	}
	if r.To.Timeout == 0 {
		action["max_stream_duration"] = noStreamLimit() // where there is a timeout, this would undo it
	}
	return obj{
		"name":      "default",
		"match":     match,
		"route":     action,
		"decorator": obj{"operation": r.To.hostport() + path},
	}
}

func (s Service) retryPolicy() obj {
	policy := obj{
		"retry_on":                          "connect-failure,refused-stream,unavailable,cancelled",
		"num_retries":                       2,
		"host_selection_retry_max_attempts": "5",
		"retry_host_predicate": list{typed("envoy.retry_host_predicates.previous_hosts",
			"envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", nil)},
	}
	if s.Retries > 0 {
		policy["retry_on"], policy["num_retries"] = s.RetryOn, s.Retries
	}
	return policy
}

func (in Inbound) inboundCluster() obj {
	c := cluster(in.cluster(), in.GRPC, []string{in.App})
	c["upstream_bind_config"] = obj{"source_address": address(inboundSource, 0)}
	return c
}

func (s Service) outboundCluster(source string) obj {
	c := cluster(s.cluster(), s.GRPC, s.Endpoints)
	// A pod's connections come from the pod's address. Only loopback peers can be reached from a loopback address.
	if slices.ContainsFunc(s.Endpoints, isLoopback) {
		c["upstream_bind_config"] = obj{"source_address": address(source, 0)}
	}
	return c
}

func cluster(name string, grpc bool, endpoints []string) obj {
	resolve := "STATIC" // Istio: EDS, or ORIGINAL_DST for the own application
	ends := list{}
	for _, e := range endpoints {
		host, port, _ := net.SplitHostPort(e)
		if net.ParseIP(host) == nil {
			resolve = "STRICT_DNS"
		}
		number, _ := strconv.Atoi(port)
		ends = append(ends, obj{"endpoint": obj{"address": socketAddress(host, number)}})
	}
	c := obj{
		"name":             name,
		"alt_stat_name":    name + ";",
		"type":             resolve,
		"connect_timeout":  "10s",
		"lb_policy":        "LEAST_REQUEST",
		"common_lb_config": obj{"healthy_panic_threshold": obj{}},
		"circuit_breakers": obj{"thresholds": list{obj{"max_connections": noLimit, "max_pending_requests": noLimit, "max_requests": noLimit, "max_retries": noLimit}}},
		"load_assignment":  obj{"cluster_name": name, "endpoints": list{obj{"lb_endpoints": ends}}},
	}
	if grpc {
		c["typed_extension_protocol_options"] = obj{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": obj{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": obj{"http2_protocol_options": obj{}},
			},
		}
	}
	return c
}

const noLimit = 4294967295

func noStreamLimit() obj {
	return obj{"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}
}

func typed(name, message string, config obj) obj {
	withType := obj{"@type": "type.googleapis.com/" + message}
	for k, v := range config {
		withType[k] = v
	}
	return obj{"name": name, "typed_config": withType}
}

func socketAddress(host string, port int) obj { return obj{"socket_address": address(host, port)} }

func address(host string, port int) obj { return obj{"address": host, "port_value": port} }

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// outboundPorts lists the ports of the destinations, ascending: one listener each.
func (p Proxy) outboundPorts() []int {
	var ports []int
	for _, s := range p.Outbound {
		ports = append(ports, s.Port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// destinations lists every Service the proxy may call, each once.
func (p Proxy) destinations() []Service {
	all := slices.Clone(p.Outbound)
	for _, r := range p.Routes {
		all = append(all, r.To)
	}
	var once []Service
	for _, s := range all {
		if !slices.ContainsFunc(once, func(o Service) bool { return o.cluster() == s.cluster() }) {
			once = append(once, s)
		}
	}
	return once
}

// checkEndpoints refuses an endpoint that is no host:port, which Envoy would only say in terms of protobuf.
func (p Proxy) checkEndpoints() error {
	check := func(of, endpoint string) error {
		_, port, err := net.SplitHostPort(endpoint)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return fmt.Errorf("endpoint %q of %s, configured for %s: %w: write host:port", endpoint, of, p.Pod, err)
		}
		return nil
	}
	for _, in := range p.Inbound {
		if err := check(in.Host, in.App); err != nil {
			return err
		}
	}
	for _, s := range p.destinations() {
		for _, e := range s.Endpoints {
			if err := check(s.Host, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// dialable turns the address of a listener into one that can be dialled: an unspecified host is this machine.
func dialable(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func isLoopback(hostport string) bool {
	host, _, _ := net.SplitHostPort(hostport)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() && ip.To4() != nil
}
