package doctor

import (
	"fmt"
	"strings"
)

// Text is what the doctor says, in each language that it speaks: English is made at once, Korean when it is asked for. Names,
// fields, statistics, YAML and commands are arguments and the same in both. The zero Text says nothing.
type Text struct {
	english string
	korean  string // where it is known beforehand; else by format
	format  string // English, the key of koreanSentences
	args    []any  // texts among them are said in the language of the whole
}

// say makes a text of a format and its arguments, as fmt.Sprintf does. The format is a literal, and koreanSentences has it.
func say(format string, args ...any) Text {
	return Text{english: fmt.Sprintf(format, args...), format: format, args: args}
}

// quote is a line that is the same in every language: of YAML, of a log, a name with its value.
func quote(line string) Text { return Text{english: line, korean: line} }

// quotes are lines that are the same in every language.
func quotes(lines []string) []Text {
	out := make([]Text, len(lines))
	for i, l := range lines {
		out[i] = quote(l)
	}
	return out
}

// list is texts one after the other.
func list(items []Text) Text {
	args := make([]any, len(items))
	for i, t := range items {
		args[i] = t
	}
	format := strings.TrimSuffix(strings.Repeat("%s, ", len(items)), ", ")
	return Text{english: fmt.Sprintf(format, args...), format: format, args: args}
}

// sentence is a hint as a sentence of its own.
func sentence(hint string) Text {
	return Text{english: strings.ToUpper(hint[:1]) + hint[1:] + ".", format: "%s.", args: []any{heard(hint)}}
}

// titleOf is the catalog's title of a code.
func titleOf(code string) Text {
	return Text{english: Lookup(code).Title, korean: InKorean(code).Title}
}

// String is the text in English.
func (t Text) String() string { return t.english }

func (t Text) empty() bool { return t.english == "" }

// In is the text in a language: ko for Korean, anything else is English.
func (t Text) In(language string) string {
	switch {
	case language != "ko" || t.empty():
		return t.english
	case t.korean != "":
		return t.korean
	}
	format, ok := koreanSentences[t.format]
	if !ok {
		format = t.format // no words of a language in it, as TestKoreanSentences sees to
	}
	args := make([]any, len(t.args))
	for i, a := range t.args {
		if nested, ok := a.(Text); ok {
			a = nested.In(language)
		}
		args[i] = a
	}
	return fmt.Sprintf(format, args...)
}
