package doctor_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// The computed policy is what real istiod made of the same objects: decision, provider's cluster and rate of every
// connection manager of every recorded proxy, in both directions.
func TestPolicyIsIstiods(t *testing.T) {
	compared := 0
	for _, v := range verdicts(t, "testdata/cases.txt") {
		if v.name == "f17-envoyfilter-unknown-cluster" {
			continue // there an EnvoyFilter changed what istiod made
		}
		f, err := collect.Files(t.Context(), []string{filepath.Join("testdata/cases", v.name)}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var env *float64
		if strings.HasPrefix(v.name, "f49") {
			env = rate(25) // istiod ran with PILOT_TRACE_SAMPLING=25
		}
		for i := range f.Proxies {
			p := &f.Proxies[i]
			pol := f.Objects.PolicyOf(f.Effective, env, istio.Proxy{Namespace: p.Namespace, Labels: p.Labels, Gateway: p.Type == "router", Injected: p.Config})
			for _, m := range p.Managers {
				d := pol.Client
				if m.Direction == "INBOUND" {
					d = pol.Server
				}
				if got, want := computed(d), observed(m); got != want {
					t.Errorf("%s %s %s: computed %s, istiod made %s", v.name, p.Name, m.Direction, got, want)
				}
				compared += m.Count
			}
		}
	}
	if compared < 1000 {
		t.Errorf("only %d connection managers compared", compared)
	}
	t.Logf("%d connection managers compared", compared)
}

func computed(d istio.Direction) string {
	switch {
	case d.Decision == istio.Off, d.Reason == istio.ReasonUnknownHost:
		return "off"
	case d.Decision == istio.Legacy:
		return fmt.Sprintf("no provider, %g %%", d.Sampling)
	}
	return fmt.Sprintf("%s, %g %%", envoy.ClusterName(istio.HostOf(d.Provider.Service), fmt.Sprint(d.Provider.Port)), d.Sampling)
}

func observed(m envoy.Manager) string {
	switch {
	case !m.Tracing:
		return "off"
	case m.Tracer == nil:
		return fmt.Sprintf("no provider, %g %%", m.Sampling)
	}
	return fmt.Sprintf("%s, %g %%", m.Tracer.Cluster, m.Sampling)
}

// Clusters too: which of a collector's ports a proxy sees, with which protocol and TLS, is what the objects say.
func TestClustersAreIstiods(t *testing.T) {
	compared := 0
	for _, v := range verdicts(t, "testdata/cases.txt") {
		f, err := collect.Files(t.Context(), []string{filepath.Join("testdata/cases", v.name)}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Proxies {
			p := &f.Proxies[i]
			proxy := istio.Proxy{Namespace: p.Namespace, Labels: p.Labels, Gateway: p.Type == "router"}
			for _, s := range f.Objects.Services {
				if s.Name != "tempo" {
					continue
				}
				for _, port := range s.Ports {
					c := p.Cluster(envoy.ClusterName(s.Hosts[0], fmt.Sprint(port.Number)))
					sees := f.Objects.SidecarOf("istio-system", proxy).Sees(s.Namespace, s.Hosts[0]) && s.VisibleTo(p.Namespace, nil)
					kept := c != nil || p.Managers[0].Tracer != nil // clusters of no tracer are not kept
					if kept && sees != (c != nil) {
						t.Errorf("%s %s: port %d seen %v, computed %v", v.name, p.Name, port.Number, c != nil, sees)
					}
					if c == nil {
						continue
					}
					compared++
					protocol := port.Protocol(s.Entry)
					if c.HTTP2 != istio.HTTP2(protocol) || p.Type != "router" && c.Follows != (protocol == "auto") {
						t.Errorf("%s %s: port %d is %s, the cluster has %+v", v.name, p.Name, port.Number, protocol, c)
					}
					mode, _ := f.Objects.ClientTLS("istio-system", proxy, s.Namespace, s.Hosts[0], port.Number)
					if tls := map[string]string{"": "matching", "DISABLE": ""}[mode]; c.TLS != tls {
						t.Errorf("%s %s: port %d: TLS mode %q, the cluster has %q", v.name, p.Name, port.Number, mode, c.TLS)
					}
				}
			}
		}
	}
	if compared < 200 {
		t.Errorf("only %d clusters compared", compared)
	}
	t.Logf("%d clusters compared", compared)
}
