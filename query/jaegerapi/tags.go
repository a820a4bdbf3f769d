package jaegerapi

import (
	"encoding/base64"
	"math"
	"net/netip"
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

// tags writes a span's tags.
func (w *traceWriter) tags(row int) {
	w.out.buf = append(w.out.buf, `,"tags":`...)
	w.spanTags = w.list()
	w.eachTag(row, &w.spanTags)
	w.spanTags.end()
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

func (l *tagList) isTrue(key string) {
	l.open(key)
	l.w.out.buf = append(l.w.out.buf, `,"type":"bool","value":true}`...)
}

func (l *tagList) attr(a span.Attr) {
	w := l.w
	if l.n++; l.n > 1 {
		w.out.buf = append(w.out.buf, ',')
	}
	dst := otlpjson.AppendQuoted(append(w.out.buf, `{"key":`...), w.b.Key(a))
	w.out.buf = append(w.value(dst, a), '}')
}

func (l *tagList) attrs(attrs []span.Attr) {
	for _, a := range attrs {
		l.attr(a)
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
