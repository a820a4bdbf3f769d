package zipkin

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// mapper writes spans into a batch in OpenTelemetry's model. Its tables belong to one batch: begin empties them.
type mapper struct {
	keys      []keyState  // by key index of the batch
	recent    [256]uint32 // a few bytes of a key -> its index + 1; a guess that is checked
	epoch     uint32      // number of the span at work, from 1
	mark      uint32      // where its attributes begin
	special   [numClasses][]byte
	resTags   []resTag
	links     []tag
	resources map[uint64]uint32 // hash of the content -> resource
	scopes    map[uint64]uint32
	hash      maphash.Hash

	lastService  []byte // of lastResource if that has nothing else
	lastResource uint32
	plainScope   uint32 // the scope without a name, +1
}

// keyState is what is known of a key in this batch.
type keyState struct {
	class  class
	seen   uint32 // the last span that had it
	placed uint32 // the last span for which at is set
	at     uint32 // index of its attribute in Batch.Attrs, or in resTags (classResource)
}

type resTag struct {
	key   uint32
	value []byte
}

func (m *mapper) begin() {
	m.keys = m.keys[:0]
	clear(m.recent[:])
	m.epoch = 0
	if m.resources == nil {
		m.resources, m.scopes = make(map[uint64]uint32), make(map[uint64]uint32)
		m.hash.SetSeed(maphash.MakeSeed())
	}
	clear(m.resources)
	clear(m.scopes)
	m.lastService = nil
	m.plainScope = 0
}

// key interns a key and shows what is known of it. The keys of one body repeat from span to span: a small table of
// guesses spares most of them the hash.
func (m *mapper) key(b *span.Batch, name []byte) (uint32, *keyState) {
	slot := &m.recent[keySlot(name)]
	if k := *slot; k != 0 {
		if known := b.Keys[k-1]; string(b.Arena[known.Off:known.Off+known.Len]) == string(name) {
			return k - 1, &m.keys[k-1]
		}
	}
	k := b.InternKey(name)
	for int(k) >= len(m.keys) {
		m.keys = append(m.keys, keyState{class: classify(b.Bytes(b.Keys[len(m.keys)]))})
	}
	*slot = k + 1
	return k, &m.keys[k]
}

// keySlot mixes length and last bytes of a key, which differ more than its first.
func keySlot(name []byte) uint8 {
	n := len(name)
	if n >= 8 {
		w := binary.LittleEndian.Uint64(name[n-8:])
		return uint8((w ^ uint64(name[0])<<20 ^ uint64(n)) * 0x9e3779b97f4a7c15 >> 56)
	}
	w := uint64(n)
	for _, c := range name {
		w = w<<8 | uint64(c)
	}
	return uint8(w * 0x9e3779b97f4a7c15 >> 56)
}

// add appends a span as a row.
func (m *mapper) add(b *span.Batch, r *rawSpan) {
	row := b.AddRow()
	m.epoch++
	m.special = [numClasses][]byte{}
	m.resTags, m.links = m.resTags[:0], m.links[:0]
	b.TraceID[row], b.SpanID[row], b.Parent[row] = r.trace, r.id, r.parent
	b.Name[row] = b.AddString(r.name)
	b.Kind[row] = r.kind
	start := nanos(r.timestamp)
	b.Start[row], b.End[row] = start, addTime(start, nanos(r.duration))

	mark := b.AttrMark()
	for i := range r.tags {
		m.tag(b, &r.tags[i])
	}
	m.endpoints(b, r)
	if r.timestamp == 0 {
		m.field(b, keyNoStart, span.BoolValue(true))
	}
	if r.shared && r.kind != span.KindClient {
		b.Mark[row] |= span.MarkShared
		m.field(b, keyShared, span.BoolValue(true))
	}
	if r.debug {
		b.Mark[row] |= span.MarkDebug
		m.field(b, keyDebug, span.BoolValue(true))
	}
	b.SpanAttrs[row] = b.AttrsSince(mark)

	if m.special[classNodeID] != nil || string(m.special[classComponent]) == "proxy" {
		b.Mark[row] |= span.MarkProxy
	}
	if m.special[classSpanKind] != nil && r.kind == span.KindUnspecified {
		b.Kind[row] = span.KindInternal
	}
	b.TraceState[row] = b.AddString(m.special[classTraceState])
	m.status(b, row)
	m.events(b, row, r.annotations)
	if len(m.links) > 0 {
		m.addLinks(b, row)
	}
	b.Resource[row] = m.resource(b, r.local.service)
	b.Scope[row] = m.scope(b)
}

// nanos turns microseconds into nanoseconds; what does not fit is the largest time.
func nanos(micros uint64) uint64 {
	if micros > math.MaxUint64/1000 {
		return math.MaxUint64
	}
	return micros * 1000
}

func addTime(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}

// tag files one tag; of equal keys the last wins, at the place of the first.
func (m *mapper) tag(b *span.Batch, t *tag) {
	k, st := m.key(b, t.key)
	again := st.placed == m.epoch
	st.seen = m.epoch
	switch st.class {
	case classPlain:
	case classResource:
		if again {
			m.resTags[st.at].value = t.value
			return
		}
		st.placed, st.at = m.epoch, uint32(len(m.resTags))
		m.resTags = append(m.resTags, resTag{k, t.value})
		return
	case classError, classComponent, classNodeID, classServiceName:
		m.special[st.class] = t.value
	case classStatusCode:
		if _, ok := statusOf(t.value); ok {
			m.special[classStatusCode] = t.value
			return
		}
	case classStatusText, classScopeName, classScopeVersion, classTraceState, classServiceSource:
		m.special[st.class] = t.value
		return
	case classSpanKind:
		if string(t.value) == "internal" {
			m.special[classSpanKind] = t.value
			return
		}
	case classLink:
		if isLink(t.value) {
			m.links = append(m.links, *t)
			return
		}
	}
	v := span.StrValue(span.TypeString, b.AddString(t.value))
	if again {
		b.Attrs[st.at].Bits = v.Bits
		return
	}
	st.placed, st.at = m.epoch, uint32(len(b.Attrs))
	b.AddAttr(k, v)
}

// field adds what a field of Zipkin's becomes; where a tag has taken its key, under ownPrefix.
func (m *mapper) field(b *span.Batch, name string, v span.Value) {
	k, st := m.key(b, []byte(name))
	if st.seen == m.epoch {
		if k, st = m.key(b, []byte(ownPrefix+name)); st.seen == m.epoch {
			return
		}
	}
	st.seen = m.epoch
	b.AddAttr(k, v)
}

func (m *mapper) textField(b *span.Batch, name string, v []byte) {
	m.field(b, name, span.StrValue(span.TypeString, b.AddString(v)))
}

func (m *mapper) endpoints(b *span.Batch, r *rawSpan) {
	m.address(b, &r.local, keyHostIP, keyHostIP+secondIP, keyHostPort)
	if len(r.remote.service) > 0 {
		m.textField(b, keyPeerService, r.remote.service)
	}
	m.address(b, &r.remote, keyPeerIP, keyPeerIP+secondIP, keyPeerPort)
}

func (m *mapper) address(b *span.Batch, e *endpoint, ip, second, port string) {
	switch {
	case len(e.ipv4) > 0:
		m.textField(b, ip, e.ipv4)
		if len(e.ipv6) > 0 {
			m.textField(b, second, e.ipv6)
		}
	case len(e.ipv6) > 0:
		m.textField(b, ip, e.ipv6)
	}
	if e.port != 0 {
		m.field(b, port, span.IntValue(int64(e.port)))
	}
}

// status derives the status from otel.status_code, else from the mere presence of an error tag, as Zipkin does; only a
// value of false is taken at its word. The error tag stays an attribute in every case.
func (m *mapper) status(b *span.Batch, row int) {
	code, _ := statusOf(m.special[classStatusCode])
	text, failure := m.special[classStatusText], m.special[classError]
	if code == span.StatusUnset && failure != nil && string(failure) != "false" {
		code = span.StatusError
	}
	if code == span.StatusError && len(text) == 0 && string(failure) != "true" && string(failure) != "false" {
		text = failure
	}
	b.Status[row] = code
	b.StatusMessage[row] = b.AddString(text)
}

// resource finds or adds the resource of a span: its service name and the resource keys among its tags.
func (m *mapper) resource(b *span.Batch, service []byte) uint32 {
	source := m.special[classServiceSource]
	if len(service) == 0 {
		service = m.special[classServiceName]
	}
	plain := len(m.resTags) == 0 && len(source) == 0
	if plain && m.lastService != nil && bytes.Equal(m.lastService, service) {
		return m.lastResource
	}
	slices.SortFunc(m.resTags, func(x, y resTag) int { return cmp.Compare(x.key, y.key) }) // senders shuffle their tags
	m.hash.Reset()
	hashText(&m.hash, source)
	hashText(&m.hash, service)
	for _, t := range m.resTags {
		hashText(&m.hash, b.Bytes(b.Keys[t.key]))
		hashText(&m.hash, t.value)
	}
	sum := m.hash.Sum64()
	at, ok := m.resources[sum]
	if !ok {
		at = uint32(len(b.Resources))
		m.resources[sum] = at
		b.Resources = append(b.Resources, span.Resource{Attrs: m.resourceAttrs(b, source, service)})
	}
	if plain {
		m.lastService, m.lastResource = service, at
		if service == nil {
			m.lastService = []byte{}
		}
	}
	return at
}

func (m *mapper) resourceAttrs(b *span.Batch, source, service []byte) span.Range {
	mark := b.AttrMark()
	name := uint32(math.MaxUint32)
	if len(service) > 0 {
		if len(source) == 0 {
			source = []byte(keyService)
		}
		name = b.InternKey(source)
		b.AddAttr(name, span.StrValue(span.TypeString, b.AddString(service)))
	}
	for _, t := range m.resTags {
		if t.key != name {
			b.AddAttr(t.key, span.StrValue(span.TypeString, b.AddString(t.value)))
		}
	}
	return b.AttrsSince(mark)
}

// hashText makes texts self-delimiting. The hash is 64 bits with a secret seed: equal sums are taken as equal content.
func hashText(h *maphash.Hash, p []byte) {
	n := uint32(len(p))
	_, _ = h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	_, _ = h.Write(p)
}

func (m *mapper) scope(b *span.Batch) uint32 {
	name, version := m.special[classScopeName], m.special[classScopeVersion]
	plain := len(name) == 0 && len(version) == 0
	if plain && m.plainScope != 0 {
		return m.plainScope - 1
	}
	m.hash.Reset()
	hashText(&m.hash, name)
	hashText(&m.hash, version)
	sum := m.hash.Sum64()
	at, ok := m.scopes[sum]
	if !ok {
		at = uint32(len(b.Scopes))
		m.scopes[sum] = at
		b.Scopes = append(b.Scopes, span.Scope{Name: b.AddString(name), Version: b.AddString(version)})
	}
	if plain {
		m.plainScope = at + 1
	}
	return at
}
