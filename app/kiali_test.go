package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gogo "github.com/gogo/protobuf/proto"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// kialiTracing is external_services.tracing of a Kiali resource, with the keys that Kiali knows.
type kialiTracing struct {
	Enabled             bool              `yaml:"enabled"`
	Provider            string            `yaml:"provider"`
	InternalURL         string            `yaml:"internal_url"`
	ExternalURL         string            `yaml:"external_url"`
	UseGRPC             *bool             `yaml:"use_grpc"`
	GRPCPort            int               `yaml:"grpc_port"`
	NamespaceSelector   *bool             `yaml:"namespace_selector"`
	QueryScope          map[string]string `yaml:"query_scope"`
	QueryTimeout        int               `yaml:"query_timeout"`
	HealthCheckURL      string            `yaml:"health_check_url"`
	DisableVersionCheck bool              `yaml:"disable_version_check"`
	CustomHeaders       map[string]string `yaml:"custom_headers"`
	UseWaypointName     bool              `yaml:"use_waypoint_name"`
	TempoConfig         map[string]any    `yaml:"tempo_config"`
}

// loadKiali reads a fragment; keys that Kiali does not know fail.
func loadKiali(t *testing.T, name string) kialiTracing {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var cr struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   map[string]string `yaml:"metadata"`
		Spec       struct {
			ExternalServices struct {
				Tracing kialiTracing `yaml:"tracing"`
			} `yaml:"external_services"`
		} `yaml:"spec"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&cr); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	tracing := cr.Spec.ExternalServices.Tracing
	if cr.APIVersion != "kiali.io/v1alpha1" || cr.Kind != "Kiali" || !tracing.Enabled || tracing.Provider != "jaeger" {
		t.Fatalf("%s is no Kiali resource with tracing by Jaeger: %+v", name, cr)
	}
	return tracing
}

// kialiSpan is what Kiali's pages look at, whichever mode it came by.
type kialiSpan struct {
	Trace, ID, Operation, Service string
	Parent                        string
	Tags                          map[string]any
	Duration                      time.Duration
}

// kialiClient is Kiali's tracing client in one of its modes.
type kialiClient interface {
	up(ctx context.Context) error
	services(ctx context.Context) ([]string, error)
	find(ctx context.Context, q kialiQuery) (map[string][]kialiSpan, error)
	trace(ctx context.Context, id string) ([]kialiSpan, error)
}

type kialiQuery struct {
	service     string
	start, end  time.Time
	tags        map[string]string
	minDuration time.Duration
	limit       int
}

// TestKiali replays Kiali's calls in both modes, as the files in deploy/kiali configure it, on spans that real sidecars sent.
func TestKiali(t *testing.T) {
	now, bodies := envoyBodies(t)
	r := startServe(t, func() time.Time { return now }, nil)
	for _, body := range bodies {
		if code, answer := r.do("POST", "http://"+r.Zipkin+"/api/v2/spans", body); code != http.StatusAccepted {
			t.Fatalf("%d %s", code, answer)
		}
	}
	ports := map[string]string{"16686": r.HTTP, "16685": r.JaegerGRPC, "80": r.HTTP}
	var answers []string
	for _, mode := range []struct{ name, path string }{{"jaeger-http", ""}, {"jaeger-http", "/jaeger"}, {"jaeger-grpc", "/jaeger"}} {
		t.Run(mode.name+mode.path, func(t *testing.T) {
			c := loadKiali(t, "../deploy/kiali/"+mode.name+".yaml")
			internal, err := url.Parse(c.InternalURL)
			if err != nil {
				t.Fatal(err)
			}
			var client kialiClient
			version := "http://" + ports["80"] + mode.path
			if c.UseGRPC == nil || *c.UseGRPC { // Kiali's default
				client = newKialiGRPC(t, ports[internal.Port()])
			} else {
				version = "http://" + ports[internal.Port()] + mode.path
				client = kialiHTTP{version, c.QueryTimeout}
			}
			checkKialiVersion(t, version)
			answers = append(answers, replayKiali(t, client, c, now))
		})
	}
	if len(answers) == 3 && (answers[0] != answers[1] || answers[0] != answers[2] || answers[0] == "") {
		t.Errorf("the modes differ:\n%s\n%s\n%s", answers[0], answers[1], answers[2])
	}
}

// envoyBodies are requests of real sidecars and the time just after them.
func envoyBodies(t *testing.T) (now time.Time, bodies []string) {
	names, err := filepath.Glob("../query/jaegerapi/testdata/envoy/*-zipkin.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var spans []struct{ Timestamp, Duration int64 }
		if err := json.Unmarshal(body, &spans); err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			if end := time.UnixMicro(s.Timestamp + s.Duration).Add(5 * time.Second); end.After(now) {
				now = end
			}
		}
		bodies = append(bodies, string(body))
	}
	return now, bodies
}

// checkKialiVersion cuts the version out of the page as Kiali does: by plain offsets, without a look at what it found.
func checkKialiVersion(t *testing.T, page string) {
	t.Helper()
	res, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", page, res.StatusCode, err)
	}
	const mark = "const JAEGER_VERSION = "
	text := string(body)
	at := strings.Index(text, mark)
	if at < 0 || !strings.Contains(text[at:], ";") {
		t.Fatalf("%s: no marker, Kiali would panic: %.300s", page, text)
	}
	var version struct{ GitVersion, GitCommit, BuildDate string }
	if err := json.Unmarshal([]byte(text[at+len(mark):at+strings.Index(text[at:], ";")]), &version); err != nil {
		t.Errorf("%s: %v", page, err)
	}
}

// replayKiali goes through status, services, the pages of an app, a workload and a service, the errors of health, and the
// details of a trace, and answers what it saw.
func replayKiali(t *testing.T, client kialiClient, c kialiTracing, now time.Time) string {
	t.Helper()
	// 4 s for status and details, query_timeout for searches, as Kiali has it.
	short, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := client.up(short); err != nil {
		t.Fatalf("status: %v", err)
	}
	services, err := client.services(short)
	if err != nil || !slices.Contains(services, "web.shop") || !slices.Contains(services, "api.shop") {
		t.Fatalf("services %q, %v", services, err)
	}
	if selector := slices.ContainsFunc(services, func(s string) bool { return strings.Contains(s, ".") }); selector != (c.NamespaceSelector == nil || *c.NamespaceSelector) {
		t.Errorf("discovery proposes namespace_selector %v", selector)
	}
	var saw strings.Builder
	fmt.Fprintln(&saw, services)

	end := now.Truncate(time.Second)
	q := kialiQuery{service: "web.shop", start: end.Add(-time.Hour), end: end, tags: map[string]string{"istio.cluster_id": "Kubernetes"}, limit: 100}
	search := func(what string, q kialiQuery) map[string][]kialiSpan {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(c.QueryTimeout)*time.Second)
		defer cancel()
		traces, err := client.find(ctx, q)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		fmt.Fprintln(&saw, what, len(traces), summaryOf(traces))
		return traces
	}
	app := search("app", q)
	workload, service, proxies := 0, 0, 0
	for id, spans := range app {
		ids := make(map[string]bool)
		for _, s := range spans {
			ids[s.ID] = true
		}
		if len(ids) != len(spans) {
			t.Errorf("trace %s: ids occur twice", id)
		}
		hasService, hasParent := false, false
		for _, s := range spans {
			hasService = hasService || s.Service == q.service
			hasParent = hasParent || s.Parent != "" && ids[s.Parent]
			for _, key := range []string{"node_id", "istio.cluster_id", "response_flags", "upstream_cluster", "component"} {
				if v, ok := s.Tags[key]; ok {
					if _, isText := v.(string); !isText { // Kiali asserts it
						t.Errorf("tag %s is a %T", key, v)
					}
				}
			}
			if s.Tags["component"] == "proxy" {
				proxies++
			}
			// Workload page: the third part of node_id begins with the workload and ends with the namespace.
			if node, _ := s.Tags["node_id"].(string); node != "" {
				if parts := strings.Split(node, "~"); len(parts) >= 3 && strings.HasPrefix(parts[2], "web") && strings.HasSuffix(parts[2], ".shop") {
					workload++
				}
			}
			if strings.HasPrefix(s.Operation, "api.shop") {
				service++
			}
		}
		if !hasService || len(spans) > 1 && !hasParent {
			t.Errorf("trace %s: no span of %s, or no span has its parent: %+v", id, q.service, spans)
		}
	}
	if len(app) == 0 || workload == 0 || service == 0 || proxies == 0 {
		t.Errorf("%d traces, %d spans of the workload, %d of the service, %d of proxies", len(app), workload, service, proxies)
	}
	// The health of an app asks for errors without the cluster.
	errorsOnly := q
	errorsOnly.tags = map[string]string{"error": "true"}
	failed := search("errors", errorsOnly)
	for id, spans := range failed {
		if !slices.ContainsFunc(spans, func(s kialiSpan) bool { return s.Tags["error"] == true || s.Tags["error"] == "true" }) {
			t.Errorf("trace %s has no error that Kiali sees", id)
		}
	}
	if len(failed) == 0 {
		t.Error("no failed trace")
	}
	slow := q
	slow.minDuration = time.Hour
	if n := len(search("slow", slow)); n != 0 {
		t.Errorf("%d traces of more than an hour", n)
	}
	other := q
	other.tags = map[string]string{"istio.cluster_id": "elsewhere"}
	if n := len(search("other cluster", other)); n != 0 {
		t.Errorf("%d traces of another cluster", n)
	}
	few := q
	few.limit = 1
	if n := len(search("one", few)); n != 1 {
		t.Errorf("%d traces of limit 1", n)
	}
	for id, spans := range app {
		one, err := client.trace(short, id)
		if err != nil || len(one) != len(spans) {
			t.Errorf("details of %s: %d spans of %d, %v", id, len(one), len(spans), err)
		}
	}
	if one, err := client.trace(short, "ffffffffffffffffffffffffffffff01"); err != nil || len(one) != 0 {
		t.Errorf("a trace that is not here: %d spans, %v", len(one), err)
	}
	// Links of Kiali's pages are answered by the UI.
	return saw.String()
}

// summaryOf is what of traces both modes must agree on.
func summaryOf(traces map[string][]kialiSpan) (lines []string) {
	for id, spans := range traces {
		for _, s := range spans {
			lines = append(lines, fmt.Sprint(id, s.ID, s.Parent, s.Operation, s.Service, s.Duration.Microseconds(), len(s.Tags)))
		}
	}
	slices.Sort(lines)
	return lines
}

// kialiHTTP is the mode use_grpc: false.
type kialiHTTP struct {
	base    string
	seconds int
}

// get ignores the status, as Kiali does: what is no envelope is an error.
func (k kialiHTTP) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

func (k kialiHTTP) up(ctx context.Context) error {
	_, err := k.services(ctx)
	return err
}

func (k kialiHTTP) services(ctx context.Context) ([]string, error) {
	var envelope struct{ Data []string }
	err := k.get(ctx, "/api/services", &envelope)
	return envelope.Data, err
}

type kialiEnvelope struct {
	Data []struct {
		TraceID string
		Spans   []struct {
			SpanID, OperationName, ProcessID string
			Duration                         int64
			References                       []struct{ RefType, SpanID string }
			Tags                             []struct {
				Key   string
				Value any
			}
		}
		Processes map[string]struct{ ServiceName string }
	}
	Errors []struct {
		Code int
		Msg  string
	}
}

func (e *kialiEnvelope) traces() map[string][]kialiSpan {
	out := make(map[string][]kialiSpan)
	for _, d := range e.Data {
		for _, s := range d.Spans {
			one := kialiSpan{Trace: d.TraceID, ID: s.SpanID, Operation: s.OperationName, Service: d.Processes[s.ProcessID].ServiceName,
				Tags: make(map[string]any), Duration: time.Duration(s.Duration) * time.Microsecond}
			for _, ref := range s.References {
				if one.Parent == "" && (ref.RefType == "CHILD_OF" || ref.RefType == "FOLLOWS_FROM") {
					one.Parent = ref.SpanID
				}
			}
			for _, tag := range s.Tags {
				one.Tags[tag.Key] = tag.Value
			}
			out[d.TraceID] = append(out[d.TraceID], one)
		}
	}
	return out
}

func (k kialiHTTP) find(ctx context.Context, q kialiQuery) (map[string][]kialiSpan, error) {
	v := url.Values{"service": {q.service}, "start": {fmt.Sprint(q.start.UnixMicro())}, "end": {fmt.Sprint(q.end.UnixMicro())}, "limit": {fmt.Sprint(q.limit)}}
	tags, err := json.Marshal(q.tags)
	if err != nil {
		return nil, err
	}
	v.Set("tags", string(tags))
	if q.minDuration > 0 {
		v.Set("minDuration", fmt.Sprintf("%dus", q.minDuration.Microseconds()))
	}
	var e kialiEnvelope
	err = k.get(ctx, "/api/traces?"+v.Encode(), &e)
	return e.traces(), err
}

func (k kialiHTTP) trace(ctx context.Context, id string) ([]kialiSpan, error) {
	var e kialiEnvelope
	if err := k.get(ctx, "/api/traces/"+id, &e); err != nil || len(e.Data) == 0 {
		if err == nil && len(e.Errors) == 0 {
			err = errors.New("neither data nor errors")
		}
		return nil, err
	}
	return e.traces()[e.Data[0].TraceID], nil
}

// kialiGRPC is the mode use_grpc: true.
type kialiGRPC struct{ api_v2.QueryServiceClient }

// jaegerCodec is the codec that Jaeger's own clients use with the types that Jaeger generates.
type jaegerCodec struct{}

func (jaegerCodec) Name() string                       { return "proto" }
func (jaegerCodec) Marshal(v any) ([]byte, error)      { return gogo.Marshal(v.(gogo.Message)) }
func (jaegerCodec) Unmarshal(data []byte, v any) error { return gogo.Unmarshal(data, v.(gogo.Message)) }

func newKialiGRPC(t *testing.T, addr string) kialiGRPC {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(jaegerCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return kialiGRPC{api_v2.NewQueryServiceClient(conn)}
}

func (k kialiGRPC) up(ctx context.Context) error {
	_, err := k.GetServices(ctx, &api_v2.GetServicesRequest{})
	return err
}

func (k kialiGRPC) services(ctx context.Context) ([]string, error) {
	r, err := k.GetServices(ctx, &api_v2.GetServicesRequest{})
	if err != nil {
		return nil, err
	}
	return r.Services, nil
}

// find sends a present duration of zero where none is wanted, as Kiali does.
func (k kialiGRPC) find(ctx context.Context, q kialiQuery) (map[string][]kialiSpan, error) {
	stream, err := k.FindTraces(ctx, &api_v2.FindTracesRequest{Query: &api_v2.TraceQueryParameters{ServiceName: q.service, Tags: q.tags,
		StartTimeMin: q.start, StartTimeMax: q.end, DurationMin: q.minDuration, SearchDepth: int32(q.limit)}})
	if err != nil {
		return nil, err
	}
	return readKiali(stream)
}

func (k kialiGRPC) trace(ctx context.Context, id string) ([]kialiSpan, error) {
	traceID, err := model.TraceIDFromString(id)
	if err != nil {
		return nil, err
	}
	stream, err := k.GetTrace(ctx, &api_v2.GetTraceRequest{TraceID: traceID})
	if err != nil {
		return nil, err
	}
	traces, err := readKiali(stream)
	if err != nil && regexp.MustCompile("NotFound.*trace not found").MatchString(err.Error()) {
		return nil, nil
	}
	for _, spans := range traces {
		return spans, err
	}
	return nil, err
}

// readKiali groups the spans of all parts by their trace.
func readKiali(stream interface {
	Recv() (*api_v2.SpansResponseChunk, error)
}) (map[string][]kialiSpan, error) {
	out := make(map[string][]kialiSpan)
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, s := range part.Spans {
			if s.Process == nil {
				return nil, fmt.Errorf("span %s has no process", s.SpanID)
			}
			one := kialiSpan{Trace: s.TraceID.String(), ID: s.SpanID.String(), Operation: s.OperationName, Service: s.Process.ServiceName,
				Tags: make(map[string]any), Duration: s.Duration}
			if len(s.References) > 0 {
				one.Parent = s.References[0].SpanID.String()
			}
			for _, tag := range s.Tags {
				one.Tags[tag.Key] = tag.Value()
			}
			out[one.Trace] = append(out[one.Trace], one)
		}
	}
}

// TestKialiDiscovery: the paths that Kiali's "diagnose" tries on the ports it knows.
func TestKialiDiscovery(t *testing.T) {
	r := startServe(t, nil, nil)
	for _, path := range []string{"/jaeger/api/services", "/api/services"} {
		var envelope struct{ Data []string }
		code, body := r.do("GET", "http://"+r.HTTP+path, "")
		if err := json.Unmarshal([]byte(body), &envelope); code != http.StatusOK || err != nil || envelope.Data == nil {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := newKialiGRPC(t, r.JaegerGRPC).up(ctx); err != nil {
		t.Error(err)
	}
	// Links of Kiali's pages lead to the UI.
	for _, link := range []string{"/trace/463ac35c9f6413ad48485a3953bb6124", "/trace/463ac35c9f6413ad48485a3953bb6124?uiFind=a2fb4a1d1a96d312",
		"/trace/a...b?cohort=a&cohort=b", "/search?service=web.shop&limit=20&start=1&end=2&tags=%7B%22a%22%3A%22b%22%7D", "/jaeger/search?service=web.shop", "/dependencies"} {
		if code, body := r.do("GET", "http://"+r.HTTP+link, ""); code != http.StatusOK || !strings.Contains(body, "const JAEGER_VERSION") {
			t.Errorf("%s: %d", link, code)
		}
	}
}
