package app

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/doctor"
)

// Kong stands in front of a mesh, and its plug-ins report as Kong 3's do: kong/plugins/zipkin/handler.lua and reporter.lua,
// kong/plugins/opentelemetry/traces.lua and otlp.lua, kong/observability/tracing/instrumentation.lua. The proxy behind it goes on
// with the id that the plug-in puts into the headers. No Kong runs here.
func TestKong(t *testing.T) {
	start := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
	for _, c := range []struct {
		plugin string
		send   func(r *running, traceID string, start time.Time) (parent string)
		want   string
	}{
		{"zipkin", kongByZipkin, `
kong GET
  kong GET (balancer try 1)
  kong GET (proxy)
    web.shop web.shop.svc.cluster.local:80/*`},
		{"opentelemetry", kongByOTLP, `
kong kong
  kong kong.router
  kong kong.access.plugin.opentelemetry
  kong kong.balancer
    web.shop web.shop.svc.cluster.local:80/*`},
	} {
		t.Run(c.plugin, func(t *testing.T) {
			r := startServe(t, nil, nil)
			const id = "80f198ee56343ba864fe8b2a57d3eff7"
			parent := c.send(r, id, start)
			sidecar := fmt.Sprintf(`[{"traceId":%q,"parentId":%q,"id":"00000000000000d1","kind":"SERVER","name":"web.shop.svc.cluster.local:80/*","timestamp":%d,"duration":9000,
				"localEndpoint":{"serviceName":"web.shop","ipv4":"10.1.0.3","port":0},"tags":{"component":"proxy","node_id":"sidecar~10.1.0.3~web-1.shop~shop.svc.cluster.local","http.status_code":"200","upstream_cluster":"inbound|8080||"}}]`, id, parent, start.UnixMicro()+3000)
			if code, body := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", sidecar); code != 202 {
				t.Fatal(code, body)
			}
			if got := tree(r, id); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
			if _, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/hops?traceId="+id, ""); !strings.Contains(body, `"stage":"caller"},{"row":`) || !strings.Contains(body, `"stage":"callee_proxy"`) {
				t.Errorf("Kong's call and the proxy behind it are not one hop: %s", body)
			}
			if _, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/traces/"+id+"/spans", ""); strings.Contains(body, "abc-secret") {
				t.Errorf("a value of a URL's query was kept: %s", body)
			}
			_, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/doctor", "")
			var report doctor.Report
			if err := json.Unmarshal([]byte(body), &report); err != nil {
				t.Fatal(err, body)
			}
			for _, f := range report.Findings {
				t.Errorf("the doctor says %s %s: %s", f.Code, f.Cause, f.Detail)
			}
		})
	}
}

// tree is a trace as indented lines, a service and a name each.
func tree(r *running, id string) string {
	r.t.Helper()
	code, body := r.do("GET", "http://"+r.HTTP+"/api/spanloom/v1/traces/"+id, "")
	var skeleton struct {
		Services []struct {
			Name string `json:"name"`
		} `json:"services"`
		Names []string `json:"names"`
		Spans struct {
			Parent  []int `json:"parent"`
			Service []int `json:"service"`
			Name    []int `json:"name"`
		} `json:"spans"`
	}
	if err := json.Unmarshal([]byte(body), &skeleton); code != 200 || err != nil {
		r.t.Fatal(code, err, body)
	}
	var lines []string
	depth := make([]int, len(skeleton.Spans.Parent))
	for i, parent := range skeleton.Spans.Parent {
		if parent >= 0 {
			depth[i] = depth[parent] + 1
		}
		lines = append(lines, strings.Repeat("  ", depth[i])+skeleton.Services[skeleton.Spans.Service[i]].Name+" "+skeleton.Names[skeleton.Spans.Name[i]])
	}
	return strings.Join(lines, "\n")
}

// kongByZipkin posts what the plug-in zipkin reports of one request and answers the span id it puts into the headers.
func kongByZipkin(r *running, id string, start time.Time) string {
	us := start.UnixMicro()
	// cjson keeps no order of keys; an endpoint that is not known is null, tags are texts, times are whole microseconds.
	body := fmt.Sprintf(`[{"traceId":%[1]q,"name":"GET (balancer try 1)","parentId":"00000000000000a1","id":"00000000000000a3","kind":"CLIENT","timestamp":%[3]d,"duration":11000,"localEndpoint":{"serviceName":"kong"},"remoteEndpoint":{"serviceName":"web","port":80,"ipv4":"10.1.0.3"},
		"tags":{"kong.balancer.try":"1","kong.service":"0e7a1b6c-9a52-4f6c-8f0a-5b8f0c1d2e3f","kong.service_name":"web","kong.route":"6b1f3a52-3c8e-4b8a-9a77-0d1e2f3a4b5c","kong.route_name":"web"}},
		{"traceId":%[1]q,"name":"GET (proxy)","parentId":"00000000000000a1","id":"00000000000000a2","kind":"CLIENT","timestamp":%[4]d,"duration":12000,"localEndpoint":{"serviceName":"kong"},"remoteEndpoint":{"serviceName":"web","port":80,"ipv4":"10.1.0.3"},
		"tags":{"peer.hostname":"web.shop.svc.cluster.local","kong.service":"0e7a1b6c-9a52-4f6c-8f0a-5b8f0c1d2e3f"},"annotations":[{"value":"khs","timestamp":%[4]d},{"value":"khf","timestamp":%[4]d},{"value":"kbs","timestamp":%[4]d},{"value":"kas","timestamp":%[4]d},{"value":"kaf","timestamp":%[4]d},{"value":"kbf","timestamp":%[4]d}]},
		{"traceId":%[1]q,"name":"GET","id":"00000000000000a1","kind":"SERVER","timestamp":%[2]d,"duration":15000,"localEndpoint":{"serviceName":"kong"},"remoteEndpoint":{"port":40012,"ipv4":"203.0.113.7"},
		"tags":{"lc":"kong","http.method":"GET","http.host":"shop.example.com","http.path":"/","http.protocol":"HTTP/1.1","http.status_code":"200","kong.node.id":"f7f51c8e-4b8f-4c1a-9d55-0a1b2c3d4e5f"},"annotations":[{"value":"krs","timestamp":%[2]d},{"value":"krf","timestamp":%[2]d}]}]`,
		id, us, us+2000, us+2500)
	if code, answer := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", body); code != 202 {
		r.t.Fatal(code, answer)
	}
	return "00000000000000a2"
}

// kongByOTLP posts what the plug-in opentelemetry exports of one request. Numbers are doubles, but http.status_code.
func kongByOTLP(r *running, id string, start time.Time) string {
	traceID, _ := hex.DecodeString(id)
	at := func(d time.Duration) uint64 { return uint64(start.Add(d).UnixNano()) }
	text := func(key, value string) *common.KeyValue {
		return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
	}
	number := func(key string, value float64) *common.KeyValue {
		return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: value}}}
	}
	status := &common.KeyValue{Key: "http.status_code", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 200}}}
	span := func(name string, n byte, parent byte, kind trace.Span_SpanKind, from, to time.Duration, attributes ...*common.KeyValue) *trace.Span {
		s := &trace.Span{TraceId: traceID, SpanId: []byte{0, 0, 0, 0, 0, 0, 0, n}, Name: name, Kind: kind, StartTimeUnixNano: at(from), EndTimeUnixNano: at(to), Attributes: attributes}
		if parent > 0 {
			s.ParentSpanId = []byte{0, 0, 0, 0, 0, 0, 0, parent}
		}
		return s
	}
	const ms = time.Millisecond
	spans := []*trace.Span{
		span("kong", 0xa1, 0, trace.Span_SPAN_KIND_SERVER, 0, 15*ms, text("http.method", "GET"), text("http.url", "http://shop.example.com/?token=abc-secret"), text("http.host", "shop.example.com"), text("http.scheme", "http"),
			text("http.flavor", "1.1"), text("http.client_ip", "203.0.113.7"), text("net.peer.ip", "10.1.0.1"), text("kong.request.id", "a5c7d2e1f0b34c6f8d9e0a1b2c3d4e5f"), status, text("http.route", "/")),
		span("kong.router", 0xa2, 0xa1, trace.Span_SPAN_KIND_INTERNAL, ms, ms+ms/2),
		span("kong.access.plugin.opentelemetry", 0xa3, 0xa1, trace.Span_SPAN_KIND_INTERNAL, 2*ms, 2*ms+ms/2),
		span("kong.balancer", 0xa4, 0xa1, trace.Span_SPAN_KIND_CLIENT, 2*ms+ms/2, 14*ms, number("try_count", 1), text("net.peer.ip", "10.1.0.3"), number("net.peer.port", 80), text("net.peer.name", "web.shop.svc.cluster.local"),
			text("http.method", "GET"), text("http.url", "http://web.shop.svc.cluster.local/")),
	}
	body, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "kong"), text("service.instance.id", "f7f51c8e-4b8f-4c1a-9d55-0a1b2c3d4e5f"), text("service.version", "3.9.0")}},
		ScopeSpans: []*trace.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "kong-internal", Version: "0.1.0"}, Spans: spans}},
	}}})
	if err != nil {
		r.t.Fatal(err)
	}
	// The plug-in takes every answer but 200 for a failure.
	if code, answer := r.do("POST", "http://"+r.OTLPHTTP+"/v1/traces", string(body), "Content-Type", "application/x-protobuf"); code != 200 {
		r.t.Fatal(code, answer)
	}
	return "00000000000000a4"
}
