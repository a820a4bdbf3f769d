package jaegerapi

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

const (
	partSize    = 64 << 10 // bytes of JSON that are gathered before a part of the answer is sent
	zipFromSize = 1 << 10  // smaller answers are not compressed
)

// answer is a reply under way. JSON is appended to buf; whoever appends much calls spill now and then. As long as
// nothing was sent, fail can still replace all of it.
type answer struct {
	buf    []byte
	status int       // 0: 200, or that of the problem
	pretty *indenter // nil: compact
	v3     bool      // errors have the form of API v3

	w       http.ResponseWriter
	gzip    bool // the client takes it
	zips    *sync.Pool
	zip     *gzip.Writer
	sent    bool  // the head is
	err     error // of the connection
	scratch []byte
}

func (a *api) newAnswer(w http.ResponseWriter, r *http.Request) *answer {
	return &answer{w: w, gzip: takesGzip(r.Header.Get("Accept-Encoding")), zips: a.zips}
}

// takesGzip reads an Accept-Encoding header.
func takesGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		q, given := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !given || err == nil && v > 0
	}
	return false
}

func (o *answer) header() http.Header { return o.w.Header() }

// partial says that not everything could be read.
func (o *answer) partial(complete bool, reason string) {
	if !complete {
		o.header().Set(query.HeaderPartial, query.HeaderText(reason))
	}
}

// spill sends what was appended if it is enough for a part. It reports whether the client is still there.
func (o *answer) spill() bool {
	if len(o.buf) >= partSize {
		o.send(false)
	}
	return o.err == nil
}

func (o *answer) finish() { o.send(true) }

// close gives back what finish or an abandoned answer holds.
func (o *answer) close() {
	if o.zip != nil {
		o.zips.Put(o.zip)
		o.zip = nil
	}
}

func (o *answer) send(last bool) {
	part := o.buf
	if o.pretty != nil {
		o.scratch = o.pretty.append(o.scratch[:0], part)
		part = o.scratch
	}
	if !o.sent {
		o.sendHead(len(part), last)
	}
	if o.err == nil {
		if o.zip != nil {
			_, o.err = o.zip.Write(part)
		} else {
			_, o.err = o.w.Write(part)
		}
	}
	if last && o.zip != nil && o.err == nil {
		o.err = o.zip.Close()
	}
	o.buf = o.buf[:0]
}

func (o *answer) sendHead(size int, last bool) {
	h := o.header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Encoding")
	if o.gzip && size > zipFromSize {
		h.Set("Content-Encoding", "gzip")
		o.zip = o.zips.Get().(*gzip.Writer)
		o.zip.Reset(o.w)
	} else if last {
		h.Set("Content-Length", strconv.Itoa(size))
	}
	if o.status == 0 {
		o.status = http.StatusOK
	}
	o.w.WriteHeader(o.status)
	o.sent = true
}

// fail replaces the answer by an error. Once a part was sent it is left without its end: no reader takes that for JSON.
func (o *answer) fail(p *problem.Problem) {
	if o.sent {
		return
	}
	if o.status == 0 {
		o.status = p.Kind.HTTPStatus()
	}
	if p.Kind.Retryable() {
		o.header().Set("Retry-After", strconv.Itoa(max(1, int(p.Retry().Seconds()))))
	}
	if o.v3 {
		o.failV3(p)
		return
	}
	o.buf = o.buf[:0]
	o.open()
	o.buf = append(o.buf, "null"...)
	o.end(0, []failure{{code: o.status, message: problemText(p)}})
	o.send(true)
}

// problemText is a problem in one line. Not-found is said as Jaeger says it; the cause of what is our fault is for our log.
func problemText(p *problem.Problem) string {
	if p == errTraceNotFound || p == errNoTraces || p.Kind == problem.Internal {
		return p.Message
	}
	return p.Error()
}

// errTraceNotFound is Jaeger's own text, which clients show as it is.
var errTraceNotFound = &problem.Problem{Kind: problem.NotFound, Message: "trace not found"}

// failure is an entry of the envelope's errors.
type failure struct {
	code    int // 0 is left out
	message string
	trace   span.TraceID // zero is left out
}

// open begins the envelope up to the data.
func (o *answer) open() { o.buf = append(o.buf, `{"data":`...) }

// end ends the envelope after the data.
func (o *answer) end(total int, failures []failure) {
	o.buf = strconv.AppendInt(append(o.buf, `,"total":`...), int64(total), 10)
	o.buf = append(o.buf, `,"limit":0,"offset":0,"errors":`...)
	if len(failures) == 0 {
		o.buf = append(o.buf, "null}"...)
		return
	}
	for i, f := range failures {
		if i == 0 {
			o.buf = append(o.buf, "[{"...)
		} else {
			o.buf = append(o.buf, ",{"...)
		}
		if f.code != 0 {
			o.buf = strconv.AppendInt(append(o.buf, `"code":`...), int64(f.code), 10)
			o.buf = append(o.buf, ',')
		}
		o.buf = otlpjson.AppendQuoted(append(o.buf, `"msg":`...), f.message)
		if !f.trace.IsZero() {
			o.buf = append(appendTraceID(append(o.buf, `,"traceID":"`...), f.trace), '"')
		}
		o.buf = append(o.buf, '}')
	}
	o.buf = append(o.buf, "]}"...)
}

// indenter adds line breaks and blanks to compact JSON that passes through in parts.
type indenter struct {
	depth         int
	text, escaped bool // inside of a string, after a backslash
	opened        bool // the last byte opened an object or list
}

func (x *indenter) append(dst, p []byte) []byte {
	for _, c := range p {
		if x.text {
			dst = append(dst, c)
			switch {
			case x.escaped:
				x.escaped = false
			case c == '\\':
				x.escaped = true
			case c == '"':
				x.text = false
			}
			continue
		}
		closes := c == '}' || c == ']'
		if closes {
			x.depth--
		}
		if x.opened != closes && (x.opened || closes) {
			dst = x.line(dst)
		}
		x.opened = c == '{' || c == '['
		dst = append(dst, c)
		switch c {
		case '{', '[':
			x.depth++
		case ',':
			dst = x.line(dst)
		case ':':
			dst = append(dst, ' ')
		case '"':
			x.text = true
		}
	}
	return dst
}

func (x *indenter) line(dst []byte) []byte {
	dst = append(dst, '\n')
	for range x.depth {
		dst = append(dst, "    "...)
	}
	return dst
}
