package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// injected: has the workload a proxy?
func (x *exam) injected(s *subject) bool {
	switch {
	case s.proxy != nil:
		s.green("injected", "a proxy answers%s", versions(s.proxy))
		return true
	case s.assumed:
		s.unknown("injected", "no workload was read")
		return true
	}
	w := s.written
	if s.ambient {
		return x.ambientStations(s)
	}
	if len(s.pods) > 1 || len(s.pods) == 1 && !w.Pod {
		if done, goOn := x.injectedPods(s); done {
			return goOn
		}
	}
	if w.HasProxy {
		s.green("injected", "the pod has a container istio-proxy")
		return true
	}
	if s.gateway {
		s.unknown("injected", "a gateway whose pods were not read")
		return true
	}
	why, in := x.injection(w)
	switch in {
	case yes:
		s.green("injected", "%s", why)
		return true
	case maybe:
		s.unknown("injected", "%s", why)
		return true
	}
	if !x.meant(w) {
		s.outside = true
		s.unknown("injected", "outside the mesh: %s", why)
		return false
	}
	if strings.HasPrefix(why.english, "the namespace") { // one cause for all its workloads
		at := istio.Ref{Kind: "Namespace", Name: w.Namespace}
		for _, n := range x.f.Objects.Namespaces {
			if n.Name == w.Namespace {
				at = n.Ref
			}
		}
		x.red(s, "injected", &draft{code: "T0203", object: at, detail: say("workloads of %s have no sidecar: %s", w.Namespace, why), evidence: []Text{say("%s: %s", place(at), why)},
			fix: Fix{text: say("Label the namespace %s for injection, and restart its workloads.", w.Namespace), Command: fmt.Sprintf("kubectl label namespace %s istio-injection=enabled --overwrite && kubectl rollout restart deployment -n %s", w.Namespace, w.Namespace)}})
		return false
	}
	x.red(s, "injected", &draft{code: "T0203", object: w.Ref, detail: say("%s has no sidecar: %s", s.name, why), evidence: []Text{why}, fix: sidecarFix(w.Namespace, w.Kind, w.Name)})
	return false
}

// injectedPods judges by the pods that run. done is false where none has a proxy and a new one would not get one either:
// then what keeps it from injection is the cause.
func (x *exam) injectedPods(s *subject) (done, goOn bool) {
	have, without := 0, ""
	for _, pod := range s.pods {
		if pod.HasProxy {
			have++
		} else {
			without = firstOf(without, pod.Name)
		}
	}
	if have == len(s.pods) {
		s.green("injected", "%d pods have a container istio-proxy", have)
		return true, true
	}
	w := s.written
	why, in := x.injection(w)
	if have == 0 && (in != yes || w.Pod || s.gateway) {
		return false, false
	}
	fix := Fix{text: say("Restart it: pods get their sidecar when they are made."), Command: fmt.Sprintf("kubectl rollout restart -n %s %s/%s", s.namespace, strings.ToLower(firstOf(w.Kind, "deployment")), s.workload)}
	if w.Pod {
		fix.Command = fmt.Sprintf("kubectl rollout restart -n %s %s/%s", s.namespace, strings.ToLower(firstOf(w.OfKind, "deployment")), s.workload)
	}
	d := &draft{code: "T0203", object: w.Ref, soft: have > 0, fix: fix, detail: say("%s has no sidecar: its pods were made before injection was switched on", s.name),
		evidence: []Text{why, say("pod %s has no container istio-proxy", without)}}
	if have > 0 {
		d.detail = say("%d of %d pods of %s have no sidecar", len(s.pods)-have, len(s.pods), s.name)
	}
	x.red(s, "injected", d)
	return true, have > 0
}

func versions(p *envoy.Proxy) string {
	s := ""
	if p.Envoy != "" {
		s = ": Envoy " + p.Envoy
	}
	if p.Istio != "" {
		s += ", Istio " + p.Istio
	}
	return s
}

type answer int

const (
	maybe answer = iota
	yes
	no
)

// injection tells whether a pod made now would get a sidecar, and why.
func (x *exam) injection(w *istio.Workload) (Text, answer) {
	switch {
	case w.Pod:
		return say("the running pod has no container istio-proxy"), no
	case w.HostNetwork:
		return say("hostNetwork pods are never injected"), no
	case w.Labels["sidecar.istio.io/inject"] == "false" || w.Annotations["sidecar.istio.io/inject"] == "false":
		return say("sidecar.istio.io/inject is false"), no
	}
	i := slices.IndexFunc(x.f.Objects.Namespaces, func(n istio.Namespace) bool { return n.Name == w.Namespace })
	if i < 0 {
		if w.Labels["sidecar.istio.io/inject"] == "true" {
			return say("sidecar.istio.io/inject is true"), yes
		}
		return say("the namespace's labels were not read"), maybe
	}
	l := x.f.Objects.Namespaces[i].Labels
	switch {
	case l["istio-injection"] == "disabled":
		return say("the namespace has istio-injection=disabled"), no
	case w.Labels["sidecar.istio.io/inject"] == "true":
		return say("sidecar.istio.io/inject is true"), yes
	case l["istio-injection"] == "enabled":
		return say("the namespace has istio-injection=enabled"), yes
	case l["istio.io/rev"] != "":
		return say("the namespace has istio.io/rev=%s", l["istio.io/rev"]), yes
	}
	return say("the namespace has neither istio-injection=enabled nor istio.io/rev"), no
}

// meant tells whether a workload without sidecar should have one: its namespace is in the mesh, or HTTP routes lead to it.
func (x *exam) meant(w *istio.Workload) bool {
	for _, n := range x.f.Objects.Namespaces {
		if n.Name == w.Namespace && (n.Labels["istio-injection"] == "enabled" || n.Labels["istio.io/rev"] != "") {
			return true
		}
	}
	for _, svc := range x.f.Objects.Services {
		if svc.Namespace != w.Namespace || len(svc.Selector) == 0 || !istio.Matches(svc.Selector, w.Labels) {
			continue
		}
		if slices.ContainsFunc(x.f.Objects.Routes, func(r istio.Route) bool { return slices.Contains(svc.Hosts, r.Host) }) {
			return true
		}
	}
	return false
}
