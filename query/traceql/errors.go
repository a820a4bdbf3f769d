package traceql

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spanloom/spanloom/internal/problem"
)

// ParseError says where and why a text is not a query, or not one that makes sense. It unwraps to a problem of kind Invalid.
type ParseError struct {
	Message      string // what is wrong: "unexpected }"
	Pos          int    // byte offset
	Line, Column int    // from 1; columns in characters
	Expected     string // what could stand there instead; may be empty
	Hint         string // the nearest known word or another way to mend it; may be empty

	syntax bool   // the text does not parse; else it parses and makes no sense
	line   string // the text's line
}

// Error is one line, in the wording that clients of Tempo know.
func (e *ParseError) Error() string {
	var w strings.Builder
	w.WriteString("invalid TraceQL query: ")
	if e.syntax {
		fmt.Fprintf(&w, "parse error at line %d, col %d: syntax error: ", e.Line, e.Column)
	} else {
		fmt.Fprintf(&w, "line %d, col %d: ", e.Line, e.Column)
	}
	w.WriteString(e.Message)
	if e.Expected != "" {
		w.WriteString(", expecting " + e.Expected)
	}
	if e.Hint != "" {
		w.WriteString(" (" + e.Hint + ")")
	}
	return w.String()
}

// Unwrap is the problem that dialects and people act on.
func (e *ParseError) Unwrap() error {
	message := fmt.Sprintf("line %d, col %d: %s", e.Line, e.Column, e.Message)
	if e.Expected != "" {
		message += ", expecting " + e.Expected
	}
	return &problem.Problem{Kind: problem.Invalid, Field: "q", Message: message, Hint: e.Hint}
}

// caretWidth is how much of a long line Caret shows before the place.
const caretWidth = 60

// Caret is the line at fault and a ^ under the place.
func (e *ParseError) Caret() string {
	line, at := []rune(e.line), e.Column-1
	prefix := ""
	if at > caretWidth {
		line, at, prefix = line[at-caretWidth:], caretWidth, "…"
	}
	suffix := ""
	if len(line) > at+caretWidth {
		line, suffix = line[:at+caretWidth], "…"
	}
	for i, r := range line {
		if r < ' ' {
			line[i] = ' '
		}
	}
	return prefix + string(line) + suffix + "\n" + strings.Repeat(" ", at+utf8.RuneCountInString(prefix)) + "^"
}

// errorAt makes an error at an offset of a text.
func errorAt(text string, pos int, syntax bool, message, expected, hint string) *ParseError {
	pos = min(max(pos, 0), len(text))
	begin := strings.LastIndexByte(text[:pos], '\n') + 1
	end := len(text)
	if i := strings.IndexByte(text[pos:], '\n'); i >= 0 {
		end = pos + i
	}
	from, to := max(begin, pos-1000), min(end, pos+1000) // enough for Caret; the text may be one line of a megabyte
	e := &ParseError{Message: message, Pos: pos, Line: strings.Count(text[:pos], "\n") + 1,
		Column: utf8.RuneCountInString(text[begin:pos]) + 1, Expected: expected, Hint: hint, syntax: syntax}
	e.line = text[from:to]
	if from > begin {
		e.line = strings.Repeat(" ", e.Column-1-utf8.RuneCountInString(text[from:pos])) + e.line
	}
	return e
}

// shorten cuts what is quoted from the text in messages.
func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
