package zipkin

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// Encoder turns rows of batches back into Zipkin's form and writes it as JSON or protobuf. What came in by Zipkin comes out
// as it was, but for the order of tags, repeated annotations, fractions of microseconds, and zeros and nulls that mean
// "absent"; spans of other origin follow OpenTelemetry's rules for Zipkin exporters. The zero Encoder is ready; it keeps
// its memory from row to row and is not for concurrent use.
type Encoder struct {
	raw  rawSpan
	text []byte         // texts that stand in no arena; grows, so that views into it stay valid
	tags map[uint32]int // key of the batch -> its place in raw.tags

	freeLink int    // the first number that no attribute named like a link has
	buf      []byte // nested protobuf messages
}

// sourceKeys are the resource attributes that name a service where service.name does not, in their order.
var sourceKeys = [...]string{"faas.name", "k8s.deployment.name", "process.executable.name"}

// Attributes that name the other side, best first, for spans whose sender had no field for it.
var remoteRank = [...]string{"server.address", "net.peer.name", "network.peer.address", "server.socket.domain",
	"server.socket.address", "net.sock.peer.name", "net.sock.peer.addr", "peer.hostname", "peer.address", "db.name"}

// restore reads a row. The result is valid until the next call and as long as the batch.
func (x *Encoder) restore(b *span.Batch, row int) *rawSpan {
	r := &x.raw
	r.reset()
	x.text, x.freeLink = x.text[:0], 0
	if x.tags == nil {
		x.tags = make(map[uint32]int)
	}
	clear(x.tags)
	r.trace, r.id, r.parent = b.TraceID[row], b.SpanID[row], b.Parent[row]
	r.name = b.Bytes(b.Name[row])
	r.timestamp = b.Start[row] / 1000
	if d := b.Duration(row); d > 0 {
		r.duration = max(1, uint64(d)/1000)
	}
	r.kind = b.Kind[row]
	r.shared = b.Mark[row]&span.MarkShared != 0
	r.debug = b.Mark[row]&span.MarkDebug != 0

	x.spanAttrs(b, row)
	x.resource(b, row)
	x.status(b, row)
	if b.Kind[row] == span.KindInternal {
		r.kind = span.KindUnspecified
		x.extra(tagSpanKind, []byte("internal"))
	} else if b.Kind[row] > span.KindConsumer {
		r.kind = span.KindUnspecified
	}
	if s := &b.Scopes[b.Scope[row]]; s.Name.Len+s.Version.Len > 0 {
		if s.Name.Len > 0 {
			x.extra(tagScopeName, b.Bytes(s.Name))
		}
		if s.Version.Len > 0 {
			x.extra(tagScopeVersion, b.Bytes(s.Version))
		}
	}
	if b.TraceState[row].Len > 0 {
		x.extra(tagTraceState, b.Bytes(b.TraceState[row]))
	}
	for i, l := range b.LinksOf(row) {
		key := append(x.own([]byte(tagLink)), strconv.Itoa(x.freeLink+i)...)
		r.tags = append(r.tags, tag{key, x.own(appendLink(nil, b, &l))})
	}
	for _, e := range b.EventsOf(row) {
		r.annotations = append(r.annotations, annotation{timestamp: e.Time / 1000, value: x.eventText(b, &e)})
	}
	slices.SortStableFunc(r.annotations, func(a, c annotation) int {
		return cmp.Or(cmp.Compare(a.timestamp, c.timestamp), bytes.Compare(a.value, c.value))
	})
	r.annotations = slices.CompactFunc(r.annotations, func(a, c annotation) bool {
		return a.timestamp == c.timestamp && bytes.Equal(a.value, c.value)
	})
	return r
}

// own keeps a text until the next row.
func (x *Encoder) own(p []byte) []byte {
	start := len(x.text)
	x.text = append(x.text, p...)
	return x.text[start:len(x.text):len(x.text)]
}

// extra adds a tag that is no attribute; it takes the place of an attribute of that name.
func (x *Encoder) extra(key string, value []byte) {
	for i := range x.raw.tags {
		if string(x.raw.tags[i].key) == key {
			x.raw.tags[i].value = value
			return
		}
	}
	x.raw.tags = append(x.raw.tags, tag{[]byte(key), value})
}

// attr adds an attribute as a tag; of equal keys the last wins.
func (x *Encoder) attr(b *span.Batch, a span.Attr) {
	var value []byte
	if a.Type == span.TypeString {
		value = b.Bytes(a.Value().Str())
	} else {
		start := len(x.text)
		x.text = appendValueText(x.text, b, a.Value())
		value = x.text[start:len(x.text):len(x.text)]
	}
	if at, ok := x.tags[a.Key]; ok {
		x.raw.tags[at].value = value
		return
	}
	if n, isLink := bytes.CutPrefix(b.Key(a), []byte(tagLink)); isLink && len(n) < 10 {
		if v, err := strconv.Atoi(string(n)); err == nil {
			x.freeLink = max(x.freeLink, v+1)
		}
	}
	x.tags[a.Key] = len(x.raw.tags)
	x.raw.tags = append(x.raw.tags, tag{b.Key(a), value})
}

// fieldKeys are the keys that an endpoint's fields became, in the order of fieldAttrs; fieldTypes are their types, by which
// a port is told from a tag of that name.
var (
	fieldKeys  = [...]string{keyHostIP, keyHostIP + secondIP, keyHostPort, keyPeerService, keyPeerIP, keyPeerIP + secondIP, keyPeerPort}
	fieldTypes = [len(fieldKeys)]span.Type{span.TypeString, span.TypeString, span.TypeInt, span.TypeString, span.TypeString, span.TypeString, span.TypeInt}
)

// fieldAttrs finds for each of fieldKeys the attribute that holds the field: the one under the longer key if there is one.
func fieldAttrs(b *span.Batch, attrs []span.Attr) (found [len(fieldKeys)]int) {
	var own [len(fieldKeys)]bool
	for i := range found {
		found[i] = -1
	}
	for i, a := range attrs {
		key := b.Key(a)
		rest, isOwn := bytes.CutPrefix(key, []byte(ownPrefix))
		if !isOwn && !bytes.HasPrefix(key, []byte("net.")) && string(key) != keyPeerService {
			continue
		}
		at := slices.Index(fieldKeys[:], string(rest))
		if at < 0 || a.Type != fieldTypes[at] || own[at] && !isOwn || !fits(b, at, a.Value()) {
			continue
		}
		found[at], own[at] = i, isOwn
	}
	return found
}

// fits tells a field's value from a tag of that name.
func fits(b *span.Batch, field int, v span.Value) bool {
	switch fieldKeys[field] {
	case keyPeerService:
		return true
	case keyHostPort, keyPeerPort:
		return v.Int() > 0 && v.Int() <= 65535
	}
	ip := b.Bytes(v.Str())
	return isIPv4(ip) || isIPv6(ip)
}

func (x *Encoder) spanAttrs(b *span.Batch, row int) {
	r := &x.raw
	attrs := b.AttrsOf(b.SpanAttrs[row])
	fields := fieldAttrs(b, attrs)
	text := func(at int) []byte {
		if fields[at] < 0 {
			return nil
		}
		return b.Bytes(attrs[fields[at]].Value().Str())
	}
	number := func(at int) uint16 {
		if fields[at] < 0 {
			return 0
		}
		return uint16(attrs[fields[at]].Value().Int())
	}
	r.local.setIP(text(0))
	r.local.setIP(text(1))
	r.local.port = number(2)
	r.remote.service = text(3)
	r.remote.setIP(text(4))
	r.remote.setIP(text(5))
	r.remote.port = number(6)
	for i, a := range attrs {
		if slices.Contains(fields[:], i) {
			continue
		}
		switch string(b.Key(a)) {
		case keyShared:
			if a.Type == span.TypeBool {
				r.shared = a.Bits != 0
				continue
			}
		case keyDebug:
			if a.Type == span.TypeBool {
				r.debug = a.Bits != 0
				continue
			}
		case keyNoStart:
			if a.Type == span.TypeBool {
				continue
			}
		case tagError:
			if b.Status[row] == span.StatusOK {
				continue
			}
		}
		x.attr(b, a)
	}
	if r.remote.isEmpty() && b.Mark[row]&span.MarkProxy == 0 && (r.kind == span.KindClient || r.kind == span.KindProducer) {
		x.rankedRemote(b, row)
	}
}

// rankedRemote names the other side by the best attribute there is, which stays a tag as well. Proxies are left out:
// Envoy's peer.address says nothing that Zipkin's reporters would have put into a remote endpoint.
func (x *Encoder) rankedRemote(b *span.Batch, row int) {
	r := b.SpanAttrs[row]
	for _, key := range remoteRank {
		v := b.FindString(r, key)
		if len(v) == 0 {
			continue
		}
		e := &x.raw.remote
		if ap, err := netip.ParseAddrPort(string(v)); err == nil {
			e.setIP(x.own([]byte(ap.Addr().String())))
			e.port = ap.Port()
		} else if _, err := netip.ParseAddr(string(v)); err == nil {
			e.setIP(v)
		} else {
			e.service = v
		}
		if a, ok := b.FindAttr(r, "network.peer.port"); ok && key == "network.peer.address" && a.Type == span.TypeInt {
			if p := a.Value().Int(); p > 0 && p <= 65535 {
				e.port = uint16(p)
			}
		}
		return
	}
}

// resource sets the service and adds the other resource attributes as tags, unless the span has the key itself.
func (x *Encoder) resource(b *span.Batch, row int) {
	attrs := b.Resources[b.Resource[row]].Attrs
	name := b.FindString(attrs, keyService)
	source := ""
	if b.Mark[row]&span.MarkServiceDerived != 0 && b.Service[row].Len > 0 {
		name = b.Bytes(b.Service[row])
	}
	for i := 0; len(name) == 0 && i < len(sourceKeys); i++ {
		name, source = b.FindString(attrs, sourceKeys[i]), sourceKeys[i]
	}
	x.raw.local.service = name
	named := len(name) > 0 && source != ""
	for _, a := range b.AttrsOf(attrs) {
		key := string(b.Key(a))
		if key == keyService || named && key == source {
			continue
		}
		if _, ok := x.tags[a.Key]; !ok {
			x.attr(b, a)
		}
	}
	if named {
		x.extra(tagServiceSource, []byte(source))
	}
}

// status writes the status as OpenTelemetry's tags, except where an error tag says it all: a span without a scope came from
// Envoy, Brave or another sender to whom otel.status_code means nothing.
func (x *Encoder) status(b *span.Batch, row int) {
	message := b.Bytes(b.StatusMessage[row])
	switch b.Status[row] {
	case span.StatusOK:
		x.extra(tagStatusCode, []byte("OK"))
		if len(message) > 0 {
			x.extra(tagStatusText, message)
		}
	case span.StatusError:
		a, ok := b.FindAttr(b.SpanAttrs[row], tagError)
		hasScope := b.Scopes[b.Scope[row]].Name.Len > 0
		isMessage := ok && a.Type == span.TypeString && (bytes.Equal(b.Bytes(a.Value().Str()), message) || len(message) == 0)
		if isMessage && !hasScope {
			return
		}
		x.extra(tagStatusCode, []byte("ERROR"))
		if !ok {
			x.extra(tagError, message)
		} else if len(message) > 0 && !isMessage {
			x.extra(tagStatusText, message)
		}
	}
}

// eventText is the annotation that an event came from or becomes.
func (x *Encoder) eventText(b *span.Batch, e *span.Event) []byte {
	name := b.Bytes(e.Name)
	if e.Attrs.Len == 0 && e.Dropped == 0 {
		return name
	}
	start := len(x.text)
	if e.Dropped > 0 { // only this form has the count
		x.text = append(append(x.text, name...), '|')
		x.text = append(appendAttrsJSON(x.text, b, e.Attrs), '|')
		x.text = strconv.AppendUint(x.text, uint64(e.Dropped), 10)
	} else {
		x.text = append(appendQuoted(x.text, name), ':', ' ')
		x.text = appendAttrsJSON(x.text, b, e.Attrs)
	}
	return x.text[start:len(x.text):len(x.text)]
}

func appendLink(dst []byte, b *span.Batch, l *span.Link) []byte {
	dst = appendHex(dst, l.TraceID[:])
	dst = append(dst, '|')
	dst = appendHex(dst, l.SpanID[:])
	dst = append(dst, '|')
	dst = append(append(dst, b.Bytes(l.TraceState)...), '|')
	dst = append(appendAttrsJSON(dst, b, l.Attrs), '|')
	return strconv.AppendUint(dst, uint64(l.Dropped), 10)
}
