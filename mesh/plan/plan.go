// Package plan compares what an intent renders with the files of a folder and says what would change: the lines, what the
// change does, whether it is live or needs a restart and of which workloads, who keeps the object, and how each workload's
// tracing is decided before and after. Pure functions of the files' bytes; no cluster.
//
// Objects are compared as a server-side apply would: what is rendered must stand there, everything else stays. Shared
// documents (the ConfigMap istio, Helm values, an IstioOperator, Kiali) are edited in place, comments kept.
package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/render"
)

// File is one file of manifests, as it is.
type File struct {
	Name string
	Text string
}

// State is what was read of a mesh besides its files.
type State struct {
	Objects   *istio.Objects
	Effective *istio.MeshConfig // istiod's /debug/mesh; nil if it was not read
	Proxies   []envoy.Proxy
	Sampling  *float64 // istiod's PILOT_TRACE_SAMPLING

	// Owners are who keeps an object, by its Ref's String, of objects that Objects do not tell; nil outside of a cluster.
	Owners map[string]istio.Owner
}

// Plan is what is to be done.
type Plan struct {
	Changes   []Change  `json:"changes"`
	Same      []string  `json:"same"` // objects that are as they should be
	Workloads []Outcome `json:"workloads"`
	Notes     []string  `json:"notes"`

	files    []*file
	newFiles []File
}

// Change is one object to create or to change.
type Change struct {
	Action  string        `json:"action"` // create or change
	Object  istio.Ref     `json:"object"`
	Target  render.Target `json:"target"`
	Does    string        `json:"does"`
	Live    string        `json:"live,omitempty"`    // what is in force at once
	Restart string        `json:"restart,omitempty"` // what is in force after a restart
	Of      []string      `json:"of,omitempty"`      // the workloads to restart for it
	Owner   istio.Owner   `json:"owner,omitzero"`
	Instead string        `json:"instead,omitempty"` // what to do where somebody keeps the object
	Diff    string        `json:"diff"`

	// What mesh/apply writes from. Before and After are the object's document, Before empty for one to create; Want is the
	// rendered document, which holds no more than what is asked for. InString says that a document within a string changes.
	Before   string `json:"-"`
	After    string `json:"-"`
	Want     string `json:"-"`
	InString bool   `json:"-"`
}

// Outcome is how the tracing of a workload is decided.
type Outcome struct {
	Workload string `json:"workload"`
	Before   string `json:"before"`
	After    string `json:"after"`
}

// Empty tells whether nothing is to be done.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// document is one YAML document of a file, or one item of a list.
type document struct {
	file   *file
	sep    string // the line before it, "---\n", or empty
	line   int    // of its first line
	text   string
	root   *yaml.Node
	ref    istio.Ref
	inList bool // an item of a List: it can be compared, and not edited in the file
}

type file struct {
	name   string
	before string
	docs   []*document
	items  []*document
}

// Forms are the targets that fit what was read: mesh configuration where it is kept, and the Telemetry.
func Forms(o *istio.Objects) []string {
	form := render.ConfigMap
	if o != nil {
		for _, f := range []struct {
			form   string
			target render.Target
		}{{"operator", render.IstioOperator}, {"helm", render.Helm}} {
			if slices.ContainsFunc(o.Meshes, func(m istio.MeshConfig) bool { return m.Form == f.form }) {
				form = f.target
			}
		}
	}
	return []string{string(form), string(render.Telemetry)}
}

// Make plans an intent.
func Make(in render.Intent, files []File, s State) (*Plan, error) {
	parts, err := render.Render(in, s.Objects)
	if err != nil {
		return nil, err
	}
	return Parts(in, parts, files, s)
}

// Parts plans what was rendered, or what somebody wrote as it is rendered; Target says how each part is merged.
func Parts(in render.Intent, parts []render.Part, files []File, s State) (*Plan, error) {
	p := &Plan{Changes: []Change{}, Same: []string{}, Workloads: []Outcome{}, Notes: []string{}}
	for _, f := range files {
		p.files = append(p.files, parse(f))
	}
	m := maker{plan: p, in: in, state: s}
	for _, part := range parts {
		if err := m.part(part); err != nil {
			return nil, err
		}
	}
	if m.configures() {
		p.Workloads = m.outcomes()
	}
	m.notes()
	return p, nil
}

// parse cuts a file into documents. What is no YAML is kept and matches nothing.
func parse(f File) *file {
	out := &file{name: f.Name, before: f.Text}
	var text strings.Builder
	sep, line, first := "", 1, 1
	flush := func() {
		d := &document{file: out, sep: sep, line: first, text: text.String()}
		var n yaml.Node
		if yaml.Unmarshal([]byte(d.text), &n) == nil && len(n.Content) == 1 {
			d.root = n.Content[0]
			d.ref = refOf(d.root, f.Name, first)
			out.list(d)
		}
		out.docs = append(out.docs, d)
		text.Reset()
	}
	for _, l := range split(f.Text) {
		if t := strings.TrimRight(l, " \r\n"); t == "---" || strings.HasPrefix(t, "--- #") {
			flush()
			sep, first = l, line+1
		} else {
			text.WriteString(l)
		}
		line++
	}
	flush()
	return out
}

// list takes the items of a List apart.
func (f *file) list(d *document) {
	_, items := find(d.root, "items")
	if !strings.HasSuffix(d.ref.Kind, "List") || items == nil || items.Kind != yaml.SequenceNode {
		return
	}
	for _, n := range items.Content {
		text, err := encode(n, 0, true)
		if err != nil {
			continue
		}
		item := &document{file: f, line: d.line + n.Line - 1, text: text, inList: true}
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) == nil && len(doc.Content) == 1 {
			item.root = doc.Content[0]
			item.ref = refOf(item.root, f.name, item.line)
			f.items = append(f.items, item)
		}
	}
}

func refOf(n *yaml.Node, file string, line int) istio.Ref {
	r := istio.Ref{File: file, Line: line}
	if n.Kind != yaml.MappingNode {
		return r
	}
	text := func(m *yaml.Node, name string) string {
		if m == nil || m.Kind != yaml.MappingNode {
			return ""
		}
		if _, v := find(m, name); v != nil {
			return v.Value
		}
		return ""
	}
	_, meta := find(n, "metadata")
	r.Kind, r.Name, r.Namespace = text(n, "kind"), text(meta, "name"), text(meta, "namespace")
	return r
}

func (f *file) after() string {
	var b strings.Builder
	for _, d := range f.docs {
		b.WriteString(d.sep)
		b.WriteString(d.text)
	}
	return b.String()
}

// Patch is the plan as a patch of the folder, for `git apply` or `patch -p1`. What cannot be written in place is named in
// the notes.
func (p *Plan) Patch() string {
	var out strings.Builder
	for _, f := range p.files {
		if after := f.after(); after != f.before {
			name := filepath.ToSlash(f.name)
			fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n%s", name, name, hunks(compare(f.before, after), 1, 1))
		}
	}
	for _, f := range p.newFiles {
		fmt.Fprintf(&out, "--- /dev/null\n+++ b/%s\n%s", filepath.ToSlash(f.Name), hunks(compare("", f.Text), 1, 1))
	}
	return out.String()
}

// maker makes one plan.
type maker struct {
	plan  *Plan
	in    render.Intent
	state State
}

// documents are all, items of lists too.
func (m *maker) documents() []*document {
	var out []*document
	for _, f := range m.plan.files {
		out = append(out, f.docs...)
		out = append(out, f.items...)
	}
	return out
}

func (m *maker) find(kind string, match func(d *document) bool) []*document {
	var out []*document
	for _, d := range m.documents() {
		if d.root != nil && d.ref.Kind == kind && match(d) {
			out = append(out, d)
		}
	}
	return out
}

// part plans what one target renders.
func (m *maker) part(part render.Part) error {
	if part.Target == render.SDKEnv {
		return m.environment(part)
	}
	for _, d := range parse(File{Name: string(part.Target), Text: part.YAML}).docs {
		if d.root == nil || d.root.Kind != yaml.MappingNode {
			continue // comments alone
		}
		if err := m.object(part.Target, d); err != nil {
			return err
		}
	}
	return nil
}

// place is where objects were looked for.
func (m *maker) place() string {
	if m.state.Owners != nil {
		return "in the cluster"
	}
	return "among the files"
}

func (m *maker) note(text string) {
	if !slices.Contains(m.plan.Notes, text) {
		m.plan.Notes = append(m.plan.Notes, text)
	}
}

// object plans one rendered document.
func (m *maker) object(target render.Target, want *document) error {
	inside := func(path ...string) *yaml.Node {
		n := want.root
		for _, p := range path {
			_, n = find(n, p)
		}
		return n
	}
	switch target {
	case render.ConfigMap:
		return m.meshConfigMap(want)
	case render.Helm:
		values := m.find("", func(d *document) bool { return has(d.root, "meshConfig") })
		if len(values) == 0 {
			values = m.find("", func(d *document) bool { return has(d.root, "global") || has(d.root, "pilot") })
		}
		return m.shared(target, want, values, []string{"meshConfig"}, inside("meshConfig"))
	case render.IstioOperator:
		there := m.find("IstioOperator", func(*document) bool { return true })
		if len(there) == 0 {
			m.note("no IstioOperator is among the files: an install from the tracing part alone would remove the rest")
			return nil
		}
		return m.shared(target, want, there, []string{"spec", "meshConfig"}, inside("spec", "meshConfig"))
	case render.Kiali:
		if want.ref.Kind == "ConfigMap" {
			return m.payload(target, want, m.find("ConfigMap", func(d *document) bool {
				return strings.Contains(d.ref.Name, "kiali") && text(d.root, "data", "config.yaml") != ""
			}), "config.yaml", text(want.root, "data", "config.yaml"))
		}
		there := m.find("Kiali", func(*document) bool { return true })
		if len(there) == 0 {
			m.note("no Kiali is " + m.place() + ": `spanloom mesh render --for kiali` has what to merge into it")
			return nil
		}
		return m.shared(target, want, there, []string{"spec"}, inside("spec"))
	}
	if target == render.Grafana && text(want.root, "metadata", "labels", "grafana_datasource") != "" {
		// Istio's addon has no sidecar that loads ConfigMaps: Grafana reads one file.
		addon := m.find("ConfigMap", func(d *document) bool {
			return text(d.root, "data", "datasources.yaml") != "" && text(d.root, "metadata", "labels", "grafana_datasource") == ""
		})
		if _, data := find(want.root, "data"); len(addon) > 0 && data != nil && len(data.Content) == 2 {
			m.note("Grafana reads datasources.yaml when it starts: restart it (`kubectl rollout restart`)")
			return m.payload(target, want, addon, "datasources.yaml", data.Content[1].Value)
		}
	}
	there := m.find(want.ref.Kind, func(d *document) bool {
		return d.ref.Name == want.ref.Name && (d.ref.Namespace == want.ref.Namespace || d.ref.Namespace == "")
	})
	if len(there) == 0 {
		m.create(target, want)
		return nil
	}
	return m.shared(target, want, there, nil, without(want.root, "apiVersion", "kind", "metadata"))
}

func has(n *yaml.Node, name string) bool {
	if n == nil || n.Kind != yaml.MappingNode {
		return false
	}
	_, v := find(n, name)
	return v != nil
}

func text(n *yaml.Node, path ...string) string {
	for _, p := range path {
		if !has(n, p) {
			return ""
		}
		_, n = find(n, p)
	}
	return n.Value
}

func without(n *yaml.Node, names ...string) *yaml.Node {
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !slices.Contains(names, n.Content[i].Value) {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

// meshConfigMap plans mesh configuration where istiod reads it: in ConfigMaps (one for each revision), or in a file of its
// own.
func (m *maker) meshConfigMap(want *document) error {
	add := text(want.root, "data", "mesh")
	maps := m.find("ConfigMap", func(d *document) bool {
		return istio.IsMeshName(d.ref.Name) && text(d.root, "data", "mesh") != ""
	})
	if len(maps) > 0 {
		return m.payload(render.ConfigMap, want, maps, "mesh", add)
	}
	plain := m.find("", func(d *document) bool {
		return filepath.Base(d.file.name) == "mesh.yaml" || has(d.root, "extensionProviders") || has(d.root, "extension_providers")
	})
	if len(plain) == 0 {
		// Created from this part alone it would replace what the cluster has.
		if m.state.Owners != nil {
			m.note("no ConfigMap with mesh configuration is in the cluster: is istiod installed in another namespace (--root-namespace), or may it not be read?")
			return nil
		}
		m.note("no mesh configuration is among the files: add the ConfigMap istio, the values of the chart istiod or the IstioOperator to the folder, or merge what `spanloom mesh render --for configmap` writes")
		return nil
	}
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(add), &n); err != nil {
		return err
	}
	return m.shared(render.ConfigMap, want, plain, nil, n.Content[0])
}

// create plans an object that is not there. In a patch it is a file of its own beside the others.
func (m *maker) create(target render.Target, want *document) {
	does, live, restart := effect(m.in, target)
	c := Change{Action: "create", Object: want.ref, Target: target, Does: does, Live: live, Restart: restart, Diff: hunks(compare("", want.text), 1, 1), After: want.text, Want: want.text}
	c.Object.File, c.Object.Line = "", 0
	if restart != "" {
		c.Of = m.proxied()
	}
	m.plan.Changes = append(m.plan.Changes, c)
	folder := "."
	if len(m.plan.files) > 0 {
		folder = filepath.Dir(m.plan.files[0].name)
	}
	name := filepath.Join(folder, "spanloom-"+string(target)+".yaml")
	for i := range m.plan.newFiles {
		if f := &m.plan.newFiles[i]; f.Name == name {
			f.Text += "---\n" + want.text
			return
		}
	}
	m.plan.newFiles = append(m.plan.newFiles, File{Name: name, Text: want.text})
}

// shared plans the merge of a map into documents that hold more than that.
func (m *maker) shared(target render.Target, want *document, there []*document, path []string, add *yaml.Node) error {
	if len(there) == 0 {
		m.create(target, want)
		return nil
	}
	for _, d := range there {
		after, err := edit(d.text, path, add)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", d.ref.File, d.line, err)
		}
		m.change(target, d, after, want, false)
	}
	return nil
}

// payload plans the merge of YAML into a document that stands in a string of a ConfigMap.
func (m *maker) payload(target render.Target, want *document, there []*document, key, add string) error {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(add), &n); err != nil {
		return err
	}
	for _, d := range there {
		before := text(d.root, "data", key)
		merged, err := edit(before, nil, n.Content[0])
		if err != nil {
			return fmt.Errorf("%s:%d data.%s: %w", d.ref.File, d.line, key, err)
		}
		after := d.text
		if merged != before {
			if after, err = setBlock(d.text, []string{"data", key}, merged); err != nil {
				return fmt.Errorf("%s:%d data.%s: %w", d.ref.File, d.line, key, err)
			}
		}
		m.change(target, d, after, want, true)
	}
	return nil
}

// setBlock writes a string of a document anew, as a literal block.
func setBlock(doc string, path []string, value string) (string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(doc), &root); err != nil {
		return "", err
	}
	n := root.Content[0]
	var key *yaml.Node
	for _, p := range path {
		if n.Style&yaml.FlowStyle != 0 {
			return "", byHand("it stands in braces", &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
				{Kind: yaml.ScalarNode, Value: path[len(path)-1]}, {Kind: yaml.ScalarNode, Value: value, Style: yaml.LiteralStyle}}})
		}
		if key, n = find(n, p); key == nil {
			return "", fmt.Errorf("no %s", p)
		}
	}
	var e editor
	e.read(doc)
	indent, from := key.Column-1, key.Line-1
	to := from + 1
	for i := from + 1; i < len(e.lines); i++ {
		trimmed := strings.TrimLeft(e.lines[i], " ")
		if trimmed == "" {
			continue
		}
		if len(e.lines[i])-len(trimmed) <= indent {
			break
		}
		to = i + 1
	}
	chomp := "|"
	if !strings.HasSuffix(value, "\n") {
		chomp = "|-"
	}
	out := []string{strings.Repeat(" ", indent) + key.Value + ": " + chomp}
	pad := strings.Repeat(" ", indent+2)
	for _, l := range strings.Split(strings.TrimSuffix(value, "\n"), "\n") {
		if l != "" {
			l = pad + l
		}
		out = append(out, l)
	}
	e.replace(from, to, out...)
	text := e.apply()
	var after yaml.Node
	if err := yaml.Unmarshal([]byte(text), &after); err != nil {
		return "", err
	}
	got := after.Content[0]
	for _, p := range path {
		if _, got = find(got, p); got == nil {
			break
		}
	}
	if got == nil || got.Value != value {
		return "", fmt.Errorf("its string cannot be written in place: merge by hand")
	}
	return text, nil
}

// change records what becomes of a document.
func (m *maker) change(target render.Target, d *document, after string, want *document, inString bool) {
	if after == d.text {
		m.plan.Same = append(m.plan.Same, name(d))
		return
	}
	does, live, restart := effect(m.in, target)
	c := Change{Action: "change", Object: d.ref, Target: target, Does: does, Live: live, Diff: hunks(compare(d.text, after), d.line, d.line), Before: d.text, After: after, Want: want.text, InString: inString}
	c.Object.Line = d.line
	switch {
	case target == render.SDKEnv:
		c.Restart, c.Of = restart, []string{d.ref.Namespace + "/" + d.ref.Name}
	case restart != "" && strings.Contains(added(d.text, after), "min_flush_spans"):
		c.Restart, c.Of = restart, m.proxied()
	}
	c.Owner = m.owner(d)
	c.Instead = instead(c.Owner, target)
	if d.inList {
		m.note(fmt.Sprintf("%s is an item of a List in %s: a patch of the file leaves it out", name(d), d.ref.File))
	}
	switch {
	case target == render.IstioOperator:
		m.pruned(d)
	case target == render.ConfigMap && c.Owner.Tool == "operator":
		m.reinstalled(d)
	}
	d.text = after
	m.plan.Changes = append(m.plan.Changes, c)
}

func name(d *document) string {
	if d.ref.Kind == "" {
		return d.ref.File
	}
	return d.ref.String()
}

func added(before, after string) string {
	var b strings.Builder
	for _, o := range compare(before, after) {
		if o.kind == '+' {
			b.WriteString(o.text)
		}
	}
	return b.String()
}

// effect says what a target does, what of it is live and what needs a restart.
func effect(in render.Intent, t render.Target) (does, live, restart string) {
	switch t {
	case render.ConfigMap, render.Helm, render.IstioOperator:
		return fmt.Sprintf("defines the provider %s (%s to %s:%d)", render.MeshName, in.Protocol, in.Host(), in.Port()),
			"the provider: proxies learn of it within seconds, and send nothing before a Telemetry selects it",
			fmt.Sprintf("%d spans a request instead of 5 (runtimeValues)", render.FlushSpans)
	case render.Telemetry:
		return fmt.Sprintf("selects the provider %s for the whole mesh and traces %s", render.MeshName, in.OneIn()), "everything", ""
	case render.EnvoyFilter:
		return "puts the tracer into the connection managers of gateways and sidecars, past Istio's own configuration", "everything: listeners are drained and built anew", ""
	case render.NetworkPolicy:
		return "lets spans (and DNS and istiod, where those are missing) pass", "everything", ""
	case render.ServiceEntry:
		return "names an outside host in traces and on the map", "everything", ""
	case render.Kiali:
		return "lets Kiali show traces", "nothing: Kiali reads it when it starts; its operator restarts it", ""
	case render.SDKEnv:
		return "has the application's OpenTelemetry SDK follow the proxies' traces and send here", "", "the environment"
	case render.Grafana:
		return "adds data sources and a dashboard to Grafana", "what Grafana's sidecar loads", ""
	case render.Prometheus:
		return "has Prometheus scrape istiod, proxies and Spanloom, with rules", "everything", ""
	}
	return "", "", ""
}

// owner looks up who keeps an object, as the readers found out.
func (m *maker) owner(d *document) (owner istio.Owner) {
	if its, ok := m.state.Owners[d.ref.String()]; ok {
		return its
	}
	o := m.state.Objects
	if o == nil {
		return owner
	}
	look := func(r istio.Ref, its istio.Owner) {
		if owner == (istio.Owner{}) && r.Kind == d.ref.Kind && r.Name == d.ref.Name && r.Namespace == d.ref.Namespace {
			owner = its
		}
	}
	for _, x := range o.Meshes {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.Telemetries {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.EnvoyFilters {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.NetworkPolicies {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.Services {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.Kialis {
		look(x.Ref, x.Owner)
	}
	for _, x := range o.Workloads {
		look(x.Ref, x.Owner)
	}
	return owner
}

func instead(o istio.Owner, t render.Target) string {
	switch o.Tool {
	case "argocd":
		return fmt.Sprintf("Argo CD (%s) keeps it and undoes what is changed in the cluster: put this change into its repository (-o patch)", o.Name)
	case "flux":
		return fmt.Sprintf("Flux (%s) keeps it and undoes what is changed in the cluster: put this change into its repository (-o patch)", o.Name)
	case "helm":
		if t == render.ConfigMap {
			return fmt.Sprintf("the Helm release %s writes it anew with every upgrade: change its values instead (--for helm)", o.Name)
		}
		return fmt.Sprintf("the Helm release %s writes it anew with every upgrade: change its values or chart instead", o.Name)
	case "operator":
		if t == render.ConfigMap {
			return fmt.Sprintf("%s is kept by an operator, which writes it again: change its IstioOperator instead (--for istiooperator)", o.Name)
		}
		return fmt.Sprintf("%s is kept by an operator, which writes it again: change the operator's resource instead", o.Name)
	}
	return ""
}

// reinstalled says what the next `istioctl install` does to a cluster whose mesh configuration came by one: its file is not
// here to be read.
func (m *maker) reinstalled(d *document) {
	if m.state.Objects == nil || m.state.Owners == nil {
		return
	}
	text := fmt.Sprintf("a later `istioctl install` writes %s anew, and what is added here is gone: put it into the IstioOperator too (`spanloom mesh plan -f DIR --for istiooperator`)", name(d))
	var gateways []string
	for _, w := range m.state.Objects.Workloads {
		if w.Kind == "Deployment" && w.Owner.Tool == "operator" && strings.Contains(w.Labels["istio"], "gateway") {
			gateways = append(gateways, w.Namespace+"/"+w.Name)
		}
	}
	if len(gateways) > 0 {
		text += "; it removes those of these gateways that its file does not list: " + strings.Join(gateways, ", ")
	}
	m.note(text)
}

// pruned names gateways that an install from an IstioOperator would remove, because the file does not list them.
func (m *maker) pruned(d *document) {
	if m.state.Objects == nil {
		return
	}
	listed := make(map[string]bool)
	if p := text(d.root, "spec", "profile"); p == "" || p == "default" || p == "demo" {
		listed["istio-ingressgateway"] = true
		if p == "demo" {
			listed["istio-egressgateway"] = true
		}
	}
	for _, kind := range []string{"ingressGateways", "egressGateways"} {
		n := d.root
		for _, p := range []string{"spec", "components", kind} {
			if !has(n, p) {
				n = nil
				break
			}
			_, n = find(n, p)
		}
		if n == nil {
			continue
		}
		for _, g := range n.Content {
			listed[text(g, "name")] = text(g, "enabled") != "false"
		}
	}
	for _, w := range m.state.Objects.Workloads {
		if w.Kind == "Deployment" && strings.Contains(w.Labels["istio"], "gateway") && w.Owner.Tool != "helm" && !listed[w.Name] {
			m.note(fmt.Sprintf("`istioctl install -f %s` removes %s, which its components do not list", d.ref.File, w.Ref))
		}
	}
}
