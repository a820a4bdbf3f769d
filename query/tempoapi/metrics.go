package tempoapi

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
)

const (
	defaultSince = time.Hour
	maxBuckets   = 11_000 // of a range: every series has so many samples
	maxExemplars = 10_000
	wantBuckets  = 240 // of a range without a step
)

// metricsQuery is a question for series as both protocols ask it.
type metricsQuery struct {
	text       string
	start, end int64         // ns
	step       time.Duration // 0 of an instant query
	exemplars  int
	maxSeries  int // 0 is no bound of the caller's
}

func (a *API) parseMetrics(v url.Values, instant bool) (q metricsQuery, err error) {
	if q.text = v.Get("q"); q.text == "" {
		q.text = v.Get("query")
	}
	now := a.Query.Now().UnixNano()
	since, err := parseSince(v)
	if err != nil {
		return q, err
	}
	start, hasStart, err := parseInstant(v, "start")
	if err != nil {
		return q, err
	}
	end, hasEnd, err := parseInstant(v, "end")
	if err != nil {
		return q, err
	}
	if !hasEnd {
		end = now
	}
	if !hasStart {
		start = end - int64(since)
	}
	step := time.Duration(0)
	if !instant {
		if step, err = parseStep(v); err != nil {
			return q, err
		}
	}
	if q.exemplars, err = parseCount(v, "exemplars", 0); err != nil {
		return q, err
	}
	if q.maxSeries, err = parseCount(v, "maxSeries", 0); err != nil {
		return q, err
	}
	return q, q.bound(start, end, step, now, instant)
}

// bound checks the times of a question and sets them. A step of 0 is chosen.
func (q *metricsQuery) bound(start, end int64, step time.Duration, now int64, instant bool) error {
	end = min(end, now)
	if start < 0 || start >= end {
		return invalid("start", "start must be before end and before now", "the range from %s to %s is empty", instantText(start), instantText(end))
	}
	q.exemplars = min(q.exemplars, maxExemplars)
	if instant {
		q.start, q.end = start, end
		return nil
	}
	if step == 0 {
		step = defaultStep(time.Duration(end - start))
	}
	if n := (end - start) / int64(step); n >= maxBuckets {
		return invalid("step", fmt.Sprintf("a range has up to %d steps: choose a longer step or a shorter range", maxBuckets), "a step of %s cuts the range in %d parts", step, n)
	}
	q.start, q.end, q.step = start, end, step
	return nil
}

func instantText(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// defaultStep cuts a window in about 240 steps of a length that people choose.
func defaultStep(window time.Duration) time.Duration {
	if window < time.Minute {
		const unit = 50 * time.Millisecond
		return max(window/wantBuckets/unit*unit, unit)
	}
	step := window / wantBuckets
	for _, unit := range []time.Duration{time.Hour, 5 * time.Minute, time.Minute, 15 * time.Second, 5 * time.Second, time.Second} {
		if step > unit {
			return step / unit * unit
		}
	}
	return time.Second
}

// parseInstant reads seconds of up to ten digits, nanoseconds, seconds with a fraction, or RFC 3339, as nanoseconds.
func parseInstant(v url.Values, name string) (ns int64, given bool, err error) {
	text := v.Get(name)
	if text == "" {
		return 0, false, nil
	}
	wrong := invalid(name, "give seconds or nanoseconds since the epoch, or 2006-01-02T15:04:05Z", "%.50q is not an instant", text)
	if strings.Contains(text, ".") && !strings.Contains(text, "T") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || !(f >= 0 && f < math.MaxInt64/1e9) {
			return 0, false, wrong
		}
		whole, part := math.Modf(f)
		return int64(whole)*1e9 + int64(part*1e9), true, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 {
			return 0, false, wrong
		}
		if len(text) <= 10 {
			n *= 1e9
		}
		return n, true, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2260 {
		return 0, false, wrong
	}
	return t.UnixNano(), true, nil
}

// parseStep reads a step: a duration or seconds. Absent is 0.
func parseStep(v url.Values) (time.Duration, error) {
	text := v.Get("step")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		var f float64
		if f, err = strconv.ParseFloat(text, 64); f > 0 && f < math.MaxInt64/1e9 {
			d = time.Duration(f * 1e9)
		}
	}
	if err != nil || d < time.Millisecond {
		return 0, invalid("step", "give a duration of at least a millisecond, such as 15s, or seconds", "%.50q is not a step", text)
	}
	return d, nil
}

// parseSince reads the length of a window that has no start; days and weeks are taken as Prometheus writes them.
func parseSince(v url.Values) (time.Duration, error) {
	text := v.Get("since")
	if text == "" {
		return defaultSince, nil
	}
	weeks := time.Duration(0)
	rest := text
	if n, after, ok := strings.Cut(text, "w"); ok {
		w, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, invalid("since", "write 30m, 6h, 2d or 1w", "%.50q is not a duration", text)
		}
		if weeks, rest = time.Duration(w)*7*24*time.Hour, after; rest == "" {
			rest = "0s"
		}
	}
	d, err := query.ParseDuration(rest)
	if d += weeks; err != nil || d <= 0 {
		return 0, invalid("since", "write 30m, 6h, 2d or 1w", "%.50q is not a duration", text)
	}
	return d, nil
}

func (a *API) queryRange(c *call) error {
	q, err := a.parseMetrics(c.params, false)
	if err != nil {
		return err
	}
	r, err := a.runMetrics(c.Context(), c.scope, q, nil)
	if err != nil {
		return err
	}
	return c.message(rangeResponse(r, q.maxSeries))
}

func (a *API) queryInstant(c *call) error {
	q, err := a.parseMetrics(c.params, true)
	if err != nil {
		return err
	}
	r, err := a.runMetrics(c.Context(), c.scope, q, nil)
	if err != nil {
		return err
	}
	return c.message(instantResponse(r, q.maxSeries))
}

// runMetrics runs a metrics query when its turn has come.
func (a *API) runMetrics(ctx context.Context, s store.Scope, q metricsQuery, progress func(*traceql.MetricsResult)) (*traceql.MetricsResult, error) {
	parsed, err := traceql.Parse(q.text)
	if err != nil {
		return nil, err
	}
	if !parsed.IsMetrics() {
		return nil, invalid("q", "end it with a function such as | rate() by (resource.service.name)", "%.200q is not a metrics query", q.text)
	}
	r := traceql.MetricsRequest{Query: parsed, Range: store.TimeRange{From: q.start, To: q.end}, Step: q.step, Exemplars: q.exemplars, Instant: q.step == 0}
	leave, err := a.Query.Admit(ctx, query.Sweep)
	if err != nil {
		return nil, err
	}
	defer leave()
	return a.TraceQL.Metrics(ctx, s, r, progress)
}

// tooManySeries cuts series to the bound of the caller, if there is one.
func tooManySeries(series []traceql.Series, most int) ([]traceql.Series, string) {
	if most <= 0 || len(series) <= most {
		return series, ""
	}
	return series[:most], fmt.Sprintf("%d of %d series are shown: maxSeries", most, len(series))
}

// completeness is the status of an answer and why it is not complete.
func completeness(r *traceql.MetricsResult, cut string) (tempopb.PartialStatus, string) {
	switch {
	case !r.Complete:
		return tempopb.PartialStatus_PARTIAL, text(r.Reason)
	case cut != "":
		return tempopb.PartialStatus_PARTIAL, cut
	default:
		return tempopb.PartialStatus_COMPLETE, ""
	}
}

func rangeResponse(r *traceql.MetricsResult, maxSeries int) *tempopb.QueryRangeResponse {
	series, cut := tooManySeries(r.Series, maxSeries)
	m := &tempopb.QueryRangeResponse{Metrics: metricsMetrics(r)}
	m.Status, m.Message = completeness(r, cut)
	for i := range series {
		m.Series = append(m.Series, timeSeries(&series[i]))
	}
	return m
}

func timeSeries(s *traceql.Series) *tempopb.TimeSeries {
	out := &tempopb.TimeSeries{Labels: labels(s.Labels)}
	for _, p := range s.Samples {
		out.Samples = append(out.Samples, &tempopb.Sample{TimestampMs: p.Time / 1e6, Value: p.Value})
	}
	for i := range s.Exemplars {
		e := &s.Exemplars[i]
		x := &tempopb.Exemplar{Labels: labels(e.Labels), TimestampMs: e.Time / 1e6, Value: e.Value}
		if math.IsNaN(x.Value) {
			x.Value = valueAt(s.Samples, e.Time)
		}
		out.Exemplars = append(out.Exemplars, x)
	}
	return out
}

// valueAt is the value of the bucket that an instant lies in: an exemplar of a count has none of its own and stands on the line.
func valueAt(samples []traceql.Sample, at int64) float64 {
	for _, s := range samples {
		if s.Time >= at {
			return s.Value
		}
	}
	return -1
}

// instantResponse holds as much as fits in a message: unlike the messages of a range, one replaces the other.
func instantResponse(r *traceql.MetricsResult, maxSeries int) *tempopb.QueryInstantResponse {
	series, cut := tooManySeries(r.Series, maxSeries)
	m := &tempopb.QueryInstantResponse{Metrics: metricsMetrics(r)}
	size := 0
	for i := range series {
		samples := series[i].Samples
		if len(samples) == 0 {
			continue
		}
		s := &tempopb.InstantSeries{Labels: labels(series[i].Labels), Value: samples[len(samples)-1].Value}
		if size += proto.Size(s) + 8; size > maxMessage {
			cut = fmt.Sprintf("%d of %d series are shown: the answer is too large", i, len(series))
			break
		}
		m.Series = append(m.Series, s)
	}
	m.Status, m.Message = completeness(r, cut)
	return m
}

// labels keep the names that the query wrote: clients look for them with their scopes.
func labels(attrs []traceql.Attr) (out []*tempopb.KeyValue) {
	for _, a := range attrs {
		out = append(out, keyValue(a.Name, a.Value))
	}
	return out
}

func metricsMetrics(r *traceql.MetricsResult) *tempopb.SearchMetrics {
	return &tempopb.SearchMetrics{
		InspectedSpans: uint64(max(r.InspectedSpans, 0)), InspectedBytes: uint64(max(r.Read.Bytes, 0)),
		TotalBlocks: clamped(r.Read.Of), TotalJobs: clamped(r.Read.Of), CompletedJobs: clamped(r.Read.Blocks),
	}
}
