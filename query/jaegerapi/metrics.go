package jaegerapi

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// The defaults of Jaeger's service metrics.
const (
	metricsLookback = time.Hour
	metricsStep     = 5 * time.Second
	metricsRatePer  = 10 * time.Minute
	metricsServices = 100
)

// metricKind is one of the three figures.
type metricKind struct {
	name, help string
	value      func(*query.MetricsPoint, *metricsCall) float64
}

// metricsCall is a request for service metrics.
type metricsCall struct {
	query.MetricsQuery
	quantile float64
}

func metricKinds() map[string]metricKind {
	return map[string]metricKind{
		"latencies": {"latencies", "quantile of the latencies", func(p *query.MetricsPoint, m *metricsCall) float64 {
			if p.Counts.N == 0 {
				return math.NaN()
			}
			return float64(p.Counts.Durations.Quantile(m.quantile)) / 1e6
		}},
		"calls": {"call_rate", "calls/sec", func(p *query.MetricsPoint, m *metricsCall) float64 {
			return p.Counts.Weight / m.Per.Seconds()
		}},
		"errors": {"error_rate", "error rate, computed as a fraction of errors/sec over calls/sec", func(p *query.MetricsPoint, _ *metricsCall) float64 {
			if p.Counts.Weight == 0 {
				return 0
			}
			return p.Counts.ErrorWeight / p.Counts.Weight
		}},
	}
}

// metrics answers GET /api/metrics/{latencies|calls|errors}, without the envelope of the other paths. Numbers are corrected
// for sampling where the weight is known. Points are made of whole minutes.
func (a *api) metrics(c *call) error {
	if c.segment == "minstep" { // the least step in milliseconds, in the envelope
		c.out.open()
		c.out.buf = append(c.out.buf, "1000"...)
		c.out.end(0, nil)
		return nil
	}
	kind, ok := metricKinds()[c.segment]
	if !ok {
		return problem.New(problem.NotFound, "no such metric: "+c.segment, "use latencies, calls or errors")
	}
	m, err := a.metricsCall(c)
	if err != nil {
		return err
	}
	lines, done, err := a.Query.Metrics(c.Context(), c.scope, m.MetricsQuery)
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	name := "service_" + kind.name
	if m.ByOperation {
		name = "service_operation_" + kind.name
	}
	help := kind.help
	if c.segment == "latencies" {
		help = strconv.FormatFloat(m.quantile, 'g', -1, 64) + "th " + help
	}
	help += ", grouped by service"
	if m.ByOperation {
		help += " & operation"
	}
	dst := otlpjson.AppendQuoted(append(c.out.buf, `{"name":`...), name)
	dst = otlpjson.AppendQuoted(append(dst, `,"type":"GAUGE","help":`...), help)
	c.out.buf = append(dst, `,"metrics":[`...)
	for i := range lines {
		if i > 0 {
			c.out.buf = append(c.out.buf, ',')
		}
		m.line(c, &lines[i], kind.value)
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, "]}"...)
	return nil
}

func (m *metricsCall) line(c *call, l *query.MetricsLine, value func(*query.MetricsPoint, *metricsCall) float64) {
	dst := append(c.out.buf, `{"labels":[`...)
	if m.ByOperation {
		dst = otlpjson.AppendQuoted(append(dst, `{"name":"operation","value":`...), l.Operation)
		dst = append(dst, "},"...)
	}
	dst = otlpjson.AppendQuoted(append(dst, `{"name":"service_name","value":`...), l.Service)
	dst = append(dst, `}],"metricPoints":[`...)
	for i := range l.Points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"gaugeValue":{"doubleValue":`...)
		if v := value(&l.Points[i], m); math.IsNaN(v) {
			dst = append(dst, `"NaN"`...)
		} else {
			dst = strconv.AppendFloat(dst, v, 'g', -1, 64)
		}
		dst = append(dst, `},"timestamp":"`...)
		dst = time.Unix(0, l.Points[i].Time).UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, `"}`...)
	}
	c.out.buf = append(dst, "]}"...)
}

func (a *api) metricsCall(c *call) (*metricsCall, error) {
	m := &metricsCall{}
	for _, v := range c.params["service"] { // Jaeger's UI joins several so: service=a,service=b
		for s := range strings.SplitSeq(v, ",service=") {
			if s = strings.TrimSpace(s); s != "" {
				m.Services = append(m.Services, s)
			}
		}
	}
	if len(m.Services) == 0 {
		return nil, invalid("name one", "unable to parse param 'service': at least one service is required")
	}
	if len(m.Services) > metricsServices {
		return nil, invalid("ask for fewer", "%d services at once, at most %d", len(m.Services), metricsServices)
	}
	slices.Sort(m.Services)
	end, given, err := parseInstant(c.params, "endTs")
	if err != nil {
		return nil, err
	}
	if !given {
		end = a.Query.Now().UnixNano()
	}
	lookback, err := parseMillis(c, "lookback", metricsLookback)
	if err != nil {
		return nil, err
	}
	step, err := parseMillis(c, "step", metricsStep)
	if err != nil {
		return nil, err
	}
	per, err := parseMillis(c, "ratePer", metricsRatePer)
	if err != nil {
		return nil, err
	}
	m.Range = store.TimeRange{From: max(end-min(lookback, end), 0), To: end}
	m.Step, m.Per = time.Duration(step), max(min(time.Duration(per), 31*24*time.Hour), time.Minute)
	if v := c.params.Get("groupByOperation"); v != "" {
		if m.ByOperation, err = strconv.ParseBool(v); err != nil {
			return nil, invalid("use true or false", "unable to parse param 'groupByOperation': %q", v)
		}
	}
	for _, v := range c.params["spanKind"] {
		k, ok := kindNamed(v)
		if !ok {
			return nil, invalid("use server, client, producer, consumer, internal or unspecified", "unsupported span kind: %q", v)
		}
		m.Kinds = append(m.Kinds, k)
	}
	if c.segment == "latencies" {
		if m.quantile, err = strconv.ParseFloat(c.params.Get("quantile"), 64); err != nil || !(m.quantile > 0 && m.quantile <= 1) {
			return nil, invalid("give a number above 0 and up to 1", "unable to parse param 'quantile': %q", cmp.Or(c.params.Get("quantile"), "absent"))
		}
	}
	return m, nil
}

func kindNamed(word string) (span.Kind, bool) {
	word = strings.TrimPrefix(strings.ToLower(word), "span_kind_")
	for k := span.KindUnspecified; k <= span.KindConsumer; k++ {
		if k.String() == word {
			return k, true
		}
	}
	return 0, false
}
