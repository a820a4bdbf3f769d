package uiapi

import (
	"bytes"
	"encoding/hex"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// gzipFrom is the size from which an answer is packed, if the client takes that.
const gzipFrom = 1 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level exists
	return w
}}

// send writes a whole answer. Write errors mean that the client went away.
func send(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Add("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			z := gzipWriters.Get().(*gzip.Writer)
			z.Reset(w)
			_, _ = z.Write(body)
			_ = z.Close()
			gzipWriters.Put(z)
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// sendTagged is send with an ETag; a client that has this very answer is told so.
func (a *api) sendTagged(c *call, body []byte, cache string) {
	tag := `W/"` + strconv.FormatUint(maphash.Bytes(a.seed, body), 36) + `"`
	h := c.w.Header()
	h.Set("Cache-Control", cache)
	h.Set("ETag", tag)
	for _, t := range strings.Split(c.r.Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(t) == tag {
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	send(c.w, c.r, http.StatusOK, body)
}

// takesGzip reads Accept-Encoding; gzip;q=0 is a no.
func takesGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";q=")
		if name == "gzip" {
			v, err := strconv.ParseFloat(q, 64)
			return q == "" || err == nil && v > 0
		}
	}
	return false
}

// object appends the members of a JSON object.
type object struct {
	out   []byte
	began bool
}

// open begins an object behind what is there.
func open(dst []byte) object { return object{out: append(dst, '{')} }

func (o *object) close() []byte { return append(o.out, '}') }

// key appends a member's name; the caller appends the value.
func (o *object) key(name string) {
	if o.began {
		o.out = append(o.out, ',')
	}
	o.began = true
	o.out = append(append(append(o.out, '"'), name...), '"', ':')
}

func (o *object) text(name, v string) {
	o.key(name)
	o.out = otlpjson.AppendQuoted(o.out, v)
}

// someText is text left out where it is empty.
func (o *object) someText(name, v string) {
	if v != "" {
		o.text(name, v)
	}
}

// bytes is text left out where it is empty.
func (o *object) bytes(name string, v []byte) {
	if len(v) > 0 {
		o.key(name)
		o.out = otlpjson.AppendQuoted(o.out, v)
	}
}

func (o *object) int(name string, v int64) {
	o.key(name)
	o.out = strconv.AppendInt(o.out, v, 10)
}

// someInt is a number left out where it is 0.
func (o *object) someInt(name string, v int64) {
	if v != 0 {
		o.int(name, v)
	}
}

func (o *object) number(name string, v float64) {
	o.key(name)
	o.out = otlpjson.AppendDouble(o.out, v)
}

func (o *object) bool(name string, v bool) {
	o.key(name)
	o.out = strconv.AppendBool(o.out, v)
}

// instant is nanoseconds since the epoch as text.
func (o *object) instant(name string, ns int64) {
	o.key(name)
	o.out = append(strconv.AppendInt(append(o.out, '"'), ns, 10), '"')
}

func (o *object) id(name string, id []byte) {
	o.key(name)
	o.out = append(hex.AppendEncode(append(o.out, '"'), id), '"')
}

// list appends n items, each by a call of item.
func (o *object) list(name string, n int, item func(dst []byte, i int) []byte) {
	o.key(name)
	o.out = appendList(o.out, n, item)
}

func appendList(dst []byte, n int, item func(dst []byte, i int) []byte) []byte {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item(dst, i)
	}
	return append(dst, ']')
}

// done says how much of the question was answered, and what that took.
func (o *object) done(d store.Done) {
	o.whole(d)
	o.read(d.Read)
}

// whole says how much of the question was answered.
func (o *object) whole(d store.Done) {
	o.bool("complete", d.Complete)
	o.someText("reason", d.Reason)
	if d.Away {
		o.bool("away", true)
	}
}

func (o *object) read(read store.Read) {
	o.key("read")
	r := open(o.out)
	r.int("blocks", read.Blocks)
	r.int("of", read.Of)
	r.int("bytes", read.Bytes)
	o.out = r.close()
}

func appendError(dst []byte, p *problem.Problem) []byte {
	o := open(dst)
	o.key("error")
	o.out = appendProblem(o.out, p)
	return append(o.close(), '\n')
}

func appendProblem(dst []byte, p *problem.Problem) []byte {
	e := open(dst)
	e.text("kind", p.Kind.String())
	message := p.Message
	if p.Err != nil {
		message += ": " + p.Err.Error()
	}
	e.text("message", message)
	e.someText("hint", p.Hint)
	e.someText("field", p.Field)
	return e.close()
}

// typeWord is the API's word for a type.
func typeWord(t span.Type) string {
	switch t {
	case span.TypeString:
		return "string"
	case span.TypeInt:
		return "int"
	case span.TypeDouble:
		return "double"
	case span.TypeBool:
		return "bool"
	case span.TypeBytes:
		return "bytes"
	case span.TypeStrings, span.TypeInts, span.TypeDoubles, span.TypeBools, span.TypeArray:
		return "array"
	case span.TypeKVList:
		return "kvlist"
	default:
		return "null"
	}
}

// appendValue appends a value as the API gives it: as plain JSON, with integers beyond 53 bits as text.
func appendValue(dst []byte, b *span.Batch, v span.Value) []byte {
	const safe = 1<<53 - 1
	number := func(dst []byte, n int64) []byte {
		if n > safe || n < -safe {
			return append(strconv.AppendInt(append(dst, '"'), n, 10), '"')
		}
		return strconv.AppendInt(dst, n, 10)
	}
	switch v.Type {
	case span.TypeInt:
		return number(dst, v.Int())
	case span.TypeInts:
		dst = append(dst, '[')
		elements := b.Elements(v)
		for first := true; ; first = false {
			e, ok := elements.Next()
			if !ok {
				return append(dst, ']')
			}
			if !first {
				dst = append(dst, ',')
			}
			dst = number(dst, e.Int())
		}
	default:
		return otlpjson.AppendValue(dst, b, v)
	}
}

func appendAttributes(dst []byte, b *span.Batch, r span.Range) []byte {
	attrs := b.AttrsOf(r)
	return appendList(dst, len(attrs), func(dst []byte, i int) []byte {
		o := open(dst)
		o.key("key")
		o.out = otlpjson.AppendQuoted(o.out, b.Key(attrs[i]))
		o.text("type", typeWord(attrs[i].Type))
		o.key("value")
		o.out = appendValue(o.out, b, attrs[i].Value())
		return o.close()
	})
}

// readBody reads a small JSON body.
func readBody(c *call, most int64) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(c.r.Body, most+1)); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Message: "the body cannot be read", Err: err}
	}
	if int64(buf.Len()) > most {
		return nil, problem.New(problem.TooLarge, "the body is too large", "")
	}
	return buf.Bytes(), nil
}
