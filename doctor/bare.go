package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/internal/nearest"
	"github.com/spanloom/spanloom/mesh/istio"
)

// bareCause explains why a proxy has tracing without a tracer: neither provider nor bootstrap.
func (x *exam) bareCause(s *subject) *draft {
	if w := x.refused(s); w != nil {
		return w
	}
	hasLegacy := x.mesh != nil && x.mesh.Config != nil && x.mesh.Config.Tracing != nil && x.mesh.Config.Tracing.Backend != ""
	if hasLegacy {
		if a := annotated(s); a != nil && a.Tracing != nil && a.Tracing.Backend == "" {
			return x.replaced(s, a)
		}
		if c := s.running(); s.proxy != nil && c == nil || c != nil && (c.Tracing == nil || c.Tracing.Backend == "") {
			return x.restart(s, say("the mesh configuration names the tracer %s, the running proxy has none", x.mesh.Config.Tracing.Address))
		}
	}
	if c := x.conflict(s); c != nil {
		return c
	}
	if d := x.outOfScope(s); d != nil {
		return d
	}
	if len(x.mesh.TracingProviders(x.f.Istio)) > 0 {
		if d := x.ignoredValues(); d != nil && x.f.Effective == nil {
			return d
		}
		return x.notSelected(s)
	}
	if d := x.filterCause(s); d != nil {
		return d
	}
	if d := x.ignoredValues(); d != nil {
		return d
	}
	if d := x.writtenNotInForce(s); d != nil {
		return d
	}
	at := istio.Ref{Kind: "MeshConfig"}
	if x.mesh != nil {
		at = x.mesh.Ref
	}
	return &draft{code: "T0101", object: at, detail: say("no provider is defined, no Telemetry selects one, and no proxy has a tracer"), evidence: x.hcmEvidence(s, say("no extension provider for traces, no Telemetry with providers, no tracer in defaultConfig")),
		fix: Fix{text: say("Define an extension provider for the collector, and select it with a Telemetry in %s.", x.root()), Command: "kubectl apply -f telemetry.yaml", Diff: providerAndTelemetry(x.root())}}
}

func annotated(s *subject) *istio.ProxyConfig {
	if s.proxy != nil {
		return s.proxy.Annotated
	}
	if s.written != nil {
		return s.written.Config
	}
	return nil
}

func (x *exam) replaced(s *subject, a *istio.ProxyConfig) *draft {
	address := x.mesh.Config.Tracing.Address
	at := istio.Ref{Kind: "Pod", Namespace: s.namespace, Name: s.workload, Path: "metadata.annotations.proxy.istio.io/config"}
	if s.proxy != nil && s.proxy.Pod != "" {
		at.Name = s.proxy.Pod
	}
	if s.written != nil {
		at = s.written.Ref.At("spec.template.metadata.annotations.proxy.istio.io/config", a.Tracing.Line)
	}
	return &draft{code: "T0116", object: at, detail: say("the annotation of %s has tracing without a tracer, and that replaces the mesh's %s", s.name, address),
		evidence: []Text{say("the mesh configuration names the tracer %s", address), say("the annotation's tracing block names none"), say("%s: bootstrap.tracing is empty", s.name)},
		fix: Fix{text: say("Repeat the address in the annotation, or set the rate with a Telemetry and drop the annotation."), Command: "kubectl edit deployment -n " + s.namespace + " " + s.workload,
			Diff: fmt.Sprintf("--- %s proxy.istio.io/config\n tracing:\n+  zipkin:\n+    address: %s\n", s.name, address)}}
}

// outOfScope: a Telemetry selects a provider, but not for this workload.
func (x *exam) outOfScope(s *subject) *draft {
	if s.policy.Telemetry && s.policy.Client.Reason != istio.ReasonNoProvider {
		return nil
	}
	var near *istio.Telemetry
	for i := range x.f.Objects.Telemetries {
		t := &x.f.Objects.Telemetries[i]
		if !slices.ContainsFunc(t.Tracing, func(r istio.TracingRule) bool { return len(r.Providers) > 0 }) || slices.Contains(s.policy.Used, t.Ref) {
			continue
		}
		if near == nil || t.Namespace == s.namespace && near.Namespace != s.namespace {
			near = t
		}
	}
	if near == nil {
		return nil
	}
	var why Text
	fix := Fix{text: say("Move it to the root namespace %s and drop the selector, so that it reaches the whole mesh.", x.root()), Command: editCommand(near.Ref)}
	switch {
	case len(near.Targets) > 0:
		why = say("its targetRefs name other objects")
		fix.text = say("Correct targetRefs, or move it to the root namespace %s and drop the selector, so that it reaches the whole mesh.", x.root())
	case len(near.Selector) > 0 && near.Namespace != s.namespace && near.Namespace != x.root():
		why = say("it is in namespace %s and reaches workloads there that have %s", near.Namespace, labelText(near.Selector))
	case len(near.Selector) > 0 && near.Namespace == x.root() && s.namespace != x.root():
		why = say("it has a selector (%s), and in the root namespace such a Telemetry reaches workloads of %s only", labelText(near.Selector), x.root())
		fix.Diff = diff(near.Ref.At("spec.selector", 0), "selector:\n  matchLabels: "+labelText(near.Selector), "")
	case len(near.Selector) > 0:
		why = say("its selector %s does not match the labels %s", labelText(near.Selector), labelText(appLabels(s.labels)))
		fix.text = say("Correct the selector (%s has %s), or drop it to reach the whole namespace.", s.name, labelText(appLabels(s.labels)))
		fix.Diff = diff(near.Ref.At("spec.selector.matchLabels", 0), labelText(near.Selector), labelText(appLabels(s.labels)))
	default:
		why = say("it is in namespace %s and reaches that only; the root namespace is %s", near.Namespace, x.root())
	}
	return &draft{code: "T0106", object: near.Ref.At("spec.selector", 0), detail: say("%s does not reach these workloads: %s", near.Ref, why), evidence: x.hcmEvidence(s, say("%s: %s", place(near.Ref), why)), fix: fix}
}

// appLabels are the labels that people select by.
func appLabels(l map[string]string) map[string]string {
	out := make(map[string]string)
	for _, k := range []string{"app", "app.kubernetes.io/name", "version", "istio"} {
		if l[k] != "" {
			out[k] = l[k]
		}
	}
	if len(out) == 0 {
		return l
	}
	return out
}

func labelText(l map[string]string) string {
	if len(l) == 0 {
		return "{}"
	}
	keys := make([]string, 0, len(l))
	for k := range l {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var out []string
	for _, k := range keys {
		out = append(out, k+": "+l[k])
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// notSelected: there is a provider, and nothing selects it for this workload.
func (x *exam) notSelected(s *subject) *draft {
	providers := x.mesh.TracingProviders(x.f.Istio)
	if d := x.switchedOff(s); len(providers) == 0 && d != nil {
		return d
	}
	if len(providers) == 0 {
		return &draft{code: "T0101", object: firstRef(s.policy.Used, x.mesh), detail: say("a Telemetry has a tracing part, and no provider is defined or selected"), evidence: x.hcmEvidence(s, say("no extension provider for traces")),
			fix: Fix{text: say("Define an extension provider and name it in the Telemetry."), Diff: providerAndTelemetry(x.root())}}
	}
	p := providers[0]
	at := x.mesh.Ref.At(prefixed(x.mesh.Path, fmt.Sprintf("extensionProviders[%d]", p.Index)), p.Line)
	d := &draft{code: "T0102", object: at, detail: say("provider %s is defined, and no Telemetry and no default selects it", p.Name),
		evidence: x.hcmEvidence(s, say("%s defines %s (%s to %s:%d); no Telemetry names a provider, defaultProviders.tracing is empty", place(at), p.Name, p.Type, p.Service, p.Port)),
		fix:      Fix{text: say("Select %s with a Telemetry in %s.", p.Name, x.root()), Command: "kubectl apply -f telemetry.yaml", Diff: telemetryYAML(x.root(), p.Name)}}
	for _, t := range x.f.Objects.Telemetries {
		if slices.Contains(s.policy.Used, t.Ref) && len(t.Tracing) > 0 {
			d.object, d.detail = t.Ref.At("spec.tracing", t.Tracing[0].Line), say("%s has a tracing part without providers, and there is no default provider", t.Ref)
			d.fix.text = say("Name the provider in %s.", t.Ref)
			d.fix.Diff = "--- " + t.Ref.String() + "\n   tracing:\n+  - providers:\n+    - name: " + p.Name + "\n"
			d.fix.Command = editCommand(t.Ref)
		}
	}
	return d
}

// switchedOff: a Telemetry without a provider takes the place of a legacy tracer, and gives none.
func (x *exam) switchedOff(s *subject) *draft {
	if s.policy.Legacy == nil || s.policy.Legacy.Backend == "" {
		return nil
	}
	for i := range x.f.Objects.Telemetries {
		t := &x.f.Objects.Telemetries[i]
		if !slices.Contains(s.policy.Used, t.Ref) || len(t.Tracing) == 0 {
			continue
		}
		at := t.Ref.At("spec.tracing", t.Tracing[0].Line)
		return &draft{code: "T0102", object: at, detail: say("%s has a tracing part without providers: that switches the tracer of defaultConfig off and puts none in its place", t.Ref),
			evidence: x.hcmEvidence(s, say("%s names no provider; the proxies' own tracer is %s %s", place(at), s.policy.Legacy.Backend, s.policy.Legacy.Address)),
			fix:      Fix{text: say("Define an extension provider for %s and name it in the Telemetry, or drop the Telemetry's tracing part and set the rate in defaultConfig.", s.policy.Legacy.Address), Command: editCommand(t.Ref), Diff: "--- " + place(at) + "\n   tracing:\n+  - providers: [{name: zipkin}]\n"}}
	}
	return nil
}

func (x *exam) undefined(s *subject, d istio.Direction) *draft {
	var names []string
	for _, p := range x.mesh.TracingProviders(x.f.Istio) {
		names = append(names, p.Name)
	}
	if w := x.writtenNotInForce(s); w != nil {
		return w
	}
	have := say("there is none")
	if len(names) > 0 {
		have = quote(strings.Join(names, ", "))
	}
	fix := Fix{text: say("Define a provider %s in extensionProviders, or select one that exists (%s).", d.Named, have), Command: editCommand(d.ProviderRef)}
	to := nearest.Word(d.Named, names)
	if to == "" && len(names) == 1 {
		to = names[0]
	}
	if to != "" {
		fix.text = say("Name %s, which is defined, instead of %s; or define %s in extensionProviders.", to, d.Named, d.Named)
		item := "- name: "
		if d.ProviderRef.Kind != "Telemetry" {
			item = "- " // defaultProviders lists names
		}
		fix.Diff = diff(d.ProviderRef, item+d.Named, item+to)
	}
	what := say("no provider %s is defined", d.Named)
	if p := x.mesh.Provider(d.Named); p != nil {
		switch what = say("provider %s is a %s and cannot trace", d.Named, p.Type); {
		case p.Type == "":
			what = say("provider %s is a provider without a type and cannot trace", d.Named)
		case p.Type == "lightstep":
			what = say("provider %s is a lightstep, which istiod has had no tracer for since 1.27: that of 1.31 stops with a panic when a proxy needs one", d.Named)
		case p.Traces() && p.SamplerIncomplete():
			what = say("provider %s has a sampler that asks over HTTP, and neither the sampler nor the provider has an http part", d.Named)
		case p.Traces():
			what = say("provider %s is a %s, which istiod has had no tracer for since 1.23", d.Named, p.Type)
		}
	}
	return &draft{code: "T0103", object: d.ProviderRef, detail: what, evidence: x.hcmEvidence(s, say("%s names %s; providers that trace: %s", place(d.ProviderRef), d.Named, have)), fix: fix}
}

func (x *exam) ambiguous(p *istio.Provider) *draft {
	host := istio.HostOf(p.Service)
	var where []string
	ns := ""
	for _, s := range x.f.Objects.FindHost(host) {
		where = append(where, place(s.Ref))
		if strings.Contains(host, "."+s.Namespace+".") || ns == "" {
			ns = s.Namespace
		}
	}
	if ns == "" {
		parts := strings.Split(host, ".")
		ns = parts[min(1, len(parts)-1)]
	}
	at := x.providerRef(p, "service")
	return &draft{code: "T0105", object: at, detail: say("%s is in the registry of several namespaces", host), evidence: append([]Text{say("%s: service %s", place(at), p.Service)}, quotes(where)...),
		fix: Fix{text: say("Write service: %s/%s, or remove the entry that is too many.", ns, host), Command: editCommand(x.mesh.Ref), Diff: diff(at, "service: "+p.Service, "service: "+ns+"/"+host)}}
}

func (x *exam) providerRef(p *istio.Provider, field string) istio.Ref {
	return x.mesh.Ref.At(prefixed(x.mesh.Path, fmt.Sprintf("extensionProviders[%d].%s.%s", p.Index, p.Type, field)), p.Line)
}

func (x *exam) hostUnknown(p *istio.Provider) *draft {
	host := istio.HostOf(p.Service)
	at := x.providerRef(p, "service")
	fix := Fix{text: say("Correct service to the full host of the collector's Service, or create a Service or ServiceEntry for %s.", host), Command: editCommand(x.mesh.Ref)}
	if to := x.similarHost(host); to != "" {
		fix.text = say("Write service: %s, which exists.", to)
		fix.Diff = diff(at, "service: "+p.Service, "service: "+to)
	}
	return &draft{code: "T0104", object: at, detail: say("no Service or ServiceEntry has the host %s", host), evidence: []Text{say("%s: service %s", place(at), p.Service), say("%d Services and ServiceEntries were read, none has that host", len(x.f.Objects.Services))}, fix: fix}
}

// similarHost finds a host that was probably meant: the same name elsewhere or in full.
func (x *exam) similarHost(host string) string {
	name, _, _ := strings.Cut(host, ".")
	var all []string
	for _, s := range x.f.Objects.Services {
		for _, h := range s.Hosts {
			first, _, _ := strings.Cut(h, ".")
			if first == name && h != host {
				return h
			}
			all = append(all, h)
		}
	}
	return nearest.Word(host, all)
}

// hostMissing tells whether a host is certainly not in the registry: everything was read, or a proxy with all clusters
// has none of it, or what was read has its name elsewhere, or nearly its name in its namespace.
func (x *exam) hostMissing(host string) bool {
	if len(x.f.Objects.FindHost(host)) > 0 || len(x.seenPorts[host]) > 0 {
		return false
	}
	if x.f.Complete {
		return true
	}
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		sc := x.f.Objects.SidecarOf(x.root(), istio.Proxy{Namespace: p.Namespace, Labels: p.Labels, Gateway: p.Type == "router"})
		if p.Has.Clusters && (sc == nil || !sc.Limits) && len(x.f.Objects.Services) == 0 {
			return true
		}
	}
	name, rest, _ := strings.Cut(host, ".")
	ns, _, _ := strings.Cut(rest, ".")
	var near []string // services of its namespace: a chart that is not in this repository may bring more
	for _, s := range x.f.Objects.Services {
		if slices.ContainsFunc(s.Hosts, func(h string) bool { return strings.HasPrefix(h, name+".") }) {
			return true
		}
		if s.Namespace == ns {
			near = append(near, s.Name)
		}
	}
	return nearest.Word(name, near) != ""
}

// ignoredValues: values of the chart are written where they have no effect.
func (x *exam) ignoredValues() *draft {
	var d *draft
	for _, n := range x.f.Objects.Notes {
		if !ignoredTracing(n) {
			continue
		}
		if d == nil || strings.Contains(n.Path, "global.meshConfig") && !strings.Contains(d.object.Path, "global.meshConfig") {
			d = &draft{code: "T0120", object: n.Ref, detail: heard(n.Message), fix: Fix{text: sentence(n.Hint)}}
		}
	}
	if d == nil {
		return nil
	}
	for _, n := range x.f.Objects.Notes {
		if ignoredTracing(n) {
			d.evidence = append(d.evidence, say("%s: %s", place(n.Ref), heard(n.Message)))
		}
	}
	if strings.Contains(d.object.Path, "global.meshConfig") {
		d.fix.Diff = diff(d.object, "global:\n  meshConfig: …", "meshConfig: …")
		d.fix.Command = "helm upgrade istiod istio/istiod -n " + x.root() + " -f " + firstOf(d.object.File, "values.yaml")
	}
	return d
}

// ignoredTracing: a note about values that should have set tracing.
func ignoredTracing(n istio.Note) bool {
	return n.Reason == "values" && (strings.Contains(n.Path, "global.meshConfig") || strings.Contains(n.Path, "global.tracer"))
}

// writtenNotInForce: a provider is written in values or an operator's file, and istiod does not have it.
func (x *exam) writtenNotInForce(s *subject) *draft {
	if x.f.Effective == nil || x.raw == nil || x.raw.Invalid {
		return nil
	}
	for _, p := range x.raw.TracingProviders(x.f.Istio) {
		if x.mesh.Provider(p.Name) == nil {
			at := x.raw.Ref.At(prefixed(x.raw.Path, fmt.Sprintf("extensionProviders[%d]", p.Index)), p.Line)
			return &draft{code: "T0120", object: at, detail: say("provider %s is written in %s, and istiod does not have it", p.Name, x.raw.Ref), evidence: x.hcmEvidence(s, say("%s defines %s; istiod's mesh configuration in force does not", place(at), p.Name)),
				fix: Fix{text: say("Apply the file to the installation in use (its revision and values path), then look at the ConfigMap istio."), Command: "kubectl get configmap istio -n " + x.root() + " -o yaml"}}
		}
	}
	return nil
}

// filterCause: an EnvoyFilter tries to set tracing and cannot, or does not reach this workload.
func (x *exam) filterCause(s *subject) *draft {
	var dud, far *draft
	for i := range x.f.Objects.EnvoyFilters {
		e := &x.f.Objects.EnvoyFilters[i]
		works, reaches := false, false
		var why Text
		var bad *istio.Patch
		for j := range e.Patches {
			p := &e.Patches[j]
			if p.Tracer == "" && !p.HCM {
				continue
			}
			if reason := noEffect(p); !reason.empty() {
				if bad == nil {
					bad, why = p, reason
				}
				continue
			}
			works = true
			reaches = reaches || x.reaches(e, s) && patchContext(p, s.gateway) && x.versioned(p, s)
		}
		switch {
		case bad != nil && !works && dud == nil:
			dud = &draft{code: "T0114", object: e.Ref.At("spec.configPatches", bad.Line), detail: say("%s: %s", e.Ref, why), evidence: x.hcmEvidence(s, say("%s: applyTo %s, operation %s: %s", place(e.Ref.At("", bad.Line)), bad.ApplyTo, bad.Operation, why)), fix: filterFix(e, bad)}
		case works && !reaches && far == nil:
			far = x.filterScope(s, e)
		}
	}
	if dud != nil {
		return dud
	}
	return far
}

// noEffect tells why a patch cannot set tracing; empty if it can.
func noEffect(p *istio.Patch) Text {
	switch {
	case p.Bootstrap:
		return Text{}
	case p.ApplyTo != "NETWORK_FILTER":
		return say("tracing belongs to the connection manager, which is a NETWORK_FILTER; applyTo %s does not change it", p.ApplyTo)
	case p.Operation != "MERGE" && p.Operation != "REPLACE":
		operation := quote(p.Operation)
		if p.Operation == "" {
			operation = say("(none)")
		}
		return say("operation %s adds a filter and changes no existing connection manager", operation)
	case p.FilterName != "" && p.FilterName != "envoy.filters.network.http_connection_manager":
		return say("no network filter is called %s", p.FilterName)
	case !p.Typed:
		return say("the value has no typed_config, so nothing is merged into the connection manager")
	}
	return Text{}
}

func (x *exam) reaches(e *istio.EnvoyFilter, s *subject) bool {
	return (e.Namespace == x.root() || e.Namespace == s.namespace) && istio.Matches(e.Selector, s.labels) && len(e.Targets) == 0 && !s.waypoint && s.via == nil
}

// versioned: the patch's proxyVersion matches the proxy's Istio version.
func (x *exam) versioned(p *istio.Patch, s *subject) bool {
	version := x.f.Istio
	if s.proxy != nil && s.proxy.Istio != "" {
		version = s.proxy.Istio
	}
	if p.Version == "" || version == "" {
		return true
	}
	re, err := regexp.Compile(p.Version)
	return err == nil && re.MatchString(version)
}

func patchContext(p *istio.Patch, gateway bool) bool {
	switch p.Context {
	case "", "ANY":
		return true
	case "GATEWAY":
		return gateway
	}
	return !gateway
}

func (x *exam) filterScope(s *subject, e *istio.EnvoyFilter) *draft {
	var why Text
	fix := Fix{Command: editCommand(e.Ref)}
	switch {
	case e.Namespace != x.root() && e.Namespace != s.namespace:
		why = say("it is in namespace %s and reaches that only; the root namespace is %s", e.Namespace, x.root())
		fix.text = say("Move it to the root namespace %s.", x.root())
		fix.Diff = diff(e.Ref.At("metadata.namespace", 0), "namespace: "+e.Namespace, "namespace: "+x.root())
	case !istio.Matches(e.Selector, s.labels):
		why = say("its workloadSelector %s does not match %s", labelText(e.Selector), labelText(appLabels(s.labels)))
		fix.text = say("Correct or drop the workloadSelector.")
	case !slices.ContainsFunc(e.Patches, func(p istio.Patch) bool { return x.versioned(&p, s) }):
		why = say("its match.proxy.proxyVersion %s does not match %s", e.Patches[0].Version, x.f.Istio)
		if x.f.Istio == "" {
			why = say("its match.proxy.proxyVersion %s does not match this version", e.Patches[0].Version)
		}
		fix.text = say("Correct or drop proxyVersion.")
	default:
		why = say("none of its patches is for this context")
		if s.gateway {
			why = say("it has no patch for the context GATEWAY, and the gateway decides first")
		}
		fix.text = say("Add a patch for the missing context.")
	}
	return &draft{code: "T0115", object: e.Ref, detail: say("%s does not reach these workloads: %s", e.Ref, why), evidence: x.hcmEvidence(s, say("%s: %s", place(e.Ref), why)), fix: fix}
}

// effectiveFilter is the patch that would give a workload a tracer, of a proxy that was not seen.
func (x *exam) effectiveFilter(s *subject) *istio.Patch {
	for i := range x.f.Objects.EnvoyFilters {
		e := &x.f.Objects.EnvoyFilters[i]
		for j := range e.Patches {
			p := &e.Patches[j]
			if p.Tracer != "" && noEffect(p).empty() && x.reaches(e, s) && patchContext(p, s.gateway) && x.versioned(p, s) {
				return p
			}
		}
	}
	return nil
}
