package doctor

import (
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// Options limit what is reported.
type Options struct {
	Namespace string
	Workload  string // name or namespace/name
}

// exam is one diagnosis: the facts and what is derived from them.
type exam struct {
	f         *Facts
	raw       *istio.MeshConfig // as written
	mesh      *istio.MeshConfig // in force, with the lines of what is written
	env       *float64          // PILOT_TRACE_SAMPLING
	subjects  []*subject
	seenPorts map[string]map[string]bool // ports by host, of any proxy's clusters
	drafts    []*draft
	hosts     map[string]bool  // collectors, as the configuration names them
	addresses map[string]bool  // of endpoints behind tracers' clusters
	byPlace   map[string][]int // proxies by namespace
	podsIn    map[string][]*istio.Workload
	makersIn  map[string][]*istio.Workload // what makes pods, by namespace
	distinct  []*istio.Workload            // workloads without the pods of those that are there, and one pod for each other
	named     *bool                        // some of what arrived can be told to be of a workload
	byBook    bool                         // what arrived is known from Spanloom's own book
	silent    int                          // workloads that are called and send nothing
	dropped   map[string]bool              // clusters to which connects time out, as statistics show; false: they are refused
}

// draft is a finding in the making. Drafts of one code and object are one finding.
type draft struct {
	code     string
	object   istio.Ref
	detail   Text
	evidence []Text
	fix      Fix
	severity Severity // overrides the catalog's
	soft     bool     // it does not hide what comes behind it
	after    []string
	subjects []string
	has      map[string]bool // the subjects, for large meshes
}

func (d *draft) concerns(workload string) {
	if workload == "" || d.has[workload] {
		return
	}
	if d.has == nil {
		d.has = make(map[string]bool)
	}
	d.has[workload] = true
	d.subjects = append(d.subjects, workload)
}

func (d *draft) entry() Entry { return Lookup(d.code) }

// Diagnose judges facts.
func Diagnose(f *Facts, o Options) *Report {
	x := newExam(f)
	for _, s := range x.subjects {
		s.policy = x.f.Objects.PolicyOf(x.mesh, x.env, s.target())
		s.seen = look(s.proxy, s.gateway)
	}
	for _, s := range x.subjects {
		x.walk(s)
	}
	x.missingSidecars()
	x.book()
	x.joined()
	x.general()
	return x.report(o)
}

// newExam derives from the facts what every check asks for.
func newExam(facts *Facts) *exam {
	own := *facts // the index below is this diagnosis's own: facts may be shared
	f := &own
	x := &exam{f: f, seenPorts: make(map[string]map[string]bool), dropped: make(map[string]bool), hosts: make(map[string]bool), addresses: make(map[string]bool), byPlace: make(map[string][]int)}
	if f.Received == nil && f.Book != nil {
		f.Received = f.Book.received()
		x.byBook = f.Received != nil
	}
	f.Objects.Index()
	f.Objects.Istio = f.Istio
	x.chooseMesh()
	for _, h := range x.collectors() {
		x.hosts[h] = true
	}
	x.indexClusters()
	x.indexWorkloads()
	x.findSubjects()
	return x
}

// chooseMesh decides which mesh configuration counts: what istiod says is in force, else what is written.
func (x *exam) chooseMesh() {
	for _, form := range []string{"configmap", "operator", "helm", "plain"} {
		for i := range x.f.Objects.Meshes {
			if m := &x.f.Objects.Meshes[i]; m.Form == form && x.raw == nil {
				x.raw = m
			}
		}
	}
	switch {
	case x.f.Effective != nil:
		m := *x.f.Effective
		if x.raw != nil {
			withLines(&m, x.raw)
		}
		x.mesh = &m
	case x.raw != nil && x.raw.Invalid:
		x.mesh = &istio.MeshConfig{Ref: x.raw.Ref, Form: x.raw.Form}
	default:
		x.mesh = x.withOthers()
	}
	for _, w := range x.f.Objects.Workloads {
		if w.ControlsTrc != nil {
			x.env = w.ControlsTrc
		}
	}
}

// withOthers adds the providers of other mesh configurations that were read: a repository with one for each environment
// does not lack what only another of them defines.
func (x *exam) withOthers() *istio.MeshConfig {
	if x.raw == nil {
		return nil
	}
	m := *x.raw
	for i := range x.f.Objects.Meshes {
		o := &x.f.Objects.Meshes[i]
		if o == x.raw || o.Invalid {
			continue
		}
		for _, p := range o.Providers {
			if m.Provider(p.Name) == nil {
				p.Line = 0
				m.Providers = append(slices.Clone(m.Providers), p)
			}
		}
	}
	return &m
}

// withLines takes over where the parts of a configuration in force are written.
func withLines(m, raw *istio.MeshConfig) {
	m.Ref, m.Owner = raw.Ref, raw.Owner
	m.TracingLine, m.DefaultsLine = raw.TracingLine, raw.DefaultsLine
	providers := slices.Clone(m.Providers)
	for i := range providers {
		providers[i].Line = 0
		if p := raw.Provider(providers[i].Name); p != nil {
			providers[i].Line, providers[i].Index = p.Line, p.Index
		}
	}
	m.Providers = providers
	if m.Config == nil || m.Config.Tracing == nil {
		return
	}
	c, t := *m.Config, *m.Config.Tracing
	t.Line, t.AddressLine, t.SamplingLine = 0, 0, 0
	if raw.Config != nil && raw.Config.Tracing != nil {
		r := raw.Config.Tracing
		t.Line, t.AddressLine, t.SamplingLine = r.Line, r.AddressLine, r.SamplingLine
	}
	c.Tracing = &t
	m.Config = &c
}

func (x *exam) root() string { return x.mesh.RootNamespace() }

func (x *exam) minor() string { return istio.MinorOf(x.f.Istio) }

func (x *exam) indexClusters() {
	for i := range x.f.Proxies {
		p := &x.f.Proxies[i]
		x.byPlace[p.Namespace] = append(x.byPlace[p.Namespace], i)
		for _, h := range p.Hosts {
			if x.isTracerCluster(h.Cluster) {
				addr, _ := hostPort(h.Address)
				x.addresses[addr] = true
			}
		}
		for _, c := range p.Clusters {
			if dir, port, _, host, ok := envoy.SplitCluster(c.Name); ok && dir == "outbound" {
				if x.seenPorts[host] == nil {
					x.seenPorts[host] = make(map[string]bool)
				}
				x.seenPorts[host][port] = true
			}
			if v, ok := p.ClusterStat(c.Name, "upstream_cx_connect_timeout"); ok {
				x.dropped[c.Name] = x.dropped[c.Name] || v > 0
			}
		}
	}
}

func (s *subject) green(station, reason string, args ...any) {
	s.chain = append(s.chain, newStation(station, Green, say(reason, args...), ""))
}

func (s *subject) unknown(station, reason string, args ...any) {
	s.chain = append(s.chain, newStation(station, Neutral, say(reason, args...), ""))
}

// red breaks the chain at a station. A soft one lets the walk go on.
func (x *exam) red(s *subject, station string, d *draft) {
	reason := d.detail
	if reason.empty() {
		reason = titleOf(d.code)
	}
	s.chain = append(s.chain, newStation(station, Red, reason, d.entry().Cause))
	if s.broken == nil || s.broken.soft && !d.soft {
		s.broken = d
	}
	x.add(d, s.name)
}

// add merges drafts of one code and object.
func (x *exam) add(d *draft, workload string) {
	for _, o := range x.drafts {
		if o.code == d.code && o.object.String() == d.object.String() && o.object.Path == d.object.Path {
			ns, _, _ := strings.Cut(workload, "/")
			if ns == o.object.Namespace && !slices.ContainsFunc(o.subjects, func(s string) bool { return strings.HasPrefix(s, ns+"/") }) {
				o.detail, o.fix = d.detail, d.fix // said from nearby it is more to the point
			}
			o.concerns(workload)
			for _, e := range d.evidence {
				if len(o.evidence) < 8 && !slices.ContainsFunc(o.evidence, func(t Text) bool { return t.english == e.english }) {
					o.evidence = append(o.evidence, e)
				}
			}
			return
		}
	}
	d.concerns(workload)
	x.drafts = append(x.drafts, d)
}

// walk follows the chain of one workload up to the first broken link.
func (x *exam) walk(s *subject) {
	steps := []func(*subject) bool{x.injected, x.policy, x.accepted, x.cluster, x.endpoint, x.tls, x.network, x.receiver, x.stored}
	for _, step := range steps {
		if !step(s) {
			break
		}
	}
	for _, name := range StationNames {
		if !slices.ContainsFunc(s.chain, func(st Station) bool { return st.Name == name }) && name != "joined" {
			reason := say("not looked at")
			if s.broken != nil {
				reason = say("behind the broken link")
			}
			s.unknown(name, "%s", reason)
		}
	}
}
