package receive

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/spanloom/spanloom/internal/problem"
)

func newIntake(budget, body int64) *Intake {
	return &Intake{Budget: NewBudget(budget), MaxBody: body, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
}

func encode(t *testing.T, encoding string, p []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "deflate raw":
		w, _ = flate.NewWriter(&b, 1)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	default:
		return p
	}
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadBody(t *testing.T) {
	in := newIntake(1<<20, 1000)
	text := strings.Repeat("span ", 100)
	zeros := make([]byte, 100_000)
	for _, c := range []struct {
		name, encoding string
		body           []byte
		reason         Reason
	}{
		{"plain", "", []byte(text), ""},
		{"gzip", "gzip", encode(t, "gzip", []byte(text)), ""},
		{"zstd", "zstd", encode(t, "zstd", []byte(text)), ""},
		{"zlib", "deflate", encode(t, "deflate", []byte(text)), ""},
		{"raw deflate", "deflate", encode(t, "deflate raw", []byte(text)), ""},
		{"empty", "", nil, ""},
		{"empty said to be gzip", "gzip", nil, ""},
		{"not gzip", "gzip", []byte(text), BadEncoding},
		{"not zstd", "zstd", []byte(text), BadEncoding},
		{"cut gzip", "gzip", encode(t, "gzip", []byte(text))[:20], BadEncoding},
		{"cut zstd", "zstd", encode(t, "zstd", []byte(text))[:12], BadEncoding},
		{"unknown", "br", []byte(text), BadEncoding},
		{"two", "gzip, gzip", []byte(text), BadEncoding},
		{"too large", "", zeros, BodyTooLarge},
		{"too large unpacked", "gzip", encode(t, "gzip", zeros), BodyTooLarge},
		{"too large unpacked zstd", "zstd", encode(t, "zstd", zeros), BodyTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", bytes.NewReader(c.body))
			r.Header.Set("Content-Encoding", c.encoding)
			body, reason, p := in.ReadBody(r)
			if reason != c.reason || (p != nil) != (c.reason != "") {
				t.Fatalf("reason %q, problem %v, want %q", reason, p, c.reason)
			}
			if p == nil {
				if len(c.body) > 0 && string(body.Bytes) != text {
					t.Errorf("body of %d bytes: %.40q", len(body.Bytes), body.Bytes)
				}
				body.Done()
			}
			if used := in.Budget.Used(); used != 0 {
				t.Errorf("%d bytes of the budget are still taken", used)
			}
		})
	}
}

// endless unpacks to as much as anybody reads.
type endless struct{ sent int }

func (e *endless) Read(p []byte) (int, error) {
	e.sent += len(p)
	return len(p), nil
}

func TestBombIsStoppedAtTheLimit(t *testing.T) {
	in := newIntake(64<<20, 1<<20)
	pr, pw := io.Pipe()
	go func() {
		z, _ := gzip.NewWriterLevel(pw, gzip.BestSpeed)
		_, err := io.CopyN(z, &endless{}, 10<<30)
		pw.CloseWithError(err)
	}()
	r := httptest.NewRequest("POST", "/", pr)
	r.ContentLength = -1
	r.Header.Set("Content-Encoding", "gzip")
	_, reason, p := in.ReadBody(r)
	if reason != BodyTooLarge || p.Kind != problem.TooLarge {
		t.Errorf("reason %q, problem %v", reason, p)
	}
	_ = pr.CloseWithError(io.ErrClosedPipe)
}

func TestBodyOverTheBudgetIsRefusedWithRetry(t *testing.T) {
	in := newIntake(10_000, 1<<20)
	_, reason, p := in.ReadBody(httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, 50_000))))
	if reason != TooBusy || !p.Kind.Retryable() || p.Kind.HTTPStatus() != http.StatusTooManyRequests {
		t.Errorf("reason %q, problem %v", reason, p)
	}
	if in.Budget.Used() != 0 {
		t.Errorf("%d bytes of the budget are still taken", in.Budget.Used())
	}
}

// broken fails as a connection does.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestSlowAndGoneSenders(t *testing.T) {
	in := newIntake(1<<20, 1<<20)
	for _, encoding := range []string{"", "gzip", "zstd"} {
		for _, err := range []error{os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, errors.New("reset")} {
			r := httptest.NewRequest("POST", "/", broken{err})
			r.Header.Set("Content-Encoding", encoding)
			_, reason, p := in.ReadBody(r)
			if reason != TimedOut || p == nil {
				t.Errorf("%s %v: reason %q, problem %v", encoding, err, reason, p)
			}
		}
	}
}

func TestSender(t *testing.T) {
	in := newIntake(1, 1)
	in.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:5000", "", "192.0.2.1"},
		{"192.0.2.1:5000", "198.51.100.7", "192.0.2.1"}, // not trusted: anybody can write that header
		{"10.0.0.1:5000", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:5000", "1.2.3.4, 198.51.100.7, 10.9.9.9", "198.51.100.7"},
		{"10.0.0.1:5000", "garbage", "10.0.0.1"},
		{"127.0.0.6:5000", "", "invalid IP"},
		{"[::ffff:192.0.2.1]:5000", "", "192.0.2.1"},
		{"@", "", "invalid IP"},
	} {
		if got := in.SenderOf(c.remote, c.forwarded).String(); got != c.want {
			t.Errorf("SenderOf(%q, %q) = %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

func TestReadBodyAllocatesNothingForPooledSizes(t *testing.T) {
	in := newIntake(1<<20, 1<<20)
	data := make([]byte, 5000)
	reader := bytes.NewReader(data)
	r := httptest.NewRequest("POST", "/", nil)
	r.Body = io.NopCloser(reader)
	once := func() {
		reader.Reset(data)
		body, _, p := in.ReadBody(r)
		if p != nil {
			t.Fatal(p)
		}
		body.Done()
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 1 {
		t.Errorf("%v allocations a body", n)
	}
}
