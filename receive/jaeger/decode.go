package jaeger

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// Decoder reads traces and documents. The zero Decoder is ready; it keeps its memory and is not for concurrent use. Batches given
// to it one after the other must be Reset or new ones (Begin), since resources of equal processes are shared within a batch.
type Decoder struct {
	Notes Notes // over everything read

	b         *span.Batch
	document  bool // binary values are hexadecimal, flags may be OpenTelemetry's
	resources map[string]uint32
	scopes    map[string]uint32
	processes map[string]uint32 // of the trace at hand
	raw       rawSpan
	text      []byte
	scopeName, scopeVersion,
	status, statusMessage, traceState []byte // of the span at hand
	kind  span.Kind
	err   errorTag
	field string // being read
}

// rawSpan is a span's fields as they stand in its JSON.
type rawSpan struct {
	traceID, spanID, parent, name, references, start, duration, flags,
	tags, tag, logs, process, processID, warnings, scopeTags, scopeTag jx.Raw
}

// Begin makes b the batch that the next spans are appended to.
func (d *Decoder) Begin(b *span.Batch) {
	d.b = b
	if d.resources == nil {
		d.resources, d.scopes, d.processes = make(map[string]uint32), make(map[string]uint32), make(map[string]uint32)
	}
	clear(d.resources)
	clear(d.scopes)
}

// maxFaults is how many spans of a trace are named that could not be read; the others are counted.
const maxFaults = 10

// Faults is the error for a trace of which not every span could be read; the others were.
type Faults struct {
	Spans int                // that were left out
	First []*problem.Problem // the first of them, each with the field that was wrong
}

func (f *Faults) Error() string { return f.First[0].Error() }

// Trace appends the spans of an object {"traceID", "spans", "processes"}. Spans that cannot be read are left out, counted in the
// batch's Refused and told in *Faults; any other error is an Invalid problem about the trace as a whole.
//
// Cost: the trace's JSON is walked three times; a few allocations a trace.
func (d *Decoder) Trace(body []byte) error {
	d.document = false
	var spans, processes jx.Raw
	err := object(body, func(key []byte, value jx.Raw) error {
		switch string(key) {
		case "spans":
			spans = value
		case "processes":
			processes = value
		}
		return nil
	})
	if err != nil {
		return malformed("the trace does not parse: " + err.Error())
	}
	if spans == nil || spans.Type() != jx.Array {
		return malformed("the trace has no list of spans")
	}
	if err := d.readProcesses(processes); err != nil {
		return err
	}
	faults := &Faults{}
	n := 0
	err = jx.DecodeBytes(spans).Arr(func(j *jx.Decoder) error {
		value, err := j.Raw()
		if err != nil {
			return err
		}
		if f := d.span(value); f != nil {
			d.refuse(faults, f, fmt.Sprintf("spans[%d].%s", n, f.field))
		}
		n++
		return nil
	})
	if err != nil {
		return malformed("the list of spans does not parse: " + err.Error())
	}
	if faults.Spans > 0 {
		return faults
	}
	return nil
}

// Document appends the span of an Elasticsearch document: what stands in its _source. Errors are those of Trace.
func (d *Decoder) Document(source []byte) error {
	d.document = true
	if f := d.span(source); f != nil {
		faults := &Faults{}
		d.refuse(faults, f, f.field)
		return faults
	}
	return nil
}

func (d *Decoder) refuse(faults *Faults, f *fault, field string) {
	reason := receive.Malformed
	if f.field == "traceID" || f.field == "spanID" {
		reason = receive.BadID
	}
	receive.CountRefused(d.b, reason, 1)
	if faults.Spans++; len(faults.First) < maxFaults {
		faults.First = append(faults.First, &problem.Problem{Kind: problem.Invalid, Field: field, Message: f.what, Hint: f.fix})
	}
}

func malformed(what string) error {
	return &problem.Problem{Kind: problem.Invalid, Message: what, Hint: "a trace of Jaeger is {\"traceID\", \"spans\", \"processes\"}"}
}

// object walks the members of a JSON object. Values are views.
func object(body []byte, each func(key []byte, value jx.Raw) error) error {
	j := jx.DecodeBytes(body)
	if t := j.Next(); t != jx.Object {
		return fmt.Errorf("a %s where an object is expected", t)
	}
	return j.ObjBytes(func(j *jx.Decoder, key []byte) error {
		value, err := j.Raw()
		if err != nil {
			return err
		}
		return each(key, value)
	})
}

func (d *Decoder) readProcesses(processes jx.Raw) error {
	clear(d.processes)
	if processes == nil || processes.Type() == jx.Null {
		return nil
	}
	err := object(processes, func(key []byte, value jx.Raw) error {
		r, f := d.resource(value)
		if f != nil {
			return fmt.Errorf("%s: %w", key, f)
		}
		d.processes[string(key)] = r
		return nil
	})
	if err != nil {
		return malformed("processes do not parse: " + err.Error())
	}
	return nil
}

// resource finds or makes the resource of a process.
func (d *Decoder) resource(process jx.Raw) (uint32, *fault) {
	if i, ok := d.resources[string(process)]; ok {
		return i, nil
	}
	b := d.b
	var service, tags, tag jx.Raw
	err := object(process, func(key []byte, value jx.Raw) error {
		switch string(key) {
		case "serviceName":
			service = value
		case "tags":
			tags = value
		case "tag":
			tag = value
		}
		return nil
	})
	if err != nil {
		return 0, &fault{"process", "does not parse: " + err.Error(), "it is an object with serviceName and tags"}
	}
	mark := b.AttrMark()
	name, err := d.str(service)
	if err != nil {
		return 0, &fault{"process.serviceName", err.Error(), ""}
	}
	if len(name) > 0 && string(name) != "OTLPResourceNoServiceName" {
		b.AddAttr(b.InternKey([]byte("service.name")), span.StrValue(span.TypeString, b.AddString(name)))
	} else {
		d.Notes[NoService]++
	}
	if f := d.attrs("process.tags", tags, nil); f != nil {
		return 0, f
	}
	if f := d.tagFields("process.tag", tag, nil); f != nil {
		return 0, f
	}
	i := uint32(len(b.Resources))
	b.Resources = append(b.Resources, span.Resource{Attrs: b.AttrsSince(mark)})
	d.resources[string(process)] = i
	return i, nil
}

// noResource is the resource of spans without a process.
func (d *Decoder) noResource() uint32 {
	i, ok := d.resources[""]
	if !ok {
		i = uint32(len(d.b.Resources))
		d.b.Resources = append(d.b.Resources, span.Resource{})
		d.resources[""] = i
	}
	return i
}

func (d *Decoder) span(body []byte) *fault {
	r := &d.raw
	*r = rawSpan{}
	err := object(body, func(key []byte, value jx.Raw) error {
		if value.Type() == jx.Null {
			return nil
		}
		if at := r.field(key); at != nil {
			*at = value
		}
		return nil
	})
	if err != nil {
		return &fault{"span", "does not parse: " + err.Error(), "it is an object with traceID, spanID and operationName"}
	}
	trace, f := d.traceID("traceID", r.traceID)
	if f != nil {
		return f
	}
	id, f := d.spanID("spanID", r.spanID)
	if f != nil {
		return f
	}
	start, err := micros(r.start)
	if err != nil {
		return &fault{"startTime", err.Error(), "it is a number of microseconds since 1970"}
	}
	duration, err := micros(r.duration)
	if err != nil {
		return &fault{"duration", err.Error(), "it is a number of microseconds"}
	}
	if start > math.MaxUint64/1000 || duration > math.MaxUint64/1000 || start*1000 > math.MaxUint64-duration*1000 {
		return &fault{"startTime", fmt.Sprintf("%d + %d microseconds is more than a span can hold", start, duration), "it is a number of microseconds since 1970"}
	}
	flags, err := micros(r.flags)
	if err != nil || flags > math.MaxUint32 {
		return &fault{"flags", fmt.Sprintf("%.40q is not a number of 32 bits", r.flags), ""}
	}
	name, err := d.str(r.name)
	if err != nil {
		return &fault{"operationName", err.Error(), ""}
	}
	b := d.b
	spanName := b.AddString(name)
	parent, links, f := d.references(trace)
	if f != nil {
		return f
	}
	attrs, f := d.spanTags()
	if f != nil {
		return f
	}
	events, f := d.logs()
	if f != nil {
		return f
	}
	var resource uint32
	if r.process != nil {
		if resource, f = d.resource(r.process); f != nil {
			return f
		}
	} else {
		key, err := d.str(r.processID)
		if err != nil {
			return &fault{"processID", err.Error(), ""}
		}
		var ok bool
		if resource, ok = d.processes[string(key)]; !ok {
			d.Notes[NoProcess]++
			resource = d.noResource()
		}
	}
	scope, f := d.scope()
	if f != nil {
		return f
	}
	if r.warnings != nil {
		_ = jx.DecodeBytes(r.warnings).Arr(func(j *jx.Decoder) error { d.Notes[Warning]++; return j.Skip() })
	}

	row := b.AddRow()
	b.TraceID[row], b.SpanID[row], b.Parent[row] = trace, id, parent
	b.Name[row] = spanName
	b.Start[row], b.End[row] = start*1000, (start+duration)*1000
	b.Flags[row] = d.flags(uint32(flags))
	b.Kind[row] = d.kind
	b.Status[row] = d.statusOf()
	b.StatusMessage[row] = b.AddString(d.statusMessage)
	b.TraceState[row] = b.AddString(d.traceState)
	b.SpanAttrs[row], b.SpanEvents[row], b.SpanLinks[row] = attrs, events, links
	b.Resource[row], b.Scope[row] = resource, scope
	return nil
}

func (r *rawSpan) field(key []byte) *jx.Raw {
	switch string(key) {
	case "traceID":
		return &r.traceID
	case "spanID":
		return &r.spanID
	case "parentSpanID":
		return &r.parent
	case "operationName":
		return &r.name
	case "references":
		return &r.references
	case "startTime":
		return &r.start
	case "duration":
		return &r.duration
	case "flags":
		return &r.flags
	case "tags":
		return &r.tags
	case "tag":
		return &r.tag
	case "logs":
		return &r.logs
	case "process":
		return &r.process
	case "processID":
		return &r.processID
	case "warnings":
		return &r.warnings
	case "scopeTags":
		return &r.scopeTags
	case "scopeTag":
		return &r.scopeTag
	}
	return nil
}

// flags: Jaeger 2 stores OpenTelemetry's in documents, of which bit 8 tells that they are; else the second bit is Jaeger's for debugging.
func (d *Decoder) flags(flags uint32) uint32 {
	if d.document && flags >= 1<<8 {
		return flags
	}
	if flags&2 != 0 {
		d.Notes[DebugFlag]++
	}
	return flags & 1
}

func (d *Decoder) traceID(field string, raw jx.Raw) (id span.TraceID, f *fault) {
	text, err := d.str(raw)
	if err == nil {
		id, err = span.ParseTraceID(text)
	}
	if err != nil {
		return id, badID(field, raw, 32)
	}
	if len(text) != 32 && len(text) != 16 {
		d.Notes[ShortID]++
	}
	return id, nil
}

func (d *Decoder) spanID(field string, raw jx.Raw) (id span.SpanID, f *fault) {
	text, err := d.str(raw)
	if err == nil {
		id, err = span.ParseSpanID(text)
	}
	if err != nil {
		return id, badID(field, raw, 16)
	}
	if len(text) != 16 {
		d.Notes[ShortID]++
	}
	return id, nil
}

func badID(field string, raw jx.Raw, digits int) *fault {
	if raw == nil {
		return &fault{field, "is missing", fmt.Sprintf("a span has one of up to %d hexadecimal digits", digits)}
	}
	return &fault{field, fmt.Sprintf("%.60s is no id", raw), fmt.Sprintf("ids are up to %d hexadecimal digits, not all zero", digits)}
}

// str reads a string; nothing for null and what is absent. The result is valid until the next call.
func (d *Decoder) str(raw jx.Raw) ([]byte, error) {
	if raw == nil {
		return nil, nil
	}
	switch raw.Type() {
	case jx.Null:
		return nil, nil
	case jx.String:
	default:
		return nil, fmt.Errorf("%.60s is a %s where a string is expected", raw, raw.Type())
	}
	var err error
	if d.text, err = jx.DecodeBytes(raw).StrAppend(d.text[:0]); err != nil {
		return nil, err
	}
	if !utf8.Valid(d.text) {
		d.Notes[BadText]++
		d.text = []byte(string([]rune(string(d.text))))
	}
	return d.text, nil
}

var errNumber = errors.New("is not a whole number that is not negative")

// micros reads a whole number, which may stand in quotes or have an exponent, as tools between write them; 0 where there is none.
func micros(raw jx.Raw) (uint64, error) {
	if raw == nil {
		return 0, nil
	}
	text := string(raw)
	if raw.Type() == jx.String {
		text = text[1 : len(text)-1]
	}
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return v, nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f >= 0 && f < 1<<63 && f == math.Trunc(f) {
		return uint64(f), nil
	}
	return 0, fmt.Errorf("%.40s %w", raw, errNumber)
}
