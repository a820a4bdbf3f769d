package doctor_test

import (
	"path/filepath"
	"testing"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// What can be said of a cluster where Envoy's own state may not be read: from statistics, and from objects alone.
func TestLowerLevels(t *testing.T) {
	const zipkin = "outbound|9411||tempo.monitoring.svc.cluster.local"
	statistics := func(values map[string]int64) mutation {
		return all(nothingReceived, func(f *doctor.Facts) {
			for i, p := range f.Proxies {
				f.Proxies[i] = envoy.Proxy{Name: p.Name, Node: p.Node, Type: p.Type, Namespace: p.Namespace, Workload: p.Workload, Pod: p.Pod, Labels: p.Labels, Config: p.Config, Stats: map[string]int64{}, Has: envoy.Parts{Stats: true}}
				for k, v := range values {
					f.Proxies[i].Stats["cluster."+zipkin+"."+k] = v
				}
			}
			f.Effective = nil
		})
	}
	objects := func(change func(ws []istio.Workload) []istio.Workload) mutation {
		return all(nothingReceived, func(f *doctor.Facts) {
			f.Source, f.Proxies, f.Effective = "cluster", nil, nil
			f.Objects.Namespaces = []istio.Namespace{{Name: "shop", Labels: map[string]string{"istio-injection": "enabled"}}}
			web := istio.Workload{Ref: istio.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}, Labels: map[string]string{"app": "web"}}
			f.Objects.Workloads = append([]istio.Workload{web}, change([]istio.Workload{pod("web-1", true), pod("web-2", true)})...)
		})
	}
	legacy := func(address string) *istio.ProxyConfig {
		return &istio.ProxyConfig{Tracing: &istio.Tracing{Backend: "zipkin", Address: address, Sampling: rate(100)}}
	}
	for _, c := range []struct {
		name, base string
		change     mutation
		state      doctor.State
		causes     []string
	}{
		{"statistics: answered", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 4, "upstream_rq_2xx": 4}), doctor.Healthy, nil},
		{"statistics: not found", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 4, "upstream_rq_4xx": 4}), doctor.Broken, []string{"collector-path"}},
		{"statistics: forbidden", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 4, "upstream_rq_4xx": 4, "upstream_rq_403": 4}), doctor.Broken, []string{"collector-refuses"}},
		{"statistics: failing", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 4, "upstream_rq_5xx": 4}), doctor.Broken, []string{"collector-refuses"}},
		{"statistics: refused", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 0, "upstream_cx_connect_fail": 3, "upstream_cx_connect_timeout": 0}), doctor.Broken, []string{"collector-port-closed"}},
		{"statistics: dropped", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 0, "upstream_cx_connect_fail": 3, "upstream_cx_connect_timeout": 3}), doctor.Broken, []string{"network-blocked"}},
		{"statistics: the answers are hidden", "h03-zipkin-provider", statistics(map[string]int64{"upstream_rq_total": 4}), doctor.Unknown, nil},
		{"statistics: everything is hidden", "h03-zipkin-provider", statistics(nil), doctor.Unknown, nil},

		{"objects: all pods have a sidecar", "h03-zipkin-provider", objects(func(ws []istio.Workload) []istio.Workload { return ws }), doctor.Unknown, nil},
		{"objects: pods older than the label", "h03-zipkin-provider", objects(func([]istio.Workload) []istio.Workload {
			return []istio.Workload{pod("web-1", false), pod("web-2", false)}
		}), doctor.Broken, []string{"sidecar-missing"}},
		{"objects: one pod without", "h03-zipkin-provider", objects(func([]istio.Workload) []istio.Workload {
			return []istio.Workload{pod("web-1", false), pod("web-2", true)}
		}), doctor.Partial, []string{"sidecar-missing"}},
		{"objects: no pod runs", "h03-zipkin-provider", objects(func([]istio.Workload) []istio.Workload { return nil }), doctor.Unknown, nil},
		{"objects: injected with this address", "h04-zipkin-bootstrap-legacy", objects(func(ws []istio.Workload) []istio.Workload {
			ws[0].Running, ws[1].Running = legacy("zipkin.istio-system:9411"), legacy("zipkin.istio-system:9411")
			return ws
		}), doctor.Unknown, nil},
		{"objects: injected with an older address", "h04-zipkin-bootstrap-legacy", objects(func(ws []istio.Workload) []istio.Workload {
			ws[0].Running, ws[1].Running = legacy("old.istio-system:9411"), legacy("zipkin.istio-system:9411")
			return ws
		}), doctor.Partial, []string{"restart-needed"}},
		{"objects: injected with an older rate", "h04-zipkin-bootstrap-legacy", objects(func(ws []istio.Workload) []istio.Workload {
			ws[0].Running = legacy("zipkin.istio-system:9411")
			ws[0].Running.Tracing.Sampling = rate(1)
			return ws
		}), doctor.Partial, []string{"restart-needed"}},
		{"objects: injected before there was a tracer", "h04-zipkin-bootstrap-legacy", objects(func(ws []istio.Workload) []istio.Workload {
			ws[0].Running, ws[0].Version = &istio.ProxyConfig{}, "1.28.0"
			return ws
		}), doctor.Broken, []string{"restart-needed"}},
		{"objects: injected by an Istio whose default was a tracer", "h04-zipkin-bootstrap-legacy", objects(func(ws []istio.Workload) []istio.Workload {
			ws[0].Running, ws[0].Version = &istio.ProxyConfig{}, "1.21.0"
			return ws
		}), doctor.Unknown, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := collect.Files(t.Context(), []string{filepath.Join("testdata/cases", c.base), "testdata/cases/common-services.yaml"}, collect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.change(f)
			r := doctor.Diagnose(f, doctor.Options{})
			if r.State != c.state || !same(grave(r), c.causes) {
				t.Errorf("%s %v, want %s %v\n%s", r.State, grave(r), c.state, c.causes, text(r))
			}
		})
	}
}

func nothingReceived(f *doctor.Facts) { f.Received = nil }

func pod(name string, proxy bool) istio.Workload {
	return istio.Workload{Ref: istio.Ref{Kind: "Pod", Namespace: "shop", Name: name}, Pod: true, Of: "web", OfKind: "Deployment", HasProxy: proxy, Labels: map[string]string{"app": "web", "pod-template-hash": "x"}}
}
