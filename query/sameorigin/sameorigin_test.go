package sameorigin

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers string
		field   string // of the refusal; empty: passes
	}{
		{"not a browser", "Content-Type: application/json", ""},
		{"own page", "Content-Type: application/json; charset=utf-8|Origin: http://example.com|Sec-Fetch-Site: same-origin", ""},
		{"own page behind TLS", "Content-Type: application/json|Origin: https://EXAMPLE.com", ""},
		{"typed address", "Content-Type: application/json|Sec-Fetch-Site: none", ""},
		{"other page", "Content-Type: application/json|Origin: http://evil.example", "Origin"},
		{"other port", "Content-Type: application/json|Origin: http://example.com:81", "Origin"},
		{"behind a proxy", "Content-Type: application/json|Origin: https://traces.example|Sec-Fetch-Site: same-origin", ""},
		{"other scheme of the proxy", "Content-Type: application/json|Origin: http://traces.example", "Origin"},
		{"sandboxed page", "Content-Type: application/json|Origin: null", "Origin"},
		{"other page, no origin", "Content-Type: application/json|Sec-Fetch-Site: cross-site", "Sec-Fetch-Site"},
		{"form", "Content-Type: text/plain|Origin: http://example.com", "Content-Type"},
		{"no type", "", "Content-Type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "http://example.com/x", nil)
			for _, h := range strings.Split(c.headers, "|") {
				if k, v, ok := strings.Cut(h, ": "); ok {
					r.Header.Set(k, v)
				}
			}
			err := Check(r, "https://traces.example/base/", "")
			if p := problem.Of(err); (p == nil) != (c.field == "") || p != nil && (p.Field != c.field || p.Kind != problem.Forbidden) {
				t.Errorf("got %v", err)
			}
		})
	}
}
