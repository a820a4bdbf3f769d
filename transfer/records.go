package transfer

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/internal/problem"
)

// Format is a form in which spans lie in files.
type Format string

// The formats.
const (
	Detect     Format = ""           // by the content, value by value
	Jaeger     Format = "jaeger"     // traces of Jaeger's API and of its UI's download
	JaegerDocs Format = "jaeger-es"  // documents or hits of Jaeger's Elasticsearch indices
	Zipkin     Format = "zipkin"     // spans of version 1 and 2 in JSON
	OTLPJSON   Format = "otlp-json"  // requests, also a line each
	OTLPProto  Format = "otlp-proto" // a request, or requests with their length before each
	TempoJSON  Format = "tempo-json" // answers of Tempo's API: OTLP of which ids are base64
)

// Formats are the words for --format.
func Formats() []Format {
	return []Format{Jaeger, JaegerDocs, Zipkin, OTLPJSON, OTLPProto, TempoJSON}
}

// ParseFormat reads a word of --format.
func ParseFormat(word string) (Format, error) {
	if word == "" || word == "auto" {
		return Detect, nil
	}
	names := make([]string, 0, len(Formats()))
	for _, f := range Formats() {
		if string(f) == word {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", &problem.Problem{Kind: problem.Invalid, Field: "--format", Message: fmt.Sprintf("%q is no format", word), Hint: "it is one of " + strings.Join(names, ", ") + "; without it the content decides"}
}

// record is a piece of a file that is decoded by itself.
type record struct {
	format Format // never Detect
	body   []byte // a view
	at     Position
	end    int64 // up to here everything was given: records that begin before are done when this one is
}

// lists are the members that hold records, and objects those that hold such members.
var lists = map[string]Format{"data": Jaeger, "resourceSpans": OTLPJSON, "batches": TempoJSON, "hits": JaegerDocs}

// wrappers are the names of members with which answers of servers begin. Any other object is a record.
var wrappers = map[string]bool{
	"data": true, "total": true, "limit": true, "offset": true, "errors": true, // Jaeger
	"resourceSpans": true, "result": true, // OTLP, Jaeger's API v3
	"batches": true, "trace": true, "metrics": true, // Tempo
	"took": true, "timed_out": true, "hits": true, "_scroll_id": true, "pit_id": true, "_shards": true, // Elasticsearch
}

// walker gives the records of a stream of JSON.
type walker struct {
	s      *stream
	format Format // that was asked for
	each   func(record) error
	bad    func(at Position, what string) error // a piece that cannot be read; an error ends the walk
}

// stopped is an error of each or bad, which ends the walk.
type stopped struct{ error }

// walk reads to the end. Errors are those of the reader, of each and of bad.
func (w *walker) walk() error {
	for values := 0; ; {
		c, err := w.s.peek()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if c == 0x1e || c == 0xef && w.s.offset() == 0 { // JSON text sequences; a byte order mark
			if w.s.pos++; c == 0xef {
				w.s.pos = min(w.s.pos+2, len(w.s.buf))
			}
			continue
		}
		w.s.byLine = values > 0 && c == '{' && w.s.lineStart()
		values++
		err = w.element(c, w.format, false, false)
		var syntax *syntaxError
		var stop stopped
		switch {
		case err == nil:
		case errors.As(err, &stop):
			return stop.error
		case errors.As(err, &syntax):
			more := w.s.nextLine()
			what := "no JSON: " + syntax.what
			if more {
				what += fmt.Sprintf("; reading goes on at line %d", w.s.position().Line)
			} else {
				what += "; what follows is not read"
			}
			if err := w.bad(syntax.at, what); err != nil {
				return err
			}
			if !more {
				return w.s.err
			}
		default:
			return err
		}
	}
}

// element takes the next value: a list of elements, an object with lists in it, or a record.
func (w *walker) element(c byte, format Format, inList, nested bool) error {
	switch {
	case c == '[':
		w.s.pos++
		return w.list(format)
	case c == '{' && nested && w.s.byLine && w.s.lineStart():
		return w.s.wrong("the end of the line inside of a list")
	case c == '{' && !inList && wrappers[w.s.firstKey()]:
		return w.object(false)
	}
	at := w.s.position()
	body, err := w.s.value(true)
	if errors.Is(err, errTooLong) {
		if err := w.bad(at, fmt.Sprintf("a value of %d MiB, of at most %d", (w.s.offset()-at.Offset)>>20, w.s.most>>20)); err != nil {
			return stopped{err}
		}
		return nil
	}
	var syntax *syntaxError
	if errors.As(err, &syntax) { // the place of a piece is where it begins
		return &syntaxError{at, syntax.what + " at " + syntax.at.String()}
	}
	if err != nil {
		return err
	}
	if format == Detect {
		format = classify(body)
	}
	if format == Detect {
		what := "neither spans of Jaeger, Zipkin nor OpenTelemetry"
		if c != '{' {
			what = fmt.Sprintf("%.40q where an object is expected", body)
		}
		err = w.bad(at, what)
	} else {
		err = w.each(record{format, body, at, w.s.offset()})
	}
	if err != nil {
		return stopped{err}
	}
	return nil
}

// list takes the elements of a list whose bracket was taken.
func (w *walker) list(format Format) error {
	for first := true; ; first = false {
		more, err := w.s.next(first, ']')
		if err != nil || !more {
			return err
		}
		c, err := w.s.peek()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = w.s.wrong("the end inside of a list")
			}
			return err
		}
		if err := w.element(c, format, format != Detect, true); err != nil {
			return err
		}
	}
}

// object takes an object that holds lists of records, or objects that do. In Tempo's answers the object "trace" is OTLP with ids as Tempo writes them.
func (w *walker) object(tempo bool) error {
	if err := w.s.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := w.s.next(first, '}')
		if err != nil || !more {
			return err
		}
		name, err := w.s.value(true)
		if err != nil {
			return err
		}
		key, err := jx.DecodeBytes(name).Str()
		if err != nil {
			return w.s.wrong("no name of a member")
		}
		if err := w.s.expect(':'); err != nil {
			return err
		}
		c, err := w.s.peek()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = w.s.wrong("the end where a value is expected")
			}
			return err
		}
		format, isList := lists[key]
		if tempo && key == "resourceSpans" {
			format = TempoJSON
		}
		switch {
		case isList && c == '[':
			w.s.pos++
			err = w.list(format)
		case c == '{' && (key == "hits" || key == "result" || key == "trace" || key == "data"):
			err = w.object(key == "trace")
		default:
			_, err = w.s.value(false)
		}
		if err != nil {
			return err
		}
	}
}

// classify tells by an object's members what it is; Detect if nothing of what we know. Cost: one walk over it.
func classify(body []byte) Format {
	var traceID, spanID, spans, zipkin, source, resource, batches, jaegerID bool
	err := jx.DecodeBytes(body).ObjBytes(func(j *jx.Decoder, key []byte) error {
		switch string(key) {
		case "traceID":
			jaegerID = true
		case "spanID", "operationName":
			spanID = true
		case "spans":
			spans = true
		case "traceId":
			traceID = true
		case "id", "localEndpoint", "binaryAnnotations":
			zipkin = true
		case "_source":
			source = true
		case "resourceSpans":
			resource = true
		case "batches":
			batches = true
		}
		return j.Skip()
	})
	switch {
	case err != nil:
		return Detect
	case source, jaegerID && spanID:
		return JaegerDocs
	case jaegerID && spans:
		return Jaeger
	case resource:
		return OTLPJSON
	case batches:
		return TempoJSON
	case traceID && zipkin:
		return Zipkin
	}
	return Detect
}
