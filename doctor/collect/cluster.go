package collect

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
)

// ClusterOptions limit what is read of a cluster.
type ClusterOptions struct {
	Namespace string // workloads of this one only; configuration is read everywhere
	Workload  string // proxies of this one only: a name, or namespace/name
	Level     int    // at most; 0: LevelAdmin. Less is used where less is granted
	Proxies   int    // whose state is read at most, one for each workload; 0: DefaultProxies
	StatsPort int    // of proxies, for level 2; 0: 15090
	Istio     string // namespace of istiod; empty: where its Deployment is, else istio-system

	Only     func(namespace, workload string) bool     // proxies that are worth asking; nil: all
	Progress func(what string, done, of int)           // called now and then, from several goroutines; of is 0 where it is not known
	Now      func() time.Time                          // nil: time.Now
	Versions func(path string, resourceVersion string) // told of every list of a watched kind, for Watch; may be nil
}

// DefaultProxies is how many proxies are asked at most: at some 2 MB of dump each they take about five minutes.
const DefaultProxies = 500

const (
	pageSize      = 250
	atOnce        = 4 // lists and proxies
	proxyPatience = 30 * time.Second
)

// Cluster reads facts from a cluster, as far as rights go. What may not or cannot be read is a fact (Facts.Unread); only a
// cluster that does not answer at all, or a context that ended, is an error. Memory follows what is kept: lists come in pages,
// dumps are streamed.
func (c *Client) Cluster(ctx context.Context, o ClusterOptions) (*doctor.Facts, error) {
	r := c.reading(o, &doctor.Facts{Version: doctor.FactsVersion, Source: "cluster"})
	if _, err := c.get(ctx, "/version", nil); err != nil {
		return nil, &problem.Problem{Kind: problem.Unavailable, Message: "the API server of " + c.Server() + " does not answer", Hint: "check the kubeconfig and the network: kubectl version", Err: err}
	}
	r.f.Collected = r.o.Now().UnixNano()
	r.discover(ctx)
	r.objects(ctx)
	r.configuration(ctx)
	r.collectors(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if r.o.Level >= LevelStats {
		r.proxies(ctx)
	}
	slices.SortFunc(r.f.Unread, func(a, b doctor.Unread) int { return strings.Compare(a.Name, b.Name) })
	return r.f, ctx.Err()
}

// reading is one collection.
type reading struct {
	*Client
	o    ClusterOptions
	root string   // namespace of istiod
	only []string // namespaces whose proxies may be asked; nil: all

	mu       sync.Mutex
	f        *doctor.Facts
	versions map[string]string // of the API, by group/resource
	whole    map[string]bool   // kinds that were read in all namespaces
}

// reading begins one, with the defaults of its options.
func (c *Client) reading(o ClusterOptions, f *doctor.Facts) *reading {
	if o.Level == 0 {
		o.Level = LevelAdmin
	}
	if o.Proxies == 0 {
		o.Proxies = DefaultProxies
	}
	if o.StatsPort == 0 {
		o.StatsPort = statsPort
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	r := &reading{Client: c, o: o, f: f, root: o.Istio}
	if r.root == "" {
		r.root = "istio-system"
	}
	return r
}

func (r *reading) unread(name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f.Unread = append(r.f.Unread, doctor.Unread{Name: name, Why: why})
}

// discover finds out in which version each kind is served.
func (r *reading) discover(ctx context.Context) {
	r.versions, r.whole = make(map[string]string), make(map[string]bool)
	for _, k := range append(slices.Clone(kinds), configMaps, endpointSlices) {
		if k.group == "" {
			r.versions["/"+k.resource] = "v1"
		}
	}
	var list struct {
		Groups []struct {
			Name     string `json:"name"`
			Versions []struct {
				Version string `json:"version"`
			} `json:"versions"`
		} `json:"groups"`
	}
	if err := r.getJSON(ctx, "/apis", &list); err != nil {
		r.unread("kinds of the API server", err.Error())
		return
	}
	for _, g := range list.Groups {
		if !slices.ContainsFunc(kinds, func(k kind) bool { return k.group == g.Name }) && g.Name != endpointSlices.group {
			continue
		}
		for _, v := range g.Versions {
			var served struct {
				Resources []struct {
					Name string `json:"name"`
				} `json:"resources"`
			}
			if err := r.getJSON(ctx, "/apis/"+g.Name+"/"+v.Version, &served); err != nil {
				r.unread("kinds of "+g.Name, err.Error())
				continue
			}
			for _, s := range served.Resources {
				if key := g.Name + "/" + s.Name; r.versions[key] == "" { // the preferred version comes first
					r.versions[key] = v.Version
				}
			}
		}
	}
}

// path of a list; an empty namespace means all.
func (r *reading) path(k *kind, namespace string) string {
	p := "/api/v1"
	if k.group != "" {
		p = "/apis/" + k.group + "/" + r.versions[k.group+"/"+k.resource]
	}
	if namespace != "" {
		p += "/namespaces/" + namespace
	}
	return p + "/" + k.resource
}

// objects reads level 1, a few kinds at a time.
func (r *reading) objects(ctx context.Context) {
	turns := make(chan struct{}, atOnce)
	results := make([]istio.Objects, len(kinds))
	var wg sync.WaitGroup
	for i := range kinds {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			results[i] = r.kind(ctx, &kinds[i], "")
		})
	}
	wg.Wait()
	for i := range results {
		merge(&r.f.Objects, &results[i])
	}
	r.f.Complete = r.whole["services"] && r.whole["serviceentries"]
	for i := range r.f.Objects.Workloads {
		w := &r.f.Objects.Workloads[i]
		if w.Labels["app"] != "istiod" || w.Version == "" {
			continue
		}
		if r.f.Istio == "" {
			r.f.Istio = w.Version
		}
		if r.o.Istio == "" {
			r.root = w.Namespace
		}
	}
}

// kind reads one kind wherever that is granted and wanted.
func (r *reading) kind(ctx context.Context, k *kind, selector string) istio.Objects {
	if r.versions[k.group+"/"+k.resource] == "" {
		if !k.is(optional) {
			r.unread(k.resource, "the API server does not serve "+k.resource+"."+k.group+": is Istio installed in this cluster?")
		}
		return istio.Objects{}
	}
	near := r.near()
	places, err := r.granted(ctx, "list", k, near)
	if err != nil {
		if ctx.Err() == nil {
			r.unread(k.resource, "asking for the right to list them: "+err.Error())
		}
		return istio.Objects{}
	}
	if len(places) == 0 {
		r.unread(k.resource, "no right to list them: `spanloom doctor roles` prints what is needed")
		return istio.Objects{}
	}
	all := places[0] == ""
	if all && k.is(workloads) && r.o.Namespace != "" {
		places = near // of the other namespaces' workloads nothing is asked
	} else if !all {
		r.unread(k.resource, "may be listed in "+strings.Join(places, ", ")+" only")
	}
	reader := &istio.Reader{NoLines: true, Minor: istio.MinorOf(r.f.Istio)}
	complete := true
	for _, ns := range places {
		if err := r.list(ctx, reader, k, ns, selector); err != nil && ctx.Err() == nil {
			complete = false
			r.unread(k.resource, err.Error())
		}
	}
	if all && complete {
		r.mu.Lock()
		r.whole[k.resource] = true
		r.mu.Unlock()
	}
	return reader.Objects
}

// near are the namespaces that matter where not all may be read.
func (r *reading) near() []string {
	var out []string
	for _, ns := range []string{r.o.Namespace, r.root, r.Namespace} {
		if ns != "" && !slices.Contains(out, ns) {
			out = append(out, ns)
		}
	}
	return out
}

// list reads a list page by page into the reader. One whose snapshot expired on the way goes on from the newest state: an
// object that moved meanwhile may be missed, which is said.
func (r *reading) list(ctx context.Context, reader *istio.Reader, k *kind, namespace, selector string) error {
	path := r.path(k, namespace)
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if selector != "" {
		q.Set("labelSelector", selector)
	}
	for done, resumed := 0, 0; ; {
		data, err := r.get(ctx, path, q)
		if isCode(err, http.StatusGone) && resumed < tries {
			if resume := resumeOf(err); resume != "" {
				resumed++
				q.Set("continue", resume)
				r.unread(k.resource, "the list changed while it was read: objects made meanwhile may be missing")
				continue
			}
		}
		if err != nil {
			return err
		}
		var head struct {
			Metadata struct {
				Continue        string `json:"continue"`
				ResourceVersion string `json:"resourceVersion"`
				Remaining       int    `json:"remainingItemCount"`
			} `json:"metadata"`
			Items []struct{} `json:"items"`
		}
		if err := json.Unmarshal(data, &head); err != nil {
			return fmt.Errorf("a page of %s cannot be read: %w", k.resource, err)
		}
		if err := reader.File("", data); err != nil {
			return err
		}
		done += len(head.Items)
		if head.Metadata.Continue == "" {
			r.o.Progress(k.resource, done, done)
			if r.o.Versions != nil && k.is(watched) && selector == "" {
				r.mu.Lock()
				r.o.Versions(path, head.Metadata.ResourceVersion)
				r.mu.Unlock()
			}
			return nil
		}
		r.o.Progress(k.resource, done, done+head.Metadata.Remaining)
		q.Set("continue", head.Metadata.Continue)
	}
}

func resumeOf(err error) string {
	if e, ok := err.(*apiError); ok {
		return e.resume
	}
	return ""
}

// configuration reads the ConfigMaps of istiod's namespace, and bootstrap overrides that workloads name.
func (r *reading) configuration(ctx context.Context) {
	reader := &istio.Reader{NoLines: true, Minor: istio.MinorOf(r.f.Istio)}
	if ok, err := r.may(ctx, "list", &configMaps, r.root); err != nil || !ok {
		why := "no right to list them in " + r.root + ": the mesh configuration is unknown (`spanloom doctor roles` prints what is needed)"
		if err != nil {
			why = err.Error()
		}
		r.unread("configmaps", why)
	} else if err := r.list(ctx, reader, &configMaps, r.root, ""); err != nil && ctx.Err() == nil {
		r.unread("configmaps", err.Error())
	}
	asked := make(map[string]bool)
	for _, w := range r.f.Objects.Workloads {
		name := w.Annotations["sidecar.istio.io/bootstrapOverride"]
		path := r.path(&configMaps, w.Namespace) + "/" + name
		if name == "" || asked[path] {
			continue
		}
		asked[path] = true
		if ok, err := r.may(ctx, "get", &configMaps, w.Namespace); err != nil || !ok {
			r.unread("configmap "+w.Namespace+"/"+name, "no right to read this bootstrap override")
			continue
		}
		data, err := r.get(ctx, path, nil)
		if err == nil {
			err = reader.File("", data)
		}
		if err != nil && ctx.Err() == nil {
			r.unread("configmap "+w.Namespace+"/"+name, err.Error())
		}
	}
	merge(&r.f.Objects, &reader.Objects)
	r.f.Complete = r.f.Complete && !slices.ContainsFunc(r.f.Objects.Meshes, func(m istio.MeshConfig) bool { return m.Selectors })
}

// collectors reads the endpoints of the Services that spans are sent to.
func (r *reading) collectors(ctx context.Context) {
	wanted := collectorHosts(r.f)
	var out istio.Objects
	for i := range r.f.Objects.Services {
		s := &r.f.Objects.Services[i]
		if s.Entry || !slices.ContainsFunc(s.Hosts, func(h string) bool { return wanted(h) || wanted(s.Name+"."+s.Namespace) }) {
			continue
		}
		if ok, err := r.may(ctx, "list", &endpointSlices, s.Namespace); err != nil || !ok || r.versions["discovery.k8s.io/endpointslices"] == "" {
			r.unread("endpointslices of "+s.Namespace+"/"+s.Name, "no right to list them")
			continue
		}
		reader := &istio.Reader{NoLines: true}
		if err := r.list(ctx, reader, &endpointSlices, s.Namespace, "kubernetes.io/service-name="+s.Name); err != nil {
			if ctx.Err() == nil {
				r.unread("endpointslices of "+s.Namespace+"/"+s.Name, err.Error())
			}
			continue
		}
		if len(reader.Endpoints) == 0 && len(s.Selector) > 0 {
			reader.Endpoints = []istio.EndpointSet{{Namespace: s.Namespace, Service: s.Name}} // asked, and there is none
		}
		merge(&out, &reader.Objects)
	}
	merge(&r.f.Objects, &out)
}

// merge appends what another reader has.
func merge(to, from *istio.Objects) {
	to.Meshes = append(to.Meshes, from.Meshes...)
	for _, t := range from.Telemetries {
		t.Order = len(to.Telemetries)
		to.Telemetries = append(to.Telemetries, t)
	}
	to.EnvoyFilters = append(to.EnvoyFilters, from.EnvoyFilters...)
	to.ProxyConfigs = append(to.ProxyConfigs, from.ProxyConfigs...)
	to.Services = append(to.Services, from.Services...)
	to.Endpoints = append(to.Endpoints, from.Endpoints...)
	to.DestinationRules = append(to.DestinationRules, from.DestinationRules...)
	to.PeerAuthentications = append(to.PeerAuthentications, from.PeerAuthentications...)
	to.Sidecars = append(to.Sidecars, from.Sidecars...)
	to.NetworkPolicies = append(to.NetworkPolicies, from.NetworkPolicies...)
	to.Namespaces = append(to.Namespaces, from.Namespaces...)
	to.Workloads = append(to.Workloads, from.Workloads...)
	to.Bootstraps = append(to.Bootstraps, from.Bootstraps...)
	to.Routes = append(to.Routes, from.Routes...)
	to.Gateways = append(to.Gateways, from.Gateways...)
	to.Kialis = append(to.Kialis, from.Kialis...)
	to.DataSources = append(to.DataSources, from.DataSources...)
	to.Notes = append(to.Notes, from.Notes...)
	for k, n := range from.Counts {
		if to.Counts == nil {
			to.Counts = make(map[string]int)
		}
		to.Counts[k] += n
	}
}
