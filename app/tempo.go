package app

import (
	"crypto/tls"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/spanloom/spanloom/receive/door"
)

// addTempo makes Tempo's two ports. Both speak HTTP and gRPC: Grafana dials gRPC where its HTTP goes, Kiali a port of its own.
// The first is net/http's for both, as most of what comes is HTTP; on the second gRPC is native.
func (s *service) addTempo() error {
	c := s.config
	if err := s.add("tempo", "tempo", "tempo query api", c.TempoAddr, roleRead, func(conf *tls.Config) server {
		return door.NewHTTP(s.tempoHandler("tempo", c.ListenerAddr(c.TempoAddr)), s.tempoGRPC(s.guarded("tempo")), conf, s.log)
	}); err != nil {
		return err
	}
	return s.add("tempo-grpc", "tempoGrpc", "tempo grpc query api", c.TempoGRPC, roleRead, func(conf *tls.Config) server {
		return door.NewGRPC(s.tempoGRPC(s.guarded("tempo-grpc")), s.tempoHandler("tempo-grpc", c.ListenerAddr(c.TempoGRPC)), conf, s.log)
	})
}

// tempoHandler is Tempo's HTTP API on a port of its own. Proxies keep the prefixes under which it is mounted elsewhere or cut them:
// both arrive.
func (s *service) tempoHandler(name, listen string) http.Handler {
	h := packed(s.tempo)
	if s.guarded(name) {
		h = s.needRole(h)
	}
	h = withoutPrefix("/tempo", requestID(h))
	h = withoutPrefix(strings.TrimSuffix(s.config.BasePath, "/"), h)
	return hostGuard(listen, s.config.ExternalURL, h)
}

// withoutPrefix takes a prefix off the paths that have it.
func withoutPrefix(prefix string, next http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	stripped := http.StripPrefix(prefix, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix+"/") {
			stripped.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tempoGRPC is StreamingQuerier with the health service, with tokens or without. A server belongs to one port. The UI's port
// has one too: `spanloom query` knows no other address.
func (s *service) tempoGRPC(guarded bool) *grpc.Server {
	var options []grpc.ServerOption
	if guarded {
		options = append(options, s.tokens.grpcQueryGuard()...)
	}
	g := grpc.NewServer(append(options, grpc.MaxConcurrentStreams(128))...)
	s.tempo.Register(g)
	healthpb.RegisterHealthServer(g, health.NewServer())
	return g
}
