package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/internal/problem"
)

// sender posts requests to an OTLP/HTTP receiver. It is safe for concurrent use.
type sender struct {
	url      string // of /v1/traces
	token    string
	client   *http.Client
	retryFor time.Duration
	wait     func(context.Context, time.Duration) error
	now      func() time.Time
	waiting  func(why string) // told before each pause
}

// outcome is what became of a request.
type outcome struct {
	refused int    // spans
	why     string // of the refused; of an accepted request a warning
}

const (
	firstPause = 500 * time.Millisecond
	longPause  = 15 * time.Second
)

// send posts a request until it is answered for good. An error says that the import cannot go on; nothing says then whether the spans
// are stored.
func (s *sender) send(ctx context.Context, body []byte, spans int) (outcome, error) {
	began, pause := s.now(), firstPause
	for {
		out, retry, err := s.once(ctx, body, spans)
		if err == nil || retry < 0 {
			return out, err
		}
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if retry == 0 {
			retry = pause
			pause = min(2*pause, longPause)
		}
		if s.now().Add(retry).Sub(began) > s.retryFor {
			return out, fmt.Errorf("%w (tried for %s)", err, s.now().Sub(began).Round(time.Second))
		}
		s.waiting(err.Error())
		if err := s.wait(ctx, retry); err != nil {
			return out, err
		}
	}
}

// once posts a request once. With an error, retry is when to try again: 0 whenever, negative never.
func (s *sender) once(ctx context.Context, body []byte, spans int) (out outcome, retry time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return out, -1, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "spanloom-import")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return out, 0, fmt.Errorf("%w (is `spanloom serve` running there? see --to)", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return out, 0, fmt.Errorf("read answer of %s: %w", s.url, err)
	}
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		refused, why := partialSuccess(answer)
		return outcome{int(min(refused, uint64(spans))), why}, 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return out, retryAfter(res.Header.Get("Retry-After"), s.now()), fmt.Errorf("%s answered %s: %s", s.url, res.Status, statusText(answer))
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return outcome{spans, fmt.Sprintf("%s: %s", res.Status, statusText(answer))}, 0, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return out, -1, &problem.Problem{Kind: problem.Forbidden, Field: "--token-file", Message: fmt.Sprintf("%s answered %s: %s", s.url, res.Status, statusText(answer)), Hint: "give a token of role ingest"}
	default:
		return out, -1, &problem.Problem{Kind: problem.Invalid, Field: "--to", Message: fmt.Sprintf("%s answered %s: %s", s.url, res.Status, statusText(answer)), Hint: "give the base URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318"}
	}
}

// retryAfter reads the header: seconds or an instant. 0 where it says nothing.
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(header); err == nil && n >= 0 && n < 1<<20 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// partialSuccess reads an ExportTraceServiceResponse: partial_success=1 {rejected_spans=1, error_message=2}.
func partialSuccess(answer []byte) (rejected uint64, message string) {
	partial := field(answer, 1)
	if n, size := protowire.ConsumeVarint(field(partial, 1)); size > 0 {
		rejected = n
	}
	return rejected, string(field(partial, 2))
}

// statusText is the message of a google.rpc.Status, in protobuf as our receiver answers, else what text there is.
func statusText(answer []byte) string {
	text := string(field(answer, 2))
	if text == "" {
		text = strings.ToValidUTF8(string(answer[:min(len(answer), 300)]), "")
	}
	return strings.Join(strings.Fields(text), " ")
}

// field is the bytes of the last field of a number: the content of a message or text, the varint itself.
func field(message []byte, want protowire.Number) (value []byte) {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return value
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(num, typ, message)
		if size < 0 {
			return value
		}
		if num == want {
			value = message[:size]
			if typ == protowire.BytesType {
				value, _ = protowire.ConsumeBytes(message)
			}
		}
		message = message[size:]
	}
	return value
}

var errStrict = errors.New("stopped by --strict")
