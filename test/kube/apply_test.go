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

	"github.com/spanloom/spanloom/internal/kubeserver"
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
		c.Do("DELETE", c.Path(path, "istio-system", ""), "", "")
	}
	c.Apply("kubectl", others)
	c.Do("POST", c.Path("ConfigMap", "istio-system", "")+"?fieldManager=pilot", "application/json",
		compact(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "istio", "namespace": "istio-system"}, "data": map[string]any{"mesh": meshText, "meshNetworks": "networks: {}"}}))
}

// everything is what stands in istio-system: content, and who keeps which fields.
func (c *cluster) everything() map[string]any {
	c.t.Helper()
	out := make(map[string]any)
	for _, kind := range []string{"ConfigMap", "Telemetry", "EnvoyFilter", "NetworkPolicy"} {
		var list struct{ Items []map[string]any }
		if err := json.Unmarshal(c.Do("GET", c.Path(kind, "istio-system", ""), "", ""), &list); err != nil {
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
	to, err := url.Parse(c.URL)
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

const perfect = "0 to create, 0 to change"

// Plan, apply, repeat, roll back on a real API server: what others wrote stays, and then everything is as it was, its owners
// too. Then the same with the API server away, and with the program killed, before and behind each write.
func TestApply(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("tests", applied)
	path := build(t)
	intent := []string{"--istio-version", "1.28", "--sampling", "staging", "--for", "configmap,telemetry,networkpolicy,grafana", "--yes"}
	run := func(kubeconfig, backups string, args ...string) (int, string) {
		t.Helper()
		return spanloom(t, path, append(append([]string{"mesh"}, args...), "--kubeconfig", kubeconfig, "--backup-dir", backups)...)
	}
	applyArgs := append([]string{"apply"}, intent...)
	admin := c.Kubeconfig(kubeserver.Admin)
	c.reset()
	start := c.everything()

	backups := t.TempDir()
	if code, out := run(admin, backups, append(applyArgs, "--dry-run")...); code != 0 || !strings.Contains(out, "nothing was written") || differences(start, c.everything()) != "" {
		t.Fatalf("dry run: exit %d\n%s\n%s", code, out, differences(start, c.everything()))
	}
	c.planIsWhatIsWritten(path, admin, intent[:len(intent)-1])
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
				if c.interrupt(path, backups, 1+k/2, kill, behind, "rollback") {
					if code, out := run(admin, backups, applyArgs...); code != 2 || !strings.Contains(out, "end it first: spanloom mesh rollback") {
						t.Errorf("%s: an apply on top of a rollback that was interrupted: exit %d\n%s", name, code, out)
					}
				}
				if code, out := run(admin, backups, "rollback"); code != 0 || differences(start, c.everything()) != "" {
					t.Errorf("%s: rollback: exit %d\n%s\n%s", name, code, out, differences(start, c.everything()))
				}
			}
		}
	}
}

// planIsWhatIsWritten plans the cluster without writing: what is shown is what apply's dry run shows, and who keeps an object is
// said. A later install by istioctl is told of too.
func (c *cluster) planIsWhatIsWritten(path, admin string, intent []string) {
	c.t.Helper()
	start := c.everything()
	code, planned := spanloom(c.t, path, append([]string{"mesh", "plan", "--kubeconfig", admin}, intent...)...)
	if code != 1 {
		c.t.Fatalf("plan: exit %d\n%s", code, planned)
	}
	_, tried := spanloom(c.t, path, append([]string{"mesh", "apply", "--dry-run", "--yes", "--backup-dir", c.t.TempDir(), "--kubeconfig", admin}, intent...)...)
	if !strings.HasPrefix(tried, planned) {
		c.t.Errorf("apply shows another plan:\n%s\n-- mesh plan --\n%s", tried, planned)
	}
	for _, says := range []string{"~ ConfigMap istio-system/istio", "~ Telemetry istio-system/mesh-default", "+ NetworkPolicy istio-system/spanloom", "spec.tracing was written by kubectl", "+    - name: spanloom\n", "by-hand sets a tracer past Istio's configuration"} {
		if !strings.Contains(planned, says) {
			c.t.Errorf("the plan does not say %q\n%s", says, planned)
		}
	}
	if d := differences(start, c.everything()); d != "" {
		c.t.Errorf("a plan wrote:\n%s", d)
	}
	owned := func(kind, meta, says string) {
		c.t.Helper()
		where := c.Path(kind, "istio-system", "") + map[string]string{"ConfigMap": "/istio", "Telemetry": "/mesh-default"}[kind]
		c.Do("PATCH", where+"?fieldManager=kubectl", "application/merge-patch+json", `{"metadata":`+meta+`}`)
		if code, out := spanloom(c.t, path, append([]string{"mesh", "plan", "--kubeconfig", admin}, intent...)...); code != 1 || !strings.Contains(out, says) {
			c.t.Errorf("exit %d, want 1 with %q\n%s", code, says, out)
		}
	}
	owned("Telemetry", `{"annotations":{"argocd.argoproj.io/tracking-id":"mesh:x"}}`, "! Argo CD (mesh) keeps it")
	owned("Telemetry", `{"annotations":{"argocd.argoproj.io/tracking-id":null},"labels":{"kustomize.toolkit.fluxcd.io/name":"infra"}}`, "! Flux (infra) keeps it")
	owned("ConfigMap", `{"annotations":{"meta.helm.sh/release-name":"istiod"}}`, "! the Helm release istiod writes it anew with every upgrade: change its values instead (--for helm)")
	owned("ConfigMap", `{"annotations":{"meta.helm.sh/release-name":null},"labels":{"install.operator.istio.io/owning-resource":"installed-state"}}`, "a later `istioctl install` writes ConfigMap istio-system/istio anew")
	if code, out := spanloom(c.t, path, "mesh", "plan", "--kubeconfig", admin, "--for", "helm", "--istio-version", "1.28"); code != 2 || !strings.Contains(out, "helm is no object of a cluster") {
		c.t.Errorf("exit %d\n%s", code, out)
	}
	c.reset()
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
	cmd = exec.CommandContext(ctx, path, append(append([]string{"mesh"}, args...), "--kubeconfig", c.KubeconfigAt(g.URL, kubeserver.Admin), "--backup-dir", backups)...)
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

const refusing = `
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: closed}, spec: {failurePolicy: Fail, matchConstraints: {resourceRules: [{apiGroups: [telemetry.istio.io], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: [telemetries]}]}, validations: [{expression: "false", message: "telemetry is the platform team's"}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: closed}, spec: {policyName: closed, validationActions: [Deny]}}
`

// What goes wrong in a cluster is said in clear words, nothing is half done, and what others wrote stays.
func TestApplyAmongOthers(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("tests", applied)
	path := build(t)
	telemetry := c.Path("Telemetry", "istio-system", "mesh-default")
	mesh := c.Path("ConfigMap", "istio-system", "istio")
	intent := []string{"apply", "--istio-version", "1.28", "--sampling", "staging", "--yes"}
	admin := c.Kubeconfig(kubeserver.Admin)
	backups := ""
	begin := func() {
		c.reset()
		backups = t.TempDir()
	}
	run := func(kubeconfig string, code int, says string, args ...string) {
		t.Helper()
		got, out := spanloom(t, path, append(append([]string{"mesh"}, args...), "--kubeconfig", kubeconfig, "--backup-dir", backups)...)
		if got != code || !strings.Contains(out, says) {
			t.Errorf("spanloom mesh %s: exit %d, want %d with %q\n%s", strings.Join(args, " "), got, code, says, out)
		}
	}
	merge := func(manager, path, body string) {
		t.Helper()
		c.Do("PATCH", path+"?fieldManager="+manager, "application/merge-patch+json", body)
	}
	with := func(more ...string) []string { return append(slices.Clone(intent), more...) }

	t.Run("others write after the apply", func(t *testing.T) {
		begin()
		run(admin, 0, "done.", intent...)
		merge("kubectl-edit", telemetry, `{"spec":{"metrics":[{"providers":[{"name":"prometheus"}]}]}}`)
		text := str(c.everything()["ConfigMap istio"], "data", "mesh")
		merge("kubectl-edit", mesh, compact(map[string]any{"data": map[string]any{"mesh": strings.Replace(text, "# kept by the platform team", "# kept by us all", 1)}}))
		run(admin, 0, "left is what others wrote since: spec.metrics (kubectl-edit)", "rollback")
		all := c.everything()
		if got := str(all["ConfigMap istio"], "data", "mesh"); got != strings.Replace(meshText, "# kept by the platform team", "# kept by us all", 1) {
			t.Errorf("data.mesh:\n%s", got)
		}
		if got := compact(all["Telemetry mesh-default"].(map[string]any)["spec"]); strings.TrimSpace(got) != `{"accessLogging":[{"providers":[{"name":"envoy"}]}],"metrics":[{"providers":[{"name":"prometheus"}]}],"tracing":[{"providers":[{"name":"tempo"}],"randomSamplingPercentage":5}]}` {
			t.Error(got)
		}
	})
	t.Run("others change the same field", func(t *testing.T) {
		begin()
		run(admin, 0, "done.", intent...)
		merge("kubectl-edit", telemetry, `{"spec":{"tracing":[{"providers":[{"name":"spanloom"}],"randomSamplingPercentage":77}]}}`)
		run(admin, 0, "not taken back, because others changed it too: spec.tracing", "rollback")
		if got := compact(c.everything()["Telemetry mesh-default"]); !strings.Contains(got, `"randomSamplingPercentage":77`) {
			t.Error(got)
		}
	})
	t.Run("an object vanishes after the apply", func(t *testing.T) {
		begin()
		start := c.everything()
		run(admin, 0, "done.", intent...)
		c.Do("DELETE", telemetry, "", "")
		run(admin, 0, "made anew: it had vanished since", "rollback")
		if d := differences(contents(start), contents(c.everything())); d != "" {
			t.Error(d)
		}
	})
	t.Run("others take a field of our own object", func(t *testing.T) {
		begin()
		policy := c.Path("NetworkPolicy", "istio-system", "spanloom")
		ours := with("--for", "networkpolicy")
		run(admin, 0, "NetworkPolicy istio-system/spanloom: created", ours...)
		merge("kubectl-edit", policy, `{"spec":{"ingress":[{}]}}`)
		before := c.everything()
		run(admin, 2, "conflict: .spec.ingress is kept by kubectl-edit", ours...)
		if d := differences(before, c.everything()); d != "" {
			t.Error(d)
		}
		run(admin, 0, "done.", append(ours, "--force-conflicts")...)
		run(admin, 0, "", "rollback")
		run(admin, 0, "left as it is: others wrote to it: spec.ingress (kubectl-edit)", "rollback")
	})
	t.Run("others write to what the apply made", func(t *testing.T) {
		begin()
		c.Do("DELETE", telemetry, "", "")
		run(admin, 0, "Telemetry istio-system/mesh-default: created", intent...)
		merge("kubectl-edit", telemetry, `{"spec":{"accessLogging":[{"providers":[{"name":"envoy"}]}]}}`)
		run(admin, 0, "left is theirs: spec.accessLogging (kubectl-edit)", "rollback")
		if got := strings.TrimSpace(compact(c.everything()["Telemetry mesh-default"].(map[string]any)["spec"])); got != `{"accessLogging":[{"providers":[{"name":"envoy"}]}]}` {
			t.Error(got)
		}
		begin()
		c.Do("DELETE", telemetry, "", "")
		run(admin, 0, "done.", intent...)
		merge("kubectl-label", telemetry, `{"metadata":{"labels":{"x":"y"}}}`)
		run(admin, 0, "others had written to its metadata: metadata.labels.x (kubectl-label)", "rollback")
		if _, there := c.everything()["Telemetry mesh-default"]; there {
			t.Error("it is still there")
		}
	})
	t.Run("no rights", func(t *testing.T) {
		begin()
		c.Apply("tests", `
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: viewer}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: viewer}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: viewer}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: level1}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: patcher}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: [get, list, patch, create]}, {apiGroups: [""], resources: [configmaps], verbs: [update]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: patcher}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: patcher}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: level2}]}
`)
		start := c.everything()
		run(c.Kubeconfig("level1"), 2, "nothing was changed: ConfigMap istio-system/istio: no right to read or write it", intent...)
		run(c.Kubeconfig("level2"), 2, "Telemetry istio-system/mesh-default: no right to update it: a rollback would not be possible", intent...)
		run(c.Kubeconfig("nobody"), 2, "no right", intent...)
		if d := differences(start, c.everything()); d != "" {
			t.Error(d)
		}
	})
	t.Run("kept by Helm", func(t *testing.T) {
		begin()
		merge("helm", mesh, `{"metadata":{"annotations":{"meta.helm.sh/release-name":"istiod"}}}`)
		start := c.everything()
		run(admin, 2, "the Helm release istiod writes it anew with every upgrade", intent...)
		run(admin, 0, "+    - name: spanloom\n", "apply", "--istio-version", "1.28", "--sampling", "staging", "-o", "patch")
		if d := differences(start, c.everything()); d != "" {
			t.Error(d)
		}
		run(admin, 0, "done.", with("--force-owned")...)
	})
	t.Run("somebody undoes it", func(t *testing.T) {
		begin()
		g := c.gate()
		g.behind = func(int) bool {
			merge("controller", telemetry, `{"spec":{"tracing":[{"providers":[{"name":"tempo"}],"randomSamplingPercentage":5}]}}`)
			return true
		}
		run(c.KubeconfigAt(g.URL, kubeserver.Admin), 2, "it was written and is already another", intent...)
		run(admin, 0, "as it was before", "rollback")
	})
	t.Run("somebody writes at the same time", func(t *testing.T) {
		begin()
		g := c.gate()
		g.before = func(n int, _ *http.Request) bool {
			if n == 1 {
				merge("kubectl-edit", mesh, `{"data":{"meshNetworks":"networks: {n: {}}"}}`)
			}
			return true
		}
		run(c.KubeconfigAt(g.URL, kubeserver.Admin), 0, "somebody wrote it meanwhile, planning it anew", intent...)
		run(admin, 0, "ConfigMap istio-system/istio: as it was before", "rollback")
		if got := str(c.everything()["ConfigMap istio"], "data", "meshNetworks"); got != "networks: {n: {}}" {
			t.Errorf("what the other wrote is gone: %s", got)
		}
	})
	t.Run("two people apply at once", func(t *testing.T) {
		begin()
		other := t.TempDir()
		g := c.gate()
		g.before = func(n int, _ *http.Request) bool {
			if n == 1 {
				if code, out := spanloom(t, path, append(append([]string{"mesh"}, intent...), "--kubeconfig", admin, "--backup-dir", other)...); code != 0 {
					t.Errorf("the other: exit %d\n%s", code, out)
				}
			}
			return true
		}
		start := c.everything()
		run(c.KubeconfigAt(g.URL, kubeserver.Admin), 0, "it is as it should be, somebody else did it", intent...)
		run(admin, 0, "", "rollback") // nothing of it is ours
		backups = other
		run(admin, 0, "as it was before", "rollback")
		if d := differences(start, c.everything()); d != "" {
			t.Error(d)
		}
	})
	t.Run("an object vanishes in the middle", func(t *testing.T) {
		begin()
		g := c.gate()
		g.before = func(n int, _ *http.Request) bool {
			if n == 1 {
				c.Do("DELETE", mesh, "", "")
			}
			return true
		}
		run(c.KubeconfigAt(g.URL, kubeserver.Admin), 2, "it vanished meanwhile", intent...)
	})
	t.Run("from files", func(t *testing.T) {
		begin()
		file := filepath.Join(t.TempDir(), "mesh.yaml")
		if code, out := spanloom(t, path, "mesh", "render", "--istio-version", "1.28", "--sampling", "staging"); code != 0 || os.WriteFile(file, []byte(out), 0o600) != nil {
			t.Fatal(out)
		}
		run(admin, 0, "ConfigMap istio-system/istio: changed", "apply", "-f", file, "--yes")
		if got := str(c.everything()["ConfigMap istio"], "data", "mesh"); !strings.Contains(got, "# kept by the platform team\n") || !strings.Contains(got, "- name: spanloom\n") {
			t.Errorf("data.mesh:\n%s", got)
		}
		run(admin, 2, `there is no backup "yesterday"`, "rollback", "yesterday")
	})
	t.Run("a policy refuses", func(t *testing.T) {
		begin()
		c.Apply("tests", refusing)
		start := c.everything()
		wait.For(t, time.Minute, "the policy", func() bool {
			code, _ := c.Try("PATCH", telemetry+"?dryRun=All", "application/merge-patch+json", `{"metadata":{"labels":{"x":"y"}}}`)
			return code != 200
		})
		run(admin, 2, "a policy of this cluster refuses it", intent...)
		run(admin, 2, "telemetry is the platform team's", intent...)
		if d := differences(start, c.everything()); d != "" {
			t.Error(d)
		}
	})
}
