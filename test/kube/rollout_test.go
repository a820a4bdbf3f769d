package kube

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/kubeserver"
	"github.com/spanloom/spanloom/internal/wait"
)

const rolloutObjects = `
{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: "rootNamespace: istio-system"}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: shop}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {containers: [{name: istio-proxy, image: proxyv2}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: istio-proxy, image: proxyv2}]}}}}
`

// pod makes the pod of a Deployment as its controllers would, started at a time.
func (c *cluster) pod(name, suffix, started string) {
	c.Apply("controllers", fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %[1]s-5d4f8b9c7-%[2]s, namespace: shop, labels: {app: %[1]s, pod-template-hash: 5d4f8b9c7}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: %[1]s-5d4f8b9c7, uid: u-%[1]s, controller: true}]},
 spec: {containers: [{name: istio-proxy, image: proxyv2}]}, status: {phase: Running, startTime: %[3]q, conditions: [{type: Ready, status: "True"}]}}`, name, suffix, started))
}

// The test plays the controllers: web never becomes ready, the rollout stops and names it, and goes on when it is mended.
func TestRolloutStopsAtTheFirstThatFails(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("somebody", rolloutObjects)
	for _, n := range []string{"api", "web"} {
		c.pod(n, "aaaaa", "2026-01-01T00:00:00Z")
	}
	path, backups, kubeconfig := build(t), filepath.Join(c.dir, "backups"), c.Kubeconfig(kubeserver.Admin)
	end := []string{"--yes", "--kubeconfig", kubeconfig, "--backup-dir", backups}
	args := append([]string{"mesh", "rollout", "--no-spans", "--ready-within", "3s"}, end...)
	if code, out := spanloom(t, path, args...); code != 2 || !strings.Contains(out, "no `mesh apply` changed the mesh configuration") {
		t.Errorf("exit %d %s", code, out)
	}
	if code, out := spanloom(t, path, append([]string{"mesh", "apply", "--istio-version", "1.28", "--for", "configmap"}, end...)...); code != 0 {
		t.Fatalf("exit %d %s", code, out)
	}
	deployment := func(name string) (v struct {
		Metadata struct{ Generation int }
		Spec     struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
	}) {
		if err := json.Unmarshal(c.Do("GET", "/apis/apps/v1/namespaces/shop/deployments/"+name, "", ""), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	ready := func(name string) {
		c.Do("PATCH", "/apis/apps/v1/namespaces/shop/deployments/"+name+"/status", "application/merge-patch+json",
			fmt.Sprintf(`{"status":{"observedGeneration":%d,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`, deployment(name).Metadata.Generation))
		c.Do("DELETE", "/api/v1/namespaces/shop/pods/"+name+"-5d4f8b9c7-aaaaa?gracePeriodSeconds=0", "", "")
		c.pod(name, "bbbbb", "2099-01-01T00:00:00Z")
	}
	restarted := func(name string) bool {
		return deployment(name).Spec.Template.Metadata.Annotations["kubectl.kubernetes.io/restartedAt"] != ""
	}
	code, out := spanloom(t, path, args...) // nobody plays the controller
	if code != 2 || !strings.Contains(out, "Deployment shop/api is not ready after 3s") || !restarted("api") || restarted("web") {
		t.Fatalf("exit %d %s", code, out)
	}
	ready("api")
	ended := make(chan string)
	long := append([]string{}, args...)
	long[4] = "1m"
	go func() {
		out, err := exec.CommandContext(t.Context(), path, long...).CombinedOutput()
		ended <- fmt.Sprintf("%v %s", err, out)
	}()
	wait.For(t, time.Minute, "the restart of web", func() bool { return restarted("web") })
	ready("web")
	if out := <-ended; !strings.HasPrefix(out, "<nil>") || strings.Contains(out, "shop/api") {
		t.Errorf("%s", out)
	}
	if code, out := spanloom(t, path, args...); code != 0 || !strings.Contains(out, "no workload runs a proxy from before") {
		t.Errorf("exit %d %s", code, out)
	}
}
