package traceql

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a query's text: they come from strangers.
const (
	maxText   = 1 << 20
	maxTokens = 200_000
	maxDepth  = 200    // of parentheses and prefix operators
	maxNodes  = 50_000 // of the tree
)

type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokIntrinsic // span:name
	tokAttribute
	tokLiteral // string, number, duration
	tokSymbol
)

type token struct {
	kind  tokenKind
	pos   int
	text  string // the word, the symbol; as written for all others
	attr  Attribute
	id    IntrinsicID
	value Value
}

// symbols by length, longest first, so that the first that fits is the longest.
var symbols = []string{
	"!>>", "!<<", "&>>", "&<<",
	"&&", "||", "=~", "!=", "!~", "<=", ">=", "<<", ">>", "!>", "!<", "&>", "&<", "&~",
	"{", "}", "(", ")", ",", "|", "=", "<", ">", "!", "~", "+", "-", "*", "/", "%", "^",
}

type lexer struct {
	text   string
	at     int
	tokens []token
}

// lex cuts a text into tokens; the last one is tokEnd.
func lex(text string) ([]token, error) {
	if len(text) > maxText {
		return nil, errorAt(text, maxText, true, fmt.Sprintf("the query has %d bytes, at most %d are read", len(text), maxText), "", "ask in several queries")
	}
	l := &lexer{text: text}
	for {
		if err := l.skip(); err != nil {
			return nil, err
		}
		if len(l.tokens) >= maxTokens {
			return nil, errorAt(text, l.at, true, fmt.Sprintf("the query has more than %d words and signs", maxTokens), "", "ask in several queries")
		}
		if l.at == len(text) {
			return append(l.tokens, token{kind: tokEnd, pos: l.at}), nil
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		l.tokens = append(l.tokens, t)
	}
}

func (l *lexer) fail(pos int, expected, hint, format string, args ...any) error {
	return errorAt(l.text, pos, true, fmt.Sprintf(format, args...), expected, hint)
}

// skip passes over blanks and comments.
func (l *lexer) skip() error {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r):
			l.at += n
		case strings.HasPrefix(rest, "//"):
			if i := strings.IndexByte(rest, '\n'); i >= 0 {
				l.at += i
			} else {
				l.at = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			i := strings.Index(rest[2:], "*/")
			if i < 0 {
				return l.fail(l.at, "*/", "", "a comment without end")
			}
			l.at += i + 4
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) next() (token, error) {
	start := l.at
	c := l.text[start]
	switch {
	case c == '"' || c == '`':
		return l.stringLiteral()
	case isDigit(c) || c == '.' && start+1 < len(l.text) && isDigit(l.text[start+1]) && l.numberAfterDot():
		return l.number()
	case c == '.':
		l.at++
		return l.attribute(start, ScopeNone, false)
	case isLetter(c):
		return l.word()
	}
	for _, s := range symbols {
		if strings.HasPrefix(l.text[start:], s) {
			l.at += len(s)
			return token{kind: tokSymbol, pos: start, text: s}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(l.text[start:])
	hint := ""
	switch r {
	case '\'', '‘', '’', '“', '”':
		hint = `strings stand in "double quotes" or backticks`
	}
	return token{}, l.fail(start, "", hint, "unexpected %q", r)
}

// numberAfterDot tells .5 from an attribute whose name begins with a digit: the whole run must read as a number.
func (l *lexer) numberAfterDot() bool {
	run := l.numberRun(l.at)
	_, ok := parseNumber(run)
	return ok
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func (l *lexer) stringLiteral() (token, error) {
	start := l.at
	quoted, err := strconv.QuotedPrefix(l.text[start:])
	if err != nil {
		return token{}, l.badString(start)
	}
	s, err := strconv.Unquote(quoted)
	if err != nil {
		return token{}, l.badString(start)
	}
	l.at += len(quoted)
	return token{kind: tokLiteral, pos: start, text: quoted, value: StringValue(s)}, nil
}

// badString finds out what is wrong with a string.
func (l *lexer) badString(start int) error {
	if l.text[start] == '`' {
		return l.fail(start, "`", "", "a string without end")
	}
	for i := start + 1; i < len(l.text); i++ {
		switch l.text[i] {
		case '\\':
			if _, _, _, err := strconv.UnquoteChar(l.text[i:], '"'); err != nil {
				return l.fail(i, "", `write \\ for a backslash, or put the string in backticks`, "unknown escape in a string")
			}
			i++
		case '\n':
			return l.fail(i, `"`, `write \n, or put the string in backticks`, "a line break in a string")
		case '"':
			return l.fail(start, "", "", "a malformed string")
		}
	}
	return l.fail(start, `"`, "", "a string without end")
}

// numberRun is the run that begins with a digit or a dot and could be a number or a duration.
func (l *lexer) numberRun(start int) string {
	i := start
	for i < len(l.text) {
		r, n := utf8.DecodeRuneInString(l.text[i:])
		exponent := (r == '+' || r == '-') && i > start && (l.text[i-1] == 'e' || l.text[i-1] == 'E') && i+1 < len(l.text) && isDigit(l.text[i+1])
		if !exponent && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		i += n
	}
	return l.text[start:i]
}

func (l *lexer) number() (token, error) {
	start := l.at
	run := l.numberRun(start)
	v, ok := parseNumber(run)
	if !ok {
		hint := "numbers are 12, 1.5, 1e3; durations 100ms, 1.5s, 1h30m, 1d"
		return token{}, l.fail(start, "", hint, "%q is neither a number nor a duration", shorten(run))
	}
	l.at += len(run)
	return token{kind: tokLiteral, pos: start, text: run, value: v}, nil
}

// parseNumber reads an int, a float or a duration.
func parseNumber(s string) (Value, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return IntValue(n), true
	}
	if strings.Trim(s, "0123456789.eE+-") == "" {
		f, err := strconv.ParseFloat(s, 64)
		return FloatValue(f), err == nil && strings.ContainsAny(s, ".eE") && !math.IsInf(f, 0)
	}
	if d, ok := prometheusDuration(s); ok {
		return DurationValue(d), true
	}
	d, err := time.ParseDuration(s)
	return DurationValue(int64(d)), err == nil
}

var prometheusUnits = []struct {
	unit string
	ns   int64
}{
	{"y", 365 * 24 * int64(time.Hour)}, {"w", 7 * 24 * int64(time.Hour)}, {"d", 24 * int64(time.Hour)}, {"h", int64(time.Hour)},
	{"m", int64(time.Minute)}, {"s", int64(time.Second)}, {"ms", int64(time.Millisecond)},
}

// prometheusDuration reads whole numbers with units in descending order: 1d12h.
func prometheusDuration(s string) (int64, bool) {
	var sum int64
	next := 0
	for len(s) > 0 {
		digits := 0
		for digits < len(s) && isDigit(s[digits]) {
			digits++
		}
		letters := digits
		for letters < len(s) && !isDigit(s[letters]) {
			letters++
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil {
			return 0, false
		}
		for next < len(prometheusUnits) && prometheusUnits[next].unit != s[digits:letters] {
			next++
		}
		if next == len(prometheusUnits) || n > (math.MaxInt64-sum)/prometheusUnits[next].ns {
			return 0, false
		}
		sum += n * prometheusUnits[next].ns
		next++
		s = s[letters:]
	}
	return sum, true
}

// word reads a word, an attribute with its scope or an intrinsic with its scope.
func (l *lexer) word() (token, error) {
	start := l.at
	w := l.run()
	l.at += len(w)
	if l.at < len(l.text) {
		switch l.text[l.at] {
		case '.':
			if w == "parent" {
				return l.parent(start)
			}
			for scope := ScopeSpan; scope <= ScopeInstrumentation; scope++ {
				if scopeWords[scope] == w {
					l.at++
					return l.attribute(start, scope, false)
				}
			}
			return token{}, l.fail(start, "", unknownScope(w), "unknown scope %q", shorten(w))
		case ':':
			l.at++
			name := l.run()
			l.at += len(name)
			full := w + ":" + name
			id, ok := scopedIntrinsics[full]
			if !ok {
				return token{}, l.fail(start, "", nearestOf(full, keysOf(scopedIntrinsics)), "unknown intrinsic %q", shorten(full))
			}
			return token{kind: tokIntrinsic, pos: start, text: full, id: id}, nil
		}
	}
	return token{kind: tokWord, pos: start, text: w}, nil
}

func (l *lexer) run() string {
	i := l.at
	for i < len(l.text) && (isLetter(l.text[i]) || isDigit(l.text[i])) {
		i++
	}
	return l.text[l.at:i]
}

// parent reads parent.x, parent.span.x and parent.resource.x.
func (l *lexer) parent(start int) (token, error) {
	l.at++
	for _, scope := range []AttrScope{ScopeSpan, ScopeResource} {
		if strings.HasPrefix(l.text[l.at:], scopeWords[scope]+".") {
			l.at += len(scopeWords[scope]) + 1
			return l.attribute(start, scope, true)
		}
	}
	return l.attribute(start, ScopeNone, true)
}

// nameEnds are the characters that end an attribute's name, beside blanks.
const nameEnds = "{}()=~!<>&|^,"

// attribute reads the name after a scope and its dot. Any part of it may stand in double quotes.
func (l *lexer) attribute(start int, scope AttrScope, parent bool) (token, error) {
	var name strings.Builder
	for l.at < len(l.text) {
		r, n := utf8.DecodeRuneInString(l.text[l.at:])
		if unicode.IsSpace(r) || r < utf8.RuneSelf && strings.IndexByte(nameEnds, byte(r)) >= 0 {
			break
		}
		if r != '"' {
			name.WriteString(l.text[l.at : l.at+n])
			l.at += n
			continue
		}
		if err := l.quotedPart(&name); err != nil {
			return token{}, err
		}
	}
	if name.Len() == 0 {
		return token{}, l.fail(l.at, "the name of an attribute", `no blank may follow the dot; odd names stand in quotes: span."my key"`, "an attribute without a name")
	}
	return token{kind: tokAttribute, pos: start, text: l.text[start:l.at], attr: Attribute{At: start, Scope: scope, Name: name.String(), Parent: parent}}, nil
}

func (l *lexer) quotedPart(name *strings.Builder) error {
	start := l.at
	for l.at++; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case '"':
			l.at++
			return nil
		case '\\':
			if l.at+1 == len(l.text) || l.text[l.at+1] != '"' && l.text[l.at+1] != '\\' {
				return l.fail(l.at, `\" or \\`, "", "unknown escape in the name of an attribute")
			}
			l.at++
			name.WriteByte(l.text[l.at])
		default:
			name.WriteByte(c)
		}
	}
	return l.fail(start, `"`, "", "a quoted name without end")
}

func unknownScope(w string) string {
	if _, ok := plainIntrinsics[w]; ok {
		return w + " is an intrinsic and has no parts"
	}
	if h := nearestOf(w, slices.Clone(scopeWords[1:])); h != "" {
		return h
	}
	return "scopes are span, resource, event, link and instrumentation; a lone dot means any of them: ." + shorten(w) + "..."
}
