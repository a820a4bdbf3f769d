package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/jaegerapi"
	"github.com/spanloom/spanloom/query/uiapi"
	"github.com/spanloom/spanloom/query/zipkinapi"
	"github.com/spanloom/spanloom/receive/door"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/web"
)

// buildPorts makes the server of every port that is not off.
func (s *service) buildPorts() error {
	c := s.config
	ingestGRPC, err := otlp.NewGRPC(s.intake, otlp.GRPCOptions{Auth: s.ingestAuth("otlp-grpc"), Memory: memoryPlan(s.config)})
	if err != nil {
		return err
	}
	if err := s.add("otlp-grpc", "otlpGrpc", "otlp grpc receiver", c.OTLPGRPCAddr, roleIngest, func(conf *tls.Config) server {
		return door.NewGRPC(ingestGRPC, otlp.GRPCPortHandler(s.intake, s.otlpOptions("otlp-grpc")), conf, s.log)
	}); err != nil {
		return err
	}
	if err := s.add("otlp-http", "otlpHttp", "otlp http receiver", c.OTLPHTTPAddr, roleIngest, func(conf *tls.Config) server {
		return door.NewHTTP(otlp.Handler(s.intake, s.otlpOptions("otlp-http")), nil, conf, s.log)
	}); err != nil {
		return err
	}
	if err := s.add("zipkin", "zipkin", "zipkin receiver", c.ZipkinAddr, roleIngest, func(conf *tls.Config) server {
		reports := grpc.NewServer(s.guard("zipkin", span.ProtocolZipkin)...)
		zipkin.RegisterGRPC(reports, s.intake)
		receiver := s.ingest("zipkin", span.ProtocolZipkin, zipkin.Handler(s.intake, zipkin.Options{}))
		return door.NewHTTP(s.zipkinPort(c.ListenerAddr(c.ZipkinAddr), receiver), reports, conf, s.log)
	}); err != nil {
		return err
	}
	if err := s.addTempo(); err != nil {
		return err
	}
	if err := s.add("http", "http", "ui and query api", c.HTTPAddr, roleRead, func(conf *tls.Config) server {
		return door.NewHTTP(s.queryHandler(c.ListenerAddr(c.HTTPAddr)), s.tempoGRPC(s.tokens.on()), conf, s.log)
	}); err != nil {
		return err
	}
	if err := s.addJaegerGRPC(); err != nil {
		return err
	}
	if err := s.add("admin", "admin", "admin", c.AdminAddr, 0, func(conf *tls.Config) server {
		return door.NewHTTP(s.adminHandler(), nil, conf, s.log)
	}); err != nil {
		return err
	}
	return s.add("debug", "", "debug", c.DebugAddr, 0, func(*tls.Config) server {
		return door.NewHTTP(hostGuard(c.ListenerAddr(c.DebugAddr), "", debugHandler()), nil, nil, s.log)
	})
}

// addJaegerGRPC makes the port of Jaeger's gRPC queries. HTTP/1 gets a 404 there that says where to go.
func (s *service) addJaegerGRPC() error {
	var guards []grpc.ServerOption
	if s.guarded("jaeger-grpc") {
		guards = s.tokens.grpcQueryGuard()
	}
	queries, err := jaegerapi.NewGRPC(jaegerapi.Options{Query: s.query, Reader: s.engine, Log: s.log}, jaegerapi.GRPCOptions{Server: guards})
	if err != nil {
		return err
	}
	return s.add("jaeger-grpc", "jaegerGrpc", "jaeger grpc query api", s.config.JaegerGRPC, roleRead, func(conf *tls.Config) server {
		return door.NewGRPC(queries, jaegerapi.HTTPOnGRPCPort(), conf, s.log)
	})
}

// add makes one port unless it is off. need is 0 for ports that never ask for a token.
func (s *service) add(name, key, speaks, addr string, need role, make func(*tls.Config) server) error {
	listen := s.config.ListenerAddr(addr)
	if listen == "" {
		return nil
	}
	p := &port{name: name, key: key, speaks: speaks, addr: listen, open: need == 0 || !s.guarded(name)}
	var conf *tls.Config
	if files := s.config.TLSOf(name); files.Cert != "" && name != "debug" {
		cert, err := loadCertificate(files)
		if err != nil {
			return fmt.Errorf("listener %s: %w", name, err)
		}
		s.certs = append(s.certs, cert)
		conf, p.tls = cert.config("h2", "http/1.1"), true
	}
	p.server = make(conf)
	s.ports = append(s.ports, p)
	return nil
}

// guarded reports whether a listener asks for tokens.
func (s *service) guarded(name string) bool {
	if !s.tokens.on() {
		return false
	}
	for _, exempt := range s.config.AuthExempt {
		if exempt == name {
			return false
		}
	}
	return true
}

// ingest puts the token check in front of a receiver.
func (s *service) ingest(name string, p span.Protocol, h http.Handler) http.Handler {
	if !s.guarded(name) {
		return h
	}
	return s.tokens.httpGuard(roleIngest, h, func(r *http.Request, pr *problem.Problem) {
		s.refusedByToken(p, r.RemoteAddr, r.Header.Get("X-Forwarded-For"), pr)
	})
}

// guard is ingest for gRPC.
func (s *service) guard(name string, p span.Protocol) []grpc.ServerOption {
	if !s.guarded(name) {
		return nil
	}
	return []grpc.ServerOption{grpc.UnaryInterceptor(s.tokens.grpcGuard(roleIngest, func(ctx context.Context, pr *problem.Problem) {
		remote, forwarded := "", ""
		if from, ok := peer.FromContext(ctx); ok {
			remote = from.Addr.String()
		}
		if md, ok := metadata.FromIncomingContext(ctx); ok {
			forwarded = strings.Join(md.Get("x-forwarded-for"), ",")
		}
		s.refusedByToken(p, remote, forwarded, pr)
	}))}
}

// otlpOptions are the settings of an OTLP receiver over HTTP.
func (s *service) otlpOptions(name string) otlp.Options {
	return otlp.Options{AllowedOrigins: s.config.CORSOrigins, Auth: s.ingestAuth(name)}
}

// ingestAuth is the token check of the OTLP receivers, nil where the listener is open. They answer in their own forms and
// write the receipt.
func (s *service) ingestAuth(name string) func(context.Context, string) error {
	if !s.guarded(name) {
		return nil
	}
	return func(_ context.Context, authorization string) error {
		if p := s.tokens.allow(authorization, roleIngest); p != nil {
			return p
		}
		return nil
	}
}

// zipkinPrefix is where --http-addr mirrors Zipkin's API.
const zipkinPrefix = "/zipkin"

// queryHandler is everything on --http-addr: UI, own API, Jaeger's API, under / and /jaeger, Zipkin's under /zipkin and Tempo's under
// /tempo, behind a base path if set.
func (s *service) queryHandler(listen string) http.Handler {
	var origins []string
	if s.config.ExternalURL != "" {
		origins = append(origins, s.config.ExternalURL)
	}
	own := uiapi.New(uiapi.Options{Query: s.query, TraceQL: s.traceql, Receipts: receipts{s}, Status: s.status, Doctor: s.doctor, Mesh: s.mesh, Log: s.log, Origins: origins,
		RecentBytes: int(min(memoryPlan(s.config)/16, 64<<20))})
	jaeger := jaegerapi.New(jaegerapi.Options{Query: s.query, Reader: s.engine, Log: s.log, Origins: origins})
	mount := func(base string) http.Handler {
		ui := web.Handler(web.Options{Base: base, FrameAncestors: s.config.FrameAncestor, Version: s.build.Version, Commit: s.build.Commit, BuildDate: s.build.Date})
		mux := http.NewServeMux()
		mux.Handle("/api/spanloom/", requestID(s.needRole(own)))
		mux.Handle("/api/", requestID(s.needRole(jaeger)))
		mux.Handle("/tempo/", http.StripPrefix("/tempo", requestID(s.needRole(packed(s.tempo)))))
		mux.Handle("/", ui) // the page itself holds no data: it asks the API, which asks for the token
		return mux
	}
	base := s.config.BasePath
	root := http.NewServeMux()
	root.Handle("/", mount(base))
	root.Handle(zipkinPrefix, requestID(s.needRole(s.zipkinAPI(base))))
	root.Handle(zipkinPrefix+"/", requestID(s.needRole(s.zipkinAPI(base))))
	root.Handle("/jaeger/", http.StripPrefix("/jaeger", mount(base+"jaeger/")))
	root.Handle("/jaeger", http.RedirectHandler(base+"jaeger/", http.StatusMovedPermanently))
	var h http.Handler = root
	if base != "/" {
		// Proxies either keep the prefix or cut it: both arrive.
		outer := http.NewServeMux()
		outer.Handle(base, http.StripPrefix(strings.TrimSuffix(base, "/"), root))
		outer.Handle("/", root)
		h = outer
	}
	return hostGuard(listen, s.config.ExternalURL, h)
}

// zipkinPort is receiver and query API on one port. What is posted goes to the receiver, which never looks at Host and lets
// other origins post; what is asked is guarded like every query.
func (s *service) zipkinPort(listen string, receiver http.Handler) http.Handler {
	answers := requestID(s.zipkinAPI(s.config.ExternalURL))
	if s.guarded("zipkin") {
		answers = s.needRole(answers)
	}
	answers = hostGuard(listen, s.config.ExternalURL, answers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if zipkinapi.Answers(r) {
			answers.ServeHTTP(w, r)
			return
		}
		receiver.ServeHTTP(w, r)
	})
}

// zipkinAPI answers Zipkin's queries; ui is the base of the UI to which links to Zipkin's pages lead.
func (s *service) zipkinAPI(ui string) http.Handler {
	return packed(zipkinapi.New(zipkinapi.Options{Query: s.query, Log: s.log, UI: ui, Version: s.build.Version, Commit: s.build.Commit,
		Health: func() (string, string) {
			stats := s.engine.Stats()
			return stats.Kind, stats.Refusing
		}}))
}

// packed packs answers from some KB on for clients that take that: spans as JSON shrink to a tenth. Jaeger's and the own API do it
// themselves, for they know what they stream.
func packed(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(2048), gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		panic(err) // the options are constants
	}
	return wrap(h)
}

// needRole asks for read, and for admin where something changes. Facts that a reader posts to the doctor change nothing.
func (s *service) needRole(h http.Handler) http.Handler {
	if !s.tokens.on() {
		return h
	}
	read, admin := s.tokens.httpGuard(roleRead, h, nil), s.tokens.httpGuard(roleAdmin, h, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions ||
			strings.HasSuffix(r.URL.Path, uiapi.Prefix+"/doctor") {
			read.ServeHTTP(w, r)
			return
		}
		admin.ServeHTTP(w, r)
	})
}
