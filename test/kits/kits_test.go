package kits

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

var kits = []kit{
	{
		language: "python", locks: []string{"requirements.txt", "requirements-otel.txt"}, shared: []string{"venv", "venv-otel"},
		build: [][]string{
			{"python3", "-m", "venv", "venv"}, {"venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"},
			{"python3", "-m", "venv", "venv-otel"}, {"venv-otel/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements-otel.txt"},
		},
		calls: []call{{"FastAPI, httpx", "/call/httpx"}, {"FastAPI, requests", "/call/requests"}, {"FastAPI, aiohttp", "/call/aiohttp"}},
		variants: []variant{
			{name: "OTel", spans: true, command: []string{"venv-otel/bin/python", "serve.py"}},
			{name: "OTel, switched off", command: []string{"venv-otel/bin/python", "serve.py"}, env: []string{"OTEL_ENABLED=false"}},
			{name: "headers only", command: []string{"venv/bin/python", "serve.py"}},
		},
	},
	{
		language: "go", build: [][]string{{"go", "build", "-o", "kit", "."}},
		calls: []call{{"net/http", "/call/http"}, {"net/http, gRPC", "/call/grpc"}},
		variants: []variant{
			{name: "OTel", spans: true, command: []string{"./kit"}},
			{name: "OTel, switched off", command: []string{"./kit"}, env: []string{"OTEL_ENABLED=false"}},
		},
	},
	{
		language: "node", locks: []string{"package.json", "package-lock.json"},
		build: [][]string{
			{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"},
			{"mkdir", "plain"}, {"cp", "package.json", "package-lock.json", "plain"},
			{"npm", "--prefix", "plain", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"},
		},
		calls: []call{{"Express, http", "/call/http"}, {"Express, fetch", "/call/fetch"}, {"http, http", "/plain/http"}, {"http, fetch", "/plain/fetch"}},
		variants: []variant{
			{name: "OTel", spans: true, command: []string{"node", "--import", "./tracing.js", "app.js"}, modules: "node_modules"},
			{name: "OTel, switched off", command: []string{"node", "--import", "./tracing.js", "app.js"}, env: []string{"OTEL_ENABLED=false"}, modules: "node_modules"},
			{name: "headers only", command: []string{"node", "--import", "./tracing.js", "app.js"}, modules: "plain/node_modules"},
		},
	},
	{
		language: "java", build: [][]string{
			{"mvn", "-q", "-B", "package"}, {"mvn", "-q", "-B", "-P", "otel", "package"},
			{"mvn", "-q", "-B", "dependency:copy", "-Dartifact=io.opentelemetry.javaagent:opentelemetry-javaagent:2.33.1", "-DoutputDirectory=agent", "-Dmdep.stripVersion=true"},
		},
		calls: []call{{"Spring Boot, RestTemplate", "/call/resttemplate"}, {"Spring Boot, WebClient", "/call/webclient"}},
		variants: []variant{
			{name: "OTel starter", spans: true, command: []string{"java", "-jar", "target/kit-otel.jar"}},
			// The agent takes no propagator of ours: the family of the mesh's tracer stands last, and wins. The gateway decides for all.
			{name: "OTel agent, b3multi last", spans: true, command: []string{"java", "-javaagent:agent/opentelemetry-javaagent.jar", "-jar", "target/kit.jar"},
				env: []string{"OTEL_PROPAGATORS=tracecontext,baggage,b3multi", "OTEL_TRACES_SAMPLER=parentbased_always_off"}, families: []string{"B3 multi", "B3 single", "B3 and W3C"}},
			{name: "OTel agent, tracecontext last", spans: true, command: []string{"java", "-javaagent:agent/opentelemetry-javaagent.jar", "-jar", "target/kit.jar"},
				env: []string{"OTEL_PROPAGATORS=b3multi,baggage,tracecontext", "OTEL_TRACES_SAMPLER=parentbased_always_off"}, families: []string{"W3C", "B3 and W3C"}},
			{name: "OTel starter, switched off", command: []string{"java", "-jar", "target/kit-otel.jar"}, env: []string{"OTEL_SDK_DISABLED=true"}},
			{name: "headers only", command: []string{"java", "-jar", "target/kit.jar"}},
		},
	},
}

// family is what the trace headers look like on the way.
type family struct {
	name   string
	tracer demo.Tracer
	single bool // the caller sends a b3 header
}

var families = []family{
	{"B3 multi", demo.ZipkinB3, false},
	{"B3 single", demo.ZipkinB3, true},
	{"W3C", demo.OTLPGRPC, false},
	{"B3 and W3C", demo.ZipkinB3W3C, false},
}

const (
	callerTrace = "0af7651916cd43dd8448eb211c%06x"
	callerSpan  = "b7ad6b7169203331"
)

// wantWay is the way of a request through spans, each the parent of the next.
func wantWay(spans bool) []string {
	way := []string{"gateway.kits server", "gateway.kits client", "a.kits server", "app-a server", "app-a client", "a.kits client", "b.kits server", "app-b server"}
	if !spans {
		way = slices.DeleteFunc(way, func(hop string) bool { return strings.HasPrefix(hop, "app-") })
	}
	return way
}

// TestKits sends requests through gateway and sidecars to two instances of every kit, in every variant, and reads the traces after the
// applications were told to end: with a batch delay of ten minutes, what is there of them was sent by their shutdown.
func TestKits(t *testing.T) {
	if os.Getenv("SPANLOOM_KITS") != "1" {
		t.Skip("builds services in four languages and starts Envoys: make kits, or SPANLOOM_KITS=1")
	}
	envoy := realparts.Get(t, "envoy")
	s := serve(t)
	p := newPods(t)
	meshes := make(map[demo.Tracer]mesh)
	for _, tracer := range []demo.Tracer{demo.ZipkinB3, demo.OTLPGRPC, demo.ZipkinB3W3C} {
		meshes[tracer] = newMesh(t, envoy, tracer, demo.Collector{Zipkin: s.Zipkin, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP}, p)
	}
	traces := 0
	var table strings.Builder
	table.WriteString("| language | library | variant | " + joined(families, func(f family) string { return f.name }) + " | unsampled |\n| --- | --- | --- |" + strings.Repeat(" --- |", len(families)+1) + "\n")
	for _, k := range kits {
		t.Run(k.language, func(t *testing.T) {
			home := k.ready(t)
			for _, v := range k.variants {
				t.Run(v.name, func(t *testing.T) {
					rows := behind(t, k, v, k.place(t, home, v), s, p, meshes, &traces)
					table.WriteString(rows)
				})
			}
		})
	}
	t.Logf("one trace, through gateway, sidecars and applications:\n%s", table.String())
}

// sentRequest is a request that was answered.
type sentRequest struct {
	family family
	trace  string
	ids    [2]string // x-request-id at a and b
}

// behind puts two instances of the variant behind the gateways, sends the requests, ends the instances and answers the rows of the table.
// traces counts the sampled requests of the whole run.
func behind(t *testing.T, k kit, v variant, dir string, s *server, p *pods, meshes map[demo.Tracer]mesh, traces *int) string {
	t.Helper()
	otel := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.OTLPGRPC, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_BSP_SCHEDULE_DELAY=600000",
		"OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none"}
	b := v.start(t, dir, "app-b", otel...)
	a := v.start(t, dir, "app-a", append(otel, "NEXT_URL=http://"+p.outHTTP.addr, "NEXT_GRPC="+p.outGRPC.addr)...)
	p.aHTTP.to(a.http)
	p.bHTTP.to(b.http)
	p.bGRPC.to(b.grpc)

	// Unsampled ones first: the applications have time to send what they must not.
	unsampled := make(map[string][]string) // by library: trace ids
	for _, c := range k.calls {
		for _, f := range families {
			if !f.single && v.takes(f) {
				p.use(meshes[f.tracer])
				unsampled[c.library] = append(unsampled[c.library], get(t, meshes[f.tracer].never, c.path, "").trace())
			}
		}
	}
	sent := make(map[string][]sentRequest)
	for _, c := range k.calls {
		for _, f := range families {
			if !v.takes(f) {
				continue
			}
			p.use(meshes[f.tracer])
			b3 := ""
			if f.single {
				b3 = fmt.Sprintf(callerTrace, *traces) + "-" + callerSpan + "-1"
			}
			r := get(t, meshes[f.tracer].gateway, c.path, b3)
			*traces++
			sent[c.library] = append(sent[c.library], sentRequest{f, r.trace(), [2]string{r.Headers["x-request-id"], r.Next.Headers["x-request-id"]}})
		}
	}
	for library, list := range sent {
		for _, r := range list {
			if slices.ContainsFunc(s.spans(r.trace), func(x seen) bool { return strings.HasPrefix(x.what, "app-") }) {
				t.Errorf("%s, %s: spans of the application came within its batch delay of ten minutes", library, r.family.name)
			}
		}
	}
	a.stop()
	b.stop()

	var rows strings.Builder
	for _, c := range k.calls {
		cells := slices.Repeat([]string{"-"}, len(families))
		for _, r := range sent[c.library] {
			cells[slices.Index(families, r.family)] = s.way(t, c.library, r, v.spans)
		}
		cell := "nothing sent"
		for _, id := range unsampled[c.library] {
			if spans := s.spans(id); len(spans) > 0 {
				t.Errorf("%s: of an unsampled request came %v", c.library, spans)
				cell = "**spans**"
			}
		}
		fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s |\n", k.language, c.library, v.name, strings.Join(cells, " | "), cell)
	}
	var found struct{ Items []json.RawMessage }
	s.get(t, "/api/spanloom/v1/search?limit=1000", &found)
	if len(found.Items) != *traces {
		t.Errorf("%d traces, %d sampled requests: some trace is in parts, or something unsampled or excluded was sent", len(found.Items), *traces)
	}
	return rows.String()
}

// answer is what a kit's service answers.
type answer struct {
	Service string
	Headers map[string]string // of the trace, as it got them
	Next    *answer
}

// trace is the id of the trace by the headers.
func (a *answer) trace() string {
	if id := a.Headers["x-b3-traceid"]; id != "" {
		return id
	}
	if id, _, ok := strings.Cut(a.Headers["b3"], "-"); ok {
		return id
	}
	parts := strings.Split(a.Headers["traceparent"], "-")
	if len(parts) != 4 {
		return ""
	}
	return parts[1]
}

func get(t *testing.T, gateway, path, b3 string) *answer {
	t.Helper()
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+gateway+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b3 != "" {
		ask.Header.Set("b3", b3)
	}
	client := http.Client{Timeout: wait.Scale(30 * time.Second)}
	res, err := client.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %s", path, res.StatusCode, err, body)
	}
	if a.Service != "app-a" || a.Next == nil || a.Next.Service != "app-b" || len(a.trace()) != 32 {
		t.Fatalf("%s answers %s", path, body)
	}
	return &a
}

// server is a running `spanloom serve`.
type server struct {
	HTTP     string `json:"http"`
	Zipkin   string `json:"zipkin"`
	OTLPGRPC string `json:"otlpGrpc"`
	OTLPHTTP string `json:"otlpHttp"`
	PID      int    `json:"pid"`
}

// serve builds and runs the binary on ports that it picks.
func serve(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "spanloom")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/spanloom")
	build.Dir = realparts.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args := []string{"serve", "--data-dir", dir, "--max-memory", "512MiB"}
	for _, name := range []string{"http", "jaeger-grpc", "tempo", "tempo-grpc", "zipkin", "otlp-grpc", "otlp-http", "admin"} {
		args = append(args, "--"+name+"-addr", "127.0.0.1:0")
	}
	cmd := exec.Command(bin, args...)
	log := &output{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("spanloom said:\n%s", log)
		}
	})
	s := &server{}
	wait.For(t, time.Minute, "endpoints.json", func() bool {
		data, err := os.ReadFile(filepath.Join(dir, "endpoints.json"))
		return err == nil && json.Unmarshal(data, s) == nil && s.PID == cmd.Process.Pid
	})
	return s
}

func (s *server) get(t *testing.T, path string, into any) {
	t.Helper()
	res, err := http.Get("http://" + s.HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v %.300s", path, res.StatusCode, err, body)
	}
}

// seen is a span as Jaeger's API shows it.
type seen struct{ id, parent, what string } // what: service and kind

// spans of a trace; none where there is no such trace.
func (s *server) spans(trace string) (out []seen) {
	res, err := http.Get("http://" + s.HTTP + "/api/traces/" + trace)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var e struct {
		Data []struct {
			Spans []struct {
				SpanID, ProcessID string
				References        []struct{ RefType, SpanID string }
				Tags              []struct {
					Key   string
					Value any
				}
			}
			Processes map[string]struct{ ServiceName string }
		}
	}
	if json.NewDecoder(res.Body).Decode(&e) != nil || len(e.Data) == 0 {
		return nil
	}
	for _, span := range e.Data[0].Spans {
		one := seen{id: span.SpanID, what: e.Data[0].Processes[span.ProcessID].ServiceName}
		for _, tag := range span.Tags {
			if tag.Key == "span.kind" {
				one.what += " " + fmt.Sprint(tag.Value)
			}
		}
		for _, r := range span.References {
			if r.RefType == "CHILD_OF" {
				one.parent = r.SpanID
			}
		}
		out = append(out, one)
	}
	return out
}

// way checks the trace of a request and says how it is, for the table.
func (s *server) way(t *testing.T, library string, r sentRequest, withSpans bool) string {
	t.Helper()
	want := wantWay(withSpans)
	var way, rest []string
	read := func() bool {
		way, rest = climb(s.spans(r.trace))
		return slices.Equal(way, want) && len(rest) == 0
	}
	deadline := time.Now().Add(wait.Scale(10 * time.Second))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !read() && time.Now().Before(deadline) {
		<-tick.C
	}
	if !slices.Equal(way, want) || len(rest) > 0 {
		t.Errorf("%s, %s, trace %s:\n got %s\nwant %s\nbeside it %q", library, r.family.name, r.trace, strings.Join(way, " > "), strings.Join(want, " > "), rest)
		return "**broken**"
	}
	if r.ids[0] == "" || r.ids[0] != r.ids[1] {
		t.Errorf("%s, %s: x-request-id is %q at a and %q at b", library, r.family.name, r.ids[0], r.ids[1])
	}
	return fmt.Sprintf("one trace, %d spans", len(want))
}

// climb follows the parents from the last span of b up, and names the spans that are not on that way. Spans of work inside of an
// application (kind internal) are passed over.
func climb(spans []seen) (way, rest []string) {
	byID := make(map[string]seen)
	for _, s := range spans {
		byID[s.id] = s
	}
	last := slices.IndexFunc(spans, func(s seen) bool { return s.what == "app-b server" })
	if last < 0 {
		last = slices.IndexFunc(spans, func(s seen) bool { return s.what == "b.kits server" })
	}
	if last < 0 {
		for _, s := range spans {
			rest = append(rest, s.what)
		}
		return nil, rest
	}
	on := make(map[string]bool)
	for at, ok := spans[last], true; ok && !on[at.id]; at, ok = byID[at.parent] {
		on[at.id] = true
		if strings.HasSuffix(at.what, "server") || strings.HasSuffix(at.what, "client") {
			way = append(way, at.what)
		}
	}
	slices.Reverse(way)
	for _, s := range spans {
		if !on[s.id] && (strings.HasSuffix(s.what, "server") || strings.HasSuffix(s.what, "client")) {
			rest = append(rest, s.what)
		}
	}
	return way, rest
}

func joined[T any](list []T, text func(T) string) string {
	var out []string
	for _, x := range list {
		out = append(out, text(x))
	}
	return strings.Join(out, " | ")
}
