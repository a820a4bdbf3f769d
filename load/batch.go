package load

import (
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// Flags of OTLP spans as Envoy sets them: sampled, "is remote" known, and the parent's remoteness.
const (
	flagsLocalParent  = 0x101
	flagsRemoteParent = 0x301
)

// Rows appends generated spans to one batch and puts each proxy's resource into it once. Use one Rows per batch filling;
// Reset starts the next batch.
type Rows struct {
	Batch *span.Batch

	data      *Data
	resources [Pods]uint32 // index+1
	scratch   []byte
}

// Rows makes an appender into b, which must be empty.
func (d *Data) Rows(b *span.Batch) *Rows { return &Rows{Batch: b, data: d} }

// Reset turns to another empty batch.
func (r *Rows) Reset(b *span.Batch) {
	r.Batch = b
	r.resources = [Pods]uint32{}
}

// All appends every span of a trace in the order of the tree.
func (r *Rows) All(t *Trace) {
	for i := range t.Spans {
		r.Add(t, i)
	}
}

// Add appends span i of a trace and returns its row. All columns are set, also those that process sets on the way in
// (Time, Service, Group, Namespace), so that the batch may go to a store directly.
func (r *Rows) Add(t *Trace, i int) int {
	b, m := r.Batch, r.data.mesh
	s := &t.Spans[i]
	p := &m.pods[s.Pod]
	own := &m.services[p.service]
	resource := r.resource(s.Pod)
	row := b.AddRow()
	b.TraceID[row], b.SpanID[row], b.Parent[row] = t.ID, s.ID, s.Parent
	b.Kind[row] = s.Kind
	b.Start[row], b.End[row], b.Time[row] = uint64(s.Start), uint64(s.End), s.Start
	b.Resource[row] = resource
	b.Mark[row] = span.MarkProxy
	b.Service[row] = r.text(own.name, ".", own.namespace)
	b.Group[row] = b.AddText(own.name)
	b.Namespace[row] = b.AddText(own.namespace)
	host, route := r.target(s)
	b.Name[row] = r.text(host, route.prefix, "*")
	if s.failed && (!s.silent || r.data.Form == FormZipkin) {
		b.Status[row] = span.StatusError
	}
	if r.data.Form == FormOTLP {
		b.Flags[row] = flagsLocalParent
		if s.remote {
			b.Flags[row] = flagsRemoteParent
		}
	} else {
		b.SpanEvents[row] = span.Range{Off: uint32(len(b.Events)), Len: 1}
		b.Events = append(b.Events, span.Event{Time: b.End[row], Name: b.AddText(endAnnotation(s.Kind))})
	}
	mark := b.AttrMark()
	r.attributes(t, s, p, own, host, route)
	b.SpanAttrs[row] = b.AttrsSince(mark)
	return row
}

// endAnnotation is the one annotation that Envoy's Zipkin tracer puts on a span.
func endAnnotation(k span.Kind) string {
	if k == span.KindServer {
		return "ss"
	}
	return "cr"
}

func (r *Rows) target(s *Span) (host string, _ route) {
	m := r.data.mesh
	if s.callee < 0 {
		x := m.externals[s.external]
		return x.host + ":443", x.route
	}
	return m.host[s.callee], m.services[s.callee].routes[s.route]
}

func (r *Rows) attributes(t *Trace, s *Span, p *pod, own *service, host string, route route) {
	b, m := r.Batch, r.data.mesh
	b.AddTextAttr("node_id", p.nodeID)
	if r.data.Form == FormOTLP {
		b.AddTextAttr("zone", p.zone)
	}
	b.AddTextAttr("guid:x-request-id", t.RequestID)
	r.attr("http.url", r.url(s, host, route))
	b.AddTextAttr("http.method", route.method)
	b.AddTextAttr("downstream_cluster", "-")
	b.AddTextAttr("user_agent", s.agent)
	b.AddTextAttr("http.protocol", "HTTP/1.1")
	switch {
	case s.peer >= 0:
		b.AddTextAttr("peer.address", m.pods[s.peer].ip)
	default:
		b.AddTextAttr("peer.address", t.client)
	}
	r.number("request_size", s.request)
	r.number("response_size", s.response)
	b.AddTextAttr("component", "proxy")
	cluster := r.cluster(s, own, host)
	r.attr("upstream_cluster", cluster)
	r.scratch = append(cluster, ';')
	r.attr("upstream_cluster.name", r.scratch)
	b.AddTextAttr("http.status_code", s.code)
	b.AddTextAttr("response_flags", s.flags)
	if s.failed {
		b.AddTextAttr("error", "true")
	}
	b.AddTextAttr("istio.canonical_revision", p.revision)
	b.AddTextAttr("istio.canonical_service", own.name)
	b.AddTextAttr("istio.cluster_id", "Kubernetes")
	b.AddTextAttr("istio.mesh_id", "cluster.local")
	b.AddTextAttr("istio.namespace", own.namespace)
	if p.extraTag {
		b.AddTextAttr("ua", s.agent)
	}
	if r.data.Form == FormZipkin {
		b.AddTextAttr("net.host.ip", p.ip)
	}
}

func (r *Rows) url(s *Span, host string, route route) []byte {
	p := r.scratch[:0]
	if r.data.mesh.pods[s.Pod].service == gateway {
		p = append(p, "https://shop.example.com"...)
	} else {
		p = append(p, "http://"...)
		p = append(p, host...)
	}
	p = append(p, route.path...)
	r.scratch = strconv.AppendInt(p, int64(s.number), 10)
	return r.scratch
}

// cluster is the name of the upstream cluster: the own port for a sidecar's server span, else the callee's.
func (r *Rows) cluster(s *Span, own *service, host string) []byte {
	p := r.scratch[:0]
	if s.Kind == span.KindServer && r.data.mesh.pods[s.Pod].service != gateway {
		p = append(p, "inbound|"...)
		p = strconv.AppendInt(p, int64(own.port), 10)
		r.scratch = append(p, "||"...)
		return r.scratch
	}
	name, port := splitPort(host)
	p = append(p, "outbound|"...)
	p = append(p, port...)
	p = append(p, "||"...)
	r.scratch = append(p, name...)
	return r.scratch
}

func splitPort(host string) (name, port string) {
	for i := len(host) - 1; i >= 0; i-- {
		if host[i] == ':' {
			return host[:i], host[i+1:]
		}
	}
	return host, ""
}

func (r *Rows) attr(key string, value []byte) {
	b := r.Batch
	b.AddAttr(b.InternKey([]byte(key)), span.StrValue(span.TypeString, b.AddString(value)))
}

func (r *Rows) number(key string, v int64) {
	r.scratch = appendInt(r.scratch[:0], v)
	r.attr(key, r.scratch)
}

func appendInt(p []byte, v int64) []byte { return strconv.AppendInt(p, v, 10) }

func (r *Rows) text(parts ...string) span.Str {
	p := r.scratch[:0]
	for _, s := range parts {
		p = append(p, s...)
	}
	r.scratch = p
	return r.Batch.AddString(p)
}

// resource is the index of a proxy's resource, added with its scope when it is the first of the batch.
func (r *Rows) resource(index int) uint32 {
	if at := r.resources[index]; at != 0 {
		return at - 1
	}
	b, p := r.Batch, &r.data.mesh.pods[index]
	own := &r.data.mesh.services[p.service]
	if len(b.Scopes) == 0 {
		b.Scopes = append(b.Scopes, r.scope())
	}
	mark := b.AttrMark()
	b.AddTextAttr("service.name", own.name+"."+own.namespace)
	if r.data.Form == FormOTLP {
		b.AddTextAttr("telemetry.sdk.language", "cpp")
		b.AddTextAttr("telemetry.sdk.name", "envoy")
		b.AddTextAttr("telemetry.sdk.version", envoyVersion)
		b.AddTextAttr("k8s.pod.name", p.id)
	}
	b.Resources = append(b.Resources, span.Resource{Attrs: b.AttrsSince(mark)})
	r.resources[index] = uint32(len(b.Resources))
	return r.resources[index] - 1
}

func (r *Rows) scope() span.Scope {
	if r.data.Form == FormZipkin {
		return span.Scope{}
	}
	return span.Scope{Name: r.Batch.AddText("envoy"), Version: r.Batch.AddText(envoyVersion)}
}
