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
	"github.com/spanloom/spanloom/mesh/schema"
)

const (
	webAddress      = "10.1.1.1"
	gatewayAddress  = "10.1.1.2"
	waypointAddress = "10.1.1.6"
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
	waypoint   bool
	service    *ours.ServiceName // of a waypoint's case
	host       string            // the service's
	version    string            // of the proxy
	address    string            // of a waypoint, where it is not waypointAddress
	env        *float64          // PILOT_TRACE_SAMPLING
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
	fmt.Fprintf(&b, "spec: {containers: [{name: istio-proxy, image: istio/proxyv2:%s}]}\n---\n%s---\n%s", c.version, c.services, c.configs)
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
	o.Istio = "1.31.0" // of istiod; that of the files is the proxy's
	p := ours.Proxy{Namespace: c.namespace, Labels: c.labels, Gateway: c.gateway, Waypoint: c.waypoint, Service: c.service, Version: c.version}
	for _, w := range o.Workloads {
		if w.Name == "subject" && w.Config != nil && w.Config.Tracing != nil {
			p.Injected = w.Config
		}
	}
	policy := o.PolicyOf(&o.Meshes[0], c.env, p)
	return c.managedAs(policy.Client), c.managedAs(policy.Server)
}

func (c meshCase) managedAs(d ours.Direction) managed {
	if d.Decision == ours.Off || d.Reason == ours.ReasonUnknownHost {
		return managed{}
	}
	m := managed{tracing: true, sampling: d.Sampling, byID: d.RequestID, own: d.IstioTags, longest: d.MaxTag, silent: d.Silent}
	if d.Decision == ours.Provided {
		m.provider = c.sendsTo(d.Provider)
	}
	var tags []string
	for _, tag := range d.Tags {
		tags = append(tags, strings.TrimSpace(tag.Name+" "+tag.From+" "+tag.Of))
	}
	slices.Sort(tags)
	m.tags = strings.Join(tags, ", ")
	return m
}

// sendsTo is what the tracer made of a provider is, and where it sends.
func (c meshCase) sendsTo(p *ours.Provider) string {
	out := fmt.Sprintf("%s outbound|%d||%s", p.Type, p.Port, ours.HostOf(p.Service))
	switch {
	case p.Type == "zipkin":
		path := p.Path
		if path == "" {
			path = "/api/v2/spans"
		}
		out += " " + path
		if p.TraceContext == "USE_B3_WITH_W3C_PROPAGATION" && !schema.Less(c.version, "1.28") {
			out += " B3 and W3C"
		}
	case p.HTTP:
		out = strings.Replace(out, " ", " http ", 1) + " " + p.Path
	}
	if p.Sampler != "" {
		out += " " + p.Sampler
	}
	return out
}
