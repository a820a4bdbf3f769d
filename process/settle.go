package process

import (
	"bytes"

	"github.com/spanloom/spanloom/span"
)

// Settle sets what receivers and steps set of spans that come in, on rows that another system stored: proxy marks, service, group and
// namespace. Nobody knows who sent them, so a service that has no name is not named by its address.
func Settle(b *span.Batch) {
	markProxies(b)
	new(Pipeline).name(b)
}

// Regroup is Settle for rows whose service is stored: it stays, and group, namespace and marks follow from it. It looks at the attributes of
// NamingKeys.
func Regroup(b *span.Batch) {
	markProxies(b)
	keys := findNameKeys(b)
	for i := range b.Len() {
		service, ok := keys.usableService(b, b.Resources[b.Resource[i]].Attrs)
		if !ok || !bytes.Equal(b.Bytes(service), b.Bytes(b.Service[i])) {
			b.Mark[i] |= span.MarkServiceDerived
		}
		if b.Name[i].Len == 0 {
			b.Mark[i] |= span.MarkNameDerived
		}
		canonical, namespace := keys.workload(b, i)
		group(b, i, canonical, namespace)
	}
}

// markProxies marks spans that an Envoy proxy made.
func markProxies(b *span.Batch) {
	for row := range b.Len() {
		attrs := b.SpanAttrs[row]
		_, node := b.FindAttr(attrs, "node_id")
		if node || string(b.FindString(attrs, "component")) == "proxy" || string(b.FindString(b.Resources[b.Resource[row]].Attrs, "telemetry.sdk.name")) == "envoy" {
			b.Mark[row] |= span.MarkProxy
		}
	}
}
