package oracle

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// condition is one condition in both languages. The SQL is never null.
type condition struct {
	expr store.Expr
	sql  string
}

// asker makes random questions about the spans it was given.
type asker struct {
	r     *rand.Rand
	spans *span.Batch
}

func (a *asker) row() int { return a.r.IntN(a.spans.Len()) }

func (a *asker) pick(list ...string) string { return list[a.r.IntN(len(list))] }

// condition is a tree of at most depth levels above single conditions.
func (a *asker) condition(depth int) condition {
	if depth > 0 {
		switch a.r.IntN(5) {
		case 0:
			c := a.condition(depth - 1)
			return condition{store.Not{Expr: c.expr}, "(NOT " + c.sql + ")"}
		case 1:
			x, y := a.condition(depth-1), a.condition(depth-1)
			return condition{store.And{x.expr, y.expr}, "(" + x.sql + " AND " + y.sql + ")"}
		case 2:
			x, y := a.condition(depth-1), a.condition(depth-1)
			return condition{store.Or{x.expr, y.expr}, "(" + x.sql + " OR " + y.sql + ")"}
		}
	}
	switch a.r.IntN(3) {
	case 0:
		return a.text()
	case 1:
		return a.plain()
	default:
		return a.attribute()
	}
}

func own(key string, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
}

// text is a condition on an intrinsic text.
func (a *asker) text() condition {
	b, row := a.spans, a.row()
	var key, column, value string
	switch a.r.IntN(6) {
	case 0:
		key, column, value = store.FieldService, "service", b.String(b.Service[row])
	case 1:
		key, column, value = store.FieldName, "name", b.String(b.Name[row])
	case 2:
		key, column, value = store.FieldKind, "kind", b.Kind[row].String()
	case 3:
		key, column, value = store.FieldStatus, "status", b.Status[row].String()
	case 4:
		key, column, value = store.FieldNamespace, "namespace", b.String(b.Namespace[row])
	default:
		key, column, value = store.FieldGroup, "workload_group", b.String(b.Group[row])
	}
	op, operand, sql := a.compareText(column, value)
	return condition{own(key, op, operand), sql}
}

// compareText compares a text that is there with one near it.
func (a *asker) compareText(column, value string) (store.Op, store.Operand, string) {
	half := value[:len(value)/2]
	for len(half) > 0 && half[len(half)-1] >= 0x80 {
		half = half[:len(half)-1]
	}
	pattern := a.pick(regexp.QuoteMeta(half)+".*", ".*"+regexp.QuoteMeta(value), "[a-m].*", regexp.QuoteMeta(half), "(GET|"+regexp.QuoteMeta(value)+")")
	switch a.r.IntN(4) {
	case 0:
		return store.Eq, store.Text(value), fmt.Sprintf("(%s = %s)", column, quote(value))
	case 1:
		return store.Ne, store.Text(value), fmt.Sprintf("(%s <> %s)", column, quote(value))
	case 2:
		return store.Regex, store.Text(pattern), fmt.Sprintf("regexp_full_match(%s, %s)", column, quote(pattern))
	default:
		return store.NotRegex, store.Text(pattern), fmt.Sprintf("(NOT regexp_full_match(%s, %s))", column, quote(pattern))
	}
}

// plain is a condition on durations, errors, roots and ids.
func (a *asker) plain() condition {
	b, row := a.spans, a.row()
	switch a.r.IntN(5) {
	case 0, 1:
		op := []store.Op{store.Gt, store.Ge, store.Lt, store.Le}[a.r.IntN(4)]
		return condition{own(store.FieldDuration, op, store.Int(b.Duration(row))), fmt.Sprintf("(duration_ns %s %d)", sqlOp[op], b.Duration(row))}
	case 2:
		v := a.r.IntN(2) == 0
		return condition{own(store.FieldError, store.Eq, store.Bool(v)), fmt.Sprintf("(failed = %t)", v)}
	case 3:
		v := a.r.IntN(2) == 0
		return condition{own(store.FieldRoot, store.Eq, store.Bool(v)), fmt.Sprintf("((parent_span_id IS NULL) = %t)", v)}
	default:
		return condition{own(store.FieldSpanID, store.Eq, store.Text(b.SpanID[row].String())), fmt.Sprintf("(span_id = %s)", quote(b.SpanID[row].String()))}
	}
}

var sqlOp = map[store.Op]string{store.Eq: "=", store.Ne: "<>", store.Gt: ">", store.Ge: ">=", store.Lt: "<", store.Le: "<="}

// attribute is a condition on an attribute that some span has.
func (a *asker) attribute() condition {
	in := []store.FieldScope{store.InSpan, store.InSpan, store.InSpan, store.InResource, store.InScope, store.InEvent}[a.r.IntN(6)]
	b := a.spans
	for range 50 {
		row := a.row()
		r, column := b.SpanAttrs[row], "attributes"
		switch in {
		case store.InResource:
			r, column = b.Resources[b.Resource[row]].Attrs, "resource.attributes"
		case store.InScope:
			r, column = b.Scopes[b.Scope[row]].Attrs, "scope.attributes"
		case store.InEvent:
			if len(b.EventsOf(row)) > 0 {
				r = b.EventsOf(row)[0].Attrs
			} else {
				r = span.Range{}
			}
		}
		if r.Len == 0 {
			continue
		}
		at := b.AttrsOf(r)[a.r.IntN(int(r.Len))]
		key := string(b.Key(at))
		f := store.Field{In: in, Key: key}
		if in == store.InEvent { // equality holds if one event has it
			op, operand, sql := a.compareValue(at, fmt.Sprintf("scalar(e.attributes, %s)", quote(key)), true)
			return condition{store.Cond{Field: f, Op: op, Value: operand}, fmt.Sprintf("(len(list_filter(events, lambda e: coalesce(%s, false))) > 0)", sql)}
		}
		op, operand, sql := a.compareValue(at, fmt.Sprintf("scalar(%s, %s)", column, quote(key)), false)
		return condition{store.Cond{Field: f, Op: op, Value: operand}, "coalesce(" + sql + ", false)"}
	}
	return a.text()
}

// compareValue compares the attribute that sql names with a value like the one of at. positive leaves out the operators that
// hold for all elements of a list.
func (a *asker) compareValue(at span.Attr, sql string, positive bool) (store.Op, store.Operand, string) {
	b := a.spans
	if a.r.IntN(6) == 0 {
		return store.Exists, store.Operand{}, fmt.Sprintf("(%s IS NOT NULL)", sql)
	}
	orders := []store.Op{store.Eq, store.Gt, store.Ge, store.Lt, store.Le, store.Ne}
	if positive {
		orders = orders[:1]
	}
	op := orders[a.r.IntN(len(orders))]
	number := func(value string) string {
		one := sqlOp[op] + " " + value
		list := fmt.Sprintf("len(list_filter(elements(%s), lambda x: x::BIGINT %s)) > 0", sql, one)
		if op == store.Ne { // for all elements
			list = fmt.Sprintf("(len(elements(%[1]s)) > 0 AND len(list_filter(elements(%[1]s), lambda x: x::BIGINT = %[2]s)) = 0)", sql, value)
		}
		return fmt.Sprintf("CASE %[1]s.type WHEN 'int' THEN %[1]s.int %[2]s WHEN 'double' THEN %[1]s.double %[2]s WHEN 'ints' THEN %[3]s END", sql, one, list)
	}
	switch v := at.Value(); at.Type {
	case span.TypeInt:
		return op, store.Int(v.Int()), number(strconv.FormatInt(v.Int(), 10))
	case span.TypeDouble:
		return op, store.Num(v.Double()), number(strconv.FormatFloat(v.Double(), 'f', -1, 64) + "::DOUBLE")
	case span.TypeBool:
		if op != store.Ne {
			op = store.Eq
		}
		return op, store.Bool(v.Bool()), fmt.Sprintf("CASE %[1]s.type WHEN 'bool' THEN %[1]s.bool %[2]s %[3]t END", sql, sqlOp[op], v.Bool())
	case span.TypeStrings:
		return a.compareList(at, sql, positive)
	case span.TypeString:
		value := b.String(v.Str())
		column := sql + `."string"`
		op, operand, compared := a.compareText(column, value)
		if positive {
			op, operand, compared = store.Eq, store.Text(value), fmt.Sprintf("(%s = %s)", column, quote(value))
		}
		// The key may hold lists elsewhere.
		list := listCondition(op, operand.Text, sql)
		return op, operand, fmt.Sprintf("CASE %s.type WHEN 'string' THEN %s WHEN 'strings' THEN %s END", sql, compared, list)
	default:
		return store.Exists, store.Operand{}, fmt.Sprintf("(%s IS NOT NULL)", sql)
	}
}

// compareList asks for an element of an array of texts.
func (a *asker) compareList(at span.Attr, sql string, positive bool) (store.Op, store.Operand, string) {
	value := "x"
	if elements := a.spans.Elements(at.Value()); true {
		if e, ok := elements.Next(); ok {
			value = a.spans.String(e.Str())
		}
	}
	op := store.Eq
	if !positive && a.r.IntN(2) == 0 {
		op = store.Ne
	}
	text := fmt.Sprintf(`%s."string" %s %s`, sql, sqlOp[op], quote(value))
	return op, store.Text(value), fmt.Sprintf("CASE %s.type WHEN 'string' THEN %s WHEN 'strings' THEN %s END", sql, text, listCondition(op, value, sql))
}

// listCondition: any element for Eq and Regex, all of at least one for the others.
func listCondition(op store.Op, value, sql string) string {
	one := "(x = " + quote(value) + ")"
	if op == store.Regex || op == store.NotRegex {
		one = "regexp_full_match(x, " + quote(value) + ")"
	}
	has := fmt.Sprintf("len(list_filter(elements(%s), lambda x: %s)) > 0", sql, one)
	if op == store.Ne || op == store.NotRegex {
		return fmt.Sprintf("(len(elements(%s)) > 0 AND NOT (%s))", sql, has)
	}
	return "(" + has + ")"
}

// window is a time range in both languages.
func (a *asker) window(mode store.TimeMode) (store.TimeRange, string) {
	var tr store.TimeRange
	from, to := a.spans.Time[a.row()], a.spans.Time[a.row()]
	var sql []string
	begin := "time_unix_nano"
	if mode == store.Overlap {
		begin = "time_unix_nano + duration_ns"
	}
	if a.r.IntN(2) == 0 {
		tr.From = min(from, to)
		sql = append(sql, fmt.Sprintf("%s >= %d", begin, tr.From))
	}
	if a.r.IntN(2) == 0 {
		tr.To = max(from, to) + 1
		sql = append(sql, fmt.Sprintf("time_unix_nano < %d", tr.To))
	}
	if len(sql) == 0 {
		return tr, "true"
	}
	return tr, "(" + strings.Join(sql, " AND ") + ")"
}
