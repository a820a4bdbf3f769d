package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// Ports of a sidecar and of istiod.
const (
	statsPort  = 15090 // Prometheus form, on the pod's address
	adminPort  = 15000 // Envoy's admin, on the pod's loopback
	debugPort  = 8080  // istiod's debug endpoints, for its own pod only
	debugPort2 = 15014 // the same beside its metrics
)

// statsOfTracing asks Envoy only for what says something about tracing: a sidecar of a large mesh has 100,000 statistics.
const statsOfTracing = `/stats?filter=(tracing\.|upstream_cx_(connect_|none_|protocol_)|upstream_rq_|ssl\.|update_rejected|server\.uptime|membership_total)`

// Proxies adds the state of proxies to facts whose objects were read before, with o.Level, o.Only and o.Proxies as bounds.
func (c *Client) Proxies(ctx context.Context, f *doctor.Facts, o ClusterOptions) error {
	r := c.reading(o, f)
	for i := range f.Objects.Workloads {
		if w := &f.Objects.Workloads[i]; o.Istio == "" && w.Labels["app"] == "istiod" {
			r.root = w.Namespace
		}
	}
	r.proxies(ctx)
	return ctx.Err()
}

// proxies reads levels 2 and 3 as far as they are granted: istiod's mesh configuration in force, and the state of one proxy of
// each workload.
func (r *reading) proxies(ctx context.Context) {
	forward := r.o.Level >= LevelAdmin
	if forward && !r.grantedFor(ctx, "create", &podForward, "Envoy's state and istiod's debug endpoints are unknown") {
		forward = false
	}
	stats := !forward && r.grantedFor(ctx, "get", &podProxy, "the proxies' statistics are unknown")
	if !forward && !stats {
		return
	}
	if forward {
		r.istiod(ctx)
	}
	pods := r.chosen()
	wanted := collectorHosts(r.f)
	found := make([]*envoy.Proxy, len(pods))
	turns := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	done := 0
	for i, pod := range pods {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-turns }()
			p := proxyOf(pod)
			err := r.proxy(ctx, p, pod, forward)
			if err != nil && ctx.Err() == nil {
				r.unread("proxy of "+pod.Namespace+"/"+pod.Name, err.Error())
			}
			if p.Has != (envoy.Parts{}) {
				p.Keep(wanted)
				found[i] = p
			}
			r.mu.Lock()
			done++
			n := done
			r.mu.Unlock()
			r.o.Progress("proxies", n, len(pods))
		})
	}
	wg.Wait()
	for _, p := range found {
		if p != nil {
			r.f.Proxies = append(r.f.Proxies, *p)
		}
	}
}

// grantedFor asks for a right everywhere, or where that is enough with -n, in the namespace asked for.
func (r *reading) grantedFor(ctx context.Context, verb string, k *kind, without string) bool {
	places, err := r.granted(ctx, verb, k, r.near())
	switch {
	case err != nil:
		if ctx.Err() == nil {
			r.unread(k.resource, err.Error())
		}
		return false
	case len(places) == 0:
		r.unread(k.resource, "no right to "+verb+" them: "+without+" (`spanloom doctor roles` prints what is needed)")
		return false
	case places[0] != "":
		r.only = places
	}
	return true
}

// chosen are the pods whose proxies are asked: of each workload the oldest that is ready, since that one shows what was not
// restarted; collectors and system pods too, if they have one.
func (r *reading) chosen() []*istio.Workload {
	byWorkload := make(map[string][]*istio.Workload)
	var names []string
	for i := range r.f.Objects.Workloads {
		w := &r.f.Objects.Workloads[i]
		if !w.Pod || !w.HasProxy || r.only != nil && !slices.Contains(r.only, w.Namespace) || r.o.Namespace != "" && w.Namespace != r.o.Namespace && !isGatewayPod(w) {
			continue
		}
		name := w.Namespace + "/" + cmp.Or(w.Of, w.Name)
		if r.o.Workload != "" && r.o.Workload != name && r.o.Workload != cmp.Or(w.Of, w.Name) || r.o.Only != nil && !r.o.Only(w.Namespace, cmp.Or(w.Of, w.Name)) {
			continue
		}
		if byWorkload[name] == nil {
			names = append(names, name)
		}
		byWorkload[name] = append(byWorkload[name], w)
	}
	var out []*istio.Workload
	for _, name := range names {
		pods := byWorkload[name]
		slices.SortStableFunc(pods, func(a, b *istio.Workload) int {
			if a.Ready != b.Ready {
				if a.Ready {
					return -1
				}
				return 1
			}
			return strings.Compare(a.Started, b.Started)
		})
		out = append(out, pods[0])
	}
	if len(out) > r.o.Proxies {
		r.unread("proxies", fmt.Sprintf("%d workloads have a proxy, the state of %d was read: name a namespace (-n) or raise --proxies", len(out), r.o.Proxies))
		out = out[:r.o.Proxies]
	}
	return out
}

// isGatewayPod: requests come through gateways, whatever namespace is asked for.
func isGatewayPod(w *istio.Workload) bool {
	return w.Gateway || strings.Contains(w.Labels["istio"], "gateway")
}

// proxyOf is what the pod's object says of its proxy.
func proxyOf(pod *istio.Workload) *envoy.Proxy {
	p := &envoy.Proxy{Name: pod.Name, Type: "sidecar", Namespace: pod.Namespace, Workload: cmp.Or(pod.Of, pod.Name), Pod: pod.Name, Istio: pod.Version,
		Labels: pod.Labels, Annotations: pod.Annotations, Config: pod.Running, Annotated: pod.Config}
	if isGatewayPod(pod) {
		p.Type = "router"
	}
	if pod.Running != nil {
		p.Node = fmt.Sprintf("%s~%s~%s.%s~%s.svc.%s", p.Type, pod.IP, pod.Name, pod.Namespace, pod.Namespace, istio.Domain)
	}
	return p
}

// proxy reads one proxy. An error tells what is missing; the rest is there.
func (r *reading) proxy(ctx context.Context, p *envoy.Proxy, pod *istio.Workload, forward bool) error {
	ctx, cancel := context.WithTimeout(ctx, proxyPatience)
	defer cancel()
	if !forward {
		body, err := r.open(ctx, http.MethodGet, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/stats/prometheus", pod.Namespace, pod.Name, r.o.StatsPort), nil, nil)
		if err != nil {
			return err
		}
		defer body.Close()
		return p.ReadStats(body)
	}
	conn, err := r.dialPod(ctx, pod.Namespace, pod.Name)
	if err != nil {
		return err
	}
	defer conn.Close()
	get := func(path string, read func(io.Reader) error) error {
		body, err := conn.get(ctx, adminPort, path)
		if err != nil {
			return fmt.Errorf("%s: %w", strings.SplitN(path[1:], "?", 2)[0], err)
		}
		defer body.Close()
		return read(body)
	}
	if err := get("/server_info", p.ServerInfo); err != nil {
		return err // the port is closed, or it is no Envoy
	}
	return errors.Join(get("/config_dump?include_eds", p.Dump), get("/clusters", p.ReadClusters), get(statsOfTracing, p.ReadStats))
}

// istiod reads the mesh configuration in force from the debug endpoint of one istiod.
func (r *reading) istiod(ctx context.Context) {
	var pods []*istio.Workload
	for i := range r.f.Objects.Workloads {
		if w := &r.f.Objects.Workloads[i]; w.Pod && w.Labels["app"] == "istiod" && w.Ready {
			pods = append(pods, w)
		}
	}
	if len(pods) == 0 {
		r.unread("istiod", "no ready pod of istiod was found: what is in force is unknown")
		return
	}
	r.o.Progress("istiod", 0, 1)
	ctx, cancel := context.WithTimeout(ctx, proxyPatience)
	defer cancel()
	pod := pods[0]
	if r.only != nil && !slices.Contains(r.only, pod.Namespace) {
		r.unread("istiod", "no right to port-forward in "+pod.Namespace+": what is in force is unknown")
		return
	}
	err := func() error {
		conn, err := r.dialPod(ctx, pod.Namespace, pod.Name)
		if err != nil {
			return err
		}
		defer conn.Close()
		body, err := conn.get(ctx, debugPort, "/debug/mesh")
		if err != nil {
			if body, err = conn.get(ctx, debugPort2, "/debug/mesh"); err != nil {
				return err
			}
		}
		defer body.Close()
		data, err := io.ReadAll(io.LimitReader(body, 4<<20))
		if err != nil {
			return err
		}
		reader := &istio.Reader{NoLines: true}
		if err := reader.Effective("", data); err != nil {
			return fmt.Errorf("read /debug/mesh: %w", err)
		}
		if len(reader.Meshes) > 0 {
			r.f.Effective = &reader.Meshes[0]
		}
		return nil
	}()
	if err != nil {
		r.unread("istiod "+pod.Namespace+"/"+pod.Name, err.Error())
	}
	r.o.Progress("istiod", 1, 1)
}
