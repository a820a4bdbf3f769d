//go:build unix

package zipkin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
)

// The figures are CPU time, because other work on the machine makes wall time mean little.

// benchBodies are the recorded bodies of exactly five spans.
func benchBodies(b *testing.B, suffix string, announced Format) (bodies [][]byte) {
	all := envoyBodies(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		batch := new(span.Batch)
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		if _, err := new(Decoder).Decode(batch, bytes.Clone(all[name]), announced); err == nil && batch.Len() == 5 {
			bodies = append(bodies, all[name])
		}
	}
	return bodies
}

func benchDecode(b *testing.B, suffix string, announced Format) {
	bodies := benchBodies(b, suffix, announced)
	d, batch := new(Decoder), new(span.Batch)
	var buf []byte
	bytesIn := 0
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := range b.N {
		buf = append(buf[:0], bodies[i%len(bodies)]...)
		bytesIn += len(buf)
		batch.Reset()
		if _, err := d.Decode(batch, buf, announced); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(5*b.N), "cpu-us/span")
	b.ReportMetric(float64(bytesIn)/float64(5*b.N), "B-in/span")
}

func BenchmarkDecodeJSON(b *testing.B) { benchDecode(b, ".json", JSONv2) }

func BenchmarkDecodeProto(b *testing.B) { benchDecode(b, ".pb", Proto3) }

// dropSink counts spans.
type dropSink struct {
	mu sync.Mutex
	n  int
}

func (s *dropSink) Accept(_ context.Context, b *span.Batch) error {
	s.mu.Lock()
	s.n += b.Len()
	s.mu.Unlock()
	return nil
}

// BenchmarkHTTP5Spans posts Envoy's five-span bodies, chunked as Envoy sends them, over 8 keep-alive connections in a closed
// loop. The figure is the CPU time of the whole process: server, decoding, ledger and this client, which only writes
// prepared bytes and reads the answer.
func BenchmarkHTTP5Spans(b *testing.B) {
	const conns = 8
	bodies := benchBodies(b, ".json", JSONv2)
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		requests[i] = fmt.Appendf(nil, "POST /api/v2/spans HTTP/1.1\r\nhost: zipkin.istio-system.svc.cluster.local\r\ncontent-type: application/json\r\n"+
			"x-envoy-internal: true\r\nx-forwarded-for: 10.77.0.12\r\nx-envoy-expected-rq-timeout-ms: 5000\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	to := &dropSink{}
	in := newIntake(to)
	srv := httptest.NewServer(Handler(in, Options{}))
	defer srv.Close()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	var wg sync.WaitGroup
	for c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			answer := bufio.NewReader(conn)
			for i := c; i < b.N; i += conns {
				if _, err := conn.Write(requests[i%len(requests)]); err != nil {
					b.Error(err)
					return
				}
				if err := readAccepted(answer); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	used := cpuTime(b) - before
	if to.n != 5*b.N {
		b.Fatalf("%d spans arrived of %d", to.n, 5*b.N)
	}
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(5*b.N), "cpu-us/span")
}

// readAccepted reads the head of a 202 without a body.
func readAccepted(r *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 202")) {
			rest, _ := io.ReadAll(r)
			return fmt.Errorf("%s%s", line, rest)
		}
		if len(line) == 2 {
			return nil
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
