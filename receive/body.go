package receive

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/spanloom/spanloom/internal/problem"
)

// Budget bounds the bytes of request bodies in flight over all receivers. It is the first back-pressure a sender meets:
// over it, requests are refused with a retry time instead of growing the process.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget makes a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Take reserves n bytes; false if they would go over.
func (b *Budget) Take(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

// Give returns n bytes.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// TooMuch reports that one request, body and batch together, wants more than it could get even with few others beside it.
func (b *Budget) TooMuch(n int64) bool { return n > b.max/4*3 }

// Used is the bytes reserved now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Max is the size of the budget.
func (b *Budget) Max() int64 { return b.max }

// ErrBusy is the problem of a budget that is used up.
func ErrBusy() *problem.Problem {
	return problem.New(problem.Overloaded, "too many bytes in flight", "retry; if it stays, raise --max-memory or send less at once")
}

// ErrOutgrown is the problem of a request that is TooMuch: a retry can't mend it.
func ErrOutgrown(b *Budget) *problem.Problem {
	return problem.New(problem.TooLarge, fmt.Sprintf("the body and its spans need more than %d bytes at once", b.max/4*3),
		"send smaller batches or raise --max-memory")
}

// pooledBody is the largest buffer kept for reuse.
const pooledBody = 1 << 20

// Body is a request body in a pooled buffer, decompressed. Done gives it back: Bytes is not to be used afterwards.
type Body struct {
	Bytes []byte
	Wire  int // bytes as they came

	in       *Intake
	reserved int64
}

// Done returns the buffer and its share of the budget.
func (b *Body) Done() {
	b.in.Budget.Give(b.reserved)
	if cap(b.Bytes) <= pooledBody {
		b.Bytes = b.Bytes[:0]
		b.in.bodies.Put(b)
	}
}

// ReadBody reads a request's body, undoes its Content-Encoding (gzip, zstd, deflate; several in one header are refused)
// and enforces the limits while reading, so that a bomb is stopped after MaxBody bytes. The reason comes with the problem;
// the caller refuses with it. Nothing is allocated for requests that fit pooled buffers.
func (in *Intake) ReadBody(r *http.Request) (*Body, Reason, *problem.Problem) {
	return in.ReadEncoded(r.Body, r.Header.Get("Content-Encoding"), r.ContentLength)
}

// ReadEncoded is ReadBody for bytes from elsewhere: the payload of a gRPC frame with its grpc-encoding. length is how many
// will come before decompression, -1 if unknown.
func (in *Intake) ReadEncoded(src io.Reader, encoding string, length int64) (*Body, Reason, *problem.Problem) {
	if length > in.MaxBody {
		return nil, BodyTooLarge, in.tooLarge("body of " + fmt.Sprint(length) + " bytes")
	}
	body, ok := in.bodies.Get().(*Body)
	if !ok {
		body = &Body{in: in}
	}
	body.reserved, body.Wire = 0, 0
	reason, pr := in.fill(body, src, encoding, length)
	if pr != nil {
		body.Done()
		return nil, reason, pr
	}
	return body, "", nil
}

func (in *Intake) fill(body *Body, from io.Reader, encoding string, length int64) (Reason, *problem.Problem) {
	wire := wireReader{r: from}
	defer func() { body.Wire = wire.n }()
	src, release, err := decompressor(encoding, &wire)
	if err != nil {
		if p := readProblem(wire.err); p != nil {
			return TimedOut, p
		}
		return BadEncoding, problem.New(problem.Invalid, err.Error(), "send gzip, zstd, deflate or no Content-Encoding")
	}
	if release != nil {
		defer release()
	}
	buf := body.Bytes[:0]
	if cap(buf) == 0 {
		buf = make([]byte, 0, max(8<<10, min(length+1, pooledBody)))
	}
	defer func() { body.Bytes = buf }()
	if !body.reserve(int64(cap(buf))) {
		return TooBusy, ErrBusy()
	}
	for {
		if len(buf) == cap(buf) {
			size := 2 * cap(buf)
			if need := length + 1; src == io.Reader(&wire) && need > int64(len(buf)) && need < int64(size) {
				size = int(need) // the announced end, and room to see that it is the end
			}
			if !body.reserve(int64(size - cap(buf))) {
				return TooBusy, ErrBusy()
			}
			bigger := make([]byte, len(buf), size)
			copy(bigger, buf)
			buf = bigger
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > in.MaxBody {
			return BodyTooLarge, in.tooLarge("body of more than " + fmt.Sprint(in.MaxBody) + " bytes after decompression")
		}
		if err != nil {
			if p := readProblem(wire.err); p != nil {
				return TimedOut, p // also where a decoder took a broken connection for the end
			}
			if err == io.EOF {
				return "", nil
			}
			return BadEncoding, problem.New(problem.Invalid, "body does not decompress: "+err.Error(), "check Content-Encoding against the body")
		}
	}
}

func (b *Body) reserve(n int64) bool {
	if !b.in.Budget.Take(n) {
		return false
	}
	b.reserved += n
	return true
}

func (in *Intake) tooLarge(what string) *problem.Problem {
	return problem.New(problem.TooLarge, what, fmt.Sprintf("send smaller batches: the limit is %d bytes before and after decompression", in.MaxBody))
}

// wireReader counts what came and remembers the connection's own error, to tell a slow or gone sender from bad compression.
type wireReader struct {
	r   io.Reader
	n   int
	err error
}

func (w *wireReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += n
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

func readProblem(err error) *problem.Problem {
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err) {
		return problem.New(problem.Invalid, "the body did not arrive in time", "send it faster or in smaller batches")
	}
	return &problem.Problem{Kind: problem.Invalid, Message: "the body ended early", Err: err}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

var (
	gzipReaders sync.Pool
	zstdReaders sync.Pool
)

// maxZstdWindow bounds what a frame header may make the decoder allocate.
const maxZstdWindow = 8 << 20

// decompressor wraps src as an encoding says. release gives a pooled decoder back.
func decompressor(encoding string, src *wireReader) (r io.Reader, release func(), err error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity", "none":
		return src, nil, nil
	case "gzip", "x-gzip":
		z, ok := gzipReaders.Get().(*gzip.Reader)
		if !ok {
			z = new(gzip.Reader)
		}
		if err := z.Reset(src); err != nil {
			gzipReaders.Put(z)
			if err == io.EOF && src.n == 0 {
				return bytes.NewReader(nil), nil, nil // an empty body is an empty request, however it is labelled
			}
			return nil, nil, fmt.Errorf("cannot gunzip: %w", err)
		}
		return z, func() { gzipReaders.Put(z) }, nil
	case "zstd":
		z, ok := zstdReaders.Get().(*zstd.Decoder)
		if !ok {
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
			if err != nil {
				return nil, nil, err
			}
		}
		if err := z.Reset(src); err != nil {
			return nil, nil, fmt.Errorf("not zstd: %w", err)
		}
		return z, func() { _ = z.Reset(nil); zstdReaders.Put(z) }, nil
	case "deflate", "zlib":
		var head [2]byte
		n, err := io.ReadFull(src, head[:])
		rest := io.MultiReader(bytes.NewReader(head[:n]), src)
		if err == nil && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
			z, err := zlib.NewReader(rest)
			return z, nil, err
		}
		return flate.NewReader(rest), nil, nil // raw deflate, as many clients send it
	default:
		return nil, nil, fmt.Errorf("unsupported Content-Encoding %q", encoding)
	}
}

// sidecarLoopback is the source address with which an own Istio sidecar delivers inbound traffic: it names nobody.
var sidecarLoopback = netip.MustParseAddr("127.0.0.6")

// Sender is who sent a request: the peer, or behind a trusted proxy the last X-Forwarded-For entry that is not one.
// The zero Addr is unknown.
func (in *Intake) Sender(r *http.Request) netip.Addr {
	return in.SenderOf(r.RemoteAddr, r.Header.Get("X-Forwarded-For"))
}

// SenderOf is Sender for a peer's host:port and an X-Forwarded-For value.
func (in *Intake) SenderOf(remote, forwarded string) netip.Addr {
	return in.SenderFrom(parseHostPort(remote), forwarded)
}

// SenderFrom is Sender for a peer's address and an X-Forwarded-For value.
func (in *Intake) SenderFrom(peer netip.Addr, forwarded string) netip.Addr {
	if forwarded != "" && in.trusted(peer) {
		hops := strings.Split(forwarded, ",")
		for i := len(hops) - 1; i >= 0; i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			peer = hop.Unmap()
			if !in.trusted(peer) {
				break
			}
		}
	}
	if peer == sidecarLoopback {
		return netip.Addr{}
	}
	return peer
}

func (in *Intake) trusted(a netip.Addr) bool {
	for _, p := range in.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func parseHostPort(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap()
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host)
	return a.Unmap()
}
