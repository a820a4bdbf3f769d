package render_test

import (
	"slices"
	"testing"

	"github.com/spanloom/spanloom/mesh/render"
)

func TestHostsOf(t *testing.T) {
	words, skipped := render.HostsOf([]string{
		"http://httpbin.org/get", "http://httpbin.org/headers?a=b", "http://HTTPBIN.org:8000/x", "https://api.example.com/v1",
		"http://a.cdn.example.net/1", "http://b.cdn.example.net/1", "http://c.cdn.example.net/1", "http://d.cdn.example.net/1",
		"http://10.1.2.3:8080/", "http://web.shop.svc.cluster.local/", "http://web.shop.svc/", "http://web/", "://", "redis://x.example.com", "http://under_score.example.com/",
	})
	want := []string{"http://*.cdn.example.net:80", "http://httpbin.org:80", "http://httpbin.org:8000", "https://api.example.com:443"}
	if !slices.Equal(words, want) || skipped != 7 {
		t.Errorf("%q, %d skipped", words, skipped)
	}
	if _, err := render.Parse(render.Words{Istio: "1.28", For: []string{"serviceentry"}, Hosts: words}); err != nil {
		t.Error(err)
	}
}
