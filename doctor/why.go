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
		fmt.Fprintf(w, "\npolicy of %s, as istiod computes it from what was read\n", e.Workload)
		now, then := directionText(e.Policy.Client), directionText(e.Policy.Server)
		if !e.Waypoint {
			fmt.Fprintf(w, "  outbound  %s\n", now)
		}
		fmt.Fprintf(w, "  inbound   %s\n", then)
		if a, b := directionText(e.Restart.Client), directionText(e.Restart.Server); !e.Waypoint && (a != now || b != then) {
			fmt.Fprintf(w, "  after a restart\n  outbound  %s\n  inbound   %s\n", a, b)
		}
		for _, u := range e.Policy.Used {
			fmt.Fprintf(w, "  from      %s\n", place(u))
		}
	}
	for _, f := range r.Findings {
		if f.Severity != Info && len(f.Workloads) > 0 {
			printFinding(w, f)
		}
	}
}

func directionText(d istio.Direction) string {
	s := ""
	switch d.Decision {
	case istio.Off:
		return "not traced: " + firstOf(d.Reason, "no reason known")
	case istio.Legacy:
		s = "tracing without provider: only a tracer of the bootstrap reports"
		if d.Reason != "" {
			s += " (" + d.Reason + ")"
		}
	default:
		s = fmt.Sprintf("provider %s, %s to %s:%d", d.Named, d.Provider.Type, d.Provider.Service, d.Provider.Port)
		if d.ProviderRef.Path != "" {
			s += ", selected by " + place(d.ProviderRef)
		}
	}
	s += fmt.Sprintf("; %s %% by %s", number(d.Sampling), samplerText(d))
	var tags []string
	for _, t := range d.Tags {
		tags = append(tags, t.Name)
	}
	if len(tags) > 0 {
		s += "; tags " + strings.Join(tags, ", ")
	}
	return s
}
