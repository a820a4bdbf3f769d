package uiapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store/storetest"
)

// meshSpans are calls with everything that map, hops and propagation can say.
const meshSpans = `
11 1 - gw.is server "web/*" 3590s 40ms node_id=router~10.0.0.1~gw-1.is~x http.method=GET http.url=http://h/a?b http.status_code=503 response_flags=- @group=gw @namespace=is @mark=proxy @weight=10 resource:telemetry.sdk.name=envoy resource:k8s.node.name=node-1
11 2 1 gw.is client "router outbound|80|v1|web.shop.svc.cluster.local; egress" 3590.001s 10ms upstream_cluster="outbound|80|v1|web.shop.svc.cluster.local" upstream_address=10.0.0.2:80 response_flags=UF error=true @group=gw @namespace=is @mark=proxy @weight=10
11 3 1 gw.is client "router outbound|80|v1|web.shop.svc.cluster.local; egress" 3590.012s 20ms upstream_cluster="outbound|80|v1|web.shop.svc.cluster.local" response_flags=DC @group=gw @namespace=is @mark=proxy @weight=10 @status=error
11 4 3 web.shop server "web/*" 3592.014s 16ms node_id=sidecar~10.0.0.2~web-1.shop~x http.method=GET http.status_code=200 istio.canonical_revision=v1 @group=web @namespace=shop @mark=proxy @weight=10 @status=error
11 5 4 web.shop client "PassthroughCluster" 3592.015s 1ms upstream_cluster=PassthroughCluster http.url=http://out.example/x http.method=GET @group=web @namespace=shop @mark=proxy @weight=10
11 6 4 web.shop client "BlackHoleCluster" 3592.016s 1ms upstream_cluster=BlackHoleCluster http.url=http://bad.example/x http.method=GET @group=web @namespace=shop @mark=proxy @weight=10
11 7 4 web.shop client "api" 3592.017s 5ms upstream_cluster="outbound|8080||api.shop.svc.cluster.local" http.method=GET node_id=sidecar~10.0.0.2~web-1.shop~x @group=web @namespace=shop @mark=proxy @weight=10
11 7 4 api.shop server "api" 3592.018s 1ms http.method=GET http.status_code=200 node_id=sidecar~10.0.0.3~api-1.shop~x @group=api @namespace=shop @mark=proxy,shared @weight=10
11 7 4 api.shop server "api" 3592.040s 1ms http.method=GET node_id=sidecar~10.0.0.3~api-1.shop~x @group=api @namespace=shop @mark=proxy,shared @weight=10
11 8 4 web.shop client "lost" 3592.030s 1ms upstream_cluster="outbound|8080||gone.shop.svc.cluster.local" http.method=GET @group=web @namespace=shop @mark=proxy @weight=10
12 1 - web.shop server "web/*" 3580s 40ms node_id=sidecar~10.0.0.2~web-1.shop~x @group=web @namespace=shop @mark=proxy
13 1 - web.shop client "api" 3580.01s 5ms node_id=sidecar~10.0.0.2~web-1.shop~x upstream_cluster="outbound|8080||api.shop.svc.cluster.local" @group=web @namespace=shop @mark=proxy
14 1 - old server "x" 3500s 1ms
14 2 - old server "x" 3440s 1ms
15 1 - old2 server "x" 3580s 1ms
15 2 1 older server "y" 3580s 1ms
`

func meshServer(t *testing.T) *server {
	s := serve(t, nil)
	if err := s.engine.Accept(t.Context(), storetest.Batch(t, meshSpans)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMapAnswers(t *testing.T) {
	s := meshServer(t)
	var m struct {
		Nodes []struct {
			ID, Kind string
			Calls    float64
			Slot     *int
		}
		Edges []struct {
			From, To, Seen, MTLS, MTLSSource string
			Calls                            float64
		}
	}
	ask := func(path string) {
		t.Helper()
		w := s.get(path)
		m.Nodes, m.Edges = nil, nil
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	ask("/map?namespaces=is")
	if len(m.Nodes) != 3 || len(m.Edges) != 2 || m.Edges[1].From != "gateway/is/gw" || m.Edges[1].To != "service/shop/web" || m.Edges[1].Calls != 20 || m.Edges[1].Seen != "both" {
		t.Errorf("%+v", m)
	}
	if client, inside := m.Edges[0], m.Edges[1]; client.MTLS != "" || inside.MTLS != "on" || inside.MTLSSource != "automatic mutual TLS between sidecars" {
		t.Errorf("%+v", m.Edges)
	}
	ask("/map?focus=service/shop/api&depth=1")
	if e := m.Edges[0]; e.MTLS != "off" || e.MTLSSource != "shop/api-1 has no sidecar" {
		t.Errorf("%+v", e)
	}
	ask("/map?focus=service/shop/api&depth=1&lang=ko")
	if e := m.Edges[0]; e.MTLS != "off" || e.MTLSSource != "shop/api-1에 사이드카가 없습니다" {
		t.Errorf("%+v", e)
	}
	if len(m.Nodes) != 2 || len(m.Edges) != 1 || m.Nodes[0].Slot == nil {
		t.Errorf("%+v", m)
	}
	for request, want := range map[string]string{
		"/map?depth=0":                 `"field":"depth"`,
		"/map?depth=21":                `"field":"depth"`,
		"/map?compare=yes":             `"field":"compare"`,
		"/map?lang=fr":                 `"field":"lang"`,
		"/edge?from=a&to=b&lang=fr":    `"field":"lang"`,
		"/service?node=a&lang=fr":      `"field":"lang"`,
		"/map?focus=service//nobody":   `"field":"focus"`,
		"/map?namespace=shop":          "did you mean namespaces?",
		"/service":                     `"field":"node"`,
		"/service?node=service//no":    `"field":"node"`,
		"/service?node=a&buckets=0":    `"field":"buckets"`,
		"/edge?to=a":                   `"field":"from"`,
		"/edge?from=a":                 `"field":"to"`,
		"/edge?from=a&to=b&class=c":    `"field":"class"`,
		"/edge?from=a&to=b&buckets=0":  `"field":"buckets"`,
		"/edge?from=a&to=b":            "as the map lists them",
		"/hops":                        `"field":"traceId"`,
		"/hops?traceId=xyz":            `"field":"traceId"`,
		"/hops?traceId=77":             "not found",
		"/propagation?start=1m&end=1h": `"field":"start"`,
	} {
		if w := s.get(request); w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", request, w.Code, w.Body)
		}
	}
}
