package istio

import (
	"cmp"
	"slices"
)

// In ambient mode a node's ztunnel carries the connections of pods, and makes no spans. What makes them is a waypoint: a
// Gateway of its own class whose proxy the requests to a Service, or to a pod itself, pass through.

// Labels of ambient mode.
const (
	modeLabel      = "istio.io/dataplane-mode"
	useLabel       = "istio.io/use-waypoint"
	usePlaceLabel  = "istio.io/use-waypoint-namespace"
	forLabel       = "istio.io/waypoint-for"
	managedLabel   = "gateway.istio.io/managed"
	managedAsMesh  = "istio.io-mesh-controller"
	redirectedNote = "ambient.istio.io/redirection"
)

// Gateway is a Gateway of the Gateway API.
type Gateway struct {
	Ref
	Class  string `json:"class"`
	For    string `json:"waypointFor,omitempty"` // of a waypoint: service, workload, all, none; empty is service
	Shared bool   `json:"shared,omitempty"`      // others' namespaces may use it
}

// Waypoint tells whether the Gateway is one of Istio's waypoints.
func (g *Gateway) Waypoint() bool { return g.Class == waypointClass }

func (g *Gateway) takes(what string) bool {
	f := cmp.Or(g.For, "service")
	return f == "all" || f == what
}

// IsWaypoint tells by its labels whether a pod is one of a waypoint; istiod, which makes them, sets the label.
func (o *Objects) IsWaypoint(namespace string, labels map[string]string) bool {
	if labels[managedLabel] == managedAsMesh {
		return true
	}
	g := o.gateway(namespace, labels[gatewayNameLabel])
	return g != nil && g.Waypoint()
}

func (o *Objects) gateway(namespace, name string) *Gateway {
	i := slices.IndexFunc(o.Gateways, func(g Gateway) bool { return g.Namespace == namespace && g.Name == name && name != "" })
	if i < 0 {
		return nil
	}
	return &o.Gateways[i]
}

func (o *Objects) namespaceLabels(name string) map[string]string {
	i := slices.IndexFunc(o.Namespaces, func(n Namespace) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return o.Namespaces[i].Labels
}

// Ambient tells whether the connections of a workload without a sidecar go through a ztunnel: its pods say so, or its
// namespace does and they do not object. A sidecar keeps it out, one that is still to be injected too; so do a gateway or
// waypoint and the host's network.
func (o *Objects) Ambient(w *Workload) bool {
	if w.HasProxy || w.HostNetwork || w.Gateway || w.Labels[gatewayNameLabel] != "" {
		return false
	}
	place, inject := o.namespaceLabels(w.Namespace), w.Labels["sidecar.istio.io/inject"]
	switch {
	case w.Annotations[redirectedNote] == "enabled":
		return true
	case inject == "true", inject != "false" && (place["istio-injection"] == "enabled" || place["istio.io/rev"] != ""):
		return false
	}
	return cmp.Or(w.Labels[modeLabel], place[modeLabel]) == "ambient"
}

// Use is a waypoint that a workload's requests pass.
type Use struct {
	Namespace string
	Name      string
	Gateway   *Gateway     // nil: none of that name is among what was read
	Service   *ServiceName // whose requests they are; nil: those sent to the pods' own addresses
	By        Ref          // what names it: the Service, the workload or the namespace
}

// Proxy is the waypoint's proxy as it deals with those requests.
func (u *Use) Proxy() Proxy {
	return Proxy{Namespace: u.Namespace, Labels: map[string]string{gatewayNameLabel: u.Name, managedLabel: managedAsMesh}, Waypoint: true, Service: u.Service}
}

// Waypoints are those that requests to a workload pass: by each Service in front of it (the Service's own label before
// its namespace's), and by the pods themselves. A waypoint that is not made for the kind of request does not count; one
// that was not read does, with Gateway nil.
func (o *Objects) Waypoints(w *Workload) []Use {
	place := o.namespaceLabels(w.Namespace)
	by := Ref{Kind: "Namespace", Name: w.Namespace}
	if i := slices.IndexFunc(o.Namespaces, func(n Namespace) bool { return n.Name == w.Namespace }); i >= 0 {
		by = o.Namespaces[i].Ref
	}
	var out []Use
	add := func(own map[string]string, from Ref, kind string, service *ServiceName) {
		u := Use{Name: own[useLabel], Namespace: cmp.Or(own[usePlaceLabel], w.Namespace), By: from, Service: service}
		if u.Name == "" {
			u.Name, u.Namespace, u.By = place[useLabel], cmp.Or(place[usePlaceLabel], w.Namespace), by
		}
		u.Gateway = o.gateway(u.Namespace, u.Name)
		if u.Name == "" || u.Name == "none" || u.Gateway != nil && (!u.Gateway.Waypoint() || !u.Gateway.takes(kind) || !u.Gateway.Shared && u.Namespace != w.Namespace) {
			return
		}
		out = append(out, u)
	}
	for i := range o.Services {
		if s := &o.Services[i]; s.Namespace == w.Namespace && len(s.Selector) > 0 && Matches(s.Selector, w.Labels) {
			add(s.Uses, s.Ref, "service", &ServiceName{Namespace: s.Namespace, Name: s.Name, Entry: s.Entry})
		}
	}
	if u := w.Labels[useLabel]; u != "" || !slices.ContainsFunc(out, func(u Use) bool { return u.Gateway == nil }) {
		add(w.Labels, w.Ref, "workload", nil)
	}
	return out
}

// uses are the labels of a Service that name its waypoint.
func uses(labels map[string]string) map[string]string {
	var out map[string]string
	for _, k := range []string{useLabel, usePlaceLabel} {
		if v := labels[k]; v != "" {
			if out == nil {
				out = make(map[string]string)
			}
			out[k] = v
		}
	}
	return out
}
