package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// Options says what the mesh reports to and how much happens in it.
type Options struct {
	Envoy     string // path of the executable; "" looks for one (FindEnvoy)
	WorkDir   string // folder for configurations and logs of the Envoys; "" is a temporary one, removed at the end
	Collector Collector
	Flush     Flush // zero: half a second and Envoy's number of spans, so that traces are soon complete

	Gateway string  // host:port of the ingress gateway; "" is a free port on 127.0.0.1
	Rate    float64 // requests a second through the gateway; 0 is 5
	Percent float64 // of the requests that are traced; 0 is 100
	UI      string  // URL of Spanloom's UI, only logged

	// KeepRequestIDs lets the gateway take x-request-id from outside, by which Envoy decides what is traced. By default it makes its own.
	KeepRequestIDs bool

	Log *slog.Logger     // nil logs nothing
	Now func() time.Time // the clock of the figures in the log; nil is the real one
}

func (o Options) withDefaults() (Options, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rate == 0 {
		o.Rate = 5
	}
	if o.Rate < 0 || o.Rate > 1000 {
		return o, fmt.Errorf("rate %v requests a second: choose 0.1 to 1000", o.Rate)
	}
	if o.Percent == 0 {
		o.Percent = 100
	}
	if o.Percent < 0 || o.Percent > 100 {
		return o, fmt.Errorf("%v percent of the requests are to be traced: choose more than 0, at most 100", o.Percent)
	}
	if o.Flush == (Flush{}) {
		o.Flush.Interval = 500 * time.Millisecond
	}
	if o.Gateway == "" {
		o.Gateway = "127.0.0.1:0"
	}
	for field, address := range map[string]string{
		"Zipkin": o.Collector.Zipkin, "OTLPGRPC": o.Collector.OTLPGRPC, "OTLPHTTP": o.Collector.OTLPHTTP,
	} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return o, fmt.Errorf("collector address %s %q: %w: the mesh reports by all three protocols, open all three receivers", field, address, err)
		}
	}
	if _, _, err := splitIPPort(o.Gateway); err != nil {
		return o, err
	}
	if o.Envoy == "" {
		path, err := FindEnvoy()
		if err != nil {
			return o, err
		}
		o.Envoy = path
	}
	return o, nil
}

// Mesh is a running mesh: eight Envoys and the applications behind them.
type Mesh struct {
	options   Options
	gateway   *Envoy
	workloads []*running
	stopBooks func()
	tempDir   string
}

const namespace = "bookinfo"

// StartMesh starts every workload, the called before its callers, and returns when the gateway lets requests in: after
// 0.6 s on two idle cores. ctx bounds the start only; the caller stops the mesh. Without Envoy the error is ErrNoEnvoy.
func StartMesh(ctx context.Context, o Options) (*Mesh, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	m := &Mesh{options: o}
	if o.WorkDir == "" {
		if m.tempDir, err = os.MkdirTemp("", "spanloom-demo-"); err != nil {
			return nil, fmt.Errorf("make a work folder: %w", err)
		}
		m.options.WorkDir = m.tempDir
	} else if err := os.MkdirAll(o.WorkDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the work folder: %w", err)
	}
	if err := m.start(ctx); err != nil {
		m.Stop()
		return nil, err
	}
	return m, nil
}

// start brings the topology of the package comment to life, from right to left.
func (m *Mesh) start(ctx context.Context) error {
	booksAddress, stopBooks, err := serveBooks()
	if err != nil {
		return err
	}
	m.stopBooks = stopBooks

	// The services, with what their VirtualServices say. Endpoints join as their workloads start.
	books := &Service{Host: "books.example.com", Port: 80, Endpoints: []string{booksAddress}}
	details := service("details", 9080)
	ratings := service("ratings", 9080)
	ratings.Retries, ratings.RetryOn = 2, "5xx"
	reviews := service("reviews", 9080)
	reviews.Timeout = reviewsTimeout
	stock := service("stock", 7000)
	stock.GRPC = true
	recommendations := service("recommendations", 9080) // never gets an endpoint: 503 UH
	productpage := service("productpage", 9080)

	for _, w := range []workload{
		{of: details, proxy: sidecar("details", "v1", "65cfcf56f9-hhgnt", ZipkinB3), app: serveDetails, calls: []*Service{books}},
		{of: ratings, proxy: sidecar("ratings", "v1", "6c9f4b8d4c-x7b2p", OTLPGRPC), app: serveRatings, calls: []*Service{books}},
		{of: stock, proxy: sidecar("stock", "v1", "79b6d5c4f8-lq5zn", OTLPGRPC), app: serveStock, sdk: OTLPGRPC},
		{of: reviews, proxy: sidecar("reviews", "v1", "85b77c6f6f-tn6gq", OTLPGRPC), app: serveReviews, sdk: OTLPHTTP},
		{of: reviews, proxy: sidecar("reviews", "v2", "6f87c8594b-bfgxq", OTLPGRPC), app: serveReviews, sdk: OTLPHTTP, calls: []*Service{ratings}},
		{of: reviews, proxy: sidecar("reviews", "v3", "5d99bc6f9b-kz4wd", OTLPHTTP), app: serveReviews, sdk: OTLPHTTP, calls: []*Service{ratings}},
		{
			of: productpage, proxy: sidecar("productpage", "v1", "54bb874995-9q5wp", ZipkinB3W3C), app: serveProductpage, sdk: OTLPGRPC,
			calls: []*Service{details, reviews, stock, recommendations},
		},
	} {
		r, err := w.start(ctx, podAddress(len(m.workloads)+11), m.options)
		if err != nil {
			return err
		}
		m.workloads = append(m.workloads, r)
		w.of.Endpoints = append(w.of.Endpoints, r.envoy.Inbound(w.of.Port))
	}
	return m.startGateway(ctx, *productpage, *stock)
}

func (m *Mesh) startGateway(ctx context.Context, productpage, stock Service) error {
	host, port, err := splitIPPort(m.options.Gateway)
	if err != nil {
		return err
	}
	m.gateway, err = StartEnvoy(ctx, EnvoyOptions{
		Path: m.options.Envoy, WorkDir: m.options.WorkDir, Collector: m.options.Collector, Flush: m.options.Flush,
		Proxy: Proxy{
			Router: true,
			Pod:    "istio-ingressgateway-7f57bc4f4f-4xs7d", App: "istio-ingressgateway", Version: "latest", Namespace: "istio-system",
			Address: host, Port: port, Tracer: ZipkinB3W3C, Percent: m.options.Percent, KeepRequestIDs: m.options.KeepRequestIDs,
			Routes: []Route{
				{Exact: "/productpage", To: productpage},
				{Prefix: "/api/v1/products", To: productpage},
				{Prefix: "/bookinfo.Stock/", To: stock},
			},
		},
	})
	return err
}

// Gateway is the host:port through which requests enter the mesh, whatever Host header they carry.
func (m *Mesh) Gateway() string { return m.gateway.Outbound(gatewayPort) }

// Envoys lists the gateway, then the sidecars.
func (m *Mesh) Envoys() []*Envoy {
	all := []*Envoy{m.gateway}
	for _, r := range m.workloads {
		all = append(all, r.envoy)
	}
	return all
}

// Stop ends the callers before the called. The proxies first get the time of two flushes, so that the last traces are
// whole; applications deliver theirs when they end.
func (m *Mesh) Stop() {
	if m.gateway != nil {
		time.Sleep(2 * m.options.Flush.Interval)
		m.gateway.Stop()
	}
	for i := len(m.workloads) - 1; i >= 0; i-- {
		m.workloads[i].stop()
	}
	if m.stopBooks != nil {
		m.stopBooks()
	}
	if m.tempDir != "" {
		os.RemoveAll(m.tempDir)
	}
}

func service(name string, port int) *Service {
	return &Service{Host: name + "." + namespace + ".svc.cluster.local", Port: port}
}

func sidecar(app, version, hash string, tracer Tracer) Proxy {
	return Proxy{
		Pod: app + "-" + version + "-" + hash, App: app, Version: version, Namespace: namespace, Tracer: tracer,
	}
}

// podAddress is an address of the loopback network that only this workload uses, or 127.0.0.1 where the system
// gives no other.
func podAddress(number int) string {
	address := "127.10.0." + strconv.Itoa(number)
	if listener, err := net.Listen("tcp", address+":0"); err == nil {
		listener.Close()
		return address
	}
	return "127.0.0.1"
}

// splitIPPort reads the gateway's address, whose host Envoy wants as a number.
func splitIPPort(address string) (ip string, port int, err error) {
	ip, text, err := net.SplitHostPort(address)
	number, notNumber := strconv.ParseUint(text, 10, 16)
	if err != nil || notNumber != nil || net.ParseIP(ip) == nil {
		return "", 0, fmt.Errorf("gateway address %q: write IP:port, say 127.0.0.1:8080", address)
	}
	return ip, int(number), nil
}
