// Package tracemetrics exposes rate, errors and durations of spans and of calls between services under the names that
// Grafana's Tempo data source asks a Prometheus for: traces_spanmetrics_* and traces_service_graph_*. They are counted from
// the same tables as the map, so both say the same; nothing is paid for at ingest, and nothing where nobody scrapes.
//
// A minute is counted once, when it is Delay old: what arrives later is on the map and not here. Counters begin when the
// process does. Values are Σ weight.
package tracemetrics

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spanloom/spanloom/internal/repeated"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// Limits of what is exposed.
const (
	Delay     = time.Minute // from the end of a minute until it is counted: sidecars and SDKs flush every 5 s
	CatchUp   = time.Hour   // after a longer pause between scrapes the minutes before are not counted
	MaxSeries = 5_000       // label sets of calls, and half as many of edges; the others share one per service
	timeout   = 8 * time.Second
)

// buckets are the upper bounds in seconds, Tempo's.
var buckets = []float64{0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384}

// Collector is a prometheus.Collector. It is unchecked: what it exposes depends on the spans.
type Collector struct {
	query *query.Query
	scope store.Scope
	log   *slog.Logger

	mu         sync.Mutex
	until      int64 // all minutes before it are counted
	late       repeated.Warning
	calls      map[callKey]*call
	edges      map[edgeKey]*edge
	incomplete float64
	dropped    float64
}

// New makes one that counts from now on.
func New(q *query.Query, scope store.Scope, log *slog.Logger) *Collector {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Collector{query: q, scope: scope, log: log, until: minute(q.Now().UnixNano()), calls: make(map[callKey]*call), edges: make(map[edgeKey]*edge)}
}

func minute(t int64) int64 { return t - t%rollup.Minute }

type callKey struct {
	service, name string
	kind          span.Kind
}

type edgeKey struct{ client, server, connection string }

// call sums the spans of one key.
type call struct {
	ok, failed   float64
	latency      histogram
	failedSample *sample
}

// edge sums the calls between two services.
type edge struct {
	total, failed  float64
	client, server histogram
	failedSample   *sample
	unpaired       float64
	virtual        bool // its callee sends no spans by its nature
}

// histogram is cumulative from bucket to bucket only when it is written.
type histogram struct {
	counts [15]float64 // of each bucket, the last beyond all bounds
	sum    float64
	slow   *sample
}

// sample is an example trace.
type sample struct {
	trace span.TraceID
	value float64
	at    time.Time
}

func (h *histogram) add(c *rollup.Counts, at int64) {
	below := 0.0
	for i, le := range buckets {
		n := c.Durations.AtMost(int64(le * 1e9))
		h.counts[i] += n - below
		below = n
	}
	h.counts[len(buckets)] += c.Durations.Total() - below
	h.sum += c.Sum / 1e9
	if c.N > 0 {
		h.slow = &sample{c.Slowest, float64(c.Durations.Max()) / 1e9, time.Unix(0, at)}
	}
}

// count counts the minutes that became old enough.
func (c *Collector) count(ctx context.Context) {
	to := minute(c.query.Now().Add(-Delay).UnixNano())
	if to <= c.until {
		return
	}
	from := max(c.until, to-int64(CatchUp))
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	table, done, err := c.query.Counts(ctx, c.scope, store.TimeRange{From: from, To: to})
	if err == nil && done.Away { // the spans of these minutes that could not be read now may be read then
		err = errors.New(done.Reason)
	}
	if c.late.Say(c.log, "trace metrics: minutes are counted with a later scrape", err, "from", time.Unix(0, from).UTC()); err != nil {
		return
	}
	if !done.Complete || from > c.until {
		c.incomplete++
	}
	c.until = to
	for k, cells := range table.Series() {
		if len(cells) > 0 {
			c.addSeries(&k, cells)
		}
	}
	c.dropped += float64(table.Uncounted)
	names := query.NewNames(table)
	for k, cells := range table.Edges() {
		if len(cells) > 0 && k.Class != rollup.ClassTelemetry {
			c.addEdge(names, &k, cells)
		}
	}
	for k, weight := range table.OneSided() {
		if k.Class != rollup.ClassTelemetry {
			c.edgeOf(names, &k).unpaired += weight
		}
	}
}

func (c *Collector) addSeries(k *rollup.SeriesKey, cells []rollup.Cell) {
	name := k.Operation
	if name == "" {
		name = query.PlainName(k.Kind, k.Service)
	}
	key := callKey{text(k.Service), text(name), k.Kind}
	x := c.calls[key]
	if x == nil && len(c.calls) >= MaxSeries { // the service that makes them is named
		key.name = rollup.Other
		if x = c.calls[key]; x == nil && len(c.calls) >= MaxSeries+MaxSeries/4 {
			key = callKey{rollup.Other, rollup.Other, k.Kind}
			x = c.calls[key]
		}
	}
	if x == nil {
		x = new(call)
		c.calls[key] = x
	}
	for i := range cells {
		n := &cells[i].Counts
		x.ok += n.Weight - n.ErrorWeight
		x.failed += n.ErrorWeight
		x.latency.add(n, cells[i].Start)
		if n.Errors > 0 {
			x.failedSample = &sample{n.Failed, 1, time.Unix(0, cells[i].Start)}
		}
	}
}

// edgeOf finds or makes what is exposed for an edge.
func (c *Collector) edgeOf(names *query.Names, k *rollup.EdgeKey) *edge {
	key := edgeKey{text(nodeName(names, k.From)), text(nodeName(names, k.To)), connection(k)}
	x := c.edges[key]
	if x == nil && len(c.edges) >= MaxSeries/2 {
		key.server = rollup.Other
		if x = c.edges[key]; x == nil && len(c.edges) >= MaxSeries {
			key = edgeKey{rollup.Other, rollup.Other, ""}
			x = c.edges[key]
		}
	}
	if x == nil {
		x = &edge{virtual: key.connection == "database" || key.connection == "virtual_node"}
		c.edges[key] = x
	}
	return x
}

func (c *Collector) addEdge(names *query.Names, k *rollup.EdgeKey, cells []rollup.Cell) {
	x := c.edgeOf(names, k)
	for i := range cells {
		n := &cells[i].Counts
		if k.View != rollup.ViewServer {
			x.total += n.Weight
			x.failed += n.ErrorWeight
			if n.Errors > 0 {
				x.failedSample = &sample{n.Failed, 1, time.Unix(0, cells[i].Start)}
			}
		}
		if k.View == rollup.ViewClient {
			x.client.add(n, cells[i].Start)
		}
		// Of a callee that sends no spans its client's view is all there is, and Grafana reads the server's.
		if k.View != rollup.ViewClient || x.virtual {
			x.server.add(n, cells[i].Start)
		}
	}
}

// nodeName is a service as dialects list it. Callers outside are Grafana's "user".
func nodeName(names *query.Names, n rollup.Node) string {
	switch name, _ := names.Of(n); {
	case n.Kind == rollup.KindClient:
		return "user"
	case name == "":
		return "unknown"
	default:
		return name
	}
}

// connection is what stands at the other end, in Tempo's words; empty between services.
func connection(k *rollup.EdgeKey) string {
	switch k.To.Kind {
	case rollup.KindDatabase:
		return "database"
	case rollup.KindExternal, rollup.KindPassthrough, rollup.KindBlackHole, rollup.KindUnknown:
		return "virtual_node"
	}
	if k.To.Kind == rollup.KindBroker || k.From.Kind == rollup.KindBroker || k.Class == rollup.ClassAsync {
		return "messaging_system"
	}
	return ""
}

func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

var (
	callLabels = []string{"service", "span_name", "span_kind", "status_code"}
	timeLabels = callLabels[:3]
	edgeLabels = []string{"client", "server", "connection_type"}

	callsDesc    = prometheus.NewDesc("traces_spanmetrics_calls_total", "Spans, corrected for sampling.", callLabels, nil)
	latencyDesc  = prometheus.NewDesc("traces_spanmetrics_latency", "Durations of spans in seconds.", timeLabels, nil)
	totalDesc    = prometheus.NewDesc("traces_service_graph_request_total", "Calls between services.", edgeLabels, nil)
	failedDesc   = prometheus.NewDesc("traces_service_graph_request_failed_total", "Calls between services that failed.", edgeLabels, nil)
	clientDesc   = prometheus.NewDesc("traces_service_graph_request_client_seconds", "Durations of calls as their client saw them.", edgeLabels, nil)
	serverDesc   = prometheus.NewDesc("traces_service_graph_request_server_seconds", "Durations of calls as their server saw them.", edgeLabels, nil)
	unpairedDesc = prometheus.NewDesc("traces_service_graph_unpaired_spans_total", "Calls within the mesh of which one side sent no span.", edgeLabels, nil)
	droppedDesc  = prometheus.NewDesc("traces_service_graph_dropped_spans_total", "Spans that had no place in the counts: too many names.", edgeLabels, nil)
	untilDesc    = prometheus.NewDesc("spanloom_trace_metrics_counted_until_seconds", "Instant up to which spans are in traces_* metrics.", nil, nil)
	partialDesc  = prometheus.NewDesc("spanloom_trace_metrics_incomplete_total", "Times that not all spans of a stretch were read for traces_* metrics.", nil, nil)
)

// Describe implements prometheus.Collector: it describes nothing.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Cost: reading the minutes since the last scrape.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(context.Background())
	for _, k := range sortedCalls(c.calls) {
		x := c.calls[k]
		kind := "SPAN_KIND_" + strings.ToUpper(k.kind.String())
		counter(out, callsDesc, x.ok, nil, k.service, k.name, kind, "STATUS_CODE_UNSET")
		if x.failed > 0 {
			counter(out, callsDesc, x.failed, x.failedSample, k.service, k.name, kind, "STATUS_CODE_ERROR")
		}
		x.latency.collect(out, latencyDesc, k.service, k.name, kind)
	}
	for _, k := range sortedEdges(c.edges) {
		x := c.edges[k]
		counter(out, totalDesc, x.total, nil, k.client, k.server, k.connection)
		counter(out, failedDesc, x.failed, x.failedSample, k.client, k.server, k.connection)
		counter(out, unpairedDesc, x.unpaired, nil, k.client, k.server, k.connection)
		x.client.collect(out, clientDesc, k.client, k.server, k.connection)
		x.server.collect(out, serverDesc, k.client, k.server, k.connection)
	}
	counter(out, droppedDesc, c.dropped, nil, rollup.Other, rollup.Other, "")
	out <- prometheus.MustNewConstMetric(untilDesc, prometheus.GaugeValue, float64(c.until)/1e9)
	out <- prometheus.MustNewConstMetric(partialDesc, prometheus.CounterValue, c.incomplete)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v float64, s *sample, labels ...string) {
	send(out, prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...), s)
}

func send(out chan<- prometheus.Metric, m prometheus.Metric, s *sample) {
	if s != nil && !s.trace.IsZero() {
		if with, err := prometheus.NewMetricWithExemplars(m, prometheus.Exemplar{Value: s.value, Timestamp: s.at,
			Labels: prometheus.Labels{"traceID": s.trace.String()}}); err == nil {
			m = with
		}
	}
	out <- m
}

// collect writes a histogram. Its counts are whole numbers in Prometheus: weights are rounded.
func (h *histogram) collect(out chan<- prometheus.Metric, d *prometheus.Desc, labels ...string) {
	total, cumulative := 0.0, make(map[float64]uint64, len(buckets))
	for i, n := range h.counts {
		total += n
		if i < len(buckets) {
			cumulative[buckets[i]] = uint64(total + 0.5)
		}
	}
	send(out, prometheus.MustNewConstHistogram(d, uint64(total+0.5), h.sum, cumulative, labels...), h.slow)
}

func sortedCalls(m map[callKey]*call) []callKey {
	keys := make([]callKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y callKey) int {
		return cmp.Or(strings.Compare(x.service, y.service), strings.Compare(x.name, y.name), cmp.Compare(x.kind, y.kind))
	})
	return keys
}

func sortedEdges(m map[edgeKey]*edge) []edgeKey {
	keys := make([]edgeKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y edgeKey) int {
		return cmp.Or(strings.Compare(x.client, y.client), strings.Compare(x.server, y.server), strings.Compare(x.connection, y.connection))
	})
	return keys
}
