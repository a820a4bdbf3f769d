package tempoapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestGrafanaOverHTTP is what Grafana's Tempo data source does without streaming, in its order.
func TestGrafanaOverHTTP(t *testing.T) {
	s := newServer(t, bookinfo)
	if body := s.get("/api/echo", ""); string(body) != "echo\n" {
		t.Errorf("Save & test: %q", body)
	}

	scopes := strictly[strictScopes](t, s.get("/api/v2/search/tags", "limit=5000"))
	names := make(map[string][]string)
	for _, scope := range scopes.Scopes {
		names[scope.Name] = scope.Tags
	}
	for scope, tag := range map[string]string{"resource": "service.name", "span": "http.method", "event": "exception.type", "intrinsic": "duration"} {
		if !slices.Contains(names[scope], tag) {
			t.Errorf("tags of %s: %v, want %s", scope, names[scope], tag)
		}
	}
	values := strictly[strictValues](t, s.get("/api/v2/search/tag/resource.service.name/values", "limit=5000&tag=resource.service.name&q=%7B%7D"))
	if len(values.TagValues) != 4 || values.TagValues[0].Value != "checkout" || values.TagValues[0].Type != "string" {
		t.Errorf("values: %+v", values.TagValues)
	}
	found := strictly[strictSearch](t, s.get("/api/search", params("limit", "20", "spss", "3", "q",
		`{resource.service.name="productpage.bookinfo" && span.http.method=~"GET|POST" && duration>1ms && (name="x" || kind=server)}`), "Accept=application/json"))
	if len(found.Traces) != 2 || found.Traces[0].TraceID != "b2" || found.Traces[1].TraceID != "a1" {
		t.Fatalf("search: %+v", found.Traces)
	}
	for _, trace := range found.Traces {
		checkTrace(t, trace)
		byID(t, s, trace.TraceID)
	}
	if first := found.Traces[0]; first.RootServiceName != "istio-ingressgateway.istio-system" || first.DurationMs != 50 ||
		first.ServiceStats["productpage.bookinfo"].ErrorCount != 1 || first.SpanSet.Spans[0].SpanID != "0000000000000006" {
		t.Errorf("%+v", first)
	}
	if nothing := strictly[strictSearch](t, s.get("/api/search", params("q", `{ name = "nothing" }`))); len(nothing.Traces) != 0 {
		t.Errorf("nothing: %+v", nothing.Traces)
	}

}

// checkTrace is what a table needs of a found trace.
func checkTrace(t *testing.T, trace strictTrace) {
	t.Helper()
	if trace.TraceID == "" || trace.TraceID[0] == '0' || trace.StartTimeUnixNano == "" || trace.SpanSet == nil || len(trace.SpanSets) == 0 || len(trace.SpanSet.Spans) == 0 {
		t.Fatalf("%+v", trace)
	}
	for _, span := range trace.SpanSet.Spans {
		if len(span.SpanID) != 16 || span.StartTimeUnixNano == "" || span.DurationNanos == "" {
			t.Errorf("%+v", span)
		}
	}
}

// byID looks a trace up as Grafana does: v2, and v1 where that is not found.
func byID(t *testing.T, s *server, id string) {
	t.Helper()
	code, body := s.try("/api/v2/traces/"+id, params(), acceptProtobuf)
	if code == http.StatusNotFound {
		code, body = s.try("/api/traces/"+id, params(), acceptProtobuf)
		trace := &tracev1.TracesData{}
		if err := proto.Unmarshal(body, trace); code != http.StatusOK || err != nil || len(trace.ResourceSpans) == 0 {
			t.Errorf("trace %s: %d %v", id, code, err)
		}
		return
	}
	if r := decodeByID(t, body); code != http.StatusOK || !r.present || len(r.trace.ResourceSpans) == 0 {
		t.Errorf("trace %s: %d %+v", id, code, r)
	}
}

// TestGrafanaStreams is the same with streaming.
func TestGrafanaStreams(t *testing.T) {
	s := newServer(t, bookinfo)
	start, end := testWindow()
	from, to := uint32(start), uint32(end)

	stream, err := s.client.Search(s.context(), &tempopb.SearchRequest{Query: "{}", Start: from, End: to, Limit: 1})
	all(t, stream, err) // Save & test: any message, or none

	stream, err = s.client.Search(s.context(), &tempopb.SearchRequest{Query: "{}", Start: from, End: to, Limit: 20, SpansPerSpanSet: 3})
	seen := make(map[string]bool)
	var metrics *tempopb.SearchMetrics
	for _, m := range all(t, stream, err) {
		metrics = m.Metrics
		for _, trace := range m.Traces {
			if seen[trace.TraceID] {
				t.Errorf("trace %s was sent twice: its first copy stays", trace.TraceID)
			}
			seen[trace.TraceID] = true
			if trace.SpanSet == nil || len(trace.SpanSet.Spans) == 0 || len(trace.SpanSets) != 1 {
				t.Errorf("trace %s has no span set", trace.TraceID)
			}
		}
	}
	if len(seen) != 3 || metrics.GetTotalJobs() == 0 {
		t.Errorf("found %v with %v", seen, metrics)
	}

	tags, err := s.client.SearchTagsV2(s.context(), &tempopb.SearchTagsRequest{MaxTagsPerScope: 5000})
	if list := all(t, tags, err); len(list) != 1 || len(list[0].Scopes) < 3 {
		t.Errorf("tags: %v", list)
	}
	values, err := s.client.SearchTagValuesV2(s.context(), &tempopb.SearchTagValuesRequest{TagName: "resource.service.name", Query: "{", MaxTagValues: 5000})
	if list := all(t, values, err); len(list) != 1 || len(list[0].TagValues) != 4 {
		t.Errorf("values: %v", list)
	}
	valuesV1, err := s.client.SearchTagValues(s.context(), &tempopb.SearchTagValuesRequest{TagName: "service.name"})
	if list := all(t, valuesV1, err); len(list) != 1 || len(list[0].TagValues) != 4 {
		t.Errorf("values v1: %v", list)
	}

}

// TestDrilldown sends the queries of Traces Drilldown. Its panels are empty where root spans are not exact.
func TestDrilldown(t *testing.T) {
	s := newServer(t, bookinfo)
	for _, q := range []struct{ text, want string }{
		{`({nestedSetParent<0 && true && status = error} &>> { status = error }) || ({nestedSetParent<0 && true && status = error}) | select(status, resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight)`, "b2"},
		{`{nestedSetParent<0 || status = error} | select(resource.service.name, event.exception.message,event.exception.stacktrace,event.exception.type) with(most_recent=true)`, "c3 b2 a1"},
		{`{nestedSetParent<0 && true} | select(span.http.method, resource.host.name)`, "c3 b2 a1"},
		{`{span.db.system.name!=""}`, ""},
	} {
		r := strictly[strictSearch](t, s.get("/api/search", params("q", q.text, "limit", "200", "spss", "20")))
		var ids []string
		for _, trace := range r.Traces {
			ids = append(ids, trace.TraceID)
			checkTrace(t, trace)
		}
		if got := strings.Join(ids, " "); got != q.want {
			t.Errorf("%s: %q, want %q", q.text, got, q.want)
		}
	}

	// The structure of errors is rebuilt from the places in the tree, exceptions from what events say.
	r := strictly[strictSearch](t, s.get("/api/search", params("spss", "20", "q",
		`({status = error} &>> {status = error}) | select(status, name, nestedSetParent, nestedSetLeft, nestedSetRight)`)))
	left := make(map[string]bool)
	parents := 0
	for _, span := range r.Traces[0].SpanSet.Spans {
		l, ok1 := attribute(span.Attributes, "nestedSetLeft")
		p, ok2 := attribute(span.Attributes, "nestedSetParent")
		if status, _ := attribute(span.Attributes, "status"); !ok1 || !ok2 || l.IntValue == nil || p.IntValue == nil || status.text() != "error" || span.Name == "" {
			t.Fatalf("%+v", span)
		}
		left[*l.IntValue] = true
		if left[*p.IntValue] || *p.IntValue == "-1" {
			parents++
		}
	}
	if parents != 2 {
		t.Errorf("%d of 2 spans hang in the tree", parents)
	}
	r = strictly[strictSearch](t, s.get("/api/search", params("q", `{status = error} | select(event.exception.message, event.exception.type)`, "spss", "10")))
	messages := 0
	for _, span := range r.Traces[0].SpanSet.Spans {
		if v, ok := attribute(span.Attributes, "exception.message"); ok && v.text() == "no answer" {
			messages++
		}
	}
	if messages != 1 {
		t.Errorf("%d spans tell their exception: %+v", messages, r.Traces[0].SpanSet)
	}
}

// TestTagsOfOldSearch: without TraceQL, texts match by a part of them and in any case.
func TestTagsOfOldSearch(t *testing.T) {
	s := newServer(t, bookinfo)
	for query, want := range map[string]string{
		"tags=service.name%3DPRODUCTPAGE":               "b2 a1",
		"tags=http.status_code%3D200":                   "c3 a1",
		"tags=error%3Dtrue":                             "b2",
		"tags=name%3D%22place+order%22":                 "c3",
		"tags=ok%3Dtrue":                                "c3",
		"tags=root.service.name%3Dcheckout":             "c3",
		"tags=status.code%3Derror":                      "b2",
		"tags=http.method%3Dget+http.status_code%3D503": "b2",
		"tags=host.name%3Dcheckout&minDuration=1ms":     "c3",
		"tags=host.name%3Dcheckout&minDuration=10ms":    "",
		"tags=host.name%3Dcheckout&maxDuration=10ms":    "c3",
		"tags=":                       "c3 b2 a1",
		"host.name=checkout&limit=10": "c3",
		"":                            "c3 b2 a1",
		fmt.Sprintf("start=%d&end=%d", storetest.Epoch.Unix()+9, storetest.Epoch.Unix()+12): "a1",
		"limit=2":                   "c3 b2",
		"q=%7B%7D&minDuration=45ms": "b2", // Kiali's, beside a query
		"q={}&limit=1":              "c3", // Kiali's discovery, not escaped
	} {
		var ids []string
		for _, trace := range strictly[strictSearch](t, s.get("/api/search", query)).Traces {
			ids = append(ids, trace.TraceID)
			checkTrace(t, trace)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
