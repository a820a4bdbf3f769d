package kits

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
)

// mesh is a gateway before workload a, which calls workload b: three Envoys with one tracer. The applications come later: every port of theirs
// stands behind a redirect, which is what iptables is in a pod.
type mesh struct {
	gateway string // host:port
	never   string // host:port of a gateway that samples nothing, or ""
	out     map[int]string
}

const (
	httpPort = 8080
	grpcPort = 9090
)

// pods are the places where applications listen and what they call, for all meshes.
type pods struct {
	aHTTP, bHTTP, bGRPC *redirect // to the applications
	outHTTP, outGRPC    *redirect // what a calls: its sidecar, of the mesh in use
}

func newPods(t *testing.T) *pods {
	return &pods{newRedirect(t), newRedirect(t), newRedirect(t), newRedirect(t), newRedirect(t)}
}

// use makes workload a's calls go through the mesh's sidecar.
func (p *pods) use(m mesh) {
	p.outHTTP.to(m.out[httpPort])
	p.outGRPC.to(m.out[grpcPort])
}

// newMesh starts the Envoys; they report at once and end with the test.
func newMesh(t *testing.T, envoy string, tracer demo.Tracer, c demo.Collector, p *pods, unsampled bool) mesh {
	t.Helper()
	dir := t.TempDir()
	start := func(proxy demo.Proxy) *demo.Envoy {
		proxy.Version, proxy.Namespace, proxy.Address, proxy.Tracer = "v1", "kits", "127.0.0.1", tracer
		e, err := demo.StartEnvoy(t.Context(), demo.EnvoyOptions{Path: envoy, WorkDir: dir, Proxy: proxy, Collector: c,
			Flush: demo.Flush{Interval: 50 * time.Millisecond, Spans: 1}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		return e
	}
	b := start(demo.Proxy{Pod: "b-1", App: "b", Inbound: []demo.Inbound{
		{Host: "b.kits.svc.cluster.local", Port: httpPort, App: p.bHTTP.addr},
		{Host: "b.kits.svc.cluster.local", Port: grpcPort, App: p.bGRPC.addr, GRPC: true}}})
	// The application calls an address, not a name that a cluster's DNS would know, and the sidecar tells hosts by the name called.
	a := start(demo.Proxy{Pod: "a-1", App: "a", Inbound: []demo.Inbound{{Host: "a.kits.svc.cluster.local", Port: httpPort, App: p.aHTTP.addr}},
		Outbound: []demo.Service{
			{Host: "127.0.0.1", Port: httpPort, Endpoints: []string{b.Inbound(httpPort)}},
			{Host: "127.0.0.1", Port: grpcPort, Endpoints: []string{b.Inbound(grpcPort)}, GRPC: true}}})
	routes := []demo.Route{{Prefix: "/", To: demo.Service{Host: "a.kits.svc.cluster.local", Port: httpPort, Endpoints: []string{a.Inbound(httpPort)}}}}
	m := mesh{out: map[int]string{httpPort: a.Outbound(httpPort), grpcPort: a.Outbound(grpcPort)}}
	m.gateway = start(demo.Proxy{Router: true, Pod: "gateway-1", App: "gateway", Routes: routes}).Outbound(httpPort)
	if unsampled { // one in a million, the least that Envoy knows
		m.never = start(demo.Proxy{Router: true, Pod: "gateway-2", App: "gateway", Routes: routes, Percent: 0.0001}).Outbound(httpPort)
	}
	return m
}

// redirect forwards connections to where it is told.
type redirect struct {
	addr string

	mu     sync.Mutex
	target string
	open   map[net.Conn]bool
}

func newRedirect(t *testing.T) *redirect {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &redirect{addr: l.Addr().String(), open: make(map[net.Conn]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.forward(from) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.to("")
		serving.Wait()
	})
	return r
}

// to ends the connections to the former target, so that none is used again.
func (r *redirect) to(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	for c := range r.open {
		_ = c.Close()
	}
	clear(r.open)
}

func (r *redirect) forward(from net.Conn) {
	defer from.Close()
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	to, err := net.Dial("tcp", target)
	if err != nil { // nobody is there: the caller sees its connection end
		return
	}
	defer to.Close()
	r.mu.Lock()
	same := r.target == target
	if same {
		r.open[from], r.open[to] = true, true
	}
	r.mu.Unlock()
	if !same {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close() // the other way ends too
			_ = way[1].Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	delete(r.open, from)
	delete(r.open, to)
	r.mu.Unlock()
}
