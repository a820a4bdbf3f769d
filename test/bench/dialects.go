package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// served are questions asked of the real server through each dialect, over HTTP on the loopback: what a client waits for, encoding
// and transport included. A server of its own is started for each figure, so the first question finds every cache cold; the median
// does not.
func served(spans int64) []figure {
	on := "on " + short(spans) + " spans"
	// has is what every answer contains: an empty one would be the fastest.
	ms := func(name, has string, n int, ask func(s *stored, r *rand.Rand, at *server) string) figure {
		return figure{name: name + ", " + on, target: "reported", unit: "ms", timed: true, command: ofSpans(name, spans), run: overHTTP(n, has, ask)}
	}
	traceql := func(text string, limit int) func(*stored, *rand.Rand, *server) string {
		return func(s *stored, _ *rand.Rand, at *server) string {
			return "http://" + at.Tempo + "/api/search?q=" + url.QueryEscape(text) + "&limit=" + strconv.Itoa(limit) + s.seconds()
		}
	}
	return []figure{
		ms("Jaeger HTTP, trace by id", `"spanID":"`, 200, func(s *stored, r *rand.Rand, at *server) string {
			return "http://" + at.HTTP + "/api/traces/" + s.span(r).trace.String()
		}),
		ms("Zipkin, trace by id", `"traceId":"`, 200, func(s *stored, r *rand.Rand, at *server) string {
			return "http://" + at.Zipkin + "/api/v2/trace/" + s.span(r).trace.String()
		}),
		ms("Tempo, trace by id", `"spanId":"`, 200, func(s *stored, r *rand.Rand, at *server) string {
			return "http://" + at.Tempo + "/api/traces/" + s.span(r).trace.String()
		}),
		ms("Jaeger HTTP, newest 20 of a service", `"spanID":"`, 20, func(s *stored, r *rand.Rand, at *server) string {
			all := s.all()
			return fmt.Sprintf("http://%s/api/traces?limit=20&service=%s&start=%d&end=%d", at.HTTP, url.QueryEscape(s.span(r).service), all.From/1e3, all.To/1e3)
		}),
		ms("TraceQL, service and error", `"traceID":"`, 20, func(s *stored, r *rand.Rand, at *server) string {
			return traceql(fmt.Sprintf("{ resource.service.name = %q && status = error }", s.span(r).service), 20)(s, r, at)
		}),
		ms("TraceQL, server above an error", `"traceID":"`, 5, traceql("{ kind = server } >> { status = error }", 20)),
		ms("TraceQL, nestedSetParent < 0", `"traceID":"`, 5, traceql("{ nestedSetParent < 0 }", 20)),
		ms("TraceQL, nothing matches", `"totalBlocks":`, 5, traceql(`{ span.http.method = "NOTHING" }`, 20)),
		ms("TraceQL, p95 by service over all", `"samples":[{`, 3, func(s *stored, _ *rand.Rand, at *server) string {
			return "http://" + at.Tempo + "/api/metrics/query_range?q=" +
				url.QueryEscape("{ kind = server } | quantile_over_time(duration, .95) by (resource.service.name)") + "&step=60s" + s.seconds()
		}),
		ms("own API, map", `"edges":[{`, 10, func(s *stored, _ *rand.Rand, at *server) string {
			all := s.all()
			return fmt.Sprintf("http://%s/api/spanloom/v1/map?start=%d&end=%d", at.HTTP, all.From, all.To)
		}),
	}
}

// seconds is the time of all spans as Tempo's parameters.
func (s *stored) seconds() string {
	all := s.all()
	return fmt.Sprintf("&start=%d&end=%d", all.From/int64(time.Second), all.To/int64(time.Second))
}

// overHTTP is the median of n questions, each of which must be answered with 200 and what answers of its kind have.
func overHTTP(n int, has string, ask func(*stored, *rand.Rand, *server) string) func(context.Context, *bench) (float64, error) {
	return func(ctx context.Context, e *bench) (float64, error) {
		s, err := e.stored(ctx)
		if err != nil {
			return 0, err
		}
		if err := s.close(); err != nil { // the server takes the folder
			return 0, err
		}
		server, err := e.start(ctx, s.dir)
		if err != nil {
			return 0, err
		}
		defer server.stop()
		return e.times(ctx, n, 0.5, func(r *rand.Rand) func() error {
			address := ask(s, r, server)
			return func() error { return get(ctx, address, has) }
		})
	}
}

func get(ctx context.Context, address, has string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
	case resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("%s answers %s: %.200s", address, resp.Status, body)
	case !bytes.Contains(body, []byte(has)):
		err = fmt.Errorf("%s answers without %s: %.200s", address, has, body)
	}
	return err
}
