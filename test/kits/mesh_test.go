package kits

import (
	"io"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/demo"
)

// mesh is a gateway before workload a, which calls workload b: three Envoys with one tracer. The applications come later: every port of theirs
// stands behind a redirect, which is what iptables is in a pod.
type mesh struct {
	gateway string         // host:port
	never   string         // host:port of a gateway that samples nothing
	out     map[int]string // by port: where the sidecar of a takes its calls
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
func newMesh(t *testing.T, envoy string, tracer demo.Tracer, c demo.Collector, p *pods) mesh {
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
	// One in a million, the least that Envoy knows.
	m.never = start(demo.Proxy{Router: true, Pod: "gateway-2", App: "gateway", Routes: routes, Percent: 0.0001}).Outbound(httpPort)
	return m
}

// redirect forwards connections to where it is told.
type redirect struct {
	addr string

	mu     sync.Mutex
	target string
	open   map[*net.TCPConn]chan struct{} // from the caller; closed when the connection has ended on both sides
}

func newRedirect(t *testing.T) *redirect {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &redirect{addr: l.Addr().String(), open: make(map[*net.TCPConn]chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.forward(from.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.to("")
		serving.Wait()
	})
	return r
}

// to ends the connections to the former target. Callers are told and close their end, so that none of them begins a request on a connection
// that is about to end; those that look only when they need a connection are not waited for longer than a second.
func (r *redirect) to(target string) {
	r.mu.Lock()
	r.target = target
	open := maps.Clone(r.open)
	r.mu.Unlock()
	for from := range open {
		_ = from.CloseWrite()
	}
	patience := time.After(time.Second)
	for from, ended := range open {
		select {
		case <-ended:
		case <-patience:
			patience = time.After(0)
			_ = from.Close()
			<-ended
		}
	}
}

func (r *redirect) forward(from *net.TCPConn) {
	defer from.Close()
	r.mu.Lock()
	target, ended := r.target, make(chan struct{})
	r.open[from] = ended
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, from)
		r.mu.Unlock()
		close(ended)
	}()
	to, err := net.Dial("tcp", target)
	if err != nil { // nobody is there: the caller sees its connection end
		return
	}
	defer to.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		_ = from.CloseWrite()
	})
	_, _ = io.Copy(to, from) // until the caller is done
	_ = to.Close()
	back.Wait()
}
