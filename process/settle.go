package process

import "github.com/spanloom/spanloom/span"

// Settle sets what receivers and steps set of spans that come in, on rows that another system stored: proxy marks, service, group and
// namespace. Nobody knows who sent them, so a service that has no name is not named by its address.
func Settle(b *span.Batch) {
	for row := range b.Len() {
		attrs := b.SpanAttrs[row]
		_, node := b.FindAttr(attrs, "node_id")
		if node || string(b.FindString(attrs, "component")) == "proxy" || string(b.FindString(b.Resources[b.Resource[row]].Attrs, "telemetry.sdk.name")) == "envoy" {
			b.Mark[row] |= span.MarkProxy
		}
	}
	new(Pipeline).name(b)
}
