package istio_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/operator/pkg/helm"
	operator "istio.io/istio/operator/pkg/render"
	"istio.io/istio/operator/pkg/values"
	"istio.io/istio/pkg/bootstrap"
	"istio.io/istio/pkg/util/protomarshal"
	"sigs.k8s.io/yaml"

	"github.com/spanloom/spanloom/mesh/render"
	"github.com/spanloom/spanloom/mesh/schema"
)

// receiver is Spanloom's Service.
const receiver = `---
apiVersion: v1
kind: Service
metadata: {name: spanloom, namespace: observability}
spec:
  clusterIP: 10.2.0.20
  ports:
  - {name: grpc-otlp, port: 4317, appProtocol: grpc}
  - {name: http-otlp, port: 4318, appProtocol: http}
  - {name: http-zipkin, port: 9411, appProtocol: http}
`

const receiverHost = "spanloom.observability.svc.cluster.local"

// variant is one intent, and what must come of it.
type variant struct {
	protocol string
	form     render.Target // which form the mesh configuration has, or EnvoyFilter
	sampling string
	percent  float64
	tags     []string
	want     string // managed.tags
	minor    string // the text is written for
}

func (v variant) String() string {
	return fmt.Sprintf("%s %s %s %s %d tags", v.minor, v.protocol, v.form, v.sampling, len(v.tags))
}

var (
	rates = []struct {
		word    string
		percent float64
	}{{"dev", 100}, {"staging", 10}, {"prod", 1}, {"prod-high", 0.1}, {"0.01", 0.01}, {"12.5", 12.5}}
	plainTags  = []string{"environment=production", "agent=header:user-agent:none", "version=env:VERSION"}
	plainWant  = "agent header user-agent, environment literal, version environment VERSION"
	formatTags = append(slices.Clone(plainTags), "path=format:%REQ(:PATH)%")
	formatWant = "agent header user-agent, environment literal, path formatter, version environment VERSION"
	meshForms  = []render.Target{render.ConfigMap, render.Helm, render.IstioOperator, render.EnvoyFilter}
)

// variants are all of the newest minor, and of each older one the richest intent in each form and protocol.
func variants() []variant {
	var out []variant
	for n := 17; n <= 31; n++ {
		minor := fmt.Sprintf("1.%d", n)
		for _, protocol := range []string{"otlp", "zipkin"} {
			for _, form := range meshForms {
				v := variant{protocol: protocol, form: form, sampling: "12.5", percent: 12.5, tags: plainTags, want: plainWant, minor: minor}
				if n >= 29 {
					v.tags, v.want = formatTags, formatWant
				}
				if minor != render.Newest {
					out = append(out, v)
					continue
				}
				for _, r := range rates {
					for _, tags := range [][]string{nil, plainTags, formatTags} {
						v.sampling, v.percent, v.tags = r.word, r.percent, tags
						v.want = map[int]string{0: "", len(plainTags): plainWant, len(formatTags): formatWant}[len(tags)]
						out = append(out, v)
					}
				}
			}
		}
	}
	return out
}

// intended is what a connection manager must do for a variant.
func (v variant) intended() managed {
	m := managed{tracing: true, sampling: v.percent, tags: v.want, byID: true, own: true}
	m.provider = "opentelemetry outbound|4317||" + receiverHost
	if v.protocol == "zipkin" {
		m.provider = "zipkin outbound|9411||" + receiverHost + " /api/v2/spans"
		if v.form != render.EnvoyFilter && !schema.Less(v.minor, "1.28") {
			m.provider += " B3 and W3C"
		}
	}
	return m
}

// write renders the variant: the mesh configuration as its form has it, and the objects beside it.
func (v variant) write(t *testing.T) (configuration, objects string) {
	t.Helper()
	w := render.Words{Protocol: v.protocol, Sampling: v.sampling, Tags: v.tags, Namespace: "observability", Istio: v.minor, For: []string{string(v.form)}}
	if v.form != render.EnvoyFilter {
		w.For = append(w.For, string(render.Telemetry))
	}
	for _, p := range parts(t, w) {
		switch p.Target {
		case render.Telemetry, render.EnvoyFilter:
			objects += "---\n" + p.YAML
		default:
			configuration = p.YAML
		}
	}
	return configuration, objects
}

func parts(t *testing.T, w render.Words) []render.Part {
	t.Helper()
	in, err := render.Parse(w)
	if err != nil {
		t.Fatal(err)
	}
	list, err := render.Render(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// installed is the mesh configuration that an installation with the text has: the ConfigMap's own, what the chart
// istiod makes of values, what istioctl makes of an IstioOperator. The chart and istioctl are those of 1.31.
func installed(t *testing.T, form render.Target, text string) string {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	switch form {
	case render.ConfigMap:
		return object["data"].(map[string]any)["mesh"].(string)
	case render.Helm:
		manifests, _, err := helm.Render("istiod", "istio-system", "istio-control/istio-discovery", values.Map{"spec": map[string]any{"values": object}}, nil)
		if err != nil {
			t.Fatalf("the chart refuses the values: %v\n%s", err, text)
		}
		for _, m := range manifests {
			if m.GetKind() == "ConfigMap" && m.GetName() == "istio" {
				return meshOf(t, m.Object)
			}
		}
	case render.IstioOperator:
		file := filepath.Join(t.TempDir(), "operator.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sets, _, err := operator.GenerateManifest([]string{file}, nil, false, nil, nil)
		if err != nil {
			t.Fatalf("istioctl refuses the file: %v\n%s", err, text)
		}
		for _, s := range sets {
			for _, m := range s.Manifests {
				if m.GetKind() == "ConfigMap" && m.GetName() == "istio" {
					return meshOf(t, m.Object)
				}
			}
		}
	}
	t.Fatalf("no ConfigMap istio comes of\n%s", text)
	return ""
}

func meshOf(t *testing.T, object map[string]any) string {
	t.Helper()
	data, _ := object["data"].(map[string]any)
	text, ok := data["mesh"].(string)
	if !ok {
		t.Fatalf("no data.mesh in %v", object)
	}
	return text
}

// TestRendered puts every variant of `spanloom mesh render` through istiod 1.31: gateways, sidecars in both directions and
// waypoints must have the provider, rate and tags that were meant, the cluster must be there, and a new pod's bootstrap
// must have the runtime values. What is written for an older minor goes through the same code; what that minor itself has
// is known from its published fields only (mesh/render's tests).
func TestRendered(t *testing.T) {
	meshes := make(map[string]string) // by form and text: the rate and the tags are not in it
	passed := make(map[string]map[string]int)
	for _, v := range variants() {
		t.Run(v.String(), func(t *testing.T) {
			text, objects := v.write(t)
			configuration := "enableTracing: true\nrootNamespace: istio-system\n" // of a mesh that only an EnvoyFilter changes
			if v.form != render.EnvoyFilter {
				key := string(v.form) + text
				if _, ok := meshes[key]; !ok {
					meshes[key] = installed(t, v.form, text)
				}
				configuration = meshes[key]
			}
			c := meshCase{mesh: configuration, configs: fixed + ambient + objects, services: collectors + receiver, namespace: "shop", version: v.minor + ".0"}
			s, m := serve(t, c)
			want := v.intended()
			if v.form != render.EnvoyFilter {
				runtime(t, m, v)
			}
			for _, p := range []meshCase{
				{namespace: "shop", labels: map[string]string{"app": "web"}},
				{namespace: "ingress", labels: map[string]string{"app": "gateway"}, gateway: true},
				{namespace: "shop", labels: map[string]string{"gateway.networking.k8s.io/gateway-name": "waypoint", "gateway.istio.io/managed": "istio.io-mesh-controller"}, waypoint: true, host: served[2].host},
			} {
				if p.waypoint && v.form == render.EnvoyFilter {
					continue // a waypoint takes only EnvoyFilters that name it in targetRefs
				}
				p.version, p.mesh, p.configs, p.services = c.version, c.mesh, c.configs, c.services
				proxy := proxyOf(t, s, m, p)
				client, server := managers(t, s, proxy, p)
				if !p.waypoint && client != want {
					t.Errorf("%s client\nis     %v\nshould %v\n%s%s", proxy.ID, client, want, configuration, objects)
				}
				if !p.gateway && server != want {
					t.Errorf("%s server\nis     %v\nshould %v\n%s%s", proxy.ID, server, want, configuration, objects)
				}
				to := strings.Fields(want.provider)[1]
				found := slices.IndexFunc(s.Clusters(proxy), func(c *cluster.Cluster) bool { return c.Name == to })
				if found < 0 {
					t.Fatalf("%s has no cluster %s", proxy.ID, to)
				}
				options := s.Clusters(proxy)[found].GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
				if http2 := strings.Contains(options.String(), "http2_protocol_options"); http2 != (v.protocol == "otlp") {
					t.Errorf("%s: cluster %s with HTTP/2 %v", proxy.ID, to, http2)
				}
			}
			if !t.Failed() {
				key := fmt.Sprintf("%s %s", v.form, v.protocol)
				if passed[key] == nil {
					passed[key] = make(map[string]int)
				}
				passed[key][v.minor]++
			}
		})
	}
	for _, form := range meshForms {
		for _, protocol := range []string{"otlp", "zipkin"} {
			key := fmt.Sprintf("%s %s", form, protocol)
			var cells []string
			for n := 17; n <= 31; n++ {
				cells = append(cells, fmt.Sprint(passed[key][fmt.Sprintf("1.%d", n)]))
			}
			t.Logf("as intended: %-22s %s", key, strings.Join(cells, " "))
		}
	}
}

// runtime checks the bootstrap that pilot-agent writes for a pod with the mesh's proxy configuration.
func runtime(t *testing.T, m *meshconfig.MeshConfig, v variant) {
	t.Helper()
	config, err := protomarshal.ToJSON(m.DefaultConfig)
	if err != nil {
		t.Fatal(err)
	}
	node, err := bootstrap.GetNodeMetaData(bootstrap.MetadataOptions{ID: "sidecar~10.1.1.1~web-1.shop~shop.svc.cluster.local", Envs: []string{"PROXY_CONFIG=" + config, "ISTIO_META_ISTIO_VERSION=1.31.0"}, ProxyConfig: m.DefaultConfig})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := bootstrap.New(bootstrap.Config{Node: node}).WriteTo(filepath.Join(sources(t), "tools/packaging/common/envoy_bootstrap.json"), &out); err != nil {
		t.Fatal(err)
	}
	var b struct {
		Runtime struct {
			Layers []struct {
				Static map[string]any `json:"static_layer"`
			}
		} `json:"layered_runtime"`
		Tracing any
	}
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	for _, name := range []string{"tracing.opentelemetry.min_flush_spans", "tracing.zipkin.min_flush_spans"} {
		if !slices.ContainsFunc(b.Runtime.Layers, func(l struct {
			Static map[string]any `json:"static_layer"`
		}) bool {
			return fmt.Sprint(l.Static[name]) == fmt.Sprint(render.FlushSpans)
		}) {
			t.Errorf("the bootstrap's runtime has not %s %d: %+v", name, render.FlushSpans, b.Runtime.Layers)
		}
	}
	if b.Tracing != nil {
		t.Errorf("a tracer is in the bootstrap beside the provider: %v", b.Tracing)
	}
}

// sources is where Istio's own sources are.
func sources(t *testing.T) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(dir))
}

// TestRenderedServiceEntries: each kind of outside host becomes a cluster of the kind that reaches it.
func TestRenderedServiceEntries(t *testing.T) {
	hosts := []string{"api.example.com:443", "http://plain.example.com:8000", "tcp://db.example.com:5432", "*.wild.example.com:443", "http://10.9.8.7:80"}
	want := map[string]cluster.Cluster_DiscoveryType{
		"outbound|443||api.example.com": cluster.Cluster_STRICT_DNS, "outbound|8000||plain.example.com": cluster.Cluster_STRICT_DNS, "outbound|5432||db.example.com": cluster.Cluster_STRICT_DNS,
		"outbound|443||*.wild.example.com": cluster.Cluster_ORIGINAL_DST, "outbound|80||external-10-9-8-7-80.external": cluster.Cluster_EDS,
	}
	for n := 17; n <= 31; n++ {
		minor := fmt.Sprintf("1.%d", n)
		t.Run(minor, func(t *testing.T) {
			text := parts(t, render.Words{Istio: minor, Hosts: hosts, For: []string{"serviceentry"}})[0].YAML
			c := meshCase{mesh: "rootNamespace: istio-system\n", configs: fixed + "---\n" + text, services: collectors, namespace: "shop", labels: map[string]string{"app": "web"}, version: minor + ".0"}
			s, m := serve(t, c)
			have := make(map[string]cluster.Cluster_DiscoveryType)
			for _, x := range s.Clusters(proxyOf(t, s, m, c)) {
				have[x.Name] = x.GetType()
			}
			for name, kind := range want {
				if got, ok := have[name]; !ok || got != kind {
					t.Errorf("cluster %s: there %v, %v, want %v", name, ok, got, kind)
				}
			}
		})
	}
}
