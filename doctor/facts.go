// Package doctor finds the one broken link between a request and its trace: it takes facts about a mesh and answers
// findings, root causes first, and for every workload a chain of stations.
//
// Collecting and judging are apart. Facts are plain data that can be saved and replayed; Diagnose is a pure function of
// them. What was not read is unknown, never guessed.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/envoy"
	"github.com/spanloom/spanloom/mesh/istio"
)

// FactsVersion is written into saved facts; a file of a later version is refused.
const FactsVersion = 1

// Facts are all that is known of a mesh. No Secret, no value of an environment variable and no annotation outside of a
// list ever enters them.
type Facts struct {
	Version   int               `json:"version"`
	Source    string            `json:"source"` // files, cluster
	Istio     string            `json:"istioVersion,omitempty"`
	Objects   istio.Objects     `json:"objects"`
	Effective *istio.MeshConfig `json:"effectiveMesh,omitempty"` // istiod's /debug/mesh
	Proxies   []envoy.Proxy     `json:"proxies,omitempty"`
	Received  *Received         `json:"received,omitempty"`
	Book      *Book             `json:"book,omitempty"`             // Spanloom's own; it stands for Received where that is absent
	Collected int64             `json:"collected,omitempty,string"` // when, ns since the epoch; 0: not known
	Warnings  []string          `json:"istiodWarnings,omitempty"`
	Unread    []Unread          `json:"unread,omitempty"` // what could not be read, and why
	Files     int               `json:"files,omitempty"`
	Complete  bool              `json:"registryComplete,omitempty"` // all Services and ServiceEntries are among the objects
}

// Unread is a part that could not be read.
type Unread struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Received is what the collector got.
type Received struct {
	Spans     int            `json:"spans"`
	Traces    int            `json:"traces"`
	Roots     int            `json:"roots"`
	ByService map[string]int `json:"byService,omitempty"`
	PerTrace  map[string]int `json:"spansPerTrace,omitempty"` // traces by their number of spans
	Requests  map[string]int `json:"requests,omitempty"`      // by "protocol path -> status"
	Traffic   int            `json:"traffic,omitempty"`       // requests that were sent through the mesh; 0: not known
}

// Save writes facts as JSON.
func (f *Facts) Save(w io.Writer) error {
	f.Version = FactsVersion
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(f)
}

// maxFacts bounds a facts file: one of 5,000 pods has about 20 MB.
const maxFacts = 512 << 20

// LoadFacts reads saved facts.
func LoadFacts(r io.Reader) (*Facts, error) {
	d := json.NewDecoder(io.LimitReader(r, maxFacts))
	d.DisallowUnknownFields()
	f := new(Facts)
	if err := d.Decode(f); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "facts", Message: "this is no facts file", Hint: "make one with `spanloom doctor --save FILE`", Err: err}
	}
	if f.Version < 1 || f.Version > FactsVersion {
		return nil, problem.New(problem.Invalid, fmt.Sprintf("facts of version %d", f.Version), fmt.Sprintf("this Spanloom reads version %d: use the one that saved them", FactsVersion))
	}
	return f, nil
}
