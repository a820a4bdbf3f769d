package jaegerindex

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/opensearch/internal/dsl"
)

// Conditions become queries over the fields that Jaeger maps. Every one lets through all documents that may be an answer: store/match
// judges the spans. What the index does not have cannot be asked for: texts longer than maxIndexed.

const (
	yes = dsl.Yes
	no  = dsl.No
)

// maxNested bounds the depth of trees: a leaf may take five of the 20 levels that servers allow.
const maxNested = 6

// maxIndexed is the longest text, in UTF-16 units, that Jaeger's mappings index (ignore_above). One that is not longer in bytes is not
// longer in units.
const maxIndexed = 256

var queries = dsl.Language(maxNested)

var not, all, anyOf, term, terms, bounds = queries.Not, queries.All, queries.Any, dsl.Term, dsl.Terms, dsl.Bounds

func queryOf(e store.Expr) answer.Condition { return queries.Tree(e, condOf) }

func exists(field string) string { return `{"exists":{"field":` + quote(field) + `}}` }

// nested is a query of the objects of a list. Where an index has no such list, which only some may be without, nothing is found.
func nested(path, query string) string {
	return `{"nested":{"path":"` + path + `","ignore_unmapped":` + strconv.FormatBool(optional[path]) + `,"query":` + query + `}}`
}

// optional are the lists that older versions of Jaeger do not map.
var optional = map[string]bool{"scopeTags": true, "references.tags": true}

// quote writes a text in JSON.
func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // texts can be
	return strings.TrimSuffix(b.String(), "\n")
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = quote(text)
	}
	return out
}

// list is where the tags of an owner stand: in a list of objects and, for --es.tags-as-fields, in an object.
type list struct{ nested, object string }

var lists = map[store.FieldScope]list{
	store.InSpan: {"tags", "tag"}, store.InResource: {"process.tags", "process.tag"}, store.InScope: {"scopeTags", "scopeTag"},
	store.InEvent: {"logs.fields", ""}, store.InLink: {"references.tags", ""},
}

// fields are where a tag stands in the object: with @ for dots, or as it is.
func (l list) fields(key string) []string {
	if l.object == "" || key == "" {
		return nil
	}
	first := l.object + "." + strings.ReplaceAll(key, ".", "@")
	if second := l.object + "." + key; second != first {
		return []string{first, second}
	}
	return []string{first}
}

// has is the query of the documents that have a key.
func (l list) has(key string) string {
	if len(key) > maxIndexed {
		return yes
	}
	parts := []string{nested(l.nested, term(l.nested+".key", quote(key)))}
	for _, field := range l.fields(key) {
		parts = append(parts, exists(field))
	}
	return anyOf(parts...)
}

// is is the query of the documents in which a key has one of some texts, and, where doubles is set, perhaps another text of the same number.
func (l list) is(key string, texts []string, doubles bool) string {
	if len(key) > maxIndexed {
		return yes
	}
	for _, text := range texts {
		if text == "" || len(text) > maxIndexed { // null is not in the index, and long texts are not
			return l.has(key)
		}
	}
	values := terms(l.nested+".value", quoted(texts)...)
	if doubles {
		values = anyOf(values, term(l.nested+".type", `"float64"`))
	}
	parts := []string{nested(l.nested, all(term(l.nested+".key", quote(key)), values))}
	for _, field := range l.fields(key) {
		parts = append(parts, terms(field, quoted(texts)...))
	}
	return anyOf(parts...)
}

func condOf(c store.Cond) answer.Condition {
	if c.Field.In == store.Intrinsic {
		return intrinsicOf(c)
	}
	var owners []string
	for in := store.InSpan; in <= store.InLink; in++ {
		if c.Field.In == in || c.Field.In == store.InAny {
			owners = append(owners, attributeOf(in, c))
		}
	}
	return queries.Maybe(anyOf(owners...))
}

// trueTexts and falseTexts are what reads as a bool.
var (
	trueTexts  = []string{"true", "1", "t", "T", "TRUE", "True"}
	falseTexts = []string{"false", "0", "f", "F", "FALSE", "False"}
)

// attributeOf is a condition on the attributes of one kind of owner.
func attributeOf(in store.FieldScope, c store.Cond) string {
	key := c.Field.Key
	texts, known := dsl.Texts(c)
	switch {
	case in == store.InLink && key == "opentracing.ref_type":
		return nested("references", yes) // made of the reference itself
	case in == store.InResource && key == "service.name":
		// The service of the process, unless tags say otherwise.
		parts := []string{odd}
		if !known || len(texts) != 1 || texts[0] == "" || len(texts[0]) > maxIndexed {
			return anyOf(exists("process.serviceName"), odd)
		}
		return anyOf(append(parts, term("process.serviceName", quote(texts[0])))...)
	case !known:
		return lists[in].has(key)
	}
	_, err := strconv.ParseFloat(texts[0], 64)
	number := err == nil
	for _, text := range texts {
		switch {
		case text == "true":
			texts = trueTexts
		case text == "false":
			texts = falseTexts
		case number:
			// Jaeger writes exponents without the zero in front, and tools between the point.
			texts = append(texts, strings.Replace(strings.Replace(text, "e-0", "e-", 1), "e+0", "e+", 1), text+".0")
		}
	}
	return lists[in].is(key, texts, number)
}

// odd is the query of documents whose service is not simply what stands in process.serviceName: it is missing or too long for the index,
// says nothing, or the tags of the process have one. Spanloom makes a name of the other tags then.
var odd = anyOf(
	not(exists("process.serviceName")),
	term("process.serviceName", `"OTLPResourceNoServiceName"`),
	`{"regexp":{"process.serviceName":{"value":"[ \t\n\r]*"}}}`,
	`{"prefix":{"process.serviceName":{"value":"unknown_service"}}}`,
	lists[store.InResource].has("service.name"),
)

// oddTimes are documents whose duration is not simply what stands there: before 2000, or longer than a century.
var oddTimes = anyOf(not(exists("startTime")), bounds("startTime", "lt", 946684800_000000), bounds("duration", "gt", 3_200_000_000_000_000))

// kinds are the words of a span's kind.
var kinds = []span.Kind{span.KindInternal, span.KindServer, span.KindClient, span.KindProducer, span.KindConsumer}

// kindIs is the query of the documents of a kind, however it is written.
func kindIs(k span.Kind) string {
	word := k.String()
	return lists[store.InSpan].is("span.kind", []string{word, strings.ToUpper(word), strings.ToUpper(word[:1]) + word[1:]}, false)
}

func intrinsicOf(c store.Cond) answer.Condition {
	text, maybe := c.Value.Text, queries.Maybe
	tag := func(keys ...string) string {
		var parts []string
		for _, key := range keys {
			parts = append(parts, lists[store.InSpan].is(key, []string{text}, false))
		}
		return anyOf(parts...)
	}
	equal := c.Op == store.Eq && text != ""
	switch c.Field.Key {
	case store.FieldService:
		short := len(text) <= maxIndexed && text != ""
		is := term("process.serviceName", quote(text))
		switch {
		case c.Op == store.Eq && short:
			return answer.Condition{May: anyOf(is, odd), Must: all(is, not(odd))}
		case c.Op == store.Eq:
			return maybe(odd)
		case c.Op == store.Ne && short:
			return answer.Condition{May: anyOf(not(is), odd), Must: all(not(is), not(odd))}
		}
	case store.FieldName:
		is := term("operationName", quote(text))
		switch {
		case c.Op == store.Eq && (text == "" || len(text) > maxIndexed):
			return maybe(anyOf(is, not(exists("operationName"))))
		case c.Op == store.Eq:
			return answer.Exactly(is)
		case c.Op == store.Ne && text != "" && len(text) <= maxIndexed:
			return answer.Exactly(not(is))
		}
	case store.FieldKind:
		for _, k := range kinds {
			if equal && k.String() == text {
				return maybe(kindIs(k))
			}
		}
	case store.FieldStatus:
		status := func(word string) string {
			return lists[store.InSpan].is("otel.status_code", []string{word}, false)
		}
		switch {
		case equal && text == span.StatusOK.String():
			return maybe(status("OK"))
		case equal && text == span.StatusError.String():
			return maybe(anyOf(status("ERROR"), lists[store.InSpan].is("error", trueTexts, false)))
		}
	case store.FieldError:
		if c.Op == store.Eq && c.Value.Type == span.TypeBool && !c.Value.Loose && c.Value.Bool {
			return maybe(anyOf(lists[store.InSpan].is("otel.status_code", []string{"ERROR"}, false), lists[store.InSpan].has("error")))
		}
	case store.FieldRoot:
		if c.Op == store.Eq && c.Value.Type == span.TypeBool && !c.Value.Loose && c.Value.Bool {
			none := []string{`""`}
			for n := 1; n <= 16; n++ {
				none = append(none, `"`+strings.Repeat("0", n)+`"`)
			}
			return maybe(anyOf(not(exists("parentSpanID")), terms("parentSpanID", none...)))
		}
	case store.FieldStatusMessage:
		if equal {
			return maybe(tag("otel.status_description"))
		}
	case store.FieldTraceState:
		if equal {
			return maybe(tag("w3c.tracestate"))
		}
	case store.FieldScopeName:
		if equal {
			return maybe(tag("otel.scope.name", "otel.library.name"))
		}
	case store.FieldScopeVersion:
		if equal {
			return maybe(tag("otel.scope.version", "otel.library.version"))
		}
	case store.FieldEventName:
		if equal && len(text) <= maxIndexed {
			return maybe(nested("logs.fields", all(term("logs.fields.key", `"event"`), term("logs.fields.value", quote(text)))))
		}
		return maybe(nested("logs", yes))
	case store.FieldTraceID:
		if id, err := span.ParseTraceID(text); err == nil && c.Op == store.Eq {
			return maybe(terms("traceID", traceIDs(id)...))
		}
	case store.FieldSpanID:
		if id, err := span.ParseSpanID(text); err == nil && c.Op == store.Eq {
			return maybe(terms("spanID", spanIDs(id)...))
		}
	case store.FieldParentID:
		if id, err := span.ParseSpanID(text); err == nil && c.Op == store.Eq {
			return maybe(anyOf(terms("parentSpanID", spanIDs(id)...), nested("references", terms("references.spanID", spanIDs(id)...))))
		}
	case store.FieldDuration:
		return maybe(durationOf(c))
	}
	return maybe(yes)
}

// traceIDs are the forms of a trace's id: with all digits, of short ones 16, and, before Jaeger 1.16, without zeros in front.
func traceIDs(id span.TraceID) []string {
	forms := []string{id.String(), strings.TrimLeft(id.String(), "0")}
	if id.High() == 0 {
		forms = append(forms, id.String()[16:])
	}
	return quoted(forms)
}

func spanIDs(id span.SpanID) []string {
	return quoted([]string{id.String(), strings.TrimLeft(id.String(), "0")})
}

// durationOf is a bound of microseconds.
func durationOf(c store.Cond) string {
	v := c.Value
	var want float64 // ns
	switch {
	case v.Loose:
		return yes
	case v.Type == span.TypeInt:
		want = float64(v.Int)
	case v.Type == span.TypeDouble:
		want = v.Num
	default:
		return yes
	}
	if want != want || want < 0 || want > 1<<60 {
		return yes
	}
	low, high := int64(math.Floor(want*(1-1e-12)/1000)), int64(math.Ceil(want*(1+1e-12)/1000))
	query := yes
	switch c.Op {
	case store.Eq:
		query = all(bounds("duration", "gte", low), bounds("duration", "lte", high))
	case store.Lt, store.Le:
		query = bounds("duration", "lte", high)
	case store.Gt, store.Ge:
		return anyOf(bounds("duration", "gte", low), oddTimes)
	}
	return anyOf(query, not(exists("duration")), oddTimes)
}

// maxMicros is the latest start that a span can have.
const maxMicros = math.MaxInt64 / 1000

// longer are how long spans take that began up to so long before a range and reach into it, µs.
var longer = []struct{ before, least int64 }{
	{1_000_000, 0}, {10_000_000, 1_000_000}, {60_000_000, 10_000_000}, {600_000_000, 60_000_000}, {3_600_000_000, 600_000_000},
	{86_400_000_000, 3_600_000_000},
}

// rangeOf is the time condition of a plan. A document has no end: those that began before a range are told by their durations.
func rangeOf(r store.TimeRange, mode store.TimeMode) string {
	last := int64(maxMicros)
	if r.To > 0 {
		last = min(last, (r.To-1)/1000)
	}
	parts := []string{anyOf(bounds("startTime", "lte", last), not(exists("startTime")))}
	if r.To < 0 {
		return no
	}
	if r.From <= 0 {
		return parts[0]
	}
	first := (r.From-1)/1000 + 1
	if mode == store.Start {
		return all(bounds("startTime", "lte", last), bounds("startTime", "gte", first))
	}
	// A span that ends in the microsecond of From may do so after it.
	first--
	began := []string{bounds("startTime", "gte", first), oddTimes}
	to := first
	for _, l := range longer {
		began = append(began, all(fmt.Sprintf(`{"range":{"startTime":{"gte":%d,"lt":%d}}}`, first-l.before, to), bounds("duration", "gte", l.least)))
		to = first - l.before
	}
	began = append(began, all(bounds("startTime", "lt", to), bounds("duration", "gte", longer[len(longer)-1].before)))
	return all(parts[0], anyOf(began...))
}
