// Package door is the servers behind Spanloom's ports: net/http with HTTP/1.1 and HTTP/2 (with and without TLS), and one port that
// speaks native gRPC, HTTP/1.1 and other HTTP/2, told apart by what a connection begins with. It knows no spans.
package door

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
)

// Limits of a connection. A sender that is slower is cut off: it holds memory of everyone.
const (
	headerTimeout = 10 * time.Second // for the head of a request, the TLS handshake and the first bytes of a connection
	bodyTimeout   = 60 * time.Second // for a whole request
	answerTimeout = 2 * time.Minute  // for a request and its answer: who reads slower holds what the answer is made of
	idleTimeout   = 5 * time.Minute  // between requests
	maxHeader     = 64 << 10
)

// HTTP is a server for one port. Over HTTP/2, requests of content type application/grpc go to GRPC if it is set.
type HTTP struct {
	server *http.Server
	tls    bool
}

// NewHTTP makes a server. conf may be nil for plaintext, grpcServer nil for none.
func NewHTTP(h http.Handler, grpcServer http.Handler, conf *tls.Config, log *slog.Logger) *HTTP {
	if grpcServer != nil {
		h = dispatch(h, grpcServer)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(conf != nil)
	p.SetUnencryptedHTTP2(conf == nil)
	return &HTTP{tls: conf != nil, server: &http.Server{
		Handler: h, TLSConfig: conf, Protocols: &p, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout,
		WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 128, MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 16 << 20},
	}}
}

// dispatch sends gRPC over HTTP/2 to its own handler.
func dispatch(h, grpcServer http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && isGRPC(r.Header.Get("Content-Type")) {
			grpcServer.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func isGRPC(contentType string) bool { return strings.HasPrefix(contentType, "application/grpc") }

// Serve answers until Shutdown; then it returns nil.
func (s *HTTP) Serve(l net.Listener) error {
	var err error
	if s.tls {
		err = s.server.ServeTLS(l, "", "")
	} else {
		err = s.server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown takes no new connections, says GOAWAY, and waits for requests in flight until ctx ends; what is left is cut off.
func (s *HTTP) Shutdown(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return errors.Join(err, s.server.Close())
	}
	return nil
}

// GRPC is a port for native gRPC that also answers HTTP/1.x and HTTP/2 whose first request is not gRPC. Native gRPC stays with grpc-go,
// which costs a third of gRPC over net/http's HTTP/2. A gRPC client may wait for SETTINGS before its first request, so a connection
// is handed over by what is there when its preface is: other HTTP/2 is known by a request that came with it, as Envoy sends it. Over
// TLS a client that speaks HTTP/1.1 too is asked for that; those of gRPC do not.
type GRPC struct {
	native *grpc.Server
	http   *HTTP
	conf   *tls.Config
	log    *slog.Logger

	mu       sync.Mutex
	listener net.Listener
	closed   bool
}

// NewGRPC makes the server. native must have been made without transport credentials: TLS ends here.
func NewGRPC(native *grpc.Server, h http.Handler, conf *tls.Config, log *slog.Logger) *GRPC {
	return &GRPC{native: native, http: NewHTTP(h, nil, nil, log), conf: preferHTTP1(conf), log: log}
}

// preferHTTP1 is conf for clients that offer HTTP/1.1.
func preferHTTP1(conf *tls.Config) *tls.Config {
	if conf == nil {
		return nil
	}
	c := conf.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		of := conf
		if conf.GetConfigForClient != nil {
			special, err := conf.GetConfigForClient(hello)
			if err != nil {
				return nil, err
			}
			of = cmp.Or(special, conf)
		}
		if slices.Contains(hello.SupportedProtos, http1) && slices.Contains(of.NextProtos, http1) {
			of = of.Clone()
			of.NextProtos = []string{http1}
		}
		return of, nil
	}
	return c
}

// http1 is the name of HTTP/1.1 in ALPN.
const http1 = "http/1.1"

// Serve answers until Shutdown; then it returns nil.
func (s *GRPC) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener = l
	s.mu.Unlock()

	toGRPC, toHTTP := newHandover(l.Addr()), newHandover(l.Addr())
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.native.Serve(toGRPC) }) // ends when the handover closes
	serving.Go(func() { _ = s.http.Serve(toHTTP) })
	defer serving.Wait()
	defer toGRPC.Close()
	defer toHTTP.Close()
	var sorting sync.WaitGroup
	defer sorting.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if temporary(err) {
				time.Sleep(5 * time.Millisecond) // out of file descriptors: others are about to be closed
				continue
			}
			return err
		}
		sorting.Go(func() {
			if err := s.sort(c, toGRPC, toHTTP); err != nil {
				s.log.Debug("connection closed before its first request", "peer", c.RemoteAddr().String(), "error", err)
				_ = c.Close()
			}
		})
	}
}

// temporary: accept failed for want of a resource, not because the listener broke.
func temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// sort ends TLS, reads the first bytes and hands the connection over.
func (s *GRPC) sort(c net.Conn, toGRPC, toHTTP *handover) error {
	if err := c.SetDeadline(time.Now().Add(headerTimeout)); err != nil {
		return err
	}
	if s.conf != nil {
		t := tls.Server(c, s.conf)
		if err := t.Handshake(); err != nil {
			return err
		}
		c = t
	}
	first := make([]byte, maxFirst)
	n := peek(c, first)
	if n < len(prefix) { // a beginning in several segments, TLS, or a system without it
		var err error
		if n, err = io.ReadAtLeast(c, first, len(prefix)); err != nil {
			return err
		}
		c = &begunConn{Conn: c, first: first[:n]}
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	to := toHTTP
	if first = first[:n]; bytes.HasPrefix(first, []byte(prefix)) && !otherThanGRPC(first) {
		to = toGRPC
	}
	return to.give(c)
}

// prefix begins every HTTP/2 connection (http2.ClientPreface) and no request of HTTP/1.
const prefix = "PRI "

// maxFirst is how much of a connection's beginning is looked at: preface, settings and the head of a request.
const maxFirst = 8 << 10

// otherThanGRPC reports whether an HTTP/2 connection begins with a whole head of a request that is none of gRPC. What has not come yet, or
// is broken, is left to grpc-go.
func otherThanGRPC(first []byte) bool {
	frames, ok := bytes.CutPrefix(first, []byte(http2.ClientPreface))
	if !ok {
		return false
	}
	r := http2.NewFramer(nil, bytes.NewReader(frames))
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.MaxHeaderListSize = maxHeader
	for {
		frame, err := r.ReadFrame()
		if err != nil {
			return false
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			at := slices.IndexFunc(head.Fields, func(f hpack.HeaderField) bool { return f.Name == "content-type" })
			return at < 0 || !isGRPC(head.Fields[at].Value)
		}
	}
}

// Shutdown says GOAWAY, waits for calls in flight until ctx ends, then cuts off what is left.
func (s *GRPC) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.native.GracefulStop()
		close(done)
	}()
	err := s.http.Shutdown(ctx)
	select {
	case <-done:
	case <-ctx.Done():
		s.native.Stop()
		<-done
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// begunConn is a connection whose first bytes were read already.
type begunConn struct {
	net.Conn
	first []byte // nil once they were given: their buffer is not held for the life of a connection
}

func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		if c.first = c.first[n:]; len(c.first) == 0 {
			c.first = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// handover is a listener whose connections are given to it.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handover) give(c net.Conn) error {
	select {
	case h.conns <- c:
		return nil
	case <-h.done:
		return net.ErrClosed
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return h.addr }
