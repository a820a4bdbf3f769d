package door

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/spanloom/spanloom/internal/wait"
)

type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

func serve(t *testing.T, s server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait.Scale(10*time.Second))
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

func protocolOf(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }

func healthServer() *grpc.Server {
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	return s
}

func checkHealth(t *testing.T, addr string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(10*time.Second))
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// h2c is a client that speaks HTTP/2 without TLS and without asking first.
func h2c(conf *tls.Config) *http.Client {
	var p http.Protocols
	p.SetHTTP2(conf != nil)
	p.SetUnencryptedHTTP2(conf == nil)
	return &http.Client{Transport: &http.Transport{Protocols: &p, TLSClientConfig: conf}}
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}, pool
}

func TestHTTPSpeaksBothVersionsWithAndWithoutTLS(t *testing.T) {
	plain := serve(t, NewHTTP(http.HandlerFunc(protocolOf), nil, nil, slog.New(slog.DiscardHandler)))
	if got := get(t, http.DefaultClient, "http://"+plain); got != "HTTP/1.1" {
		t.Errorf("plain HTTP/1.1 client saw %s", got)
	}
	if got := get(t, h2c(nil), "http://"+plain); got != "HTTP/2.0" {
		t.Errorf("h2c client saw %s", got)
	}
	conf, pool := certificate(t)
	secure := serve(t, NewHTTP(http.HandlerFunc(protocolOf), nil, conf, slog.New(slog.DiscardHandler)))
	if got := get(t, h2c(&tls.Config{RootCAs: pool}), "https://"+secure); got != "HTTP/2.0" {
		t.Errorf("TLS client with h2 saw %s", got)
	}
}

func TestHTTPDispatchesGRPC(t *testing.T) {
	addr := serve(t, NewHTTP(http.HandlerFunc(protocolOf), healthServer(), nil, slog.New(slog.DiscardHandler)))
	if err := checkHealth(t, addr, insecure.NewCredentials()); err != nil {
		t.Error(err)
	}
	if got := get(t, h2c(nil), "http://"+addr); got != "HTTP/2.0" {
		t.Errorf("other HTTP/2 requests saw %s", got)
	}
}

func TestGRPCPortTellsProtocolsApart(t *testing.T) {
	addr := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), nil, slog.New(slog.DiscardHandler)))
	if err := checkHealth(t, addr, insecure.NewCredentials()); err != nil {
		t.Error(err)
	}
	if got := get(t, http.DefaultClient, "http://"+addr); got != "HTTP/1.1" {
		t.Errorf("HTTP/1.1 on the gRPC port saw %s", got)
	}
	conf, pool := certificate(t)
	secure := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), conf, slog.New(slog.DiscardHandler)))
	if err := checkHealth(t, secure, credentials.NewTLS(&tls.Config{RootCAs: pool})); err != nil {
		t.Error(err)
	}
	one := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	if got := get(t, one, "https://"+secure); got != "HTTP/1.1" {
		t.Errorf("HTTP/1.1 over TLS on the gRPC port saw %s", got)
	}
}

// beginning is what an HTTP/2 client sends first, with the head of a request of some content type; cut leaves out as many of its last bytes.
func beginning(t *testing.T, contentType string, cut int) []byte {
	t.Helper()
	var w, block bytes.Buffer
	w.WriteString(http2.ClientPreface)
	frames := http2.NewFramer(&w, nil)
	if err := frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := frames.WriteWindowUpdate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	enc := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/v1/traces"}, {Name: ":authority", Value: "x"}}
	if contentType != "" {
		fields = append(fields, hpack.HeaderField{Name: "content-type", Value: contentType})
	}
	for _, f := range fields {
		if err := enc.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	half := block.Len() / 2
	if err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()[:half], EndStream: true}); err != nil {
		t.Fatal(err)
	}
	if err := frames.WriteContinuation(1, true, block.Bytes()[half:]); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()[:w.Len()-cut]
}

func TestOtherHTTP2IsToldFromGRPC(t *testing.T) {
	for _, tt := range []struct {
		contentType string
		cut         int
		other       bool
	}{
		{"application/x-protobuf", 0, true},
		{"application/json", 0, true},
		{"", 0, true},
		{"application/grpc", 0, false},
		{"application/grpc+proto", 0, false},
		{"application/json", 1, false}, // the rest may come when grpc-go has it
		{"application/json", 40, false},
	} {
		if got := otherThanGRPC(beginning(t, tt.contentType, tt.cut)); got != tt.other {
			t.Errorf("%q without its last %d bytes: %t", tt.contentType, tt.cut, got)
		}
	}
	for _, text := range []string{"", "PRI ", http2.ClientPreface, http2.ClientPreface + "\xff\xff\xff\x01\x04\x00\x00\x00\x01", "POST / HTTP/1.1\r\n\r\n"} {
		if otherThanGRPC([]byte(text)) {
			t.Errorf("%q is a request of HTTP/2", text)
		}
	}
}

func FuzzOtherThanGRPC(f *testing.F) {
	f.Add([]byte(http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x83"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if otherThanGRPC(p) && !bytes.HasPrefix(p, []byte(prefix)) {
			t.Errorf("%q", p)
		}
	})
}

// TestGRPCPortTakesOtherHTTP2 sends a request with the preface, as Envoy does, with and without TLS.
func TestGRPCPortTakesOtherHTTP2(t *testing.T) {
	addr := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), nil, slog.New(slog.DiscardHandler)))
	conf, pool := certificate(t)
	secure := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), conf, slog.New(slog.DiscardHandler)))
	dials := map[string]func() (net.Conn, error){
		"plain": func() (net.Conn, error) { return net.Dial("tcp", addr) },
		"TLS": func() (net.Conn, error) {
			return tls.Dial("tcp", secure, &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}})
		},
	}
	for name, dial := range dials {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(wait.Scale(10 * time.Second)))
		if _, err := c.Write(beginning(t, "application/json", 0)); err != nil {
			t.Fatal(err)
		}
		frames := http2.NewFramer(io.Discard, c)
		answer := ""
		for answer == "" {
			frame, err := frames.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if d, ok := frame.(*http2.DataFrame); ok {
				answer = string(d.Data())
			}
		}
		if answer != "HTTP/2.0" {
			t.Errorf("%s: %q", name, answer)
		}
		_ = c.Close()
	}
	both := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
	if got := get(t, both, "https://"+secure); got != "HTTP/1.1" {
		t.Errorf("a client of both versions saw %s", got)
	}
}

// The server must answer the preface with its SETTINGS although the client has sent no request yet.
func TestSettingsAreAnsweredAtOnce(t *testing.T) {
	addr := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), nil, slog.New(slog.DiscardHandler)))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(wait.Scale(5 * time.Second)))
	head := make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil || head[3] != 4 {
		t.Errorf("first frame % x, %v: want SETTINGS (type 4)", head, err)
	}
}

func TestOddBytesEndTheConnection(t *testing.T) {
	addr := serve(t, NewGRPC(healthServer(), http.HandlerFunc(protocolOf), nil, slog.New(slog.DiscardHandler)))
	for _, text := range []string{"\x16\x03\x01\x02\x00", "PRI nothing of the kind\r\n\r\n", "\x00\x00\x00\x00", "hello\r\n\r\n"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetReadDeadline(time.Now().Add(wait.Scale(10 * time.Second)))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%q: the connection stays open", text)
		}
		c.Close()
	}
	if err := checkHealth(t, addr, insecure.NewCredentials()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		fmt.Fprint(w, "finished")
	})
	s := NewGRPC(healthServer(), slow, nil, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	wait.For(t, 5*time.Second, "the port to be closed", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(leave)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "finished" {
		t.Errorf("the request in flight got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
