package door

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestSortHandsConnectionsOver: whatever pieces the first bytes come in, they reach the right server whole, and a connection
// whose beginning came at once is handed over as it is.
func TestSortHandsConnectionsOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := NewGRPC(nil, http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	tests := []struct {
		pieces []string
		http2  bool
		whole  bool // the connection itself must be handed over
	}{
		{[]string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, true, true},
		{[]string{"PR", "I * HTTP/2.0\r\n\r\nSM\r\n\r\n"}, true, false}, // the pieces may have met by then
		{[]string{"POST / HTTP/1.1\r\n\r\n"}, false, true},
		{[]string{"P", "UT / HTTP/1.1\r\n\r\n"}, false, false},
	}
	for _, tt := range tests {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		toGRPC, toHTTP := newHandover(l.Addr()), newHandover(l.Addr())
		if _, err := io.WriteString(client, tt.pieces[0]); err != nil {
			t.Fatal(err)
		}
		sorted := make(chan error, 1)
		go func() { sorted <- s.sort(c, toGRPC, toHTTP) }()
		for _, piece := range tt.pieces[1:] {
			if _, err := io.WriteString(client, piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		var got net.Conn
		var http2 bool
		select {
		case got = <-toGRPC.conns:
			http2 = true
		case got = <-toHTTP.conns:
		case err := <-sorted:
			t.Fatalf("%q: %v", tt.pieces, err)
		}
		text, err := io.ReadAll(got)
		if err != nil || string(text) != strings.Join(tt.pieces, "") || http2 != tt.http2 {
			t.Errorf("%q: read %q, HTTP/2 %t, %v", tt.pieces, text, http2, err)
		}
		if begun, ok := got.(*begunConn); ok && begun.first != nil {
			t.Errorf("%q: the buffer of the beginning is held after it was read", tt.pieces)
		}
		if _, whole := got.(*net.TCPConn); runtime.GOOS == "linux" && tt.whole && !whole {
			t.Errorf("%q: handed over as %T", tt.pieces, got)
		}
		_ = client.Close()
		_ = got.Close()
	}
}
