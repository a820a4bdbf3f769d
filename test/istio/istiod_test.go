// Package istio_test holds mesh/ against istiod's own code: what mesh/istio computes as the tracing policy of a proxy must be what
// istiod puts into the connection managers of that proxy. It is a module of its own, since istiod's dependencies are many.
package istio_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	trace "github.com/envoyproxy/go-control-plane/envoy/config/trace/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	requestid "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	"google.golang.org/protobuf/proto"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/wellknown"
)

// managed is what a connection manager does about tracing, in words that both sides can say.
type managed struct {
	tracing  bool
	provider string // "", or the tracer and where it sends
	sampling float64
	tags     string
	byID     bool // the request id decides
}

func (m managed) String() string {
	if !m.tracing {
		return "off"
	}
	return fmt.Sprintf("tracing by %q at %.4g %%, tags %s, request id %v", m.provider, m.sampling, m.tags, m.byID)
}

// istiod generates the configuration of one proxy of a mesh.
func istiod(t *testing.T, c meshCase) (client, server managed) {
	t.Helper()
	m, err := mesh.ApplyMeshConfigDefaults(c.mesh)
	if err != nil {
		t.Fatalf("istiod refuses the mesh configuration: %v\n%s", err, c.mesh)
	}
	s := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{MeshConfig: m, ConfigString: c.configs, KubernetesObjectString: c.services})
	config := m.DefaultConfig
	if c.annotation != "" {
		with, err := mesh.ApplyProxyConfig(c.annotation, proto.Clone(m).(*meshconfig.MeshConfig))
		if err != nil {
			t.Fatalf("istiod refuses the annotation: %v\n%s", err, c.annotation)
		}
		config = with.DefaultConfig
	}
	p := &model.Proxy{
		ID: "web-1." + c.namespace, IPAddresses: []string{webAddress}, ConfigNamespace: c.namespace, Labels: c.labels, DNSDomain: c.namespace + ".svc.cluster.local",
		Metadata:     &model.NodeMetadata{Namespace: c.namespace, Labels: c.labels, IstioVersion: "1.31.0", ProxyConfig: (*model.NodeMetaProxyConfig)(config)},
		IstioVersion: &model.IstioVersion{Major: 1, Minor: 31},
	}
	if c.gateway {
		p.Type, p.ID, p.IPAddresses = model.Router, "gateway-1."+c.namespace, []string{gatewayAddress}
	}
	p = s.SetupProxy(p)
	var out, in []*hcm.HttpConnectionManager
	for _, l := range s.Listeners(p) {
		for _, chain := range chains(l) {
			for _, f := range chain.Filters {
				if f.Name != wellknown.HTTPConnectionManager {
					continue
				}
				h := &hcm.HttpConnectionManager{}
				if err := f.GetTypedConfig().UnmarshalTo(h); err != nil {
					t.Fatal(err)
				}
				if l.Name == "virtualInbound" {
					in = append(in, h)
				} else {
					out = append(out, h)
				}
			}
		}
	}
	if len(out) == 0 || len(in) == 0 && !c.gateway {
		t.Fatalf("istiod made %d outbound and %d inbound connection managers", len(out), len(in))
	}
	client = all(t, out)
	if c.gateway {
		return client, managed{}
	}
	return client, all(t, in)
}

func chains(l *listener.Listener) []*listener.FilterChain {
	if l.DefaultFilterChain == nil {
		return l.FilterChains
	}
	return append(slices.Clone(l.FilterChains), l.DefaultFilterChain)
}

// all is what the connection managers of one direction have in common: they must not differ.
func all(t *testing.T, list []*hcm.HttpConnectionManager) managed {
	t.Helper()
	first := managedBy(t, list[0])
	for _, h := range list[1:] {
		if m := managedBy(t, h); m != first {
			t.Fatalf("connection managers of one direction differ: %v; %v", first, m)
		}
	}
	return first
}

func managedBy(t *testing.T, h *hcm.HttpConnectionManager) managed {
	t.Helper()
	if h.Tracing == nil {
		return managed{}
	}
	m := managed{tracing: true, sampling: h.Tracing.GetRandomSampling().GetValue(), byID: true}
	if c := h.Tracing.Provider; c != nil {
		m.provider = destination(t, c)
	}
	var tags []string
	for _, tag := range h.Tracing.CustomTags {
		if !strings.HasPrefix(tag.Tag, "istio.") {
			tags = append(tags, tag.Tag)
		}
	}
	slices.Sort(tags)
	m.tags = strings.Join(tags, ",")
	if e := h.RequestIdExtension; e != nil {
		id := &requestid.UuidRequestIdConfig{}
		if err := e.TypedConfig.UnmarshalTo(id); err != nil {
			t.Fatal(err)
		}
		if v := id.UseRequestIdForTraceSampling; v != nil {
			m.byID = v.Value
		}
	}
	return m
}

// destination is a tracer and the cluster, or the address, that it sends to.
func destination(t *testing.T, c *trace.Tracing_Http) string {
	t.Helper()
	read := func(m proto.Message) {
		if err := c.GetTypedConfig().UnmarshalTo(m); err != nil {
			t.Fatal(err)
		}
	}
	switch c.Name {
	case "envoy.tracers.zipkin":
		z := &trace.ZipkinConfig{}
		read(z)
		if s := z.GetCollectorService(); s != nil {
			return "zipkin " + s.GetHttpUri().GetCluster()
		}
		return "zipkin " + z.CollectorCluster
	case "envoy.tracers.opentelemetry":
		o := &trace.OpenTelemetryConfig{}
		read(o)
		if h := o.HttpService; h != nil {
			return "opentelemetry http " + h.GetHttpUri().GetCluster()
		}
		return "opentelemetry " + o.GrpcService.GetEnvoyGrpc().GetClusterName()
	case "envoy.tracers.datadog":
		d := &trace.DatadogConfig{}
		read(d)
		return "datadog " + d.CollectorCluster
	case "envoy.tracers.skywalking":
		s := &trace.SkyWalkingConfig{}
		read(s)
		return "skywalking " + s.GrpcService.GetEnvoyGrpc().GetClusterName()
	}
	return c.Name
}
