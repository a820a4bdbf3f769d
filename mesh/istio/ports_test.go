package istio

import "testing"

func TestProtocolOfAPort(t *testing.T) {
	for _, c := range []struct {
		port  Port
		entry bool
		want  string
	}{
		{Port{Name: "grpc-otlp", Declared: "TCP"}, false, "grpc"},
		{Port{Name: "grpc"}, false, "grpc"},
		{Port{Name: "otlp-grpc"}, false, "auto"}, // only what stands in front of the first dash counts
		{Port{Name: "otlp"}, false, "auto"},
		{Port{Name: ""}, false, "auto"},
		{Port{Name: "tcp-otlp"}, false, "tcp"},
		{Port{Name: "http-zipkin"}, false, "http"},
		{Port{Name: "HTTP2-x"}, false, "http2"},
		{Port{Name: "grpc-web"}, false, "grpc-web"},
		{Port{Name: "tcp-otlp", App: "grpc"}, false, "grpc"},
		{Port{Name: "grpc-x", App: "kubernetes.io/h2c"}, false, "http2"},
		{Port{Name: "x", App: "kubernetes.io/ws"}, false, "http"},
		{Port{Name: "x", App: "example.com/own"}, false, "auto"},
		{Port{Name: "x", Declared: "UDP"}, false, "udp"},
		{Port{Name: "db", Number: 3306}, false, "tcp"},
		{Port{Name: "x", Declared: "GRPC"}, true, "grpc"},
		{Port{Name: "grpc-x"}, true, "auto"}, // of a ServiceEntry the name says nothing
		{Port{Declared: "HTTPS"}, true, "tls"},
	} {
		if got := c.port.Protocol(c.entry); got != c.want {
			t.Errorf("%+v entry %v: %s, want %s", c.port, c.entry, got, c.want)
		}
	}
}

func TestWhatAProxySees(t *testing.T) {
	o := Objects{Sidecars: []Sidecar{
		{Ref: Ref{Namespace: "istio-system", Name: "mesh"}, Limits: true, Egress: []string{"./*", "istio-system/*"}},
		{Ref: Ref{Namespace: "shop", Name: "wide"}, Limits: true, Egress: []string{"monitoring/tempo.monitoring.svc.cluster.local"}},
		{Ref: Ref{Namespace: "shop", Name: "web"}, Selector: map[string]string{"app": "web"}, Limits: true, Egress: []string{"*/*.example.com"}},
	}}
	for _, c := range []struct {
		proxy Proxy
		host  string
		want  bool
	}{
		{Proxy{Namespace: "shop", Labels: map[string]string{"app": "api"}}, "tempo.monitoring.svc.cluster.local", true},
		{Proxy{Namespace: "shop", Labels: map[string]string{"app": "web"}}, "tempo.monitoring.svc.cluster.local", false},
		{Proxy{Namespace: "shop", Labels: map[string]string{"app": "web"}}, "x.example.com", true},
		{Proxy{Namespace: "other"}, "tempo.monitoring.svc.cluster.local", false},
		{Proxy{Namespace: "other", Gateway: true}, "tempo.monitoring.svc.cluster.local", true},
	} {
		if got := o.SidecarOf("istio-system", c.proxy).Sees("monitoring", c.host); got != c.want {
			t.Errorf("%+v sees %s: %v", c.proxy, c.host, got)
		}
	}
	s := Service{Ref: Ref{Namespace: "monitoring"}}
	if !s.VisibleTo("shop", nil) || s.VisibleTo("shop", []string{"."}) {
		t.Error("the default of exportTo")
	}
	s.ExportTo = []string{".", "shop"}
	if !s.VisibleTo("shop", nil) || !s.VisibleTo("monitoring", nil) || s.VisibleTo("other", nil) {
		t.Error("exportTo")
	}
}

func TestTLS(t *testing.T) {
	o := Objects{
		DestinationRules: []DestinationRule{
			{Ref: Ref{Namespace: "istio-system", Name: "all"}, Host: "*.local", Mode: "ISTIO_MUTUAL"},
			{Ref: Ref{Namespace: "monitoring", Name: "tempo"}, Host: "tempo", Mode: "DISABLE", Ports: map[int]string{4318: "SIMPLE"}},
			{Ref: Ref{Namespace: "shop", Name: "own"}, Host: "jaeger.monitoring.svc.cluster.local", Mode: "SIMPLE"},
			{Ref: Ref{Namespace: "far", Name: "far"}, Host: "tempo.monitoring.svc.cluster.local", Mode: "MUTUAL"},
		},
		PeerAuthentications: []PeerAuthentication{
			{Ref: Ref{Namespace: "istio-system"}, Mode: "STRICT"},
			{Ref: Ref{Namespace: "monitoring"}, Mode: "PERMISSIVE"},
			{Ref: Ref{Namespace: "monitoring"}, Mode: "STRICT", Selector: map[string]string{"app": "tempo"}, Ports: map[int]string{4317: "DISABLE"}},
		},
	}
	for _, c := range []struct {
		host string
		port int
		want string
	}{{"tempo.monitoring.svc.cluster.local", 4317, "DISABLE"}, {"tempo.monitoring.svc.cluster.local", 4318, "SIMPLE"}, {"zipkin.monitoring.svc.cluster.local", 9411, "ISTIO_MUTUAL"}, {"jaeger.monitoring.svc.cluster.local", 4317, "SIMPLE"}, {"api.example.com", 443, ""}} {
		if got, _ := o.ClientTLS("istio-system", Proxy{Namespace: "shop"}, "monitoring", c.host, c.port); got != c.want {
			t.Errorf("%s:%d: %q, want %q", c.host, c.port, got, c.want)
		}
	}
	for _, c := range []struct {
		namespace string
		labels    map[string]string
		port      int
		want      string
	}{{"shop", nil, 80, "STRICT"}, {"monitoring", nil, 80, "PERMISSIVE"}, {"monitoring", map[string]string{"app": "tempo"}, 4318, "STRICT"}, {"monitoring", map[string]string{"app": "tempo"}, 4317, "DISABLE"}} {
		if got, _ := o.ServerTLS("istio-system", c.namespace, c.labels, c.port); got != c.want {
			t.Errorf("%s %v %d: %q, want %q", c.namespace, c.labels, c.port, got, c.want)
		}
	}
}
