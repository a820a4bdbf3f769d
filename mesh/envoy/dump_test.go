package envoy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

const manager = `{"name":"envoy.filters.network.http_connection_manager","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","tracing":%s}}`

func listeners(direction, tracing string) string {
	return `{"configs":[{"@type":"x.Unknown","things":[{"a":[1,{"b":null}]}]},{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[{"name":"l","active_state":{"listener":{"name":"l","traffic_direction":"` +
		direction + `","filter_chains":[{"filter_chain_match":{"destination_port":8080},"filters":[` + fmt.Sprintf(manager, tracing) + `]}]}}}]}]}`
}

func TestDump(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"OTLP over gRPC", listeners("OUTBOUND", `{"random_sampling":{"value":12.5},"provider":{"name":"envoy.tracers.opentelemetry","typed_config":{"grpc_service":{"envoy_grpc":{"cluster_name":"outbound|4317||t"}},"service_name":"w"}}}`),
			`[{"direction":"OUTBOUND","tracing":true,"tracer":{"name":"envoy.tracers.opentelemetry","cluster":"outbound|4317||t","service":"w"},"sampling":12.5,"count":1,"listener":"l"}]`},
		{"OTLP over HTTP", listeners("INBOUND", `{"provider":{"name":"envoy.tracers.opentelemetry","typed_config":{"http_service":{"http_uri":{"uri":"t/v1/traces","cluster":"outbound|4318||t"}}}}}`),
			`[{"direction":"INBOUND","tracing":true,"tracer":{"name":"envoy.tracers.opentelemetry","cluster":"outbound|4318||t","path":"/v1/traces","http":true},"sampling":100,"count":1,"listener":"l"}]`},
		{"Zipkin, older form", listeners("OUTBOUND", `{"random_sampling":{},"provider":{"name":"envoy.tracers.zipkin","typed_config":{"collector_cluster":"outbound|9411||z","collector_endpoint":"/api/v2/spans"}}}`),
			`[{"direction":"OUTBOUND","tracing":true,"tracer":{"name":"envoy.tracers.zipkin","cluster":"outbound|9411||z","path":"/api/v2/spans"},"sampling":0,"count":1,"listener":"l"}]`},
		{"Zipkin, newer form, camelCase", listeners("OUTBOUND", `{"provider":{"name":"envoy.tracers.zipkin","typedConfig":{"collectorService":{"httpUri":{"uri":"http://z/api/v2/spans","cluster":"outbound|9411||z"}}}}}`),
			`[{"direction":"OUTBOUND","tracing":true,"tracer":{"name":"envoy.tracers.zipkin","cluster":"outbound|9411||z","path":"/api/v2/spans"},"sampling":100,"count":1,"listener":"l"}]`},
		{"no provider", listeners("OUTBOUND", `{"random_sampling":{"value":1}}`), `[{"direction":"OUTBOUND","tracing":true,"sampling":1,"count":1,"listener":"l"}]`},
		{"a tag from a header", listeners("OUTBOUND", `{"custom_tags":[{"tag":"a","request_header":{"name":"authorization"}}]}`), `[{"direction":"OUTBOUND","tracing":true,"sampling":100,"headerTags":["authorization"],"count":1,"listener":"l"}]`},
		{"refused by Envoy", strings.ReplaceAll(listeners("OUTBOUND", `{"provider":{"name":"envoy.tracers.zipkin","typed_config":{"collector_cluster":"c"}}}`), `"active_state":{"listener"`, `"error_state":{"details":"unknown cluster 'c'","failed_configuration"`),
			`[{"direction":"OUTBOUND","tracing":true,"tracer":{"name":"envoy.tracers.zipkin","cluster":"c"},"sampling":100,"rejected":true,"count":1,"listener":"l"}]`},
		{"other types in the places of ours", `{"configs":[{"dynamic_listeners":{"a":1},"static_clusters":[1,"x",null],"bootstrap":[]}]}`, `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Proxy
			if err := p.Dump(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(p.Managers)
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBootstrapOfIstioctl(t *testing.T) {
	var p Proxy
	err := p.Dump(strings.NewReader(`{"bootstrap":{"node":{"id":"sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local","metadata":{"ISTIO_VERSION":"1.17.8","LABELS":{"app":"web"},"PROXY_CONFIG":{"proxyMetadata":{"SECRET":"x"},"tracing":{"zipkin":{"address":"zipkin.istio-system:9411"}}}}},
		"tracing":{"http":{"name":"envoy.tracers.zipkin","typedConfig":{"collectorCluster":"zipkin","collectorEndpoint":"/zipkin/api/v1/spans"}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Bootstrap == nil || p.Bootstrap.Path != "/zipkin/api/v1/spans" || p.Istio != "1.17.8" || p.Config.Tracing.Address != "zipkin.istio-system:9411" || p.Pod != "web-0" || p.Namespace != "shop" {
		t.Errorf("%+v %+v", p, p.Bootstrap)
	}
	if b, _ := json.Marshal(p); bytes.Contains(b, []byte("SECRET")) {
		t.Error("proxyMetadata is kept")
	}
}

func TestHalfADumpGivesWhatItHas(t *testing.T) {
	whole := listeners("OUTBOUND", `{"random_sampling":{"value":1}}`)
	head := `{"configs":[{"static_clusters":[{"cluster":{"name":"zipkin","type":"STRICT_DNS"}}]},`
	var p Proxy
	if err := p.Dump(strings.NewReader(head + whole[12:len(whole)-40])); err == nil || len(p.Notes) != 1 {
		t.Errorf("no word about the end: %v", p.Notes)
	}
	if p.Cluster("zipkin") == nil || !p.Has.Listeners {
		t.Errorf("what came before is lost: %+v", p)
	}
}

func TestClusters(t *testing.T) {
	var p Proxy
	err := p.ReadClusters(strings.NewReader("c::observability_name::c\nc::default_priority::max_connections::1\nc::added_via_api::true\nc::10.0.0.1:80::cx_connect_fail::3\nc::10.0.0.1:80::rq_total::5\nc::10.0.0.1:80::health_flags::/failed_active_hc\nc::[fd00::1]:80::rq_success::2\nrubbish\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(p.Hosts)
	want := `[{"cluster":"c","address":"10.0.0.1:80","rqTotal":5,"rqSuccess":-1,"rqError":-1,"cxTotal":-1,"cxConnectFail":3,"rqTimeout":0,"unhealthy":true},{"cluster":"c","address":"[fd00::1]:80","rqTotal":-1,"rqSuccess":2,"rqError":-1,"cxTotal":-1,"cxConnectFail":-1,"rqTimeout":0}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStats(t *testing.T) {
	var p Proxy
	err := p.ReadStats(strings.NewReader("tracing.zipkin.reports_dropped: 4\nserver.uptime: 3\ncluster.c;.upstream_rq_404: 2\nsomething.else: 1\nhistogram: P0(nan,1)\n" +
		"envoy_tracing_opentelemetry_spans_sent{} 7\nenvoy_cluster_upstream_cx_connect_fail{cluster_name=\"outbound|4317||t\"} 9\nenvoy_http_tracing_random_sampling{http_conn_manager_prefix=\"in\"} 3\n" +
		"envoy_cluster_upstream_rq{response_code=\"404\",cluster_name=\"outbound|9411||z;\"} 5\nenvoy_cluster_upstream_rq_xx{response_code_class=\"5\",cluster_name=\"outbound|9411||z\"} 6\n" +
		"envoy_listener_manager_lds_update_rejected{} 1\nistio_requests_total{reporter=\"source\"} 8\nistio_requests_total{reporter=\"destination\"} 2\nistio_requests_total{broken 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(p.Stats), "map[cluster.c;.upstream_rq_404:2 cluster.outbound|4317||t.upstream_cx_connect_fail:9 cluster.outbound|9411||z.upstream_rq_404:5 cluster.outbound|9411||z.upstream_rq_5xx:6 http.in.tracing.random_sampling:3 istio_requests_total:10 listener_manager.lds.update_rejected:1 server.uptime:3 tracing.opentelemetry.spans_sent:7 tracing.zipkin.reports_dropped:4]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if v, ok := p.ClusterStat("c", "upstream_rq_404"); !ok || v != 2 {
		t.Error("a cluster's statistic with a semicolon is not found")
	}
}

func TestKeepDropsWhatDoesNotMatter(t *testing.T) {
	var p Proxy
	for i := range 1000 {
		p.Clusters = append(p.Clusters, Cluster{Name: fmt.Sprintf("outbound|80||s%d", i)})
		p.Hosts = append(p.Hosts, Host{Cluster: fmt.Sprintf("outbound|80||s%d", i), Total: int64(i % 500)})
	}
	p.Managers = []Manager{{Tracer: &Tracer{Cluster: "outbound|4317||s7"}}}
	p.Stats = map[string]int64{"cluster.outbound|80||s0;.upstream_rq_total": 1, "cluster.outbound|80||s7.upstream_rq_total": 1, "tracing.x.y": 0}
	p.Hosts = p.Hosts[:1]
	p.Keep(func(h string) bool { return h == "s9" })
	if len(p.Clusters) != 2 || len(p.Hosts) != 0 || len(p.Stats) != 2 || p.ClusterCount != 1000 {
		t.Errorf("%d clusters, %d hosts, %d statistics", len(p.Clusters), len(p.Hosts), len(p.Stats))
	}
}

// large makes a dump of n listeners and n clusters without holding it.
func large(n int) io.Reader {
	r, w := io.Pipe()
	go func() {
		fmt.Fprint(w, `{"configs":[{"dynamic_active_clusters":[`)
		for i := range n {
			fmt.Fprintf(w, `{"version_info":"x","cluster":{"name":"outbound|80||s%d.ns.svc.cluster.local","type":"EDS","filler":"%s"}},`, i, strings.Repeat("x", 2000))
		}
		fmt.Fprint(w, `{}]},{"dynamic_listeners":[`)
		for i := range n {
			fmt.Fprintf(w, `{"name":"l%d","active_state":{"listener":{"traffic_direction":"OUTBOUND","filter_chains":[{"filters":[`+manager+`]}],"filler":"%s"}}},`, i, `{"random_sampling":{"value":100}}`, strings.Repeat("y", 2000))
		}
		fmt.Fprint(w, `{}]}]}`)
		w.Close()
	}()
	return r
}

func TestALargeDumpStaysSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var p Proxy
	const n = 10_000 // 44 MB
	if err := p.Dump(large(n)); err != nil {
		t.Fatal(err)
	}
	p.Keep(func(string) bool { return false })
	p.Clusters = append([]Cluster(nil), p.Clusters...)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if len(p.Managers) != 1 || p.Managers[0].Count != n || p.ClusterCount != n {
		t.Errorf("%d managers, %d clusters", len(p.Managers), p.ClusterCount)
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	fmt.Fprint(z, listeners("OUTBOUND", `{}`))
	z.Close()
	var p Proxy
	if err := p.Dump(&b); err != nil || len(p.Managers) != 1 {
		t.Errorf("%v %v", err, p.Managers)
	}
}

func FuzzDump(f *testing.F) {
	f.Add([]byte(listeners("INBOUND", `{"provider":{"name":"envoy.tracers.zipkin","typed_config":{"collector_cluster":"c"}}}`)))
	f.Add([]byte(`{"configs":[{"bootstrap":{"node":{"id":"a~b~c.d~e","metadata":{"PROXY_CONFIG":{"tracing":{"zipkin":{}}}}}},"static_clusters":[{"cluster":{"name":"x","load_assignment":{"endpoints":[{"lb_endpoints":[{}]}]}}}],"dynamic_endpoint_configs":[{"endpoint_config":{"endpoints":[{"lb_endpoints":[{}]}]}}]}]}`))
	f.Add([]byte("{\"configs\":"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Proxy
		_ = p.Dump(bytes.NewReader(data))
		_ = p.ServerInfo(bytes.NewReader(data))
		p.Keep(func(string) bool { return false })
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("c::10.0.0.1:80::rq_total::5\ntracing.zipkin.reports_dropped: 4\nenvoy_tracing_a_b{} 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Proxy
		_ = p.ReadClusters(bytes.NewReader(data))
		_ = p.ReadStats(bytes.NewReader(data))
		p.Keep(func(string) bool { return false })
	})
}
