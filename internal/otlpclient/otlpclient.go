// Package otlpclient is what clients of OTLP's traces share that send requests which are encoded already: the method of gRPC, its codec,
// and what the answers mean by OTLP's specification.
package otlpclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// ExportMethod is the method of gRPC that takes traces.
const ExportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// Verdict says what became of a request.
type Verdict uint8

// The verdicts.
const (
	Refused  Verdict = iota // for good: the same request will be refused again
	Accepted                // but for Answer.Rejected of its spans
	Retry                   // the same request may be sent again, not before Answer.After
	Barred                  // by what a person must mend: a token, a right, an address
	TooLarge                // fewer spans may be taken
)

// Answer is what a receiver said to one request.
type Answer struct {
	Verdict  Verdict
	Rejected int64         // spans of an accepted request that were refused
	After    time.Duration // 0 if the receiver named no time
	Message  string        // why, if not all was taken
}

// OfHTTP judges an answer over HTTP; body is its beginning, now the clock of Retry-After.
func OfHTTP(resp *http.Response, body []byte, isJSON bool, now time.Time) Answer {
	if resp.StatusCode == http.StatusOK {
		rejected, message, err := partialSuccess(body, isJSON)
		if err != nil {
			return Answer{Message: fmt.Sprintf("answer %s is not an export response: %v", resp.Status, err)}
		}
		return Answer{Verdict: Accepted, Rejected: rejected, Message: message}
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-protobuf") {
		body = statusMessage(body)
	}
	a := Answer{Message: fmt.Sprintf("answer %s: %s", resp.Status, FirstLine(body))}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		a.Verdict, a.After = Retry, RetryAfter(resp.Header.Get("Retry-After"), now)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		a.Verdict = Barred
	case http.StatusRequestEntityTooLarge:
		a.Verdict = TooLarge
	}
	return a
}

// OfGRPC judges an answer over gRPC. RESOURCE_EXHAUSTED may be retried only where it says when.
func OfGRPC(reply []byte, err error) Answer {
	if err == nil {
		rejected, message, err := partialSuccess(reply, false)
		if err != nil {
			return Answer{Message: fmt.Sprintf("answer is not an ExportTraceServiceResponse: %v", err)}
		}
		return Answer{Verdict: Accepted, Rejected: rejected, Message: message}
	}
	s := status.Convert(err)
	a := Answer{Message: fmt.Sprintf("grpc-status %s: %s", s.Code(), s.Message())}
	hasInfo := false
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			hasInfo, a.After = true, info.GetRetryDelay().AsDuration()
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		a.Verdict = Retry
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		a.Verdict = Barred
	case codes.ResourceExhausted:
		switch {
		case hasInfo:
			a.Verdict = Retry
		case strings.Contains(s.Message(), "larger than max"), strings.Contains(s.Message(), "exceeds maximum size"): // grpc-go, grpc-java
			a.Verdict = TooLarge
		}
	}
	return a
}

// RetryAfter reads the header: seconds or an HTTP date; 0 if it says nothing.
func RetryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// FirstLine is the beginning of an answer for a message.
func FirstLine(text []byte) string {
	const most = 200
	line, _, _ := strings.Cut(strings.ToValidUTF8(string(text[:min(len(text), most)]), "?"), "\n")
	return line
}

// partialSuccess reads how many spans an ExportTraceServiceResponse refuses.
func partialSuccess(p []byte, isJSON bool) (rejected int64, message string, err error) {
	if isJSON {
		var r struct {
			PartialSuccess struct {
				RejectedSpans json.Number `json:"rejectedSpans"`
				ErrorMessage  string      `json:"errorMessage"`
			} `json:"partialSuccess"`
		}
		if err := json.Unmarshal(p, &r); err != nil {
			return 0, "", err
		}
		if r.PartialSuccess.RejectedSpans != "" {
			rejected, err = r.PartialSuccess.RejectedSpans.Int64()
		}
		return rejected, r.PartialSuccess.ErrorMessage, err
	}
	err = EachField(p, func(field protowire.Number, v []byte, _ uint64) error {
		if field != 1 {
			return nil
		}
		return EachField(v, func(field protowire.Number, v []byte, n uint64) error {
			switch field {
			case 1:
				rejected = int64(n)
			case 2:
				message = string(v)
			}
			return nil
		})
	})
	return rejected, message, err
}

// statusMessage is the message of a google.rpc.Status, which the body of a refusal is in protobuf; the body itself if it is none.
func statusMessage(p []byte) []byte {
	var message []byte
	err := EachField(p, func(field protowire.Number, v []byte, _ uint64) error {
		if field == 2 {
			message = v
		}
		return nil
	})
	if err != nil || message == nil {
		return p
	}
	return message
}

// EachField walks the length-delimited and varint fields of a protobuf message.
func EachField(p []byte, f func(field protowire.Number, v []byte, n uint64) error) error {
	for len(p) > 0 {
		field, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return protowire.ParseError(n)
		}
		p = p[n:]
		var (
			v   []byte
			num uint64
		)
		switch kind {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(p)
		case protowire.VarintType:
			num, n = protowire.ConsumeVarint(p)
		default:
			n = protowire.ConsumeFieldValue(field, kind, p)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		p = p[n:]
		if err := f(field, v, num); err != nil {
			return err
		}
	}
	return nil
}

// Codec passes encoded messages through: *[]byte out, a copy in *[]byte back.
type Codec struct{}

// Name is that of protobuf: the bytes are its.
func (Codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	p, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("message of type %T is not encoded bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*p)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("message of type %T is not encoded bytes", v)
	}
	*p = data.Materialize()
	return nil
}
