package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
	"github.com/spanloom/spanloom/deploy/observe"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/test/inprocess"
)

// tool fetches what the long lane needs and answers its path.
func tool(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("SPANLOOM_LONG") != "1" {
		t.Skip("SPANLOOM_LONG=1 starts a real Prometheus")
	}
	return realparts.Get(t, name)
}

// promtool comes with prometheus.
func promtool(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(filepath.Dir(tool(t, "prometheus")), "promtool"), args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestRules(t *testing.T) {
	promtool(t, "", "check", "rules", "../../deploy/prometheus/alerts.yaml", "../../deploy/prometheus/recording.yaml")
	promtool(t, "", "test", "rules", "testdata/alerts.yaml")
	text, err := os.ReadFile("testdata/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range observe.Alerts() {
		if n := strings.Count(string(text), "alertname: "+a.Name); n < 2 {
			t.Errorf("testdata/alerts.yaml has %d cases of %s: it must be seen firing and silent", n, a.Name)
		}
	}
}

// shiftedClock runs as the real one does, by some way behind.
type shiftedClock struct{ behind atomic.Int64 }

func (c *shiftedClock) now() time.Time { return time.Now().Add(-time.Duration(c.behind.Load())) }

// history is how long before the test its generated spans begin, and where the server's clock begins.
const history = 12 * time.Minute

// busy is a service of package load with many callers and callees, so that some calls fail on both sides.
const busy = "storefront.shop"

// TestEveryQuestionOfTheDashboards has a real Prometheus scrape Spanloom, once in each form, the Envoys of the demo mesh and the
// exporter, and asks it every expression of deploy/observe.
//
// A minute of spans is in traces_* a minute after its end, and a rate needs two values. So that nobody waits for that, the
// server's clock begins behind, before the generated spans, and catches up while Prometheus scrapes.
func TestEveryQuestionOfTheDashboards(t *testing.T) {
	program, envoy := tool(t, "prometheus"), tool(t, "envoy")
	clock := &shiftedClock{}
	clock.behind.Store(int64(history))
	// So small a disk that the forecast sees its end.
	s := inprocess.Start(t, inprocess.Setup{Now: clock.now, Flags: map[string]string{"max-disk": "128MiB", "sampling-percent": "90"}})
	metrics := "http://" + s.Admin + "/metrics"

	// What Envoys send and what goes wrong on the way.
	mesh, err := demo.StartMesh(t.Context(), demo.Options{Envoy: envoy, WorkDir: t.TempDir(), Rate: 20,
		Collector: demo.Collector{Zipkin: s.Zipkin, OTLPGRPC: s.OTLPGRPC, OTLPHTTP: s.OTLPHTTP}, Flush: demo.Flush{Interval: 200 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mesh.Stop)
	ctx, stopTraffic := context.WithCancel(t.Context())
	traffic := make(chan error, 1)
	go func() { traffic <- mesh.Drive(ctx) }()
	t.Cleanup(func() {
		stopTraffic()
		if err := <-traffic; err != nil {
			t.Errorf("traffic: %v", err)
		}
	})
	misbehave := func() {
		for path, body := range map[string]string{"/api/v2/spans": "{", "/zipkin/api/v1/spans": `[{"traceId":"1","id":"1"}]`} {
			res, err := http.Post("http://"+s.Zipkin+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
	}
	misbehave()

	p := startPrometheus(t, program, targets(t, mesh, metrics))
	p.await(fmt.Sprintf("count(up == 1) == %d", 3+len(mesh.Envoys())))

	// Ten minutes of a mesh of twelve services.
	if _, err := load.Send(t.Context(), load.SendOptions{Protocol: load.Zipkin, Target: s.Zipkin, Spans: 36_000, TracesPerSecond: 3, Manifest: "-"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	p.await(`sum(spanloom_received_spans_total{job="spanloom"}) > 36000`)
	for left := history; left >= -4*time.Minute; left -= 2 * time.Minute {
		clock.behind.Store(int64(left))
		misbehave()
		res, err := http.Get("http://" + s.HTTP + "/api/spanloom/v1/search?limit=5") // questions to the store
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		_ = res.Body.Close()
		for _, job := range []string{"spanloom", "spanloom-text"} {
			p.await(fmt.Sprintf(`spanloom_trace_metrics_counted_until_seconds{job=%q} > %d`, job, clock.now().Add(-2*time.Minute-time.Second).Unix()))
		}
	}
	p.await(`min(spanloom_store_segments) > 0`)

	t.Run("metrics are as promtool wants them", func(t *testing.T) {
		for _, accept := range []string{"text/plain", "application/openmetrics-text;version=1.0.0"} {
			if _, kind := fetch(t, metrics, accept); !strings.HasPrefix(kind, strings.SplitN(accept, ";", 2)[0]) {
				t.Errorf("asked for %s, /metrics answers %s", accept, kind)
			}
		}
		text, _ := fetch(t, metrics, "text/plain")
		promtool(t, text, "check", "metrics")
	})
	t.Run("panels", func(t *testing.T) {
		asked := 0
		for _, job := range []string{"spanloom", "spanloom-text"} {
			for _, b := range observe.Boards() {
				vars := []string{"$job", job, "$service", busy, "$__rate_interval", "2m"}
				for _, v := range b.Vars {
					if v.Default != "" {
						vars = append(vars, "$"+v.Name, v.Default)
					}
				}
				fill := strings.NewReplacer(vars...)
				for _, r := range b.Rows {
					for _, panel := range r.Panels {
						for _, q := range panel.Queries {
							asked++
							expr := fill.Replace(q.Expr)
							if list, err := p.query(expr); err != nil || !slices.ContainsFunc(list, isNumber) {
								t.Errorf("%s, %q of %s: no number (%v) from\n%s\n%v", job, panel.Title, b.UID, err, expr, list)
							}
						}
					}
				}
			}
		}
		t.Logf("%d questions asked", asked)
	})
	t.Run("variables", func(t *testing.T) {
		for _, b := range observe.Boards() {
			for _, v := range b.Vars {
				inside, ok := strings.CutPrefix(v.Query, "label_values(")
				if !ok {
					continue
				}
				at := strings.LastIndex(inside, ", ")
				match, label := strings.ReplaceAll(inside[:at], "$job", "spanloom"), strings.TrimSuffix(inside[at+2:], ")")
				var values []string
				if p.get("/api/v1/label/"+label+"/values?"+url.Values{"match[]": {match}}.Encode(), &values); len(values) == 0 {
					t.Errorf("$%s of %s has no value: %s", v.Name, b.UID, v.Query)
				}
			}
		}
	})
	t.Run("alerts and recordings", func(t *testing.T) {
		health := p.rules()
		name := regexp.MustCompile(`\b(spanloom|traces|envoy|process)_[a-z_]+\b`)
		for _, a := range observe.Alerts() {
			if health[a.Name].Health != "ok" {
				t.Errorf("%s: %+v", a.Name, health[a.Name])
			}
			for _, metric := range name.FindAllString(a.Expr, -1) {
				if list, err := p.query("count(" + metric + ")"); err != nil || len(list) == 0 {
					t.Errorf("%s asks for %s, which nobody exposes: %v", a.Name, metric, err)
				}
			}
		}
		for _, r := range observe.Recordings() {
			if list, err := p.query(r.Name); err != nil || len(list) == 0 || health[r.Name].Health != "ok" {
				t.Errorf("%s: %d values, %v, %+v", r.Name, len(list), err, health[r.Name])
			}
		}
		// Spans were refused in this run; that it fires after its time is what promtool tests.
		if state := health["SpanloomRefusesSpans"].State; state != "pending" && state != "firing" {
			t.Errorf("SpanloomRefusesSpans is %s", state)
		}
	})
	t.Run("exemplars", func(t *testing.T) {
		for _, metric := range []string{"traces_spanmetrics_latency_bucket", "traces_service_graph_request_client_seconds_bucket", "traces_service_graph_request_server_seconds_bucket",
			"traces_spanmetrics_calls_total", "traces_service_graph_request_failed_total"} {
			var list []struct {
				SeriesLabels map[string]string
				Exemplars    []struct{ Labels map[string]string }
			}
			p.get("/api/v1/query_exemplars?"+url.Values{"query": {metric}, "start": {"0"}, "end": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}.Encode(), &list)
			if len(list) == 0 {
				t.Errorf("no exemplar of %s arrived", metric)
				continue
			}
			for _, x := range list {
				if x.SeriesLabels["job"] != "spanloom" {
					t.Errorf("exemplars in the job %s, which is scraped as text", x.SeriesLabels["job"])
				}
			}
			id := list[0].Exemplars[0].Labels["traceID"]
			if res, err := http.Get("http://" + s.HTTP + "/api/spanloom/v1/traces/" + id); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("trace %q of an exemplar of %s: %v %v", id, metric, res, err)
			} else {
				_ = res.Body.Close()
			}
		}
	})
}

// targets is scrape_configs: Spanloom twice, for this Prometheus asks for OpenMetrics and takes text, and cannot be told to ask
// otherwise: behind a proxy that asks for text it gets text.
func targets(t *testing.T, mesh *demo.Mesh, metrics string) string {
	t.Helper()
	text := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, kind := fetch(t, metrics, "text/plain;version=0.0.4")
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body) // Prometheus is gone if this fails
	}))
	t.Cleanup(text.Close)
	exporter := httptest.NewServer(http.HandlerFunc(exportOthers))
	t.Cleanup(exporter.Close)
	var w strings.Builder
	job := func(name, target, path, labels string) {
		fmt.Fprintf(&w, "- {job_name: %s, metrics_path: %s, static_configs: [{targets: ['%s'], labels: {%s}}]}\n", name, path, target, labels)
	}
	host := func(s *httptest.Server) string { return s.Listener.Addr().String() }
	address, _, _ := strings.Cut(strings.TrimPrefix(metrics, "http://"), "/")
	job("spanloom", address, "/metrics", "")
	job("spanloom-text", host(text), "/metrics", "")
	job("exporter", host(exporter), "/metrics", "")
	for i, e := range mesh.Envoys() {
		job("envoy-"+strconv.Itoa(i), e.AdminAddr(), "/stats/prometheus", "namespace: mesh, pod: "+e.Pod())
	}
	return w.String()
}

// exportOthers stands for the kubelet's cAdvisor and for Istio's telemetry: what Spanloom's dashboards show beside its own. Its
// counters grow with time.
func exportOthers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	seconds := float64(time.Now().UnixMilli()) / 1000
	for _, c := range []string{"spanloom", "istio-proxy"} {
		labels := fmt.Sprintf(`{container=%q,namespace="mesh",pod="pod-of-%s"}`, c, c)
		fmt.Fprintf(w, "container_cpu_usage_seconds_total%s %f\ncontainer_memory_working_set_bytes%s 1e8\ncontainer_spec_memory_limit_bytes%s 2e8\n", labels, seconds/10, labels, labels)
	}
	for _, service := range []string{busy, "catalog.shop"} {
		name, namespace, _ := strings.Cut(service, ".")
		for i, code := range []string{"200", "503"} {
			fmt.Fprintf(w, "istio_requests_total{reporter=\"destination\",destination_canonical_service=%q,destination_service_namespace=%q,response_code=%q} %f\n",
				name, namespace, code, seconds*float64(2-i))
		}
	}
}

func fetch(t *testing.T, address, accept string) (body, kind string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return "", ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(text), res.Header.Get("Content-Type")
}

// server is a running Prometheus.
type server struct {
	t    *testing.T
	base string
}

func startPrometheus(t *testing.T, program, scrapeConfigs string) *server {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("../../deploy/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: ['" + rules + "/*.yaml']\nscrape_configs:\n" + scrapeConfigs
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "config", file)
	l, err := net.Listen("tcp", "127.0.0.1:0") // it cannot say which port it chose
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--enable-feature=exemplar-storage", "--log.level=warn")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("Prometheus' log ends:\n%s", log.Bytes()[max(0, log.Len()-3000):])
		}
	})
	s := &server{t, "http://" + address}
	wait.For(t, time.Minute, "Prometheus", func() bool {
		res, err := http.Get(s.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// get decodes the data of an answer; an error of Prometheus ends the test.
func (s *server) get(path string, into any) {
	s.t.Helper()
	if err := s.try(path, into); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) try(path string, into any) error {
	res, err := http.Get(s.base + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("GET %s: %s: %w", path, res.Status, err)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("GET %s: %s %s %v", path, answer.Status, answer.Error, answer.Warnings)
	}
	return json.Unmarshal(answer.Data, into)
}

// sample is one element of a vector.
type sample struct {
	Metric map[string]string
	Value  [2]any // seconds, value as text
}

func (x sample) String() string { return fmt.Sprint(x.Metric, " ", x.Value[1]) }

func isNumber(x sample) bool {
	text, _ := x.Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

func (s *server) query(expr string) (list []sample, err error) {
	var data struct{ Result []sample }
	err = s.try("/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &data)
	return data.Result, err
}

func (s *server) await(expr string) {
	s.t.Helper()
	wait.For(s.t, time.Minute, expr, func() bool {
		list, err := s.query(expr)
		if err != nil {
			s.t.Fatal(err)
		}
		return len(list) > 0
	})
}

// rule is what Prometheus says of one.
type rule struct{ Name, Health, State, LastError string }

func (s *server) rules() map[string]rule {
	s.t.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	s.get("/api/v1/rules", &data)
	all := make(map[string]rule)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			all[r.Name] = r
		}
	}
	if len(all) == 0 {
		s.t.Fatal("Prometheus has no rules")
	}
	return all
}
