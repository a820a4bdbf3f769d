package envoy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// maxDump bounds what is read of one (unpacked) dump: ten times the largest seen.
const maxDump = 2 << 30

// Reader unpacks gzip where the bytes are so, whatever a file is called.
func Reader(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("unpack gzip: %w", err)
		}
		return io.LimitReader(z, maxDump), nil
	}
	return io.LimitReader(b, maxDump), nil
}

// Dump reads a config_dump into the proxy. An error says where reading broke off; what came before is there.
func (p *Proxy) Dump(r io.Reader) error {
	in, err := Reader(r)
	if err != nil {
		return err
	}
	d := jx.Decode(in, 64<<10)
	x := dumper{p: p, seen: make(map[string]int)}
	if d.Next() != jx.Object {
		return errors.New("a config_dump is a JSON object")
	}
	err = d.Obj(func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "configs":
			return array(d, func(d *jx.Decoder) error {
				return object(d, x.section)
			})
		case "bootstrap": // istioctl proxy-config bootstrap -o json
			return x.section(d, key)
		}
		return d.Skip()
	})
	slices.Sort(p.TCPPorts)
	slices.Sort(p.HTTPPorts)
	p.TCPPorts, p.HTTPPorts = slices.Compact(p.TCPPorts), slices.Compact(p.HTTPPorts)
	p.TCPPorts = slices.DeleteFunc(p.TCPPorts, func(port int) bool { return slices.Contains(p.HTTPPorts, port) })
	if err != nil {
		p.Notes = append(p.Notes, "config_dump breaks off: "+err.Error())
		return fmt.Errorf("config_dump breaks off: %w", err)
	}
	return nil
}

// plain is a key without the difference between camelCase and snake_case.
func plain(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

// object and array read a container and pass over anything else that stands in its place.
func object(d *jx.Decoder, f func(*jx.Decoder, string) error) error {
	if d.Next() != jx.Object {
		return d.Skip()
	}
	return d.Obj(f)
}

func array(d *jx.Decoder, f func(*jx.Decoder) error) error {
	if d.Next() != jx.Array {
		return d.Skip()
	}
	return d.Arr(f)
}

func text(d *jx.Decoder) (string, error) {
	if d.Next() != jx.String {
		return "", d.Skip()
	}
	return d.Str()
}

type dumper struct {
	p    *Proxy
	seen map[string]int // managers by their content
}

// section reads one key of one config: its name says what it is, so no @type is needed.
func (x *dumper) section(d *jx.Decoder, key string) error {
	switch plain(key) {
	case "bootstrap":
		x.p.Has.Bootstrap = true
		return object(d, x.bootstrap)
	case "staticclusters", "dynamicactiveclusters":
		x.p.Has.Clusters = true
		return x.each(d, "cluster", x.cluster)
	case "staticlisteners", "dynamiclisteners":
		x.p.Has.Listeners = true
		return array(d, x.listenerEntry)
	case "dynamicendpointconfigs", "staticendpointconfigs":
		x.p.Has.Endpoints = true
		return x.each(d, "endpointconfig", x.endpoints)
	}
	return d.Skip()
}

// each reads the named field of every item of a list.
func (x *dumper) each(d *jx.Decoder, field string, f func(*jx.Decoder) error) error {
	return array(d, func(d *jx.Decoder) error {
		return object(d, func(d *jx.Decoder, key string) error {
			if plain(key) == field {
				return f(d)
			}
			return d.Skip()
		})
	})
}

func (x *dumper) bootstrap(d *jx.Decoder, key string) error {
	switch plain(key) {
	case "node":
		v, err := small(d)
		if v != nil {
			x.p.node(v)
		}
		return err
	case "tracing":
		v, err := small(d)
		if http := v.Get("http"); http != nil {
			x.p.Bootstrap = tracer(http)
		}
		return err
	}
	return d.Skip()
}

// node takes what the pod was injected with out of the node's metadata.
func (p *Proxy) node(v *yamldoc.Value) {
	p.Node = v.Get("id").Str()
	p.Service = v.Get("cluster").Str()
	if kind, _, ok := strings.Cut(p.Node, "~"); ok {
		p.Type = kind
	}
	if parts := strings.Split(p.Node, "~"); len(parts) == 4 {
		pod, ns, _ := strings.Cut(parts[2], ".")
		p.Pod, p.Namespace = pod, ns
	}
	m := v.Get("metadata")
	own := func(name string) *yamldoc.Value { return m.Get(name) }
	if ns := own("NAMESPACE").Str(); ns != "" {
		p.Namespace = ns
	}
	p.Workload = own("WORKLOAD_NAME").Str()
	p.Istio = own("ISTIO_VERSION").Str()
	p.Labels = own("LABELS").StringMap()
	p.Annotations = istio.KeptAnnotations(own("ANNOTATIONS"))
	p.Config = istio.ProxyConfigOf(own("PROXY_CONFIG"))
	if a := own("ANNOTATIONS").StringMap()["proxy.istio.io/config"]; a != "" {
		p.Annotated = istio.DecodeProxyConfig(a)
	}
	if b := v.Get("userAgentBuildVersion", "version"); b != nil {
		p.Envoy = strings.Join([]string{b.Get("majorNumber").Str(), b.Get("minorNumber").Str(), orZero(b.Get("patch").Str())}, ".")
	}
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func tracer(v *yamldoc.Value) *Tracer {
	c := v.Get("typedConfig")
	if c == nil {
		c = v.Get("config") // Envoy before v3
	}
	t := &Tracer{Name: v.Get("name").Str(), Service: c.Get("serviceName").Str(), TraceContext: c.Get("traceContextOption").Str()}
	if g := c.Get("grpcService", "envoyGrpc", "clusterName"); g != nil {
		t.Cluster = g.Str()
	}
	if h := c.Get("httpService", "httpUri"); h != nil {
		t.HTTP, t.Cluster, t.Path = true, h.Get("cluster").Str(), pathOf(h.Get("uri").Str())
	}
	if h := c.Get("collectorService", "httpUri"); h != nil {
		t.Cluster, t.Path = h.Get("cluster").Str(), pathOf(h.Get("uri").Str())
	}
	if n := c.Get("collectorCluster").Str(); n != "" {
		t.Cluster = n
	}
	if e := c.Get("collectorEndpoint").Str(); e != "" {
		t.Path = pathOf(e)
	}
	return t
}

// pathOf takes the path out of "http://host/api/v2/spans", "host/v1/traces" and "/api/v2/spans".
func pathOf(uri string) string {
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		uri = rest
	}
	if i := strings.IndexByte(uri, '/'); i >= 0 {
		return uri[i:]
	}
	return ""
}

func (x *dumper) cluster(d *jx.Decoder) error {
	c := Cluster{}
	err := object(d, func(d *jx.Decoder, key string) error {
		var err error
		switch plain(key) {
		case "name":
			c.Name, err = text(d)
		case "type":
			c.Type, err = text(d)
		case "http2protocoloptions":
			c.HTTP2 = true
			return d.Skip()
		case "typedextensionprotocoloptions":
			v, e := small(d)
			o := v.Get("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
			c.HTTP2 = c.HTTP2 || o.Get("explicitHttpConfig", "http2ProtocolOptions") != nil || has(o.Get("explicitHttpConfig"), "http2_protocol_options", "http2ProtocolOptions")
			c.Follows = has(o, "use_downstream_protocol_config", "useDownstreamProtocolConfig", "auto_config", "autoConfig")
			return e
		case "transportsocket":
			v, e := small(d)
			if v != nil && isTLS(v) {
				c.TLS, c.SNI = "always", v.Get("typedConfig", "sni").Str()
			}
			return e
		case "transportsocketmatches":
			v, e := small(d)
			for _, m := range v.List() {
				if isTLS(m.Get("transportSocket")) && c.TLS == "" {
					c.TLS, c.SNI = "matching", m.Get("transportSocket", "typedConfig", "sni").Str()
				}
			}
			return e
		case "loadassignment":
			v, e := small(d)
			for _, l := range v.Get("endpoints").List() {
				for _, ep := range l.Get("lbEndpoints").List() {
					a := ep.Get("endpoint", "address", "socketAddress")
					c.Address = a.Get("address").Str()
					c.Port, _ = a.Get("portValue").Int()
				}
			}
			return e
		case "metadata":
			v, e := small(d)
			for _, s := range v.Get("filterMetadata", "istio", "services").List() {
				c.Namespace = s.Get("namespace").Str()
			}
			return e
		default:
			return d.Skip()
		}
		return err
	})
	if c.Name != "" {
		x.p.Clusters = append(x.p.Clusters, c)
	}
	return err
}

// has tells whether a map has one of the keys, whatever it holds.
func has(v *yamldoc.Value, names ...string) bool {
	if v == nil {
		return false
	}
	return slices.ContainsFunc(v.Fields, func(f yamldoc.Field) bool { return slices.Contains(names, f.Name) })
}

func isTLS(v *yamldoc.Value) bool {
	return strings.HasSuffix(v.Get("name").Str(), "tls") || strings.HasSuffix(v.Get("typedConfig", "@type").Str(), "UpstreamTlsContext")
}

// endpoints reads a ClusterLoadAssignment: which addresses a cluster has and whether they take mutual TLS.
func (x *dumper) endpoints(d *jx.Decoder) error {
	var cluster string
	var hosts []Host
	err := object(d, func(d *jx.Decoder, key string) error {
		switch plain(key) {
		case "clustername":
			var err error
			cluster, err = text(d)
			return err
		case "endpoints":
			return array(d, func(d *jx.Decoder) error {
				return object(d, func(d *jx.Decoder, key string) error {
					if plain(key) != "lbendpoints" {
						return d.Skip()
					}
					return array(d, func(d *jx.Decoder) error {
						v, err := small(d)
						a := v.Get("endpoint", "address", "socketAddress")
						if a != nil && len(hosts) < 100 {
							hosts = append(hosts, Host{Address: a.Get("address").Str() + ":" + a.Get("portValue").Str(), Total: -1, Success: -1, Error: -1, Connects: -1, ConnectFail: -1,
								TLSMode: v.Get("metadata", "filterMetadata", "envoy.transport_socket_match", "tlsMode").Str()})
						}
						return err
					})
				})
			})
		}
		return d.Skip()
	})
	for _, h := range hosts {
		h.Cluster = cluster
		x.p.addHost(h)
	}
	return err
}

// addHost joins what config_dump and clusters say of one endpoint.
func (p *Proxy) addHost(h Host) {
	for i := len(p.Hosts) - 1; i >= 0; i-- {
		o := &p.Hosts[i]
		if o.Cluster != h.Cluster || o.Address != h.Address {
			continue
		}
		if h.TLSMode != "" {
			o.TLSMode = h.TLSMode
		}
		if h.Total >= 0 || h.Connects >= 0 {
			h.TLSMode = o.TLSMode
			*o = h
		}
		return
	}
	p.Hosts = append(p.Hosts, h)
}

// small reads a value of at most a few thousand parts as a tree; more is passed over.
func small(d *jx.Decoder) (*yamldoc.Value, error) {
	budget := 20_000
	return tree(d, &budget, 0)
}

func tree(d *jx.Decoder, budget *int, depth int) (*yamldoc.Value, error) {
	if *budget--; *budget < 0 || depth > 64 {
		return nil, d.Skip()
	}
	v := &yamldoc.Value{}
	switch d.Next() {
	case jx.Object:
		v.Kind = yamldoc.Map
		err := d.Obj(func(d *jx.Decoder, key string) error {
			item, err := tree(d, budget, depth+1)
			if item != nil {
				v.Fields = append(v.Fields, yamldoc.Field{Name: key, Value: item})
			}
			return err
		})
		return v, err
	case jx.Array:
		v.Kind = yamldoc.List
		err := d.Arr(func(d *jx.Decoder) error {
			item, err := tree(d, budget, depth+1)
			if item != nil {
				v.Items = append(v.Items, item)
			}
			return err
		})
		return v, err
	case jx.String:
		s, err := d.Str()
		v.Kind, v.Text = yamldoc.String, s
		return v, err
	case jx.Number:
		n, err := d.Num()
		v.Kind, v.Text = yamldoc.Number, n.String()
		return v, err
	case jx.Bool:
		b, err := d.Bool()
		v.Kind, v.Text = yamldoc.Bool, strconv.FormatBool(b)
		return v, err
	}
	return nil, d.Skip()
}
