package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
)

// SendOptions says what to send where. Each field is one flag of `spanloom load send`, named in its comment with its
// default; the zero value of a field means the default.
type SendOptions struct {
	Protocol        Protocol      // --protocol otlp-grpc: otlp-grpc, otlp-http, otlp-http-json, zipkin, zipkin-proto
	Target          string        // --target HOST:PORT or URL of the receiver: the protocol's usual port on 127.0.0.1
	Endpoints       string        // --endpoints FILE: endpoints.json of a server or its data folder, instead of --target and --server-pid
	Spans           int64         // --spans 200000: how many to send; the last trace is sent whole. With --duration: at most
	Duration        time.Duration // --duration 0: send for so long; what was begun is finished
	Rate            float64       // --rate 0: spans a second; 0 sends the next request as soon as a connection is free
	SpansPerRequest int           // --spans-per-request 512; 5 is what a sidecar sends
	Connections     int           // --connections 8; one request is under way on each
	Seed            uint64        // --seed 1
	TracesPerSecond int           // --traces-per-second 50: density of the generated traces in their own time, which ends now
	Manifest        string        // --manifest spanloom-load.json: what `load verify` needs; "-" writes none
	Chunked         bool          // --chunked: HTTP bodies without Content-Length, as Envoy sends them
	ServerPID       int           // --server-pid PID: also report CPU and memory of this process (Linux)
	TokenFile       string        // --token-file FILE: bearer token
	CAFile          string        // --ca-file FILE: certificates to trust; with it, or a https:// target, the connection is TLS
	RetryFor        time.Duration // --retry-for 1m: how long one request is tried again before it counts as refused

	clock      clock
	chunkBytes int64 // bodies encoded ahead in a closed loop
}

// clock lets tests stand in for time.
type clock struct {
	now  func() time.Time
	wait func(ctx context.Context, d time.Duration) error
}

func realClock() clock {
	return clock{time.Now, pause.For}
}

// closedSpansPerSecond is more than a closed loop reaches: how many spans a duration without a count may need.
const closedSpansPerSecond = 500_000

func (o *SendOptions) complete() error {
	if o.Protocol == "" {
		o.Protocol = OTLPGRPC
	}
	if _, err := ParseProtocol(string(o.Protocol)); err != nil {
		return err
	}
	for _, n := range []struct {
		flag  string
		value float64
	}{{"spans", float64(o.Spans)}, {"duration", float64(o.Duration)}, {"rate", o.Rate}, {"spans-per-request", float64(o.SpansPerRequest)},
		{"connections", float64(o.Connections)}, {"traces-per-second", float64(o.TracesPerSecond)}} {
		if n.value < 0 {
			return fmt.Errorf("--%s is %v: it must not be negative", n.flag, n.value)
		}
	}
	if o.Endpoints != "" {
		e, err := ReadEndpoints(o.Endpoints)
		if err != nil {
			return err
		}
		if o.Target == "" {
			o.Target = e.receiver(o.Protocol)
		}
		if o.ServerPID == 0 {
			o.ServerPID = e.PID
		}
	}
	setDefault(&o.SpansPerRequest, 512)
	setDefault(&o.Connections, 8)
	setDefault(&o.Seed, 1)
	setDefault(&o.TracesPerSecond, DefaultTracesPerSecond)
	setDefault(&o.Manifest, DefaultManifest)
	setDefault(&o.RetryFor, time.Minute)
	setDefault(&o.chunkBytes, 64<<20)
	if o.TracesPerSecond > 1_000_000 {
		return fmt.Errorf("--traces-per-second is %d: at most 1000000, one a microsecond", o.TracesPerSecond)
	}
	if o.clock.now == nil {
		o.clock = realClock()
	}
	switch {
	case o.Spans > 0:
	case o.Duration == 0:
		o.Spans = 200_000
	case o.Rate > 0:
		o.Spans = int64(o.Rate * o.Duration.Seconds())
	default:
		o.Spans = int64(closedSpansPerSecond * o.Duration.Seconds())
	}
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// base is when trace 0 begins so that the last one ends about now.
func (o *SendOptions) base() time.Time {
	traces := float64(o.Spans)/20*1.02 + 1
	return o.clock.now().Add(-time.Duration(traces/float64(o.TracesPerSecond)*float64(time.Second)) - 2*time.Second)
}

// dial makes the connections' poster; nothing is sent yet.
func (o *SendOptions) dial() (poster, string, error) {
	_, address, path := o.Protocol.endpoint()
	token, tlsConfig, err := credentialsOf(o.TokenFile, o.CAFile)
	if err != nil {
		return nil, "", err
	}
	target := o.Target
	setDefault(&target, address)
	if o.Protocol == OTLPGRPC {
		secure := strings.HasPrefix(target, "https://")
		target = strings.TrimPrefix(strings.TrimPrefix(target, "https://"), "http://")
		if secure && tlsConfig == nil {
			tlsConfig = &tls.Config{}
		}
		p, err := newGRPCPoster(target, token, tlsConfig, o.Connections)
		return p, target, err
	}
	url := httpURL(target, tlsConfig != nil)
	if rest := url[strings.Index(url, "://")+3:]; !strings.Contains(rest, "/") {
		url += path
	}
	h := &httpPoster{url: url, contentType: o.Protocol.contentType(), token: token, chunked: o.Chunked,
		zipkin: o.Protocol.Form() == FormZipkin, json: o.Protocol == OTLPHTTPJSON}
	for range o.Connections {
		h.clients = append(h.clients, &http.Client{Transport: &http.Transport{
			TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 1, DisableCompression: true,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		}})
	}
	return h, url, nil
}

func httpURL(target string, secure bool) string {
	switch {
	case strings.Contains(target, "://"):
		return target
	case secure:
		return "https://" + target
	default:
		return "http://" + target
	}
}

func credentialsOf(tokenFile, caFile string) (token string, _ *tls.Config, err error) {
	if tokenFile != "" {
		text, err := os.ReadFile(tokenFile)
		if err != nil {
			return "", nil, fmt.Errorf("--token-file: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if caFile == "" {
		return token, nil, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return "", nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return "", nil, fmt.Errorf("--ca-file %s: no PEM certificate in it", caFile)
	}
	return token, &tls.Config{RootCAs: pool}, nil
}

// Send generates spans, sends them and checks every answer. It writes a summary to out.
//
// Bodies are encoded before the clock starts, in pieces of bounded memory; the reported wall time and rate leave the
// encoding out. A paced run encodes while it waits, and its client CPU includes that.
//
// The error wraps ErrMismatch when spans were refused for good; the report is complete then. A cancelled context ends the
// sending early: the report says how far it came, and no manifest is written because some traces are incomplete.
func Send(ctx context.Context, o SendOptions, out io.Writer) (SendReport, error) {
	if err := o.complete(); err != nil {
		return SendReport{}, err
	}
	encode := EncoderOf(o.Protocol)
	p, target, err := o.dial()
	if err != nil {
		return SendReport{}, err
	}
	defer p.close()
	data := New(o.Seed, o.base(), o.TracesPerSecond, o.Protocol.Form())
	r := &run{o: o, poster: p, stream: data.Stream(o.SpansPerRequest, o.Spans, encode)}
	r.report = SendReport{Protocol: o.Protocol, Target: target, SpansPerRequest: o.SpansPerRequest, Connections: o.Connections, Rate: o.Rate}
	r.report.Size = Measure(o.Seed, o.TracesPerSecond, o.SpansPerRequest, o.Spans)
	var before Usage
	if o.ServerPID != 0 {
		if before, err = ProcessUsage(o.ServerPID); err != nil {
			return SendReport{}, err
		}
	}
	if o.Rate > 0 {
		err = r.paced(ctx)
	} else {
		err = r.closed(ctx)
	}
	r.finish()
	if o.ServerPID != 0 {
		after, usageErr := ProcessUsage(o.ServerPID)
		if usageErr != nil {
			err = errors.Join(err, usageErr)
		} else {
			r.report.server(before, after)
		}
	}
	if err == nil && o.Manifest != "-" {
		m := &Manifest{Version: manifestVersion, Seed: o.Seed, Base: fmt.Sprint(data.Base), TracesPerSecond: o.TracesPerSecond,
			Protocol: o.Protocol, Traces: r.stream.Traces, Spans: r.stream.Spans, Accepted: r.report.Accepted}
		err = m.write(o.Manifest)
		r.report.Manifest = o.Manifest
	}
	r.report.print(out)
	if err == nil && r.report.Refused > 0 {
		err = fmt.Errorf("%w: %d of %d were not accepted: %s", ErrMismatch, r.report.Refused, r.report.Spans, r.report.firstComplaint())
	}
	return r.report, err
}
