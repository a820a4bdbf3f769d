package clickhouse

import (
	"fmt"
	"math"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

const (
	yes = "1"
	no  = "0"
)

// texts is the language of conditions in SQL. Where a condition is exact ClickHouse may count by itself.
var texts = answer.Language{
	Yes: yes, No: no,
	Negate: func(sql string) string { return "NOT " + sql },
	And:    func(list []string) string { return "(" + strings.Join(list, " AND ") + ")" },
	Or:     func(list []string) string { return "(" + strings.Join(list, " OR ") + ")" },
}

// sqlOf is the condition of the rows of a layout that an expression lets through.
func sqlOf(l layout, e store.Expr) answer.Condition {
	return texts.Tree(e, func(c store.Cond) answer.Condition { return condOf(l, c) })
}

// quote writes any bytes as a string literal.
func quote(s string) string {
	var w strings.Builder
	w.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			w.WriteByte('\\')
			w.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&w, `\x%02X`, c)
		default:
			w.WriteByte(c)
		}
	}
	w.WriteByte('\'')
	return w.String()
}

func condOf(l layout, c store.Cond) answer.Condition {
	if c.Field.In == store.Intrinsic {
		return intrinsicOf(l, c)
	}
	var owners []answer.Condition
	for _, a := range attributeColumns {
		if c.Field.In == a.in || c.Field.In == store.InAny {
			owners = append(owners, l.attribute(a, c))
		}
	}
	return texts.AnyOf(owners...)
}

// attributeColumn is an owner of attributes in SQL.
type attributeColumn struct {
	in     store.FieldScope
	prefix string
}

var attributeColumns = [...]attributeColumn{{store.InSpan, "Span"}, {store.InResource, "Resource"}, {store.InScope, "Scope"},
	{store.InEvent, "Event"}, {store.InLink, "Link"}}

// valueTest is a test of the text of a scalar that holds wherever the condition does; nil if there is none that leaves anything out.
func valueTest(c store.Cond) func(column string) string {
	v := c.Value
	text := v.Type == span.TypeString || v.Loose
	switch c.Op {
	case store.Eq:
		if text {
			return func(column string) string { return column + " = " + quote(v.Text) }
		}
	case store.Regex, store.NotRegex:
		return regexTest(c.Op, v.Text)
	case store.Lt, store.Le, store.Gt, store.Ge:
		if text && !v.Loose {
			return func(column string) string {
				return column + " " + operators[c.Op] + " " + quote(v.Text)
			}
		}
	}
	switch {
	case v.Type == span.TypeBool && !v.Loose:
		want := strconv.FormatBool(v.Bool == (c.Op == store.Eq))
		return func(column string) string { return column + " = " + quote(want) }
	case v.Loose, text:
		return nil
	case v.Type == span.TypeInt:
		return numberTest(c.Op, float64(v.Int))
	case v.Type == span.TypeDouble:
		return numberTest(c.Op, v.Num)
	}
	return nil
}

var operators = map[store.Op]string{store.Eq: "=", store.Ne: "!=", store.Lt: "<", store.Le: "<=", store.Gt: ">", store.Ge: ">="}

// numberTest compares numbers as ClickHouse reads them, with a margin for what int64 loses and for the last digit of its reader.
// Text that it does not read passes.
func numberTest(op store.Op, want float64) func(string) string {
	if op == store.Ne || want != want || math.IsInf(want, 0) || math.Abs(want) > 1e300 {
		return nil
	}
	margin := math.Abs(want) * 1e-12
	low, high := number(want-margin), number(want+margin)
	return func(column string) string {
		read := fmt.Sprintf("toFloat64OrNull(%s)", column)
		switch op {
		case store.Eq:
			return fmt.Sprintf("ifNull(%s BETWEEN %s AND %s, %s != '')", read, low, high, column)
		case store.Lt, store.Le:
			return fmt.Sprintf("ifNull(%s <= %s, %s != '')", read, high, column)
		default:
			return fmt.Sprintf("ifNull(%s >= %s, %s != '')", read, low, column)
		}
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'e', -1, 64) }

// regexTest matches with RE2, of which Go's syntax is a port. Text that is not UTF-8 is read differently and passes; so do
// expressions about Unicode classes, whose tables differ by version.
func regexTest(op store.Op, text string) func(string) string {
	if strings.ContainsRune(text, 0) || !plainRegex(text) {
		return nil
	}
	re := quote(`(?-s)\A(?:` + text + `)\z`)
	return func(column string) string {
		match := fmt.Sprintf("match(%s, %s)", column, re)
		if op == store.NotRegex {
			match = "NOT " + match
		}
		return fmt.Sprintf("(%s OR NOT isValidUTF8(%s))", match, column)
	}
}

// plainRegex reports whether both engines read an expression alike: ASCII without \p, \Q, \C and flags.
func plainRegex(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 || text[i] == '\\' && i+1 < len(text) && strings.IndexByte("pPQEC", text[i+1]) >= 0 || strings.HasPrefix(text[i:], "(?") {
			return false
		}
	}
	re, err := syntax.Parse(text, syntax.Perl)
	return err == nil && re != nil
}

// textIntrinsics are the intrinsic fields that are a column.
var textIntrinsics = map[string]string{
	store.FieldService: "ServiceName", store.FieldGroup: "ServiceGroup", store.FieldNamespace: "ServiceNamespace", store.FieldName: "SpanName",
	store.FieldStatusMessage: "StatusMessage", store.FieldTraceState: "TraceState", store.FieldScopeName: "ScopeName", store.FieldScopeVersion: "ScopeVersion",
}

func intrinsicOf(l layout, c store.Cond) answer.Condition {
	key, v := c.Field.Key, c.Value
	if column, ok := textIntrinsics[key]; ok {
		if column = l.column(column); column == "" {
			return texts.Maybe(yes)
		}
		return textOf(c, column)
	}
	switch key {
	case store.FieldKind:
		return wordsOf(c, l.column("Kind"), int(span.KindConsumer)+1, func(n int) string { return span.Kind(n).String() })
	case store.FieldStatus:
		return wordsOf(c, l.column("Status"), int(span.StatusError)+1, func(n int) string { return span.Status(n).String() })
	case store.FieldError, store.FieldRoot:
		is := answer.Exactly(l.column("ParentNumber") + " = 0")
		if key == store.FieldError {
			is = l.failed()
		}
		if c.Op == store.Exists {
			return answer.Exactly(yes)
		}
		if v.Loose || v.Type != span.TypeBool {
			return texts.Maybe(yes)
		}
		if v.Bool == (c.Op == store.Eq) {
			return is
		}
		return answer.Condition{May: texts.Not(is.Must), Must: texts.Not(is.May)}
	case store.FieldDuration:
		return durationOf(l, c)
	case store.FieldTraceID:
		if id, err := span.ParseTraceID(v.Text); err == nil && (c.Op == store.Eq || c.Op == store.Ne) {
			return equality(c.Op, l.is(id))
		}
	case store.FieldSpanID, store.FieldParentID:
		column := l.column("SpanNumber")
		if key == store.FieldParentID {
			column = l.column("ParentNumber")
		}
		if c.Op == store.Exists {
			return answer.Exactly(column + " != 0")
		}
		if c.Op == store.Eq || c.Op == store.Ne {
			if v.Text == "" {
				return equality(c.Op, column+" = 0")
			}
			if id, err := span.ParseSpanID(v.Text); err == nil {
				return equality(c.Op, fmt.Sprintf("%s = %d", column, id.Uint64()))
			}
		}
	case store.FieldEventName:
		names := l.column("EventNames")
		if c.Op == store.Exists {
			return answer.Exactly("arrayExists(v -> v != '', " + names + ")")
		}
		if test := valueTest(c); test != nil && c.Op != store.NotRegex {
			return texts.Maybe(fmt.Sprintf("arrayExists(v -> %s, %s)", test("v"), names))
		}
		return texts.Maybe("notEmpty(" + names + ")")
	}
	return texts.Maybe(yes)
}

func equality(op store.Op, sql string) answer.Condition {
	if op == store.Ne {
		return answer.Exactly("NOT " + sql)
	}
	return answer.Exactly(sql)
}

// textOf is a condition on a column of text, absent as empty text.
func textOf(c store.Cond, column string) answer.Condition {
	switch c.Op {
	case store.Exists:
		return answer.Exactly(column + " != ''")
	case store.Eq, store.Ne:
		return answer.Exactly(column + " " + operators[c.Op] + " " + quote(c.Value.Text))
	case store.Regex, store.NotRegex:
		if test := regexTest(c.Op, c.Value.Text); test != nil {
			return texts.Maybe(test(column))
		}
		return texts.Maybe(yes)
	}
	if c.Value.Loose {
		return texts.Maybe(yes)
	}
	return answer.Exactly(column + " " + operators[c.Op] + " " + quote(c.Value.Text))
}

// wordsOf is a condition on kind or status, judged once per number; words are those of numbers from 0, the last stands for all above.
func wordsOf(c store.Cond, column string, n int, word func(int) string) answer.Condition {
	if c.Op == store.Exists {
		return answer.Exactly(yes)
	}
	if c.Op != store.Eq && c.Op != store.Ne {
		return texts.Maybe(yes)
	}
	var numbers []string
	for i := range n {
		if word(i) == c.Value.Text {
			numbers = append(numbers, strconv.Itoa(i))
		}
	}
	is := no
	if len(numbers) > 0 {
		is = fmt.Sprintf("%s IN (%s)", column, strings.Join(numbers, ", "))
		if word(n) == c.Value.Text {
			is = fmt.Sprintf("(%s OR %s >= %d)", is, column, n)
		}
	}
	if c.Op == store.Ne {
		return answer.Exactly(texts.Not(is))
	}
	return answer.Exactly(is)
}

func durationOf(l layout, c store.Cond) answer.Condition {
	if c.Op == store.Exists {
		return answer.Exactly(yes)
	}
	v := c.Value
	op, column := operators[c.Op], l.column("Duration")
	if op == "" {
		return texts.Maybe(yes)
	}
	switch {
	case v.Loose:
		return texts.Maybe(yes)
	case v.Type == span.TypeInt && v.Int >= 0:
		return answer.Exactly(fmt.Sprintf("%s %s %d", column, op, v.Int))
	case v.Type == span.TypeDouble && v.Num >= 0 && v.Num < 1<<53:
		if test := numberTest(c.Op, v.Num); test != nil {
			low, high := uint64(v.Num), uint64(v.Num)+1
			switch c.Op {
			case store.Eq:
				return texts.Maybe(fmt.Sprintf("%s BETWEEN %d AND %d", column, low, high))
			case store.Lt, store.Le:
				return texts.Maybe(fmt.Sprintf("%s <= %d", column, high))
			case store.Gt, store.Ge:
				return texts.Maybe(fmt.Sprintf("%s >= %d", column, low))
			}
		}
	}
	return texts.Maybe(yes)
}
