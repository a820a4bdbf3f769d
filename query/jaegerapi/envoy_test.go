package jaegerapi

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/mem"
)

// TestEnvoyForKiali takes what real sidecars sent through receiver, steps and store, asks as Kiali does and checks what
// Kiali needs of the answer.
func TestEnvoyForKiali(t *testing.T) {
	var now time.Time
	clock := func() time.Time { return now }
	engine := mem.New(mem.Options{Now: clock})
	steps, err := process.New(process.DefaultRules(), engine)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("testdata/envoy/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var decoder zipkin.Decoder
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b := &span.Batch{Protocol: span.ProtocolZipkin}
		if _, err := decoder.Decode(b, body, zipkin.FormatUnknown); err != nil {
			t.Fatal(err)
		}
		if received := time.Unix(0, int64(slices.Max(b.End))).Add(5 * time.Second); received.After(now) {
			now = received
		}
		for i, start := range b.Start {
			b.Time[i] = int64(start)
		}
		b.Received = now.UnixNano()
		if err := steps.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	api := New(Options{Query: query.New(query.Options{Reader: engine, Now: clock}), Reader: engine})

	second := int64(time.Second / time.Microsecond)
	end := now.UnixMicro() / second * second
	var seen []string
	for _, service := range []string{"web.shop", "api.shop"} {
		r := decoded(t, ask(t, api, "GET", fmt.Sprintf(`/api/traces?service=%s&start=%d&end=%d&tags=%%7B%%22istio.cluster_id%%22%%3A%%22Kubernetes%%22%%7D&limit=100`,
			service, end-3600*second, end)).Body.Bytes())
		if len(r.Data) == 0 {
			t.Errorf("no trace of %s; services are %s", service, ask(t, api, "GET", "/api/services").Body)
		}
		for _, trace := range r.Data {
			ids := make(map[string]bool)
			for _, s := range trace.Spans {
				if ids[s.SpanID] || s.TraceID != trace.TraceID {
					t.Errorf("span %s of %s twice or of another trace", s.SpanID, trace.TraceID)
				}
				ids[s.SpanID] = true
			}
			for _, s := range trace.Spans {
				tags := make(map[string]string)
				for _, tag := range s.Tags {
					if _, twice := tags[tag.Key]; twice {
						t.Errorf("tag %s twice", tag.Key)
					}
					text, ok := tag.Value.(string)
					if !ok && tag.Key != "error" {
						t.Errorf("tag %s is %v of type %s", tag.Key, tag.Value, tag.Type)
					}
					tags[tag.Key] = text
				}
				// The gateway's client spans come without node_id.
				node := tags["span.kind"] == "client" || len(strings.Split(tags["node_id"], "~")) == 4
				if !node || tags["component"] != "proxy" || tags["response_flags"] == "" || tags["span.kind"] == "" {
					t.Errorf("span %s has tags %v", s.SpanID, tags)
				}
				for _, ref := range s.References {
					if ref.TraceID != trace.TraceID || ref.RefType != "CHILD_OF" {
						t.Errorf("reference %+v", ref)
					}
				}
				seen = append(seen, trace.Processes[s.ProcessID].ServiceName+" "+tags["span.kind"]+" "+tags["response_flags"])
			}
		}
	}
	slices.Sort(seen)
	if !slices.Contains(seen, "web.shop client -") || !slices.Contains(seen, "api.shop server -") || !slices.ContainsFunc(seen, func(s string) bool { return strings.HasSuffix(s, " URX,UF") }) {
		t.Errorf("seen %q", slices.Compact(seen))
	}
	r := decoded(t, ask(t, api, "GET", fmt.Sprintf("/api/traces?service=web.shop&tags=%%7B%%22error%%22%%3A%%22true%%22%%7D&start=%d", end-3600*second)).Body.Bytes())
	if len(r.Data) == 0 {
		t.Error("no failed trace")
	}
	for _, trace := range r.Data {
		failed := false
		for _, s := range trace.Spans {
			for _, tag := range s.Tags {
				failed = failed || tag.Key == "error" && (tag.Value == true || tag.Value == "true")
			}
		}
		if !failed {
			t.Errorf("trace %s has no failed span", trace.TraceID)
		}
	}
}
