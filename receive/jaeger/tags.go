package jaeger

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/span"
)

// errorTag is what a span's tag "error" said.
type errorTag uint8

const (
	errorAbsent errorTag = iota
	errorTrue
	errorFalse
)

var kinds = map[string]span.Kind{"internal": span.KindInternal, "server": span.KindServer, "client": span.KindClient, "producer": span.KindProducer, "consumer": span.KindConsumer}

// spanTags reads tags and tag of the span at hand.
func (d *Decoder) spanTags() (span.Range, *fault) {
	d.scopeName, d.scopeVersion, d.status, d.statusMessage, d.traceState = d.scopeName[:0], d.scopeVersion[:0], d.status[:0], d.statusMessage[:0], d.traceState[:0]
	d.kind, d.err = span.KindUnspecified, errorAbsent
	mark := d.b.AttrMark()
	if f := d.attrs("tags", d.raw.tags, d.derived); f != nil {
		return span.Range{}, f
	}
	if f := d.tagFields("tag", d.raw.tag, d.derived); f != nil {
		return span.Range{}, f
	}
	// The tag error is the status once more. Where it says something else it stays.
	keep := d.err != errorAbsent
	switch {
	case d.err == errorTrue && len(d.status) == 0:
		d.Notes[ErrorTag]++
		keep = false
	case d.err == errorTrue && string(d.status) == "ERROR":
		keep = false
	}
	if keep {
		d.Notes[OtherError]++
		d.b.AddAttr(d.b.InternKey([]byte("error")), span.BoolValue(d.err == errorTrue))
	}
	return d.b.AttrsSince(mark), nil
}

func (d *Decoder) statusOf() span.Status {
	switch {
	case string(d.status) == "OK":
		return span.StatusOK
	case string(d.status) == "ERROR" || d.err == errorTrue:
		return span.StatusError
	}
	return span.StatusUnset
}

// derived takes a tag that was made of a span's field. It reports whether the tag is one.
func (d *Decoder) derived(key []byte, v value) bool {
	keep := func(to *[]byte) bool {
		if v.typ != span.TypeString {
			return false
		}
		*to = append((*to)[:0], v.text...)
		return true
	}
	switch string(key) {
	case "span.kind":
		kind, ok := kinds[strings.ToLower(string(v.text))]
		if v.typ != span.TypeString || !ok {
			return false
		}
		d.kind = kind
		return true
	case "error":
		switch {
		case v.typ == span.TypeBool && v.bool || v.typ == span.TypeString && string(v.text) == "true":
			d.err = errorTrue
		case v.typ == span.TypeBool || v.typ == span.TypeString && string(v.text) == "false":
			d.err = errorFalse
		default:
			d.Notes[OtherError]++
			return false
		}
		return true
	case "otel.status_code":
		if v.typ != span.TypeString || string(v.text) != "OK" && string(v.text) != "ERROR" {
			return false
		}
		return keep(&d.status)
	case "otel.status_description":
		return keep(&d.statusMessage)
	case "otel.scope.name", "otel.library.name":
		return keep(&d.scopeName)
	case "otel.scope.version", "otel.library.version":
		return keep(&d.scopeVersion)
	case "w3c.tracestate":
		return keep(&d.traceState)
	}
	return false
}

// value is a tag's, text in the decoder's memory.
type value struct {
	typ   span.Type
	text  []byte // of strings and bytes
	int   int64
	float float64
	bool  bool
}

func (d *Decoder) add(key uint32, v value) {
	switch b := d.b; v.typ {
	case span.TypeBool:
		b.AddAttr(key, span.BoolValue(v.bool))
	case span.TypeInt:
		b.AddAttr(key, span.IntValue(v.int))
	case span.TypeDouble:
		b.AddAttr(key, span.DoubleValue(v.float))
	default:
		b.AddAttr(key, span.StrValue(v.typ, b.AddString(v.text)))
	}
}

// attrs appends the attributes of a list of {"key", "type", "value"}. special, where given, takes those that are none.
func (d *Decoder) attrs(field string, list jx.Raw, special func(key []byte, v value) bool) *fault {
	if list == nil || list.Type() == jx.Null {
		return nil
	}
	if list.Type() != jx.Array {
		return &fault{field, fmt.Sprintf("is a %s", list.Type()), "it is a list of key, type and value"}
	}
	var scratch []byte
	n := -1
	err := jx.DecodeBytes(list).Arr(func(j *jx.Decoder) error {
		n++
		entry, err := j.Raw()
		if err != nil {
			return err
		}
		var key, typ, val jx.Raw
		err = object(entry, func(name []byte, value jx.Raw) error {
			switch string(name) {
			case "key":
				key = value
			case "type", "vType", "tagType":
				typ = value
			case "value":
				val = value
			}
			return nil
		})
		if err != nil {
			return err
		}
		text, err := d.str(key)
		if err != nil {
			return err
		}
		scratch = append(scratch[:0], text...)
		v, err := d.value(typ, val)
		if err != nil {
			return err
		}
		if special == nil || !special(scratch, v) {
			d.add(d.b.InternKey(scratch), v)
		}
		return nil
	})
	if err != nil {
		return &fault{fmt.Sprintf("%s[%d]", field, max(n, 0)), err.Error(), "a tag is an object with key, type and value"}
	}
	return nil
}

// tagFields appends the attributes of an object of tags.
func (d *Decoder) tagFields(field string, tags jx.Raw, special func(key []byte, v value) bool) *fault {
	if tags == nil || tags.Type() == jx.Null {
		return nil
	}
	err := object(tags, func(key []byte, val jx.Raw) error {
		d.Notes[TagFields]++
		name := []byte(strings.ReplaceAll(string(key), "@", "."))
		v, err := d.untyped(val)
		if err != nil {
			return err
		}
		if special == nil || !special(name, v) {
			d.add(d.b.InternKey(name), v)
		}
		return nil
	})
	if err != nil {
		return &fault{field, err.Error(), "it is an object of tags"}
	}
	return nil
}

// value reads a value by the type beside it. Text that is not of that type stays text.
func (d *Decoder) value(typ, val jx.Raw) (value, error) {
	name, err := d.str(typ)
	if err != nil {
		return value{}, err
	}
	kind := strings.ToLower(string(name))
	if val == nil {
		val = jx.Raw("null")
	}
	switch kind {
	case "string", "bool", "int64", "float64", "binary":
	default:
		d.Notes[NoType]++
		return d.untyped(val)
	}
	text, isText, err := d.scalar(val)
	if err != nil {
		return value{}, err
	}
	switch kind {
	case "string":
		if !isText && val.Type() != jx.Null {
			d.Notes[WrongType]++
		}
		return value{typ: span.TypeString, text: text}, nil
	case "bool":
		if v, err := strconv.ParseBool(string(text)); err == nil {
			return value{typ: span.TypeBool, bool: v}, nil
		}
	case "int64":
		if v, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			return value{typ: span.TypeInt, int: v}, nil
		}
		if f, err := strconv.ParseFloat(string(text), 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return value{typ: span.TypeInt, int: int64(f)}, nil
		}
	case "float64":
		if v, err := strconv.ParseFloat(string(text), 64); err == nil {
			return value{typ: span.TypeDouble, float: v}, nil
		}
	case "binary":
		if isText || val.Type() == jx.Null {
			if v, ok := d.binary(text); ok {
				return value{typ: span.TypeBytes, text: v}, nil
			}
		}
	}
	d.Notes[WrongType]++
	return value{typ: span.TypeString, text: text}, nil
}

// binary reads bytes: hexadecimal in documents, base64 in the API.
func (d *Decoder) binary(text []byte) ([]byte, bool) {
	if d.document {
		if v, err := hex.DecodeString(string(text)); err == nil {
			return v, true
		}
	}
	v, err := base64.StdEncoding.DecodeString(string(text))
	return v, err == nil
}

// scalar is a value's text: of a string without its quotes, else its JSON.
func (d *Decoder) scalar(val jx.Raw) (text []byte, isText bool, err error) {
	switch val.Type() {
	case jx.String:
		text, err = d.str(val)
		return text, true, err
	case jx.Null:
		return nil, false, nil
	default:
		return []byte(val), false, nil
	}
}

// untyped reads a value as its JSON is.
func (d *Decoder) untyped(val jx.Raw) (value, error) {
	switch val.Type() {
	case jx.Bool:
		return value{typ: span.TypeBool, bool: string(val) == "true"}, nil
	case jx.Number:
		if v, err := strconv.ParseInt(string(val), 10, 64); err == nil {
			return value{typ: span.TypeInt, int: v}, nil
		}
		if v, err := strconv.ParseFloat(string(val), 64); err == nil {
			return value{typ: span.TypeDouble, float: v}, nil
		}
	}
	text, _, err := d.scalar(val)
	return value{typ: span.TypeString, text: text}, err
}

// references reads the parent and the links.
func (d *Decoder) references(trace span.TraceID) (parent span.SpanID, links span.Range, f *fault) {
	b := d.b
	if text, err := d.str(d.raw.parent); err != nil {
		return parent, links, &fault{"parentSpanID", err.Error(), ""}
	} else if len(text) > 0 {
		if parent, err = span.ParseSpanID(text); err != nil && strings.Trim(string(text), "0") != "" {
			return parent, links, badID("parentSpanID", d.raw.parent, 16)
		}
	}
	first := uint32(len(b.Links))
	if d.raw.references == nil {
		return parent, span.Range{Off: first}, nil
	}
	follows, found := false, !parent.IsZero()
	n := -1
	err := jx.DecodeBytes(d.raw.references).Arr(func(j *jx.Decoder) error {
		n++
		raw, err := j.Raw()
		if err != nil {
			return err
		}
		var typ, traceID, spanID, state, tags, flags jx.Raw
		err = object(raw, func(key []byte, value jx.Raw) error {
			switch string(key) {
			case "refType":
				typ = value
			case "traceID":
				traceID = value
			case "spanID":
				spanID = value
			case "traceState":
				state = value
			case "tags":
				tags = value
			case "flags":
				flags = value
			}
			return nil
		})
		if err != nil {
			return err
		}
		text, err := d.str(typ)
		if err != nil {
			return err
		}
		childOf := string(text) == "CHILD_OF"
		target, bad1 := d.traceID("", traceID)
		id, bad2 := d.spanID("", spanID)
		if bad1 != nil || bad2 != nil {
			d.Notes[BadReference]++
			return nil
		}
		switch {
		case childOf && target == trace && (!found || id == parent):
			parent, found = id, true
			return nil
		case childOf:
			d.Notes[MoreParents]++
		default:
			d.Notes[FollowsRef]++
			follows = follows || target == trace
		}
		l := span.Link{TraceID: target, SpanID: id}
		mark := b.AttrMark()
		if childOf {
			b.AddTextAttr("opentracing.ref_type", "child_of")
		}
		if f := d.attrs("references.tags", tags, nil); f != nil {
			return f
		}
		l.Attrs = b.AttrsSince(mark)
		if text, err = d.str(state); err != nil {
			return err
		}
		l.TraceState = b.AddString(text)
		if v, err := micros(flags); err == nil && v <= math.MaxUint32 {
			l.Flags = uint32(v)
		}
		b.Links = append(b.Links, l)
		return nil
	})
	if err != nil {
		return parent, links, &fault{fmt.Sprintf("references[%d]", max(n, 0)), err.Error(), "a reference has refType, traceID and spanID"}
	}
	if follows && parent.IsZero() {
		d.Notes[FollowsOnly]++
	}
	return parent, span.Range{Off: first, Len: uint32(len(b.Links)) - first}, nil
}

// logs reads the events.
func (d *Decoder) logs() (span.Range, *fault) {
	b := d.b
	if d.raw.logs == nil {
		return span.Range{Off: uint32(len(b.Events))}, nil
	}
	first := uint32(len(b.Events))
	n := -1
	var name []byte
	err := jx.DecodeBytes(d.raw.logs).Arr(func(j *jx.Decoder) error {
		n++
		raw, err := j.Raw()
		if err != nil {
			return err
		}
		var stamp, fields jx.Raw
		err = object(raw, func(key []byte, value jx.Raw) error {
			switch string(key) {
			case "timestamp":
				stamp = value
			case "fields":
				fields = value
			}
			return nil
		})
		if err != nil {
			return err
		}
		at, err := micros(stamp)
		if err != nil || at > math.MaxUint64/1000 {
			return fmt.Errorf("timestamp %.40s is not a number of microseconds", stamp)
		}
		mark, named := b.AttrMark(), false
		name = name[:0]
		f := d.attrs("fields", fields, func(key []byte, v value) bool {
			if named || v.typ != span.TypeString || string(key) != "event" {
				return false
			}
			name, named = append(name, v.text...), true
			return true
		})
		if f != nil {
			return f
		}
		b.Events = append(b.Events, span.Event{Time: at * 1000, Name: b.AddString(name), Attrs: b.AttrsSince(mark)})
		return nil
	})
	if err != nil {
		return span.Range{}, &fault{fmt.Sprintf("logs[%d]", max(n, 0)), err.Error(), "a log has timestamp and fields"}
	}
	return span.Range{Off: first, Len: uint32(len(b.Events)) - first}, nil
}

// scope finds or makes the scope of the span at hand.
func (d *Decoder) scope() (uint32, *fault) {
	b := d.b
	key := string(d.scopeName) + "\x00" + string(d.scopeVersion) + "\x00" + string(d.raw.scopeTags) + "\x00" + string(d.raw.scopeTag)
	if i, ok := d.scopes[key]; ok {
		return i, nil
	}
	s := span.Scope{Name: b.AddString(d.scopeName), Version: b.AddString(d.scopeVersion)}
	mark := b.AttrMark()
	if f := d.attrs("scopeTags", d.raw.scopeTags, nil); f != nil {
		return 0, f
	}
	if f := d.tagFields("scopeTag", d.raw.scopeTag, nil); f != nil {
		return 0, f
	}
	s.Attrs = b.AttrsSince(mark)
	i := uint32(len(b.Scopes))
	b.Scopes = append(b.Scopes, s)
	d.scopes[key] = i
	return i, nil
}
