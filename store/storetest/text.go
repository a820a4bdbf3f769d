package storetest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Spans in text form, one a line:
//
//	TRACE SPAN PARENT SERVICE KIND NAME START DURATION [FIELD ...]
//	1     a    -      front   server "GET /" 0s 12ms   http.status_code=200 resource:pod=front-1 @status=error
//	  event exception 3ms exception.type=Timeout
//	  link 2 b @state=k=v
//
// TRACE, SPAN, PARENT are hexadecimal ids of any length; PARENT is - for a root. SERVICE and NAME are words or Go strings in
// quotes, - if empty. KIND is the lower-case word, or a number. START is a duration after Epoch, none if absent (0), or
// =NANOSECONDS as sent. DURATION is added to START (it may be negative), none for an absent end, =NANOSECONDS for an end as
// sent. A FIELD is one of
//
//	KEY=VALUE            an attribute of the span
//	resource:KEY=VALUE   of its resource, scope:KEY=VALUE of its scope
//	@status=error        also @message @state @flags @group @namespace @weight @time=START @mark=shared,proxy
//	@dropped=1,2,3       attributes, events, links
//	@scope=NAME          also @scope.version @scope.url @scope.dropped @resource.url @resource.dropped
//	@bare                the resource has no service.name; without it SERVICE is put there as the first attribute, unless a
//	                     resource:service.name is given or SERVICE is empty
//
// Events and links stand on indented lines after their span: "event NAME TIME [KEY=VALUE ... @dropped=N]" and
// "link TRACE SPAN [KEY=VALUE ... @state= @flags= @dropped=]".
//
// A VALUE is an int (200), a double (72.5, 1e9, NaN, +Inf), true, false, null, an array of one of them ([1,2], ["a","b"]),
// bytes:HEX, OTLP bytes as array:HEX, kvlist:HEX, strings:HEX, ints:HEX, doubles:HEX or bools:HEX, and otherwise a
// string, with or without quotes. Keys that are not plain words stand in quotes too.
//
// A line "received 90s" sets the receipt time, DefaultReceived without it. Spans with an impossible start get the receipt
// time as their effective start and the mark timeReplaced, as process does it. Lines that begin with # are comments.

// Epoch is what START is counted from.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// DefaultReceived is the receipt time of a batch that names none, after Epoch. The clocks of tests start there.
const DefaultReceived = time.Hour

// At is an instant d after Epoch in nanoseconds.
func At(d time.Duration) int64 { return Epoch.Add(d).UnixNano() }

// Batch reads spans in text form; the test fails where they are malformed.
func Batch(t testing.TB, text string) *span.Batch {
	t.Helper()
	b, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Parse reads spans in text form.
func Parse(text string) (*span.Batch, error) {
	p := parser{b: &span.Batch{Tenant: store.DefaultTenant, Received: At(DefaultReceived)}}
	for n, line := range strings.Split(text, "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w\n\t%s", n+1, err, line)
		}
	}
	if err := p.flush(); err != nil {
		return nil, err
	}
	return p.b, nil
}

type parser struct {
	b     *span.Batch
	lines [][]string // of one span: its own, then events and links
}

func (p *parser) line(line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return err
	}
	// A trace id is never one of these words: they have letters beyond f.
	switch words[0] {
	case "event", "link":
		if len(p.lines) == 0 {
			return fmt.Errorf("%s without a span before it", words[0])
		}
		p.lines = append(p.lines, words)
		return nil
	case "received":
		if len(words) != 2 {
			return fmt.Errorf("received takes a duration")
		}
		at, err := instant(words[1])
		p.b.Received = int64(at)
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	if len(words) < 8 {
		return fmt.Errorf("a span needs eight words: trace span parent service kind name start duration")
	}
	p.lines = append(p.lines, words)
	return nil
}

// split cuts a line into words at blanks outside of quotes and brackets.
func split(line string) (words []string, err error) {
	start := -1
	brackets := 0
	for i := 0; i < len(line); i++ {
		c := line[i]
		if (c == ' ' || c == '\t' || c == '\r') && brackets == 0 {
			if start >= 0 {
				words = append(words, line[start:i])
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
		switch c {
		case '"':
			q, err := strconv.QuotedPrefix(line[i:])
			if err != nil {
				return nil, fmt.Errorf("quote without end")
			}
			i += len(q) - 1
		case '[':
			brackets++
		case ']':
			brackets--
		}
	}
	if start >= 0 {
		words = append(words, line[start:])
	}
	return words, nil
}

// attribute is a parsed KEY=VALUE or @NAME=VALUE.
type attribute struct{ owner, key, value string }

func parseField(word string) (a attribute, err error) {
	rest := word
	if at, ok := strings.CutPrefix(word, "@"); ok {
		name, value, _ := strings.Cut(at, "=")
		value, err = unquote(value)
		return attribute{"@", name, value}, err
	}
	for _, owner := range []string{"resource", "scope"} {
		if r, ok := strings.CutPrefix(word, owner+":"); ok {
			a.owner, rest = owner, r
		}
	}
	if strings.HasPrefix(rest, `"`) {
		q, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return a, err
		}
		a.key, _ = strconv.Unquote(q)
		rest = rest[len(q):]
	} else if i := strings.IndexByte(rest, '='); i >= 0 {
		a.key, rest = rest[:i], rest[i:]
	}
	value, ok := strings.CutPrefix(rest, "=")
	if !ok {
		return a, fmt.Errorf("%q is not KEY=VALUE", word)
	}
	a.value = value
	return a, nil
}

func unquote(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return strconv.Unquote(s)
	}
	return s, nil
}

func name(s string) (string, error) {
	if s == "-" {
		return "", nil
	}
	return unquote(s)
}

// instant reads START.
func instant(s string) (uint64, error) {
	if s == "none" {
		return 0, nil
	}
	if n, ok := strings.CutPrefix(s, "="); ok {
		return strconv.ParseUint(n, 10, 64)
	}
	d, err := time.ParseDuration(s)
	return uint64(At(d)), err
}

// flush adds the span whose lines were collected.
func (p *parser) flush() error {
	if len(p.lines) == 0 {
		return nil
	}
	lines := p.lines
	p.lines = nil
	row := p.b.AddRow()
	if err := p.span(row, lines[0]); err != nil {
		return err
	}
	b := p.b
	firstEvent, firstLink := len(b.Events), len(b.Links)
	for _, words := range lines[1:] {
		if err := p.child(words); err != nil {
			return err
		}
	}
	b.SpanEvents[row] = span.Range{Off: uint32(firstEvent), Len: uint32(len(b.Events) - firstEvent)}
	b.SpanLinks[row] = span.Range{Off: uint32(firstLink), Len: uint32(len(b.Links) - firstLink)}
	return nil
}

func (p *parser) span(row int, words []string) (err error) {
	b := p.b
	fail := func(e error) {
		if err == nil {
			err = e
		}
	}
	var e error
	b.TraceID[row], e = span.ParseTraceID(words[0])
	fail(e)
	b.SpanID[row], e = span.ParseSpanID(words[1])
	fail(e)
	if words[2] != "-" {
		b.Parent[row], e = span.ParseSpanID(words[2])
		fail(e)
	}
	service, e := name(words[3])
	fail(e)
	b.Service[row] = b.AddText(service)
	b.Kind[row], e = parseKind(words[4])
	fail(e)
	operation, e := name(words[5])
	fail(e)
	b.Name[row] = b.AddText(operation)
	b.Start[row], e = instant(words[6])
	fail(e)
	b.End[row], e = end(b.Start[row], words[7])
	fail(e)
	b.Time[row] = int64(b.Start[row])
	if span.ImpossibleStart(b.Start[row], b.Received) {
		b.Time[row] = b.Received
		b.Mark[row] |= span.MarkTimeReplaced
	}
	if err == nil {
		err = p.fields(row, service, words[8:])
	}
	return err
}

func parseKind(word string) (span.Kind, error) {
	for k := span.KindUnspecified; k <= span.KindConsumer; k++ {
		if k.String() == word {
			return k, nil
		}
	}
	n, err := strconv.ParseUint(word, 10, 8)
	return span.Kind(n), err
}

func end(start uint64, word string) (uint64, error) {
	if word == "none" || strings.HasPrefix(word, "=") {
		return instant(word)
	}
	d, err := time.ParseDuration(word)
	return start + uint64(d), err
}

func (p *parser) fields(row int, service string, words []string) error {
	b := p.b
	var own, resource, scope []attribute
	var r span.Resource
	var s span.Scope
	bare := service == ""
	for _, w := range words {
		a, err := parseField(w)
		if err != nil {
			return err
		}
		switch a.owner {
		case "":
			own = append(own, a)
		case "resource":
			bare = bare || a.key == "service.name"
			resource = append(resource, a)
		case "scope":
			scope = append(scope, a)
		default:
			if a.key == "bare" {
				bare = true
			} else if err := p.special(row, a, &r, &s); err != nil {
				return err
			}
		}
	}
	if !bare {
		resource = append([]attribute{{"resource", "service.name", strconv.Quote(service)}}, resource...)
	}
	var err error
	if b.SpanAttrs[row], err = p.attrs(own); err != nil {
		return err
	}
	if r.Attrs, err = p.attrs(resource); err != nil {
		return err
	}
	if s.Attrs, err = p.attrs(scope); err != nil {
		return err
	}
	b.Resource[row] = uint32(len(b.Resources))
	b.Resources = append(b.Resources, r)
	b.Scope[row] = uint32(len(b.Scopes))
	b.Scopes = append(b.Scopes, s)
	return nil
}

// special reads an @ field of a span.
func (p *parser) special(row int, a attribute, r *span.Resource, s *span.Scope) (err error) {
	b := p.b
	number := func(text string, to *uint32) {
		n, e := strconv.ParseUint(text, 10, 32)
		*to = uint32(n)
		if err == nil {
			err = e
		}
	}
	switch a.key {
	case "status":
		b.Status[row], err = parseStatus(a.value)
	case "message":
		b.StatusMessage[row] = b.AddText(a.value)
	case "state":
		b.TraceState[row] = b.AddText(a.value)
	case "group":
		b.Group[row] = b.AddText(a.value)
	case "namespace":
		b.Namespace[row] = b.AddText(a.value)
	case "weight":
		b.Weight[row], err = strconv.ParseFloat(a.value, 64)
	case "flags":
		number(a.value, &b.Flags[row])
	case "time":
		var t uint64
		t, err = instant(a.value)
		b.Time[row] = int64(t)
	case "mark":
		b.Mark[row], err = parseMarks(a.value)
	case "dropped":
		n := strings.Split(a.value, ",")
		if len(n) != 3 {
			return fmt.Errorf("@dropped takes three numbers")
		}
		number(n[0], &b.DroppedAttrs[row])
		number(n[1], &b.DroppedEvents[row])
		number(n[2], &b.DroppedLinks[row])
	case "scope":
		s.Name = b.AddText(a.value)
	case "scope.version":
		s.Version = b.AddText(a.value)
	case "scope.url":
		s.SchemaURL = b.AddText(a.value)
	case "scope.dropped":
		number(a.value, &s.Dropped)
	case "resource.url":
		r.SchemaURL = b.AddText(a.value)
	case "resource.dropped":
		number(a.value, &r.Dropped)
	default:
		return fmt.Errorf("unknown field @%s", a.key)
	}
	return err
}

func parseStatus(word string) (span.Status, error) {
	for s := span.StatusUnset; s <= span.StatusError; s++ {
		if s.String() == word {
			return s, nil
		}
	}
	n, err := strconv.ParseUint(word, 10, 8)
	return span.Status(n), err
}

var markNames = [...]string{"timeReplaced", "serviceDerived", "nameDerived", "cut", "shared", "debug", "proxy"}

func parseMarks(list string) (m span.Mark, err error) {
words:
	for _, word := range strings.Split(list, ",") {
		for i, n := range markNames {
			if n == word {
				m |= 1 << i
				continue words
			}
		}
		return 0, fmt.Errorf("unknown mark %q", word)
	}
	return m, nil
}

// child reads the line of an event or link.
func (p *parser) child(words []string) error {
	b := p.b
	if len(words) < 3 {
		return fmt.Errorf("an %s needs two words", words[0])
	}
	var attrs []attribute
	special := make(map[string]string)
	for _, w := range words[3:] {
		a, err := parseField(w)
		if err != nil {
			return err
		}
		if a.owner == "@" {
			special[a.key] = a.value
		} else {
			attrs = append(attrs, a)
		}
	}
	number := func(key string) uint32 {
		n, _ := strconv.ParseUint(special[key], 10, 32)
		return uint32(n)
	}
	list, err := p.attrs(attrs)
	if err != nil {
		return err
	}
	if words[0] == "event" {
		n, err := name(words[1])
		if err != nil {
			return err
		}
		at, err := instant(words[2])
		b.Events = append(b.Events, span.Event{Time: at, Name: b.AddText(n), Attrs: list, Dropped: number("dropped")})
		return err
	}
	link := span.Link{TraceState: b.AddText(special["state"]), Attrs: list, Dropped: number("dropped"), Flags: number("flags")}
	// A link may point nowhere: Zipkin and broken SDKs send zero ids.
	if words[1] != "-" {
		if link.TraceID, err = span.ParseTraceID(words[1]); err != nil {
			return err
		}
	}
	if words[2] != "-" {
		link.SpanID, err = span.ParseSpanID(words[2])
	}
	b.Links = append(b.Links, link)
	return err
}
