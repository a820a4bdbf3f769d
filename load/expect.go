package load

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"

	"github.com/spanloom/spanloom/span"
)

// facts is everything a span carries in a form that can be compared: field name -> text. Attributes are fields of their
// own ("attribute http.url"), so that a difference names what differs.
type facts map[string]string

// spanFacts are the facts of all spans of a trace by span id. An id that came twice has the further ones under the id with
// "#2", "#3" ... behind it.
type spanFacts map[string]facts

func (s spanFacts) add(id string, f facts) {
	key := id
	for n := 2; s[key] != nil; n++ {
		key = fmt.Sprintf("%s#%d", id, n)
	}
	s[key] = f
}

// put adds a fact; a second value under the same name is kept beside the first, so that doubled attributes show.
func (f facts) put(name, value string) {
	if old, ok := f[name]; ok {
		value = old + " and again " + value
	}
	f[name] = value
}

func micros(ns uint64) string { return strconv.FormatUint(ns/1000, 10) }

// expectOwn is what the own API must answer for the rows of a batch.
func expectOwn(b *span.Batch) spanFacts {
	all := spanFacts{}
	for i := range b.Len() {
		f := facts{
			"name": b.String(b.Name[i]), "kind": b.Kind[i].String(), "status": b.Status[i].String(),
			"service": b.String(b.Service[i]), "start": strconv.FormatUint(b.Start[i], 10), "end": strconv.FormatUint(b.End[i], 10),
			"duration": strconv.FormatInt(b.Duration(i), 10),
		}
		putText(f, "parent", idText(b.Parent[i]))
		putText(f, "status message", b.String(b.StatusMessage[i]))
		putText(f, "trace state", b.String(b.TraceState[i]))
		if b.Flags[i] != 0 {
			f.put("flags", strconv.FormatUint(uint64(b.Flags[i]), 10))
		}
		scope := b.Scopes[b.Scope[i]]
		putText(f, "scope name", b.String(scope.Name))
		putText(f, "scope version", b.String(scope.Version))
		putAttrs(f, "attribute ", b, b.SpanAttrs[i])
		putAttrs(f, "resource ", b, b.Resources[b.Resource[i]].Attrs)
		for n, e := range b.EventsOf(i) {
			f.put(fmt.Sprintf("event %d", n), fmt.Sprintf("%s at %d", b.Bytes(e.Name), e.Time))
		}
		all.add(b.SpanID[i].String(), f)
	}
	return all
}

// expectJaeger is what the Jaeger dialect must answer: times in microseconds, kind, status and scope as tags.
func expectJaeger(b *span.Batch) spanFacts {
	all := spanFacts{}
	for i := range b.Len() {
		resource := b.Resources[b.Resource[i]].Attrs
		f := facts{
			"name": b.String(b.Name[i]), "service": string(b.FindString(resource, "service.name")),
			"start": micros(b.Start[i]), "duration": strconv.FormatInt(b.Duration(i)/1000, 10),
		}
		if !b.Parent[i].IsZero() {
			f.put("reference", "CHILD_OF "+b.TraceID[i].String()+" "+b.Parent[i].String())
		}
		for _, a := range b.AttrsOf(b.SpanAttrs[i]) {
			if key := string(b.Key(a)); key != "error" && key != "span.kind" {
				f.put("tag "+key, attrText(b, a.Value()))
			}
		}
		if b.Kind[i] != span.KindUnspecified {
			f.put("tag span.kind", quoted(b.Kind[i].String()))
		}
		if b.Failed(i) {
			f.put("tag error", "true")
		}
		switch b.Status[i] {
		case span.StatusError:
			f.put("tag otel.status_code", quoted("ERROR"))
		case span.StatusOK:
			f.put("tag otel.status_code", quoted("OK"))
		}
		scope := b.Scopes[b.Scope[i]]
		if scope.Name.Len > 0 {
			f.put("tag otel.scope.name", quoted(b.String(scope.Name)))
		}
		if scope.Version.Len > 0 {
			f.put("tag otel.scope.version", quoted(b.String(scope.Version)))
		}
		for _, a := range b.AttrsOf(resource) {
			if key := string(b.Key(a)); key != "service.name" {
				f.put("process tag "+key, attrText(b, a.Value()))
			}
		}
		for n, e := range b.EventsOf(i) {
			f.put(fmt.Sprintf("log %d", n), fmt.Sprintf("%s event=%s", micros(e.Time), quoted(b.String(e.Name))))
		}
		all.add(b.SpanID[i].String(), f)
	}
	return all
}

func putText(f facts, name, value string) {
	if value != "" {
		f.put(name, value)
	}
}

func putAttrs(f facts, prefix string, b *span.Batch, r span.Range) {
	for _, a := range b.AttrsOf(r) {
		f.put(prefix+string(b.Key(a)), attrText(b, a.Value()))
	}
}

func idText(id span.SpanID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// attrText is a value with its type visible: strings quoted, numbers and booleans bare.
func attrText(b *span.Batch, v span.Value) string {
	switch v.Type {
	case span.TypeString:
		return quoted(string(b.Bytes(v.Str())))
	case span.TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case span.TypeDouble:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case span.TypeBool:
		return strconv.FormatBool(v.Bool())
	default:
		return fmt.Sprintf("type %d", v.Type)
	}
}

func quoted(s string) string {
	p, err := json.Marshal(s)
	if err != nil { // a string always marshals
		return strconv.Quote(s)
	}
	return string(p)
}

// Difference is one way in which a span is not what was sent. Want or Got is empty where the field, or the whole span, is
// missing on that side.
type Difference struct {
	Trace uint64 `json:"trace"` // number
	ID    string `json:"traceId"`
	API   string `json:"api"` // own, jaeger
	Span  string `json:"spanId,omitempty"`
	Field string `json:"field"`
	Want  string `json:"want,omitempty"`
	Got   string `json:"got,omitempty"`
}

// Kinds of difference that are counted apart; every other field is a difference within a span.
const (
	fieldMissing = "missing span"
	fieldExtra   = "span nobody sent"
	fieldDouble  = "span twice"
)

func (d Difference) String() string {
	text := fmt.Sprintf("%s API, trace %d (%s)", d.API, d.Trace, d.ID)
	if d.Span != "" {
		text += " span " + d.Span
	}
	text += ": " + d.Field
	switch {
	case d.Want == "" && d.Got == "":
		return text
	case d.Want == "":
		return text + ": unexpected " + d.Got
	case d.Got == "":
		return text + ": missing " + d.Want
	default:
		return text + ": want " + d.Want + ", got " + d.Got
	}
}

// compare lists every difference between what was sent and what an API answered, by span id and field.
func compare(want, got spanFacts) (list []Difference) {
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			list = append(list, Difference{Span: id, Field: fieldMissing, Want: w["name"]})
			continue
		}
		for name, value := range w {
			if g[name] != value {
				list = append(list, Difference{Span: id, Field: name, Want: value, Got: g[name]})
			}
		}
		for name, value := range g {
			if _, ok := w[name]; !ok {
				list = append(list, Difference{Span: id, Field: name, Got: value})
			}
		}
	}
	for id, g := range got {
		if _, ok := want[id]; ok {
			continue
		}
		field := fieldExtra
		if len(id) > 16 { // its id with "#2" behind
			field = fieldDouble
		}
		list = append(list, Difference{Span: id, Field: field, Got: g["name"]})
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if a.Span != b.Span {
			return a.Span < b.Span
		}
		return a.Field < b.Field
	})
	return list
}
