package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/transport/spdy"
)

// podConn carries requests to ports of a pod's loopback over one port-forward.
type podConn struct {
	conn httpstream.Connection
	http *http.Transport

	mu   sync.Mutex
	next int
}

// forwardProtocol is the only version there is.
const forwardProtocol = "portforward.k8s.io"

// dialPod opens a port-forward: POST, so that the right to create pods/portforward is what it needs.
func (c *Client) dialPod(ctx context.Context, namespace, pod string) (*podConn, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods/" + url.PathEscape(pod) + "/portforward"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, err
	}
	conn, protocol, err := spdy.Negotiate(upgrader, &http.Client{Transport: transport}, req, forwardProtocol)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	if protocol != forwardProtocol {
		conn.Close()
		return nil, fmt.Errorf("port-forward: the server speaks %q", protocol)
	}
	p := &podConn{conn: conn}
	p.http = &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return p.stream(port)
	}}
	return p, nil
}

// get asks a port of the pod's loopback.
func (p *podConn) get(ctx context.Context, port int, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "gzip") // the readers unpack: a dump shrinks twentyfold
	res, err := p.http.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("port %d answered %s", port, res.Status)
	}
	return res.Body, nil
}

func (p *podConn) Close() { p.conn.Close() }

// stream is one connection to a port: a data stream, and an error stream that says why the other side failed.
func (p *podConn) stream(port string) (net.Conn, error) {
	p.mu.Lock()
	id := strconv.Itoa(p.next)
	p.next++
	p.mu.Unlock()
	h := http.Header{}
	h.Set("port", port)
	h.Set("requestID", id)
	h.Set("streamType", "error")
	failures, err := p.conn.CreateStream(h)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	failures.Close() // nothing is sent on it
	h.Set("streamType", "data")
	data, err := p.conn.CreateStream(h)
	if err != nil {
		p.conn.RemoveStreams(failures)
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	s := &streamConn{Stream: data, done: make(chan struct{}), end: func() { p.conn.RemoveStreams(data, failures) }}
	go s.watch(failures)
	return s, nil
}

// streamConn makes a stream a connection. Deadlines are the request's context: closing ends it.
type streamConn struct {
	httpstream.Stream
	end  func()
	once sync.Once
	done chan struct{}

	mu      sync.Mutex
	failure error
}

// watch reads the error stream to its end. A message means that the other side could not reach the port.
func (s *streamConn) watch(failures io.Reader) {
	text, err := io.ReadAll(io.LimitReader(failures, 4<<10))
	if err == nil && len(text) == 0 {
		close(s.done)
		return
	}
	if err == nil {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
	close(s.done)
	s.Stream.Reset() // wakes a reader
}

func (s *streamConn) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.failure != nil {
			return n, s.failure
		}
	}
	return n, err
}

// Close gives the stream up; the transport calls it when an answer was read or a context ended.
func (s *streamConn) Close() error {
	s.once.Do(func() {
		s.Stream.Reset()
		s.end()
	})
	return nil
}

func (s *streamConn) LocalAddr() net.Addr              { return streamAddr{} }
func (s *streamConn) RemoteAddr() net.Addr             { return streamAddr{} }
func (s *streamConn) SetDeadline(time.Time) error      { return nil }
func (s *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (s *streamConn) SetWriteDeadline(time.Time) error { return nil }

type streamAddr struct{}

func (streamAddr) Network() string { return "portforward" }
func (streamAddr) String() string  { return "pod" }
