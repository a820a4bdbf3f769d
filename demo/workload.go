package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// A workload is one pod: an application and its sidecar.
type workload struct {
	of    *Service // that the application is an endpoint of
	proxy Proxy    // without address, ports and destinations, which the start fills in
	app   func(pod) (server, error)
	sdk   Tracer     // protocol of the application's own spans; "" is an application without an SDK
	calls []*Service // already running
}

// server is an application that is ready to serve: an http.Server or a grpc.Server.
type server struct {
	serve func(net.Listener) error
	stop  func()
}

// pod is what an application finds around it.
type pod struct {
	Proxy
	telemetry *telemetry   // nil without SDK
	dial      dialFunc     // to any host of the mesh, through the sidecar
	client    *http.Client // the same for HTTP; spans and trace headers are up to the application
}

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// running is a workload that has started.
type running struct {
	envoy     *Envoy
	server    server
	telemetry *telemetry
	served    chan struct{}
}

// start brings up the sidecar, then the application.
func (w workload) start(ctx context.Context, address string, o Options) (*running, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", w.proxy.Pod, err)
	}
	w.proxy.Address, w.proxy.Percent = address, o.Percent
	w.proxy.Inbound = []Inbound{{Host: w.of.Host, Port: w.of.Port, GRPC: w.of.GRPC, App: listener.Addr().String()}}
	for _, s := range w.calls {
		w.proxy.Outbound = append(w.proxy.Outbound, *s)
	}
	envoy, err := StartEnvoy(ctx, EnvoyOptions{
		Path: o.Envoy, WorkDir: o.WorkDir, Proxy: w.proxy, Collector: o.Collector, Flush: o.Flush,
	})
	if err != nil {
		listener.Close()
		return nil, err
	}
	r := &running{envoy: envoy, served: make(chan struct{})}
	fail := func(err error) (*running, error) {
		listener.Close()
		close(r.served)
		r.stop()
		return nil, fmt.Errorf("start application %s: %w", w.proxy.Pod, err)
	}
	if w.sdk != "" {
		if r.telemetry, err = newTelemetry(ctx, w.proxy, w.sdk, o.Collector, o.Flush, o.Log); err != nil {
			return fail(err)
		}
	}
	dial := redirect(envoy, address)
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8, DisableCompression: true}
	r.server, err = w.app(pod{
		Proxy: w.proxy, telemetry: r.telemetry, dial: dial, client: &http.Client{Transport: transport},
	})
	if err != nil {
		return fail(err)
	}
	log := o.Log.With("app", w.proxy.Pod)
	go func() {
		defer close(r.served)
		if err := r.server.serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("application ended", "error", err)
		}
		transport.CloseIdleConnections()
	}()
	return r, nil
}

// stop ends the application, lets its SDK deliver what it has, and ends the sidecar.
func (r *running) stop() {
	if r.server.stop != nil {
		r.server.stop()
	}
	<-r.served
	if r.telemetry != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		r.telemetry.provider.Shutdown(ctx) // what it can't deliver it has logged
	}
	r.envoy.Stop()
}

// redirect does the work of iptables: whatever host is dialled, the connection goes to the sidecar's listener of
// that port, from the pod's address.
func redirect(envoy *Envoy, address string) dialFunc {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		number, err := net.LookupPort(network, port)
		if err != nil {
			return nil, err
		}
		outbound := envoy.Outbound(number)
		if outbound == "" {
			return nil, fmt.Errorf("dial %s: the sidecar %s has no outbound listener for port %s", to, envoy.Pod(), port)
		}
		return dialer.DialContext(ctx, network, outbound)
	}
}

// httpServer serves the routes as they are. What it would log is clients that went away, and they are part of the show.
func httpServer(handler http.Handler) server {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	return server{serve: s.Serve, stop: func() { s.Close() }}
}

// instrumented makes a server span of every request, named after the route, and remembers the request id.
func (p pod) instrumented(mux *http.ServeMux, pattern string, handle http.HandlerFunc) {
	mux.Handle(pattern, otelhttp.NewHandler(keepRequestID(handle), pattern,
		otelhttp.WithTracerProvider(p.telemetry.provider),
		otelhttp.WithPropagators(p.telemetry.propagator)))
}

// instrumentedClient makes a client span of every request and hands trace headers and request id on.
func (p pod) instrumentedClient() *http.Client {
	return &http.Client{Transport: otelhttp.NewTransport(withRequestID{p.client.Transport},
		otelhttp.WithTracerProvider(p.telemetry.provider),
		otelhttp.WithPropagators(p.telemetry.propagator))}
}

// Istio wants applications to hand x-request-id on besides the trace headers; no SDK does that by itself.
const requestIDHeader = "X-Request-Id"

type requestIDKey struct{}

func keepRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, r.Header.Get(requestIDHeader))))
	})
}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

type withRequestID struct{ http.RoundTripper }

func (t withRequestID) RoundTrip(r *http.Request) (*http.Response, error) {
	if id := requestID(r.Context()); id != "" {
		r = r.Clone(r.Context())
		r.Header.Set(requestIDHeader, id)
	}
	return t.RoundTripper.RoundTrip(r)
}
