package zipkinapi

import (
	"hash/maphash"
	"strconv"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// newestSpans is how many spans are looked at one by one for an answer.
const newestSpans = 1_000_000

// dependencies answers GET /api/v2/dependencies: calls between services that started in the window, counted raw. Up to newestSpans
// spans they are those that Zipkin's server finds in the same spans. Of more, that would be the newest only: then they are those of
// the map, under the names that dialects list.
func (a *api) dependencies(c *call) error {
	if _, err := required(c.params, "endTs"); err != nil {
		return err
	}
	window, err := parseWindow(c.params, a.Query.Now())
	if err != nil {
		return err
	}
	spans, known, err := a.Query.SpansCounted(c.Context(), c.scope, window)
	if err != nil {
		return err
	}
	if known && spans > a.oneByOne {
		list, done, err := a.Query.Dependencies(c.Context(), c.scope, window, true)
		if err != nil {
			return err
		}
		c.out.partial(done.Complete, done.Reason)
		sendLinks(c.out, len(list), func(i int) (string, string, int64, int64) {
			return list[i].Parent, list[i].Child, list[i].N, list[i].Failed
		})
		return nil
	}
	select { // one at a time: each may take some 100 MB
	case a.counting <- struct{}{}:
		defer func() { <-a.counting }()
	case <-c.Context().Done():
		return c.Context().Err()
	}
	l := newLinker()
	var encoder zipkin.Encoder
	done, err := a.Query.ScanBack(c.Context(), c.scope, store.Scan{Range: window, Mode: store.Start, Need: linkNeed()}, newestSpans, func(r store.Rows) {
		for _, row := range r.Rows {
			l.add(&encoder, r.Batch, int(row))
		}
	})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	links := l.links()
	sendLinks(c.out, len(links), func(i int) (string, string, int64, int64) {
		k := links[i]
		return l.names[k.parent], l.names[k.child], k.calls, k.errors
	})
	return nil
}

func sendLinks(out *answer, n int, link func(i int) (parent, child string, calls, errors int64)) {
	out.buf = append(out.buf, '[')
	for i := range n {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		parent, child, calls, errors := link(i)
		dst := otlpjson.AppendQuoted(append(out.buf, `{"parent":`...), parent)
		dst = otlpjson.AppendQuoted(append(dst, `,"child":`...), child)
		dst = strconv.AppendInt(append(dst, `,"callCount":`...), calls, 10)
		if errors > 0 {
			dst = strconv.AppendInt(append(dst, `,"errorCount":`...), errors, 10)
		}
		out.buf = append(dst, '}')
		out.spill()
	}
	out.buf = append(out.buf, ']')
}

// linkNeed is what of a span its links are made of.
func linkNeed() store.Need {
	n := store.Need{Columns: store.ColSpanID | store.ColParent | store.ColKind | store.ColStatus | store.ColMark | store.ColTime |
		store.ColService | store.ColScope | store.ColStatusMessage}
	for _, key := range append(append(zipkin.RemoteFields(), zipkin.EndpointFields()...), "error", "network.peer.port") {
		n.Fields = append(n.Fields, store.Field{In: store.InSpan, Key: key})
	}
	return n
}

// add takes up a row.
func (l *linker) add(x *zipkin.Encoder, b *span.Batch, row int) {
	v := x.View(b, row)
	_, failed := v.Tag("error")
	s := linkSpan{
		trace: b.TraceID[row].Low(), id: b.SpanID[row].Uint64(), parent: b.Parent[row].Uint64(), start: b.Start[row],
		service: l.name(b.Bytes(b.Service[row])), remote: l.name(v.Remote), kind: v.Kind, shared: v.Shared, failed: failed,
	}
	if len(v.LocalIP) > 0 {
		s.address = maphash.Bytes(l.seed, v.LocalIP) | 1
	}
	if s.parent == s.id {
		s.parent = 0
	}
	l.spans = append(l.spans, s)
}
