// Package live is the doctor inside of serve: it writes down what Spanloom itself knows (receipts, refusals, where stored
// spans lose context, who is silent) and judges it, alone or together with facts from elsewhere.
//
// It reads through query, as every dialect does; judging stays in doctor.
package live

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// Options are what the doctor stands on; Query, Receipts and Now are required.
type Options struct {
	Query *query.Query
	// Receipts sums what came in [from, to). Its rows name a workload as the ledger does: group.namespace, or
	// "sender ADDRESS" for what has none.
	Receipts func(ctx context.Context, from, to time.Time) ([]doctor.Receipt, error)
	Dropped  func() float64 // percent of traces that head sampling drops; nil: none
	Refusing func() string  // why the store takes nothing; nil: it does
	Now      func() time.Time
	Log      *slog.Logger

	Cluster       Cluster // that is read continuously; nil: none. The rest is for it
	Istio         string  // namespace of istiod; empty: found
	Meta          store.Meta
	CompareAndSet bool   // Meta does
	Replica       string // name of this process, unlike all others
}

// Doctor judges. Safe for concurrent use.
type Doctor struct {
	Options

	mu   sync.Mutex
	last *doctor.Report

	watcher watcher
}

// New makes a doctor.
func New(o Options) *Doctor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Doctor{Options: o}
}

// Report judges what Spanloom knows of a window, with what was read of the cluster if one is. With facts those are judged
// instead of the cluster, together with the receipts of the window unless alone. Facts are not changed. Cost: a read of rollups
// and a scan of at most half a million spans.
func (d *Doctor) Report(ctx context.Context, s store.Scope, r store.TimeRange, facts *doctor.Facts, alone bool, o doctor.Options) (*doctor.Report, error) {
	if alone && facts != nil {
		return doctor.Diagnose(facts, o), nil
	}
	if facts == nil {
		facts = d.clusterFacts()
	}
	return d.judge(ctx, s, r, facts, o)
}

func (d *Doctor) judge(ctx context.Context, s store.Scope, r store.TimeRange, facts *doctor.Facts, o doctor.Options) (*doctor.Report, error) {
	book, err := d.Book(ctx, s, r)
	if err != nil {
		return nil, err
	}
	f := doctor.Facts{Version: doctor.FactsVersion, Source: "server"}
	if facts != nil {
		f = *facts
	}
	if f.Source == "server" {
		f.Collected = d.Now().UnixNano()
	}
	if f.Source != "files" {
		f.Received = nil // the book is fresher and says more
	}
	f.Book = book
	return doctor.Diagnose(&f, o), nil
}

// Book writes down what Spanloom knows of a window. A part that cannot be asked is a gap, not a failure; only a context that
// ended is an error.
func (d *Doctor) Book(ctx context.Context, s store.Scope, r store.TimeRange) (*doctor.Book, error) {
	b := &doctor.Book{From: r.From, To: r.To}
	if d.Dropped != nil {
		b.Dropped = d.Dropped()
	}
	if d.Refusing != nil {
		b.Refusing = d.Refusing()
	}
	gap := func(name, why string) {
		b.Gaps = append(b.Gaps, doctor.Unread{Name: name, Why: why})
	}
	known := make(map[string][2]string) // group.namespace, as the ledger writes it, taken apart
	// Where a part of the store is away, a span that is not there may only not have been read: nothing follows from it.
	m, err := d.Query.Map(ctx, s, query.MapQuery{Range: r, Telemetry: true, Compare: true})
	switch {
	case err != nil:
		gap("map", err.Error())
	case m.Away:
		gap("map", m.Reason)
	default:
		d.readMap(b, m, known)
	}
	p, err := d.Query.Propagation(ctx, s, r)
	switch {
	case err != nil:
		gap("propagation", err.Error())
	case p.Away:
		gap("propagation", p.Reason)
	default:
		for i := range p.Services {
			c := contextOf(&p.Services[i])
			b.Context = append(b.Context, c)
			known[c.Workload+"."+c.Namespace] = [2]string{c.Workload, c.Namespace}
		}
	}
	rows, err := d.Receipts(ctx, time.Unix(0, r.From), time.Unix(0, r.To))
	if err != nil {
		gap(doctor.GapReceipts, err.Error())
	}
	for _, row := range rows {
		if row.Last > 0 && row.Last < r.From {
			row.Spans, row.Requests = 0, 0 // of the window's first minute, before the window
		}
		b.Receipts = append(b.Receipts, named(row, known))
	}
	return b, ctx.Err()
}

// neverArrived are response flags that say that no server saw the request.
var neverArrived = []string{"UF", "UH", "NR", "NC", "FI", "UO", "RL", "DF", "UAEX"}

// unreached are the nodes that no call reached: they owe no spans.
func unreached(m *query.MapAnswer) map[string]bool {
	out := make(map[string]bool)
	for i := range m.Edges {
		e := &m.Edges[i]
		var lost int64
		for _, f := range e.Flags {
			if slices.ContainsFunc(strings.Split(f.Flag, ","), func(one string) bool { return slices.Contains(neverArrived, one) }) {
				lost += f.N
			}
		}
		all := lost > 0 && lost >= e.RED.N
		if before, seen := out[e.To]; seen {
			all = all && before
		}
		out[e.To] = all
	}
	return out
}

func (d *Doctor) readMap(b *doctor.Book, m *query.MapAnswer, known map[string][2]string) {
	ends := make(map[string]*query.MapNode, len(m.Nodes))
	for i := range m.Nodes {
		n := &m.Nodes[i]
		ends[n.ID] = n
		if n.Namespace != "" {
			known[n.Name+"."+n.Namespace] = [2]string{n.Name, n.Namespace}
		}
	}
	lost := unreached(m)
	for _, x := range m.Missing {
		n := ends[x.Node]
		if x.Kind == query.MissingCallee && lost[x.Node] {
			continue
		}
		if n == nil || n.Kind != rollup.KindService && n.Kind != rollup.KindGateway || n.Name == rollup.Other {
			continue
		}
		switch x.Kind {
		case query.MissingCallee:
			b.Silent = append(b.Silent, doctor.Silent{Namespace: n.Namespace, Workload: n.Name})
		case query.MissingStopped:
			b.Silent = append(b.Silent, doctor.Silent{Namespace: n.Namespace, Workload: n.Name, Stopped: true, Last: x.LastTime})
		}
	}
}

// named takes a ledger's row apart. A name with dots is split only where spans show that its last part is a namespace: services
// are called my.service too.
func named(r doctor.Receipt, known map[string][2]string) doctor.Receipt {
	if _, ok := strings.CutPrefix(r.Workload, "sender "); ok {
		r.Sender, r.Workload = strings.TrimPrefix(r.Workload, "sender "), ""
		return r
	}
	if parts, ok := known[r.Workload]; ok {
		r.Workload, r.Namespace = parts[0], parts[1]
	}
	return r
}

func contextOf(p *query.Propagation) doctor.Context {
	c := doctor.Context{Namespace: p.Namespace, Workload: p.Group, Passed: p.Passed, Broken: p.Broken, Score: p.Score}
	for _, f := range p.Findings {
		l := doctor.Loss{Kind: string(f.Kind), N: f.N, Confidence: f.Confidence}
		if len(f.Examples) > 0 {
			x := f.Examples[0]
			l.Example = "traces " + x.Trace.String() + " and " + x.OtherTrace.String() + " are one request: " + x.Proof
		}
		c.Losses = append(c.Losses, l)
	}
	return c
}

// The stretch and the period of the continuous check.
const (
	watched = 15 * time.Minute
	every   = time.Minute
)

// Run judges the last quarter of an hour each minute until ctx ends, for Last.
func (d *Doctor) Run(ctx context.Context, s store.Scope) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		d.round(ctx, s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (d *Doctor) round(ctx context.Context, s store.Scope) {
	r, err := d.Report(ctx, s, d.recent(), nil, false, doctor.Options{})
	if err != nil {
		if ctx.Err() == nil {
			d.Log.Warn("the doctor's round ended early, will try again", "error", err)
		}
		return
	}
	d.mu.Lock()
	d.last = r
	d.mu.Unlock()
}

// Last is the newest report of Run; nil before the first. It is not to be changed.
func (d *Doctor) Last() *doctor.Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}
