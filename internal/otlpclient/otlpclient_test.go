package otlpclient

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "3": 3 * time.Second, "-1": 0, "soon": 0,
		"Wed, 04 Mar 2026 05:06:17 GMT": 10 * time.Second, "Wed, 04 Mar 2026 05:06:00 GMT": 0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestHTTPAnswers(t *testing.T) {
	rejected := []byte{1<<3 | 2, 7, 1 << 3, 5, 2<<3 | 2, 3, 'b', 'a', 'd'}
	for _, c := range []struct {
		code  int
		after string
		body  []byte
		json  bool
		want  Answer
	}{
		{200, "", nil, false, Answer{Verdict: Accepted}},
		{200, "", rejected, false, Answer{Verdict: Accepted, Rejected: 5, Message: "bad"}},
		{200, "", []byte(`{"partialSuccess":{"rejectedSpans":"2","errorMessage":"bad"}}`), true, Answer{Verdict: Accepted, Rejected: 2, Message: "bad"}},
		{200, "", []byte("<html>"), false, Answer{}},
		{400, "", []byte("no"), false, Answer{}},
		{500, "9", nil, false, Answer{}},
		{401, "", nil, false, Answer{Verdict: Barred}},
		{404, "", nil, false, Answer{Verdict: Barred}},
		{307, "", nil, false, Answer{Verdict: Barred}},
		{413, "", nil, false, Answer{Verdict: TooLarge}},
		{429, "7", nil, false, Answer{Verdict: Retry, After: 7 * time.Second}},
		{503, "", nil, false, Answer{Verdict: Retry}},
	} {
		resp := &http.Response{StatusCode: c.code, Status: http.StatusText(c.code), Header: http.Header{"Retry-After": {c.after}}}
		got := OfHTTP(resp, c.body, c.json, time.Now())
		if c.want.Message == "" {
			c.want.Message = got.Message
			if (got.Message == "") != (c.want.Verdict == Accepted) {
				t.Errorf("%d %q: message %q", c.code, c.body, got.Message)
			}
		}
		if got != c.want {
			t.Errorf("%d %q: %+v, want %+v", c.code, c.body, got, c.want)
		}
	}
}

// In protobuf a refusal says why in a google.rpc.Status.
func TestHTTPStatusInProtobuf(t *testing.T) {
	for body, want := range map[string]string{
		"\x08\x03\x12\x03bad": "answer 400 Bad Request: bad",
		"\x08\x03":            "answer 400 Bad Request: \x08\x03",
		"<html>":              "answer 400 Bad Request: <html>",
	} {
		resp := &http.Response{StatusCode: http.StatusBadRequest, Status: "400 Bad Request", Header: http.Header{"Content-Type": {"application/x-protobuf"}}}
		if got := OfHTTP(resp, []byte(body), false, time.Now()).Message; got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
}

func TestGRPCAnswers(t *testing.T) {
	info, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(4 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  error
		want Answer
	}{
		{nil, Answer{Verdict: Accepted}},
		{info.Err(), Answer{Verdict: Retry, After: 4 * time.Second}},
		{status.Error(codes.ResourceExhausted, "quota"), Answer{}},
		{status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)"), Answer{Verdict: TooLarge}},
		{status.Error(codes.Unavailable, "away"), Answer{Verdict: Retry}},
		{status.Error(codes.InvalidArgument, "no"), Answer{}},
		{status.Error(codes.Unauthenticated, "who"), Answer{Verdict: Barred}},
	} {
		got := OfGRPC(nil, c.err)
		if c.err != nil && !strings.Contains(got.Message, status.Convert(c.err).Message()) {
			t.Errorf("%v: message %q", c.err, got.Message)
		}
		if got.Message = ""; got != c.want {
			t.Errorf("%v: %+v, want %+v", c.err, got, c.want)
		}
	}
}

func FuzzPartialSuccess(f *testing.F) {
	f.Add([]byte{1<<3 | 2, 7, 1 << 3, 5, 2<<3 | 2, 3, 'b', 'a', 'd'}, false)
	f.Add([]byte(`{"partialSuccess":{"rejectedSpans":"2","errorMessage":"bad"}}`), true)
	f.Fuzz(func(t *testing.T, p []byte, isJSON bool) {
		if _, message, err := partialSuccess(p, isJSON); err == nil && len(message) > 6*len(p) {
			t.Errorf("a message of %d bytes in %d", len(message), len(p))
		}
	})
}
