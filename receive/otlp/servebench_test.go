package otlp

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// counting takes everything and keeps nothing.
type counting struct{ spans atomic.Int64 }

func (c *counting) Accept(_ context.Context, b *span.Batch) error {
	c.spans.Add(int64(b.Len()))
	return nil
}

// closedLoop sends requests on eight connections, each the next one when its answer is in, and reports CPU time of this
// process, client included, and allocations for each request.
func closedLoop(bm *testing.B, in *receive.Intake, sink *counting, connection func() func(i int)) {
	const connections = 8
	sends := make([]func(int), connections)
	for i := range sends {
		sends[i] = connection()
		sends[i](0)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	sink.spans.Store(0)
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	bm.ResetTimer()
	for _, send := range sends {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(bm.N); i = next.Add(1) {
				send(int(i))
			}
		})
	}
	wg.Wait()
	bm.StopTimer()
	used := cpuTime() - cpu
	runtime.ReadMemStats(&after)
	spans := float64(sink.spans.Load())
	bm.ReportMetric(float64(used.Nanoseconds())/spans/1000, "cpu-µs/span")
	bm.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(bm.N), "mallocs/request")
	bm.ReportMetric(0, "ns/op")
	if in.Budget.Used() != 0 {
		bm.Fatal("budget not given back")
	}
}

// BenchmarkHTTP5Spans posts Envoy's requests chunked over HTTP/1.1, as Envoy does; the client writes and reads bytes and knows
// no HTTP, so nearly all of the time is the server's.
func BenchmarkHTTP5Spans(bm *testing.B) {
	bodies := fiveSpans(bm)
	benchmarkHTTP(bm, bodies)
}

// BenchmarkHTTP512Spans is the same with requests as a collector sends them.
func BenchmarkHTTP512Spans(bm *testing.B) {
	big, _ := bigRequest(bm, 512)
	benchmarkHTTP(bm, [][]byte{big})
}

func benchmarkHTTP(bm *testing.B, bodies [][]byte) {
	sink := new(counting)
	in := newIntake(sink)
	addr := listen(bm, Handler(in, Options{}))
	requests := make([][]byte, len(bodies))
	for i, body := range bodies {
		requests[i] = fmt.Appendf(nil, "POST /v1/traces HTTP/1.1\r\nhost: spanloom:4318\r\nuser-agent: OTel-OTLP-Exporter-Envoy/1.40.0\r\n"+
			"content-type: application/x-protobuf\r\nx-envoy-expected-rq-timeout-ms: 1000\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	closedLoop(bm, in, sink, func() func(int) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			bm.Fatal(err)
		}
		bm.Cleanup(func() { _ = c.Close() })
		r := bufio.NewReader(c)
		return func(i int) {
			if _, err := c.Write(requests[i%len(requests)]); err != nil {
				panic(err)
			}
			res, err := readHead(r)
			if err != nil || res != "HTTP/1.1 200 OK" {
				panic(fmt.Sprint(res, err))
			}
		}
	})
}

// readHead reads an answer without a body and returns its first line.
func readHead(r *bufio.Reader) (string, error) {
	first := ""
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return first, err
		}
		if len(line) == 2 {
			return first, nil
		}
		if first == "" {
			first = string(line[:len(line)-2])
		}
	}
}

// BenchmarkGRPC5Spans calls Export with Envoy's requests. The client is grpc-go with a codec of bytes: about half of the time is its own.
func BenchmarkGRPC5Spans(bm *testing.B) { benchmarkGRPC(bm, fiveSpans(bm)) }

// BenchmarkGRPC512Spans is the same with requests as a collector sends them.
func BenchmarkGRPC512Spans(bm *testing.B) {
	big, _ := bigRequest(bm, 512)
	benchmarkGRPC(bm, [][]byte{big})
}

func benchmarkGRPC(bm *testing.B, bodies [][]byte) {
	sink := new(counting)
	in := newIntake(sink)
	s, err := NewGRPC(in, GRPCOptions{})
	if err != nil {
		bm.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		bm.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	bm.Cleanup(s.Stop)
	closedLoop(bm, in, sink, func() func(int) {
		c := connect(bm, l.Addr().String())
		options := []grpc.CallOption{grpc.ForceCodecV2(rawCodec{})}
		return func(i int) {
			var reply []byte
			if err := c.Invoke(context.Background(), exportPath, bodies[i%len(bodies)], &reply, options...); err != nil {
				panic(err)
			}
		}
	})
}
