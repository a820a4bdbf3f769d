package live

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/store"
)

// Cluster is what the continuous doctor asks of a cluster; *collect.Client is one.
type Cluster interface {
	Cluster(ctx context.Context, o collect.ClusterOptions) (*doctor.Facts, error)
	Proxies(ctx context.Context, f *doctor.Facts, o collect.ClusterOptions) error
	Watch(ctx context.Context, seen *collect.Changes, most time.Duration) (string, error)
}

// Pace and budget of reading a cluster. Objects are read again when the mesh's configuration changes and every few minutes, since
// pods change without notice; proxies only where spans are missing or the chain is broken, a few at a time.
const (
	readEvery   = 3 * time.Minute
	readGap     = 10 * time.Second // between two readings, however much changes
	proxiesAt   = 20               // proxies asked in one reading
	askedAgain  = 10 * time.Minute // one proxy
	believed    = 20 * time.Minute // how long the state of a proxy counts
	sharedEvery = 30 * time.Second // how often other replicas look for what the reading one found
)

// watcher is the part of a Doctor that reads a cluster.
type watcher struct {
	mu      sync.Mutex
	facts   *doctor.Facts // newest; never changed once it is here
	secrecy *doctor.Encryption
	of      *doctor.Facts // what secrecy was made of
	failure string        // why the newest reading failed; empty if it did not

	seen    *collect.Changes
	asked   map[string]time.Time // by namespace/workload
	proxies map[string]known     // by namespace/pod
}

type known struct {
	proxy envoy.Proxy
	at    time.Time
}

// clusterFacts are the newest; nil if no cluster is read, or nothing came yet.
func (d *Doctor) clusterFacts() *doctor.Facts {
	d.watcher.mu.Lock()
	defer d.watcher.mu.Unlock()
	f := d.watcher.facts
	switch {
	case d.watcher.failure == "":
		return f
	case f == nil:
		return &doctor.Facts{Version: doctor.FactsVersion, Source: "server", Unread: []doctor.Unread{{Name: "cluster", Why: d.watcher.failure}}}
	}
	c := *f
	c.Unread = append(slices.Clone(f.Unread), doctor.Unread{Name: "cluster", Why: "the newest reading failed, this is an older one: " + d.watcher.failure})
	return &c
}

// ClusterFacts are the newest that were read, not to be changed; nil if none were, and then why, as far as that is known.
func (d *Doctor) ClusterFacts() (f *doctor.Facts, failure string) {
	d.watcher.mu.Lock()
	defer d.watcher.mu.Unlock()
	return d.watcher.facts, d.watcher.failure
}

// Encryption tells which calls policies make mutual TLS, of the newest facts; nil if no cluster is read, or nothing came yet.
func (d *Doctor) Encryption() *doctor.Encryption {
	d.watcher.mu.Lock()
	defer d.watcher.mu.Unlock()
	if w := &d.watcher; w.of != w.facts {
		w.secrecy, w.of = doctor.NewEncryption(w.facts), w.facts
	}
	return d.watcher.secrecy
}

// RunCluster reads the cluster until ctx ends, on one of all replicas: the one that holds the lease. The others take over what it
// found. Without a cluster it returns at once.
func (d *Doctor) RunCluster(ctx context.Context, s store.Scope) {
	if d.Cluster == nil {
		return
	}
	l := &lease{meta: d.Meta, scope: s, replica: d.Replica, now: d.Now, shared: d.CompareAndSet}
	defer l.release(context.WithoutCancel(ctx))
	d.watcher.seen = new(collect.Changes)
	said := "" // the last failure: a line for each would fill the log
	for ctx.Err() == nil {
		holds, err := l.hold(ctx)
		if err != nil && ctx.Err() == nil {
			d.Log.Warn("the doctor's lease could not be asked for, will try again", "error", err)
		}
		if !holds {
			d.takeOver(ctx, s)
			_ = pause.For(ctx, sharedEvery)
			continue
		}
		if err := d.read(ctx, s); err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			d.Log.Warn("the doctor could not read the cluster, will try again", "error", err)
		}
		d.await(ctx, l)
	}
}

// await waits for a change of the mesh's configuration or for the next reading, keeping the lease.
func (d *Doctor) await(ctx context.Context, l *lease) {
	_ = pause.For(ctx, readGap)
	for waited := readGap; waited < readEvery && ctx.Err() == nil; waited += leaseRenewed {
		if holds, err := l.hold(ctx); err != nil || !holds {
			return
		}
		what, err := d.Cluster.Watch(ctx, d.watcher.seen, leaseRenewed)
		if err != nil || what != "" {
			return
		}
	}
}

// read collects once: objects, and the proxies of workloads that are silent or suspect.
func (d *Doctor) read(ctx context.Context, s store.Scope) error {
	w := &d.watcher
	f, err := d.Cluster.Cluster(ctx, collect.ClusterOptions{Level: collect.LevelObjects, Istio: d.Istio, Now: d.Now, Versions: w.seen.Seen})
	if err == nil && len(f.Objects.Counts) == 0 && len(f.Unread) > 0 {
		err = fmt.Errorf("nothing of it may be read: %s: %s", f.Unread[0].Name, f.Unread[0].Why)
	}
	if err != nil {
		w.mu.Lock()
		w.failure = err.Error()
		w.mu.Unlock()
		return err
	}
	now := d.Now()
	d.believe(f, now)
	r, err := d.judge(ctx, s, d.recent(), f, doctor.Options{})
	if err != nil {
		return err
	}
	if suspects := d.suspects(r, now); len(suspects) > 0 {
		before := len(f.Proxies)
		err := d.Cluster.Proxies(ctx, f, collect.ClusterOptions{Istio: d.Istio, Proxies: proxiesAt, Only: func(namespace, workload string) bool { return suspects[namespace+"/"+workload] }})
		if err != nil {
			return err
		}
		for _, p := range f.Proxies[before:] {
			w.proxies[p.Namespace+"/"+p.Pod] = known{p, now}
		}
	}
	w.mu.Lock()
	w.facts, w.failure = f, ""
	w.mu.Unlock()
	if err := d.share(ctx, s, f); err != nil {
		return fmt.Errorf("share what was read: %w", err)
	}
	return nil
}

// recent is the stretch that the continuous check looks at.
func (d *Doctor) recent() store.TimeRange {
	now := d.Now()
	return store.TimeRange{From: now.Add(-watched).UnixNano(), To: now.UnixNano()}
}

// believe adds the state of proxies that was read not long ago, of pods that are still there.
func (d *Doctor) believe(f *doctor.Facts, now time.Time) {
	w := &d.watcher
	if w.proxies == nil {
		w.proxies, w.asked = make(map[string]known), make(map[string]time.Time)
	}
	pods := make(map[string]bool)
	for i := range f.Objects.Workloads {
		if p := &f.Objects.Workloads[i]; p.Pod {
			pods[p.Namespace+"/"+p.Name] = true
		}
	}
	for name, k := range w.proxies {
		if !pods[name] || now.Sub(k.at) > believed {
			delete(w.proxies, name)
		}
	}
	for name, at := range w.asked {
		if now.Sub(at) > askedAgain {
			delete(w.asked, name)
		}
	}
	names := make([]string, 0, len(w.proxies))
	for name := range w.proxies {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f.Proxies = append(f.Proxies, w.proxies[name].proxy)
	}
}

// suspects are workloads with a proxy whose spans did not arrive or whose chain is broken, and that were not asked lately.
func (d *Doctor) suspects(r *doctor.Report, now time.Time) map[string]bool {
	out := make(map[string]bool)
	for _, c := range r.Stations {
		if len(out) == proxiesAt {
			break
		}
		injected, stored, red := false, false, false
		for _, s := range c.Stations {
			injected = injected || s.Name == "injected" && s.State == doctor.Green
			stored = stored || s.Name == "stored" && s.State == doctor.Green
			red = red || s.State == doctor.Red
		}
		if _, lately := d.watcher.asked[c.Workload]; injected && (red || !stored) && !lately {
			out[c.Workload] = true
			d.watcher.asked[c.Workload] = now
		}
	}
	return out
}
