package otlp

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// sink keeps a copy of every batch, or refuses with err.
type sink struct {
	mu      sync.Mutex
	err     error
	refuse  string // reason with which the first row of each batch is refused
	batches []*span.Batch
}

func (s *sink) Accept(_ context.Context, b *span.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.refuse != "" {
		b.Keep(func(row int) bool { return row > 0 })
		receive.CountRefused(b, receive.Reason(s.refuse), 1)
	}
	s.batches = append(s.batches, b.Clone())
	return nil
}

// taken are the batches so far.
func (s *sink) taken() []*span.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*span.Batch(nil), s.batches...)
}

func (s *sink) spans() (n int) {
	for _, b := range s.taken() {
		n += b.Len()
	}
	return n
}

const testMaxBody = 8 << 20

func newIntake(s receive.Sink) *receive.Intake {
	return &receive.Intake{Sink: s, Ledger: receive.NewLedger(time.Now, slog.New(slog.DiscardHandler)), Budget: receive.NewBudget(64 << 20), MaxBody: testMaxBody, Now: time.Now}
}

// listen serves HTTP/1.1 and HTTP/2 without TLS.
func listen(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: &p, ReadTimeout: wait.Scale(5 * time.Second)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().String()
}

// listenGRPC serves native gRPC and returns a connection to it.
func listenGRPC(t testing.TB, in *receive.Intake, o GRPCOptions, dial ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	s, err := NewGRPC(in, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return connect(t, l.Addr().String(), dial...)
}

func connect(t testing.TB, addr string, dial ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, dial...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Scale(20*time.Second))
	t.Cleanup(cancel)
	return ctx
}
