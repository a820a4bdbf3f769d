package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"
)

// grafanaJaeger is an answer as Grafana's Jaeger plugin decodes it: numbers are integers, lists may be null.
type grafanaJaeger[T any] struct {
	Data   T
	Errors []struct {
		Code int
		Msg  string
	}
}

type grafanaJaegerTrace struct {
	TraceID string
	Spans   []struct {
		TraceID, SpanID, ProcessID, OperationName string
		StartTime, Duration                       int64
		Flags                                     int
		References                                []struct{ RefType, SpanID, TraceID string }
		Tags                                      []struct {
			Key, Type string
			Value     any
		}
		Logs []struct {
			Timestamp int64
			Fields    []struct {
				Key, Type string
				Value     any
			}
		}
		Warnings []string
	}
	Processes map[string]struct {
		ServiceName string
		Tags        []struct {
			Key, Type string
			Value     any
		}
	}
	Warnings []string
}

// TestGrafanaJaeger replays the calls of Grafana's Jaeger data source: save and test, the lists, a search, a trace with and
// without times in milliseconds, the dependency graph; and those behind its toggle for API v3.
func TestGrafanaJaeger(t *testing.T) {
	now, bodies := envoyBodies(t)
	r := startServe(t, func() time.Time { return now }, nil)
	for _, body := range bodies {
		if code, answer := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", body); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, answer)
		}
	}
	base := "http://" + r.HTTP
	var services grafanaJaeger[[]string]
	r.json(base+"/api/services", &services)
	if !slices.Contains(services.Data, "web.shop") {
		t.Fatalf("services %+v", services)
	}
	var operations grafanaJaeger[[]string]
	if r.json(base+"/api/services/web.shop/operations", &operations); len(operations.Data) == 0 {
		t.Errorf("operations %+v", operations)
	}
	v := url.Values{"service": {"web.shop"}, "tags": {`{"component":"proxy"}`}, "minDuration": {"1us"}, "limit": {"20"},
		"start": {fmt.Sprint(now.Add(-time.Hour).UnixMicro())}, "end": {fmt.Sprint(now.UnixMicro())}}
	var found grafanaJaeger[[]grafanaJaegerTrace]
	if r.json(base+"/api/traces?"+v.Encode(), &found); len(found.Data) == 0 || len(found.Errors) > 0 {
		t.Fatalf("search %+v", found)
	}
	id, spans := found.Data[0].TraceID, len(found.Data[0].Spans)
	window := fmt.Sprintf("?start=%d&end=%d", now.Add(-time.Hour).UnixMilli(), now.UnixMilli())
	for _, times := range []string{"", window} {
		var one grafanaJaeger[[]grafanaJaegerTrace]
		if r.json(base+"/api/traces/"+id+times, &one); len(one.Data) != 1 || len(one.Data[0].Spans) != spans {
			t.Errorf("trace %s%s: %+v", id, times, one)
		}
		for _, s := range one.Data[0].Spans {
			if p := one.Data[0].Processes[s.ProcessID]; p.ServiceName == "" || s.StartTime == 0 {
				t.Errorf("span %+v of %+v", s, p)
			}
		}
	}
	if code, body := r.do("GET", base+"/api/traces/ffffffffffffffff", ""); code != http.StatusNotFound {
		t.Errorf("a trace that is not here: %d %s", code, body)
	}
	var graph grafanaJaeger[[]struct {
		Parent, Child string
		CallCount     int64
	}]
	if r.json(fmt.Sprintf("%s/api/dependencies?endTs=%d&lookback=%d", base, now.UnixMilli(), time.Hour.Milliseconds()), &graph); len(graph.Data) == 0 {
		t.Errorf("dependencies %+v", graph)
	}

	var v3 struct {
		Services   []string
		Operations []struct{ Name, SpanKind string }
		Result     struct{ ResourceSpans []any }
	}
	r.json(base+"/api/v3/services", &v3)
	r.json(base+"/api/v3/operations?service=web.shop", &v3)
	r.json(base+"/api/v3/traces/"+id, &v3)
	if !slices.Equal(v3.Services, services.Data) || len(v3.Operations) < len(operations.Data) || len(v3.Result.ResourceSpans) == 0 {
		t.Errorf("v3: %+v", v3)
	}
	// Its search builds times without escaping their zone.
	search := fmt.Sprintf("/api/v3/traces?query.service_name=web.shop&query.num_traces=1&query.start_time_min=%s&query.start_time_max=%s",
		now.Add(-time.Hour).In(time.FixedZone("", 3600)).Format(time.RFC3339), now.Add(time.Second).In(time.FixedZone("", 3600)).Format(time.RFC3339))
	v3.Result.ResourceSpans = nil
	if r.json(base+search, &v3); len(v3.Result.ResourceSpans) == 0 {
		t.Errorf("v3 search: %+v", v3)
	}
}

// TestGrafanaZipkin replays the calls of Grafana's Zipkin data source: the list that is its test, then service, span, traces and
// trace, as its picker goes down.
func TestGrafanaZipkin(t *testing.T) {
	now, bodies := envoyBodies(t)
	r := startServe(t, func() time.Time { return now }, nil)
	for _, body := range bodies {
		if code, answer := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", body); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, answer)
		}
	}
	type span struct {
		TraceID, ParentID, ID, Kind, Name string
		Timestamp, Duration               uint64
		Shared                            bool
		LocalEndpoint                     struct{ ServiceName string }
		Annotations                       []struct {
			Timestamp int64
			Value     string
		}
		Tags map[string]string
	}
	ids := regexp.MustCompile("^([0-9a-f]{16}|[0-9a-f]{32})$")
	base, seen := "http://"+r.Zipkin, 0
	var services, names []string
	r.json(base+"/api/v2/services", &services)
	for _, service := range services {
		r.json(base+"/api/v2/spans?serviceName="+url.QueryEscape(service), &names)
		for _, name := range names {
			var traces [][]span
			r.json(base+"/api/v2/traces?serviceName="+url.QueryEscape(service)+"&spanName="+url.QueryEscape(name), &traces)
			if len(traces) == 0 {
				t.Errorf("%s %s is listed and not found", service, name)
			}
			for _, trace := range traces {
				var one []span
				if r.json(base+"/api/v2/trace/"+trace[0].TraceID, &one); len(one) != len(trace) {
					t.Errorf("trace %s has %d spans, the list %d", trace[0].TraceID, len(one), len(trace))
				}
				for _, s := range one {
					if seen++; !ids.MatchString(s.TraceID) || !ids.MatchString(s.ID) || s.Timestamp == 0 || s.LocalEndpoint.ServiceName == "" {
						t.Errorf("span %+v", s)
					}
				}
			}
		}
	}
	if len(services) < 2 || seen == 0 {
		t.Errorf("%d services, %d spans", len(services), seen)
	}
}

// json asks for an answer that decodes.
func (r *running) json(url string, into any) {
	r.t.Helper()
	code, body := r.do("GET", url, "")
	if err := json.Unmarshal([]byte(body), into); code != http.StatusOK || err != nil {
		r.t.Fatalf("%s: %d %v %.300s", url, code, err, body)
	}
}
