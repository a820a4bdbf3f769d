package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spanloom/spanloom/internal/otlpclient"
)

// answer is what a receiver said to one request.
type answer struct {
	accepted bool
	rejected int64         // spans of an accepted request that were refused
	retry    bool          // the request may be sent again
	after    time.Duration // not before; 0 if the receiver named no time
	message  string        // why, if not all was taken
}

// poster sends one request on one of its connections (0 to connections-1) and waits for the answer. An error of the
// connection is an answer that may be retried.
type poster interface {
	post(ctx context.Context, connection int, body []byte) answer
	close()
}

// httpPoster posts over one keep-alive HTTP/1.1 connection each.
type httpPoster struct {
	url, contentType, token string
	chunked                 bool // without Content-Length, as Envoy sends
	zipkin                  bool // 202 is success; else 200 with an ExportTraceServiceResponse
	json                    bool
	clients                 []*http.Client
}

func (h *httpPoster) post(ctx context.Context, connection int, body []byte) answer {
	var reader io.Reader = bytes.NewReader(body)
	if h.chunked {
		reader = struct{ io.Reader }{reader}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, reader)
	if err != nil {
		return answer{message: err.Error()}
	}
	req.Header.Set("Content-Type", h.contentType)
	if h.token != "" {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	resp, err := h.clients[connection].Do(req)
	if err != nil {
		return answer{retry: ctx.Err() == nil, message: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return answer{retry: ctx.Err() == nil, message: fmt.Sprintf("read the answer (%s): %v", resp.Status, err)}
	}
	return h.judge(resp, text)
}

func (h *httpPoster) judge(resp *http.Response, text []byte) answer {
	if h.zipkin && resp.StatusCode == http.StatusAccepted {
		return answer{accepted: true}
	}
	a := answerOf(otlpclient.OfHTTP(resp, text, h.json, time.Now()))
	if h.zipkin && a.accepted {
		return answer{message: fmt.Sprintf("answer %s: %s", resp.Status, otlpclient.FirstLine(text))}
	}
	return a
}

// answerOf is an answer of OTLP as load counts it.
func answerOf(a otlpclient.Answer) answer {
	return answer{accepted: a.Verdict == otlpclient.Accepted, rejected: a.Rejected, retry: a.Verdict == otlpclient.Retry, after: a.After, message: a.Message}
}

func (h *httpPoster) close() {
	for _, c := range h.clients {
		c.CloseIdleConnections()
	}
}
