package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
)

// Raise is a sampling rate for one workload and for a time.
type Raise struct {
	Namespace, Workload string
	Percent             float64
	For                 time.Duration
	Image               string // of the Job that returns it
}

// The bounds of a raise.
const (
	MinRaise = time.Minute
	MaxRaise = 24 * time.Hour
)

// ParseRaise checks a raise. The error names the flag, its value and what to write instead.
func ParseRaise(target string, percent float64, d time.Duration, image string) (Raise, error) {
	ns, name, ok := strings.Cut(target, "/")
	switch {
	case !ok || ns == "" || name == "" || strings.Contains(name, "/"):
		return Raise{}, &problem.Problem{Kind: problem.Invalid, Field: "WORKLOAD", Message: fmt.Sprintf("%q is no workload", target), Hint: "write NAMESPACE/NAME of a Deployment, StatefulSet or DaemonSet"}
	case !(percent >= 0.01 && percent <= 100):
		return Raise{}, &problem.Problem{Kind: problem.Invalid, Field: "--percent", Message: fmt.Sprintf("%v is no rate", percent), Hint: "write a percentage from 0.01 to 100"}
	case d < MinRaise || d > MaxRaise:
		return Raise{}, &problem.Problem{Kind: problem.Invalid, Field: "--for", Message: d.String() + " is too short or too long", Hint: "from 1m to 24h; for longer, change the Telemetry of the workload"}
	case len(raiseName(name)) > 52: // pods of a Job have more behind its name
		return Raise{}, &problem.Problem{Kind: problem.Invalid, Field: "WORKLOAD", Message: fmt.Sprintf("%q is too long for the name of a Job", name), Hint: "set the rate in a Telemetry of your own"}
	}
	return Raise{ns, name, percent, d, image}, nil
}

func raiseName(workload string) string { return "spanloom-raise-" + workload }

// id is that of the raise's Telemetry.
func (r Raise) id() ID {
	return ID{"telemetry.istio.io/v1", "Telemetry", r.Namespace, raiseName(r.Workload)}
}

// Selected finds the labels of the workload's pods, and refuses where another Telemetry selects them already: istiod takes
// the older of two.
func Selected(ctx context.Context, c *Client, r Raise) (map[string]any, error) {
	var labels map[string]any
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		o, err := c.Get(ctx, ID{"apps/v1", kind, r.Namespace, r.Workload})
		if err != nil {
			return nil, explain(err)
		}
		if m, ok := at(o, "spec", "selector", "matchLabels").(map[string]any); ok && o != nil {
			labels = m
			break
		}
	}
	if labels == nil {
		return nil, &problem.Problem{Kind: problem.NotFound, Field: "WORKLOAD", Message: fmt.Sprintf("there is no Deployment, StatefulSet or DaemonSet %s/%s with matchLabels", r.Namespace, r.Workload), Hint: "kubectl get deployments -n " + r.Namespace}
	}
	all, err := c.List(ctx, ID{APIVersion: r.id().APIVersion, Kind: "Telemetry", Namespace: r.Namespace}, "")
	if err != nil {
		return nil, explain(err)
	}
	for _, t := range all {
		selector, _ := at(t, "spec", "selector", "matchLabels").(map[string]any)
		if str(t, "metadata", "name") == r.id().Name || at(t, "spec", "tracing") == nil || len(selector) == 0 {
			continue
		}
		matches := true
		for k, v := range selector {
			matches = matches && labels[k] == v
		}
		if matches {
			return nil, problem.New(problem.Invalid, fmt.Sprintf("%s decides for %s/%s already, and istiod takes the older of two", IDOf(t), r.Namespace, r.Workload), "change randomSamplingPercentage in it")
		}
	}
	return labels, nil
}

// Objects are what a raise writes, in this order: the Job that will return it and its rights first, so that there is no moment
// in which the rate is up and nobody returns it. All but the Telemetry belong to the Job and go with it.
func (r Raise) Objects(labels map[string]any, now time.Time) []Object {
	expires := now.Add(r.For).UTC().Truncate(time.Second)
	name := r.id().Name
	job := name + "-" + strconv.FormatInt(expires.Unix()%1e6, 36)
	meta := func(name string) Object {
		return Object{"name": name, "namespace": r.Namespace, "labels": Object{"app.kubernetes.io/managed-by": Manager}}
	}
	telemetry := meta(name)
	telemetry["annotations"] = Object{istio.ExpiresAnnotation: expires.Format(time.RFC3339)}
	return []Object{
		{"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(job), "spec": Object{
			"ttlSecondsAfterFinished": int64(600), "backoffLimit": int64(20), "activeDeadlineSeconds": int64((r.For + time.Hour) / time.Second),
			"template": Object{
				"metadata": Object{"labels": Object{"app.kubernetes.io/managed-by": Manager, "sidecar.istio.io/inject": "false"}},
				"spec": Object{"serviceAccountName": job, "restartPolicy": "OnFailure",
					"securityContext": Object{"runAsNonRoot": true, "runAsUser": int64(10001), "seccompProfile": Object{"type": "RuntimeDefault"}},
					"containers": []any{Object{"name": "return", "image": r.Image, "args": []any{"mesh", "sampling", "return", r.Namespace + "/" + r.Workload, "--expires", expires.Format(time.RFC3339)},
						"resources":       Object{"requests": Object{"cpu": "5m", "memory": "32Mi"}, "limits": Object{"memory": "128Mi"}},
						"securityContext": Object{"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": Object{"drop": []any{"ALL"}}}}}}}}},
		{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(job)},
		{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta(job), "rules": []any{
			Object{"apiGroups": []any{"telemetry.istio.io"}, "resources": []any{"telemetries"}, "resourceNames": []any{name}, "verbs": []any{"get", "delete"}}}},
		{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta(job),
			"roleRef":  Object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": job},
			"subjects": []any{Object{"kind": "ServiceAccount", "name": job, "namespace": r.Namespace}}},
		{"apiVersion": r.id().APIVersion, "kind": "Telemetry", "metadata": telemetry, "spec": Object{
			"selector": Object{"matchLabels": labels}, "tracing": []any{Object{"randomSamplingPercentage": r.Percent}}}},
	}
}

// YAML are the objects as one stream.
func YAML(objects []Object) (string, error) {
	var b strings.Builder
	for i, o := range objects {
		text, err := toYAML(o)
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Up writes a raise after the API server tried all of it. Run again, it begins a new time.
func Up(ctx context.Context, c *Client, objects []Object, say func(string, ...any)) error {
	for _, dry := range []bool{true, false} {
		var owner Object
		for _, o := range objects {
			body := clone(o)
			if owner != nil && str(o, "kind") != "Telemetry" {
				body = patched(body, Object{"metadata": Object{"ownerReferences": []any{owner}}})
			}
			got, _, err := c.write(ctx, IDOf(o), asApply, body, dry, false)
			if err != nil {
				err = describe(IDOf(o), explain(err))
				if dry {
					return fmt.Errorf("nothing was changed: %w", err)
				}
				return fmt.Errorf("%w\nRun it again; what was written so far belongs to the Job and ends with it", err)
			}
			if dry {
				continue
			}
			if str(o, "kind") == "Job" {
				owner = Object{"apiVersion": "batch/v1", "kind": "Job", "name": str(got, "metadata", "name"), "uid": str(got, "metadata", "uid")}
			}
			say("%s: written", IDOf(o))
		}
	}
	return nil
}

// Return takes a raise back when its time is over, for which it waits; at once if expires is zero. An API server that is away is
// an error: Kubernetes starts the Job's pod again. One that was raised again meanwhile is left to its own Job.
func Return(ctx context.Context, c *Client, r Raise, expires time.Time, now func() time.Time, say func(string, ...any)) error {
	if d := expires.Sub(now()); !expires.IsZero() && d > 0 {
		say("%s/%s: waiting until %s", r.Namespace, r.Workload, expires.Format(time.RFC3339))
		if err := pause.For(ctx, d); err != nil {
			return err
		}
	}
	live, err := c.Get(ctx, r.id())
	if err != nil {
		return describe(r.id(), explain(err))
	}
	if live == nil {
		say("%s: returned already", r.id())
		return nil
	}
	until, err := time.Parse(time.RFC3339, str(live, "metadata", "annotations", istio.ExpiresAnnotation))
	if err != nil {
		return describe(r.id(), problem.New(problem.Invalid, "it has no annotation "+istio.ExpiresAnnotation+" with a time", "somebody changed it: delete it by hand if it is no longer wanted"))
	}
	if !expires.IsZero() && until.After(expires) {
		say("%s: raised again until %s, which its own Job ends", r.id(), until.Format(time.RFC3339))
		return nil
	}
	if err := c.remove(ctx, live); err != nil {
		var refused *Refusal
		if errors.As(err, &refused) && refused.Code == http.StatusConflict {
			return describe(r.id(), problem.New(problem.Unavailable, "somebody changed it in this moment", "run it again"))
		}
		return describe(r.id(), explain(err))
	}
	say("%s: deleted, the rate is as it was", r.id())
	return nil
}
