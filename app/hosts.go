package app

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
)

// hostGuard refuses unknown Host headers on a loopback listener, so that no web page can reach the API by pointing its own
// name at 127.0.0.1 (DNS rebinding). Receiving routes are never guarded: Envoy sends its cluster's name.
func hostGuard(listen string, external string, next http.Handler) http.Handler {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return next
	}
	if a, err := netip.ParseAddr(host); err != nil && host != "localhost" || err == nil && !a.IsLoopback() {
		return next
	}
	externalHost := ""
	if u, err := url.Parse(external); err == nil {
		externalHost = u.Hostname()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		name = strings.Trim(name, "[]")
		a, err := netip.ParseAddr(name)
		known := err == nil && a.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost") || name == externalHost && name != ""
		if !known {
			writeProblem(w, &problem.Problem{Kind: problem.Forbidden, Field: "Host", Message: "unknown host " + name,
				Hint: "this listener is on loopback: use localhost, or set --external-url to the name you serve it under"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requestID gives every answer of the query APIs an X-Request-Id: the caller's, else a new one. The UI shows it with errors, and
// the log names it (handlers read it from the request).
func requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !plainID(id) {
			id = rand.Text()
			r.Header.Set("X-Request-Id", id)
		}
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r)
	})
}

// plainID: what a caller sends is echoed and logged only if it is short and harmless.
func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
