package opensearch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// encoder makes documents of spans. It keeps its memory from batch to batch.
type encoder struct {
	documents
	blob  []byte
	value []byte
	seen  map[string]int
}

// hashMark begins a word that is the hash of one. No sender's word that is kept begins with it.
const hashMark = 0x01

// againMark parts a key from its running number in a document that has it several times. Words with it are hashed.
const againMark = 0x00

// maxWord is the longest text that stands in an index as it is: long enough for names and most addresses. An index takes 32,766 bytes.
const maxWord = 256

// appendWord appends a text as it stands in an index, a text of JSON's inner form.
func appendWord(dst, text []byte) []byte {
	if len(text) > maxWord || len(text) > 0 && text[0] == hashMark || bytes.IndexByte(text, againMark) >= 0 || !utf8.Valid(text) {
		sum := sha256.Sum256(text)
		dst = append(dst, `\u0001`...)
		return hex.AppendEncode(dst, sum[:16])
	}
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// isHash reports whether a word that an index answers is not the text.
func isHash(word string) bool { return len(word) > 0 && word[0] == hashMark }

// appendWhole writes bytes as a text that needs no escapes and in which plain texts stand as they are, so that the server's compression
// finds what spans have in common: byte c that is no printable ASCII, a quote or a backslash is the character U+0100 + c.
func appendWhole(dst, p []byte) []byte {
	for _, c := range p {
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			dst = append(dst, c)
		} else {
			dst = append(dst, 0xc4|c>>6, 0x80|c&0x3f)
		}
	}
	return dst
}

// parseWhole is the reverse of appendWhole. It trusts nothing.
func parseWhole(dst []byte, text string) ([]byte, error) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c < 0x80:
			dst = append(dst, c)
		case c&^3 == 0xc4 && i+1 < len(text) && text[i+1]&0xc0 == 0x80:
			i++
			dst = append(dst, c<<6|text[i]&0x3f)
		default:
			return dst, fmt.Errorf("byte %d of a stored span is no part of one", i)
		}
	}
	return dst, nil
}

// ownerLetters are the owners of attributes in words.
var ownerLetters = map[store.FieldScope]byte{store.InSpan: 's', store.InResource: 'r', store.InScope: 'c', store.InEvent: 'e', store.InLink: 'l'}

// row is a view of one row of a batch as a batch.
func row(b *span.Batch, i int) *span.Batch {
	one := *b
	j := i + 1
	one.TraceID, one.SpanID, one.Parent, one.Name = b.TraceID[i:j], b.SpanID[i:j], b.Parent[i:j], b.Name[i:j]
	one.Kind, one.Status, one.Mark, one.Start, one.End, one.Time = b.Kind[i:j], b.Status[i:j], b.Mark[i:j], b.Start[i:j], b.End[i:j], b.Time[i:j]
	one.StatusMessage, one.TraceState, one.Flags = b.StatusMessage[i:j], b.TraceState[i:j], b.Flags[i:j]
	one.SpanAttrs, one.SpanEvents, one.SpanLinks = b.SpanAttrs[i:j], b.SpanEvents[i:j], b.SpanLinks[i:j]
	one.DroppedAttrs, one.DroppedEvents, one.DroppedLinks = b.DroppedAttrs[i:j], b.DroppedEvents[i:j], b.DroppedLinks[i:j]
	one.Resource, one.Scope, one.Weight = b.Resource[i:j], b.Scope[i:j], b.Weight[i:j]
	one.Service, one.Group, one.Namespace = b.Service[i:j], b.Group[i:j], b.Namespace[i:j]
	one.Refused = nil
	return &one
}

// encode adds a row of a batch to the bulk. Its id is made of the batch's and of its number there; place is its number in the insert.
func (e *encoder) encode(b *span.Batch, i int, id []byte, no int, writer string, seq uint64, place int) {
	p := e.text
	p = append(p, `{"create":{"_id":"`...)
	p = append(p, id...)
	p = strconv.AppendUint(append(p, '-'), uint64(no), 36)
	p = append(p, `"}}`+"\n"+`{"tenant":"`...)
	p = appendWord(p, []byte(answer.Tenant(b.Tenant)))
	word := func(name string, text []byte) {
		p = append(append(append(p, `","`...), name...), `":"`...)
		p = appendWord(p, text)
	}
	digits := func(name string, id []byte) {
		p = append(append(append(p, `","`...), name...), `":"`...)
		p = hex.AppendEncode(p, id)
	}
	digits("trace", b.TraceID[i][:])
	digits("low", b.TraceID[i][8:])
	digits("span", b.SpanID[i][:])
	if b.Parent[i].IsZero() {
		word("parent", nil)
	} else {
		digits("parent", b.Parent[i][:])
	}
	word("service", b.Bytes(b.Service[i]))
	word("group", b.Bytes(b.Group[i]))
	word("namespace", b.Bytes(b.Namespace[i]))
	word("name", b.Bytes(b.Name[i]))
	word("message", b.Bytes(b.StatusMessage[i]))
	word("traceState", b.Bytes(b.TraceState[i]))
	scope := b.Scopes[b.Scope[i]]
	word("scopeName", b.Bytes(scope.Name))
	word("scopeVersion", b.Bytes(scope.Version))
	word("writer", []byte(writer))
	p = append(p, '"')
	number := func(name string, n int64) {
		p = append(append(append(p, `,"`...), name...), `":`...)
		p = strconv.AppendInt(p, n, 10)
	}
	number("at", b.Time[i])
	number("end", b.EndTime(i))
	number("duration", b.Duration(i))
	number("kind", int64(b.Kind[i]))
	number("status", int64(b.Status[i]))
	number("seq", int64(seq))
	number("row", int64(place))
	p = append(p, `,"failed":`...)
	p = strconv.AppendBool(p, b.Failed(i))

	p = append(p, `,"events":[`...)
	for n, event := range b.EventsOf(i) {
		p = appendWord(append(comma(p, n), '"'), b.Bytes(event.Name))
		p = append(p, '"')
	}
	p = append(p, `],"keys":[`...)
	first := len(p)
	if e.seen == nil {
		e.seen = make(map[string]int)
	}
	clear(e.seen)
	e.owners(b, i, func(letter byte, attrs []span.Attr) {
		for _, a := range attrs {
			p = append(comma(p, len(p)-first), '"')
			start := len(p)
			p = appendKey(p, letter, a.Type, b.Key(a))
			// The server counts documents: what a document has several times is a word of its own each time.
			e.seen[string(p[start:])]++
			if n := e.seen[string(p[start:])]; n > 1 {
				p = fmt.Appendf(p, `\u0000%d`, n)
			}
			p = append(p, '"')
		}
	})
	p = append(p, `],"attrs":[`...)
	first = len(p)
	e.owners(b, i, func(letter byte, attrs []span.Attr) {
		for _, a := range attrs {
			p = e.values(p, first, b, letter, a)
		}
	})
	p = append(p, ']')
	p = e.numbers(p, b, b.AttrsOf(b.SpanAttrs[i]))
	e.blob = row(b, i).AppendBinary(e.blob[:0])
	p = append(p, `,"whole":"`...)
	p = appendWhole(p, e.blob)
	e.text = append(p, '"', '}', '\n')
	e.ends, e.rows = append(e.ends, len(e.text)), append(e.rows, place)
}

// owners calls for every owner of attributes of a row.
func (e *encoder) owners(b *span.Batch, i int, each func(letter byte, attrs []span.Attr)) {
	each('s', b.AttrsOf(b.SpanAttrs[i]))
	each('r', b.AttrsOf(b.Resources[b.Resource[i]].Attrs))
	each('c', b.AttrsOf(b.Scopes[b.Scope[i]].Attrs))
	for _, event := range b.EventsOf(i) {
		each('e', b.AttrsOf(event.Attrs))
	}
	for _, link := range b.LinksOf(i) {
		each('l', b.AttrsOf(link.Attrs))
	}
}

func comma(p []byte, before int) []byte {
	if before > 0 {
		return append(p, ',')
	}
	return p
}

// appendKey is the word of a key: owner, type, key.
func appendKey(p []byte, letter byte, typ span.Type, key []byte) []byte {
	return appendWord(append(p, letter, 'a'+byte(typ)), key)
}

// values appends the words of a value: of an array, those of its elements. Values without a text form have none: only rows can tell.
func (e *encoder) values(p []byte, first int, b *span.Batch, letter byte, a span.Attr) []byte {
	if a.Type < span.TypeStrings {
		return e.valueOf(p, first, b, letter, a, a.Value())
	}
	for walk := b.Elements(a.Value()); ; {
		element, ok := walk.Next()
		if !ok {
			return p
		}
		p = e.valueOf(p, first, b, letter, a, element)
	}
}

func (e *encoder) valueOf(p []byte, first int, b *span.Batch, letter byte, a span.Attr, v span.Value) []byte {
	text, ok := match.AppendText(e.value[:0], b, v)
	e.value = text
	if !ok {
		return p
	}
	p = append(comma(p, len(p)-first), '"')
	p = appendValue(p, letter, b.Key(a), text)
	return append(p, '"')
}

// appendValue is the word of a value: owner, key, text.
func appendValue(p []byte, letter byte, key, text []byte) []byte {
	p = appendWord(append(p, letter), key)
	return appendWord(append(p, '='), text)
}

// numbered are the keys whose values stand in a field of numbers too.
var numbered = map[string]string{
	"http.status_code": "httpStatus", "http.response.status_code": "httpStatus",
	"grpc.status_code": "grpcStatus", "rpc.grpc.status_code": "grpcStatus",
}

// numbers appends the numbered fields of a span, a list each.
func (e *encoder) numbers(p []byte, b *span.Batch, attrs []span.Attr) []byte {
	for _, field := range []string{"httpStatus", "grpcStatus"} {
		n := 0
		one := func(v span.Value) {
			text, ok := match.AppendText(e.value[:0], b, v)
			e.value = text
			number, err := strconv.ParseFloat(string(text), 64)
			if !ok || err != nil || number != number || math.IsInf(number, 0) {
				return
			}
			if n == 0 {
				p = append(append(append(p, `,"`...), field...), `":[`...)
			}
			p = strconv.AppendFloat(comma(p, n), number, 'g', -1, 64)
			n++
		}
		for _, a := range attrs {
			if numbered[string(b.Key(a))] != field {
				continue
			}
			if a.Type < span.TypeStrings {
				one(a.Value())
				continue
			}
			for walk := b.Elements(a.Value()); ; {
				element, ok := walk.Next()
				if !ok {
					break
				}
				one(element)
			}
		}
		if n > 0 {
			p = append(p, ']')
		}
	}
	return p
}

// content is a hash of a batch with its receipt: the queue of a process sends the same batch again until it is stored.
func (e *Engine) content(b *span.Batch, scratch []byte) (uint64, []byte) {
	scratch = b.AppendBinary(scratch[:0])
	return maphash.Bytes(e.seed, scratch), scratch
}
