package doctor

import (
	"slices"
	"strings"

	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// severityOf is the draft's own severity, or the catalog's.
func (d *draft) severityOf() Severity {
	if d.severity != "" {
		return d.severity
	}
	return d.entry().Severity
}

// report puts drafts in order, folds what follows from another, and sums up.
func (x *exam) report(o Options) *Report {
	x.believeArrivals()
	r := &Report{Source: x.f.Source, Collected: x.f.Collected, Findings: []Finding{}, Stations: []Chain{}, Unread: x.f.Unread}
	if b := x.f.Book; b != nil {
		r.Window = &Window{From: b.From, To: b.To}
	}
	r.State, r.reason = x.state()
	r.Reason = r.reason.String()
	for _, d := range x.drafts {
		if !x.folded(d) && o.wants(d) {
			r.Findings = append(r.Findings, d.finding())
		}
	}
	slices.SortStableFunc(r.Findings, byWeight)
	r.Stations = x.chains(o)
	return r
}

func byWeight(a, b Finding) int {
	rank := func(f Finding) int {
		n := map[Severity]int{Error: 0, Warning: 1000, Info: 2000}[f.Severity]
		return n + 10*slices.Index(StationNames, Lookup(f.Code).Station)
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	if d := len(b.Workloads) - len(a.Workloads); d != 0 {
		return d
	}
	if a.Code != b.Code {
		return strings.Compare(a.Code, b.Code)
	}
	if d := strings.Compare(a.Object.File, b.Object.File); d != 0 {
		return d
	}
	return a.Object.Line - b.Object.Line
}

func (o Options) wants(d *draft) bool {
	if len(d.subjects) == 0 || o.Workload == "" && o.Namespace == "" {
		return true
	}
	return slices.ContainsFunc(d.subjects, o.names)
}

func (o Options) names(subject string) bool {
	ns, name, ok := strings.Cut(subject, "/")
	if !ok {
		ns, name = "", subject // known by its spans only
	}
	return (o.Namespace == "" || ns == o.Namespace) && (o.Workload == "" || o.Workload == name || o.Workload == subject)
}

// folded: another finding explains this one, for all its workloads.
func (x *exam) folded(d *draft) bool {
	for _, other := range x.drafts {
		if other == d || other.severityOf() == Info || !slices.Contains(d.entry().After, other.entry().Cause) {
			continue
		}
		if !slices.ContainsFunc(d.subjects, func(s string) bool { return !slices.Contains(other.subjects, s) }) || len(other.subjects) == 0 {
			return true
		}
	}
	return false
}

func (d *draft) finding() Finding {
	e := d.entry()
	f := Finding{Code: d.code, Cause: e.Cause, Severity: d.severityOf(), Title: e.Title, Detail: d.detail.String(), Object: d.object, Workloads: d.subjects, Consequence: e.Means, Fix: d.fix, DependsOn: d.after, Docs: "docs/findings/" + d.code + ".md", own: true, detail: d.detail, evidence: d.evidence}
	for _, e := range d.evidence {
		f.Evidence = append(f.Evidence, e.String())
	}
	if f.Fix.Text = f.Fix.text.String(); f.Fix.Text == "" {
		f.Fix.Text = e.Fix
	}
	if d.code == "T0117" && len(d.subjects) > 0 {
		f.Fix.Command = restartCommand(d.subjects)
	}
	if f.Workloads == nil {
		f.Workloads = []string{}
	}
	if f.Evidence == nil {
		f.Evidence = []string{}
	}
	if f.DependsOn == nil {
		f.DependsOn = []string{}
	}
	return f
}

// restartCommand restarts the workloads' namespaces, one after the other.
func restartCommand(subjects []string) string {
	var out []string
	for _, s := range subjects {
		ns, _, _ := strings.Cut(s, "/")
		if c := "kubectl rollout restart deployment -n " + ns; !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return strings.Join(out, " && ")
}

// believeArrivals: spans that are there win over what the chain says: a broken link through which all spans came is odd,
// no loss.
func (x *exam) believeArrivals() {
	if x.f.Received == nil {
		return
	}
	for _, d := range x.drafts {
		station := d.entry().Station
		if d.soft || d.severityOf() != Error || len(d.subjects) == 0 || station == "joined" || station == "injected" {
			continue
		}
		all := true
		for _, name := range d.subjects {
			all = all && slices.ContainsFunc(x.subjects, func(s *subject) bool { return s.name == name && x.f.Received.of(s) > 0 })
		}
		if all {
			d.severity = Warning
		}
	}
}

// state sums up: by what was received where that is known.
func (x *exam) state() (State, Text) {
	lost := 0 // workloads of findings that lose spans
	errors := false
	for _, d := range x.drafts {
		if d.severityOf() == Error && d.code != "T0406" && (len(d.subjects) > 0 || d.entry().Station == "policy") {
			errors = true
		}
	}
	in := 0 // workloads that owe spans
	for _, s := range x.subjects {
		if !s.outside {
			in++
		}
		if s.broken != nil && !s.broken.soft && s.broken.severityOf() == Error {
			lost++
		}
	}
	if r := x.f.Received; r != nil {
		return x.received(r, errors, lost)
	}
	switch {
	case lost > 0 && lost == in:
		return Broken, say("the chain of every workload is broken; what the collector got was not read")
	case errors && lost == 0:
		return Partial, say("part of the spans is lost, as far as can be seen without what the collector got")
	case errors:
		return Partial, say("the chain of %d of %d workloads is broken; what the collector got was not read", lost, in)
	}
	sent := 0
	for _, s := range x.subjects {
		if s.sent {
			sent++
		}
	}
	if sent > 0 && sent == in {
		return Healthy, say("every proxy's requests with spans are answered well; what the collector stored was not read")
	}
	if len(x.subjects) == 0 {
		return Unknown, say("no workload, no mesh configuration and no Envoy state were read")
	}
	return Unknown, say("nothing that was read is wrong, and whether spans arrive was not read")
}

func (x *exam) received(r *Received, errors bool, lost int) (State, Text) {
	if r.Spans == 0 {
		few := r.Traffic > 0 && x.maxSampling() > 0 && x.maxSampling() < 50 && float64(x.entered())*x.maxSampling()/100 < 3
		switch {
		case errors:
			return Broken, say("no span arrived")
		case few:
			return Healthy, say("nothing is wrong; %d requests at %s %% are too few to expect a trace", r.Traffic, number(x.maxSampling()))
		case r.Traffic == 0 && !x.busy():
			return Unknown, say("no span arrived, and no request that should have made one is known")
		}
		x.add(&draft{code: "T0410", detail: say("no span arrived, and the chain is not broken where it can be seen"), evidence: []Text{say("%d requests, no span", r.Traffic)}, fix: Fix{text: say("Read more: config_dump, clusters and stats of the proxies, the Services and NetworkPolicies, the collector's log."), Command: "spanloom doctor -f DIR"}}, "")
		return Broken, say("no span arrived")
	}
	if errors {
		if x.byBook {
			return Partial, say("%d spans arrived; some are missing or do not join", r.Spans)
		}
		return Partial, say("%d spans in %d traces arrived; some are missing or do not join", r.Spans, r.Traces)
	}
	recognised := x.recognised()
	for _, s := range x.subjects {
		if recognised && s.proxy != nil && r.of(s) == 0 && s.sampling >= 50 && s.busy(x) {
			x.add(&draft{code: "T0410", object: istio.Ref{Kind: "Workload", Namespace: s.namespace, Name: s.workload}, detail: say("requests pass the proxy of %s, and none of its spans arrived", s.name), evidence: x.hcmEvidence(s, say("its chain is not broken where it can be seen")), fix: Fix{text: say("Read more of this proxy: clusters and stats show what became of its spans."), Command: "spanloom why " + s.name + " -f DIR"}}, s.name)
			return Partial, say("no span of %s arrived", s.name)
		}
	}
	if x.silent > 0 {
		return Partial, say("%d spans arrived; %d workloads are called and send none", r.Spans, x.silent)
	}
	if x.byBook {
		return Healthy, say("%d spans of %d workloads arrived, and no loss of context was seen", r.Spans, len(r.ByService))
	}
	return Healthy, say("%d spans in %d traces arrived and join", r.Spans, r.Traces)
}

func (x *exam) maxSampling() float64 {
	most := 0.0
	for _, s := range x.subjects {
		most = max(most, s.sampling)
	}
	return most
}

func (x *exam) busy() bool {
	return slices.ContainsFunc(x.subjects, func(s *subject) bool { return s.busy(x) })
}

// busy: requests passed the workload's proxy.
func (s *subject) busy(x *exam) bool {
	if s.proxy == nil {
		return false
	}
	for _, h := range s.proxy.Hosts {
		if h.Total > 0 && !x.isTracerCluster(h.Cluster) {
			return true
		}
	}
	if n, _ := s.proxy.SumStats("http.", ".tracing.random_sampling"); n > 0 {
		return true
	}
	// Istio's own count of requests: enough of them that a few were sampled.
	return float64(s.proxy.Stats[envoy.RequestsStat])*s.sampling/100 >= 3
}

// chains are the stations of each workload; of several proxies of one workload the worst light counts.
func (x *exam) chains(o Options) []Chain {
	out := []Chain{}
	places := make(map[string]int)
	for _, s := range x.subjects {
		if !o.names(s.name) {
			continue
		}
		i, ok := places[s.name]
		if !ok {
			i = len(out)
			places[s.name] = i
			out = append(out, Chain{Workload: s.name})
		}
		for _, name := range StationNames {
			st := Station{Name: name, State: Neutral}
			for _, own := range s.chain {
				if own.Name == name && (st.Reason == "" || own.State == Red) {
					st = own
				}
			}
			j := slices.IndexFunc(out[i].Stations, func(o Station) bool { return o.Name == name })
			if j < 0 {
				out[i].Stations = append(out[i].Stations, st)
			} else if weight(st.State) > weight(out[i].Stations[j].State) {
				out[i].Stations[j] = st
			}
		}
	}
	return out
}

func weight(l Light) int {
	switch l {
	case Red:
		return 2
	case Neutral:
		return 1
	}
	return 0
}
