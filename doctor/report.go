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
}

// Window is [From, To) in nanoseconds since the epoch.
type Window struct {
	From int64 `json:"from,string"`
	To   int64 `json:"to,string"`
}

// In puts titles, consequences and the general ways out into a language: ko for Korean, anything else is English.
// Details and evidence stay as they are: they are names, numbers and lines.
func (r *Report) In(language string) {
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Fix.General = Lookup(f.Code).Fix
		if k := InKorean(f.Code); language == "ko" && k.Title != "" {
			f.Title, f.Consequence, f.Fix.General = k.Title, k.Means, k.Fix
		}
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
}

// Fix is the smallest change that mends it.
type Fix struct {
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Diff    string `json:"diff,omitempty"`
	General string `json:"general,omitempty"` // the way out of such findings in general, in the language asked for
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
