package opensearch

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// A condition tree becomes two queries in JSON: one that finds every document on which the tree holds, and maybe others, and one that finds
// only such on which it does. What lies between is judged by store/match on the spans, the code that judges them everywhere.
// Where both are the same text the tree is exact, and the server may count by itself.
//
// The tree must have been compiled by store/match before: what is not valid is not looked at again here.
type condition struct{ may, must string }

const (
	yes = `{"match_all":{}}`
	no  = `{"match_none":{}}`
)

// maxNested bounds the depth of a query: servers refuse more than 20 levels, and each of ours may become two.
const maxNested = 8

func (c condition) exact() bool { return c.may == c.must }

func exactly(query string) condition { return condition{query, query} }

// queryOf translates a tree; nil holds always.
func queryOf(e store.Expr, depth int) condition {
	if depth > maxNested {
		return condition{yes, no}
	}
	var may, must []string
	kids := func(list []store.Expr) {
		for _, k := range list {
			c := queryOf(k, depth+1)
			may, must = append(may, c.may), append(must, c.must)
		}
	}
	switch e := e.(type) {
	case store.And:
		kids(e)
		return condition{all(may...), all(must...)}
	case store.Or:
		kids(e)
		return condition{anyOf(may...), anyOf(must...)}
	case store.Not:
		c := queryOf(e.Expr, depth+1)
		return condition{not(c.must), not(c.may)}
	case store.Cond:
		return condOf(e)
	default:
		return exactly(yes)
	}
}

func not(query string) string {
	switch query {
	case yes:
		return no
	case no:
		return yes
	default:
		return `{"bool":{"must_not":[` + query + `]}}`
	}
}

func all(queries ...string) string   { return join(queries, "filter", yes, no) }
func anyOf(queries ...string) string { return join(queries, "should", no, yes) }

// join connects queries. unit leaves the answer to the others, zero decides it.
func join(queries []string, how, unit, zero string) string {
	var left []string
	for _, q := range queries {
		switch q {
		case unit:
		case zero:
			return zero
		default:
			left = append(left, q)
		}
	}
	switch len(left) {
	case 0:
		return unit
	case 1:
		return left[0]
	default:
		return `{"bool":{"` + how + `":[` + strings.Join(left, ",") + `]}}`
	}
}

// word is a text as it stands in an index, in JSON.
func word(text string) string { return `"` + string(appendWord(nil, []byte(text))) + `"` }

func term(field, word string) string { return `{"term":{"` + field + `":{"value":` + word + `}}}` }

func terms(field string, words ...string) string {
	return `{"terms":{"` + field + `":[` + strings.Join(words, ",") + `]}}`
}

// bounds is a range of numbers; op is gt, gte, lt or lte.
func bounds(field, op string, n int64) string {
	return fmt.Sprintf(`{"range":{"%s":{"%s":%d}}}`, field, op, n)
}

func condOf(c store.Cond) condition {
	if c.Field.In == store.Intrinsic {
		return intrinsicOf(c)
	}
	var may, must []string
	for in := store.InSpan; in <= store.InLink; in++ {
		if c.Field.In == in || c.Field.In == store.InAny {
			k := attributeOf(ownerLetters[in], c)
			may, must = append(may, k.may), append(must, k.must)
		}
	}
	return condition{anyOf(may...), anyOf(must...)}
}

// attributeOf is a condition on the attributes of one kind of owner. Any of several occurrences will do, though the last one decides.
func attributeOf(letter byte, c store.Cond) condition {
	var words []string
	for t := range span.NumTypes {
		words = append(words, `"`+string(appendKey(nil, letter, t, []byte(c.Field.Key)))+`"`)
	}
	has := terms("keys", words...)
	if c.Op == store.Exists {
		return exactly(has)
	}
	texts, ok := textsOf(c)
	if !ok {
		if field := numbered[c.Field.Key]; field != "" && letter == ownerLetters[store.InSpan] {
			return condition{all(has, numberBounds(field, c)), no}
		}
		return condition{has, no}
	}
	words = nil
	for _, text := range texts {
		words = append(words, `"`+string(appendValue(nil, letter, []byte(c.Field.Key), []byte(text)))+`"`)
	}
	return condition{terms("attrs", words...), no}
}

// textsOf are the texts of scalars of which one is there wherever the condition holds; not ok if they are not known.
func textsOf(c store.Cond) ([]string, bool) {
	v := c.Value
	switch {
	case v.Type == span.TypeBool && !v.Loose && (c.Op == store.Eq || c.Op == store.Ne):
		return []string{strconv.FormatBool(v.Bool == (c.Op == store.Eq))}, true
	case c.Op != store.Eq:
		return nil, false
	case v.Loose, v.Type == span.TypeString:
		return []string{v.Text}, true
	case v.Type == span.TypeInt && v.Int <= 1<<53 && v.Int >= -1<<53:
		return numberTexts(float64(v.Int))
	case v.Type == span.TypeDouble:
		return numberTexts(v.Num)
	}
	return nil, false
}

// numberBounds is the query of spans of whose numbers one may meet an order: with a margin for what doubles lose.
func numberBounds(field string, c store.Cond) string {
	v, op := c.Value, rangeOps[c.Op]
	want := v.Num
	switch {
	case op == "":
		return yes
	case v.Loose:
		var err error
		if want, err = strconv.ParseFloat(v.Text, 64); err != nil {
			return yes // texts are compared
		}
	case v.Type == span.TypeInt:
		want = float64(v.Int)
	case v.Type != span.TypeDouble:
		return yes
	}
	if want != want || math.Abs(want) > 1e300 {
		return yes
	}
	margin := math.Abs(want) * 1e-12
	if c.Op == store.Lt || c.Op == store.Le {
		return fmt.Sprintf(`{"range":{"%s":{"lte":%s}}}`, field, strconv.FormatFloat(want+margin, 'g', -1, 64))
	}
	return fmt.Sprintf(`{"range":{"%s":{"gte":%s}}}`, field, strconv.FormatFloat(want-margin, 'g', -1, 64))
}

// textFields are the intrinsic fields that are a word.
var textFields = map[string]string{
	store.FieldService: "service", store.FieldGroup: "group", store.FieldNamespace: "namespace", store.FieldName: "name",
	store.FieldStatusMessage: "message", store.FieldTraceState: "traceState", store.FieldScopeName: "scopeName", store.FieldScopeVersion: "scopeVersion",
}

func intrinsicOf(c store.Cond) condition {
	key, v := c.Field.Key, c.Value
	is := func(query string) condition {
		switch c.Op {
		case store.Eq:
			return exactly(query)
		case store.Ne:
			return exactly(not(query))
		default:
			return condition{yes, no}
		}
	}
	if field, ok := textFields[key]; ok {
		if c.Op == store.Exists {
			return exactly(not(term(field, `""`)))
		}
		return is(term(field, word(v.Text)))
	}
	switch key {
	case store.FieldKind:
		return wordsOf(c, "kind", int(span.KindConsumer)+1, func(n int) string { return span.Kind(n).String() })
	case store.FieldStatus:
		return wordsOf(c, "status", int(span.StatusError)+1, func(n int) string { return span.Status(n).String() })
	case store.FieldError, store.FieldRoot:
		query := term("failed", "true")
		if key == store.FieldRoot {
			query = term("parent", `""`)
		}
		if c.Op == store.Exists {
			return exactly(yes)
		}
		if v.Loose || v.Type != span.TypeBool {
			return condition{yes, no}
		}
		if v.Bool == (c.Op == store.Eq) {
			return exactly(query)
		}
		return exactly(not(query))
	case store.FieldDuration:
		return durationOf(c)
	case store.FieldTraceID:
		if id, err := span.ParseTraceID(v.Text); err == nil {
			return is(term("trace", word(id.String())))
		}
	case store.FieldSpanID, store.FieldParentID:
		field := "span"
		if key == store.FieldParentID {
			field = "parent"
		}
		if c.Op == store.Exists {
			return exactly(all(not(term(field, `""`)), not(term(field, word(span.SpanID{}.String())))))
		}
		if v.Text == "" {
			return is(anyOf(term(field, `""`), term(field, word(span.SpanID{}.String()))))
		}
		if id, err := span.ParseSpanID(v.Text); err == nil {
			return is(term(field, word(id.String())))
		}
	case store.FieldEventName:
		if c.Op == store.Eq {
			return condition{term("events", word(v.Text)), no}
		}
		return condition{`{"exists":{"field":"events"}}`, no}
	}
	return condition{yes, no}
}

// wordsOf is a condition on kind or status, judged once per number; words are those of numbers from 0, the last stands for all above.
func wordsOf(c store.Cond, field string, n int, text func(int) string) condition {
	if c.Op == store.Exists {
		return exactly(yes)
	}
	if c.Op != store.Eq && c.Op != store.Ne {
		return condition{yes, no}
	}
	is := []string{no}
	for i := range n {
		if text(i) == c.Value.Text {
			is = append(is, term(field, strconv.Itoa(i)))
		}
	}
	if text(n) == c.Value.Text {
		is = append(is, bounds(field, "gte", int64(n)))
	}
	if c.Op == store.Ne {
		return exactly(not(anyOf(is...)))
	}
	return exactly(anyOf(is...))
}

var rangeOps = map[store.Op]string{store.Lt: "lt", store.Le: "lte", store.Gt: "gt", store.Ge: "gte"}

func durationOf(c store.Cond) condition {
	if c.Op == store.Exists {
		return exactly(yes)
	}
	v, op := c.Value, rangeOps[c.Op]
	switch {
	case v.Loose:
	case v.Type == span.TypeInt:
		switch {
		case c.Op == store.Eq:
			return exactly(term("duration", strconv.FormatInt(v.Int, 10)))
		case c.Op == store.Ne:
			return exactly(not(term("duration", strconv.FormatInt(v.Int, 10))))
		case op != "":
			return exactly(bounds("duration", op, v.Int))
		}
	case v.Type == span.TypeDouble && v.Num >= 0 && v.Num < 1<<53:
		low, high := int64(math.Floor(v.Num)), int64(math.Ceil(v.Num))
		switch c.Op {
		case store.Eq:
			return condition{all(bounds("duration", "gte", low), bounds("duration", "lte", high)), no}
		case store.Lt, store.Le:
			return condition{bounds("duration", "lte", high), no}
		case store.Gt, store.Ge:
			return condition{bounds("duration", "gte", low), no}
		}
	}
	return condition{yes, no}
}

// rangeOf is the time condition of a plan.
func rangeOf(r store.TimeRange, mode store.TimeMode) string {
	var parts []string
	if r.To != 0 {
		parts = append(parts, bounds("at", "lt", r.To))
	}
	if r.From != 0 {
		field := "at"
		if mode == store.Overlap {
			field = "end"
		}
		parts = append(parts, bounds(field, "gte", r.From))
	}
	return all(parts...)
}
