package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
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
	switch {
	case h.zipkin && resp.StatusCode == http.StatusAccepted:
		return answer{accepted: true}
	case !h.zipkin && resp.StatusCode == http.StatusOK:
		rejected, message, err := partialSuccess(text, h.json)
		if err != nil {
			return answer{message: fmt.Sprintf("answer %s is not an export response: %v", resp.Status, err)}
		}
		return answer{accepted: true, rejected: rejected, message: message}
	}
	a := answer{message: fmt.Sprintf("answer %s: %s", resp.Status, firstLine(text))}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		a.retry = true
		a.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return a
}

func (h *httpPoster) close() {
	for _, c := range h.clients {
		c.CloseIdleConnections()
	}
}

// retryAfter reads the header: seconds or an HTTP date; 0 if it says nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

func firstLine(text []byte) string {
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
	err = eachField(p, func(field protowire.Number, v []byte, _ uint64) error {
		if field != 1 {
			return nil
		}
		return eachField(v, func(field protowire.Number, v []byte, n uint64) error {
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

// eachField walks the length-delimited and varint fields of a protobuf message.
func eachField(p []byte, f func(field protowire.Number, v []byte, n uint64) error) error {
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
