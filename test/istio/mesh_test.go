package istio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/doctor/collect"
	ours "github.com/spanloom/spanloom/mesh/istio"
)

const (
	webAddress     = "10.1.1.1"
	gatewayAddress = "10.1.1.2"
)

// meshCase is a mesh and one proxy in it.
type meshCase struct {
	mesh       string // mesh.yaml
	configs    string // Istio's objects
	services   string // Kubernetes Services and what stands behind them
	annotation string // proxy.istio.io/config of the pod
	namespace  string
	labels     map[string]string
	gateway    bool
}

// yaml is the mesh as people write it down.
func (c meshCase) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n%s", indent(c.mesh, 4))
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: subject\n  namespace: %s\n  labels: {", c.namespace)
	for _, k := range keys(c.labels) {
		fmt.Fprintf(&b, "%s: %s, ", k, c.labels[k])
	}
	b.WriteString("}\n")
	if c.annotation != "" {
		fmt.Fprintf(&b, "  annotations:\n    proxy.istio.io/config: |\n%s", indent(c.annotation, 6))
	}
	fmt.Fprintf(&b, "spec: {containers: [{name: istio-proxy, image: istio/proxyv2:1.31.0}]}\n---\n%s---\n%s", c.services, c.configs)
	return b.String()
}

func indent(s string, n int) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.Repeat(" ", n) + line)
	}
	return b.String()
}

func keys(m map[string]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// computed is what mesh/istio says of the same mesh and proxy.
func computed(t *testing.T, c meshCase) (client, server managed) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte(c.yaml()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := collect.Files(t.Context(), []string{file}, collect.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, c.yaml())
	}
	o := &f.Objects
	o.Index()
	if len(o.Meshes) != 1 {
		t.Fatalf("%d mesh configurations read\n%s", len(o.Meshes), c.yaml())
	}
	p := ours.Proxy{Namespace: c.namespace, Labels: c.labels, Gateway: c.gateway}
	for _, w := range o.Workloads {
		if w.Name == "subject" && w.Config != nil && w.Config.Tracing != nil {
			p.Injected = w.Config
		}
	}
	policy := o.PolicyOf(&o.Meshes[0], nil, p)
	return managedAs(policy.Client), managedAs(policy.Server)
}

func managedAs(d ours.Direction) managed {
	if d.Decision == ours.Off || d.Reason == ours.ReasonUnknownHost {
		return managed{}
	}
	m := managed{tracing: true, sampling: d.Sampling, byID: d.RequestID}
	if d.Decision == ours.Provided {
		p := d.Provider
		host := p.Service
		if _, h, ok := strings.Cut(host, "/"); ok {
			host = h
		}
		kind := p.Type
		if p.HTTP {
			kind += " http"
		}
		m.provider = fmt.Sprintf("%s outbound|%d||%s", kind, p.Port, host)
	}
	var tags []string
	for _, tag := range d.Tags {
		tags = append(tags, tag.Name)
	}
	slices.Sort(tags)
	m.tags = strings.Join(tags, ",")
	return m
}
