package plan

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/mesh/render"
)

// ownVariables are those that an application may have set for itself: they are not overwritten.
var ownVariables = []string{"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "POD_NAMESPACE", "APP_LABEL"}

// environment plans the variables of OpenTelemetry SDKs for the workloads that are named.
func (m *maker) environment(part render.Part) error {
	if len(m.in.Workloads) == 0 {
		m.note("opentelemetry-env is for containers with an OpenTelemetry SDK: name them with --workload NAMESPACE/NAME")
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(part.YAML), &doc); err != nil {
		return err
	}
	_, env := find(doc.Content[0], "env")
	for _, w := range m.in.Workloads {
		found := false
		for _, d := range m.documents() {
			if d.root == nil || d.ref.Name != w.Name || d.ref.Namespace != w.Namespace || !slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet", "Rollout"}, d.ref.Kind) {
				continue
			}
			found = true
			container := containerOf(d.root, w.Container)
			if container == nil {
				m.note(fmt.Sprintf("%s has no container %s", d.ref, w.Container))
				continue
			}
			add := container.with(env)
			for _, p := range []string{"containers", "spec", "template", "spec"} {
				add = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: p}, add}}
			}
			after, err := editDeep(d.text, add)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", d.ref.File, d.line, err)
			}
			m.change(part.Target, d, after, &document{}, false)
		}
		if !found {
			m.note(fmt.Sprintf("no workload %s is %s", w, m.place()))
		}
	}
	return nil
}

// container is one container of a pod template.
type container struct {
	name string
	has  map[string]bool // its variables
}

func containerOf(root *yaml.Node, name string) *container {
	n := root
	for _, p := range []string{"spec", "template", "spec", "containers"} {
		if !has(n, p) {
			return nil
		}
		_, n = find(n, p)
	}
	for _, c := range n.Content {
		own := text(c, "name")
		if own == "" || name != "" && own != name || name == "" && own == "istio-proxy" {
			continue
		}
		out := &container{name: own, has: make(map[string]bool)}
		if _, env := find(c, "env"); env != nil {
			for _, v := range env.Content {
				out.has[text(v, "name")] = true
			}
		}
		return out
	}
	return nil
}

// with is the list of containers that adds the variables to this one; what it has of its own stays.
func (c *container) with(env *yaml.Node) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, v := range env.Content {
		if name := text(v, "name"); !c.has[name] || !slices.Contains(ownVariables, name) {
			list.Content = append(list.Content, v)
		}
	}
	scalar := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }
	return &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("name"), scalar(c.name), scalar("env"), list}}}}
}
