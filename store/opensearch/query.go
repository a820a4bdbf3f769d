package opensearch

import (
	"fmt"
	"math"
	"strconv"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/opensearch/internal/dsl"
)

const (
	yes = dsl.Yes
	no  = dsl.No
)

// maxNested bounds the depth of a query: servers refuse more than 20 levels, and each of ours may become two.
const maxNested = 8

// queries is the language of queries in JSON. Where a condition is exact the server may count by itself.
var queries = dsl.Language(maxNested)

var not, all, anyOf, term, terms, bounds = queries.Not, queries.All, queries.Any, dsl.Term, dsl.Terms, dsl.Bounds

func queryOf(e store.Expr) answer.Condition { return queries.Tree(e, condOf) }

// word is a text as it stands in an index, in JSON.
func word(text string) string { return `"` + string(appendWord(nil, []byte(text))) + `"` }

func condOf(c store.Cond) answer.Condition {
	if c.Field.In == store.Intrinsic {
		return intrinsicOf(c)
	}
	var owners []answer.Condition
	for in := store.InSpan; in <= store.InLink; in++ {
		if c.Field.In == in || c.Field.In == store.InAny {
			owners = append(owners, attributeOf(ownerLetters[in], c))
		}
	}
	return queries.AnyOf(owners...)
}

// attributeOf is a condition on the attributes of one kind of owner. Any of several occurrences will do, though the last one decides.
func attributeOf(letter byte, c store.Cond) answer.Condition {
	var words []string
	for t := range span.NumTypes {
		words = append(words, `"`+string(appendKey(nil, letter, t, []byte(c.Field.Key)))+`"`)
	}
	has := terms("keys", words...)
	if c.Op == store.Exists {
		return answer.Exactly(has)
	}
	texts, ok := dsl.Texts(c)
	if !ok {
		if field := numbered[c.Field.Key]; field != "" && letter == ownerLetters[store.InSpan] {
			return queries.Maybe(all(has, numberBounds(field, c)))
		}
		return queries.Maybe(has)
	}
	words = nil
	for _, text := range texts {
		words = append(words, `"`+string(appendValue(nil, letter, []byte(c.Field.Key), []byte(text)))+`"`)
	}
	return queries.Maybe(terms("attrs", words...))
}

// numberBounds is the query of spans of whose numbers one may meet an order: with a margin for what doubles lose.
func numberBounds(field string, c store.Cond) string {
	v, op := c.Value, dsl.RangeOps[c.Op]
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

func intrinsicOf(c store.Cond) answer.Condition {
	key, v := c.Field.Key, c.Value
	is := func(query string) answer.Condition {
		switch c.Op {
		case store.Eq:
			return answer.Exactly(query)
		case store.Ne:
			return answer.Exactly(not(query))
		default:
			return queries.Maybe(yes)
		}
	}
	if field, ok := textFields[key]; ok {
		if c.Op == store.Exists {
			return answer.Exactly(not(term(field, `""`)))
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
			return answer.Exactly(yes)
		}
		if v.Loose || v.Type != span.TypeBool {
			return queries.Maybe(yes)
		}
		if v.Bool == (c.Op == store.Eq) {
			return answer.Exactly(query)
		}
		return answer.Exactly(not(query))
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
			return answer.Exactly(all(not(term(field, `""`)), not(term(field, word(span.SpanID{}.String())))))
		}
		if v.Text == "" {
			return is(anyOf(term(field, `""`), term(field, word(span.SpanID{}.String()))))
		}
		if id, err := span.ParseSpanID(v.Text); err == nil {
			return is(term(field, word(id.String())))
		}
	case store.FieldEventName:
		if c.Op == store.Eq {
			return queries.Maybe(term("events", word(v.Text)))
		}
		return queries.Maybe(`{"exists":{"field":"events"}}`)
	}
	return queries.Maybe(yes)
}

// wordsOf is a condition on kind or status, judged once per number; words are those of numbers from 0, the last stands for all above.
func wordsOf(c store.Cond, field string, n int, text func(int) string) answer.Condition {
	if c.Op == store.Exists {
		return answer.Exactly(yes)
	}
	if c.Op != store.Eq && c.Op != store.Ne {
		return queries.Maybe(yes)
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
		return answer.Exactly(not(anyOf(is...)))
	}
	return answer.Exactly(anyOf(is...))
}

func durationOf(c store.Cond) answer.Condition {
	if c.Op == store.Exists {
		return answer.Exactly(yes)
	}
	v, op := c.Value, dsl.RangeOps[c.Op]
	switch {
	case v.Loose:
	case v.Type == span.TypeInt:
		switch {
		case c.Op == store.Eq:
			return answer.Exactly(term("duration", strconv.FormatInt(v.Int, 10)))
		case c.Op == store.Ne:
			return answer.Exactly(not(term("duration", strconv.FormatInt(v.Int, 10))))
		case op != "":
			return answer.Exactly(bounds("duration", op, v.Int))
		}
	case v.Type == span.TypeDouble && v.Num >= 0 && v.Num < 1<<53:
		low, high := int64(math.Floor(v.Num)), int64(math.Ceil(v.Num))
		switch c.Op {
		case store.Eq:
			return queries.Maybe(all(bounds("duration", "gte", low), bounds("duration", "lte", high)))
		case store.Lt, store.Le:
			return queries.Maybe(bounds("duration", "lte", high))
		case store.Gt, store.Ge:
			return queries.Maybe(bounds("duration", "gte", low))
		}
	}
	return queries.Maybe(yes)
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
