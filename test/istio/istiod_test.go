// Package istio_test holds mesh/ against istiod's own code: what mesh/istio computes as the tracing policy of a proxy must be what
// istiod puts into the connection managers of that proxy. It is a module of its own, since istiod's dependencies are many.
package istio_test

import (
	"cmp"
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
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/wellknown"
)

// managed is what a connection manager does about tracing, in words that both sides can say.
type managed struct {
	tracing  bool
	provider string // "", or the tracer and where it sends
	sampling float64
	tags     string // NAME FROM OF, …
	byID     bool   // the request id decides
	own      bool   // Istio's own tags
	longest  int    // of a path in a tag; 0: Envoy's default
	silent   bool   // trace headers are not sent on
}

func (m managed) String() string {
	if !m.tracing {
		return "off"
	}
	return fmt.Sprintf("tracing by %q at %.4g %%, tags [%s], request id %v, Istio's tags %v, longest path %d, silent %v", m.provider, m.sampling, m.tags, m.byID, m.own, m.longest, m.silent)
}

// istiod generates the configuration of one proxy of a mesh. Of a waypoint it answers what holds for the case's service,
// as server.
func istiod(t *testing.T, c meshCase) (client, server managed) {
	t.Helper()
	s, m := serve(t, c)
	return managers(t, s, proxyOf(t, s, m, c), c)
}

// serve starts istiod for a mesh.
func serve(t *testing.T, c meshCase) (*xds.FakeDiscoveryServer, *meshconfig.MeshConfig) {
	t.Helper()
	m, err := mesh.ApplyMeshConfigDefaults(c.mesh)
	if err != nil {
		t.Fatalf("istiod refuses the mesh configuration: %v\n%s", err, c.mesh)
	}
	if c.env != nil {
		test.SetForTest(t, &features.TraceSampling, *c.env)
	}
	options := xds.FakeOptions{MeshConfig: m, ConfigString: c.configs, KubernetesObjectString: c.services}
	if strings.Contains(c.configs, "kind: Gateway\nmetadata: {name: waypoint,") {
		// The index of ambient workloads reads the API server, the rest of istiod this test's store: both get everything.
		options.ConfigString = c.configs + "---\n" + c.services
		options.KubernetesObjectString = options.ConfigString
	}
	return xds.NewFakeDiscoveryServer(t, options), m
}

// proxyOf is the case's proxy as istiod knows it once it is connected.
func proxyOf(t *testing.T, s *xds.FakeDiscoveryServer, m *meshconfig.MeshConfig, c meshCase) *model.Proxy {
	t.Helper()
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
		Metadata:     &model.NodeMetadata{Namespace: c.namespace, Labels: c.labels, IstioVersion: c.version, ProxyConfig: (*model.NodeMetaProxyConfig)(config)},
		IstioVersion: model.ParseIstioVersion(c.version),
	}
	if c.gateway {
		p.Type, p.ID, p.IPAddresses = model.Router, "gateway-1."+c.namespace, []string{gatewayAddress}
	}
	if c.waypoint {
		p.Type, p.ID, p.IPAddresses = model.Waypoint, "waypoint-1."+c.namespace, []string{cmp.Or(c.address, waypointAddress)}
	}
	return s.SetupProxy(p)
}

// managers are what the connection managers of a proxy do, by direction.
func managers(t *testing.T, s *xds.FakeDiscoveryServer, p *model.Proxy, c meshCase) (client, server managed) {
	t.Helper()
	var out, in []*hcm.HttpConnectionManager
	var names []string
	for _, l := range s.Listeners(p) {
		for _, chain := range chains(l) {
			names = append(names, l.Name+" "+chain.Name)
			for _, f := range chain.Filters {
				if f.Name != wellknown.HTTPConnectionManager {
					continue
				}
				h := &hcm.HttpConnectionManager{}
				if err := f.GetTypedConfig().UnmarshalTo(h); err != nil {
					t.Fatal(err)
				}
				switch {
				case c.waypoint:
					if strings.HasSuffix(chain.Name, "|"+c.host) {
						in = append(in, h)
					}
				case l.Name == "virtualInbound":
					in = append(in, h)
				default:
					out = append(out, h)
				}
			}
		}
	}
	if c.waypoint {
		if len(in) == 0 {
			t.Fatalf("istiod made no connection manager of the waypoint for %s, only %v\n%s", c.host, names, c.yaml())
		}
		return managed{}, all(t, in)
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
	m := managed{tracing: true, sampling: h.Tracing.GetRandomSampling().GetValue(), byID: true,
		longest: int(h.Tracing.GetMaxPathTagLength().GetValue()), silent: h.Tracing.GetNoContextPropagation()}
	if c := h.Tracing.Provider; c != nil {
		m.provider = destination(t, c)
	}
	var tags []string
	for _, tag := range h.Tracing.CustomTags {
		switch {
		case tag.Tag == "istio.mesh_id":
			m.own = true
		case strings.HasPrefix(tag.Tag, "istio."):
		case tag.GetLiteral() != nil:
			tags = append(tags, tag.Tag+" literal")
		case tag.GetEnvironment() != nil:
			tags = append(tags, tag.Tag+" environment "+tag.GetEnvironment().Name)
		case tag.GetRequestHeader() != nil:
			tags = append(tags, tag.Tag+" header "+tag.GetRequestHeader().Name)
		case tag.GetValue() != "":
			tags = append(tags, tag.Tag+" formatter")
		default:
			tags = append(tags, tag.Tag+" of no kind")
		}
	}
	slices.Sort(tags)
	m.tags = strings.Join(tags, ", ")
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
		both := ""
		if z.TraceContextOption == trace.ZipkinConfig_USE_B3_WITH_W3C_PROPAGATION {
			both = " B3 and W3C"
		}
		if s := z.GetCollectorService(); s != nil {
			_, path, _ := strings.Cut(strings.TrimPrefix(s.GetHttpUri().GetUri(), "http://"), "/")
			return "zipkin " + s.GetHttpUri().GetCluster() + " /" + path + both
		}
		return "zipkin " + z.CollectorCluster + " " + z.CollectorEndpoint + both
	case "envoy.tracers.opentelemetry":
		o := &trace.OpenTelemetryConfig{}
		read(o)
		sampler := ""
		if o.Sampler != nil {
			sampler = " " + o.Sampler.Name[strings.LastIndexByte(o.Sampler.Name, '.')+1:]
		}
		if h := o.HttpService; h != nil {
			_, path, _ := strings.Cut(h.GetHttpUri().GetUri(), "/")
			return "opentelemetry http " + h.GetHttpUri().GetCluster() + " /" + path + sampler
		}
		return "opentelemetry " + o.GrpcService.GetEnvoyGrpc().GetClusterName() + sampler
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
