package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
)

const meshText = `# kept by the platform team
enableTracing: true   # since 2023
accessLogFile: /dev/stdout
extensionProviders:
- name: tempo   # the old one
  opentelemetry: {service: tempo.monitoring.svc.cluster.local, port: 4317}
defaultConfig:
  holdApplicationUntilProxyStarts: true
`

// applied is a mesh whose objects others wrote, by the ways in which people write.
const applied = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: by-hand, namespace: istio-system}, spec: {configPatches: [{applyTo: NETWORK_FILTER, match: {context: ANY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}, patch: {operation: MERGE, value: {name: envoy.filters.network.http_connection_manager, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, tracing: {provider: {name: envoy.tracers.zipkin, typed_config: {"@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: zipkin, collector_endpoint: /api/v2/spans}}}}}}}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: spanloom, namespace: istio-system}, spec: {selector: {app: x}, ports: [{name: grpc-otlp, port: 4317}]}}
`

const others = `
{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: mesh-default, namespace: istio-system, labels: {team: platform}}, spec: {accessLogging: [{providers: [{name: envoy}]}], tracing: [{providers: [{name: tempo}], randomSamplingPercentage: 5}]}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: grafana, namespace: istio-system}, data: {datasources.yaml: "apiVersion: 1\ndatasources:\n# ours\n- name: Prometheus\n  type: prometheus\n  url: http://prometheus:9090\n"}}
`

// reset gives the objects of others as they were at first.
func (c *cluster) reset() {
	c.t.Helper()
	for _, path := range []string{"Telemetry", "ConfigMap", "NetworkPolicy"} {
		c.do("DELETE", fmt.Sprintf(paths[path], "namespaces/istio-system"), "", "")
	}
	c.apply("kubectl", others)
	c.do("POST", fmt.Sprintf(paths["ConfigMap"], "namespaces/istio-system")+"?fieldManager=pilot", "application/json",
		compact(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": "istio-system"}, "data": map[string]any{"mesh": meshText, "meshNetworks": "networks: {}"}}))
}

// everything is what stands in istio-system: content, and who keeps which fields.
func (c *cluster) everything() map[string]any {
	c.t.Helper()
	out := make(map[string]any)
	for _, kind := range []string{"ConfigMap", "Telemetry", "EnvoyFilter", "NetworkPolicy"} {
		var list struct{ Items []map[string]any }
		if err := json.Unmarshal(c.do("GET", fmt.Sprintf(paths[kind], "namespaces/istio-system"), "", ""), &list); err != nil {
			c.t.Fatal(err)
		}
		for _, o := range list.Items {
			meta := o["metadata"].(map[string]any)
			name := kind + " " + meta["name"].(string)
			if meta["name"] == "kube-root-ca.crt" {
				continue
			}
			for _, f := range meta["managedFields"].([]any) {
				delete(f.(map[string]any), "time")
			}
			for _, k := range []string{"resourceVersion", "generation", "uid", "creationTimestamp"} {
				delete(meta, k)
			}
			delete(o, "status")
			out[name] = o
		}
	}
	return out
}

// contents is everything without who keeps it.
func contents(all map[string]any) map[string]any {
	out := make(map[string]any)
	for k, v := range all {
		var o map[string]any
		_ = json.Unmarshal([]byte(compact(v)), &o)
		delete(o["metadata"].(map[string]any), "managedFields")
		out[k] = o
	}
	return out
}

func differences(a, b map[string]any) string {
	var out []string
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			out = append(out, fmt.Sprintf("%s\n- %s\n+ %s", k, compact(a[k]), compact(b[k])))
		}
	}
	for k := range b {
		if a[k] == nil {
			out = append(out, "+ "+k)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// gate stands before the API server and sees each write that counts (no dry run, no question about rights).
type gate struct {
	*httptest.Server
	mu     sync.Mutex
	writes int
	before func(n int, r *http.Request) bool // false: the connection is cut instead
	behind func(n int) bool                  // false: it is cut although the write was done
}

func (c *cluster) gate() *gate {
	g := new(gate)
	to, err := url.Parse(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		if r.Method != "GET" && !r.URL.Query().Has("dryRun") && !strings.Contains(r.URL.Path, "accessreviews") {
			g.mu.Lock()
			g.writes++
			n = g.writes
			g.mu.Unlock()
			if g.before != nil && !g.before(n, r) {
				panic(http.ErrAbortHandler)
			}
		}
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		if n > 0 && g.behind != nil && !g.behind(n) {
			panic(http.ErrAbortHandler)
		}
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	g.Config.ErrorLog = log.New(io.Discard, "", 0)
	g.StartTLS()
	c.t.Cleanup(g.Close)
	return g
}

func (c *cluster) kubeconfigOf(server, user string) string {
	path := filepath.Join(c.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}], users: [{name: u, user: {token: %stoken}}]}`, server, user)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

const perfect = "0 to create, 0 to change"

// Plan, apply, repeat, roll back on a real API server: what others wrote stays, and then everything is as it was, its owners
// too. Then the same with the API server away, and with the program killed, before and behind each write.
func TestApply(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.apply("tests", applied)
	path := build(t)
	intent := []string{"--istio-version", "1.28", "--sampling", "staging", "--for", "configmap,telemetry,networkpolicy,grafana", "--yes"}
	run := func(kubeconfig, backups string, args ...string) (int, string) {
		t.Helper()
		return spanloom(t, path, append(append([]string{"mesh"}, args...), "--kubeconfig", kubeconfig, "--backup-dir", backups)...)
	}
	applyArgs := append([]string{"apply"}, intent...)
	admin := c.kubeconfig("admin")
	c.reset()
	start := c.everything()

	backups := t.TempDir()
	if code, out := run(admin, backups, append(applyArgs, "--dry-run")...); code != 0 || !strings.Contains(out, "nothing was written") || differences(start, c.everything()) != "" {
		t.Fatalf("dry run: exit %d\n%s\n%s", code, out, differences(start, c.everything()))
	}
	code, out := run(admin, backups, applyArgs...)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	for _, says := range []string{"EnvoyFilter istio-system/by-hand sets a tracer past Istio's configuration", "spec.tracing was written by kubectl", "ConfigMap istio-system/istio: changed", "Telemetry istio-system/mesh-default: changed", "NetworkPolicy istio-system/spanloom: created"} {
		if !strings.Contains(out, says) {
			t.Errorf("it does not say %q\n%s", says, out)
		}
	}
	finished := c.everything()
	mesh := str(finished["ConfigMap istio"], "data", "mesh")
	for _, kept := range []string{"# kept by the platform team\nenableTracing: true   # since 2023\n", "- name: tempo   # the old one\n", "- name: spanloom\n", "  holdApplicationUntilProxyStarts: true\n"} {
		if !strings.Contains(mesh, kept) {
			t.Errorf("data.mesh lacks %q:\n%s", kept, mesh)
		}
	}
	if got := str(finished["ConfigMap grafana"], "data", "datasources.yaml"); !strings.Contains(got, "# ours\n- name: Prometheus\n") || !strings.Contains(got, "url: http://spanloom.istio-system:3200") {
		t.Errorf("datasources.yaml:\n%s", got)
	}
	telemetry := compact(finished["Telemetry mesh-default"])
	for _, kept := range []string{`"accessLogging":[{"providers":[{"name":"envoy"}]}]`, `"team":"platform"`, `"randomSamplingPercentage":10`} {
		if !strings.Contains(telemetry, kept) {
			t.Errorf("the Telemetry lacks %s: %s", kept, telemetry)
		}
	}
	if code, out := run(admin, backups, applyArgs...); code != 0 || !strings.Contains(out, perfect) || differences(finished, c.everything()) != "" {
		t.Errorf("a second apply: exit %d\n%s", code, out)
	}
	if code, out := run(admin, backups, "rollback"); code != 0 || differences(start, c.everything()) != "" {
		t.Errorf("rollback: exit %d\n%s\n%s", code, out, differences(start, c.everything()))
	}
	if code, out := run(admin, backups, "rollback"); code != 0 || !strings.Contains(out, "nothing to take back") {
		t.Errorf("a second rollback: exit %d\n%s", code, out)
	}

	// Every write fails once: before it reached the API server, behind it, and with the program killed at that moment.
	for _, kill := range []bool{false, true} {
		for _, behind := range []bool{false, true} {
			for k := 1; ; k++ {
				name := fmt.Sprintf("write %d (killed %v, behind %v)", k, kill, behind)
				c.reset()
				start := c.everything()
				backups := t.TempDir()
				hit := c.interrupt(path, backups, k, kill, behind, applyArgs...)
				if !hit {
					if k < 4 {
						t.Errorf("only %d writes were seen", k-1)
					}
					break
				}
				// One half goes on, the other goes back from where it is.
				if k%2 == 1 {
					if code, out := run(admin, backups, applyArgs...); code != 0 || differences(contents(finished), contents(c.everything())) != "" {
						t.Errorf("%s: going on: exit %d\n%s\n%s", name, code, out, differences(contents(finished), contents(c.everything())))
					}
				}
				c.interrupt(path, backups, 1+k/2, kill, behind, "rollback")
				if code, out := run(admin, backups, "rollback"); code != 0 || differences(start, c.everything()) != "" {
					t.Errorf("%s: rollback: exit %d\n%s\n%s", name, code, out, differences(start, c.everything()))
				}
			}
		}
	}
}

func str(v any, path ...string) string {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

// interrupt runs a command whose k-th write goes wrong, as all behind it; it tells whether there were so many.
func (c *cluster) interrupt(path, backups string, k int, kill, behind bool, args ...string) (hit bool) {
	c.t.Helper()
	g := c.gate()
	var cmd *exec.Cmd
	cut := func(n int) bool {
		if n < k {
			return true
		}
		hit = true
		if kill {
			_ = cmd.Process.Kill()
		}
		return false
	}
	if behind {
		g.behind = cut
	} else {
		g.before = func(n int, _ *http.Request) bool { return cut(n) }
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd = exec.CommandContext(ctx, path, append(append([]string{"mesh"}, args...), "--kubeconfig", c.kubeconfigOf(g.URL, "admin"), "--backup-dir", backups)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if hit == (err == nil) {
		c.t.Errorf("write %d was hit: %v, and the command ended with %v\n%s", k, hit, err, out.String())
	}
	if hit && !kill && !strings.Contains(out.String(), "gain to go on") {
		c.t.Errorf("it does not say how to go on:\n%s", out.String())
	}
	return hit
}

var _ = wait.For
