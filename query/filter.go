package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spanloom/spanloom/internal/nearest"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// Filters is the text form of a search, read: conditions that must all hold on one span, and bounds of the trace's duration.
type Filters struct {
	Match         store.Expr // store.And of store.Cond; nil if there are none
	TraceDuration Bounds
}

// Bounds of a duration in ns, both inclusive; Max 0 is open.
type Bounds = struct{ Min, Max int64 }

// fieldType decides which operators and values a field takes.
type fieldType uint8

const (
	textField fieldType = iota
	kindField
	statusField
	boolField
	idField
	durationField
	traceDurationField
)

type fieldWord struct {
	word string
	key  string // store.Field…
	typ  fieldType
}

// fieldWords are the fields with a name of their own; the first word of a field is the one that is written.
var fieldWords = []fieldWord{
	{"service", store.FieldService, textField},
	{"serviceName", store.FieldService, textField},
	{"group", store.FieldGroup, textField},
	{"namespace", store.FieldNamespace, textField},
	{"operation", store.FieldName, textField},
	{"name", store.FieldName, textField},
	{"kind", store.FieldKind, kindField},
	{"status", store.FieldStatus, statusField},
	{"statusMessage", store.FieldStatusMessage, textField},
	{"error", store.FieldError, boolField},
	{"root", store.FieldRoot, boolField},
	{"duration", store.FieldDuration, durationField},
	{"traceDuration", "", traceDurationField},
	{"traceId", store.FieldTraceID, idField},
	{"spanId", store.FieldSpanID, idField},
	{"parentId", store.FieldParentID, idField},
	{"traceState", store.FieldTraceState, textField},
	{"scopeName", store.FieldScopeName, textField},
	{"scopeVersion", store.FieldScopeVersion, textField},
	{"eventName", store.FieldEventName, textField},
}

// attributeScopes are the prefixes of attribute keys; the empty word is ".KEY".
var attributeScopes = []struct {
	word string
	in   store.FieldScope
}{{"span", store.InSpan}, {"resource", store.InResource}, {"event", store.InEvent}, {"scope", store.InScope}, {"link", store.InLink}, {"", store.InAny}}

// filterOps in the order in which they are tried: longer ones first.
var filterOps = []struct {
	text string
	op   store.Op
}{{"!=", store.Ne}, {"=~", store.Regex}, {"!~", store.NotRegex}, {">=", store.Ge}, {"<=", store.Le}, {"=", store.Eq}, {">", store.Gt}, {"<", store.Lt}}

// ParseFilters reads conditions of the form <field><op><value> or <field>?; all must hold.
//
//	field   a word of fieldWords, or span.KEY resource.KEY event.KEY scope.KEY link.KEY, or .KEY for any of them;
//	        a key with spaces, quotes or operators stands in quotes: span."a key"
//	op      = != =~ !~ > >= < <=; expressions are RE2, anchored at both ends
//	value   the rest of the text; in double quotes (with Go's escapes) if it begins with one of " = ~, is empty or has
//	        spaces at its ends. Durations have units (250ms, 1.5s, 2d); all other values are compared loosely, by their text
//
// Errors are Invalid problems that name the text, the position and what was expected there.
func ParseFilters(texts []string) (Filters, error) {
	var f Filters
	var all store.And
	for _, text := range texts {
		p := filterParser{text: text}
		c, err := p.parse()
		if err != nil {
			return Filters{}, err
		}
		if c.Field == (store.Field{}) {
			if err := f.bound(c.Op, c.Value.Int); err != nil {
				return Filters{}, p.fail(0, "", "%v", err)
			}
			continue
		}
		all = append(all, c)
	}
	if f.TraceDuration.Max > 0 && f.TraceDuration.Min > f.TraceDuration.Max {
		return Filters{}, &problem.Problem{Kind: problem.Invalid, Field: "filter",
			Message: fmt.Sprintf("no traceDuration is at least %s and at most %s", time.Duration(f.TraceDuration.Min), time.Duration(f.TraceDuration.Max)),
			Hint:    "drop one of the bounds"}
	}
	if all != nil {
		f.Match = all
	}
	return f, nil
}

// bound narrows the trace's duration.
func (f *Filters) bound(op store.Op, d int64) error {
	b := &f.TraceDuration
	atLeast := func(d int64) { b.Min = max(b.Min, d) }
	atMost := func(d int64) error {
		if d <= 0 {
			return errors.New("no trace is that short")
		}
		if b.Max == 0 || d < b.Max {
			b.Max = d
		}
		return nil
	}
	switch op {
	case store.Gt:
		atLeast(d + 1)
	case store.Ge:
		atLeast(d)
	case store.Lt:
		return atMost(d - 1)
	case store.Le:
		return atMost(d)
	case store.Eq:
		atLeast(d)
		return atMost(d)
	default:
		return errors.New("traceDuration takes = > >= < and <=")
	}
	return nil
}

type filterParser struct {
	text string
}

// fail makes the error for the text at a byte offset.
func (p *filterParser) fail(at int, hint, format string, args ...any) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "filter", Hint: hint,
		Message: fmt.Sprintf("%s at position %d of %.200q", fmt.Sprintf(format, args...), utf8.RuneCountInString(p.text[:at])+1, p.text)}
}

// parse reads one condition. Its Field is zero for traceDuration.
func (p *filterParser) parse() (store.Cond, error) {
	word, typ, rest, err := p.field()
	if err != nil {
		return store.Cond{}, err
	}
	c := store.Cond{Field: word}
	tail := strings.TrimLeft(p.text[rest:], " ")
	at := len(p.text) - len(tail)
	if strings.TrimRight(tail, " ") == "?" {
		if typ == traceDurationField {
			return c, p.fail(at, "compare it: traceDuration>1s", "every trace has a duration")
		}
		c.Op = store.Exists
		return c, nil
	}
	op := ""
	for _, o := range filterOps {
		if strings.HasPrefix(tail, o.text) {
			op, c.Op = o.text, o.op
			break
		}
	}
	if op == "" {
		return c, p.fail(at, "operators are = != =~ !~ > >= < <=, and ? at the end for \"exists\"", "an operator was expected")
	}
	value, valueAt, err := p.value(at + len(op))
	if err != nil {
		return c, err
	}
	c.Value, err = p.operand(c.Op, op, typ, value, valueAt)
	return c, err
}

// field reads the field and answers where it ends. A zero field with traceDurationField is the trace's duration.
func (p *filterParser) field() (f store.Field, typ fieldType, end int, err error) {
	start := len(p.text) - len(strings.TrimLeft(p.text, " "))
	for _, s := range attributeScopes {
		prefix := s.word + "."
		if !strings.HasPrefix(p.text[start:], prefix) {
			continue
		}
		key, end, err := p.key(start + len(prefix))
		return store.Field{In: s.in, Key: key}, textField, end, err
	}
	end = p.wordEnd(start)
	word := strings.TrimRight(p.text[start:end], " ")
	for _, w := range fieldWords {
		if w.word != word {
			continue
		}
		if w.typ == traceDurationField {
			return store.Field{}, w.typ, end, nil
		}
		return store.Field{In: store.Intrinsic, Key: w.key}, w.typ, end, nil
	}
	if word == "" {
		return f, 0, 0, p.fail(start, "a filter is <field><op><value>, such as service=productpage or span.http.status_code=503", "a field was expected")
	}
	return f, 0, 0, p.fail(start, fieldHint(word), "unknown field %q", word)
}

func fieldHint(word string) string {
	words := make([]string, 0, len(fieldWords))
	for _, w := range fieldWords {
		words = append(words, w.word)
	}
	for _, s := range attributeScopes[:5] {
		words = append(words, s.word+".KEY")
	}
	if n := nearest.Word(word, words); n != "" {
		return "did you mean " + n + "?"
	}
	return "an attribute is written span." + word + ", resource." + word + " or, wherever it stands, ." + word
}

// wordEnd is where an unquoted field or key ends: at an operator, or at a ? that ends the text.
func (p *filterParser) wordEnd(from int) int {
	if i := strings.IndexAny(p.text[from:], "=!<>"); i >= 0 {
		return from + i
	}
	text := strings.TrimRight(p.text, " ")
	return from + len(strings.TrimSuffix(text[min(from, len(text)):], "?"))
}

// key reads an attribute's key.
func (p *filterParser) key(from int) (key string, end int, err error) {
	if strings.HasPrefix(p.text[from:], `"`) {
		quoted, err := strconv.QuotedPrefix(p.text[from:])
		if err != nil {
			return "", 0, p.fail(from, `end the key with a quote: span."a key"=x`, "the quoted key has no end")
		}
		if key, err = strconv.Unquote(quoted); err != nil || key == "" {
			return "", 0, p.fail(from, `write the key: span.http.method=GET`, "an attribute key was expected")
		}
		return key, from + len(quoted), nil
	}
	end = p.wordEnd(from)
	key = strings.TrimRight(p.text[from:end], " ")
	if key == "" {
		return "", 0, p.fail(from, "write the key: span.http.method=GET", "an attribute key was expected")
	}
	if !plainKey(key) {
		return "", 0, p.fail(from, fmt.Sprintf("write it in quotes: %s%q", p.text[:from], key), "the key %q holds spaces, quotes or a question mark", key)
	}
	return key, end, nil
}

// plainKey reports whether a key can stand without quotes.
func plainKey(key string) bool {
	return key != "" && utf8.ValidString(key) && !strings.ContainsFunc(key, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"=!<>?`, r)
	})
}

// value reads the value and answers where it stands.
func (p *filterParser) value(from int) (value string, at int, err error) {
	raw := strings.TrimLeft(p.text[from:], " ")
	at = len(p.text) - len(raw)
	raw = strings.TrimRight(raw, " ")
	switch {
	case raw == "":
		return "", at, p.fail(at, `write "" for the empty text, or ? instead of the operator for "exists"`, "a value was expected")
	case raw[0] != '"':
		return raw, at, nil
	}
	quoted, err := strconv.QuotedPrefix(raw)
	if err != nil {
		return "", at, p.fail(at, `a quote inside of the value is written \"`, "the quoted value has no end or a bad escape")
	}
	if len(quoted) != len(raw) {
		return "", at, p.fail(at+len(quoted), "several conditions are several filter parameters", "the end was expected")
	}
	value, err = strconv.Unquote(quoted)
	if err != nil {
		return "", at, p.fail(at, `escapes are those of Go: \" \\ \n \u00e9`, "the quoted value has a bad escape")
	}
	return value, at, nil
}

var (
	kindWords   = []string{"server", "client", "internal", "producer", "consumer", "unspecified"}
	statusWords = []string{"error", "ok", "unset"}
	boolWords   = []string{"true", "false"}
)

// operand checks a value against its field and operator.
func (p *filterParser) operand(op store.Op, opText string, typ fieldType, value string, at int) (store.Operand, error) {
	regex := op == store.Regex || op == store.NotRegex
	ordered := op >= store.Lt && op <= store.Ge
	oneOf := func(words []string) error {
		if ordered {
			return p.fail(at-len(opText), "use = or !=", "%s does not order words", opText)
		}
		for _, w := range words {
			if regex || w == value {
				return nil
			}
		}
		hint := "it is one of " + strings.Join(words, ", ")
		if n := nearest.Word(value, words); n != "" {
			hint = "did you mean " + n + "?"
		}
		return p.fail(at, hint, "%q is none of the values", value)
	}
	if regex && typ != boolField && typ < durationField {
		if err := match.CheckRegex(value); err != nil {
			return store.Operand{}, p.fail(at, "expressions are RE2, anchored at both ends", "bad regular expression: %v", err)
		}
	}
	switch typ {
	case kindField:
		return store.LooseText(value), oneOf(kindWords)
	case statusField:
		return store.LooseText(value), oneOf(statusWords)
	case boolField:
		if regex {
			return store.Operand{}, p.fail(at-len(opText), "use = or !=", "true and false are not searched with %s", opText)
		}
		return store.Bool(value == "true"), oneOf(boolWords)
	case idField:
		if op == store.Eq || op == store.Ne {
			if _, err := span.ParseTraceID(value); err != nil {
				return store.Operand{}, p.fail(at, "ids are hexadecimal: up to 32 digits for traces, 16 for spans", "%q is not an id", value)
			}
		}
		return store.LooseText(value), nil
	case durationField, traceDurationField:
		if regex {
			return store.Operand{}, p.fail(at-len(opText), "use = != > >= < or <=", "a duration is not searched with %s", opText)
		}
		d, err := ParseDuration(value)
		if err != nil {
			return store.Operand{}, p.fail(at, "durations have a unit: 250us, 20ms, 1.5s, 2m, 1h, 1d", "%q is not a duration", value)
		}
		return store.Int(int64(d)), nil
	default:
		return store.LooseText(value), nil
	}
}

// FormatFilters writes filters as texts that ParseFilters reads back to the same filters. What the text form cannot say (Or,
// Not, typed operands of attributes) is an Unsupported problem.
func FormatFilters(f Filters) ([]string, error) {
	var out []string
	var all store.And
	switch m := f.Match.(type) {
	case nil:
	case store.And:
		all = m
	case store.Cond:
		all = store.And{m}
	default:
		return nil, problem.New(problem.Unsupported, fmt.Sprintf("a search of kind %T has no form as filters", m), "use TraceQL")
	}
	for _, e := range all {
		c, ok := e.(store.Cond)
		if !ok {
			return nil, problem.New(problem.Unsupported, fmt.Sprintf("a condition of kind %T has no form as filter", e), "use TraceQL")
		}
		text, err := formatCond(c)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	if f.TraceDuration.Min > 0 {
		out = append(out, "traceDuration>="+time.Duration(f.TraceDuration.Min).String())
	}
	if f.TraceDuration.Max > 0 {
		out = append(out, "traceDuration<="+time.Duration(f.TraceDuration.Max).String())
	}
	return out, nil
}

func formatCond(c store.Cond) (string, error) {
	field, typ, ok := formatField(c.Field)
	if !ok {
		return "", problem.New(problem.Unsupported, fmt.Sprintf("the field %q has no form as filter", c.Field.Key), "use TraceQL")
	}
	if c.Op == store.Exists {
		return field + "?", nil
	}
	op := ""
	for _, o := range filterOps {
		if o.op == c.Op {
			op = o.text
		}
	}
	v := c.Value
	switch {
	case typ == durationField && v.Type == span.TypeInt:
		return field + op + time.Duration(v.Int).String(), nil
	case typ == boolField && v.Type == span.TypeBool:
		return field + op + strconv.FormatBool(v.Bool), nil
	case typ < durationField && typ != boolField && v.Loose:
		return field + op + quoteValue(v.Text), nil
	default:
		return "", problem.New(problem.Unsupported, fmt.Sprintf("the condition on %s has no form as filter", field), "use TraceQL")
	}
}

// FieldWord is the word of an intrinsic field in filters, such as operation; empty for a field that has none.
func FieldWord(f store.Field) string {
	word, _, _ := formatField(f)
	return word
}

func formatField(f store.Field) (text string, typ fieldType, ok bool) {
	if f.In == store.Intrinsic {
		for _, w := range fieldWords {
			if w.key == f.Key && w.typ != traceDurationField {
				return w.word, w.typ, true
			}
		}
		return "", 0, false
	}
	for _, s := range attributeScopes {
		if s.in != f.In || f.Key == "" {
			continue
		}
		if plainKey(f.Key) {
			return s.word + "." + f.Key, textField, true
		}
		return s.word + "." + strconv.Quote(f.Key), textField, true
	}
	return "", 0, false
}

// quoteValue quotes what could be read as something else.
func quoteValue(v string) string {
	if v == "" || strings.ContainsRune("\"=~", rune(v[0])) || strings.Trim(v, " ") != v || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
		return strconv.Quote(v)
	}
	return v
}

// ParseDuration reads a duration with units as time.ParseDuration does, and days: 1d12h. It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	rest, days := s, 0.0
	if i := strings.IndexByte(s, 'd'); i > 0 {
		n, err := strconv.ParseFloat(s[:i], 64)
		if err != nil || n < 0 || n > 100_000 || strings.ContainsAny(s[:i], "eExXpP_infINF+-") {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		if days, rest = n, s[i+1:]; rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	sum := days*float64(24*time.Hour) + float64(d)
	if err != nil || d < 0 || sum > 1<<62 {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	return time.Duration(days*float64(24*time.Hour)) + d, nil
}
