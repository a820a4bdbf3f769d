package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-faster/jx"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/receive/jaeger"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
)

// decoder turns records into the rows of one batch. Not for concurrent use.
type decoder struct {
	b      *span.Batch
	jaeger jaeger.Decoder
	otlp   otlp.Decoder
	zipkin zipkin.Decoder
	one    span.Batch // of a record of Zipkin's, whose decoder wants an empty one
	copier *span.Copier

	formats map[Format]bool // seen
	extra   map[string]int64
	scratch []byte
}

func newDecoder() *decoder {
	d := &decoder{b: new(span.Batch), formats: make(map[Format]bool), extra: make(map[string]int64)}
	d.begin()
	return d
}

// begin empties the batch.
func (d *decoder) begin() {
	d.b.Reset()
	d.jaeger.Begin(d.b)
	d.copier = span.NewCopier(d.b)
}

// bad is a record, or spans of one, that could not be read.
type bad struct {
	spans int // left out, as far as they could be told; at least 1
	what  []string
}

// add appends a record's spans. What could not be read is answered; the batch holds the rest.
func (d *decoder) add(r record) *bad {
	d.formats[r.format] = true
	switch r.format {
	case Jaeger:
		return d.judge(d.jaeger.Trace(r.body))
	case JaegerDocs:
		source, err := sourceOf(r.body)
		if err != nil {
			return &bad{1, []string{err.Error()}}
		}
		return d.judge(d.jaeger.Document(source))
	case Zipkin:
		return d.zipkinSpan(r.body)
	case TempoJSON:
		return d.request(func() error { return d.otlp.JSON(d.b, asRequest(d.hexIDs(r.body))) })
	case OTLPJSON:
		return d.request(func() error { return d.otlp.JSON(d.b, asRequest(r.body)) })
	default:
		return d.request(func() error { return d.otlp.Protobuf(d.b, r.body) })
	}
}

func (d *decoder) judge(err error) *bad {
	var faults *jaeger.Faults
	switch {
	case err == nil:
		return nil
	case errors.As(err, &faults):
		b := &bad{spans: faults.Spans}
		for _, f := range faults.First {
			b.what = append(b.what, f.Error())
		}
		return b
	default:
		return &bad{1, []string{err.Error()}}
	}
}

// sourceOf is the document of a hit; a document alone is its own.
func sourceOf(body []byte) (source []byte, err error) {
	j := jx.DecodeBytes(body)
	if t := j.Next(); t != jx.Object {
		return nil, fmt.Errorf("a %s where a document is expected", t)
	}
	err = j.ObjBytes(func(j *jx.Decoder, key []byte) error {
		if string(key) != "_source" {
			return j.Skip()
		}
		source, err = j.Raw()
		return err
	})
	if source == nil {
		source = body
	}
	return source, err
}

func (d *decoder) zipkinSpan(body []byte) *bad {
	d.scratch = append(d.scratch[:0], body...) // the decoder changes what it reads
	d.one.Reset()
	report, err := d.zipkin.Decode(&d.one, d.scratch, zipkin.JSONv2)
	if report.UpperCaseID {
		d.extra["ids with capitals: now small letters"]++
	}
	d.copier.Begin(&d.one)
	for i := range d.one.Len() {
		d.copier.Row(i)
	}
	switch {
	case err != nil:
		return &bad{1, []string{err.Error()}}
	case report.Fault != nil:
		return &bad{max(receive.RefusedSpans(&d.one), 1), []string{report.Fault.Error()}}
	}
	return nil
}

// request appends the spans of a request of OTLP. One that does not decode adds none.
func (d *decoder) request(decode func() error) *bad {
	rows, refused := d.b.Len(), receive.RefusedSpans(d.b)
	err := decode()
	for row := rows; row < d.b.Len(); row++ {
		if d.b.Mark[row]&span.MarkCut != 0 {
			d.extra["spans of which texts were not UTF-8 or values nested too deep: mended or cut"]++
		}
	}
	if err != nil {
		d.b.Keep(func(row int) bool { return row < rows })
		return &bad{1, []string{err.Error()}}
	}
	if n := receive.RefusedSpans(d.b) - refused; n > 0 {
		return &bad{n, []string{d.otlp.Refusal().Error()}}
	}
	return nil
}

// asRequest is an element of resourceSpans as a request of its own; what is a request already stays one.
func asRequest(body []byte) []byte {
	whole := false
	_ = jx.DecodeBytes(body).ObjBytes(func(j *jx.Decoder, key []byte) error {
		whole = whole || string(key) == "resourceSpans"
		return j.Skip()
	})
	if whole {
		return body
	}
	return append(append([]byte(`{"resourceSpans":[`), body...), "]}"...)
}

// hexIDs is Tempo's JSON with the ids in hexadecimal as OTLP has them, and batches called resourceSpans.
func (d *decoder) hexIDs(body []byte) []byte {
	out := d.scratch[:0]
	for len(body) > 0 {
		at := bytes.IndexByte(body, '"')
		if at < 0 {
			break
		}
		end := endOfText(body[at:])
		if end < 0 {
			break
		}
		text := body[at : at+end]
		out = append(out, body[:at]...)
		body = body[at+end:]
		bits := 0
		switch string(text) {
		case `"traceId"`:
			bits = 16
		case `"spanId"`, `"parentSpanId"`:
			bits = 8
		case `"batches"`:
			if rest := bytes.TrimLeft(body, " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				text = []byte(`"resourceSpans"`)
			}
		}
		out = append(out, text...)
		if bits == 0 {
			continue
		}
		rest := bytes.TrimLeft(body, " \t\r\n")
		if len(rest) == 0 || rest[0] != ':' {
			continue
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '"' {
			continue
		}
		if end = endOfText(rest); end < 0 {
			continue
		}
		id, err := base64.StdEncoding.DecodeString(string(rest[1 : end-1]))
		if err != nil || len(id) != bits {
			continue // it may be hexadecimal already; the decoder judges
		}
		out = append(out, `:"`...)
		out = append(hex.AppendEncode(out, id), '"')
		body = rest[end:]
	}
	d.scratch = append(out, body...)
	return d.scratch
}

// endOfText is the length of the JSON string that begins text; -1 if it has no end.
func endOfText(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}
