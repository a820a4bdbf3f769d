package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/spanloom/spanloom/mesh/istio"
)

// Explanation is the effective tracing policy of one workload, with the source of each part.
type Explanation struct {
	Workload string       `json:"workload"`
	Policy   istio.Policy `json:"policy"`
	Restart  istio.Policy `json:"afterRestart"`       // what a new pod would get
	Waypoint bool         `json:"waypoint,omitempty"` // of a waypoint: requests only come in
}

// Explain computes the policies of the workloads that a name means.
func Explain(f *Facts, workload string) []Explanation {
	x := newExam(f)
	o := Options{Workload: workload}
	var out []Explanation
	for _, s := range x.subjects {
		if !o.names(s.name) || len(out) > 0 && out[len(out)-1].Workload == s.name {
			continue
		}
		if s.ambient && s.via == nil {
			continue // nothing has a policy there
		}
		t := s.target()
		e := Explanation{Workload: s.name, Policy: x.f.Objects.PolicyOf(x.mesh, x.env, t), Waypoint: t.Waypoint}
		t.Injected = nil
		if a := annotated(s); a != nil && a.Tracing != nil {
			t.Injected = a
		}
		e.Restart = x.f.Objects.PolicyOf(x.mesh, x.env, t)
		out = append(out, e)
	}
	return out
}

// PrintWhy writes the way of one workload's spans, the policy that applies to it, and the findings that concern it.
func PrintWhy(w io.Writer, r *Report, why []Explanation) {
	for _, c := range r.Stations {
		fmt.Fprintf(w, "%s\n", c.Workload)
		for i, s := range c.Stations {
			mark := map[Light]string{Green: "+", Red: "!", Neutral: "?"}[s.State]
			fmt.Fprintf(w, "  %s %2d %-9s %s\n", mark, i+1, s.Name, s.Reason)
		}
	}
	for _, e := range why {
		fmt.Fprintf(w, "\n%s\n", say("policy of %s, as istiod computes it from what was read", e.Workload).In(r.language))
		now, then := directionText(e.Policy.Client).In(r.language), directionText(e.Policy.Server).In(r.language)
		if !e.Waypoint {
			fmt.Fprintf(w, "  outbound  %s\n", now)
		}
		fmt.Fprintf(w, "  inbound   %s\n", then)
		if a, b := directionText(e.Restart.Client).In(r.language), directionText(e.Restart.Server).In(r.language); !e.Waypoint && (a != now || b != then) {
			fmt.Fprintf(w, "  after a restart\n  outbound  %s\n  inbound   %s\n", a, b)
		}
		for _, u := range e.Policy.Used {
			fmt.Fprintf(w, "  from      %s\n", place(u))
		}
	}
	for _, f := range r.Findings {
		if f.Severity != Info && len(f.Workloads) > 0 {
			printFinding(w, f, r.language)
		}
	}
}

func directionText(d istio.Direction) Text {
	var s Text
	switch d.Decision {
	case istio.Off:
		if d.Reason == "" {
			return say("not traced: no reason known")
		}
		return say("not traced: %s", d.Reason)
	case istio.Legacy:
		s = say("tracing without provider: only a tracer of the bootstrap reports")
		if d.Reason != "" {
			s = say("%s (%s)", s, d.Reason)
		}
	default:
		s = say("provider %s, %s to %s:%d", d.Named, d.Provider.Type, d.Provider.Service, d.Provider.Port)
		if d.ProviderRef.Path != "" {
			s = say("%s, selected by %s", s, place(d.ProviderRef))
		}
	}
	s = say("%s; %s %% by %s", s, number(d.Sampling), samplerText(d))
	var tags []string
	for _, t := range d.Tags {
		tags = append(tags, t.Name)
	}
	if len(tags) > 0 {
		s = say("%s; tags %s", s, strings.Join(tags, ", "))
	}
	return s
}
