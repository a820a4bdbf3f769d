package kube

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/kubelet"
	"github.com/spanloom/spanloom/internal/wait"
)

const cases = "../../doctor/testdata/cases/"

// mesh is a recorded case as a cluster: its objects in the API server, its Envoys behind a kubelet.
type mesh struct {
	*cluster
	statsPort int
	loopback  map[string]map[int]string // addresses by namespace/pod and port
}

func newMesh(t *testing.T, name string) *mesh {
	t.Helper()
	m := &mesh{cluster: startCluster(t), loopback: make(map[string]map[int]string)}
	m.istioCRDs()
	m.Apply("tests", `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: monitoring}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}, stringData: {password: hunter2}}
`)
	files, err := filepath.Glob(cases + name + "/inputs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no case %s: %v", name, err)
	}
	for _, file := range append(files, cases+"common-services.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if filepath.Base(file) == "mesh.yaml" {
			cm, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": "istio-system"}, "data": map[string]any{"mesh": text}})
			if err != nil {
				t.Fatal(err)
			}
			text = string(cm)
		}
		m.Apply("tests", text)
	}
	m.startKubelet()
	m.pods(name)
	for level := 1; level <= 3; level++ {
		m.Apply("tests", collect.Roles(level, "istio-system"))
		m.Apply("tests", fmt.Sprintf(`
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: l%d}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: spanloom-doctor-%d}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: level%d}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: l%d, namespace: istio-system}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: spanloom-doctor-%d}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: level%d}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: shopper, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: spanloom-doctor-3}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: shopper}]}
`, level, level, level, level, level, level))
	}
	return m
}

// startKubelet registers a node whose agent is this test.
func (m *mesh) startKubelet() {
	ip := address(m.t)
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		m.t.Fatal(err)
	}
	agent := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // portForward/NAMESPACE/POD
		if len(parts) != 3 || parts[0] != "portForward" {
			m.t.Errorf("the API server asked its kubelet for %s", r.URL.Path)
			http.NotFound(w, r)
			return
		}
		kubelet.PortForward(w, r, func(port int) (net.Conn, error) {
			to := m.loopback[parts[1]+"/"+parts[2]][port]
			if to == "" {
				return nil, fmt.Errorf("connect: connection refused")
			}
			return net.Dial("tcp", to)
		})
	}))
	agent.Listener.Close()
	agent.Listener = l
	agent.TLS = &tls.Config{NextProtos: []string{"http/1.1"}} // port-forwards upgrade HTTP/1.1
	agent.StartTLS()
	m.t.Cleanup(agent.Close)
	m.Apply("kubelet", fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: node-1}, status: {addresses: [{type: InternalIP, address: %s}], daemonEndpoints: {kubeletEndpoint: {Port: %d}}}}`, ip, l.Addr().(*net.TCPAddr).Port))
}

// pods writes the case's pods, their Deployments, and istiod.
func (m *mesh) pods(name string) {
	ip := address(m.t)
	file := func(parts ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, end := range []string{".json", ".txt", ".json.gz", ".txt.gz"} {
				if data, err := os.ReadFile(filepath.Join(append(append([]string{cases + name}, parts...), r.URL.Path+end)...)); err == nil {
					_, _ = w.Write(data)
					return
				}
			}
			http.NotFound(w, r)
		})
	}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		m.t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	stats, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `envoy_cluster_upstream_rq_total{cluster_name="outbound|4317||tempo.monitoring.svc.cluster.local"} 7`)
	})}
	go server.Serve(stats)
	m.t.Cleanup(func() { server.Close() })
	m.statsPort = stats.Addr().(*net.TCPAddr).Port
	mesh, err := os.ReadFile(cases + name + "/effective_mesh.json")
	if err != nil {
		m.t.Fatal(err)
	}
	pod := func(ns, of, labels, container string) {
		m.Apply("tests", fmt.Sprintf(`
{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[2]s, namespace: %[1]s}, spec: {selector: {matchLabels: {app: %[3]s}}, template: {metadata: {labels: {app: %[3]s}}, spec: {containers: [{name: app, image: x}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: %[2]s-abc-1, namespace: %[1]s, labels: {app: %[3]s, pod-template-hash: abc}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: %[2]s-abc, uid: "1", controller: true}]},
 spec: {nodeName: node-1, automountServiceAccountToken: false, containers: [%[4]s]}, status: {phase: Running, podIP: %[5]s, podIPs: [{ip: %[5]s}], startTime: "2026-01-01T00:00:00Z", conditions: [{type: Ready, status: "True"}]}}`, ns, of, labels, container, ip))
	}
	pod("istio-system", "istiod", "istiod", `{name: discovery, image: "example/pilot:1.28.0"}`)
	m.loopback["istio-system/istiod-abc-1"] = map[int]string{8080: serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(mesh) }))}
	for _, p := range []struct{ folder, ns, of, role string }{{"gateway", "istio-system", "istio-ingressgateway", "router"}, {"web", "shop", "web", "sidecar"}, {"api", "shop", "api", "sidecar"}} {
		pod(p.ns, p.of, p.folder, fmt.Sprintf(`{name: istio-proxy, image: "example/proxyv2:1.28.0", args: [proxy, %s]}, {name: app, image: x, env: [{name: PASSWORD, value: hunter2}]}`, p.role))
		m.loopback[p.ns+"/"+p.of+"-abc-1"] = map[int]string{15000: serve(file(p.folder))}
	}
}

func (m *mesh) facts(user string, o collect.ClusterOptions) *doctor.Facts {
	m.t.Helper()
	c, err := collect.Connect(m.Kubeconfig(user))
	if err != nil {
		m.t.Fatal(err)
	}
	o.StatsPort = m.statsPort
	f, err := c.Cluster(m.t.Context(), o)
	if err != nil {
		m.t.Fatal(err)
	}
	return f
}

// summary is what a level shows: causes, how much was read of proxies, what could not be read.
func summary(f *doctor.Facts) string {
	r := doctor.Diagnose(f, doctor.Options{})
	var causes, unread []string
	for _, x := range r.Findings {
		if x.Severity != doctor.Info {
			causes = append(causes, x.Cause)
		}
	}
	for _, u := range f.Unread {
		unread = append(unread, u.Name)
	}
	stats, dumps := 0, 0
	for _, p := range f.Proxies {
		if p.Has.Stats {
			stats++
		}
		if p.Has.Listeners && p.Has.Hosts {
			dumps++
		}
	}
	return fmt.Sprintf("%v; in force %v, statistics %d, dumps %d, istio %s; unread %v", causes, f.Effective != nil, stats, dumps, f.Istio, unread)
}

func TestLevelsOfRights(t *testing.T) {
	m := newMesh(t, "f08-otlp-port-4317-missing-in-service")
	for _, c := range []struct {
		user    string
		options collect.ClusterOptions
		want    string
	}{
		{"level1", collect.ClusterOptions{}, "[provider-port-missing meshconfig-unknown-field]; in force false, statistics 0, dumps 0, istio 1.28.0; unread [pods/portforward pods/proxy]"},
		{"level2", collect.ClusterOptions{}, "[provider-port-missing meshconfig-unknown-field]; in force false, statistics 3, dumps 0, istio 1.28.0; unread [pods/portforward]"},
		{"level3", collect.ClusterOptions{}, "[provider-port-missing meshconfig-unknown-field]; in force true, statistics 3, dumps 3, istio 1.28.0; unread []"},
		{"level3", collect.ClusterOptions{Workload: "shop/web"}, "[provider-port-missing meshconfig-unknown-field]; in force true, statistics 1, dumps 1, istio 1.28.0; unread []"},
		{"admin", collect.ClusterOptions{Level: 1}, "[provider-port-missing meshconfig-unknown-field]; in force false, statistics 0, dumps 0, istio 1.28.0; unread []"},
	} {
		f := m.facts(c.user, c.options)
		if got := summary(f); got != c.want {
			t.Errorf("%s %+v:\n got %s\nwant %s\n%+v", c.user, c.options, got, c.want, f.Unread)
		}
		if text := compact(f); strings.Contains(text, "hunter2") {
			t.Errorf("%s: the facts hold a secret", c.user)
		}
	}
	nobody := m.facts("nobody", collect.ClusterOptions{})
	if len(nobody.Objects.Workloads) != 0 || len(nobody.Unread) < 15 {
		t.Errorf("without rights: %d workloads, unread %v", len(nobody.Objects.Workloads), nobody.Unread)
	}
	shop := m.facts("shopper", collect.ClusterOptions{Namespace: "shop"})
	if got := summary(shop); !strings.Contains(got, "dumps 2") || len(shop.Objects.Telemetries) != 0 {
		t.Errorf("with rights in one namespace: %s", got)
	}
}

// A broken mesh is named, the fix that the finding gives is applied, and the finding goes: in one watch.
func TestWatchAndFix(t *testing.T) {
	m := newMesh(t, "f08-otlp-port-4317-missing-in-service")
	c, err := collect.Connect(m.Kubeconfig("level1"))
	if err != nil {
		t.Fatal(err)
	}
	seen := new(collect.Changes)
	look := func() *doctor.Report {
		t.Helper()
		f, err := c.Cluster(t.Context(), collect.ClusterOptions{Level: collect.LevelObjects, Versions: seen.Seen})
		if err != nil {
			t.Fatal(err)
		}
		return doctor.Diagnose(f, doctor.Options{})
	}
	before := look()
	i := slices.IndexFunc(before.Findings, func(f doctor.Finding) bool { return f.Cause == "provider-port-missing" })
	if i < 0 {
		t.Fatalf("%+v", before.Findings)
	}
	// kubectl patch serviceentry -n NS NAME --type json -p '[...]'
	words := strings.Fields(before.Findings[i].Fix.Command)
	_, patch, _ := strings.Cut(before.Findings[i].Fix.Command, "-p '")
	if len(words) < 6 || words[2] != "serviceentry" {
		t.Fatal(before.Findings[i].Fix.Command)
	}
	changed := make(chan string, 1)
	go func() {
		what, err := c.Watch(t.Context(), seen, wait.Scale(time.Minute))
		if err != nil {
			what = err.Error()
		}
		changed <- what
	}()
	m.Do("PATCH", m.Path("ServiceEntry", words[4], words[5]), "application/json-patch+json", strings.TrimSuffix(patch, "'"))
	if what := <-changed; what != "ServiceEntry "+words[4]+"/"+words[5]+" modified" {
		t.Errorf("the watch said %q", what)
	}
	after := look()
	if slices.ContainsFunc(after.Findings, func(f doctor.Finding) bool { return f.Severity == doctor.Error }) {
		t.Errorf("after the fix: %+v", after.Findings)
	}
}

// What a GitOps tool keeps and somebody edited by hand shows in the managed fields that the API server wrote. tracing is one
// field to it: the edit takes all of it over, so that only the tool's annotation still names the tool.
func TestManagedFields(t *testing.T) {
	m := newMesh(t, "h01-otel-grpc")
	m.Apply("argocd-controller", `{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: mesh-default, namespace: istio-system, annotations: {argocd.argoproj.io/tracking-id: "mesh:telemetry.istio.io/Telemetry:istio-system/mesh-default"}}, spec: {tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 100}]}}`)
	m.Do("PATCH", m.Path("Telemetry", "istio-system", "mesh-default")+"?fieldManager=kubectl-edit", "application/merge-patch+json", `{"spec":{"tracing":[{"providers":[{"name":"tempo"}],"randomSamplingPercentage":50}]}}`)
	r := doctor.Diagnose(m.facts("level1", collect.ClusterOptions{}), doctor.Options{})
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Cause == "gitops-reverts" })
	if i < 0 || !strings.Contains(r.Findings[i].Detail, "kubectl-edit") {
		t.Errorf("%+v", r.Findings)
	}
	if code, _ := m.Try("PATCH", m.Path("Telemetry", "istio-system", "mesh-default"), "application/merge-patch+json", `{"spec":{"tracing":[{"randomSamplingPercentage":300}]}}`); code != 422 {
		t.Errorf("the schema of the CRD takes 300 %%: %d", code)
	}
}

// Many pods come in pages; a proxy that does not answer is a fact.
func TestManyPods(t *testing.T) {
	m := newMesh(t, "h01-otel-grpc")
	pods := 600
	if os.Getenv("SPANLOOM_LONG") != "" {
		pods = 5000
	}
	m.many(pods)
	most := make(chan uint64)
	ctx, stop := context.WithCancel(t.Context())
	go func() { most <- peak(ctx) }()
	began := time.Now()
	f := m.facts("level3", collect.ClusterOptions{Proxies: 3})
	took := time.Since(began)
	stop()
	t.Logf("%d pods in %s, at most %d MiB of heap", pods, took, <-most>>20)
	began = time.Now()
	r := doctor.Diagnose(f, doctor.Options{})
	t.Logf("judged in %s: %d chains", time.Since(began), len(r.Stations))
	running := 0
	for _, w := range f.Objects.Workloads {
		if w.Pod {
			running++
		}
	}
	if len(r.Stations) != 23 {
		t.Errorf("%d chains: replicas are one workload", len(r.Stations))
	}
	if running != pods+4 {
		t.Errorf("%d pods of %d", running, pods+4)
	}
	if !slices.ContainsFunc(f.Unread, func(u doctor.Unread) bool { return u.Name == "proxies" }) || !slices.ContainsFunc(f.Unread, func(u doctor.Unread) bool {
		return u.Name == "proxy of shop/w0-x-0" && strings.Contains(u.Why, "connection refused")
	}) {
		t.Errorf("unread %v", f.Unread)
	}
	c, err := collect.Connect(m.Kubeconfig("level3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cluster(ctx, collect.ClusterOptions{}); err == nil { // it ended above
		t.Error("a collection whose context ended gives facts")
	}
}

// peak is the largest heap until a context ends.
func peak(ctx context.Context) uint64 {
	most := uint64(0)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse)
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

// many writes pods of 20 workloads, without a Deployment.
func (m *mesh) many(pods int) {
	turns := make(chan struct{}, 8)
	for i := range pods {
		turns <- struct{}{}
		go func() {
			defer func() { <-turns }()
			w := i % 20
			m.Try("POST", "/api/v1/namespaces/shop/pods", "application/json", fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"w%d-x-%d","namespace":"shop","labels":{"app":"w%d","pod-template-hash":"x"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"w%d-x","uid":"1","controller":true}]},
				"spec":{"nodeName":"node-1","automountServiceAccountToken":false,"containers":[{"name":"istio-proxy","image":"example/proxyv2:1.28.0","env":[{"name":"PROXY_CONFIG","value":"{}"}]},{"name":"app","image":"x"}]}}`, w, i, w, w))
		}()
	}
	for range cap(turns) {
		turns <- struct{}{}
	}
}
