package jaegerapi

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// The tags and fields that are made of a span's own fields.
const (
	tagError             = "error"
	tagKind              = "span.kind"
	tagStatusCode        = "otel.status_code"
	tagStatusDescription = "otel.status_description"
	tagScopeName         = "otel.scope.name"
	tagScopeVersion      = "otel.scope.version"
	tagTraceState        = "w3c.tracestate"
	fieldEvent           = "event"
)

// specialKey is a set of what is special about an attribute key.
type specialKey uint16

const (
	keyError specialKey = 1 << iota
	keyKind
	keyStatusCode
	keyStatusDescription
	keyScopeName
	keyScopeVersion
	keyTraceState
	keyEvent
	keyServiceName
	keyAddress // an IPv4 address that may be packed into a number
	keyLibrary // belongs to the process: telemetry.sdk.*, telemetry.distro.*
)

func specialOf(key []byte) specialKey {
	switch string(key) {
	case tagError:
		return keyError
	case tagKind:
		return keyKind
	case tagStatusCode:
		return keyStatusCode
	case tagStatusDescription:
		return keyStatusDescription
	case tagScopeName:
		return keyScopeName
	case tagScopeVersion:
		return keyScopeVersion
	case tagTraceState:
		return keyTraceState
	case fieldEvent:
		return keyEvent
	case "service.name":
		return keyServiceName
	case "ip", "peer.ipv4":
		return keyAddress
	}
	if s := string(key); strings.HasPrefix(s, "telemetry.sdk.") || strings.HasPrefix(s, "telemetry.distro.") {
		return keyLibrary
	}
	return 0
}

// keyInfo is what is known of a key of the batch.
type keyInfo struct {
	rank    uint32 // its place among all keys of the batch in the order of their bytes
	special specialKey
}

// readKeys fills keys, once a trace, so that attributes are sorted by numbers.
func (w *traceWriter) readKeys() {
	b := w.b
	order := make([]uint32, len(b.Keys))
	w.keys = slices.Grow(w.keys[:0], len(b.Keys))[:len(b.Keys)]
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return bytes.Compare(b.Bytes(b.Keys[x]), b.Bytes(b.Keys[y])) })
	for rank, k := range order {
		w.keys[k] = keyInfo{uint32(rank), specialOf(b.Bytes(b.Keys[k]))}
	}
}

// tidied sorts attributes by key in place and of equal keys keeps the last; raw traces are left as they are.
func (w *traceWriter) tidied(attrs []span.Attr) []span.Attr {
	if w.raw {
		return attrs
	}
	slices.SortStableFunc(attrs, func(x, y span.Attr) int { return cmp.Compare(w.keys[x.Key].rank, w.keys[y.Key].rank) })
	n := 0
	for i, a := range attrs {
		if i+1 < len(attrs) && attrs[i+1].Key == a.Key {
			continue
		}
		attrs[n] = a
		n++
	}
	return attrs[:n]
}

// tags writes a span's tags: scope, attributes, kind, status, trace state. A made tag replaces an attribute of its name.
func (w *traceWriter) tags(row int) {
	b := w.b
	scope := &b.Scopes[b.Scope[row]]
	kind := kindWord(b.Kind[row])
	status := b.Status[row]
	var made specialKey
	for _, m := range [...]struct {
		made bool
		key  specialKey
	}{
		{scope.Name.Len > 0, keyScopeName}, {scope.Version.Len > 0, keyScopeVersion}, {kind != "", keyKind}, {status == span.StatusError, keyError},
		{status == span.StatusError || status == span.StatusOK, keyStatusCode}, {b.StatusMessage[row].Len > 0, keyStatusDescription},
		{b.TraceState[row].Len > 0, keyTraceState},
	} {
		if m.made {
			made |= m.key
		}
	}
	w.attrs, w.moved = w.attrs[:0], w.moved[:0]
	for _, a := range b.AttrsOf(b.SpanAttrs[row]) {
		switch special := w.keys[a.Key].special; {
		case special&made != 0:
		case special == keyLibrary && !w.raw && w.movable(row, a):
			w.moved = append(w.moved, a)
		default:
			w.attrs = append(w.attrs, a)
		}
	}

	w.out.buf = append(w.out.buf, `,"tags":`...)
	l := w.list()
	if made&keyScopeName != 0 {
		l.text(tagScopeName, b.Bytes(scope.Name))
	}
	if made&keyScopeVersion != 0 {
		l.text(tagScopeVersion, b.Bytes(scope.Version))
	}
	l.attrs(w.tidied(w.attrs))
	if kind != "" {
		l.text(tagKind, []byte(kind))
	}
	switch status {
	case span.StatusError:
		l.open(tagError)
		w.out.buf = append(w.out.buf, `,"type":"bool","value":true}`...)
		l.text(tagStatusCode, []byte("ERROR"))
	case span.StatusOK:
		l.text(tagStatusCode, []byte("OK"))
	}
	if made&keyStatusDescription != 0 {
		l.text(tagStatusDescription, b.Bytes(b.StatusMessage[row]))
	}
	if made&keyTraceState != 0 {
		l.text(tagTraceState, b.Bytes(b.TraceState[row]))
	}
	l.end()
}

// movable reports whether a span's attribute can move to its process: unless the resource says something else.
func (w *traceWriter) movable(row int, a span.Attr) bool {
	b := w.b
	for _, r := range b.AttrsOf(b.Resources[b.Resource[row]].Attrs) {
		if r.Key == a.Key && !sameValue(b, r, a) {
			w.warnings = append(w.warnings, "span and process disagree on "+string(b.Key(a)))
			return false
		}
	}
	return true
}

func sameValue(b *span.Batch, x, y span.Attr) bool {
	if x.Type != y.Type {
		return false
	}
	if x.Type.InArena() {
		return bytes.Equal(b.Bytes(x.Value().Str()), b.Bytes(y.Value().Str()))
	}
	return x.Bits == y.Bits
}

// tagList writes a list of key, type and value.
type tagList struct {
	w *traceWriter
	n int
}

func (w *traceWriter) list() tagList {
	w.out.buf = append(w.out.buf, '[')
	return tagList{w: w}
}

func (l *tagList) end() { l.w.out.buf = append(l.w.out.buf, ']') }

func (l *tagList) open(key string) {
	if l.n++; l.n > 1 {
		l.w.out.buf = append(l.w.out.buf, ',')
	}
	l.w.out.buf = otlpjson.AppendQuoted(append(l.w.out.buf, `{"key":`...), key)
}

func (l *tagList) text(key string, value []byte) {
	l.open(key)
	dst := append(l.w.out.buf, `,"type":"string","value":`...)
	l.w.out.buf = append(otlpjson.AppendQuoted(dst, value), '}')
}

func (l *tagList) attrs(attrs []span.Attr) {
	w := l.w
	for _, a := range attrs {
		if l.n++; l.n > 1 {
			w.out.buf = append(w.out.buf, ',')
		}
		dst := otlpjson.AppendQuoted(append(w.out.buf, `{"key":`...), w.b.Key(a))
		w.out.buf = append(w.value(dst, a), '}')
	}
}

// value appends type and value of an attribute. Arrays and lists are JSON in a string, null is the empty string.
func (w *traceWriter) value(dst []byte, a span.Attr) []byte {
	v := a.Value()
	if w.keys[a.Key].special == keyAddress && !w.raw {
		if ip, ok := packedAddress(v); ok {
			dst = append(dst, `,"type":"string","value":"`...)
			return append(ip.AppendTo(dst), '"')
		}
	}
	switch v.Type {
	case span.TypeString:
		return otlpjson.AppendQuoted(append(dst, `,"type":"string","value":`...), w.b.Bytes(v.Str()))
	case span.TypeBool:
		return strconv.AppendBool(append(dst, `,"type":"bool","value":`...), v.Bool())
	case span.TypeInt:
		dst = append(dst, `,"type":"int64","value":`...)
		if n := v.Int(); n > maxSafeInt || n < -maxSafeInt {
			return append(strconv.AppendInt(append(dst, '"'), n, 10), '"')
		}
		return strconv.AppendInt(dst, v.Int(), 10)
	case span.TypeDouble:
		return otlpjson.AppendDouble(append(dst, `,"type":"float64","value":`...), v.Double())
	case span.TypeBytes:
		dst = base64.StdEncoding.AppendEncode(append(dst, `,"type":"binary","value":"`...), w.b.Bytes(v.Str()))
		return append(dst, '"')
	case span.TypeNull:
		return append(dst, `,"type":"string","value":""`...)
	default:
		text := otlpjson.AppendValue(nil, w.b, v)
		return otlpjson.AppendQuoted(append(dst, `,"type":"string","value":`...), text)
	}
}

// maxSafeInt is the largest integer that JavaScript's numbers hold exactly.
const maxSafeInt = 1<<53 - 1

// packedAddress reads an IPv4 address from a number, as old Jaeger clients sent it.
func packedAddress(v span.Value) (netip.Addr, bool) {
	n := v.Int()
	switch v.Type {
	case span.TypeInt:
	case span.TypeDouble:
		f := v.Double()
		if !(f >= 0 && f <= math.MaxUint32) {
			return netip.Addr{}, false
		}
		n = int64(f)
	default:
		return netip.Addr{}, false
	}
	if n < 0 || n > math.MaxUint32 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), true
}
