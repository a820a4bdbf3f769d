// Package dsl writes the part of the query language that Elasticsearch and OpenSearch share, as JSON texts.
package dsl

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// The queries of every document and of none.
const (
	Yes = `{"match_all":{}}`
	No  = `{"match_none":{}}`
)

// Language is how conditions are joined; trees are translated down to depth. Servers refuse more than 20 levels of queries, and each of
// a tree's may become two.
func Language(depth int) answer.Language {
	return answer.Language{
		Yes: Yes, No: No, Depth: depth,
		Negate: func(query string) string { return `{"bool":{"must_not":[` + query + `]}}` },
		And:    func(list []string) string { return `{"bool":{"filter":[` + strings.Join(list, ",") + `]}}` },
		Or:     func(list []string) string { return `{"bool":{"should":[` + strings.Join(list, ",") + `]}}` },
	}
}

// Term is a field that has a value, given in JSON.
func Term(field, value string) string { return `{"term":{"` + field + `":{"value":` + value + `}}}` }

// Terms is a field that has one of some values, given in JSON.
func Terms(field string, values ...string) string {
	return `{"terms":{"` + field + `":[` + strings.Join(values, ",") + `]}}`
}

// Bounds is a range of numbers; op is gt, gte, lt or lte.
func Bounds(field, op string, n int64) string {
	return fmt.Sprintf(`{"range":{"%s":{"%s":%d}}}`, field, op, n)
}

// Texts are the texts of scalars of which one is there wherever a condition holds; not ok if they are not known.
func Texts(c store.Cond) ([]string, bool) {
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

// numberTexts are the texts that a number has which equals v; not ok where there are more than these.
func numberTexts(v float64) ([]string, bool) {
	switch {
	case v != v || math.IsInf(v, 0), v == math.Trunc(v) && math.Abs(v) > 1<<53:
		return nil, false
	case v == 0:
		return []string{"0", "-0"}, true
	}
	b := span.Batch{}
	text, _ := match.AppendText(nil, &b, span.DoubleValue(v))
	return []string{string(text)}, true
}

// RangeOps are the words of Bounds for orders.
var RangeOps = map[store.Op]string{store.Lt: "lt", store.Le: "lte", store.Gt: "gt", store.Ge: "gte"}
