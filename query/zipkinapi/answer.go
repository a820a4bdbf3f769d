package zipkinapi

import (
	"net/http"
	"strconv"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
)

// partSize is the bytes of JSON that are gathered before a part of the answer is sent.
const partSize = 64 << 10

// answer is a reply under way. JSON is appended to buf; whoever appends much calls spill now and then. As long as nothing
// was sent, fail can still replace all of it.
type answer struct {
	buf    []byte
	status int // 0: 200, or that of the problem
	w      http.ResponseWriter
	sent   bool
	err    error // of the connection
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

func (o *answer) send(last bool) {
	if !o.sent {
		h := o.header()
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json")
		}
		h.Set("X-Content-Type-Options", "nosniff")
		if last {
			h.Set("Content-Length", strconv.Itoa(len(o.buf)))
		}
		if o.status == 0 {
			o.status = http.StatusOK
		}
		o.w.WriteHeader(o.status)
		o.sent = true
	}
	if o.err == nil && len(o.buf) > 0 {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
}

// fail replaces the answer by a text. Once a part was sent it is left without its end: no reader takes that for JSON.
func (o *answer) fail(p *problem.Problem) {
	if o.sent {
		return
	}
	if o.status == 0 {
		o.status = p.Kind.HTTPStatus()
	}
	h := o.header()
	if p.Kind.Retryable() {
		h.Set("Retry-After", strconv.Itoa(max(1, int(p.Retry().Seconds()))))
	}
	h.Del("Cache-Control")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	text := p.Error()
	if p.Kind == problem.Internal {
		text = p.Message // the cause is for our log
	}
	o.buf = append(o.buf[:0], text...)
	o.send(true)
}

// names writes a list of texts.
func (o *answer) names(names []string) {
	o.buf = append(o.buf, '[')
	for i, n := range names {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = otlpjson.AppendQuoted(o.buf, n)
		o.spill()
	}
	o.buf = append(o.buf, ']')
}
