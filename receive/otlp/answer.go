package otlp

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/spanloom/spanloom/internal/problem"
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

// Header values that every answer has, shared so that setting them allocates nothing. Nobody changes them.
var (
	protobufHeader = []string{protobufType}
	jsonHeader     = []string{jsonType}
)

// statusOfProblem is a problem as google.rpc.Status. Only problems that a retry may mend carry RetryInfo: a client takes
// RESOURCE_EXHAUSTED without it as final.
func statusOfProblem(pr *problem.Problem) *status.Status {
	s := status.New(pr.Kind.GRPCCode(), pr.Error())
	var detail protoadapt.MessageV1
	switch {
	case pr.Kind.Retryable():
		detail = &errdetails.RetryInfo{RetryDelay: durationpb.New(pr.Retry())}
	case pr.Kind == problem.Invalid:
		detail = &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: pr.Field, Description: pr.Message}}}
	default:
		return s
	}
	if detailed, err := s.WithDetails(detail); err == nil {
		return detailed
	}
	return s
}

// writeSuccess answers 200: zero bytes of protobuf or {}; a partial success where spans were refused.
func writeSuccess(w http.ResponseWriter, f form, rejected int, why string) {
	h := w.Header()
	if f == jsonForm {
		h["Content-Type"] = jsonHeader
		body := []byte("{}")
		if rejected > 0 {
			body = append(body[:0], `{"partialSuccess":{"rejectedSpans":"`...)
			body = strconv.AppendInt(body, int64(rejected), 10)
			body = append(body, `","errorMessage":`...)
			body = append(append(body, jsonString(why)...), `}}`...)
		}
		_, _ = w.Write(body)
		return
	}
	h["Content-Type"] = protobufHeader
	if rejected > 0 {
		_, _ = w.Write(appendResponse(nil, rejected, why))
	}
}

// appendResponse appends an ExportTraceServiceResponse. Nothing rejected is the empty message: partial_success unset.
func appendResponse(dst []byte, rejected int, why string) []byte {
	if rejected == 0 {
		return dst
	}
	dst, at := openField(dst, 1<<3|bytes_)
	dst = appendCount(dst, 1<<3|varint, uint32(rejected))
	dst = appendBytes(dst, 2<<3|bytes_, []byte(why))
	return closeField(dst, at)
}

// writeProblem answers with google.rpc.Status in the request's own form.
func writeProblem(w http.ResponseWriter, f form, httpStatus int, pr *problem.Problem) {
	h := w.Header()
	if pr.Kind.Retryable() {
		h.Set("Retry-After", strconv.Itoa(retrySeconds(pr)))
	}
	if pr.Kind == problem.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	s := statusOfProblem(pr)
	var body []byte
	if f == jsonForm {
		h["Content-Type"] = jsonHeader
		body = append([]byte(`{"code":`), strconv.Itoa(int(s.Code()))...)
		body = append(append(body, `,"message":`...), jsonString(s.Message())...)
		body = append(body, '}')
	} else {
		h["Content-Type"] = protobufHeader
		body, _ = proto.Marshal(s.Proto())
	}
	w.WriteHeader(httpStatus)
	_, _ = w.Write(body)
}

// writeText answers where the request's form is not known.
func writeText(w http.ResponseWriter, httpStatus int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(httpStatus)
	_, _ = w.Write([]byte(text))
}

// retrySeconds is a retry time in whole seconds, at least one.
func retrySeconds(pr *problem.Problem) int {
	return max(1, int((pr.Retry()+time.Second-1)/time.Second))
}

func jsonString(s string) []byte {
	p, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`)
	}
	return p
}

// unimplemented is the status of what this receiver does not store.
func unimplemented(message string) *status.Status { return status.New(codes.Unimplemented, message) }
