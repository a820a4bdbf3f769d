package app

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/spanloom/spanloom/query/tracemetrics"
	"github.com/spanloom/spanloom/store"
)

// adminHandler answers /metrics, /healthz and /readyz.
func (s *service) adminHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&metrics{ledger: s.ledger, steps: s.steps, engine: s.engine, budget: s.intake.Budget, doctor: s.doctor, now: s.now, forward: s.forward},
		tracemetrics.New(s.query, store.Scope{Tenant: store.DefaultTenant}, s.log),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerText(w, http.StatusOK, "alive\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			answerText(w, http.StatusServiceUnavailable, "not ready: starting or stopping\n")
			return
		}
		answerText(w, http.StatusOK, "ready\n")
	})
	return mux
}

func answerText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client is gone if this fails
}

// debugHandler answers pprof; it is off unless --debug-addr is given.
func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
