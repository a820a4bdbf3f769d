// Package zipkin is the Zipkin receiver: JSON and thrift of version 1, JSON and protobuf of version 2, over HTTP and gRPC,
// decoded without an object per span into the columnar batch of OpenTelemetry's model. It also writes Zipkin's JSON and
// protobuf back from a batch.
//
// The structure of a body decides how it is read; path and Content-Type only decide what is left open and what is noted.
// JSON is judged span by span, not body by body: a span with binaryAnnotations or with an endpoint in an annotation is of
// version 1, any other reads the same in both versions. So a body that a proxy mixed from two tracers is whole, and the
// usual one pays nothing for the choice. A span with the fields of both versions keeps the data of both.
package zipkin

import (
	"fmt"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// Format is one of Zipkin's four encodings of a list of spans.
type Format uint8

// The formats. Their names are those of Zipkin's own messages.
const (
	FormatUnknown Format = iota
	JSONv2
	JSONv1
	Proto3
	Thrift
)

// String is Zipkin's name of the format.
func (f Format) String() string {
	return [...]string{"UNKNOWN", "JSON_V2", "JSON_V1", "PROTO3", "THRIFT"}[f%5]
}

// Report is what is to be said about a body besides its spans.
type Report struct {
	Format      Format // what the body was; for JSON, the version of the first span that shows one, else the announced one
	UpperCaseID bool   // an id had capitals

	// Fault is why the first refused span was refused, with its field, value and the fix; nil if none was. The numbers
	// of refused spans by reason are in Batch.Refused.
	Fault *problem.Problem
}

// Decoder reads bodies. The zero Decoder is ready; it keeps its memory from body to body and is not for concurrent use.
type Decoder struct {
	// Strict refuses what Zipkin's server refuses: any bad span fails the body, as do another format than the announced,
	// a single object, capitals and 0x in ids, tags that are no strings.
	Strict bool

	b     *span.Batch
	scan  scanner
	raw   rawSpan
	half  v1Halves
	m     mapper
	extra []byte // addresses and numbers that binary formats have no text for; grows, so that views into it stay valid

	ipBefore []byte // the last IPv6 address as text, a view, and as ip
	ip       netip.Addr

	announced Format
	format    Format
	upperCase bool
	met       int // spans met, good or bad
	first     *problem.Problem
	room      func(b *span.Batch) bool // asked now and then whether the batch may grow on; nil is yes
	full      bool                     // it may not
	otlp      bool                     // a field named resourceSpans was there
}

// Decode appends the spans of a body to b, which must be empty. Spans that cannot be taken are left out and counted in
// b.Refused. The error is a *problem.Problem: Invalid if there was something in the body and none of it good (or, when
// strict, if anything was bad; b has no rows then), Overloaded if the batch outgrew its budget.
//
// announced is what path and Content-Type promise; FormatUnknown if nothing. The body's bytes are changed by reading.
// Cost: no allocation a span once b and d have grown; memory is bounded by a small multiple of the body.
func (d *Decoder) Decode(b *span.Batch, body []byte, announced Format) (Report, error) {
	d.b, d.announced, d.format, d.upperCase, d.met, d.first, d.full, d.otlp = b, announced, FormatUnknown, false, 0, nil, false, false
	d.extra, d.ipBefore = d.extra[:0], nil
	d.m.begin()
	body = trimBOM(body)
	format := announced
	if !isBlank(body) {
		format = detect(body, announced)
		d.decode(body, format)
	}
	switch {
	case d.format != FormatUnknown:
	case d.first == nil && d.met == 0:
		d.format = announced // nothing in it
	default:
		d.format = format
	}
	if d.Strict && d.first == nil && announced != FormatUnknown && d.met > 0 && d.format != announced {
		d.malformed(mismatch(announced, d.format), "send what path and Content-Type announce")
	}
	rep := Report{Format: d.format, UpperCaseID: d.upperCase, Fault: d.first}
	d.b = nil
	switch {
	case d.full:
		return rep, receive.ErrBusy()
	case d.first != nil && d.Strict:
		b.Keep(func(int) bool { return false })
		return rep, d.first
	case d.first != nil && b.Len() == 0:
		return rep, d.first
	}
	return rep, nil
}

func (d *Decoder) decode(body []byte, format Format) {
	if d.Strict && d.announced != FormatUnknown && family(format) != family(d.announced) {
		d.malformed(mismatch(d.announced, format), "send what path and Content-Type announce")
		return
	}
	switch format {
	case JSONv1, JSONv2:
		d.decodeJSON(body)
	case Proto3:
		d.decodeProto(body)
	case Thrift:
		d.decodeThrift(body)
	default:
		d.malformed(unreadable(body), "send Zipkin spans as JSON, protobuf or thrift")
	}
}

func mismatch(announced, got Format) string {
	return fmt.Sprintf("Expected a %s encoded list, but received: %s", announced, got)
}

// roomEvery is how many spans pass between two looks at the budget.
const roomEvery = 64

// finish ends the reading of a span: it is mapped, or counted as bad.
func (d *Decoder) finish(r *rawSpan) {
	d.met++
	r.checkIDs()
	if r.fault.reason != "" {
		d.refuse(&r.fault)
		return
	}
	if d.room != nil && d.met%roomEvery == 0 && !d.full && !d.room(d.b) {
		d.full = true
	}
	if d.full {
		return
	}
	if r.isV1 {
		d.see(JSONv1)
		d.convertV1(r)
		return
	}
	if r.isV2 {
		d.see(JSONv2)
	}
	d.m.add(d.b, r)
}

// see keeps the version of the first span that shows one.
func (d *Decoder) see(f Format) {
	if d.format == FormatUnknown {
		d.format = f
	}
}

// refuse counts a bad span and words the first fault.
func (d *Decoder) refuse(f *fault) {
	receive.CountRefused(d.b, f.reason, 1)
	if d.first != nil {
		return
	}
	message := f.what
	if f.value != nil {
		message = strconv.Quote(string(f.value[:min(len(f.value), 64)])) + " " + message
	}
	field := fmt.Sprintf("span %d", d.met-1)
	if f.field != "" {
		field += " " + f.field
	}
	if d.otlp {
		message, f.fix = "the body is OTLP in JSON, not Zipkin", "POST it to /v1/traces of the OTLP/HTTP port (4318)"
	}
	d.first = &problem.Problem{Kind: problem.Invalid, Field: field, Message: message, Hint: f.fix}
}

// malformed counts a piece of the body that cannot be read.
func (d *Decoder) malformed(what, fix string) {
	receive.CountRefused(d.b, receive.Malformed, 1)
	if d.first == nil {
		d.first = problem.New(problem.Invalid, what, fix)
	}
}

func (d *Decoder) malformedAt(what string, at int) {
	receive.CountRefused(d.b, receive.Malformed, 1)
	if d.first == nil {
		d.first = &problem.Problem{Kind: problem.Invalid, Field: fmt.Sprintf("byte %d", at), Message: what,
			Hint: "the body is cut off or no Zipkin list of spans"}
	}
}

// utf8 replaces what is not UTF-8.
func (d *Decoder) utf8(p []byte) []byte {
	if utf8.Valid(p) {
		return p
	}
	start := len(d.extra)
	d.extra = appendValid(d.extra, p)
	return d.extra[start:len(d.extra):len(d.extra)]
}
