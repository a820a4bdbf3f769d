package doctor

import (
	"github.com/spanloom/spanloom/mesh/istio"
)

// State of a mesh's tracing.
type State string

// The states: of what arrived where that is known, of what the chain shows where it is not.
const (
	Healthy State = "healthy" // every workload's spans arrive and join
	Partial State = "partial" // some do
	Broken  State = "broken"  // none do
	Unknown State = "unknown" // too little was read to tell
)

// Report is what the doctor says. Its JSON form is stable.
type Report struct {
	State    State     `json:"state"`
	Reason   string    `json:"reason"`
	Findings []Finding `json:"findings"`
	Stations []Chain   `json:"stations"`
	Unread   []Unread  `json:"unread,omitempty"`

	Source    string  `json:"source,omitempty"`           // of the facts: files, cluster, server
	Collected int64   `json:"collected,omitempty,string"` // when they were collected, ns since the epoch
	Window    *Window `json:"window,omitempty"`           // of the receipts that took part

	language string // ko, or English; what Print says around the findings
	reason   Text
	unread   []Unread // as the facts have it
}

// Window is [From, To) in nanoseconds since the epoch.
type Window struct {
	From int64 `json:"from,string"`
	To   int64 `json:"to,string"`
}

// In puts everything that is said into a language: ko for Korean, anything else is English. It costs no second diagnosis. Of a
// report that was read from JSON only titles, consequences and the general ways out change: the rest is in the language in
// which it was asked for.
func (r *Report) In(language string) {
	r.language = language
	if !r.reason.empty() {
		r.Reason = r.reason.In(language)
	}
	for i := range r.Findings {
		r.Findings[i].in(language)
	}
	for i := range r.Stations {
		for j := range r.Stations[i].Stations {
			if s := &r.Stations[i].Stations[j]; !s.reason.empty() {
				s.Reason = s.reason.In(language)
			}
		}
	}
	if r.unread == nil {
		r.unread = r.Unread
	}
	r.Unread = nil // what is there may be the facts' own
	for _, u := range r.unread {
		r.Unread = append(r.Unread, Unread{Name: heard(u.Name).In(language), Why: heard(u.Why).In(language)})
	}
}

func (f *Finding) in(language string) {
	e := Lookup(f.Code)
	if k := InKorean(f.Code); language == "ko" && k.Title != "" {
		e.Title, e.Means, e.Fix = k.Title, k.Means, k.Fix
	}
	f.Title, f.Consequence, f.Fix.General = e.Title, e.Means, e.Fix
	f.Docs = "docs/findings/" + f.Code + ".md"
	if language == "ko" {
		f.Docs = "docs/findings/ko/" + f.Code + ".md"
	}
	if !f.detail.empty() {
		f.Detail = f.detail.In(language)
	}
	for i, t := range f.evidence {
		f.Evidence[i] = t.In(language)
	}
	switch {
	case !f.Fix.text.empty():
		f.Fix.Text = f.Fix.text.In(language)
	case f.own:
		f.Fix.Text = e.Fix
	}
}

// Finding is one thing that is wrong, or odd, or costly.
type Finding struct {
	Code        string    `json:"code"`
	Cause       string    `json:"cause"`
	Severity    Severity  `json:"severity"`
	Title       string    `json:"title"`
	Detail      string    `json:"detail,omitempty"`
	Object      istio.Ref `json:"object"`
	Workloads   []string  `json:"workloads"`
	Evidence    []string  `json:"evidence"`
	Consequence string    `json:"consequence"`
	Fix         Fix       `json:"fix"`
	DependsOn   []string  `json:"dependsOn"`
	Docs        string    `json:"docs"`

	own      bool // made here, not read from JSON
	detail   Text
	evidence []Text
}

// Fix is the smallest change that mends it.
type Fix struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Diff    string `json:"diff,omitempty"`
	General string `json:"general,omitempty"` // the way out of such findings in general, in the language asked for

	text Text
}

// Chain is the way of one workload's spans.
type Chain struct {
	Workload string    `json:"workload"`
	Stations []Station `json:"stations"`
}

// Station is one link of a chain.
type Station struct {
	Name   string `json:"name"`
	State  Light  `json:"state"`
	Reason string `json:"reason,omitempty"`
	Cause  string `json:"cause,omitempty"`

	reason Text
}

func newStation(name string, state Light, reason Text, cause string) Station {
	return Station{Name: name, State: state, Reason: reason.String(), Cause: cause, reason: reason}
}

// Light is the state of a station.
type Light string

// The lights.
const (
	Green   Light = "green"
	Red     Light = "red"
	Neutral Light = "unknown"
)

// StationNames are the stations in the order in which spans pass them.
var StationNames = []string{"injected", "policy", "accepted", "listener", "cluster", "endpoint", "tls", "network", "receiver", "stored", "joined"}

// Worst is the gravest severity among the findings; empty if there is none.
func (r *Report) Worst() Severity {
	worst := Severity("")
	for _, f := range r.Findings {
		switch f.Severity {
		case Error:
			return Error
		case Warning:
			worst = Warning
		case Info:
			if worst == "" {
				worst = Info
			}
		}
	}
	return worst
}
