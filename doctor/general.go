package doctor

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/mesh/istio"
)

// general adds what is no link of a chain: odd configuration, secrets in tags, views that show nothing, cost and style.
func (x *exam) general() {
	x.notes()
	x.tags()
	x.conflicts()
	x.duds()
	x.raised()
	x.overrides()
	x.stores()
	x.views()
	x.dataSources()
	x.excluded()
	x.cost()
	x.egressWithoutDNS()
	x.owners()
}

// raiseGrace is how long a Job may take to take a raised rate back: it has to be scheduled, and clocks differ.
const raiseGrace = 2 * time.Minute

// raised finds rates whose time is over. Facts without a time of their own cannot tell.
func (x *exam) raised() {
	for _, t := range x.f.Objects.Telemetries {
		until, err := time.Parse(time.RFC3339, t.Expires)
		if err != nil || x.f.Collected == 0 || !time.Unix(0, x.f.Collected).After(until.Add(raiseGrace)) {
			continue
		}
		said := istio.ExpiresAnnotation + ": " + t.Expires
		workload := t.Namespace + "/" + strings.TrimPrefix(t.Name, "spanloom-raise-")
		x.add(&draft{code: "T0129", object: t.Ref.At("metadata.annotations", 0), detail: say("it was meant to stand until %s", t.Expires), evidence: []Text{quote(said)},
			fix: Fix{text: say("Take it back, and see why the Job did not run: kubectl get jobs -n %s.", t.Namespace), Command: "spanloom mesh sampling return " + workload}}, "")
	}
}

// notes turns what reading found odd into findings.
func (x *exam) notes() {
	for _, n := range x.f.Objects.Notes {
		if n.File == "" && n.Kind == "" {
			continue
		}
		d := &draft{object: n.Ref, detail: heard(n.Message), evidence: []Text{say("%s: %s", place(n.Ref), heard(n.Message))}, fix: Fix{text: say("Correct it.")}}
		if n.Hint != "" {
			d.fix.text = say("Correct it. %s", heard(n.Hint))
		}
		mesh := slices.ContainsFunc(x.f.Objects.Meshes, func(m istio.MeshConfig) bool {
			return m.File == n.File && m.Kind == n.Kind && m.Name == n.Name && strings.HasPrefix(n.Path, m.Path)
		})
		switch n.Reason {
		case "unknown", "version":
			d.fix = Fix{text: say("Remove %s%s.", n.Path, hinted(n.Hint)), Diff: diff(n.Ref, lastPart(n.Path)+": …", "")}
			if mesh {
				d.code = "T0119"
				d.detail = say("istiod drops %s without a word: %s", n.Path, heard(n.Message))
				break
			}
			d.code = "T0123"
			if n.Kind != "Telemetry" && n.Kind != "EnvoyFilter" {
				d.severity = Info
			}
		case "type":
			if mesh && (x.raw == nil || x.raw.File != n.File) {
				d.code = "T0118" // of another installation than the one in force
				break
			}
			if mesh {
				if slices.ContainsFunc(x.drafts, func(o *draft) bool { return o.code == "T0118" && o.object.File == n.File }) {
					continue
				}
				d = x.invalidMesh()
				if x.f.Received != nil && x.f.Received.Spans > 0 {
					d.severity = Warning // the last good state traces; the change that was meant is not in force
				}
				break
			}
			d.code = "T0123"
			if n.Kind != "Telemetry" && n.Kind != "EnvoyFilter" {
				d.severity = Info
			}
		case "twice":
			d.code, d.fix = "T0124", Fix{text: say("Remove one of the two.")}
		case "syntax":
			d.code, d.fix = "T0125", Fix{text: say("Correct the document: what cannot be parsed is not applied, and its objects are unknown here.")}
			if strings.Contains(n.Hint, "Helm") {
				d.fix.text = say("Give the rendered file: helm template.")
			} else {
				d.severity = Warning
			}
		case "values":
			if slices.ContainsFunc(x.drafts, func(o *draft) bool { return o.code == "T0120" && (o.object == n.Ref || ignoredTracing(n)) }) {
				continue
			}
			d.code, d.severity, d.fix = "T0120", Warning, Fix{text: sentence(n.Hint)}
		default:
			continue
		}
		x.add(d, "")
	}
	for _, u := range x.f.Unread {
		if x.f.Source != "files" {
			d := &draft{code: "T0128", object: istio.Ref{Kind: "Cluster"}, detail: say("%s: %s", heard(u.Name), heard(u.Why)), evidence: []Text{say("%s: %s", heard(u.Name), heard(u.Why))}}
			if x.f.Source == "cluster" {
				d.fix.Command = "spanloom doctor roles"
			}
			x.add(d, "")
			continue
		}
		x.add(&draft{code: "T0125", object: istio.Ref{Kind: "File", File: u.Name}, detail: heard(u.Why), evidence: []Text{say("%s: %s", u.Name, heard(u.Why))}, fix: Fix{text: say("What it holds is unknown to this diagnosis; take it again.")}}, "")
	}
}

func hinted(hint string) Text {
	if hint == "" {
		return Text{}
	}
	return say(" (%s)", heard(hint))
}

func lastPart(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[i+1:]
	}
	return path
}

// secretHeaders are headers whose value is a credential.
var secretHeaders = []string{"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token", "x-csrf-token", "x-amz-security-token", "x-forwarded-access-token", "x-goog-iap-jwt-assertion"}

// secretWords of names of headers that hold one, whatever they are called.
var secretWords = []string{"secret", "password", "passwd", "token", "apikey", "api-key", "credential", "session-id", "sessionid"}

func secretHeader(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(secretHeaders, name) || slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

func (x *exam) tags() {
	look := func(tags []istio.Tag, at istio.Ref, path string) {
		for _, t := range tags {
			ref := at.At(prefixed(path, "customTags."+t.Name), t.Line)
			if t.From == "header" && secretHeader(t.Of) {
				x.add(&draft{code: "T0406", object: ref, detail: say("tag %s records the header %s of every request", t.Name, t.Of), evidence: []Text{quote(place(ref) + ": header " + t.Of)},
					fix: Fix{text: say("Remove the tag %s. A defaultValue does not redact: it is used only where the header is absent. Spans that are stored hold the secret: rotate it.", t.Name), Command: editCommand(at), Diff: diff(ref, t.Name+": {header: {name: "+t.Of+"}}", "")}}, "")
			}
			if t.Name == "service.name" {
				x.add(&draft{code: "T0126", object: ref, detail: say("the tag service.name is a tag of each span, not the name of the service"), evidence: []Text{quote(place(ref))}, fix: Fix{text: say("Remove it; set tracingServiceName in defaultConfig if names of services should differ."), Diff: diff(ref, "service.name: …", "")}}, "")
			}
		}
	}
	for _, m := range x.f.Objects.Meshes {
		if m.Config != nil && m.Config.Tracing != nil {
			look(m.Config.Tracing.Tags, m.Ref, prefixed(m.Path, "defaultConfig.tracing"))
		}
	}
	if x.raw == nil && x.mesh != nil && x.mesh.Config != nil && x.mesh.Config.Tracing != nil {
		look(x.mesh.Config.Tracing.Tags, x.mesh.Ref, "defaultConfig.tracing")
	}
	for _, t := range x.f.Objects.Telemetries {
		for i, r := range t.Tracing {
			look(r.Tags, t.Ref, fmt.Sprintf("spec.tracing[%d]", i))
		}
	}
	for _, w := range x.distinct {
		if w.Config != nil && w.Config.Tracing != nil {
			look(w.Config.Tracing.Tags, w.Ref, "proxy.istio.io/config.tracing")
		}
	}
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		for _, m := range p.Managers {
			for _, h := range m.Tags {
				if secretHeader(h) && !slices.ContainsFunc(x.drafts, func(d *draft) bool { return d.code == "T0406" }) {
					x.add(&draft{code: "T0406", object: istio.Ref{Kind: "Proxy", Namespace: p.Namespace, Name: p.Name}, detail: say("a tag records the header %s", h), evidence: []Text{say("%s: custom tag of request_header %s", p.Name, h)}, fix: Fix{text: say("Remove the custom tag from the mesh configuration, the Telemetry or the EnvoyFilter it comes from.")}}, p.Namespace+"/"+p.Workload)
				}
			}
		}
	}
}

// conflicts warns of Telemetries that are ignored although that does no harm now.
func (x *exam) conflicts() {
	if slices.ContainsFunc(x.drafts, func(d *draft) bool { return d.code == "T0107" }) {
		return
	}
	namespaces := make(map[string]bool)
	for _, t := range x.f.Objects.Telemetries {
		if namespaces[t.Namespace] {
			continue
		}
		namespaces[t.Namespace] = true
		used, ignored := x.f.Objects.Applicable(t.Namespace, istio.Proxy{Namespace: t.Namespace})
		for _, o := range ignored {
			if len(used) > 0 && (len(o.Tracing) > 0 || len(used[0].Tracing) > 0) {
				d := conflictDraft(used[0], o)
				d.severity = Warning
				x.add(d, "")
				break
			}
		}
	}
}

// duds warns of EnvoyFilters that try to set tracing and cannot, in a mesh that traces by other means.
func (x *exam) duds() {
	for i := range x.f.Objects.EnvoyFilters {
		e := &x.f.Objects.EnvoyFilters[i]
		var bad *istio.Patch
		for j := range e.Patches {
			if p := &e.Patches[j]; p.Tracer != "" && !noEffect(p).empty() && bad == nil {
				bad = p
			}
		}
		known := slices.ContainsFunc(x.drafts, func(d *draft) bool {
			return d.object.Kind == e.Kind && d.object.Name == e.Name && d.object.Namespace == e.Namespace
		})
		if bad == nil || known {
			continue
		}
		x.add(&draft{code: "T0114", severity: Warning, object: e.Ref.At("spec.configPatches", bad.Line), detail: say("%s does nothing: %s", e.Ref, noEffect(bad)), evidence: []Text{quote(place(e.Ref.At("", bad.Line)))}, fix: filterFix(e, bad)}, "")
	}
}

// overrides warns of bootstrap overrides whose collector path no collector serves, where it was not seen what uses them.
func (x *exam) overrides() {
	for _, b := range x.f.Objects.Bootstraps {
		if b.Invalid != "" {
			x.add(&draft{code: "T0123", object: b.Ref, detail: say("the bootstrap override cannot be read: %s", heard(b.Invalid)), evidence: []Text{quote(place(b.Ref))}}, "")
			continue
		}
		if b.Tracer != "envoy.tracers.zipkin" || b.Endpoint == "" || slices.Contains(goodPaths["zipkin"], b.Endpoint) || slices.ContainsFunc(x.drafts, func(d *draft) bool { return d.code == "T0311" }) {
			continue
		}
		x.add(&draft{code: "T0311", severity: Warning, object: b.Ref, detail: say("the override sends to %s, which collectors do not serve", b.Endpoint), evidence: []Text{quote(place(b.Ref))}, fix: Fix{text: say("Set collectorEndpoint: /api/v2/spans, then restart the workloads that use it."), Diff: diff(b.Ref, "collectorEndpoint: "+b.Endpoint, "collectorEndpoint: /api/v2/spans")}}, "")
	}
}

// owners says who would undo a change, for each object that should be changed.
func (x *exam) owners() {
	x.byHand()
	for _, d := range slices.Clone(x.drafts) {
		o := x.ownerOf(d.object)
		if o.Tool == "" || d.severityOf() == Info {
			continue
		}
		text := keeperText(o)
		d.fix.text = say("%s Make the change in the source of %s, which would undo it here.", d.fix.text, text)
		x.add(&draft{code: "T0121", object: d.object.At("", 0), detail: say("%s is kept by %s", d.object, text), evidence: []Text{say("labels, annotations or managed fields of %s", d.object)}, after: []string{d.entry().Cause},
			fix: Fix{text: say("Change the repository or the values, then synchronise.")}}, "")
	}
}

// byHand warns of objects for tracing that a tool keeps and that somebody changed beside it.
func (x *exam) byHand() {
	look := func(r istio.Ref, o istio.Owner) {
		if o.Hand == "" {
			return
		}
		x.add(&draft{code: "T0121", severity: Warning, object: r.At("", 0), detail: say("%s is kept by %s, and was changed with %s: that is undone at the next synchronisation", r, keeperText(o), o.Hand), evidence: []Text{say("%s: managedFields of %s beside those of its keeper", place(r), o.Hand)},
			fix: Fix{text: say("Make the change in the source of %s.", keeperText(o))}}, "")
	}
	for ref, o := range x.owned() {
		if !slices.Contains([]string{"DestinationRule", "NetworkPolicy", "Service", "ServiceEntry"}, ref.Kind) {
			look(ref, o)
		}
	}
	for _, s := range x.f.Objects.Services {
		if slices.ContainsFunc(s.Hosts, func(h string) bool { return x.hosts[h] }) {
			look(s.Ref, s.Owner)
		}
	}
}

func keeperText(o istio.Owner) Text {
	switch o.Tool {
	case "argocd":
		return say("Argo CD application %s", o.Name)
	case "flux":
		return say("Flux %s", o.Name)
	case "helm":
		return say("Helm release %s", o.Name)
	case "operator":
		return say("the operator of %s", o.Name)
	}
	return Text{}
}

func (x *exam) ownerOf(r istio.Ref) istio.Owner {
	for ref, o := range x.owned() {
		if ref.Kind == r.Kind && ref.Namespace == r.Namespace && ref.Name == r.Name {
			return o
		}
	}
	for _, w := range x.f.Objects.Workloads {
		if w.Kind == r.Kind && w.Namespace == r.Namespace && w.Name == r.Name {
			return w.Owner
		}
	}
	return istio.Owner{}
}

// owned gives the objects that decide about tracing, with who keeps them.
func (x *exam) owned() iter.Seq2[istio.Ref, istio.Owner] {
	return func(yield func(istio.Ref, istio.Owner) bool) {
		o := &x.f.Objects
		_ = each(o.Meshes, func(m *istio.MeshConfig) bool { return yield(m.Ref, m.Owner) }) &&
			each(o.Telemetries, func(t *istio.Telemetry) bool { return yield(t.Ref, t.Owner) }) &&
			each(o.EnvoyFilters, func(e *istio.EnvoyFilter) bool { return yield(e.Ref, e.Owner) }) &&
			each(o.Sidecars, func(s *istio.Sidecar) bool { return yield(s.Ref, s.Owner) }) &&
			each(o.Kialis, func(k *istio.Kiali) bool { return yield(k.Ref, k.Owner) }) &&
			each(o.Services, func(s *istio.Service) bool { return yield(s.Ref, s.Owner) }) &&
			each(o.DestinationRules, func(d *istio.DestinationRule) bool { return yield(d.Ref, d.Owner) }) &&
			each(o.NetworkPolicies, func(n *istio.NetworkPolicy) bool { return yield(n.Ref, n.Owner) })
	}
}

// each stops at the first that is refused, and tells whether none was.
func each[T any](list []T, f func(*T) bool) bool {
	for i := range list {
		if !f(&list[i]) {
			return false
		}
	}
	return true
}
