package uiapi

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/prescribe"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// Mesh is what /mesh asks of the cluster. It reads; nothing here writes to one.
type Mesh interface {
	// Facts are the newest of the cluster that this server reads. The error says why there are none.
	Facts() (*doctor.Facts, error)
	// Plan compares what was rendered with the objects of the cluster that the facts are of.
	Plan(ctx context.Context, in render.Intent, parts []render.Part, f *doctor.Facts) (*plan.Plan, error)
}

var meshParams = []string{"protocol", "sampling", "for", "version", "namespace", "service", "tags"}

// intent is what a call of /mesh asks for, completed by what was read of the cluster.
type intent struct {
	words       render.Words
	in          render.Intent
	parts       []render.Part
	facts       *doctor.Facts // nil: none, and unread says why
	unread      error
	VersionFrom string
}

func (a *api) intent(c *call) (*intent, error) {
	x := &intent{words: render.Words{Protocol: c.params.Get("protocol"), Sampling: c.params.Get("sampling"), Istio: c.params.Get("version"),
		Namespace: c.params.Get("namespace"), Service: c.params.Get("service"), Tags: slices.DeleteFunc(slices.Clone(c.params["tags"]), func(s string) bool { return s == "" })}}
	if v := c.params.Get("for"); v != "" {
		x.words.For = strings.Split(v, ",")
	}
	if a.Mesh == nil {
		x.unread = noCluster
	} else {
		x.facts, x.unread = a.Mesh.Facts()
	}
	var err error
	if x.in, x.parts, err = prescribe.Render(x.words, x.facts); err != nil {
		return nil, asParam(err)
	}
	switch {
	case x.words.Istio != "":
		x.VersionFrom = "given"
	case x.in.Minor != "":
		x.VersionFrom = "proxies"
	default:
		x.VersionFrom = "none" // none of the forms asks for it
	}
	return x, nil
}

var noCluster = problem.New(problem.Unsupported, "this server reads no cluster", "start it with --kubeconfig FILE or in a pod, with the rights that `spanloom doctor roles` prints; or compare on the command line: spanloom mesh plan --kubeconfig FILE")

// asParam names parameters where an intent's errors name flags.
func asParam(err error) error {
	var p *problem.Problem
	if !errors.As(err, &p) || !strings.HasPrefix(p.Field, "--") {
		return err
	}
	out := *p
	out.Field = strings.TrimPrefix(p.Field, "--")
	if out.Field == "istio-version" {
		out.Field = "version"
		out.Hint = "it is one from " + render.Oldest + " to " + render.Newest + "; without it that of the proxies is taken, where this server reads a cluster"
	}
	return &out
}

// repository are the forms that are files, not objects of a cluster: `mesh apply` refuses them.
var repository = []render.Target{render.IstioOperator, render.Helm}

// command does the same on the command line.
func (x *intent) command() string {
	args := []string{"spanloom", "mesh", "apply"}
	inFiles := slices.ContainsFunc(x.in.Targets, func(t render.Target) bool { return slices.Contains(repository, t) })
	if inFiles {
		args = []string{"spanloom", "mesh", "plan", "-f", "DIR"}
	}
	flag := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name, quoted(value))
		}
	}
	flag("protocol", x.words.Protocol)
	flag("sampling", x.words.Sampling)
	flag("for", strings.Join(x.words.For, ","))
	flag("istio-version", x.words.Istio)
	flag("namespace", x.words.Namespace)
	flag("service", x.words.Service)
	for _, t := range x.words.Tags {
		if strings.ContainsAny(t, `,"`) { // the flag reads a line of CSV
			t = `"` + strings.ReplaceAll(t, `"`, `""`) + `"`
		}
		flag("tags", t)
	}
	if inFiles {
		args = append(args, "-o", "patch", "|", "git", "apply")
	}
	return strings.Join(args, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.,:/=%@+-]+$`)

// quoted is a word as a POSIX shell reads it back.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

type meshDocument struct {
	For  render.Target `json:"for"`
	Name string        `json:"name"` // of a file
	Use  string        `json:"use"`  // apply, or merge: it is a piece of something larger
	YAML string        `json:"yaml"`
}

type meshRender struct {
	Version     string         `json:"version"`
	VersionFrom string         `json:"versionFrom"`
	Protocol    string         `json:"protocol"`
	Sampling    float64        `json:"sampling"`          // percent
	InForce     float64        `json:"inForce,omitempty"` // percent, of gateways now
	Documents   []meshDocument `json:"documents"`
	Command     string         `json:"command"`
}

// meshRender writes an intent as YAML.
func (a *api) meshRender(c *call) error {
	x, err := a.intent(c)
	if err != nil {
		return err
	}
	out := meshRender{Version: x.in.Minor, VersionFrom: x.VersionFrom, Protocol: x.in.Protocol, Sampling: x.in.Sampling, Documents: []meshDocument{}, Command: x.command()}
	if rate, ok := prescribe.InForce(x.facts); ok {
		out.InForce = rate
	}
	var present *istio.Objects
	if x.facts != nil {
		present = &x.facts.Objects
	}
	for _, p := range x.parts {
		d := meshDocument{For: p.Target, Name: "spanloom-" + string(p.Target) + ".yaml", Use: "apply", YAML: p.YAML}
		if render.Merges(x.in, p.Target, present) {
			d.Use = "merge"
		}
		out.Documents = append(out.Documents, d)
	}
	return sendJSON(c, out)
}

type meshChange struct {
	Object    string        `json:"object"`
	For       render.Target `json:"for"`
	Action    string        `json:"action"`
	Diff      string        `json:"diff"`
	Effect    string        `json:"effect"`
	Live      string        `json:"live,omitempty"`
	Restart   string        `json:"restart,omitempty"`
	Workloads []string      `json:"workloads"` // to restart
	Owner     *istio.Owner  `json:"owner,omitempty"`
	Instead   string        `json:"instead,omitempty"`
}

type meshPlan struct {
	Version     string         `json:"version"`
	VersionFrom string         `json:"versionFrom"`
	Collected   Instant        `json:"collected"` // when the facts were read; the objects that change were read just now
	Changes     []meshChange   `json:"changes"`
	Same        []string       `json:"same"`
	Policies    []plan.Outcome `json:"policies"`
	Notes       []string       `json:"notes"`
}

// meshPlan compares an intent with the cluster.
func (a *api) meshPlan(c *call) error {
	x, err := a.intent(c)
	if err != nil {
		return err
	}
	if x.facts == nil {
		return x.unread
	}
	for _, t := range x.in.Targets {
		if slices.Contains(repository, t) {
			return &problem.Problem{Kind: problem.Invalid, Field: "for", Message: string(t) + " is a file of a repository, no object of a cluster", Hint: "compare it there: " + x.command()}
		}
	}
	p, err := a.Mesh.Plan(c.ctx, x.in, x.parts, x.facts)
	if err != nil {
		return asParam(err)
	}
	out := meshPlan{Version: x.in.Minor, VersionFrom: x.VersionFrom, Collected: Instant(x.facts.Collected), Changes: []meshChange{}, Same: p.Same, Policies: p.Workloads, Notes: p.Notes}
	for i := range p.Changes {
		ch := &p.Changes[i]
		m := meshChange{Object: ch.Object.String(), For: ch.Target, Action: ch.Action, Diff: ch.Diff, Effect: ch.Does, Live: ch.Live, Restart: ch.Restart, Workloads: append([]string{}, ch.Of...), Instead: ch.Instead}
		if ch.Owner != (istio.Owner{}) {
			m.Owner = &ch.Owner
		}
		out.Changes = append(out.Changes, m)
	}
	return sendJSON(c, out)
}
