package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spanloom/spanloom/load"
)

// figures is the table: a new figure is one more entry. quick makes runs shorter; stored is how many spans questions are
// asked of, cpu how they are timed.
func figures(quick bool, stored int64, cpu bool) []figure {
	spans, paced, brief := int64(400_000), 30*time.Second, 10*time.Second
	if quick {
		spans, paced, brief = 60_000, 5*time.Second, 2*time.Second
	}
	return append([]figure{
		// One room each, by its Go benchmarks on the traffic of spanloom load.
		ofBenchmark("OTLP decode", "<= 1.0 µs/span", "µs/span", "test/bench", "BenchmarkOTLPDecode/collector", "cpu-ns/span", 1e-3),
		ofBenchmark("OTLP decode, allocations", "0 a span", "a span", "test/bench", "BenchmarkOTLPDecode/collector", "allocs/span", 1),
		ofBenchmark("OTLP decode, 5 a request", "reported", "µs/span", "test/bench", "BenchmarkOTLPDecode/sidecar", "cpu-ns/span", 1e-3),
		ofBenchmark("Zipkin JSON decode, 5 a request", "<= 2.0 µs/span", "µs/span", "test/bench", "BenchmarkZipkinDecode/json", "cpu-ns/span", 1e-3),
		ofBenchmark("Zipkin proto decode, 5 a request", "reported", "µs/span", "test/bench", "BenchmarkZipkinDecode/proto", "cpu-ns/span", 1e-3),
		ofBenchmark("process, default steps", "reported", "µs/span", "test/bench", "BenchmarkProcess", "cpu-ns/span", 1e-3),
		ofBenchmark("batch to log form", "reported", "µs/span", "test/bench", "BenchmarkEncodeBatch", "cpu-ns/span", 1e-3),
		ofBenchmark("log form to batch", "<= 2.0 µs/span", "µs/span", "test/bench", "BenchmarkDecodeBatch", "cpu-ns/span", 1e-3),
		ofBenchmark("log form, before compression", "reported", "B/span", "test/bench", "BenchmarkEncodeBatch", "B/span", 1),

		ofBenchmark("rollups, counting at ingest", "reported", "µs/span", "test/bench", "BenchmarkRollup/mesh", "cpu-ns/span", 1e-3),
		ofBenchmark("rollups, counting 1M distinct operations", "reported", "µs/span", "test/bench", "BenchmarkRollup/attack", "cpu-ns/span", 1e-3),
		ofBenchmark("rollups of 10,000 operations, 5 minutes", "reported", "MiB", "test/bench", "BenchmarkRollup/operations", "MiB", 1),
		ofBenchmark("rollups of 1M distinct operations, 5 minutes", "bounded", "MiB", "test/bench", "BenchmarkRollup/attack", "MiB", 1),
		ofBenchmark("rollups of 1M distinct operations, keys", "<= 20000", "keys", "test/bench", "BenchmarkRollup/attack", "keys", 1),

		ofBenchmark("engine in memory, accept and evict", "reported", "µs/span", "test/bench", "BenchmarkMemAccept", "cpu-ns/span", 1e-3),

		// The whole server: CPU of its process a span, closed loop.
		ofServer("OTLP gRPC, 512 a request", "<= 5.1 µs/span", load.SendOptions{Protocol: load.OTLPGRPC, Spans: spans, SpansPerRequest: 512}),
		ofServer("OTLP HTTP, 512 a request", "reported", load.SendOptions{Protocol: load.OTLPHTTP, Spans: spans, SpansPerRequest: 512}),
		ofServer("Zipkin JSON, 512 a request", "reported", load.SendOptions{Protocol: load.Zipkin, Spans: spans, SpansPerRequest: 512}),
		ofServer("OTLP gRPC, 50 a request", "<= 3 µs/span + store", load.SendOptions{Protocol: load.OTLPGRPC, Spans: spans, SpansPerRequest: 50}),
		ofServer("Zipkin JSON, 50 a request", "<= 3 µs/span + store", load.SendOptions{Protocol: load.Zipkin, Spans: spans, SpansPerRequest: 50, Chunked: true}),
		ofServer("OTLP gRPC, 5 a request", "<= 12 µs/span + store", load.SendOptions{Protocol: load.OTLPGRPC, Spans: spans / 2, SpansPerRequest: 5}),
		ofServer("OTLP HTTP, 5 a request", "<= 12 µs/span + store", load.SendOptions{Protocol: load.OTLPHTTP, Spans: spans / 2, SpansPerRequest: 5, Chunked: true}),
		ofServer("OTLP HTTP JSON, 5 a request", "reported", load.SendOptions{Protocol: load.OTLPHTTPJSON, Spans: spans / 2, SpansPerRequest: 5, Chunked: true}),
		ofServer("Zipkin JSON, 5 a request", "<= 12 µs/span + store", load.SendOptions{Protocol: load.Zipkin, Spans: spans / 2, SpansPerRequest: 5, Chunked: true}),
		ofServer("Zipkin proto, 5 a request", "reported", load.SendOptions{Protocol: load.ZipkinProto, Spans: spans / 2, SpansPerRequest: 5, Chunked: true}),
		ofServer("Zipkin JSON, 5 a request, 10K spans/s", "reported", load.SendOptions{Protocol: load.Zipkin, Rate: 10_000, Duration: brief, SpansPerRequest: 5, Connections: 50, Chunked: true}),

		{name: "memory at 20K spans/s", target: "<= 300 MiB", unit: "MiB", command: only("memory at 20K"), run: memoryPaced(paced)},
		{name: "memory, idle", target: "<= 40 MiB", unit: "MiB", command: only("memory, idle"), run: memoryIdle},
		{name: "start to ready, empty", target: "<= 300 ms", unit: "ms", timed: true, command: only("start to ready"), run: startEmpty},
		{name: "replay", target: ">= 500000 spans/s", unit: "spans/s", timed: true, moreBetter: true, command: only("replay"), run: replay(spans)},
		{name: "log on disk", target: "reported", unit: "B/span", command: only("log on disk"), run: logOnDisk(spans / 2)},
		{name: "binary with the UI", target: "<= 80 MiB", unit: "MiB", once: true, command: "make build && stat -c %s bin/spanloom", run: binarySize},
	}, append(asked(stored, cpu), served(stored)...)...)
}

func only(name string) string { return fmt.Sprintf("go run ./test/bench -only '%s'", name) }

func ofBenchmark(name, target, unit, pkg, benchmark, metric string, scale float64) figure {
	command, run := goBenchmark(pkg, benchmark, metric, scale)
	return figure{name: name, target: target, unit: unit, timed: metric == "cpu-ns/span", command: command, run: run}
}

// ofServer is the server's CPU time a span while it is sent to.
func ofServer(name, target string, o load.SendOptions) figure {
	command := fmt.Sprintf("spanloom load send --endpoints DATA-DIR --protocol %s --spans %d --spans-per-request %d", o.Protocol, o.Spans, o.SpansPerRequest)
	if o.Rate > 0 {
		command = fmt.Sprintf("spanloom load send --endpoints DATA-DIR --protocol %s --rate %.0f --duration %s --spans-per-request %d --connections %d",
			o.Protocol, o.Rate, o.Duration, o.SpansPerRequest, o.Connections)
	}
	if o.Chunked {
		command += " --chunked"
	}
	return figure{name: name, target: target, unit: "µs CPU/span", timed: true, command: command, run: func(ctx context.Context, e *bench) (float64, error) {
		return e.fresh(ctx, nil, func(s *server) (float64, error) {
			warm := o
			warm.Spans, warm.Duration, warm.Rate, warm.Seed = 20_000, 0, 0, 2
			if _, err := s.send(ctx, warm); err != nil {
				return 0, fmt.Errorf("warm up: %w", err)
			}
			r, err := s.send(ctx, o)
			if err != nil {
				return 0, err
			}
			return r.Server.MicrosPerSpan, nil
		})
	}}
}

const mib = 1 << 20

// memoryPaced is the most memory the server held while it took 20,000 spans/s in a collector's requests.
func memoryPaced(d time.Duration) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		return e.fresh(ctx, nil, func(s *server) (float64, error) {
			if _, err := s.send(ctx, load.SendOptions{Protocol: load.OTLPGRPC, Rate: 20_000, Duration: d}); err != nil {
				return 0, err
			}
			u, err := s.usage()
			return float64(u.PeakRSS) / mib, err
		})
	}
}

// memoryIdle is what is resident two seconds after the start: the runtime has then given back what starting needed.
func memoryIdle(ctx context.Context, e *bench) (float64, error) {
	return e.fresh(ctx, nil, func(s *server) (float64, error) {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(2 * time.Second):
		}
		u, err := s.usage()
		return float64(u.RSS) / mib, err
	})
}

func startEmpty(ctx context.Context, e *bench) (float64, error) {
	return e.fresh(ctx, nil, func(s *server) (float64, error) { return s.ready.Seconds() * 1e3, nil })
}

// replay sends, kills the server, starts it again on the same folder and divides the spans by the time it took to be
// ready beyond that of an empty start. A replay that lost or doubled a span is no figure.
func replay(spans int64) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		dir, err := os.MkdirTemp(e.temp, "replay-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		s, err := e.start(ctx, dir)
		if err != nil {
			return 0, err
		}
		empty := s.ready
		manifest := filepath.Join(dir, "sent.json")
		r, err := s.send(ctx, load.SendOptions{Protocol: load.OTLPGRPC, Spans: spans, Manifest: manifest})
		s.kill()
		if err != nil {
			return 0, err
		}
		again, err := e.start(ctx, dir)
		if err != nil {
			return 0, fmt.Errorf("start on the log of a killed server: %w", err)
		}
		defer again.stop()
		if _, err := load.Verify(ctx, load.VerifyOptions{Endpoints: dir, Manifest: manifest, Sample: 50, Exact: true, Wait: time.Second}, io.Discard); err != nil {
			return 0, fmt.Errorf("after the replay: %w", err)
		}
		took := again.ready - empty
		if took <= 0 {
			return 0, fmt.Errorf("replaying %d spans took no longer (%s) than an empty start (%s): send more", r.Accepted, again.ready, empty)
		}
		return float64(r.Accepted) / took.Seconds(), nil
	}
}

// logOnDisk is the size of the data folder after spans were sent to it and the server was stopped.
func logOnDisk(spans int64) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		return e.fresh(ctx, nil, func(s *server) (float64, error) {
			r, err := s.send(ctx, load.SendOptions{Protocol: load.OTLPGRPC, Spans: spans})
			if err != nil {
				return 0, err
			}
			n, err := bytesOnDisk(s.dir)
			return float64(n) / float64(r.Accepted), err
		})
	}
}

func binarySize(_ context.Context, e *bench) (float64, error) {
	info, err := os.Stat(filepath.Clean(e.binary))
	if err != nil {
		return 0, err
	}
	return float64(info.Size()) / mib, nil
}
