package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 2 * time.Minute // of one request, its answer read
	maxAnswer      = 1 << 30         // bytes of an answer; 10,000 spans are some 10 MB
)

// client asks the servers of a target. It is safe for concurrent use.
type client struct {
	target *Target
	http   *http.Client
	first  atomic.Int64 // host that answered last
}

func newClient(t *Target) *client {
	return &client{target: t, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     t.TLS,
			TLSHandshakeTimeout: dialTimeout,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     30 * time.Second,
		},
		// A redirect would take the password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// request is one question. Again says that it may be asked twice: all but writes of documents under a version.
type request struct {
	method, path string
	body         []byte
	lines        bool // the body is lines of JSON
	once         bool // not to be asked again where the answer was lost
}

// do asks and answers the body of a 2xx answer. Another status is a *refusal. A host that does not answer is passed over, and the last one
// is asked twice: a connection that lay idle may have died.
func (c *client) do(ctx context.Context, r request) ([]byte, error) {
	var failures []error
	hosts := c.target.Hosts
	first := int(c.first.Load())
	for i := range len(hosts) + 1 {
		at := (first + i) % len(hosts)
		answer, err := c.ask(ctx, hosts[at], r)
		var said *refusal
		var known *problem.Problem
		if err == nil || errors.As(err, &said) || errors.As(err, &known) {
			c.first.Store(int64(at))
			return answer, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failures = append(failures, err)
		if r.once {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (c *client) ask(ctx context.Context, host string, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, host+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.GetBody = nil // what may be asked twice is decided here
	if r.lines {
		req.Header.Set("Content-Type", "application/x-ndjson")
	} else if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.target.User != "" {
		password, err := c.target.Password()
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(c.target.User, password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", host, err)
	}
	if len(answer) > maxAnswer {
		return nil, problem.New(problem.TooLarge, fmt.Sprintf("an answer of more than %d bytes", maxAnswer), "ask for less at once")
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusalOf(resp.StatusCode, answer)
	}
	return answer, nil
}

// json asks with a body and reads the answer into out; either may be nil.
func (c *client) json(ctx context.Context, method, path string, body, out any) (int, error) {
	r := request{method: method, path: path}
	switch b := body.(type) {
	case nil:
	case string:
		r.body = []byte(b)
	default:
		var err error
		if r.body, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	answer, err := c.do(ctx, r)
	if err != nil || out == nil {
		return len(answer), err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return len(answer), fmt.Errorf("the answer to %s %s is not what Elasticsearch or OpenSearch say: %w", method, path, err)
	}
	return len(answer), nil
}

// Client asks the servers of an engine about indices that are not Spanloom's.
type Client struct{ client *client }

// Client is the engine's, good until the engine is closed.
func (e *Engine) Client() *Client { return &Client{e.client} }

// Ask sends a body, which may be empty, and reads the answer into out; it says how many bytes the answer had. A host that does not answer is
// passed over. Cost: one request, held in memory whole.
func (c *Client) Ask(ctx context.Context, method, path, body string, out any) (int, error) {
	if body == "" {
		return c.client.json(ctx, method, path, nil, out)
	}
	return c.client.json(ctx, method, path, body, out)
}

// StatusOf is the status of the server's answer that an error stands for, and its reason; 0 if no server said it.
func StatusOf(err error) (status int, reason string) {
	var said *refusal
	if !errors.As(err, &said) {
		return 0, ""
	}
	return said.status, said.reason
}

// Explain makes of an error of Ask what callers and people can act on. Errors of the context stay as they are.
func Explain(ctx context.Context, what string, err error) error { return explain(ctx, what, err) }
