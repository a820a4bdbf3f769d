package lab

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// object is what controllers read of any kind.
type object struct {
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
		Annotations     map[string]string
	}
}

type deployment struct {
	object
	Spec struct {
		Replicas *int
		Template struct {
			Metadata struct {
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
			Spec struct {
				Containers []container `json:"containers"`
			} `json:"spec"`
		}
	}
}

type container struct {
	Name  string     `json:"name"`
	Image string     `json:"image"`
	Args  []string   `json:"args,omitempty"`
	Env   []variable `json:"env,omitempty"`
	Ports []struct {
		ContainerPort int    `json:"containerPort"`
		Name          string `json:"name,omitempty"`
	} `json:"ports,omitempty"`
}

type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type service struct {
	object
	Spec struct {
		Selector map[string]string
		Ports    []struct {
			Name, Protocol string
			Port           int
			TargetPort     any
		}
	}
}

// Apply writes objects as kubectl would, and lets the controllers see them.
func (l *Lab) Apply(text string) {
	l.t.Helper()
	l.kube.Apply("somebody", text)
	l.reconcile()
}

// Delete removes an object, and lets the controllers see it.
func (l *Lab) Delete(kind, namespace, name string) {
	l.t.Helper()
	l.kube.Delete(kind, namespace, name)
	l.reconcile()
}

// Merge changes an object by a merge patch in YAML, and lets the controllers see it.
func (l *Lab) Merge(kind, namespace, name, patch string) {
	l.t.Helper()
	l.kube.Merge(l.kube.Path(kind, namespace, name), patch)
	l.reconcile()
}

// reconcile does what controllers do after a change: pods for Deployments whose template is new, then endpoints for Services.
func (l *Lab) reconcile() {
	l.t.Helper()
	var list struct{ Items []deployment }
	l.kube.Get("/apis/apps/v1/deployments", &list)
	// Proxies need istiod, and injection asks it; the rest starts together.
	slices.SortStableFunc(list.Items, func(a, b deployment) int { return order(a) - order(b) })
	var fresh []*pod
	for _, d := range list.Items {
		if p := l.rollOut(d); p != nil && order(d) == 0 {
			l.ready(p)
			l.endpoints()
		} else if p != nil {
			fresh = append(fresh, p)
		}
	}
	for _, p := range fresh {
		l.ready(p)
	}
	l.endpoints()
}

func order(d deployment) int {
	if d.Metadata.Name == "istiod" {
		return 0
	}
	return 1
}

// rollOut replaces the pod of a Deployment if its template changed, and answers the new one.
func (l *Lab) rollOut(d deployment) *pod {
	l.t.Helper()
	text, err := json.Marshal(d.Spec.Template)
	if err != nil {
		l.t.Fatal(err)
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(text))[:9]
	key := d.Metadata.Namespace + "/" + d.Metadata.Name
	old := l.pods[key]
	gone := d.Spec.Replicas != nil && *d.Spec.Replicas == 0
	if old != nil && old.hash == hash && !gone {
		return nil
	}
	if old != nil {
		l.kill(old)
		l.kube.Delete("Pod", old.namespace, old.name)
		delete(l.pods, key)
	}
	if gone {
		return nil
	}
	p := l.newPod(d, hash)
	l.mu.Lock()
	l.pods[key] = p
	l.mu.Unlock()
	return p
}

// endpoints writes an EndpointSlice for each Service with a selector, and removes those of Services that are gone.
func (l *Lab) endpoints() {
	l.t.Helper()
	var services struct{ Items []service }
	l.kube.Get("/api/v1/services", &services)
	wanted := make(map[string]bool)
	for _, s := range services.Items {
		if len(s.Spec.Selector) == 0 {
			continue
		}
		name := s.Metadata.Name + "-lab"
		wanted[s.Metadata.Namespace+"/"+name] = true
		var ends []any
		var ports []any
		for _, key := range slices.Sorted(maps.Keys(l.pods)) {
			p := l.pods[key]
			if p.namespace != s.Metadata.Namespace || !matches(s.Spec.Selector, p.labels) {
				continue
			}
			ends = append(ends, map[string]any{"addresses": []string{p.Addr.String()}, "conditions": map[string]any{"ready": p.ready}, "nodeName": node,
				"targetRef": map[string]any{"kind": "Pod", "namespace": p.namespace, "name": p.name}})
		}
		for _, port := range s.Spec.Ports {
			target := port.Port
			switch t := port.TargetPort.(type) {
			case float64:
				target = int(t)
			case string:
				if n, err := strconv.Atoi(t); err == nil {
					target = n
				}
			}
			entry := map[string]any{"port": target, "protocol": port.Protocol}
			if port.Name != "" {
				entry["name"] = port.Name
			}
			ports = append(ports, entry)
		}
		if ends == nil {
			ends = []any{}
		}
		slice := map[string]any{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": ends, "ports": ports,
			"metadata": map[string]any{"name": name, "namespace": s.Metadata.Namespace, "labels": map[string]string{"kubernetes.io/service-name": s.Metadata.Name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
				"ownerReferences": []any{map[string]any{"apiVersion": "v1", "kind": "Service", "name": s.Metadata.Name, "uid": "0", "controller": true}}}}
		text, err := yaml.Marshal(slice)
		if err != nil {
			l.t.Fatal(err)
		}
		l.kube.Apply("controllers", string(text))
	}
	var slicesThere struct{ Items []object }
	l.kube.Get("/apis/discovery.k8s.io/v1/endpointslices", &slicesThere)
	for _, s := range slicesThere.Items {
		if strings.HasSuffix(s.Metadata.Name, "-lab") && !wanted[s.Metadata.Namespace+"/"+s.Metadata.Name] {
			l.kube.Delete("EndpointSlice", s.Metadata.Namespace, s.Metadata.Name)
		}
	}
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// ready waits until a pod is ready as its containers' probes have it, and writes that into its status.
func (l *Lab) ready(p *pod) {
	l.t.Helper()
	var wg sync.WaitGroup
	for _, probe := range p.probes {
		wg.Go(func() {
			p.result(probe, l.within(time.Minute, func() bool {
				res, err := p.http.Get("http://" + probe)
				if err != nil {
					return false
				}
				res.Body.Close()
				return res.StatusCode == http.StatusOK
			}))
		})
	}
	wg.Wait()
	if len(p.failed) > 0 {
		l.t.Fatalf("pod %s/%s is not ready, by %v:\n%s", p.namespace, p.name, p.failed, p.tails())
	}
	p.ready = true
	l.status(p)
}

func (l *Lab) status(p *pod) {
	l.t.Helper()
	l.kube.Merge(l.kube.Path("Pod", p.namespace, p.name)+"/status", fmt.Sprintf(`status: {phase: Running, podIP: %[1]s, podIPs: [{ip: %[1]s}], startTime: %[2]q, conditions: [{type: Ready, status: %[3]q}, {type: ContainersReady, status: %[3]q}]}`,
		p.Addr, p.started.UTC().Format(time.RFC3339), map[bool]string{true: "True", false: "False"}[p.ready]))
}
