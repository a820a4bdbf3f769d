package tempoapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
)

// kialiSelect is the end of every query of Kiali's.
const kialiSelect = ` && {  }| select(status, .service_name, .node_id, .component, .upstream_cluster, .http.method, .response_flags, .istio.destination_workload, ` +
	`.istio.destination_namespace, .istio.destination_instance_name, .istio.destination_canonical_service, .istio.source_workload, .istio.source_namespace, ` +
	`.istio.source_instance_name, .istio.source_canonical_service, resource.hostname, name)`

// TestKialiOverHTTP is what Kiali does with provider tempo and use_grpc false.
func TestKialiOverHTTP(t *testing.T) {
	s := newServer(t, bookinfo)
	if body := s.get("/api/echo", ""); string(body) != "echo\n" {
		t.Errorf("health: %q", body)
	}
	var build struct{ Version string }
	if err := json.Unmarshal(s.get("/api/status/buildinfo", ""), &build); err != nil || build.Version == "" {
		t.Errorf("version: %v %+v", err, build)
	}
	var services []string
	if err := json.Unmarshal(s.get("/status/services", "", "Accept=application/json", "Content-Type=application/json"), &services); err != nil || !slices.Contains(services, "reviews.bookinfo") {
		t.Errorf("services: %v %v", err, services)
	}

	for _, c := range []struct{ conditions, minDuration, want string }{
		{`.service.name = "productpage.bookinfo"  && .istio.cluster_id = "Kubernetes"  `, "", "b2 a1"},
		{`.service.name = "productpage.bookinfo"  && .istio.cluster_id = "Kubernetes"  `, "45ms", "b2"},
		{`.service.name = "productpage.bookinfo"  && .http.status_code != "200"  `, "", "b2"},
		{`.service.name = "reviews.bookinfo"  && .istio.cluster_id = "Kubernetes"  `, "", "a1"},
		{`.service.name = "checkout"  && .istio.cluster_id = "Kubernetes"  `, "", ""}, // no such attribute: Kiali's own doing
		{`.service.name = "nobody.bookinfo"  && .istio.cluster_id = "Kubernetes"  `, "", ""},
	} {
		pairs := []string{"q", "{ " + c.conditions + " }" + kialiSelect, "spss", "10", "limit", "100"}
		if c.minDuration != "" {
			pairs = append(pairs, "minDuration", c.minDuration)
		}
		r := strictly[strictSearch](t, s.get("/api/search", params(pairs...)))
		var ids []string
		for _, trace := range r.Traces {
			service := strings.Split(c.conditions, `"`)[1]
			ids = append(ids, trace.TraceID)
			kialiShows(t, trace, service)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.conditions, got, c.want)
		}
	}
	kialiDetail(t, s.get("/api/traces/a1", ""))
	if code, body := s.try("/api/traces/99", ""); code != 404 || len(body) > 0 {
		t.Errorf("unknown trace: %d %s", code, body)
	}
}

// kialiShows reads a found trace as Kiali does: everything hangs on the first span of spanSet.
func kialiShows(t *testing.T, trace strictTrace, service string) {
	t.Helper()
	if trace.SpanSet == nil || len(trace.SpanSet.Spans) == 0 {
		t.Fatalf("trace %s: Kiali reads spanSet.spans[0] without looking", trace.TraceID)
	}
	first := trace.SpanSet.Spans[0]
	if v, _ := attribute(first.Attributes, "service.name"); v.text() != service {
		t.Errorf("trace %s: the first span is of %q, so the trace vanishes: %+v", trace.TraceID, v.text(), first)
	}
	for _, key := range []string{"node_id", "status"} {
		if v, ok := attribute(first.Attributes, key); !ok || v.text() == "" {
			t.Errorf("trace %s: %s is %+v", trace.TraceID, key, v)
		}
	}
	if trace.SpanSet.Matched < len(trace.SpanSet.Spans) {
		t.Errorf("trace %s: %d matched, %d listed", trace.TraceID, trace.SpanSet.Matched, len(trace.SpanSet.Spans))
	}
}

// kialiDetail reads a trace as Kiali does: the first scope of each batch, names of enumerations, base64 ids.
func kialiDetail(t *testing.T, body []byte) {
	t.Helper()
	var trace struct {
		Batches []struct {
			Resource struct {
				Attributes []strictKeyValue
			}
			ScopeSpans []struct {
				Spans []struct {
					TraceID, SpanID, ParentSpanID, Name, Kind, StartTimeUnixNano, EndTimeUnixNano string
					Attributes                                                                    []strictKeyValue
					Status                                                                        struct{ Code string }
				}
			}
		}
	}
	if err := json.Unmarshal(body, &trace); err != nil || len(trace.Batches) == 0 {
		t.Fatalf("%v %s", err, body)
	}
	ids, spans := make(map[string]bool), 0
	for _, batch := range trace.Batches {
		if v, _ := attribute(batch.Resource.Attributes, "service.name"); v.text() == "" {
			t.Errorf("a batch without a service: %s", body)
		}
		for _, span := range batch.ScopeSpans[0].Spans {
			spans++
			raw, err := base64.StdEncoding.DecodeString(span.SpanID)
			if err != nil || len(raw) != 8 || span.ParentSpanID != "" && !ids[span.ParentSpanID] || !strings.HasPrefix(span.Kind, "SPAN_KIND_") || span.StartTimeUnixNano == "" {
				t.Errorf("%+v", span)
			}
			ids[span.SpanID] = true
			if v, _ := attribute(span.Attributes, "node_id"); v.text() == "" {
				t.Errorf("no node_id: %+v", span)
			}
		}
	}
	if spans != 4 {
		t.Errorf("%d spans", spans)
	}
}

// TestKialiOverGRPC is what Kiali does with provider tempo and use_grpc true. Details and version go over HTTP as above.
func TestKialiOverGRPC(t *testing.T) {
	s := newServer(t, bookinfo)
	stream, err := s.client.Search(s.context(), &tempopb.SearchRequest{}) // health and the list of services
	names := make(map[string]bool)
	for _, m := range all(t, stream, err) {
		for _, trace := range m.Traces {
			names[trace.RootTraceName] = true
		}
	}
	if !names["place order"] || len(names) != 2 {
		t.Errorf("names: %v", names)
	}
	start, end := testWindow()
	for conditions, want := range map[string]string{
		`.service.name = "productpage.bookinfo"  && .istio.cluster_id = "Kubernetes"   && .node_id =~ ".*"`: "b2 a1",
		`.service.name = "productpage.bookinfo"  && .error = "true"   && .node_id =~ ".*"`:                  "b2",
	} {
		stream, err := s.client.Search(s.context(), &tempopb.SearchRequest{
			Query: "{ " + conditions + " }" + kialiSelect, Start: uint32(start), End: uint32(end), Limit: 100, SpansPerSpanSet: 10, MinDurationMs: 1,
		})
		var ids []string
		for _, m := range all(t, stream, err) {
			for _, trace := range m.Traces {
				ids = append(ids, trace.TraceID)
				if trace.SpanSet == nil || len(trace.SpanSet.Spans) == 0 {
					t.Fatalf("trace %s has no span set", trace.TraceID)
				}
				if got := fmt.Sprint(trace.SpanSet.Spans[0].Attributes); !strings.Contains(got, "productpage.bookinfo") {
					t.Errorf("the first span of %s: %s", trace.TraceID, got)
				}
			}
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %q, want %q", conditions, got, want)
		}
	}
}
