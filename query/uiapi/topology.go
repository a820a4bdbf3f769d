package uiapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

func (a *api) serviceMap(c *call) error {
	r, err := c.window()
	if err != nil {
		return err
	}
	mq := query.MapQuery{Range: r, Focus: c.params.Get("focus")}
	if mq.Telemetry, err = c.boolean("telemetry"); err != nil {
		return err
	}
	if mq.Compare, err = c.boolean("compare"); err != nil {
		return err
	}
	if mq.Depth, err = c.number("depth", 1, 1, query.MaxDepth); err != nil {
		return err
	}
	for _, ns := range strings.Split(c.params.Get("namespaces"), ",") {
		if ns != "" {
			mq.Namespaces = append(mq.Namespaces, ns)
		}
	}
	encryption, err := a.encryption(c)
	if err != nil {
		return err
	}
	m, err := a.Query.Map(c.ctx, c.scope, mq)
	if err != nil {
		return err
	}
	slots := a.slotsOfNodes(c, m.Nodes)
	o := open(nil)
	o.list("nodes", len(m.Nodes), func(dst []byte, i int) []byte { return appendNode(dst, &m.Nodes[i], slots[i]) })
	o.list("edges", len(m.Edges), func(dst []byte, i int) []byte { return appendEdge(dst, &m.Edges[i], encryption) })
	o.list("missing", len(m.Missing), func(dst []byte, i int) []byte { return appendMissing(dst, &m.Missing[i]) })
	o.list("notes", len(m.Notes), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("kind", m.Notes[i].Kind)
		o.text("message", m.Notes[i].Message)
		return o.close()
	})
	o.done(m.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// slotsOfNodes are the colours of the nodes' services, the first of several; -1 of nodes without spans.
func (a *api) slotsOfNodes(c *call, nodes []query.MapNode) []int {
	var names []string
	for i := range nodes {
		if len(nodes[i].Services) > 0 {
			names = append(names, nodes[i].Services[0])
		}
	}
	found := a.Query.SlotsOf(c.ctx, c.scope, names)
	slots := make([]int, len(nodes))
	for i := range nodes {
		slots[i] = -1
		if len(nodes[i].Services) > 0 {
			slots[i], found = found[0], found[1:]
		}
	}
	return slots
}

// figures are the counts of a window in the words of the map.
func (o *object) figures(r *query.RED) {
	o.number("calls", r.Weight)
	o.number("errors", r.Errors)
	o.int("n", r.N)
	o.number("rate", r.Rate)
	o.number("errorRate", r.ErrorRate)
	o.int("p50", r.P50)
	o.int("p95", r.P95)
	o.int("p99", r.P99)
	o.bool("estimated", r.Estimated)
	if r.Estimated {
		o.number("deviation", r.Deviation)
	}
}

func (o *object) red(name string, r *query.RED) {
	if r != nil {
		o.key(name)
		o.out = appendRED(o.out, r)
	}
}

func (o *object) texts(name string, list []string) {
	o.list(name, len(list), func(dst []byte, i int) []byte { return otlpjson.AppendQuoted(dst, list[i]) })
}

func (o *object) someID(name string, id span.TraceID) {
	if !id.IsZero() {
		o.id(name, id[:])
	}
}

func appendNode(dst []byte, n *query.MapNode, slot int) []byte {
	o := open(dst)
	o.text("id", n.ID)
	o.text("kind", n.Kind.String())
	o.text("namespace", n.Namespace)
	o.text("service", n.Name)
	o.texts("services", n.Services)
	if slot >= 0 {
		o.int("slot", int64(slot))
	}
	o.figures(&n.RED)
	o.red("before", n.Before)
	o.list("versions", len(n.Versions), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("version", n.Versions[i].Version)
		o.red("red", &n.Versions[i].RED)
		return o.close()
	})
	o.list("badges", len(n.Badges), func(dst []byte, i int) []byte { return otlpjson.AppendQuoted(dst, string(n.Badges[i])) })
	o.someText("inferredFrom", n.Inferred)
	return o.close()
}

// encryption is what the doctor's facts say of mutual TLS, in the language of the call.
type encryption struct {
	facts    *doctor.Encryption // nil without facts
	language string
}

func (a *api) encryption(c *call) (e encryption, err error) {
	if e.language, err = c.language(); err == nil && a.Doctor != nil {
		e.facts = a.Doctor.Encryption()
	}
	return e, err
}

// workloadOf takes a node's id apart; ok only for what can have a sidecar.
func workloadOf(id string) (namespace, name string, ok bool) {
	kind, rest, _ := strings.Cut(id, "/")
	namespace, name, _ = strings.Cut(rest, "/")
	return namespace, name, kind == rollup.KindService.String() || kind == rollup.KindGateway.String()
}

func (o *object) mtls(e *query.MapEdge, in encryption) {
	fromNamespace, from, caller := workloadOf(e.From)
	toNamespace, to, callee := workloadOf(e.To)
	if !caller || !callee {
		return
	}
	secrecy, why := in.facts.Between(fromNamespace, from, toNamespace, to)
	o.text("mtls", string(secrecy))
	o.someText("mtlsSource", why.In(in.language))
}

func appendEdge(dst []byte, e *query.MapEdge, in encryption) []byte {
	o := open(dst)
	o.text("from", e.From)
	o.text("to", e.To)
	o.text("class", e.Class.String())
	o.text("protocol", e.Protocol)
	o.texts("protocols", e.Protocols)
	o.figures(&e.RED)
	o.red("client", e.Client)
	o.red("server", e.Server)
	o.red("before", e.Before)
	o.text("seen", e.Seen)
	o.mtls(e, in)
	o.list("flags", len(e.Flags), func(dst []byte, i int) []byte {
		f := &e.Flags[i]
		o := open(dst)
		o.text("flag", f.Flag)
		o.int("n", f.N)
		o.someText("meaning", f.Words.Meaning)
		o.someText("cause", f.Words.Cause)
		return o.close()
	})
	o.someID("slowest", e.Slowest)
	o.someID("failed", e.Failed)
	return o.close()
}

func appendMissing(dst []byte, m *query.Missing) []byte {
	o := open(dst)
	o.text("kind", m.Kind)
	o.text("node", m.Node)
	o.someText("from", m.From)
	if m.LastTime != 0 {
		o.instant("lastTime", m.LastTime)
	}
	o.text("message", m.Message)
	return o.close()
}

func (a *api) serviceDetail(c *call) error {
	node, err := c.required("node")
	if err != nil {
		return err
	}
	r, err := c.window()
	if err != nil {
		return err
	}
	buckets, err := c.number("buckets", 30, 1, query.MaxBuckets)
	if err != nil {
		return err
	}
	encryption, err := a.encryption(c)
	if err != nil {
		return err
	}
	d, err := a.Query.Service(c.ctx, c.scope, query.ServiceQuery{Node: node, Range: r, Buckets: buckets})
	if err != nil {
		return err
	}
	slots := a.slotsOfNodes(c, []query.MapNode{d.Node})
	o := open(nil)
	o.key("node")
	o.out = appendNode(o.out, &d.Node, slots[0])
	o.list("operations", len(d.Operations), func(dst []byte, i int) []byte {
		op := &d.Operations[i]
		o := open(dst)
		o.text("operation", op.Operation)
		o.text("kind", op.Kind.String())
		o.red("red", &op.RED)
		o.someID("slowest", op.Slowest)
		o.someID("failed", op.Failed)
		return o.close()
	})
	o.list("callers", len(d.Callers), func(dst []byte, i int) []byte { return appendEdge(dst, &d.Callers[i], encryption) })
	o.list("callees", len(d.Callees), func(dst []byte, i int) []byte { return appendEdge(dst, &d.Callees[i], encryption) })
	o.series(d.Series)
	o.list("missing", len(d.Missing), func(dst []byte, i int) []byte { return appendMissing(dst, &d.Missing[i]) })
	o.done(d.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// series is RED over time.
func (o *object) series(points []query.SeriesPoint) {
	o.list("series", len(points), func(dst []byte, i int) []byte {
		p := &points[i]
		o := open(dst)
		o.instant("start", p.Start)
		o.int("duration", p.Duration)
		o.red("red", &p.RED)
		o.someID("slowest", p.Slowest)
		o.someID("failed", p.Failed)
		return o.close()
	})
}

func (a *api) edgeDetail(c *call) error {
	eq := query.EdgeQuery{}
	var err error
	if eq.From, err = c.required("from"); err != nil {
		return err
	}
	if eq.To, err = c.required("to"); err != nil {
		return err
	}
	if eq.Class, err = c.class(); err != nil {
		return err
	}
	if eq.Range, err = c.window(); err != nil {
		return err
	}
	if eq.Buckets, err = c.number("buckets", 30, 1, query.MaxBuckets); err != nil {
		return err
	}
	encryption, err := a.encryption(c)
	if err != nil {
		return err
	}
	d, err := a.Query.Edge(c.ctx, c.scope, eq)
	if err != nil {
		return err
	}
	slots := a.slotsOfNodes(c, []query.MapNode{d.From, d.To})
	o := open(nil)
	o.key("edge")
	o.out = appendEdge(o.out, &d.Edge, encryption)
	o.key("from")
	o.out = appendNode(o.out, &d.From, slots[0])
	o.key("to")
	o.out = appendNode(o.out, &d.To, slots[1])
	o.series(d.Series)
	o.list("slow", len(d.Slow), func(dst []byte, i int) []byte { return appendExample(dst, &d.Slow[i]) })
	o.list("failed", len(d.Failed), func(dst []byte, i int) []byte { return appendExample(dst, &d.Failed[i]) })
	o.done(d.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// class is the word of a class of calls; calls that wait for their answer if absent.
func (c *call) class() (rollup.Class, error) {
	text := c.params.Get("class")
	for _, class := range []rollup.Class{rollup.ClassCall, rollup.ClassAsync, rollup.ClassTelemetry} {
		if text == class.String() || text == "" {
			return class, nil
		}
	}
	return 0, badParam("class", text, "use call, async or telemetry")
}

func appendExample(dst []byte, x *query.Example) []byte {
	o := open(dst)
	o.id("traceId", x.Trace[:])
	o.instant("start", x.Start)
	if x.Duration > 0 {
		o.int("duration", x.Duration)
	}
	o.someText("flag", x.Flag)
	return o.close()
}

func (a *api) propagation(c *call) error {
	r, err := c.window()
	if err != nil {
		return err
	}
	p, err := a.Query.Propagation(c.ctx, c.scope, r)
	if err != nil {
		return err
	}
	o := open(nil)
	o.list("items", len(p.Services), func(dst []byte, i int) []byte { return appendPropagation(dst, &p.Services[i]) })
	o.done(p.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

func appendPropagation(dst []byte, s *query.Propagation) []byte {
	o := open(dst)
	o.text("namespace", s.Namespace)
	o.text("group", s.Group)
	o.texts("services", s.Services)
	o.int("inbound", int64(s.Inbound))
	o.int("outbound", int64(s.Outbound))
	o.int("outboundRoots", int64(s.OutboundRoots))
	o.int("appRoots", int64(s.AppRoots))
	o.int("passed", int64(s.Passed))
	o.int("broken", int64(s.Broken))
	o.number("score", s.Score)
	o.list("findings", len(s.Findings), func(dst []byte, i int) []byte {
		f := &s.Findings[i]
		o := open(dst)
		o.text("kind", string(f.Kind))
		o.int("n", int64(f.N))
		o.number("confidence", f.Confidence)
		o.text("message", f.Message)
		o.list("examples", len(f.Examples), func(dst []byte, i int) []byte {
			x := &f.Examples[i]
			o := open(dst)
			o.id("traceId", x.Trace[:])
			o.id("spanId", x.Span[:])
			o.id("otherTraceId", x.OtherTrace[:])
			o.id("otherSpanId", x.OtherSpan[:])
			o.text("proof", x.Proof)
			return o.close()
		})
		return o.close()
	})
	o.list("routes", len(s.Routes), func(dst []byte, i int) []byte {
		r := &s.Routes[i]
		o := open(dst)
		o.text("route", r.Route)
		o.int("passed", int64(r.Passed))
		o.int("broken", int64(r.Broken))
		o.number("score", r.Score)
		return o.close()
	})
	return o.close()
}

func (a *api) hops(c *call) error {
	text, err := c.required("traceId")
	if err != nil {
		return err
	}
	id, err := span.ParseTraceID(text)
	if err != nil {
		return badParam("traceId", text, "a trace id is 1 to 32 hexadecimal digits, not all zero")
	}
	t, err := a.Query.Trace(c.ctx, c.scope, id, store.TimeRange{})
	if err != nil {
		return err
	}
	body := appendHops(nil, t)
	cache := traceCaching(t)
	t.Release()
	a.sendTagged(c, body, cache)
	return nil
}

func appendHops(dst []byte, t *query.Trace) []byte {
	calls, skew := query.Calls(t), query.EstimateSkew(t)
	o := open(dst)
	o.id("traceId", t.ID[:])
	o.bool("maybeIncomplete", t.MaybeIncomplete)
	o.list("items", len(calls), func(dst []byte, i int) []byte { return appendCall(dst, t, &calls[i]) })
	o.list("clocks", len(skew.Clocks), func(dst []byte, i int) []byte {
		k := &skew.Clocks[i]
		o := open(dst)
		o.text("name", k.Name)
		o.int("shift", k.Shift)
		o.int("low", k.Low)
		o.int("high", k.High)
		o.int("pairs", int64(k.Pairs))
		o.bool("linked", k.Linked)
		o.someText("note", k.Note)
		return o.close()
	})
	o.list("clockOf", len(skew.Of), func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(skew.Of[i]), 10) })
	o.whole(t.Done)
	return o.close()
}

func appendCall(dst []byte, t *query.Trace, c *query.Call) []byte {
	o := open(dst)
	o.int("hop", int64(c.Hop))
	o.key("from")
	o.out = appendEnd(o.out, &c.From)
	o.key("to")
	o.out = appendEnd(o.out, &c.To)
	o.instant("start", c.Start)
	o.int("duration", c.Duration)
	o.bool("failed", c.Failed)
	o.someText("protocol", c.Protocol)
	o.someText("method", c.Method)
	o.someText("path", c.Path)
	o.someText("code", c.Code)
	o.someText("headers", c.Family)
	o.text("mtls", "unknown") // spans do not carry it; the doctor's facts do
	if c.Shared {
		o.bool("sharedId", true)
	}
	if c.Cluster != (rollup.Cluster{}) {
		o.key("cluster")
		o.out = appendCluster(o.out, &c.Cluster)
	}
	o.someText("upstream", c.Upstream)
	o.list("rows", len(c.Rows), func(dst []byte, i int) []byte {
		r := &c.Rows[i]
		row := &t.Rows[r.Row]
		o := open(dst)
		o.int("row", int64(r.Row))
		o.id("spanId", row.ID[:])
		o.text("stage", r.Stage)
		return o.close()
	})
	o.list("parts", len(c.Parts), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("name", c.Parts[i].Name)
		o.int("duration", c.Parts[i].Duration)
		return o.close()
	})
	o.list("attempts", len(c.Attempts), func(dst []byte, i int) []byte {
		x := &c.Attempts[i]
		o := open(dst)
		o.int("row", int64(x.Row))
		o.instant("start", x.Start)
		o.int("duration", x.Duration)
		o.bool("failed", x.Failed)
		o.someText("flag", x.Flag)
		o.someText("code", x.Code)
		return o.close()
	})
	o.list("flags", len(c.Flags), func(dst []byte, i int) []byte {
		f := &c.Flags[i]
		o := open(dst)
		o.int("row", int64(f.Row))
		o.text("flag", f.Flag)
		o.someText("meaning", f.Meaning)
		o.someText("cause", f.Cause)
		return o.close()
	})
	o.texts("missing", c.Missing)
	return o.close()
}

func appendEnd(dst []byte, e *query.CallEnd) []byte {
	o := open(dst)
	o.text("kind", e.Kind.String())
	o.text("namespace", e.Namespace)
	o.text("name", e.Name)
	o.someText("service", e.Service)
	o.someText("version", e.Version)
	o.someText("pod", e.Pod)
	o.someText("node", e.Node)
	return o.close()
}

func appendCluster(dst []byte, k *rollup.Cluster) []byte {
	o := open(dst)
	o.someText("direction", k.Direction)
	o.someInt("port", int64(k.Port))
	o.someText("subset", k.Subset)
	o.someText("host", k.Host)
	if k.Passthrough {
		o.bool("passthrough", true)
	}
	if k.BlackHole {
		o.bool("blackhole", true)
	}
	return o.close()
}
