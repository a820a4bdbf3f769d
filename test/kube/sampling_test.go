package kube

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/kubeserver"
)

// A raise writes the Job and its rights before the Telemetry; with those rights alone the Job's own command line takes it
// back, and may do nothing else.
func TestSamplingRaise(t *testing.T) {
	c := startCluster(t)
	c.istioCRDs()
	c.Apply("tests", applied)
	c.Apply("tests", `
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: x}]}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: shop}, spec: {selector: {matchLabels: {app: api}}, template: {metadata: {labels: {app: api}}, spec: {containers: [{name: app, image: x}]}}}}
---
{apiVersion: telemetry.istio.io/v1, kind: Telemetry, metadata: {name: own, namespace: shop}, spec: {selector: {matchLabels: {app: api}}, tracing: [{randomSamplingPercentage: 7}]}}
`)
	path, admin := build(t), c.Kubeconfig(kubeserver.Admin)
	run := func(kubeconfig string, code int, says string, args ...string) string {
		t.Helper()
		got, out := spanloom(t, path, append(append([]string{"mesh", "sampling"}, args...), "--kubeconfig", kubeconfig)...)
		if got != code || !strings.Contains(out, says) {
			t.Errorf("spanloom mesh sampling %s: exit %d, want %d with %q\n%s", strings.Join(args, " "), got, code, says, out)
		}
		return out
	}
	list := c.Path("Telemetry", "shop", "")
	raised := list + "/spanloom-raise-web"

	run(admin, 2, "Telemetry shop/own decides for shop/api already", "raise", "shop/api")
	run(admin, 2, "there is no Deployment, StatefulSet or DaemonSet shop/nobody", "raise", "shop/nobody")
	run(admin, 2, "--for: 5s is too short", "raise", "shop/web", "--for", "5s")
	run(admin, 2, "--percent: 101 is no rate", "raise", "shop/web", "--percent", "101")
	text := run(admin, 0, "kind: Job", "raise", "shop/web", "-o", "yaml")
	if code, _ := c.Try("GET", raised, "", ""); code != 404 || !strings.Contains(text, "resourceNames:\n  - spanloom-raise-web\n") {
		t.Errorf("-o yaml wrote it (%d), or the role is wide:\n%s", code, text)
	}
	run(c.Kubeconfig("nobody"), 2, "no right", "raise", "shop/web")
	run(admin, 0, "shop/web traces 50 % until", "raise", "shop/web", "--percent", "50")
	var got struct {
		Metadata struct{ Annotations map[string]string }
		Spec     any
	}
	if err := json.Unmarshal(c.Do("GET", raised, "", ""), &got); err != nil {
		t.Fatal(err)
	}
	if s := strings.TrimSpace(compact(got.Spec)); s != `{"selector":{"matchLabels":{"app":"web"}},"tracing":[{"randomSamplingPercentage":50}]}` {
		t.Error(s)
	}
	var jobs struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct {
				Template struct {
					Spec struct {
						ServiceAccountName string
						Containers         []struct{ Args []string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(c.Do("GET", "/apis/batch/v1/namespaces/shop/jobs", "", ""), &jobs); err != nil || len(jobs.Items) != 1 {
		t.Fatalf("%v, %d Jobs", err, len(jobs.Items))
	}
	job := jobs.Items[0]
	account := job.Spec.Template.Spec.ServiceAccountName
	if !strings.Contains(string(c.Do("GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/"+account, "", "")), `"kind":"Job","name":"`+job.Metadata.Name+`"`) {
		t.Error("the Role does not go with its Job")
	}
	var token struct{ Status struct{ Token string } }
	if err := json.Unmarshal(c.Do("POST", "/api/v1/namespaces/shop/serviceaccounts/"+account+"/token", "application/json", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`), &token); err != nil {
		t.Fatal(err)
	}
	account = c.KubeconfigFor("job", token.Status.Token)

	// The Job's own command, with an end that is over: what was raised again since is left to its own Job.
	args := job.Spec.Template.Spec.Containers[0].Args
	if args[0] != "mesh" || args[2] != "return" || args[5] != got.Metadata.Annotations["spanloom.io/sampling-expires"] {
		t.Fatal(args)
	}
	run(account, 0, "raised again until", "return", "shop/web", "--expires", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
	run(account, 2, "no right", "return", "shop/api")
	run(account, 0, "deleted, the rate is as it was", "return", "shop/web")
	run(account, 0, "returned already", "return", "shop/web")
	if code, _ := c.Try("GET", list+"/own", "", ""); code != 200 {
		t.Error("another Telemetry is gone")
	}
}
