package uiapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store/queue/queuetest"
)

// TestEngineAway: while the engine is away every answer is what waits in the queue and says that this is not all, nobody is told to keep
// it, and what is not found there is not said to be nowhere.
func TestEngineAway(t *testing.T) {
	waiting := queuetest.Away(t, clock)
	later := func() time.Time { return clock().Add(time.Minute) } // no span is on its way any more
	s := &server{Handler: serveOver(t, waiting, func(o *Options) { o.Query = query.New(query.Options{Reader: waiting, Now: later}) })}
	for _, path := range []string{"/traces/1", "/hops?traceId=1", "/map", "/map?compare=true", "/services", "/services?red=true", "/service?node=service//back", "/operations?service=front", "/propagation",
		"/attributes/keys", "/attributes/values?key=n&scope=span", "/search", "/search?q=%7B%7D", "/heatmap", "/differences?select=status%3Derror"} {
		w := s.get(path)
		var answer struct {
			Complete *bool
			Reason   string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
			continue
		}
		if answer.Complete == nil || *answer.Complete || !strings.Contains(answer.Reason, "connection refused") {
			t.Errorf("%s says nothing of the engine: %.300s", path, w.Body)
		}
		if cache := w.Header().Get("Cache-Control"); cache != "no-store" && cache != "private, no-cache" {
			t.Errorf("%s may be kept: %s", path, cache)
		}
	}
	for _, path := range []string{"/traces/99", "/traces/99/otlp", "/hops?traceId=99", "/map?start=1000000000000000000&end=1000000001000000000", "/map?focus=service/shop/nobody", "/services?red=true&start=1000000000000000000&end=1000000001000000000", "/heatmap?start=1000000000000000000&end=1000000001000000000"} {
		if w := s.get(path); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := s.get("/traces/1/otlp"); w.Code != http.StatusOK || !strings.Contains(w.Header().Get(query.HeaderPartial), "connection refused") {
		t.Errorf("otlp: %d %v", w.Code, w.Header())
	}
}
