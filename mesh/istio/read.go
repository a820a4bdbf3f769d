package istio

import (
	"fmt"
	"path"
	"strings"

	"github.com/spanloom/spanloom/mesh/schema"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// Reader reads files into Objects. Minor is the Istio minor that unknown fields are judged by; empty means any.
type Reader struct {
	Objects
	Minor   string
	NoLines bool // objects of a cluster have none

	file string
}

// File reads one YAML or JSON file. The error says that nothing of it can be read; a broken document or an object that
// is not as its schema has it becomes a note.
func (r *Reader) File(name string, data []byte) error {
	docs, err := yamldoc.Read(data)
	if err != nil {
		return err
	}
	r.file = name
	for _, d := range docs {
		if d.Err != nil {
			hint := "a document that cannot be parsed is not applied either"
			if strings.Contains(string(data), "{{") {
				hint = "it looks like a template of Helm: check the output of `helm template`"
			}
			r.Notes = append(r.Notes, Note{Ref: Ref{File: name, Line: d.Line}, Reason: "syntax", Message: d.Err.Error(), Hint: hint})
			continue
		}
		if r.NoLines {
			withoutLines(d.Root)
		}
		for _, n := range d.Notes {
			r.Notes = append(r.Notes, Note{Ref: Ref{File: name, Line: n.Line}, Reason: "twice", Message: n.Message})
		}
		r.object(d.Root, 0)
	}
	return nil
}

// object reads one object, and each of a list.
func (r *Reader) object(v *yamldoc.Value, depth int) {
	kind := v.Get("kind").Str()
	if v.Kind == yamldoc.List && depth == 0 {
		for _, item := range v.Items {
			r.object(item, depth+1)
		}
		return
	}
	if items := v.Get("items"); items != nil && items.Kind == yamldoc.List && strings.HasSuffix(kind, "List") && depth < 2 {
		for _, item := range items.Items {
			if item.Get("kind") == nil && item != nil && item.Kind == yamldoc.Map {
				item.Fields = append(item.Fields, yamldoc.Field{Name: "kind", Line: item.Line, Value: &yamldoc.Value{Kind: yamldoc.String, Text: strings.TrimSuffix(kind, "List"), Line: item.Line}})
				if item.Get("apiVersion") == nil { // the API server leaves both out of lists
					item.Fields = append(item.Fields, yamldoc.Field{Name: "apiVersion", Line: item.Line, Value: v.Get("apiVersion")})
				}
			}
			r.object(item, depth+1)
		}
		return
	}
	if v == nil || v.Kind != yamldoc.Map {
		return
	}
	if kind == "" || v.Get("apiVersion") == nil && v.Get("metadata") == nil {
		r.kindless(v)
		return
	}
	if r.Counts == nil {
		r.Counts = make(map[string]int)
	}
	r.Counts[kind]++
	group, _, _ := strings.Cut(v.Get("apiVersion").Str(), "/")
	if read, ok := readers[kind]; ok && (read.group == "" || group == "" || strings.Contains(group, read.group)) {
		read.with(r, v, r.ref(v, kind))
	}
}

// readers by kind. A kind that two projects use is told apart by its group.
var readers = map[string]struct {
	group string
	with  func(*Reader, *yamldoc.Value, Ref)
}{
	"ConfigMap":          {"", (*Reader).configMap},
	"IstioOperator":      {"istio.io", (*Reader).operator},
	"Telemetry":          {"istio.io", (*Reader).telemetry},
	"EnvoyFilter":        {"istio.io", (*Reader).envoyFilter},
	"ProxyConfig":        {"istio.io", (*Reader).proxyConfigObject},
	"Service":            {"v1", (*Reader).service},
	"ServiceEntry":       {"istio.io", (*Reader).serviceEntry},
	"EndpointSlice":      {"discovery.k8s.io", (*Reader).endpointSlice},
	"Endpoints":          {"v1", (*Reader).endpoints},
	"DestinationRule":    {"istio.io", (*Reader).destinationRule},
	"PeerAuthentication": {"istio.io", (*Reader).peerAuthentication},
	"Sidecar":            {"istio.io", (*Reader).sidecar},
	"NetworkPolicy":      {"networking.k8s.io", (*Reader).networkPolicy},
	"Namespace":          {"v1", (*Reader).namespace},
	"VirtualService":     {"istio.io", (*Reader).virtualService},
	"HTTPRoute":          {"gateway.networking.k8s.io", (*Reader).httpRoute},
	"Gateway":            {"gateway.networking.k8s.io", (*Reader).gatewayObject},
	"Deployment":         {"", (*Reader).workload},
	"StatefulSet":        {"", (*Reader).workload},
	"DaemonSet":          {"", (*Reader).workload},
	"ReplicaSet":         {"", (*Reader).workload},
	"Job":                {"", (*Reader).workload},
	"CronJob":            {"", (*Reader).workload},
	"Rollout":            {"argoproj.io", (*Reader).workload},
	"Pod":                {"v1", (*Reader).workload},
	"Kiali":              {"kiali.io", (*Reader).kialiObject},
	"GrafanaDatasource":  {"", (*Reader).grafanaDatasource},
}

// kindless reads a document that is no object: mesh configuration itself, values of a chart, a bootstrap.
func (r *Reader) kindless(v *yamldoc.Value) {
	ref := Ref{File: r.file, Line: v.Line}
	has := func(names ...string) bool {
		for _, n := range names {
			if v.Get(n) != nil {
				return true
			}
		}
		return false
	}
	base := path.Base(r.file)
	switch {
	case v.Get("tracing", "http") != nil:
		ref.Kind, ref.Name = "Bootstrap", base
		r.bootstrap(v, ref)
	case has("extensionProviders", "defaultConfig", "defaultProviders") && !has("meshConfig", "global"),
		(base == "mesh.yaml" || base == "mesh" || base == "meshconfig.yaml") && !has("meshConfig", "global"):
		ref.Kind, ref.Name = "MeshConfig", base
		r.mesh(v, ref, "plain")
	case has("meshConfig", "global", "pilot"):
		ref.Kind, ref.Name = "HelmValues", base
		r.helmValues(v, ref)
	case v.Get("otel", "exporter") != nil || v.Get("management", "otlp", "tracing") != nil:
		r.spring(v, base)
	case has("external_services"):
		ref.Kind, ref.Name = "KialiConfig", base
		r.kiali(v, ref)
	case has("datasources"):
		ref.Kind, ref.Name = "GrafanaDatasources", base
		r.dataSources(v, ref)
	}
}

func (r *Reader) ref(v *yamldoc.Value, kind string) Ref {
	meta := v.Get("metadata")
	ns := meta.Get("namespace").Str()
	return Ref{Kind: kind, Namespace: ns, Name: meta.Get("name").Str(), File: r.file, Line: v.Line}
}

// note adds what reading found odd about an object.
func (r *Reader) note(ref Ref, reason, message, hint string) {
	r.Notes = append(r.Notes, Note{Ref: ref, Reason: reason, Message: message, Hint: hint})
}

// check compares the spec of an object with its schema.
func (r *Reader) check(ref Ref, message string, v *yamldoc.Value, prefix string, snake bool) (invalid bool) {
	for _, i := range schema.Check(message, v, r.Minor, snake) {
		at := i.Path
		if prefix != "" {
			at = prefix + "." + i.Path
		}
		hint := ""
		if i.Kind == schema.Unknown && i.Want != "" {
			hint = fmt.Sprintf("did you mean %s?", i.Want)
		}
		r.note(ref.At(at, i.Line), string(i.Kind), i.Message(), hint)
		invalid = invalid || i.Kind == schema.Type
	}
	return invalid
}

// nested reads a document inside a scalar, such as mesh of the ConfigMap istio; lines are those of the outer file.
func (r *Reader) nested(v *yamldoc.Value, ref Ref) *yamldoc.Value {
	if v == nil || v.Kind != yamldoc.String {
		return v
	}
	docs, err := yamldoc.Read([]byte(v.Text))
	if err == nil && len(docs) > 0 {
		err = docs[0].Err
	}
	if err != nil {
		r.note(ref.At(ref.Path, v.Line), "type", err.Error(), "")
		return nil
	}
	if len(docs) == 0 {
		return nil
	}
	for _, n := range docs[0].Notes {
		r.note(ref.At(ref.Path, v.Line), "twice", n.Message, "")
	}
	if r.NoLines {
		withoutLines(docs[0].Root)
	} else {
		shift(docs[0].Root, v.Line, v.Block)
	}
	return docs[0].Root
}

func withoutLines(v *yamldoc.Value) {
	if v == nil {
		return
	}
	v.Line = 0
	for _, item := range v.Items {
		withoutLines(item)
	}
	for i := range v.Fields {
		v.Fields[i].Line = 0
		withoutLines(v.Fields[i].Value)
	}
}

func shift(v *yamldoc.Value, line int, block bool) {
	if v == nil {
		return
	}
	move := func(at int) int {
		if block {
			return at + line
		}
		return line
	}
	v.Line = move(v.Line)
	for _, item := range v.Items {
		shift(item, line, block)
	}
	for i := range v.Fields {
		v.Fields[i].Line = move(v.Fields[i].Line)
		shift(v.Fields[i].Value, line, block)
	}
}

// OwnerOf finds out who keeps an object, from its YAML or JSON with managed fields. What cannot be read has no owner.
func OwnerOf(object []byte) Owner {
	docs, err := yamldoc.Read(object)
	if err != nil || len(docs) != 1 || docs[0].Err != nil {
		return Owner{}
	}
	return owner(docs[0].Root)
}

// owner finds out who keeps an object, and whether people changed it by hand.
func owner(v *yamldoc.Value) Owner {
	o := keeper(v)
	if o.Tool == "" || o.Tool == "helm" {
		return o
	}
	for _, m := range v.Get("metadata", "managedFields").List() {
		manager := m.Get("manager").Str()
		for _, hand := range []string{"kubectl-edit", "kubectl-patch", "kubectl-client-side-apply", "kubectl-annotate", "k9s", "Lens", "OpenLens", "Mozilla", "node-fetch"} {
			if manager == hand && m.Get("subresource") == nil {
				o.Hand = manager
			}
		}
	}
	return o
}

func keeper(v *yamldoc.Value) Owner {
	meta := v.Get("metadata")
	labels, annotations := meta.Get("labels").StringMap(), meta.Get("annotations").StringMap()
	for _, k := range []string{"argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"} {
		if id := annotations[k] + labels[k]; id != "" {
			name, _, _ := strings.Cut(id, ":")
			return Owner{Tool: "argocd", Name: name}
		}
	}
	for _, k := range []string{"kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"} {
		if n := labels[k]; n != "" {
			return Owner{Tool: "flux", Name: n}
		}
	}
	if n := annotations["meta.helm.sh/release-name"]; n != "" {
		return Owner{Tool: "helm", Name: n}
	}
	for _, m := range meta.Get("managedFields").List() {
		manager := m.Get("manager").Str()
		switch {
		case strings.HasPrefix(manager, "argocd"):
			return Owner{Tool: "argocd", Name: manager}
		case strings.Contains(manager, "kustomize-controller"), strings.Contains(manager, "helm-controller"):
			return Owner{Tool: "flux", Name: manager}
		}
	}
	if n := labels["install.operator.istio.io/owning-resource"]; n != "" && n != "unknown" {
		return Owner{Tool: "operator", Name: n}
	}
	for _, o := range meta.Get("ownerReferences").List() {
		if k := o.Get("kind").Str(); k == "Kiali" || k == "IstioOperator" || k == "Istio" {
			return Owner{Tool: "operator", Name: k + " " + o.Get("name").Str()}
		}
	}
	return Owner{}
}

// allowed are the annotations that a workload may keep.
var allowed = []string{"proxy.istio.io/config", "sidecar.istio.io/inject", "sidecar.istio.io/bootstrapOverride", "sidecar.istio.io/statsInclusionRegexps",
	"traffic.sidecar.istio.io/excludeInboundPorts", "traffic.sidecar.istio.io/excludeOutboundPorts", "traffic.sidecar.istio.io/includeInboundPorts",
	"traffic.sidecar.istio.io/includeOutboundIPRanges", "traffic.sidecar.istio.io/excludeOutboundIPRanges", "ambient.istio.io/redirection", "istio.io/rev"}

func annotations(v *yamldoc.Value) map[string]string {
	var out map[string]string
	for k, text := range v.StringMap() {
		for _, a := range allowed {
			// The configuration annotation is kept decoded (Workload.Config): it may hold proxyMetadata.
			if k == a && k != "proxy.istio.io/config" {
				if out == nil {
					out = make(map[string]string)
				}
				out[k] = text
			}
		}
	}
	return out
}
