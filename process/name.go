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
	keys := findNameKeys(b)
	// Rows come in runs of one resource whose own tags name the same workload: they share the answer and its arena.
	last := -1
	var canonical, namespace []byte
	for i := range b.Len() {
		c := keys.text(b, b.SpanAttrs[i], keys.canonical)
		n := keys.text(b, b.SpanAttrs[i], keys.istioNamespace)
		if last >= 0 && b.Resource[i] == b.Resource[last] && b.Mark[last]&span.MarkServiceDerived == 0 &&
			b.Mark[i]&span.MarkProxy == b.Mark[last]&span.MarkProxy && bytes.Equal(c, canonical) && bytes.Equal(n, namespace) {
			b.Service[i], b.Group[i], b.Namespace[i] = b.Service[last], b.Group[last], b.Namespace[last]
		} else {
			p.nameRow(b, i, &keys)
			last, canonical, namespace = i, c, n
		}
		if b.Name[i].Len == 0 {
			b.Mark[i] |= span.MarkNameDerived
		}
	}
}

// nameKeys are the indexes of the keys that name workloads in a batch's key table, -1 where the batch has none.
type nameKeys struct {
	service, serviceNamespace, canonical, canonicalLabel, istioNamespace, podNamespace, node int
}

func findNameKeys(b *span.Batch) nameKeys {
	k := nameKeys{-1, -1, -1, -1, -1, -1, -1}
	for i, key := range b.Keys {
		switch string(b.Bytes(key)) {
		case "service.name":
			k.service = i
		case "service.namespace":
			k.serviceNamespace = i
		case "istio.canonical_service":
			k.canonical = i
		case "service.istio.io/canonical-name":
			k.canonicalLabel = i
		case "istio.namespace":
			k.istioNamespace = i
		case "k8s.namespace.name":
			k.podNamespace = i
		case "node_id":
			k.node = i
		}
	}
	return k
}

// NamingKeys are the attributes of spans and resources that services, groups, namespaces and proxy marks are made of: those of findNameKeys, and
// what markProxies looks at.
func NamingKeys() []string {
	return []string{"service.name", "service.namespace", "istio.canonical_service", "service.istio.io/canonical-name", "istio.namespace", "k8s.namespace.name",
		"node_id", "component", "telemetry.sdk.name"}
}

// text is an owner's string of a key, nil if absent, empty or no string; of repeated keys the last wins.
func (*nameKeys) text(b *span.Batch, r span.Range, key int) []byte {
	if key < 0 {
		return nil
	}
	attrs := b.AttrsOf(r)
	for i := len(attrs) - 1; i >= 0; i-- {
		if attrs[i].Key == uint32(key) {
			if attrs[i].Type != span.TypeString || attrs[i].Value().Str().Len == 0 {
				return nil
			}
			return b.Bytes(attrs[i].Value().Str())
		}
	}
	return nil
}

// either looks at the span's own attributes, then at its resource's, key by key.
func (k *nameKeys) either(b *span.Batch, row int, keys ...int) []byte {
	for _, key := range keys {
		if v := k.text(b, b.SpanAttrs[row], key); v != nil {
			return v
		}
		if v := k.text(b, b.Resources[b.Resource[row]].Attrs, key); v != nil {
			return v
		}
	}
	return nil
}

func (p *Pipeline) nameRow(b *span.Batch, i int, k *nameKeys) {
	res := b.Resources[b.Resource[i]].Attrs
	canonical, namespace := k.workload(b, i)
	service, ok := k.usableService(b, res)
	if ok {
		b.Service[i] = service
		if b.Sender.IsValid() && b.Mark[i]&span.MarkProxy != 0 {
			p.senders.learn(b.Sender, b.Bytes(service))
		}
	} else {
		b.Mark[i] |= span.MarkServiceDerived
		p.servicesDerived.Add(1)
		b.Service[i] = p.derive(b, k.either(b, i, k.node), canonical, namespace)
	}

	group(b, i, canonical, namespace)
}

// group sets group and namespace of a row whose service and marks are known.
func group(b *span.Batch, i int, canonical, namespace []byte) {
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

// workload is what a row's own tags and resource say of its workload, nil where they are silent.
func (k *nameKeys) workload(b *span.Batch, i int) (canonical, namespace []byte) {
	canonical = k.either(b, i, k.canonical, k.canonicalLabel)
	namespace = k.either(b, i, k.istioNamespace, k.podNamespace)
	if namespace == nil {
		namespace = k.text(b, b.Resources[b.Resource[i]].Attrs, k.serviceNamespace)
	}
	return canonical, namespace
}

// usableService is the resource's service.name unless it says nothing.
func (k *nameKeys) usableService(b *span.Batch, res span.Range) (span.Str, bool) {
	if k.service < 0 {
		return span.Str{}, false
	}
	attrs := b.AttrsOf(res)
	for i := len(attrs) - 1; i >= 0; i-- {
		a := attrs[i]
		if a.Key != uint32(k.service) {
			continue
		}
		if a.Type != span.TypeString {
			return span.Str{}, false
		}
		name := b.Bytes(a.Value().Str())
		return a.Value().Str(), len(bytes.TrimSpace(name)) > 0 && !bytes.HasPrefix(name, []byte("unknown_service"))
	}
	return span.Str{}, false
}

// derive finds a name for a row without a usable service.name.
func (p *Pipeline) derive(b *span.Batch, node, canonical, namespace []byte) span.Str {
	if len(canonical) > 0 && string(canonical) != "unknown" {
		return joined(b, canonical, namespace)
	}
	if pod, ns, ok := nodeWorkload(node); ok {
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
