package live

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// meshOf is a cluster of the test: web, api and gone have sidecars, db has none.
type meshOf struct {
	mu      sync.Mutex
	extra   int // further workloads
	failure error
	lists   int
	asked   []string
	changes chan string // given to Watch
}

func (m *meshOf) Cluster(_ context.Context, o collect.ClusterOptions) (*doctor.Facts, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists++
	if m.failure != nil {
		return nil, m.failure
	}
	full := 100.0
	f := &doctor.Facts{Version: 1, Source: "cluster", Collected: o.Now().UnixNano() + int64(m.lists)}
	f.Objects.Counts = map[string]int{"Pod": 4}
	f.Objects.Meshes = []istio.MeshConfig{{Ref: istio.Ref{Kind: "ConfigMap", Namespace: "istio-system", Name: "istio"}, Form: "configmap",
		Providers: []istio.Provider{{Name: "otel", Type: "opentelemetry", Service: "spanloom.t.svc.cluster.local", Port: 4317}}}}
	f.Objects.Telemetries = []istio.Telemetry{{Ref: istio.Ref{Kind: "Telemetry", Namespace: "istio-system", Name: "mesh"}, Tracing: []istio.TracingRule{{Providers: []string{"otel"}, Sampling: &full}}}}
	f.Objects.Services = []istio.Service{{Ref: istio.Ref{Kind: "Service", Namespace: "t", Name: "spanloom"}, Hosts: []string{"spanloom.t.svc.cluster.local"}, Ports: []istio.Port{{Number: 4317, Name: "grpc-otlp"}}}}
	names := []string{"web", "api", "gone", "db"}
	for i := range m.extra {
		names = append(names, fmt.Sprintf("w%05d", i))
	}
	for _, n := range names {
		f.Objects.Workloads = append(f.Objects.Workloads, istio.Workload{Ref: istio.Ref{Kind: "Pod", Namespace: "shop", Name: n + "-1"}, Pod: true, Of: n, OfKind: "Deployment", HasProxy: n != "db", Ready: true, Labels: map[string]string{"app": n, "note": fmt.Sprintf("%x", sha256.Sum256([]byte(n)))}})
	}
	return f, nil
}

func (m *meshOf) Proxies(_ context.Context, f *doctor.Facts, o collect.ClusterOptions) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range f.Objects.Workloads {
		if w.HasProxy && o.Only(w.Namespace, w.Of) {
			m.asked = append(m.asked, w.Of)
			f.Proxies = append(f.Proxies, envoy.Proxy{Name: w.Name, Namespace: w.Namespace, Workload: w.Of, Pod: w.Name, Has: envoy.Parts{Stats: true}})
		}
	}
	return nil
}

func (m *meshOf) Watch(ctx context.Context, _ *collect.Changes, most time.Duration) (string, error) {
	select {
	case what := <-m.changes:
		return what, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// replicas are doctors over one store.
func replicas(t *testing.T, clusters ...Cluster) ([]*Doctor, *mem.Engine, *time.Time) {
	t.Helper()
	now := clock()
	tell := func() time.Time { return now }
	e := mem.New(mem.Options{Now: tell})
	t.Cleanup(func() { e.Close() })
	if err := e.Accept(t.Context(), storetest.Batch(t, spans)); err != nil {
		t.Fatal(err)
	}
	var out []*Doctor
	for i, c := range clusters {
		out = append(out, New(Options{Query: query.New(query.Options{Reader: e, Keeper: e, Meta: e, Now: tell}), Receipts: ledger, Now: tell,
			Cluster: c, Meta: e, CompareAndSet: true, Replica: fmt.Sprint("replica-", i)}))
		out[i].watcher.seen = new(collect.Changes)
	}
	return out, e, &now
}

// Only proxies of workloads that are silent or broken are asked, each once in a while; what they said is believed for a while.
func TestSuspectsOnly(t *testing.T) {
	m := &meshOf{}
	all, _, now := replicas(t, m)
	d := all[0]
	for _, c := range []struct {
		after time.Duration
		asked string
	}{{0, "web gone"}, {time.Minute, "web gone"}, {askedAgain, "web gone web gone"}} { // web loses context, gone is silent
		*now = now.Add(c.after)
		if err := d.read(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(m.asked, " "); got != c.asked {
			t.Errorf("after %s: asked %s, want %s", c.after, got, c.asked)
		}
	}
	r, err := d.Report(t.Context(), scope, window(), nil, false, doctor.Options{})
	if err != nil || r.Source != "cluster" || r.Collected == 0 || len(r.Stations) < 5 {
		t.Fatalf("%v\n%s", err, summary(r))
	}
	for _, c := range r.Stations {
		if c.Workload == "shop/web" && c.Stations[1].State != doctor.Green {
			t.Errorf("the cluster's policy is not in the chain: %+v", c.Stations)
		}
	}
	m.extra = 100
	m.asked = nil
	*now = now.Add(believed + time.Minute)
	if err := d.read(t.Context(), scope); err != nil {
		t.Fatal(err)
	}
	if len(m.asked) != proxiesAt {
		t.Errorf("%d proxies asked in one reading, at most %d may be", len(m.asked), proxiesAt)
	}
	m.failure = errors.New("no route to host")
	if err := d.read(t.Context(), scope); err == nil {
		t.Error("a reading that failed is none")
	}
	if r, err = d.Report(t.Context(), scope, window(), nil, false, doctor.Options{}); err != nil || r.Source != "cluster" || !strings.Contains(summary(r), "unread cluster: the newest reading failed") {
		t.Errorf("%v\n%s", err, summary(r))
	}
}

// In a pod whose service account may read nothing, the server knows what it knows without a cluster, and says why.
func TestNoRights(t *testing.T) {
	all, _, _ := replicas(t, closed{})
	if err := all[0].read(t.Context(), scope); err == nil || !strings.Contains(err.Error(), "nothing of it may be read: pods: no right") {
		t.Error(err)
	}
	r, err := all[0].Report(t.Context(), scope, window(), nil, false, doctor.Options{})
	if err != nil || r.Source != "server" || !strings.Contains(summary(r), "unread cluster: nothing of it may be read") || !strings.Contains(summary(r), "shop/web green green red") {
		t.Errorf("%v\n%s", err, summary(r))
	}
}

// closed is a cluster that grants nothing.
type closed struct{ *meshOf }

func (closed) Cluster(context.Context, collect.ClusterOptions) (*doctor.Facts, error) {
	return &doctor.Facts{Version: 1, Source: "cluster", Unread: []doctor.Unread{{Name: "pods", Why: "no right to list them"}}}, nil
}

// One replica reads, others take its facts over, also those that fill many documents; when it goes, another reads.
func TestOneReplicaReads(t *testing.T) {
	m := &meshOf{extra: 4000}
	all, e, now := replicas(t, m, m)
	a := &lease{meta: e, scope: scope, replica: "a", now: func() time.Time { return *now }, shared: true}
	b := &lease{meta: e, scope: scope, replica: "b", now: func() time.Time { return *now }, shared: true}
	holds := func(l *lease, want bool) {
		t.Helper()
		if got, err := l.hold(t.Context()); err != nil || got != want {
			t.Errorf("%s holds the lease: %v %v", l.replica, got, err)
		}
	}
	holds(a, true)
	holds(b, false)
	*now = now.Add(leaseRenewed)
	holds(a, true)
	*now = now.Add(leaseHeld - 1)
	holds(b, false)
	*now = now.Add(2)
	holds(b, true) // a did not renew it
	holds(a, false)
	b.release(t.Context())
	holds(a, true)
	if _, err := e.Save(t.Context(), scope, leaseName, []byte("{"), version(t, e, leaseName)); err != nil {
		t.Fatal(err)
	}
	holds(b, true) // a document that cannot be read is nobody's
	alone := &lease{shared: false}
	holds(alone, true)
	alone.release(t.Context())

	all[1].takeOver(t.Context(), scope)
	if all[1].clusterFacts() != nil {
		t.Error("facts from nowhere")
	}
	for generation := range 2 {
		if err := all[0].read(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		names, err := e.Names(t.Context(), scope, factsName+"/")
		if err != nil || len(names) < 2 {
			t.Errorf("generation %d: parts %v %v", generation, names, err)
		}
		for _, n := range names[1:] {
			if n[:strings.LastIndexByte(n, '/')] != names[0][:strings.LastIndexByte(names[0], '/')] {
				t.Errorf("parts of two generations: %v", names)
			}
		}
		all[1].takeOver(t.Context(), scope)
		f := all[1].clusterFacts()
		if f == nil || len(f.Objects.Workloads) != 4004 || f.Collected != all[0].clusterFacts().Collected {
			t.Fatalf("generation %d was not taken over", generation)
		}
		for callee, want := range map[string]doctor.Secrecy{"api": doctor.Encrypted, "db": doctor.Plain, "nobody": doctor.UnknownSecrecy} {
			if got, why := all[1].Encryption().Between("shop", "web", "shop", callee); got != want {
				t.Errorf("generation %d: calls to %s are %s (%s), want %s", generation, callee, got, why, want)
			}
		}
	}
}

func version(t *testing.T, e *mem.Engine, name string) uint64 {
	t.Helper()
	d, err := e.Load(t.Context(), scope, name)
	if err != nil {
		t.Fatal(err)
	}
	return d.Version
}

// The whole loop: it reads, and gives the lease back when it ends.
func TestRunCluster(t *testing.T) {
	m := &meshOf{changes: make(chan string)}
	all, e, _ := replicas(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { all[0].RunCluster(ctx, scope); close(done) }()
	wait.For(t, 10*time.Second, "the first reading", func() bool { return all[0].clusterFacts() != nil })
	cancel()
	<-done
	other := &lease{meta: e, scope: scope, replica: "other", now: clock, shared: true}
	if got, err := other.hold(t.Context()); !got || err != nil {
		t.Errorf("the lease was not given back: %v", err)
	}
	New(Options{}).RunCluster(t.Context(), scope) // without a cluster it returns
}
