package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/spanloom/spanloom/internal/otlpclient"
)

// client sends encoded requests, one at a time.
type client interface {
	send(ctx context.Context, body []byte) otlpclient.Answer
	close()
}

// client makes the one of a target. Nothing is connected to yet.
func (t *Target) client() (client, error) {
	if t.GRPC {
		creds := insecure.NewCredentials()
		if t.TLS != nil {
			creds = credentials.NewTLS(t.TLS)
		}
		options := []grpc.DialOption{grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(otlpclient.Codec{})),
			grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
			// The pauses are deliver's: a connection that was refused is tried with the next request.
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: firstPause, Multiplier: 1, MaxDelay: firstPause}, MinConnectTimeout: 5 * time.Second})}
		if !t.plain {
			options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(grpcgzip.Name)))
		}
		c, err := grpc.NewClient(t.host, options...)
		if err != nil {
			return nil, t.invalid(err.Error(), targetHelp)
		}
		return &grpcClient{t, c}, nil
	}
	return &httpClient{target: t, http: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:     t.TLS,
			TLSHandshakeTimeout: 5 * time.Second,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		},
		// A redirect would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// unset is the answer where a header cannot be read.
func unset(h header, err error) otlpclient.Answer {
	return otlpclient.Answer{Verdict: otlpclient.Barred, Message: fmt.Sprintf("header_file.%s of --forward-to: %v", h.name, err)}
}

type grpcClient struct {
	target     *Target
	connection *grpc.ClientConn
}

func (c *grpcClient) send(ctx context.Context, body []byte) otlpclient.Answer {
	for _, h := range c.target.headers {
		v, err := h.read()
		if err != nil {
			return unset(h, err)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(h.name), v)
	}
	var reply []byte
	err := c.connection.Invoke(ctx, otlpclient.ExportMethod, &body, &reply)
	return otlpclient.OfGRPC(reply, err)
}

func (c *grpcClient) close() { _ = c.connection.Close() }

type httpClient struct {
	target *Target
	http   *http.Client
	packed bytes.Buffer
	gzip   *gzip.Writer
}

const maxAnswer = 64 << 10

func (c *httpClient) send(ctx context.Context, body []byte) otlpclient.Answer {
	body, err := c.pack(body)
	if err != nil {
		return otlpclient.Answer{Message: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target.url, bytes.NewReader(body))
	if err != nil {
		return otlpclient.Answer{Message: err.Error()}
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if !c.target.plain {
		req.Header.Set("Content-Encoding", "gzip")
	}
	for _, h := range c.target.headers {
		v, err := h.read()
		if err != nil {
			return unset(h, err)
		}
		req.Header.Set(h.name, v)
		if strings.EqualFold(h.name, "host") {
			req.Host = v
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return otlpclient.Answer{Verdict: otlpclient.Retry, Message: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return otlpclient.Answer{Verdict: otlpclient.Retry, Message: fmt.Sprintf("read the answer (%s): %v", resp.Status, err)}
	}
	isJSON := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
	return otlpclient.OfHTTP(resp, text, isJSON, time.Now())
}

// pack compresses a body unless that is not wanted. The bytes are valid until the next call.
func (c *httpClient) pack(body []byte) ([]byte, error) {
	if c.target.plain {
		return body, nil
	}
	c.packed.Reset()
	if c.gzip == nil {
		var err error
		if c.gzip, err = gzip.NewWriterLevel(&c.packed, gzip.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		c.gzip.Reset(&c.packed)
	}
	if _, err := c.gzip.Write(body); err != nil {
		return nil, err
	}
	err := c.gzip.Close()
	return c.packed.Bytes(), err
}

func (c *httpClient) close() { c.http.CloseIdleConnections() }
