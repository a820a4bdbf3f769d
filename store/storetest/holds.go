package storetest

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Holds evaluates a valid condition tree on a row, straight from the sentences of package store (and of match where those
// leave something open) and without a thought about speed. It is the oracle for every evaluator.
func Holds(b *span.Batch, row int, e store.Expr) bool {
	switch e := e.(type) {
	case nil:
		return true
	case store.And:
		for _, e := range e {
			if !Holds(b, row, e) {
				return false
			}
		}
		return true
	case store.Or:
		for _, e := range e {
			if Holds(b, row, e) {
				return true
			}
		}
		return false
	case store.Not:
		return !Holds(b, row, e.Expr)
	case store.Cond:
		for _, values := range fieldValues(b, row, e.Field) {
			if listHolds(values, e) {
				return true
			}
		}
	}
	return false
}

// opaque stands for a value that exists and equals nothing.
type opaque struct{}

// fieldValues answers the values of a field, by place where it may stand. A value is a string, int64, float64, bool,
// opaque or an []any of an array's elements.
func fieldValues(b *span.Batch, row int, f store.Field) (places [][]any) {
	if f.In == store.Intrinsic {
		return [][]any{intrinsicValues(b, row, f.Key)}
	}
	in := func(s store.FieldScope) bool { return f.In == s || f.In == store.InAny }
	if in(store.InSpan) {
		places = append(places, ownerValue(b, b.SpanAttrs[row], f.Key))
	}
	if in(store.InResource) {
		places = append(places, ownerValue(b, b.Resources[b.Resource[row]].Attrs, f.Key))
	}
	if in(store.InScope) {
		places = append(places, ownerValue(b, b.Scopes[b.Scope[row]].Attrs, f.Key))
	}
	if in(store.InEvent) {
		var values []any
		for _, e := range b.EventsOf(row) {
			values = append(values, ownerValue(b, e.Attrs, f.Key)...)
		}
		places = append(places, values)
	}
	if in(store.InLink) {
		var values []any
		for _, l := range b.LinksOf(row) {
			values = append(values, ownerValue(b, l.Attrs, f.Key)...)
		}
		places = append(places, values)
	}
	return places
}

func ownerValue(b *span.Batch, r span.Range, key string) []any {
	a, ok := b.FindAttr(r, key)
	if !ok {
		return nil
	}
	v := a.Value()
	switch v.Type {
	case span.TypeString:
		return []any{b.String(v.Str())}
	case span.TypeInt:
		return []any{v.Int()}
	case span.TypeDouble:
		return []any{v.Double()}
	case span.TypeBool:
		return []any{v.Bool()}
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools:
		list, _ := elements(b.Bytes(v.Str()))
		return []any{list}
	default:
		return []any{opaque{}}
	}
}

// word is the text of an intrinsic: empty text does not exist but compares as empty.
type word string

func intrinsicValues(b *span.Batch, row int, key string) []any {
	text := func(s span.Str) []any { return []any{word(b.String(s))} }
	scope := b.Scopes[b.Scope[row]]
	switch key {
	case store.FieldService:
		return text(b.Service[row])
	case store.FieldGroup:
		return text(b.Group[row])
	case store.FieldNamespace:
		return text(b.Namespace[row])
	case store.FieldName:
		return text(b.Name[row])
	case store.FieldKind:
		return []any{word(b.Kind[row].String())}
	case store.FieldStatus:
		return []any{word(b.Status[row].String())}
	case store.FieldStatusMessage:
		return text(b.StatusMessage[row])
	case store.FieldDuration:
		return []any{b.Duration(row)}
	case store.FieldError:
		return []any{b.Failed(row)}
	case store.FieldRoot:
		return []any{b.Parent[row].IsZero()}
	case store.FieldSpanID:
		return []any{word(b.SpanID[row].String())}
	case store.FieldParentID:
		if b.Parent[row].IsZero() {
			return []any{word("")}
		}
		return []any{word(b.Parent[row].String())}
	case store.FieldTraceID:
		return []any{word(b.TraceID[row].String())}
	case store.FieldTraceState:
		return text(b.TraceState[row])
	case store.FieldScopeName:
		return text(scope.Name)
	case store.FieldScopeVersion:
		return text(scope.Version)
	case store.FieldEventName:
		var names []any
		for _, e := range b.EventsOf(row) {
			names = append(names, text(e.Name)...)
		}
		return names
	}
	return nil
}

// listHolds is the rule of lists: any, or for Ne and NotRegex all.
func listHolds(values []any, c store.Cond) bool {
	if len(values) == 0 {
		return false
	}
	n := 0
	for _, v := range values {
		if valueHolds(v, c) {
			n++
		}
	}
	if c.Op == store.Ne || c.Op == store.NotRegex {
		return n == len(values)
	}
	return n > 0
}

func valueHolds(v any, c store.Cond) bool {
	if c.Op == store.Exists {
		return v != word("")
	}
	switch v := v.(type) {
	case opaque:
		return false
	case []any:
		return listHolds(v, c)
	case word:
		return valueHolds(string(v), c)
	}
	duration := c.Field == store.Field{In: store.Intrinsic, Key: store.FieldDuration}
	want := c.Value
	if want.Loose {
		n, numeric := readNumber(want.Text, duration)
		if equality := c.Op == store.Eq || c.Op == store.Ne; numeric && (duration || !equality && c.Op != store.Regex && c.Op != store.NotRegex) {
			var got *big.Float
			switch v := v.(type) {
			case string:
				var ok bool
				if got, ok = readNumber(v, false); !ok {
					return false
				}
			default:
				if got = numeral(v); got == nil {
					return v != v && c.Op == store.Ne // NaN
				}
			}
			return ordered(got.Cmp(n), c.Op)
		}
		return textHolds(textForm(v), c)
	}
	switch want.Type {
	case span.TypeString:
		s, ok := v.(string)
		return ok && textHolds(s, c)
	case span.TypeBool:
		x, ok := v.(bool)
		return ok && (x == want.Bool) == (c.Op == store.Eq)
	}
	var right *big.Float
	if want.Type == span.TypeInt {
		right = numeral(want.Int)
	} else {
		right = numeral(want.Num)
	}
	switch v.(type) {
	case int64, float64:
	default:
		return false
	}
	left := numeral(v)
	if left == nil || right == nil {
		return c.Op == store.Ne
	}
	return ordered(left.Cmp(right), c.Op)
}

// numeral is a number without loss; nil for NaN and for what is none.
func numeral(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetPrec(200).SetInt64(v)
	case float64:
		if v == v {
			return new(big.Float).SetPrec(200).SetFloat64(v)
		}
	}
	return nil
}

var decimal = regexp.MustCompile(`^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$`)

func readNumber(s string, duration bool) (*big.Float, bool) {
	if decimal.MatchString(s) {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return numeral(i), true
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return numeral(f), true
		}
		return nil, false
	}
	if duration {
		if d, err := time.ParseDuration(s); err == nil {
			return numeral(int64(d)), true
		}
	}
	return nil, false
}

func textForm(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		if v != 0 && (v < 1e-6 && v > -1e-6 || v >= 1e21 || v <= -1e21) {
			return strconv.FormatFloat(v, 'e', -1, 64)
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	default:
		return v.(string)
	}
}

func textHolds(s string, c store.Cond) bool {
	want := c.Value.Text
	if c.Field.In == store.Intrinsic && (c.Op == store.Eq || c.Op == store.Ne) && want != "" {
		switch c.Field.Key {
		case store.FieldTraceID:
			id, _ := span.ParseTraceID(want)
			want = id.String()
		case store.FieldSpanID, store.FieldParentID:
			id, _ := span.ParseSpanID(want)
			want = id.String()
		}
	}
	if c.Op == store.Regex || c.Op == store.NotRegex {
		return regexp.MustCompile(`\A(?:`+want+`)\z`).MatchString(s) == (c.Op == store.Regex)
	}
	return ordered(strings.Compare(s, want), c.Op)
}

func ordered(cmp int, op store.Op) bool {
	switch op {
	case store.Eq:
		return cmp == 0
	case store.Ne:
		return cmp != 0
	case store.Lt:
		return cmp < 0
	case store.Le:
		return cmp <= 0
	case store.Gt:
		return cmp > 0
	default:
		return cmp >= 0
	}
}
