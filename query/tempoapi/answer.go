package tempoapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
)

// The content types of answers. Tempo's binary form goes by the first of the two names only.
const (
	typeProtobuf = "application/protobuf"
	typeJSON     = "application/json"
	typeText     = "text/plain; charset=utf-8"
)

// statusClientClosed is what Tempo answers to a client that has gone.
const statusClientClosed = 499

// spillAt is how many bytes of an answer wait before they are sent.
const spillAt = 64 << 10

// answer is a response on its way: bytes gather in buf and are sent in parts.
type answer struct {
	w      http.ResponseWriter
	head   bool // only the head is wanted
	status int  // of an error, where it is not that of its kind
	buf    []byte
	begun  bool // the status line is out
	gone   bool // so is the client
	silent bool // an error is told by its status alone
}

// begin sends the head of a good answer.
func (o *answer) begin(contentType string) {
	o.w.Header().Set("Content-Type", contentType)
	o.w.WriteHeader(http.StatusOK)
	o.begun = true
}

// spill sends what waits if it is much. It reports whether the client is still there.
func (o *answer) spill() bool {
	if len(o.buf) >= spillAt {
		o.flush()
	}
	return !o.gone
}

func (o *answer) flush() {
	if !o.head && !o.gone && len(o.buf) > 0 {
		_, err := o.w.Write(o.buf)
		o.gone = err != nil
	}
	o.buf = o.buf[:0]
}

// message answers a message in the form that the request asks for.
func (c *call) message(m proto.Message) error {
	if c.wantsProtobuf() {
		body, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		c.whole(typeProtobuf, body)
		return nil
	}
	body, err := asJSON(m)
	if err != nil {
		return err
	}
	c.whole(typeJSON, body)
	return nil
}

// whole answers a body of known length.
func (c *call) whole(contentType string, body []byte) {
	c.out.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.out.begin(contentType)
	c.out.buf = body
	c.out.flush()
}

// wantsProtobuf: Tempo looks for the name anywhere in Accept.
func (c *call) wantsProtobuf() bool { return strings.Contains(c.Header.Get("Accept"), typeProtobuf) }

// asJSON is a message in proto3's JSON. protojson varies its spaces on purpose, so they are taken out.
func asJSON(m proto.Message) ([]byte, error) {
	body, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(len(body))
	if err := json.Compact(&out, body); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// fail answers an error as Tempo does: plain text. Of an answer that has begun the connection is cut, so that nobody takes the
// half for the whole.
func (o *answer) fail(err error) {
	if o.begun {
		panic(http.ErrAbortHandler)
	}
	p := problem.Of(err)
	code := o.status
	switch {
	case code != 0:
	case errors.Is(err, context.Canceled):
		code = statusClientClosed
	case errors.Is(err, context.DeadlineExceeded):
		code = http.StatusGatewayTimeout
	default:
		code = p.Kind.HTTPStatus()
	}
	if p.Kind.Retryable() {
		o.w.Header().Set("Retry-After", strconv.Itoa(int(p.Retry().Seconds()+0.999)))
	}
	o.w.Header().Set("Content-Type", typeText)
	o.w.Header().Set("X-Content-Type-Options", "nosniff")
	o.w.WriteHeader(code)
	if o.silent {
		return
	}
	o.buf = append(o.buf[:0], errorText(err)...)
	o.flush()
}

// errorText is what a client shows of an error: of a query that does not parse in the words that people know from Tempo.
func errorText(err error) string {
	if parse, ok := errors.AsType[*traceql.ParseError](err); ok {
		return parse.Error()
	}
	return problem.Of(err).Error()
}

// grpcError is fail for gRPC.
func grpcError(err error) error {
	switch p := problem.Of(err); {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, errorText(err))
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, errorText(err))
	default:
		return status.Error(p.Kind.GRPCCode(), errorText(err))
	}
}

// text is a string as protobuf allows it: bytes that are not UTF-8 become U+FFFD.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// partial marks an answer that a limit of the store or of the query cut; Tempo's search has no field for it.
func (c *call) partial(d store.Done) {
	if !d.Complete {
		c.out.w.Header().Set(query.HeaderPartial, query.HeaderText(d.Reason))
	}
}
