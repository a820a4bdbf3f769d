package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// DecodeJSON is Decode for the JSON form of OTLP: ids in hexadecimal of any case, enums as numbers or names, 64-bit
// integers as strings or numbers, fields in any order, unknown fields passed over, null as absent.
//
// A value of a wrong type fails its span, or the request where it is a resource's or scope's.
func DecodeJSON(dst *span.Batch, body []byte) error {
	var d Decoder
	return d.JSON(dst, body)
}

// JSON is DecodeJSON with the Decoder's memory.
func (d *Decoder) JSON(dst *span.Batch, body []byte) error {
	if err := d.begin(dst, body); err != nil {
		return err
	}
	if d.json == nil {
		d.json = new(jsonReader)
	}
	d.json.ResetBytes(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	d.json.bad, d.json.scratch = nil, d.json.scratch[:0]
	err := d.jsonRequest()
	if err == nil {
		err = d.json.end()
	}
	switch {
	case err == nil && d.json.bad == nil:
		return nil
	case errors.Is(err, errNoRoom):
		return receive.ErrBusy()
	case err == nil || errors.Is(err, errBadValue):
		return d.json.bad.problem()
	default:
		return &problem.Problem{Kind: problem.Invalid, Message: "the JSON does not parse: " + innermost(err),
			Hint: "send an ExportTraceServiceRequest as OTLP's JSON"}
	}
}

// innermost is the end of an error's text: jx names every level of nesting before what went wrong.
func innermost(err error) string {
	const most = 200
	text := err.Error()
	if len(text) <= most {
		return text
	}
	return "… " + strings.ToValidUTF8(text[len(text)-most:], "")
}

// jsonReader is jx's decoder with the fault of the object at hand. Its methods return an error for what ends the reading
// (bad syntax); a value of a wrong type is passed over and noted in bad.
type jsonReader struct {
	jx.Decoder
	bad     *fault
	reason  receive.Reason // of bad
	scratch []byte         // keys of the lists at hand
}

var (
	errNoRoom   = errors.New("no room")
	errBadValue = errors.New("bad value")
)

// end checks that nothing but space is left.
func (j *jsonReader) end() error {
	if t := j.Next(); t != jx.Invalid {
		return fmt.Errorf("a %s after the request", t)
	}
	if err := j.Skip(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("after the request: %w", err)
	}
	return nil
}

// wrong notes the first wrong value and passes over it.
func (j *jsonReader) wrong(name, want string) error {
	if j.bad == nil {
		j.bad, j.reason = &fault{at: noOffset, path: name, what: fmt.Sprintf("is a %s, must be %s", j.Next(), want)}, receive.Malformed
	}
	return j.Skip()
}

func (j *jsonReader) note(reason receive.Reason, name, what string) {
	if j.bad == nil {
		j.bad, j.reason = &fault{at: noOffset, path: name, what: what}, reason
	}
}

// object begins an object. Without ok there is none: null, or a wrong type that was noted.
func (j *jsonReader) object(name string) (it jx.ObjIter, ok bool, err error) {
	switch j.Next() {
	case jx.Object:
		it, err = j.ObjIter()
		return it, err == nil, err
	case jx.Null:
		return it, false, j.Null()
	default:
		return it, false, j.wrong(name, "an object")
	}
}

// array begins an array likewise.
func (j *jsonReader) array(name string) (it jx.ArrIter, ok bool, err error) {
	switch j.Next() {
	case jx.Array:
		it, err = j.ArrIter()
		return it, err == nil, err
	case jx.Null:
		return it, false, j.Null()
	default:
		return it, false, j.wrong(name, "an array")
	}
}

func (d *Decoder) jsonRequest() error {
	j := d.json
	it, ok, err := j.object("the request")
	for ok && err == nil && it.Next() {
		if string(it.Key()) == "resourceSpans" {
			err = d.jsonList("resourceSpans", d.jsonResourceSpans)
		} else {
			err = j.Skip()
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}

// jsonList reads an array of objects. A fault outside of any span ends the request.
func (d *Decoder) jsonList(name string, read func() error) error {
	it, ok, err := d.json.array(name)
	for ok && err == nil && it.Next() {
		if err = read(); err == nil && d.json.bad != nil {
			err = errBadValue
		}
		if err == errBadValue {
			d.json.bad.in(0, name)
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}

func (d *Decoder) jsonResourceSpans() error {
	j, b := d.json, d.b
	resource, first := len(b.Resources), b.Len()
	b.Resources = append(b.Resources, span.Resource{})
	var r span.Resource
	var mark span.Mark
	d.proxy = false
	scopes := func() error { return d.jsonScopeSpans(uint32(resource)) }
	it, ok, err := j.object("")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "resource":
			d.mark = 0
			err = d.jsonResource(&r)
			mark |= d.mark
		case "schemaUrl":
			err = d.jsonText("schemaUrl", &r.SchemaURL)
		case "scopeSpans", "instrumentationLibrarySpans":
			err = d.jsonList("scopeSpans", scopes)
		default:
			err = j.Skip()
		}
	}
	if err != nil {
		return err
	}
	if ok && it.Err() != nil {
		return it.Err()
	}
	d.mark = 0
	d.mend(&r.SchemaURL)
	b.Resources[resource] = r
	for row := first; row < b.Len(); row++ {
		b.Mark[row] |= mark | d.mark
	}
	if d.full() {
		return errNoRoom
	}
	return nil
}

func (d *Decoder) jsonResource(r *span.Resource) error {
	j := d.json
	*r = span.Resource{SchemaURL: r.SchemaURL}
	it, ok, err := j.object("resource")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "attributes":
			r.Attrs, err = d.jsonAttrs()
		case "droppedAttributesCount":
			err = d.jsonCount("droppedAttributesCount", &r.Dropped)
		default:
			err = j.Skip()
		}
	}
	if err != nil {
		return err
	}
	if ok && it.Err() != nil {
		return it.Err()
	}
	d.mendAttrs(r.Attrs)
	d.judgeResource(r.Attrs)
	return nil
}

func (d *Decoder) jsonScopeSpans(resource uint32) error {
	j, b := d.json, d.b
	scope, first := len(b.Scopes), b.Len()
	b.Scopes = append(b.Scopes, span.Scope{})
	var s span.Scope
	var mark span.Mark
	spans := func() error { return d.jsonRow(resource, uint32(scope)) }
	it, ok, err := j.object("")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "scope", "instrumentationLibrary":
			d.mark = 0
			err = d.jsonScope(&s)
			mark |= d.mark
		case "schemaUrl":
			err = d.jsonText("schemaUrl", &s.SchemaURL)
		case "spans":
			err = d.jsonList("spans", spans)
		default:
			err = j.Skip()
		}
	}
	if err != nil {
		return err
	}
	if ok && it.Err() != nil {
		return it.Err()
	}
	d.mark = 0
	d.mend(&s.SchemaURL)
	b.Scopes[scope] = s
	for row := first; row < b.Len(); row++ {
		b.Mark[row] |= mark | d.mark
	}
	if d.full() {
		return errNoRoom
	}
	return nil
}

func (d *Decoder) jsonScope(s *span.Scope) error {
	j := d.json
	*s = span.Scope{SchemaURL: s.SchemaURL}
	it, ok, err := j.object("scope")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "name":
			err = d.jsonText("name", &s.Name)
		case "version":
			err = d.jsonText("version", &s.Version)
		case "attributes":
			s.Attrs, err = d.jsonAttrs()
		case "droppedAttributesCount":
			err = d.jsonCount("droppedAttributesCount", &s.Dropped)
		default:
			err = j.Skip()
		}
	}
	if err != nil {
		return err
	}
	if ok && it.Err() != nil {
		return it.Err()
	}
	d.mend(&s.Name)
	d.mend(&s.Version)
	d.mendAttrs(s.Attrs)
	return nil
}

// jsonRow reads a span into a row of its own, and takes the row back if something is wrong in it.
func (d *Decoder) jsonRow(resource, scope uint32) error {
	j, b := d.json, d.b
	row := b.AddRow()
	d.mark = 0
	if d.proxy {
		d.mark = span.MarkProxy
	}
	arena := len(b.Arena)
	if err := d.jsonSpan(row); err != nil {
		return err
	}
	if j.bad == nil {
		switch {
		case b.TraceID[row].IsZero():
			j.note(receive.BadID, "traceId", "is absent or zero")
		case b.SpanID[row].IsZero():
			j.note(receive.BadID, "spanId", "is absent or zero")
		}
	}
	if j.bad != nil {
		b.DropLastRow()
		d.refuse(j.reason, j.bad.in(0, "resourceSpans.scopeSpans.spans"))
		j.bad = nil
	} else {
		if !d.proxy {
			d.judgeSpan(b.SpanAttrs[row])
		}
		if !ascii(b.Arena[arena:]) {
			d.mendRow(row)
		}
		b.Resource[row], b.Scope[row], b.Mark[row] = resource, scope, d.mark
	}
	if d.full() {
		return errNoRoom
	}
	return nil
}

func (d *Decoder) jsonSpan(row int) error {
	j, b := d.json, d.b
	it, ok, err := j.object("")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "traceId":
			err = d.jsonID("traceId", b.TraceID[row][:])
		case "spanId":
			err = d.jsonID("spanId", b.SpanID[row][:])
		case "traceState":
			err = d.jsonText("traceState", &b.TraceState[row])
		case "parentSpanId":
			err = d.jsonID("parentSpanId", b.Parent[row][:])
		case "flags":
			err = d.jsonCount("flags", &b.Flags[row])
		case "name":
			err = d.jsonText("name", &b.Name[row])
		case "kind":
			var v uint64
			v, err = d.jsonEnum("kind", kindNames[:])
			b.Kind[row] = kindOf(v)
		case "startTimeUnixNano":
			b.Start[row], err = d.jsonUint("startTimeUnixNano")
		case "endTimeUnixNano":
			b.End[row], err = d.jsonUint("endTimeUnixNano")
		case "attributes":
			b.SpanAttrs[row], err = d.jsonAttrs()
		case "droppedAttributesCount":
			err = d.jsonCount("droppedAttributesCount", &b.DroppedAttrs[row])
		case "events":
			b.SpanEvents[row], err = d.jsonEvents()
		case "droppedEventsCount":
			err = d.jsonCount("droppedEventsCount", &b.DroppedEvents[row])
		case "links":
			b.SpanLinks[row], err = d.jsonLinks()
		case "droppedLinksCount":
			err = d.jsonCount("droppedLinksCount", &b.DroppedLinks[row])
		case "status":
			err = d.jsonStatus(row)
		default:
			err = j.Skip()
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}

func (d *Decoder) jsonStatus(row int) error {
	j, b := d.json, d.b
	it, ok, err := j.object("status")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "message":
			err = d.jsonText("status.message", &b.StatusMessage[row])
		case "code":
			var v uint64
			v, err = d.jsonEnum("status.code", statusNames[:])
			b.Status[row] = statusOf(v)
		default:
			err = j.Skip()
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}

func (d *Decoder) jsonEvents() (span.Range, error) {
	b := d.b
	off := uint32(len(b.Events))
	it, ok, err := d.json.array("events")
	for ok && err == nil && it.Next() {
		var e span.Event
		if err = d.jsonEvent(&e); err == nil {
			b.Events = append(b.Events, e)
		}
		if err == nil && d.full() {
			err = errNoRoom
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	return span.Range{Off: off, Len: uint32(len(b.Events)) - off}, err
}

func (d *Decoder) jsonEvent(e *span.Event) error {
	j := d.json
	it, ok, err := j.object("event")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "timeUnixNano":
			e.Time, err = d.jsonUint("events.timeUnixNano")
		case "name":
			err = d.jsonText("events.name", &e.Name)
		case "attributes":
			e.Attrs, err = d.jsonAttrs()
		case "droppedAttributesCount":
			err = d.jsonCount("events.droppedAttributesCount", &e.Dropped)
		default:
			err = j.Skip()
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}

func (d *Decoder) jsonLinks() (span.Range, error) {
	b := d.b
	off := uint32(len(b.Links))
	it, ok, err := d.json.array("links")
	for ok && err == nil && it.Next() {
		var l span.Link
		if err = d.jsonLink(&l); err == nil {
			b.Links = append(b.Links, l)
		}
		if err == nil && d.full() {
			err = errNoRoom
		}
	}
	if err == nil && ok {
		err = it.Err()
	}
	return span.Range{Off: off, Len: uint32(len(b.Links)) - off}, err
}

func (d *Decoder) jsonLink(l *span.Link) error {
	j := d.json
	it, ok, err := j.object("link")
	for ok && err == nil && it.Next() {
		switch string(it.Key()) {
		case "traceId":
			err = d.jsonID("links.traceId", l.TraceID[:])
		case "spanId":
			err = d.jsonID("links.spanId", l.SpanID[:])
		case "traceState":
			err = d.jsonText("links.traceState", &l.TraceState)
		case "attributes":
			l.Attrs, err = d.jsonAttrs()
		case "droppedAttributesCount":
			err = d.jsonCount("links.droppedAttributesCount", &l.Dropped)
		case "flags":
			err = d.jsonCount("links.flags", &l.Flags)
		default:
			err = j.Skip()
		}
	}
	if err != nil || !ok {
		return err
	}
	return it.Err()
}
