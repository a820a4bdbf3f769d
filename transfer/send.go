package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spanloom/spanloom/internal/otlpclient"
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
	a := otlpclient.OfHTTP(res, answer, false, s.now())
	why := s.url + ": " + a.Message
	switch {
	case a.Verdict == otlpclient.Accepted:
		return outcome{int(min(max(a.Rejected, 0), int64(spans))), a.Message}, 0, nil
	case a.Verdict == otlpclient.Retry:
		return out, a.After, errors.New(why)
	case a.Verdict == otlpclient.TooLarge, res.StatusCode == http.StatusBadRequest, res.StatusCode == http.StatusUnprocessableEntity:
		return outcome{spans, a.Message}, 0, nil
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return out, -1, &problem.Problem{Kind: problem.Forbidden, Field: "--token-file", Message: why, Hint: "give a token of role ingest"}
	default:
		return out, -1, &problem.Problem{Kind: problem.Invalid, Field: "--to", Message: why, Hint: "give the base URL of an OTLP/HTTP receiver, such as http://127.0.0.1:4318"}
	}
}

var errStrict = errors.New("stopped by --strict")
