package zipkin

import (
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// rawSpan is one span with Zipkin's fields, the form in which all four formats meet: ids are parsed, texts are views of
// the body (valid UTF-8, escapes undone), times are microseconds. A rawSpan is reused for every span of a body.
//
// The v1 formats fill annotation hosts and binary annotations as well; convertV1 turns such a span into one or two of
// the plain form.
type rawSpan struct {
	trace       span.TraceID
	id, parent  span.SpanID
	name        []byte
	timestamp   uint64 // 0 is unknown
	duration    uint64 // 0 is unknown
	local       endpoint
	remote      endpoint
	annotations []annotation
	tags        []tag
	binary      []binaryAnnotation
	kind        span.Kind
	debug       bool
	shared      bool
	isV1, isV2  bool // fields that only this version has were there

	fault fault // why the span cannot be taken; the zero fault if it can
}

// endpoint is a party of a call. Addresses are text.
type endpoint struct {
	service, ipv4, ipv6 []byte
	port                uint16
}

func (e *endpoint) isEmpty() bool {
	return len(e.service) == 0 && len(e.ipv4) == 0 && len(e.ipv6) == 0 && e.port == 0
}

type annotation struct {
	timestamp uint64
	value     []byte
	hasHost   bool // v1
	host      endpoint
}

type tag struct{ key, value []byte }

// binaryAnnotation is v1's tag, or an address if its key is ca, sa or ma.
type binaryAnnotation struct {
	key, value []byte // value as text
	hasHost    bool
	host       endpoint
}

// fault says what makes a span unusable.
type fault struct {
	reason     receive.Reason
	field, fix string
	what       string
	value      []byte // view
}

// reset empties a span and keeps its lists' memory.
func (r *rawSpan) reset() {
	*r = rawSpan{annotations: r.annotations[:0], tags: r.tags[:0], binary: r.binary[:0]}
}

// bad notes a fault; the first one stays.
func (r *rawSpan) bad(reason receive.Reason, field string, value []byte, what, fix string) {
	if r.fault.reason == "" {
		r.fault = fault{reason: reason, field: field, value: value, what: what, fix: fix}
	}
}

// checkIDs ends the reading of a span: both ids must be there, and a parent that is the span itself is none.
func (r *rawSpan) checkIDs() {
	if r.trace.IsZero() {
		r.bad(receive.BadID, "traceId", nil, "is missing or zero", "send 16 or 32 lower-case hexadecimal digits, not all zero")
	}
	if r.id.IsZero() {
		r.bad(receive.BadID, "id", nil, "is missing or zero", "send 16 lower-case hexadecimal digits, not all zero")
	}
	if r.parent == r.id {
		r.parent = span.SpanID{}
	}
}
