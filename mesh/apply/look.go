package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// Planned is a plan against a cluster, with what is to be sent for it.
type Planned struct {
	Plan *plan.Plan
	todo []*todo
}

// todo is one object to write.
type todo struct {
	id     ID
	change *plan.Change
	live   Object // as it is; nil: not there
	how    how
	body   Object
	after  Object // as the dry run answered
	step   *Step
}

func (p *Planned) find(id ID) *todo {
	for _, x := range p.todo {
		if x.id == id {
			return x
		}
	}
	return nil
}

// Look reads the objects that the parts concern, and plans. state is what else was read of the mesh, for words and owners.
func Look(ctx context.Context, c *Client, in render.Intent, parts []render.Part, state plan.State) (*Planned, error) {
	r := &reading{c: c, live: make(map[string]Object)}
	for _, part := range parts {
		if err := r.part(ctx, in, part); err != nil {
			return nil, err
		}
	}
	state.Owners = make(map[string]istio.Owner)
	var files []plan.File
	for i, o := range r.order {
		id := IDOf(o)
		if data, err := json.Marshal(o); err == nil {
			state.Owners[id.String()] = istio.OwnerOf(data)
		}
		shown := content(o)
		if notes, ok := at(shown, "metadata", "annotations").(map[string]any); ok {
			delete(notes, "kubectl.kubernetes.io/last-applied-configuration")
			if len(notes) == 0 {
				delete(shown["metadata"].(map[string]any), "annotations")
			}
		}
		text, err := toYAML(shown)
		if err != nil {
			return nil, describe(id, err)
		}
		files = append(files, plan.File{Name: strings.ToLower(fmt.Sprintf("cluster/%02d-%s-%s-%s.yaml", i+1, id.Kind, id.Namespace, id.Name)), Text: text})
	}
	p, err := plan.Parts(in, parts, files, state)
	if err != nil {
		return nil, err
	}
	out := &Planned{Plan: p}
	for i := range p.Changes {
		x, err := r.todo(&p.Changes[i])
		if err != nil {
			return nil, err
		}
		if out.find(x.id) == nil {
			out.todo = append(out.todo, x)
		}
	}
	return out, nil
}

// reading collects the live objects of a plan.
type reading struct {
	c     *Client
	live  map[string]Object
	order []Object
}

func (r *reading) take(o Object) {
	if key := IDOf(o).String(); o != nil && r.live[key] == nil {
		r.live[key] = o
		r.order = append(r.order, o)
	}
}

func (r *reading) part(ctx context.Context, in render.Intent, part render.Part) error {
	switch part.Target {
	case render.Helm, render.IstioOperator:
		return &problem.Problem{Kind: problem.Invalid, Field: "--for", Message: fmt.Sprintf("%s is no object of a cluster", part.Target), Hint: "`spanloom mesh plan -f DIR -o patch` changes the file; apply writes --for configmap"}
	case render.SDKEnv:
		for _, w := range in.Workloads {
			for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
				o, err := r.c.Get(ctx, ID{"apps/v1", kind, w.Namespace, w.Name})
				if err != nil {
					return err
				}
				r.take(o)
			}
		}
		return nil
	}
	wants, err := documents(part.YAML)
	if err != nil {
		return err
	}
	for _, want := range wants {
		id := IDOf(want)
		switch {
		case part.Target == render.ConfigMap || id.Kind == "ConfigMap" && (part.Target == render.Kiali || part.Target == render.Grafana):
			err = r.configMaps(ctx, id)
		case part.Target == render.Kiali:
			var all []Object
			if all, err = r.c.List(ctx, ID{APIVersion: id.APIVersion, Kind: id.Kind}, ""); err == nil {
				for _, o := range all {
					r.take(o)
				}
			}
			continue
		}
		if err != nil {
			return err
		}
		o, err := r.c.Get(ctx, id)
		if err != nil {
			return describe(id, explain(err))
		}
		r.take(o)
	}
	return nil
}

// configMaps takes those that hold a document: mesh configuration of each revision, Kiali's, Grafana's of the addon.
func (r *reading) configMaps(ctx context.Context, id ID) error {
	all, err := r.c.List(ctx, ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: id.Namespace}, "")
	if isCode(err, http.StatusForbidden) {
		return nil // then the one that is named has to do
	}
	for _, o := range all {
		name := str(o, "metadata", "name")
		mesh := istio.IsMeshName(name) && str(o, "data", "mesh") != ""
		if mesh || strings.Contains(name, "kiali") && str(o, "data", "config.yaml") != "" || str(o, "data", "datasources.yaml") != "" {
			r.take(o)
		}
	}
	return err
}

// todo is how a change is sent.
func (r *reading) todo(c *plan.Change) (*todo, error) {
	x := &todo{change: c}
	after, err := fromYAML(c.After)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Object, err)
	}
	x.id = IDOf(after)
	x.live = r.live[x.id.String()]
	if x.live == nil {
		x.how, x.body = asApply, after
		return x, nil
	}
	x.id = IDOf(x.live)
	before, err := fromYAML(c.Before)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Object, err)
	}
	version := str(x.live, "metadata", "resourceVersion")
	patch := mergePatch(before, after)
	switch {
	case c.InString:
		x.how, x.body = asPut, patched(clone(x.live), patch)
	case c.Want != "" && ours(x.live):
		if x.body, err = fromYAML(c.Want); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Object, err)
		}
		x.how = asApply
		x.body = patched(x.body, Object{"metadata": Object{"resourceVersion": version}})
	default:
		x.how = asMerge
		x.body = patched(patch, Object{"apiVersion": x.id.APIVersion, "kind": x.id.Kind, "metadata": Object{"resourceVersion": version}})
		for _, path := range leaves(mergePatch(before, after), nil) {
			if who := keepers(x.live, path); len(who) > 0 {
				c.Does += fmt.Sprintf("; %s was written by %s", dotted(path), strings.Join(who, ", "))
			}
		}
	}
	return x, nil
}

// documents reads a stream of objects.
func documents(text string) ([]Object, error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	var out []Object
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		o, err := decode(data)
		if err != nil {
			return nil, err
		}
		if items, ok := o["items"].([]any); ok && strings.HasSuffix(str(o, "kind"), "List") {
			for _, item := range items {
				if m, ok := item.(map[string]any); ok {
					out = append(out, m)
				}
			}
			continue
		}
		out = append(out, o)
	}
}

// Files takes objects that were written beforehand, as `mesh render` writes them: each document becomes a part, and what
// is a piece of something larger is merged as such. The error names the file.
func Files(files []plan.File) ([]render.Part, error) {
	var out []render.Part
	for _, f := range files {
		docs, err := documents(f.Text)
		if err != nil {
			return nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: fmt.Sprintf("%s cannot be read", f.Name), Hint: "give YAML of Kubernetes objects", Err: err}
		}
		for _, o := range docs {
			id := IDOf(o)
			if id.APIVersion == "" || id.Kind == "" || id.Name == "" {
				return nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: fmt.Sprintf("%s holds a document without apiVersion, kind or name", f.Name), Hint: "values of Helm and environment are no objects: `spanloom mesh plan -f DIR` merges those into files"}
			}
			if id.Kind == "Secret" {
				return nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: fmt.Sprintf("%s holds a Secret", f.Name), Hint: "backups would hold it in plain text: apply it by kubectl"}
			}
			text, err := toYAML(o)
			if err != nil {
				return nil, err
			}
			out = append(out, render.Part{Target: targetOf(o), YAML: text})
		}
	}
	order := func(p render.Part) int { return slices.Index(render.Targets, p.Target) }
	slices.SortStableFunc(out, func(a, b render.Part) int { return order(a) - order(b) })
	return out, nil
}

// targetOf tells what a document is for; empty for any other object.
func targetOf(o Object) render.Target {
	id := IDOf(o)
	switch id.Kind {
	case "ConfigMap":
		switch {
		case istio.IsMeshName(id.Name) && str(o, "data", "mesh") != "":
			return render.ConfigMap
		case strings.Contains(id.Name, "kiali") && str(o, "data", "config.yaml") != "":
			return render.Kiali
		case str(o, "metadata", "labels", "grafana_datasource")+str(o, "metadata", "labels", "grafana_dashboard") != "":
			return render.Grafana
		}
	case "Kiali":
		return render.Kiali
	case "IstioOperator":
		return render.IstioOperator
	case "Telemetry":
		return render.Telemetry
	case "EnvoyFilter":
		return render.EnvoyFilter
	case "NetworkPolicy":
		return render.NetworkPolicy
	case "ServiceEntry":
		return render.ServiceEntry
	case "ServiceMonitor", "PodMonitor", "PrometheusRule":
		return render.Prometheus
	}
	return ""
}

// Note adds what a person has to know besides: EnvoyFilters that set a tracer of their own go past what is applied.
func Note(p *plan.Plan, in render.Intent, o *istio.Objects) {
	if o == nil || slices.Contains(in.Targets, render.EnvoyFilter) || !slices.Contains(in.Targets, render.Telemetry) {
		return
	}
	for _, f := range o.EnvoyFilters {
		if slices.ContainsFunc(f.Patches, func(p istio.Patch) bool { return p.Tracer != "" || p.Bootstrap }) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s sets a tracer past Istio's configuration, and goes on to do so where it applies: it is not changed here. Remove it when `spanloom mesh verify` shows that the Telemetry works without it", f.Ref))
		}
	}
}
