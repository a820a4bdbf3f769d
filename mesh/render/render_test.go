package render_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/deploy"
	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
	"github.com/spanloom/spanloom/mesh/schema"
)

// words reads an intent written as lines "flag value".
func words(t testing.TB, text string) render.Words {
	t.Helper()
	var w render.Words
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		flag, value, _ := strings.Cut(line, " ")
		switch flag {
		case "protocol":
			w.Protocol = value
		case "sampling":
			w.Sampling = value
		case "tags":
			w.Tags = strings.Split(value, ",")
		case "namespace":
			w.Namespace = value
		case "service":
			w.Service = value
		case "root-namespace":
			w.RootNamespace = value
		case "istio-version":
			w.Istio = value
		case "host":
			w.Hosts = strings.Split(value, ",")
		case "external-url":
			w.ExternalURL = value
		case "workload":
			w.Workloads = strings.Split(value, ",")
		case "for":
			w.For = strings.Split(value, ",")
		case "":
		default:
			t.Fatalf("no flag %q", flag)
		}
	}
	return w
}

func rendered(t testing.TB, w render.Words, present *istio.Objects) string {
	t.Helper()
	in, err := render.Parse(w)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := render.Render(in, present)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := render.Write(&b, parts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each file of testdata/render holds an intent, perhaps objects that are there already, and the YAML.
func TestRender(t *testing.T) {
	golden.Files(t, "testdata/render/*.txt", func(t *testing.T, in string) string {
		intent, objects, has := strings.Cut(in, "-- present --\n")
		var present *istio.Objects
		if has {
			var r istio.Reader
			if err := r.File("present.yaml", []byte(objects)); err != nil {
				t.Fatal(err)
			}
			present = &r.Objects
		}
		return withoutDashboards(t, rendered(t, words(t, intent), present))
	})
}

// withoutDashboards names the dashboards instead of showing their thousands of lines; each must be there whole.
func withoutDashboards(t testing.TB, text string) string {
	t.Helper()
	boards, err := deploy.Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boards {
		lines := "    " + strings.ReplaceAll(strings.TrimRight(b.Text, "\n"), "\n", "\n    ") + "\n"
		text = strings.ReplaceAll(text, lines, "    (deploy/grafana/dashboards/"+b.Name+")\n")
	}
	return text
}

// minors are all that can be rendered for.
var minors = []string{"1.17", "1.18", "1.19", "1.20", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27", "1.28", "1.29", "1.30", "1.31"}

// A healthy mesh but for its tracing: a gateway, two applications, and the receiver's Service with its workload.
const healthy = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: spanloom, namespace: observability}
spec:
  selector: {app.kubernetes.io/name: spanloom}
  ports:
  - {name: grpc-otlp, port: 4317, targetPort: 4317, appProtocol: grpc}
  - {name: http-otlp, port: 4318, targetPort: 4318, appProtocol: http}
  - {name: http-zipkin, port: 9411, targetPort: 9411, appProtocol: http}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: spanloom, namespace: observability}
spec:
  template:
    metadata: {labels: {app.kubernetes.io/name: spanloom}}
    spec: {containers: [{name: spanloom}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  template:
    metadata: {labels: {app: istio-ingressgateway, istio: ingressgateway}}
    spec: {containers: [{name: istio-proxy}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 8080}]
`

// What is rendered for a minor has no field that this minor does not have, makes istiod choose the provider and the rate
// that were meant for gateways and sidecars, and leaves the doctor nothing to say about the mesh.
func TestRenderedMakesTheMeshHealthy(t *testing.T) {
	for _, minor := range minors {
		for _, protocol := range []string{"otlp", "zipkin"} {
			for _, form := range []string{"configmap,telemetry", "istiooperator,telemetry", "helm,telemetry", "envoyfilter"} {
				t.Run(minor+" "+protocol+" "+form, func(t *testing.T) {
					w := render.Words{Protocol: protocol, Sampling: "25", Tags: []string{"environment=production", "agent=header:user-agent:none", "version=env:VERSION"},
						Namespace: "observability", Istio: minor, For: strings.Split(form, ",")}
					r := reader{&istio.Reader{Minor: minor}}
					r.Istio = minor
					for name, text := range map[string]string{"rendered.yaml": rendered(t, w, nil), "mesh-objects.yaml": healthy} {
						if err := r.File(name, []byte(text)); err != nil {
							t.Fatal(err)
						}
					}
					for _, n := range r.Notes {
						t.Errorf("line %d %s: %s", n.Line, n.Reason, n.Message)
					}
					if form != "envoyfilter" {
						r.chosen(t, protocol)
					}
					f := &doctor.Facts{Istio: minor, Objects: r.Objects, Complete: true, Received: &doctor.Received{Spans: 40, Traces: 10, Roots: 10, ByService: map[string]int{"web.shop": 20, "istio-ingressgateway.istio-system": 20}}}
					report := doctor.Diagnose(f, doctor.Options{})
					if report.State != doctor.Healthy || report.Worst() == doctor.Error || report.Worst() == doctor.Warning {
						var b strings.Builder
						doctor.Print(&b, report)
						t.Errorf("not healthy:\n%s", b.String())
					}
					for _, c := range report.Stations {
						for _, s := range c.Stations {
							if s.State == doctor.Red {
								t.Errorf("%s: %s is red: %s", c.Workload, s.Name, s.Reason)
							}
							if s.Name == "policy" && (s.State != doctor.Green || !strings.Contains(s.Reason, "25 %")) {
								t.Errorf("%s: policy %s %s", c.Workload, s.State, s.Reason)
							}
						}
					}
					looked := 2
					if form == "envoyfilter" {
						looked = 3 // no provider says that Spanloom is the collector
					}
					if len(report.Stations) != looked {
						t.Errorf("%d workloads looked at, want %d", len(report.Stations), looked)
					}
				})
			}
		}
	}
}

// Every variant has only fields that its minor has, by what was published of that minor (mesh/schema).
func TestEveryVariantFitsItsMinor(t *testing.T) {
	for _, minor := range minors {
		tags := []string{"a=literal", "b=header:x-b:none", "c=env:HOME:none"}
		if !schema.Less(minor, "1.29") {
			tags = append(tags, "d=format:%REQ(:PATH)%")
		}
		for _, protocol := range []string{"otlp", "zipkin"} {
			for _, sampling := range []string{"dev", "staging", "prod", "prod-high", "0.01", "33.3"} {
				for _, list := range [][]string{nil, tags} {
					for _, form := range []string{"configmap", "helm", "istiooperator", "telemetry", "envoyfilter", "serviceentry"} {
						text := rendered(t, render.Words{Protocol: protocol, Sampling: sampling, Tags: list, Istio: minor, For: []string{form}, Hosts: []string{"api.example.com:443", "*.example.com:80", "tcp://10.0.0.1:5432"}}, nil)
						r := istio.Reader{Minor: minor}
						if err := r.File("rendered.yaml", []byte(text)); err != nil {
							t.Fatal(err)
						}
						for _, n := range r.Notes {
							t.Errorf("%s %s %s %s line %d: %s", minor, protocol, sampling, form, n.Line, n.Message)
						}
						if len(r.Meshes)+len(r.Telemetries)+len(r.EnvoyFilters)+len(r.Services) == 0 {
							t.Errorf("%s %s %s: nothing was read\n%s", minor, protocol, form, text)
						}
					}
				}
			}
		}
	}
}

// What is rendered for 1.28 is what istiod 1.28 was recorded with: put in place of the recorded objects, it gives the
// provider's cluster and the rate that every connection manager of the recorded proxies has.
func TestRenderedIsWhatWasRecorded(t *testing.T) {
	for name, protocol := range map[string]string{"h01-otel-grpc": "otlp", "h03-zipkin-provider": "zipkin"} {
		f, err := collect.Files(t.Context(), []string{filepath.Join("../../doctor/testdata/cases", name)}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if istio.MinorOf(f.Istio) != "1.28" {
			t.Fatalf("%s is of %s", name, f.Istio)
		}
		for _, form := range []string{"configmap", "helm", "istiooperator"} {
			t.Run(name+" "+form, func(t *testing.T) {
				r := istio.Reader{Minor: "1.28"}
				text := rendered(t, render.Words{Protocol: protocol, Sampling: "dev", Namespace: "monitoring", Service: "tempo", Istio: f.Istio, For: []string{form, "telemetry"}}, nil)
				if err := r.File("rendered.yaml", []byte(text)); err != nil {
					t.Fatal(err)
				}
				o := f.Objects
				o.Meshes, o.Telemetries, o.Istio = r.Meshes, r.Telemetries, f.Istio
				compared := 0
				for _, p := range f.Proxies {
					pol := o.PolicyOf(&o.Meshes[0], nil, istio.Proxy{Namespace: p.Namespace, Labels: p.Labels, Gateway: p.Type == "router", Injected: p.Config, Version: p.Istio})
					for _, m := range p.Managers {
						d := pol.Client
						if m.Direction == "INBOUND" {
							d = pol.Server
						}
						if d.Decision != istio.Provided || d.Reason != "" || m.Tracer == nil {
							t.Fatalf("%s %s: %s %s, recorded tracer %v", p.Name, m.Direction, d.Decision, d.Reason, m.Tracer)
						}
						made := envoy.ClusterName(istio.HostOf(d.Provider.Service), strconv.Itoa(d.Provider.Port))
						if kind := "envoy.tracers." + d.Provider.Type; m.Tracer.Name != kind || m.Tracer.Cluster != made || m.Sampling != d.Sampling {
							t.Errorf("%s %s: %s to %s at %g, recorded %s to %s at %g", p.Name, m.Direction, kind, made, d.Sampling, m.Tracer.Name, m.Tracer.Cluster, m.Sampling)
						}
						compared += m.Count
					}
				}
				if compared < 10 {
					t.Errorf("only %d connection managers compared", compared)
				}
			})
		}
	}
}

type reader struct{ *istio.Reader }

// chosen checks what istiod would make of the objects.
func (r reader) chosen(t *testing.T, protocol string) {
	t.Helper()
	for _, p := range []istio.Proxy{{Namespace: "istio-system", Labels: map[string]string{"istio": "ingressgateway"}, Gateway: true}, {Namespace: "shop", Labels: map[string]string{"app": "web"}}} {
		policy := r.PolicyOf(&r.Meshes[0], nil, p)
		for name, d := range map[string]istio.Direction{"client": policy.Client, "server": policy.Server} {
			want := map[string]string{"otlp": "opentelemetry", "zipkin": "zipkin"}[protocol]
			if d.Decision != istio.Provided || d.Reason != "" || d.Provider.Type != want || d.Provider.Name != render.MeshName || d.Sampling != 25 || d.SampledBy != "telemetry" {
				t.Errorf("%s of %s: %s (%s) provider %+v, %g %% by %s", name, p.Namespace, d.Decision, d.Reason, d.Provider, d.Sampling, d.SampledBy)
			}
			if d.Provider != nil && len(r.FindHost(d.Provider.Service)) != 1 {
				t.Errorf("provider's host %s is not the Service", d.Provider.Service)
			}
			var tags []string
			for _, tag := range d.Tags {
				tags = append(tags, tag.Name+" "+tag.From)
			}
			if got := strings.Join(tags, ", "); got != "environment literal, agent header, version environment" {
				t.Errorf("tags %s", got)
			}
		}
	}
}

// The list of open ports is that of the policy.
func TestOpenPortsAreThoseOfThePolicy(t *testing.T) {
	var r istio.Reader
	if err := r.File("x.yaml", []byte(rendered(t, render.Words{For: []string{"networkpolicy"}}, nil))); err != nil {
		t.Fatal(err)
	}
	var open []int
	for _, rule := range r.NetworkPolicies[0].In {
		for _, p := range rule.Ports {
			open = append(open, p.From)
		}
	}
	if !slices.Equal(open, render.OpenPorts) {
		t.Errorf("the policy opens %v, the list says %v", open, render.OpenPorts)
	}
}

// Minors at the ends are the ones that the field tables know.
func TestMinors(t *testing.T) {
	if minors[0] != render.Oldest || minors[len(minors)-1] != render.Newest {
		t.Errorf("the test knows %s to %s, the renderer %s to %s", minors[0], minors[len(minors)-1], render.Oldest, render.Newest)
	}
	if _, ok := schema.Lookup("telemetry.Tracing", "randomSamplingPercentage"); !ok {
		t.Error("the field tables do not know Telemetry")
	}
}

// Every form stands in some golden file, in both protocols where it depends on the protocol.
func TestEveryFormHasAGoldenFile(t *testing.T) {
	seen := make(map[string]bool)
	names, _ := filepath.Glob("testdata/render/*.txt")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(data), "-- ")
		w := words(t, head)
		for _, f := range w.For {
			seen[f+" "+w.Protocol] = true
		}
	}
	for _, target := range render.Targets {
		for _, protocol := range []string{"otlp", "zipkin"} {
			free := slices.Contains([]render.Target{render.Kiali, render.Grafana, render.Prometheus, render.ServiceEntry}, target)
			if !seen[string(target)+" "+protocol] && !(free && (seen[string(target)+" otlp"] || seen[string(target)+" "])) {
				t.Errorf("%s is rendered by no case with protocol %s", target, protocol)
			}
		}
	}
}

func TestBadIntents(t *testing.T) {
	for _, c := range []struct{ intent, says string }{
		{"protocol jaeger", `--protocol: "jaeger" is no protocol that proxies send spans in (write otlp (W3C headers) or zipkin (B3 headers))`},
		{"sampling lots", `--sampling: "lots" is neither a preset nor a percentage (write dev (100 %), staging (10 %), prod (1 %), prod-high (0.1 %) or a percentage from 0.01 to 100)`},
		{"sampling 101", `--sampling: "101" is more than everything`},
		{"sampling NaN", `--sampling: "NaN" is more than everything`},
		{"sampling 0", `--sampling: "0" traces nothing`},
		{"sampling -5", `--sampling: "-5" traces nothing`},
		{"sampling 0.001", `--sampling: "0.001" is below what Istio passes on`},
		{"namespace Obs", `--namespace: "Obs" is no name that Kubernetes takes`},
		{"service a.b", `--service: "a.b" is no name`},
		{"root-namespace -", `--root-namespace: "-" is no name`},
		{"istio-version 1.16", `--istio-version: "1.16" is not among the versions whose fields are known (write one from 1.17 to 1.31)`},
		{"istio-version 1.32.0", `--istio-version: "1.32.0" is not among`},
		{"istio-version latest", `--istio-version: "latest" is no version`},
		{"sampling 1", `--istio-version: configmap is written differently by version, and none is given`},
		{"for telemetri", `--for: "telemetri" is no form to render, did you mean telemetry?`},
		{"for telemetry,envoyfilter", `--for: envoyfilter and telemetry do the same`},
		{"for serviceentry\nistio-version 1.28", `--host: no outside host is given`},
		{"tags x\nistio-version 1.28", `--tags: "x" is no tag (write NAME=VALUE`},
		{"tags a=b,a=c\nistio-version 1.28", `--tags: "a" is given twice`},
		{"tags token=header:Authorization:[REDACTED]\nistio-version 1.28", `would write the header Authorization of every request into its spans`},
		{"tags c=format:%REQ(Cookie)%\nistio-version 1.30", `would write the header cookie`},
		{"tags m=format:%REQ(X-M)%\nistio-version 1.28", `needs Istio 1.29, this is 1.28 (use header: or env:)`},
		{"tags m=format:plain\nistio-version 1.30", `has no command operator`},
		{"tags m=env:9\nistio-version 1.30", `names no environment variable`},
		{"tags m=header:a b\nistio-version 1.30", `names no header`},
		{"for serviceentry\nhost db.example.com:5432\nistio-version 1.28", `--host: "db.example.com:5432": port 5432 does not tell what it speaks`},
		{"for serviceentry\nhost ftp://x.example\nistio-version 1.28", `scheme ftp is unknown`},
		{"for serviceentry\nhost tcp://x.example\nistio-version 1.28", `has no port`},
		{"for serviceentry\nhost x.example:99999\nistio-version 1.28", `has no port from 1 to 65535`},
		{"for serviceentry\nhost under_score:443\nistio-version 1.28", `is no host`},
		{"for serviceentry\nhost web.shop.svc.cluster.local:80\nistio-version 1.28", `is a Service of the cluster`},
		{"for opentelemetry-env\nworkload web", `--workload: "web" is no workload (write NAMESPACE/NAME`},
		{"for opentelemetry-env\nworkload a/b/c/d", `--workload: "a/b/c/d" is no workload`},
		{"for kiali\nexternal-url traces", `--external-url: "traces" is no URL`},
	} {
		t.Run(c.intent, func(t *testing.T) {
			_, err := render.Parse(words(t, c.intent))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %s", err, c.says)
			}
		})
	}
}

// Whatever words an intent is made of, it is refused or gives YAML that reads back.
func FuzzParse(f *testing.F) {
	f.Add("otlp", "10", "a=b", "obs", "1.28", "api.example.com:443", "https://x.example")
	f.Add("zipkin", "prod-high", `a=header:x:"'`, "obs", "1.17.2", "*.a.b:80", "http://[::1]:80/")
	f.Add("", "0.1%", "a=format:%X%", "", "v1.31", "tcp://10.0.0.1:1", "")
	f.Fuzz(func(t *testing.T, protocol, sampling, tag, namespace, version, host, url string) {
		w := render.Words{Protocol: protocol, Sampling: sampling, Tags: []string{tag}, Namespace: namespace, Istio: version, Hosts: []string{host}, ExternalURL: url,
			For: []string{"configmap", "telemetry", "serviceentry", "kiali", "opentelemetry-env"}}
		in, err := render.Parse(w)
		if err != nil {
			return
		}
		parts, err := render.Render(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			r := istio.Reader{Minor: in.Minor}
			if err := r.File("x.yaml", []byte(p.YAML)); err != nil {
				t.Fatal(err)
			}
			for _, n := range r.Notes {
				t.Errorf("%s line %d: %s\n%s", p.Target, n.Line, n.Message, p.YAML)
			}
		}
	})
}
