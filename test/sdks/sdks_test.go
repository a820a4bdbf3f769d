package sdks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gogo "github.com/gogo/protobuf/proto"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/spanloom/spanloom/test/inprocess"
)

// TestSDKs runs every sender and finds each of its traces again through every API. All senders send the same trace: a server's
// span "GET /checkout" with 503, below it a failed client's span "charge" to payment with an event "retry", and "render".
func TestSDKs(t *testing.T) {
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("builds senders in four languages: make test-long")
	}
	e := inprocess.Serve(t)
	v2 := dialV2(t, e.JaegerGRPC)
	wanted := map[string]int{"go": 5, "python": 3, "node": 5, "java": 2}
	for _, s := range senders {
		t.Run(s.language, func(t *testing.T) {
			traces := s.send(t, e)
			if len(traces) != wanted[s.language] {
				t.Fatalf("%d traces were sent, want %d: %v", len(traces), wanted[s.language], traces)
			}
			for _, x := range traces {
				t.Run(x.protocol, func(t *testing.T) {
					viaZipkin(t, "http://"+e.Zipkin, x)
					viaZipkin(t, "http://"+e.HTTP+"/zipkin", x)
					viaJaegerHTTP(t, "http://"+e.HTTP, x)
					viaJaegerV3(t, "http://"+e.HTTP, x)
					viaJaegerGRPC(t, v2, x)
					var own struct{ TraceID string }
					getJSON(t, "http://"+e.HTTP+"/api/spanloom/v1/traces/"+x.trace, &own)
				})
			}
		})
	}
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %.500s", url, res.StatusCode, err, body)
	}
}

// seen is what every API must show of a span.
type seen struct {
	name, kind, parent string // parent by name
	tags               map[string]string
	failed             bool
	events             int
}

// check compares what an API showed with what every sender sent.
func check(t *testing.T, api string, spans []seen) {
	t.Helper()
	find := func(name string) (seen, bool) {
		i := slices.IndexFunc(spans, func(s seen) bool { return strings.EqualFold(s.name, name) })
		if i < 0 {
			t.Errorf("%s shows no span %q: %+v", api, name, spans)
			return seen{}, false
		}
		return spans[i], true
	}
	if len(spans) != 3 {
		t.Errorf("%s shows %d spans: %+v", api, len(spans), spans)
	}
	if s, ok := find("GET /checkout"); ok && (s.kind != "server" || s.parent != "" || s.tags["http.request.method"] != "GET" || s.tags["http.response.status_code"] != "503" || s.failed) {
		t.Errorf("%s shows the root as %+v", api, s)
	}
	if s, ok := find("charge"); ok && (s.kind != "client" || !strings.EqualFold(s.parent, "GET /checkout") || s.tags["retried"] != "true" || !s.failed || s.events != 1) {
		t.Errorf("%s shows the call as %+v", api, s)
	}
	if s, ok := find("render"); ok && (s.kind != "" && s.kind != "internal" || !strings.EqualFold(s.parent, "GET /checkout") || s.failed) {
		t.Errorf("%s shows the inner span as %+v", api, s)
	}
}

func viaZipkin(t *testing.T, base string, x sent) {
	t.Helper()
	type span struct {
		TraceID, ID, ParentID, Kind, Name string
		LocalEndpoint, RemoteEndpoint     struct{ ServiceName string }
		Tags                              map[string]string
		Annotations                       []struct{ Value string }
	}
	var trace []span
	getJSON(t, base+"/api/v2/trace/"+x.trace, &trace)
	names := make(map[string]string)
	for _, s := range trace {
		names[s.ID] = s.Name
	}
	var spans []seen
	for _, s := range trace {
		// Zipkin's rule: an error is the tag, whatever it says.
		_, failed := s.Tags["error"]
		if failed && s.Tags["error"] != "card refused" {
			t.Errorf("the error is %q", s.Tags["error"])
		}
		events := len(s.Annotations)
		if events > 0 && !strings.Contains(s.Annotations[0].Value, "retry") {
			t.Errorf("the annotation is %q", s.Annotations[0].Value)
		}
		if s.LocalEndpoint.ServiceName != x.service {
			t.Errorf("the service is %q", s.LocalEndpoint.ServiceName)
		}
		if s.Kind == "CLIENT" && s.RemoteEndpoint.ServiceName != "payment" {
			t.Errorf("the other side is %q", s.RemoteEndpoint.ServiceName)
		}
		spans = append(spans, seen{s.Name, strings.ToLower(s.Kind), names[s.ParentID], s.Tags, failed, events})
	}
	check(t, "Zipkin", spans)

	of := "?serviceName=" + url.QueryEscape(strings.ToUpper(x.service))
	var list []string
	if getJSON(t, base+"/api/v2/services", &list); !slices.Contains(list, x.service) {
		t.Errorf("services %q", list)
	}
	if getJSON(t, base+"/api/v2/spans"+of, &list); len(list) != 3 {
		t.Errorf("spans %q", list)
	}
	if getJSON(t, base+"/api/v2/remoteServices"+of, &list); !slices.Equal(list, []string{"payment"}) {
		t.Errorf("remote services %q", list)
	}
	for _, query := range []string{"&annotationQuery=http.response.status_code%3D503+and+error", "&spanName=charge&remoteServiceName=payment", "&annotationQuery=error%3Dcard+refused"} {
		var found [][]span
		if getJSON(t, base+"/api/v2/traces"+of+query, &found); len(found) != 1 || len(found[0]) != 3 {
			t.Errorf("%s finds %+v", query, found)
		}
	}
	type link struct {
		Parent, Child         string
		CallCount, ErrorCount int
	}
	var links []link
	getJSON(t, base+fmt.Sprintf("/api/v2/dependencies?endTs=%d", time.Now().UnixMilli()), &links)
	if !slices.Contains(links, link{x.service, "payment", 1, 1}) {
		t.Errorf("links %+v", links)
	}
}

func viaJaegerHTTP(t *testing.T, base string, x sent) {
	t.Helper()
	type envelope struct {
		Data []struct {
			TraceID string
			Spans   []struct {
				SpanID, OperationName, ProcessID string
				References                       []struct{ RefType, SpanID string }
				Tags                             []struct {
					Key   string
					Value any
				}
				Logs []any
			}
			Processes map[string]struct{ ServiceName string }
		}
	}
	for _, path := range []string{"/api/traces/" + x.trace, "/api/traces?service=" + x.service + "&tags=" + url.QueryEscape(`{"error":"true"}`)} {
		var e envelope
		getJSON(t, base+path, &e)
		if len(e.Data) != 1 || e.Data[0].TraceID != x.trace {
			t.Errorf("%s: %+v", path, e)
			continue
		}
		names := make(map[string]string)
		for _, s := range e.Data[0].Spans {
			names[s.SpanID] = s.OperationName
		}
		var spans []seen
		for _, s := range e.Data[0].Spans {
			one := seen{name: s.OperationName, tags: make(map[string]string), events: len(s.Logs)}
			for _, tag := range s.Tags {
				one.tags[tag.Key] = fmt.Sprint(tag.Value)
			}
			one.kind, one.failed = one.tags["span.kind"], one.tags["error"] == "true"
			if len(s.References) == 1 {
				one.parent = names[s.References[0].SpanID]
			}
			if p := e.Data[0].Processes[s.ProcessID]; p.ServiceName != x.service {
				t.Errorf("the service is %q", p.ServiceName)
			}
			spans = append(spans, one)
		}
		check(t, "Jaeger over HTTP", spans)
	}
}

func viaJaegerV3(t *testing.T, base string, x sent) {
	t.Helper()
	var e struct {
		Result struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Spans []struct {
						TraceID, SpanID, ParentSpanID, Name string
						Kind                                int
						Attributes                          []struct {
							Key   string
							Value map[string]any
						}
						Status struct{ Code int }
						Events []any
					}
				}
			}
		}
	}
	getJSON(t, base+"/api/v3/traces/"+x.trace, &e)
	names := make(map[string]string)
	for _, r := range e.Result.ResourceSpans {
		for _, s := range r.ScopeSpans {
			for _, one := range s.Spans {
				names[one.SpanID] = one.Name
			}
		}
	}
	var spans []seen
	for _, r := range e.Result.ResourceSpans {
		for _, s := range r.ScopeSpans {
			for _, one := range s.Spans {
				shown := seen{one.Name, []string{"", "internal", "server", "client"}[one.Kind], names[one.ParentSpanID], make(map[string]string), one.Status.Code == 2, len(one.Events)}
				for _, a := range one.Attributes {
					for _, v := range a.Value {
						shown.tags[a.Key] = fmt.Sprint(v)
					}
				}
				spans = append(spans, shown)
			}
		}
	}
	check(t, "Jaeger v3", spans)
	var page struct {
		Summaries []struct {
			TraceID, RootServiceName                   string
			SpanCount, ErrorSpanCount, OrphanSpanCount int
		}
	}
	window := url.Values{"query.serviceName": {x.service}, "query.startTimeMin": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano)},
		"query.startTimeMax": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)}}
	getJSON(t, base+"/api/v3/trace-summaries?"+window.Encode(), &page)
	if len(page.Summaries) != 1 || !strings.HasSuffix(page.Summaries[0].TraceID, x.trace) || page.Summaries[0].SpanCount != 3 || page.Summaries[0].ErrorSpanCount != 1 ||
		page.Summaries[0].RootServiceName != x.service || page.Summaries[0].OrphanSpanCount != 0 {
		t.Errorf("summaries %+v", page)
	}
}

// jaegerCodec is the codec that Jaeger's own clients use with the types that Jaeger generates.
type jaegerCodec struct{}

func (jaegerCodec) Name() string                       { return "proto" }
func (jaegerCodec) Marshal(v any) ([]byte, error)      { return gogo.Marshal(v.(gogo.Message)) }
func (jaegerCodec) Unmarshal(data []byte, v any) error { return gogo.Unmarshal(data, v.(gogo.Message)) }

func dialV2(t *testing.T, addr string) api_v2.QueryServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(jaegerCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return api_v2.NewQueryServiceClient(conn)
}

func viaJaegerGRPC(t *testing.T, v2 api_v2.QueryServiceClient, x sent) {
	t.Helper()
	id, err := model.TraceIDFromString(x.trace)
	if err != nil {
		t.Fatal(err)
	}
	byID, err := v2.GetTrace(t.Context(), &api_v2.GetTraceRequest{TraceID: id})
	if err != nil {
		t.Fatal(err)
	}
	found, err := v2.FindTraces(t.Context(), &api_v2.FindTracesRequest{Query: &api_v2.TraceQueryParameters{ServiceName: x.service, OperationName: "charge"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []interface {
		Recv() (*api_v2.SpansResponseChunk, error)
	}{byID, found} {
		var all []model.Span
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, part.Spans...)
		}
		names := make(map[model.SpanID]string)
		for _, s := range all {
			names[s.SpanID] = s.OperationName
		}
		var spans []seen
		for _, s := range all {
			one := seen{name: s.OperationName, tags: make(map[string]string), events: len(s.Logs), parent: names[s.ParentSpanID()]}
			for _, tag := range s.Tags {
				one.tags[tag.Key] = tag.AsString()
			}
			one.kind, one.failed = one.tags["span.kind"], one.tags["error"] == "true"
			if s.Process.ServiceName != x.service {
				t.Errorf("the service is %q", s.Process.ServiceName)
			}
			spans = append(spans, one)
		}
		check(t, "Jaeger over gRPC", spans)
	}
}
