package process

import (
	"bytes"
	"net/netip"
	"sync"

	"github.com/spanloom/spanloom/span"
)

// name sets Service, Group and Namespace of every row.
//
// Service is service.name as received unless it is empty or unknown_service*; then istio.canonical_service with
// istio.namespace, the node_id's pod, the service this sender is known for, and last "unknown (<address>)".
// Group and namespace are the canonical service and namespace tags (labels), else, for proxies, service.name read as
// <app>.<namespace>, else the service itself with the namespace the resource names. What is still without a namespace
// inherits it from the adjacent sidecar span when a trace is read. The stored resource is never rewritten.
func (p *Pipeline) name(b *span.Batch) {
	// Rows of one resource share the answer while their own tags cannot change it; rows come in runs.
	last := -1
	for i := range b.Len() {
		if last >= 0 && b.Resource[i] == b.Resource[last] && b.Mark[last]&span.MarkServiceDerived == 0 && sameProxy(b, i, last) {
			b.Service[i], b.Group[i], b.Namespace[i] = b.Service[last], b.Group[last], b.Namespace[last]
		} else {
			p.nameRow(b, i)
			last = i
		}
		if b.Name[i].Len == 0 {
			b.Mark[i] |= span.MarkNameDerived
		}
	}
}

// sameProxy: spans of one proxy carry the same canonical service; app spans of one resource carry none.
func sameProxy(b *span.Batch, i, j int) bool {
	return b.Mark[i]&span.MarkProxy == b.Mark[j]&span.MarkProxy
}

func (p *Pipeline) nameRow(b *span.Batch, i int) {
	res, attrs := b.Resources[b.Resource[i]].Attrs, b.SpanAttrs[i]
	canonical := either(b, attrs, res, "istio.canonical_service", "service.istio.io/canonical-name")
	namespace := either(b, attrs, res, "istio.namespace", "k8s.namespace.name")
	if namespace == nil {
		namespace = b.FindString(res, "service.namespace")
	}

	service, ok := usableName(b, res)
	if ok {
		b.Service[i] = service
		if b.Sender.IsValid() && b.Mark[i]&span.MarkProxy != 0 {
			p.senders.learn(b.Sender, b.Bytes(service))
		}
	} else {
		b.Mark[i] |= span.MarkServiceDerived
		p.servicesDerived.Add(1)
		b.Service[i] = p.derive(b, i, canonical, namespace)
	}

	name := b.Bytes(b.Service[i])
	group := name
	if b.Mark[i]&(span.MarkProxy|span.MarkServiceDerived) != 0 {
		if app, ns, ok := bytes.Cut(name, []byte{'.'}); ok && len(app) > 0 && len(ns) > 0 && bytes.IndexByte(ns, '.') < 0 {
			group = app
			if namespace == nil {
				namespace = ns
			}
		}
	}
	if canonical != nil && string(canonical) != "unknown" {
		group = canonical
	}
	b.Group[i] = b.AddString(group)
	b.Namespace[i] = b.AddString(namespace)
}

// usableName is the resource's service.name unless it says nothing.
func usableName(b *span.Batch, res span.Range) (span.Str, bool) {
	a, ok := b.FindAttr(res, "service.name")
	if !ok || a.Type != span.TypeString {
		return span.Str{}, false
	}
	s := a.Value().Str()
	name := b.Bytes(s)
	if len(bytes.TrimSpace(name)) == 0 || bytes.HasPrefix(name, []byte("unknown_service")) {
		return span.Str{}, false
	}
	return s, true
}

func either(b *span.Batch, first, second span.Range, keys ...string) []byte {
	for _, key := range keys {
		if v := b.FindString(first, key); len(v) > 0 {
			return v
		}
		if v := b.FindString(second, key); len(v) > 0 {
			return v
		}
	}
	return nil
}

// derive finds a name for a row without a usable service.name.
func (p *Pipeline) derive(b *span.Batch, i int, canonical, namespace []byte) span.Str {
	if len(canonical) > 0 && string(canonical) != "unknown" {
		return joined(b, canonical, namespace)
	}
	if pod, ns, ok := nodeWorkload(either(b, b.SpanAttrs[i], b.Resources[b.Resource[i]].Attrs, "node_id")); ok {
		return joined(b, pod, ns)
	}
	if name := p.senders.of(b.Sender); name != "" {
		return b.AddText(name)
	}
	if b.Sender.IsValid() {
		var buf [64]byte
		text := append(buf[:0], "unknown ("...)
		text = b.Sender.AppendTo(text)
		return b.AddString(append(text, ')'))
	}
	return b.AddText("unknown (no address)")
}

// nodeWorkload reads an Envoy node id of Istio's form, type~ip~pod.namespace~domain, and takes the random parts that
// Deployments and StatefulSets add off the pod's name.
func nodeWorkload(node []byte) (workload, namespace []byte, ok bool) {
	for range 2 {
		_, rest, found := bytes.Cut(node, []byte{'~'})
		if !found {
			return nil, nil, false
		}
		node = rest
	}
	pod, _, _ := bytes.Cut(node, []byte{'~'})
	pod, namespace, ok = bytes.Cut(pod, []byte{'.'})
	if !ok || len(pod) == 0 {
		return nil, nil, false
	}
	return trimPodHash(pod), namespace, true
}

// trimPodHash turns productpage-v1-66756cddfd-7rz4s into productpage-v1 and web-0 into web. Kubernetes makes both parts of
// consonants and digits only (apimachinery's safe encoding), 5 and up to 10 long.
func trimPodHash(pod []byte) []byte {
	if i := bytes.LastIndexByte(pod, '-'); i > 0 {
		last := pod[i+1:]
		if allDigits(last) && len(last) <= 4 {
			return pod[:i]
		}
		if len(last) == 5 && podRandom(last) {
			pod = pod[:i]
			if j := bytes.LastIndexByte(pod, '-'); j > 0 && len(pod)-j-1 >= 8 && len(pod)-j-1 <= 10 && podRandom(pod[j+1:]) {
				pod = pod[:j]
			}
		}
	}
	return pod
}

func allDigits(p []byte) bool {
	for _, c := range p {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(p) > 0
}

func podRandom(p []byte) bool {
	for _, c := range p {
		if bytes.IndexByte([]byte("bcdfghjklmnpqrstvwxz0123456789"), c) < 0 {
			return false
		}
	}
	return true
}

// senderNames remembers which service an address sends for, as long as it sends for one only: a collector or a node's
// agent that forwards for many names nobody.
type senderNames struct {
	mu    sync.RWMutex
	names map[netip.Addr]senderName
}

type senderName struct {
	service string
	several bool
}

// maxSenders bounds the memory; pods of a big cluster fit.
const maxSenders = 50_000

func (s *senderNames) learn(a netip.Addr, service []byte) {
	s.mu.RLock()
	known, ok := s.names[a]
	s.mu.RUnlock()
	if ok && (known.several || known.service == string(service)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok && len(s.names) >= maxSenders {
		clear(s.names)
	}
	s.names[a] = senderName{service: string(service), several: ok}
}

func (s *senderNames) of(a netip.Addr) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.names[a]; !known.several {
		return known.service
	}
	return ""
}

// joined writes app.namespace, or the app alone.
func joined(b *span.Batch, app, namespace []byte) span.Str {
	if len(namespace) == 0 {
		return b.AddString(app)
	}
	start := len(b.Arena)
	b.Arena = append(b.Arena, app...)
	b.Arena = append(b.Arena, '.')
	b.Arena = append(b.Arena, namespace...)
	return span.Str{Off: uint32(start), Len: uint32(len(b.Arena) - start)}
}
