package collect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/rest"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/kubelet"
)

// apiServer is an API server of the test: objects by kind, rights, pods whose loopback ports are handlers. It knows lists with
// pages, access reviews, watches that show one event, port-forwards and pods/proxy; what only the real one can show is in
// test/kube.
type apiServer struct {
	t       *testing.T
	url     string
	objects map[string][]any                 // by group/resource
	allowed func(verb, what, ns string) bool // what is group/resource
	pods    map[string]map[int]string        // addresses by namespace/pod and port

	mu     sync.Mutex
	asked  []string
	gone   int // this many continued pages answer 410
	busy   int // this many requests answer 429
	events []string
}

func newAPIServer(t *testing.T, texts ...string) *apiServer {
	a := &apiServer{t: t, objects: make(map[string][]any), pods: make(map[string]map[int]string), allowed: func(string, string, string) bool { return true }}
	for _, text := range texts {
		a.add(text)
	}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// add takes YAML documents in.
func (a *apiServer) add(text string) {
	a.t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			return
		}
		name, _ := v["kind"].(string)
		for _, k := range append(slices.Clone(kinds), configMaps, endpointSlices) {
			if k.name == name {
				delete(v, "kind") // lists have neither
				delete(v, "apiVersion")
				a.objects[k.group+"/"+k.resource] = append(a.objects[k.group+"/"+k.resource], v)
			}
		}
	}
}

func (a *apiServer) client() *Client {
	a.t.Helper()
	c, err := newClient(&rest.Config{Host: a.url}, "")
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// groups and the version each is served in; networking.istio.io has two, of which only the older one has EnvoyFilters.
var groups = map[string][]string{"networking.istio.io": {"v1", "v1alpha3"}, "telemetry.istio.io": {"v1"}, "gateway.networking.k8s.io": {"v1"}, "security.istio.io": {"v1"}, "networking.k8s.io": {"v1"}, "apps": {"v1"}, "discovery.k8s.io": {"v1"}, "other.example": {"v1"}}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path)
	busy := a.busy > 0
	if busy {
		a.busy--
	}
	a.mu.Unlock()
	if strings.Contains(r.URL.Path, "secrets") || strings.Contains(r.URL.Path, "exec") {
		a.t.Errorf("asked for %s", r.URL.Path)
	}
	if busy {
		w.Header().Set("Retry-After", "0")
		fail(w, http.StatusTooManyRequests, "TooManyRequests", "wait", "")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		answer(w, map[string]any{"gitVersion": "v1.36.3"})
	case r.URL.Path == "/apis":
		var list []any
		for g, versions := range groups {
			var vs []any
			for _, v := range versions {
				vs = append(vs, map[string]any{"version": v})
			}
			list = append(list, map[string]any{"name": g, "versions": vs})
		}
		answer(w, map[string]any{"groups": list})
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		a.review(w, r)
	case parts[0] == "apis" && len(parts) == 3:
		a.resources(w, parts[1], parts[2])
	default:
		a.resource(w, r, parts)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, reason, message, resume string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "message": message, "reason": reason, "code": code, "metadata": map[string]any{"continue": resume}})
}

func (a *apiServer) review(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Spec struct {
			ResourceAttributes struct{ Verb, Group, Resource, Subresource, Namespace string }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		a.t.Error(err)
	}
	x := in.Spec.ResourceAttributes
	what := x.Group + "/" + x.Resource
	if x.Subresource != "" {
		what += "/" + x.Subresource
	}
	answer(w, map[string]any{"status": map[string]any{"allowed": a.allowed(x.Verb, what, x.Namespace)}})
}

func (a *apiServer) resources(w http.ResponseWriter, group, version string) {
	var list []any
	for _, k := range append(slices.Clone(kinds), endpointSlices) {
		if k.group == group && (group != "networking.istio.io" || (version == "v1") == (k.resource != "envoyfilters")) {
			list = append(list, map[string]any{"name": k.resource})
		}
	}
	answer(w, map[string]any{"resources": list})
}

// resource answers /api/v1/... and /apis/GROUP/VERSION/...
func (a *apiServer) resource(w http.ResponseWriter, r *http.Request, parts []string) {
	group, rest, ns := "", parts[2:], ""
	if parts[0] == "apis" {
		group, rest = parts[1], parts[3:]
	}
	if len(rest) > 2 && rest[0] == "namespaces" {
		ns, rest = rest[1], rest[2:]
	}
	switch {
	case len(rest) == 3 && rest[2] == "portforward" && r.Method == "POST":
		if !a.allowed("create", "/pods/portforward", ns) {
			fail(w, 403, "Forbidden", "no port-forward", "")
			return
		}
		kubelet.PortForward(w, r, func(port int) (net.Conn, error) {
			to := a.pods[ns+"/"+rest[1]][port]
			if to == "" {
				return nil, fmt.Errorf("connection refused")
			}
			return net.Dial("tcp", to)
		})
	case len(rest) > 3 && rest[2] == "proxy":
		pod, port, _ := strings.Cut(rest[1], ":")
		n, _ := strconv.Atoi(port)
		to := a.pods[ns+"/"+pod][n]
		res, err := http.Get("http://" + to + "/" + strings.Join(rest[3:], "/"))
		if err != nil {
			fail(w, 503, "ServiceUnavailable", err.Error(), "")
			return
		}
		defer res.Body.Close()
		_, _ = w.(interface{ Write([]byte) (int, error) }).Write(read(a.t, res))
	default:
		a.list(w, r, group, rest, ns)
	}
}

func read(t *testing.T, res *http.Response) []byte {
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Error(err)
	}
	return b.Bytes()
}

func (a *apiServer) list(w http.ResponseWriter, r *http.Request, group string, rest []string, ns string) {
	key := group + "/" + rest[0]
	verb := "list"
	if len(rest) == 2 {
		verb = "get"
	}
	if !a.allowed(verb, key, ns) {
		fail(w, 403, "Forbidden", rest[0]+" is forbidden", "")
		return
	}
	if r.URL.Query().Get("watch") != "" {
		a.watch(w, rest[0])
		return
	}
	var items []any
	for _, o := range a.objects[key] {
		meta, _ := o.(map[string]any)["metadata"].(map[string]any)
		labels, _ := meta["labels"].(map[string]any)
		want, value, selects := strings.Cut(r.URL.Query().Get("labelSelector"), "=")
		if ns != "" && meta["namespace"] != ns || selects && labels[want] != value || len(rest) == 2 && meta["name"] != rest[1] {
			continue
		}
		items = append(items, o)
	}
	if len(rest) == 2 {
		if len(items) == 0 {
			fail(w, 404, "NotFound", rest[1]+" not found", "")
			return
		}
		o := items[0].(map[string]any)
		o["kind"], o["apiVersion"] = "ConfigMap", "v1"
		answer(w, o)
		return
	}
	from, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Query().Get("continue"), "resume"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	a.mu.Lock()
	expired := a.gone > 0 && from > 0
	if expired {
		a.gone--
	}
	a.mu.Unlock()
	if expired {
		fail(w, 410, "Expired", "the continue token is too old", "resume"+strconv.Itoa(from))
		return
	}
	meta := map[string]any{"resourceVersion": "7"}
	if end := from + limit; limit > 0 && end < len(items) {
		meta["continue"], meta["remainingItemCount"] = strconv.Itoa(end), len(items)-end
		items = items[:end]
	}
	kind := ""
	for _, k := range append(slices.Clone(kinds), configMaps, endpointSlices) {
		if k.resource == rest[0] && k.group == group {
			kind = k.name
		}
	}
	apiVersion := "v1"
	if group != "" {
		apiVersion = group + "/" + groups[group][0]
	}
	answer(w, map[string]any{"kind": kind + "List", "apiVersion": apiVersion, "metadata": meta, "items": items[from:]})
}

func (a *apiServer) watch(w http.ResponseWriter, resource string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if name, rest, _ := strings.Cut(e, " "); name == resource {
			fmt.Fprintln(w, rest)
		}
	}
}

// serveCase gives the pods of a recorded case their loopback ports, and the cluster its objects.
func serveCase(t *testing.T, name string) *apiServer {
	t.Helper()
	dir := filepath.Join("../testdata/cases", name)
	a := newAPIServer(t)
	files, _ := filepath.Glob(dir + "/inputs/*.yaml")
	for _, file := range append(files, "../testdata/cases/common-services.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "mesh.yaml" {
			cm, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": "istio-system"}, "data": map[string]any{"mesh": string(data)}})
			if err != nil {
				t.Fatal(err)
			}
			data = cm
		}
		a.add(string(data))
	}
	a.add(`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}`)
	mesh, err := os.ReadFile(dir + "/effective_mesh.json")
	if err != nil {
		t.Fatal(err)
	}
	istiod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/debug/mesh" {
			_, _ = w.Write(mesh)
		}
	}))
	t.Cleanup(istiod.Close)
	a.add(`{apiVersion: v1, kind: Pod, metadata: {name: istiod-1, namespace: istio-system, labels: {app: istiod}}, spec: {containers: [{name: discovery, image: "x/pilot:1.28.0"}]},
  status: {phase: Running, conditions: [{type: Ready, status: "True"}]}}`)
	a.pods["istio-system/istiod-1"] = map[int]string{debugPort2: istiod.Listener.Addr().String()} // 8080 is closed: the other one is asked
	for _, p := range []struct{ folder, namespace, args, of string }{{"gateway", "istio-system", "router", "istio-ingressgateway"}, {"web", "shop", "sidecar", "web"}, {"api", "shop", "sidecar", "api"}} {
		if _, err := os.Stat(filepath.Join(dir, p.folder)); err != nil {
			continue
		}
		admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, end := range []string{".json", ".txt", ".json.gz", ".txt.gz"} {
				if data, err := os.ReadFile(filepath.Join(dir, p.folder, r.URL.Path+end)); err == nil {
					_, _ = w.Write(data)
					return
				}
			}
			http.NotFound(w, r)
		}))
		t.Cleanup(admin.Close)
		a.add(fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s-1, namespace: %s, labels: {app: %s, pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: %s-abc, controller: true}]}, spec: {containers: [{name: istio-proxy, image: "x/proxyv2:1.28.0", args: [proxy, %s]}, {name: app, env: [{name: PASSWORD, value: hunter2}]}]},
  status: {phase: Running, podIP: 10.0.0.9}}`, p.folder, p.namespace, p.folder, p.of, p.args))
		a.pods[p.namespace+"/"+p.folder+"-1"] = map[int]string{adminPort: admin.Listener.Addr().String(), statsPort: admin.Listener.Addr().String()}
	}
	return a
}

func facts(t *testing.T, a *apiServer, o ClusterOptions) *doctor.Facts {
	t.Helper()
	f, err := a.client().Cluster(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func grave(r *doctor.Report) string {
	out := ""
	for _, f := range r.Findings {
		if f.Severity != doctor.Info {
			out += f.Cause + " "
		}
	}
	return strings.TrimSpace(out)
}

// From a cluster the doctor says what it says of the folder with the same objects and dumps.
func TestClusterAsFolder(t *testing.T) {
	for _, name := range []string{"h01-otel-grpc", "h03-zipkin-provider", "h06-set-up-0-as-written", "f01-unknown-provider", "f04-sampling-zero", "f08-otlp-port-4317-missing-in-service", "f10-otlp-port-named-tcp", "f30-sidecar-egress-hides-collector", "f54-annotation-removes-tracing"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("../testdata/cases/" + name); err != nil {
				t.Skip("no such case")
			}
			folder, err := Files(t.Context(), []string{"../testdata/cases/" + name, "../testdata/cases/common-services.yaml"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			folder.Received = nil // a cluster does not know it
			f := facts(t, serveCase(t, name), ClusterOptions{})
			want, got := doctor.Diagnose(folder, doctor.Options{}), doctor.Diagnose(f, doctor.Options{})
			if grave(got) != grave(want) || got.State != want.State {
				t.Errorf("cluster: %s %s, folder: %s %s\nunread %v", got.State, grave(got), want.State, grave(want), f.Unread)
			}
			if f.Effective == nil || len(f.Proxies) != len(folder.Proxies) || f.Istio != "1.28.0" {
				t.Errorf("in force %v, %d proxies, istio %s", f.Effective != nil, len(f.Proxies), f.Istio)
			}
			var saved bytes.Buffer
			if err := f.Save(&saved); err != nil || strings.Contains(saved.String(), "hunter2") {
				t.Errorf("%v: saved facts hold a variable's value", err)
			}
			objects, err := json.Marshal(f.Objects)
			if err != nil || regexp.MustCompile(`[lL]ine":`).Match(objects) {
				t.Errorf("%v: the objects have lines: %s", err, objects)
			}
		})
	}
}

// What is not granted is not used, and is unknown.
func TestRights(t *testing.T) {
	a := serveCase(t, "h01-otel-grpc")
	for _, c := range []struct {
		name    string
		allowed func(verb, what, ns string) bool
		options ClusterOptions
		want    string
	}{
		{"level 1", func(verb, what, _ string) bool { return !strings.Contains(what, "pods/") }, ClusterOptions{},
			"proxies 0, effective false, telemetries 1, meshes 1, unread pods/portforward pods/proxy"},
		{"level 2", func(verb, what, _ string) bool { return what != "/pods/portforward" }, ClusterOptions{},
			"proxies 3, effective false, telemetries 1, meshes 1, unread pods/portforward"},
		{"level 1 asked for", func(string, string, string) bool { return true }, ClusterOptions{Level: LevelObjects}, "proxies 0, effective false, telemetries 1, meshes 1, unread "},
		{"one namespace", func(_, _, ns string) bool { return ns == "shop" }, ClusterOptions{Namespace: "shop"},
			"proxies 2, effective false, telemetries 0, meshes 0, unread configmaps daemonsets"},
		{"nothing", func(string, string, string) bool { return false }, ClusterOptions{}, "proxies 0, effective false, telemetries 0, meshes 0, unread configmaps daemonsets"},
		{"one workload", func(string, string, string) bool { return true }, ClusterOptions{Workload: "web"}, "proxies 1, effective true, telemetries 1, meshes 1, unread "},
		{"few proxies", func(string, string, string) bool { return true }, ClusterOptions{Proxies: 1}, "proxies 1, effective true, telemetries 1, meshes 1, unread proxies"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.allowed = c.allowed
			a.asked = nil
			f := facts(t, a, c.options)
			got := fmt.Sprintf("proxies %d, effective %v, telemetries %d, meshes %d, unread", len(f.Proxies), f.Effective != nil, len(f.Objects.Telemetries), len(f.Objects.Meshes))
			for _, u := range f.Unread {
				got += " " + u.Name
			}
			if !strings.HasPrefix(got+" ", c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, path := range a.asked {
				if strings.Contains(path, "portforward") && !c.allowed("create", "/pods/portforward", "shop") || strings.Contains(path, ":15090") && !c.allowed("get", "/pods/proxy", "shop") {
					t.Errorf("used without a right: %s", path)
				}
			}
			_ = doctor.Diagnose(f, doctor.Options{})
		})
	}
}

// Large lists come in pages; one that expires on the way goes on; a busy server is asked again.
func TestPages(t *testing.T) {
	a := newAPIServer(t)
	for i := range 3*pageSize + 7 {
		a.add(fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: web-%d, namespace: shop, labels: {app: web, pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: web-abc, controller: true}]}, spec: {containers: [{name: istio-proxy}]}, status: {phase: Running}}`, i))
	}
	a.gone, a.busy = 1, 2
	var pods []string
	f := facts(t, a, ClusterOptions{Level: LevelObjects, Progress: func(what string, done, of int) {
		if what == "pods" {
			pods = append(pods, fmt.Sprintf("%d/%d", done, of))
		}
	}})
	if n := len(f.Objects.Workloads); n != 3*pageSize+7 {
		t.Errorf("%d pods", n)
	}
	if got := strings.Join(pods, " "); got != "250/757 500/757 750/757 757/757" {
		t.Errorf("progress %s", got)
	}
	if !slices.ContainsFunc(f.Unread, func(u doctor.Unread) bool {
		return u.Name == "pods" && strings.Contains(u.Why, "changed while it was read")
	}) {
		t.Errorf("nothing is said of the expired list: %v", f.Unread)
	}
	r := doctor.Diagnose(f, doctor.Options{})
	if len(r.Stations) != 1 || r.Stations[0].Workload != "shop/web" || r.Stations[0].Stations[0].Reason != "757 pods have a container istio-proxy" {
		t.Errorf("%+v", r.Stations)
	}
}

// A waypoint is a Gateway of the Gateway API; with it an ambient workload's chain tells who makes its spans.
func TestGateways(t *testing.T) {
	a := newAPIServer(t, `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: waypoint, namespace: shop}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, labels: {app: web, pod-template-hash: abc}, annotations: {ambient.istio.io/redirection: enabled}, ownerReferences: [{kind: ReplicaSet, name: web-abc, controller: true}]}, spec: {containers: [{name: web}]}, status: {phase: Running, podIP: 10.0.0.9}}`)
	r := doctor.Diagnose(facts(t, a, ClusterOptions{Level: LevelObjects}), doctor.Options{Workload: "web"})
	want := "in ambient mode: ztunnel makes no spans, waypoint shop/waypoint makes them (Namespace shop names it)"
	if len(r.Stations) != 1 || r.Stations[0].Stations[0].Reason != want {
		t.Errorf("%+v", r.Stations)
	}
}

func TestNoCluster(t *testing.T) {
	c, err := newClient(&rest.Config{Host: "http://127.0.0.1:1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cluster(t.Context(), ClusterOptions{}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	if _, err := Connect(""); err == nil || !strings.Contains(err.Error(), "give --kubeconfig FILE") {
		t.Error(err)
	}
	if _, err := Connect("no/such/file"); err == nil {
		t.Error("a kubeconfig that is not there")
	}
}

func TestWatch(t *testing.T) {
	a := newAPIServer(t)
	seen := new(Changes)
	facts(t, a, ClusterOptions{Level: LevelObjects, Versions: seen.Seen})
	if what, err := a.client().Watch(t.Context(), seen, 20_000_000); err != nil || what != "" {
		t.Errorf("%q %v", what, err)
	}
	set := func(events ...string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = events
	}
	set(`telemetries {"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}`, `telemetries {"type":"MODIFIED","object":{"kind":"Telemetry","metadata":{"name":"mesh","namespace":"istio-system"}}}`)
	if what, err := a.client().Watch(t.Context(), seen, 1<<40); err != nil || what != "Telemetry istio-system/mesh modified" {
		t.Errorf("%q %v", what, err)
	}
	set(`services {"type":"ERROR","object":{"kind":"Status","code":410}}`)
	if what, err := a.client().Watch(t.Context(), seen, 1<<40); err != nil || what != "list of services" {
		t.Errorf("%q %v", what, err)
	}
}

// The rights are those that the doctor uses, and no others.
func TestRoles(t *testing.T) {
	for level := LevelObjects; level <= LevelAdmin; level++ {
		text := Roles(level, "mesh-system")
		if strings.Contains(text, "secrets") || strings.Contains(text, "exec") || strings.Contains(text, "update") {
			t.Errorf("level %d grants too much:\n%s", level, text)
		}
		if strings.Contains(text, "pods/proxy") != (level >= 2) || strings.Contains(text, "pods/portforward") != (level >= 3) || !strings.Contains(text, "namespace: mesh-system") {
			t.Errorf("level %d:\n%s", level, text)
		}
		d := yaml.NewDecoder(strings.NewReader(text))
		for n := 0; n < 2; n++ {
			var v map[string]any
			if err := d.Decode(&v); err != nil || v["kind"] == nil {
				t.Errorf("level %d, document %d: %v %v", level, n, v, err)
			}
		}
	}
}
