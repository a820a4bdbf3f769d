package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/wait"
)

// seen is what the tests ask of a span, whatever protocol brought it.
type seen struct {
	trace, id, parent   string
	service, name, kind string
	pod                 string // of the resource, so only with OTLP
	tags                map[string]string
}

// collector receives by all three protocols.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	zipkin *sink
	mu     sync.Mutex
	spans  []seen
}

func newCollector(t *testing.T) (*collector, Collector) {
	c := &collector{zipkin: newSink(t)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	otlp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.keep(&request)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(otlp.Close)
	return c, Collector{
		Zipkin:   c.zipkin.Listener.Addr().String(),
		OTLPGRPC: listener.Addr().String(),
		OTLPHTTP: otlp.Listener.Addr().String(),
	}
}

func (c *collector) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.keep(r)
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func (c *collector) keep(request *collectorpb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range request.ResourceSpans {
		resource := make(map[string]string)
		for _, a := range rs.Resource.Attributes {
			resource[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				span := seen{
					trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
					service: resource["service.name"], pod: resource["k8s.pod.name"], name: s.Name, kind: strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"),
					tags: make(map[string]string),
				}
				for _, a := range s.Attributes {
					span.tags[a.Key] = a.Value.GetStringValue()
				}
				c.spans = append(c.spans, span)
			}
		}
	}
}

func (c *collector) received() []seen {
	c.mu.Lock()
	all := slices.Clone(c.spans)
	c.mu.Unlock()
	for _, s := range c.zipkin.received() {
		all = append(all, seen{
			trace: s.TraceID, id: s.ID, parent: s.ParentID, service: s.LocalEndpoint.ServiceName, name: s.Name, kind: s.Kind,
			tags: s.Tags,
		})
	}
	return all
}

// tree writes the spans as an indented tree, siblings in order of their text, with what Envoy says of failures. A span
// without its parent stands as a root.
func tree(spans []seen) string {
	known := make(map[string]bool)
	for _, s := range spans {
		known[s.id] = true
	}
	children := make(map[string][]seen)
	for _, s := range spans {
		parent := s.parent
		if !known[parent] {
			parent = ""
		}
		children[parent] = append(children[parent], s)
	}
	var write func(parent, indent string) string
	write = func(parent, indent string) string {
		var subtrees []string
		for _, s := range children[parent] {
			line := indent + s.service + " " + s.kind + " " + s.name
			if flags := s.tags["response_flags"]; flags != "" && flags != "-" {
				line += " [" + s.tags["http.status_code"] + " " + flags + "]"
			}
			subtrees = append(subtrees, line+"\n"+write(s.id, indent+"  "))
		}
		slices.Sort(subtrees)
		return strings.Join(subtrees, "")
	}
	return write("", "")
}

// shapes reads the trees that a scenario may give, from a file of "# scenario" headings with trees below, each ended by
// an empty line. The version of reviews that answers decides which of them it is.
func shapes(t *testing.T, file string) map[string][]string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shapes := make(map[string][]string)
	for section := range strings.SplitSeq(string(text), "# ") {
		name, trees, _ := strings.Cut(section, "\n")
		for tree := range strings.SplitSeq(trees, "\n\n") {
			if tree = strings.TrimRight(tree, "\n"); tree != "" {
				shapes[name] = append(shapes[name], tree+"\n")
			}
		}
	}
	return shapes
}

func writeShapes(t *testing.T, file string, shapes map[string][]string) {
	var text strings.Builder
	for _, s := range scenarios() {
		text.WriteString("# " + s.name + "\n")
		slices.Sort(shapes[s.name])
		for _, tree := range slices.Compact(shapes[s.name]) {
			text.WriteString(tree + "\n")
		}
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// byScenario gives the trees of all traces, sorted by the scenario they come from.
func byScenario(spans []seen) (trees map[string][]string) {
	traces := make(map[string][]seen)
	for _, s := range spans {
		traces[s.trace] = append(traces[s.trace], s)
	}
	trees = make(map[string][]string)
	for _, trace := range traces {
		name := scenarioOf(trace)
		trees[name] = append(trees[name], tree(trace))
	}
	return trees
}

// scenarioOf recognises the request by the URL at the gateway; the trace that details cuts off begins elsewhere.
func scenarioOf(trace []seen) string {
	for _, span := range trace {
		url := span.tags["http.url"]
		switch {
		case strings.HasPrefix(url, "http://books.example.com/isbn/"):
			return "external host, trace cut"
		case !strings.HasPrefix(span.service, "istio-ingressgateway"):
			continue
		}
		for _, s := range scenarios() {
			if s.path != "" && url == "http://bookinfo.example"+s.path || s.path == "" && strings.HasSuffix(url, stockMethod) {
				return s.name
			}
		}
	}
	return ""
}

// The whole mesh: every scenario ends as it says, and each request's spans are one trace of the shape that its
// topology gives, sidecar and application spans joined.
func TestMesh(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts eight Envoys")
	}
	const tries = 6 // that each version of reviews answers some
	spans, addresses := newCollector(t)
	mesh, err := StartMesh(t.Context(), Options{
		Envoy: realEnvoy(t), WorkDir: t.TempDir(), Collector: addresses, Flush: Flush{Interval: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mesh.Stop)
	client, err := newClient(mesh.Gateway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.close)

	var requests sync.WaitGroup
	for _, s := range scenarios() {
		requests.Go(func() {
			for range tries {
				if got := client.do(t.Context(), s); got != s.want {
					t.Errorf("%s: the client sees %s, want %s", s.name, got, s.want)
				}
			}
		})
	}
	requests.Wait()

	const golden = "testdata/traces.txt"
	if *update {
		// Nothing says when the last span is in: ten flushes without a new one will do.
		quiet, last := time.Now(), 0
		wait.For(t, 30*time.Second, "the last span", func() bool {
			if n := len(spans.received()); n != last {
				quiet, last = time.Now(), n
			}
			return last > 0 && time.Since(quiet) > time.Second
		})
		writeShapes(t, golden, byScenario(spans.received()))
	}
	// One trace for each request, and one more where details cut theirs. Of each scenario one has to have the right
	// shape: on a busy machine timeouts strike where they should not.
	allowed, traces := shapes(t, golden), tries*(len(scenarios())+1)
	var trees map[string][]string
	wrong := func() (names []string, count int) {
		trees = byScenario(spans.received())
		for _, s := range scenarios() {
			if !slices.ContainsFunc(trees[s.name], func(tree string) bool { return slices.Contains(allowed[s.name], tree) }) {
				names = append(names, s.name)
			}
		}
		for _, of := range trees {
			count += len(of)
		}
		return names, count
	}
	t.Cleanup(func() {
		if names, count := wrong(); len(names) > 0 || count != traces {
			t.Logf("%d traces, want %d; none is as in %s of:", count, traces, golden)
			for _, name := range names {
				t.Logf("%s:\n%s", name, strings.Join(trees[name], "\n"))
			}
		}
	})
	wait.For(t, 20*time.Second, "whole traces", func() bool {
		names, count := wrong()
		return len(names) == 0 && count == traces
	})
	if got := mostServices(spans.received()); got < 9 { // the gateway, five sidecars, three applications with an SDK
		t.Errorf("the trace with the most services has %d, want at least 9", got)
	}

	for _, s := range spans.received() {
		if s.service == "ratings.bookinfo" && s.pod != "ratings-v1-6c9f4b8d4c-x7b2p" {
			t.Errorf("the sidecar of ratings reports k8s.pod.name %q: its environment detector is not at work", s.pod)
		}
	}
	for _, e := range mesh.Envoys() {
		stats, err := e.Stats(t.Context(), "tracing.")
		if err != nil {
			t.Fatal(err)
		}
		for _, counter := range []string{"tracing.zipkin.reports_dropped", "tracing.zipkin.reports_failed", "tracing.opentelemetry.spans_dropped"} {
			if stats[counter] > 0 {
				t.Errorf("%s of %s is %d, want 0", counter, e.Pod(), stats[counter])
			}
		}
		if stats["tracing.zipkin.reports_sent"]+stats["tracing.opentelemetry.spans_sent"] == 0 {
			t.Errorf("%s sent nothing: %v", e.Pod(), stats)
		}
	}
}

func TestRunEndsWithContext(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts eight Envoys")
	}
	spans, addresses := newCollector(t)
	envoy := realEnvoy(t) // not in the goroutine: it may end the test
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Envoy: envoy, Collector: addresses, Rate: 20, Flush: Flush{Interval: 100 * time.Millisecond}})
	}()
	wait.For(t, 60*time.Second, "spans of the traffic", func() bool { return mostServices(spans.received()) >= 9 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestStartMeshWithoutEnvoy(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	_, err := StartMesh(t.Context(), Options{Collector: testCollector})
	if !errors.Is(err, ErrNoEnvoy) || !strings.Contains(err.Error(), "spanloom load send") {
		t.Fatalf("error %v, want ErrNoEnvoy that offers generated traffic", err)
	}
}

func TestStartMeshChecksOptions(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"no collector": {Options{}, "collector address"},
		"rate":         {Options{Collector: testCollector, Rate: -1}, "rate -1 requests a second"},
		"gateway":      {Options{Collector: testCollector, Gateway: "localhost:8080"}, `gateway address "localhost:8080"`},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Envoy, c.options.WorkDir = "/nonexistent/envoy", t.TempDir()
			_, err := StartMesh(t.Context(), c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestScenarioShares(t *testing.T) {
	sum := 0
	for _, s := range scenarios() {
		sum += s.share
	}
	if sum != 100 {
		t.Errorf("the shares of the scenarios add up to %d, want 100", sum)
	}
}

// mostServices counts the services of the trace that has the most.
func mostServices(spans []seen) (most int) {
	services := make(map[string]map[string]bool)
	for _, s := range spans {
		if services[s.trace] == nil {
			services[s.trace] = make(map[string]bool)
		}
		services[s.trace][s.service] = true
		most = max(most, len(services[s.trace]))
	}
	return most
}
