package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/live"
	"github.com/spanloom/spanloom/forward"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// metrics reads everything at scrape time from the rooms' own counts: the span path updates no metric object.
type metrics struct {
	ledger *receive.Ledger
	steps  *process.Pipeline
	engine store.Engine
	budget *receive.Budget
	doctor *live.Doctor
	now    func() time.Time

	forward *forward.Forwarder // nil: nothing is forwarded
}

var protocols = []span.Protocol{span.ProtocolZipkin, span.ProtocolOTLPGRPC, span.ProtocolOTLPHTTP}

// collectorLabels are what the OpenTelemetry Collector calls a protocol: people's dashboards ask for these.
var collectorLabels = map[span.Protocol][2]string{
	span.ProtocolZipkin: {"zipkin", "http"}, span.ProtocolOTLPGRPC: {"otlp", "grpc"}, span.ProtocolOTLPHTTP: {"otlp", "http"},
}

// hoursShown bounds the series by hour; the Status document has all hours.
const hoursShown = 24

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	receivedDesc       = desc("spanloom_received_spans_total", "Spans accepted from senders.", "protocol")
	requestsDesc       = desc("spanloom_received_requests_total", "Requests whose spans were accepted.", "protocol")
	refusedDesc        = desc("spanloom_refused_total", "Spans refused, or bodies where their spans could not be counted.", "protocol", "reason")
	misuseDesc         = desc("spanloom_misuses_total", "Requests taken with a note: a wrong path, a wrong protocol on a port.", "protocol", "misuse")
	sampledOutDesc     = desc("spanloom_sampled_out_spans_total", "Spans of traces that head sampling did not keep.")
	redactedDesc       = desc("spanloom_redacted_values_total", "Values changed by redaction.")
	cutDesc            = desc("spanloom_cut_spans_total", "Spans cut to a limit.")
	timesDesc          = desc("spanloom_replaced_times_total", "Spans with an absent or impossible start, filed by their receipt.")
	derivedDesc        = desc("spanloom_derived_services_total", "Spans without a usable service.name.")
	storeSpansDesc     = desc("spanloom_store_spans", "Spans held.")
	storeTracesDesc    = desc("spanloom_store_traces", "Traces held.")
	storeBytesDesc     = desc("spanloom_store_memory_bytes", "Memory that spans and their indices take.")
	storeLimitDesc     = desc("spanloom_store_memory_limit_bytes", "Memory at which the oldest traces go.")
	storeDiskDesc      = desc("spanloom_store_disk_bytes", "Bytes of the data folder.")
	evictedDesc        = desc("spanloom_store_evicted_spans_total", "Spans that went because of limits or age.")
	refusingDesc       = desc("spanloom_store_refusing", "1 while ingest is refused.")
	damagedDesc        = desc("spanloom_store_damaged", "Frames and files that could not be read.")
	segmentsDesc       = desc("spanloom_store_segments", "Files of spans.")
	joinedDesc         = desc("spanloom_store_compactions_total", "Joins of several files into one.")
	duplicatesDesc     = desc("spanloom_duplicate_spans_total", "Copies of spans that were left out of files.")
	dueDesc            = desc("spanloom_store_compaction_due_bytes", "Bytes of files that are to be joined and are not yet.")
	hourlyDesc         = desc("spanloom_store_bytes_per_hour", "Bytes of files that came an hour, lately.")
	oldestDesc         = desc("spanloom_store_oldest_timestamp_seconds", "Receipt of the oldest span held.")
	fullDesc           = desc("spanloom_store_full_seconds", "Until the oldest spans go because of the disk limit, at the present rate; absent if never.")
	holdsDesc          = desc("spanloom_store_holds_seconds", "How long spans will be held at the present rate; absent if for ever.")
	questionsDesc      = desc("spanloom_store_questions_total", "Searches, scans and lists that looked into files of spans or memory.")
	blocksDesc         = desc("spanloom_store_blocks_total", "Blocks that questions looked into, or passed over without reading.", "outcome")
	cachedDesc         = desc("spanloom_store_cached_bytes", "Memory of decoded rollups, estimated.")
	hourSpansDesc      = desc("spanloom_store_hour_spans", "Spans in files, by tenant and hour of receipt (UTC), of the last 24 hours that have some.", "tenant", "hour")
	hourBytesDesc      = desc("spanloom_store_hour_bytes", "Bytes of files, by tenant and hour of receipt (UTC), of the last 24 hours that have some.", "tenant", "hour")
	syncsDesc          = desc("spanloom_log_syncs_total", "fsyncs of the log.")
	logBytesDesc       = desc("spanloom_log_written_bytes_total", "Bytes written to the log.")
	queueSpansDesc     = desc("spanloom_queue_spans", "Spans that wait to be sent to the engine.")
	queueHiddenDesc    = desc("spanloom_queue_hidden_spans", "Spans that wait on the disk only: they cannot be read before they are sent.")
	queueBytesDesc     = desc("spanloom_queue_bytes", "Bytes of the queue's log.")
	queueLimitDesc     = desc("spanloom_queue_limit_bytes", "Bytes at which senders are refused.")
	queueAgeDesc       = desc("spanloom_queue_oldest_age_seconds", "Age by receipt of the oldest span that waits; 0 if none does.")
	queueSentDesc      = desc("spanloom_queue_sent_spans_total", "Spans that the engine took.")
	queueInsertDesc    = desc("spanloom_queue_inserts_total", "Batches that the engine took.")
	queueFailDesc      = desc("spanloom_queue_failures_total", "Attempts that failed.")
	queueBadDesc       = desc("spanloom_queue_failing", "1 while the last attempt failed.")
	queuePoisonDesc    = desc("spanloom_queue_poison_spans_total", "Spans that the engine refused for good and that were set aside.")
	queueDeadDesc      = desc("spanloom_queue_poison_bytes", "Bytes of the files of spans that were set aside.")
	queueLostDesc      = desc("spanloom_queue_unreadable_spans_total", "Spans lost to damage of the queue's files.")
	forwardWaitDesc    = desc("spanloom_forward_spans", "Spans that wait to be forwarded.", "target")
	forwardAgeDesc     = desc("spanloom_forward_oldest_age_seconds", "Age by receipt of the oldest span that waits to be forwarded; 0 if none does.", "target")
	forwardSentDesc    = desc("spanloom_forward_sent_spans_total", "Spans that the target took.", "target")
	forwardBadDesc     = desc("spanloom_forward_refused_spans_total", "Spans that the target refused for good and that were passed over.", "target")
	forwardDropDesc    = desc("spanloom_forward_dropped_spans_total", "Spans that were not forwarded because the disk's limit was reached.", "target")
	forwardLostDesc    = desc("spanloom_forward_unreadable_spans_total", "Spans that were not forwarded because the log is damaged.", "target")
	forwardFailDesc    = desc("spanloom_forward_failures_total", "Requests that failed and were or will be sent again.", "target")
	forwardDownDesc    = desc("spanloom_forward_failing", "1 while the last request failed.", "target")
	forwardDiskDesc    = desc("spanloom_forward_bytes", "Bytes of the log of spans that wait to be forwarded.")
	forwardMostDesc    = desc("spanloom_forward_limit_bytes", "Bytes of that log at which the oldest spans go.")
	bucketSegmentsDesc = desc("spanloom_bucket_segments", "Files of spans that count in the bucket.")
	bucketBytesDesc    = desc("spanloom_bucket_bytes", "Bytes of the files of spans in the bucket.")
	bucketFarDesc      = desc("spanloom_bucket_far_segments", "Of the files in the bucket, those that are not on the disk too.")
	bucketWaitDesc     = desc("spanloom_bucket_waiting_segments", "Closed files that are not in the bucket yet.")
	bucketWaitSizeDesc = desc("spanloom_bucket_waiting_bytes", "Bytes of closed files that are not in the bucket yet.")
	bucketLagDesc      = desc("spanloom_bucket_lag_seconds", "Age by receipt of the oldest span that is not in the bucket; 0 if all are.")
	bucketUploadDesc   = desc("spanloom_bucket_uploads_total", "Files that were uploaded.")
	bucketUpBytesDesc  = desc("spanloom_bucket_uploaded_bytes_total", "Bytes that were uploaded.")
	bucketFailDesc     = desc("spanloom_bucket_failures_total", "Attempts to reach the bucket that failed.")
	bucketBadDesc      = desc("spanloom_bucket_failing", "1 while the last attempt failed.")
	bucketLostDesc     = desc("spanloom_bucket_lost", "1 if another writer took the bucket over.")
	bucketCheckDesc    = desc("spanloom_bucket_checked_timestamp_seconds", "When the manifest was last written, or looked for by a reader.")
	bucketCacheDesc    = desc("spanloom_bucket_cache_bytes", "Bytes of the disk cache.")
	bucketRangeDesc    = desc("spanloom_bucket_ranges_total", "Ranges that questions asked for, by where they were.", "from")
	bucketFetchedDesc  = desc("spanloom_bucket_fetched_bytes_total", "Bytes that were read from the bucket.")
	findingsDesc       = desc("spanloom_doctor_findings", "Findings of the doctor's newest round over the last 15 minutes, by code.", "code", "severity")
	inFlightDesc       = desc("spanloom_inflight_bytes", "Bytes of request bodies being read and decoded.")

	collectorAccepted      = desc("otelcol_receiver_accepted_spans", "As the OpenTelemetry Collector names it.", "receiver", "transport")
	collectorAcceptedTotal = desc("otelcol_receiver_accepted_spans_total", "As the OpenTelemetry Collector names it.", "receiver", "transport")
	collectorRefused       = desc("otelcol_receiver_refused_spans", "As the OpenTelemetry Collector names it.", "receiver", "transport")
	collectorRefusedTotal  = desc("otelcol_receiver_refused_spans_total", "As the OpenTelemetry Collector names it.", "receiver", "transport")
	collectorSent          = desc("otelcol_exporter_sent_spans", "Spans handed to the store.", "exporter")
	collectorSentTotal     = desc("otelcol_exporter_sent_spans_total", "Spans handed to the store.", "exporter")
)

// Describe sends nothing: the collector is unchecked, because the same fact is exposed under two names and types.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	// The names without _total are not valid counters in OpenMetrics, so they are exposed as untyped.
	untyped := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.UntypedValue, v, labels...)
	}
	stats := m.engine.Stats()
	var sent int64
	for _, p := range protocols {
		t := m.ledger.Totals(p)
		sent += t.Spans
		counter(receivedDesc, float64(t.Spans), p.String())
		counter(requestsDesc, float64(t.Requests), p.String())
		for _, r := range receive.Reasons() {
			counter(refusedDesc, float64(t.Refused[r]), p.String(), string(r))
		}
		for misuse, n := range t.Misuses {
			counter(misuseDesc, float64(n), p.String(), string(misuse))
		}
		l := collectorLabels[p]
		untyped(collectorAccepted, float64(t.Spans), l[0], l[1])
		counter(collectorAcceptedTotal, float64(t.Spans), l[0], l[1])
		untyped(collectorRefused, float64(t.RefusedSpans), l[0], l[1])
		counter(collectorRefusedTotal, float64(t.RefusedSpans), l[0], l[1])
	}
	untyped(collectorSent, float64(sent), stats.Kind)
	counter(collectorSentTotal, float64(sent), stats.Kind)

	c := m.steps.Counts()
	counter(sampledOutDesc, float64(c.SampledOut))
	counter(redactedDesc, float64(c.Redacted))
	counter(cutDesc, float64(c.Cut))
	counter(timesDesc, float64(c.TimesReplaced))
	counter(derivedDesc, float64(c.ServicesDerived))

	gauge(storeSpansDesc, float64(stats.Spans))
	gauge(storeTracesDesc, float64(stats.Traces))
	gauge(storeBytesDesc, float64(stats.Bytes))
	gauge(storeLimitDesc, float64(stats.LimitBytes))
	gauge(storeDiskDesc, float64(stats.DiskBytes))
	counter(evictedDesc, float64(stats.EvictedSpans))
	refusing := 0.0
	if stats.Refusing != "" {
		refusing = 1
	}
	gauge(refusingDesc, refusing)
	gauge(damagedDesc, float64(len(stats.Damaged)))
	if stats.Oldest != 0 {
		gauge(oldestDesc, float64(stats.Oldest)/1e9)
	}
	if g := stats.Segments; g != nil {
		gauge(segmentsDesc, float64(g.Files))
		counter(joinedDesc, float64(g.Joined))
		counter(questionsDesc, float64(g.Questions))
		counter(blocksDesc, float64(g.Blocks), "read")
		counter(blocksDesc, float64(g.Passed), "passed")
		gauge(cachedDesc, float64(g.Rollups))
		for _, h := range g.Hours[max(0, len(g.Hours)-hoursShown):] {
			hour := time.Unix(h.Hour*3600, 0).UTC().Format("2006-01-02T15")
			gauge(hourSpansDesc, float64(h.Spans), store.DefaultTenant, hour)
			gauge(hourBytesDesc, float64(h.Bytes), store.DefaultTenant, hour)
		}
		counter(duplicatesDesc, float64(g.Duplicates))
		gauge(dueDesc, float64(g.DueBytes))
		gauge(hourlyDesc, float64(g.BytesPerHour))
		if g.FullIn >= 0 {
			gauge(fullDesc, g.FullIn.Seconds())
		}
		if g.Holds >= 0 {
			gauge(holdsDesc, g.Holds.Seconds())
		}
	}
	if w := stats.Queue; w != nil {
		gauge(queueSpansDesc, float64(w.Spans))
		gauge(queueHiddenDesc, float64(w.HiddenSpans))
		gauge(queueBytesDesc, float64(w.Bytes))
		gauge(queueLimitDesc, float64(w.LimitBytes))
		age, failing := 0.0, 0.0
		if w.Oldest != 0 {
			age = max(0, m.now().Sub(time.Unix(0, w.Oldest)).Seconds())
		}
		if w.LastError != "" {
			failing = 1
		}
		gauge(queueAgeDesc, age)
		gauge(queueBadDesc, failing)
		counter(queueSentDesc, float64(w.SentSpans))
		counter(queueInsertDesc, float64(w.Inserts))
		counter(queueFailDesc, float64(w.Failures))
		counter(queuePoisonDesc, float64(w.PoisonSpans))
		gauge(queueDeadDesc, float64(w.PoisonBytes))
		counter(queueLostDesc, float64(w.UnreadableSpans))
	}
	if b := stats.Bucket; b != nil {
		m.bucket(b, gauge, counter)
	}
	m.forwarded(gauge, counter)
	counter(syncsDesc, float64(stats.LogSyncs))
	counter(logBytesDesc, float64(stats.LogBytes))
	gauge(inFlightDesc, float64(m.budget.Used()))
	m.findings(gauge)
}

// forwarded tells of the copies for other backends.
func (m *metrics) forwarded(gauge, counter func(*prometheus.Desc, float64, ...string)) {
	if m.forward == nil {
		return
	}
	stats := m.forward.Stats()
	gauge(forwardDiskDesc, float64(stats.Bytes))
	gauge(forwardMostDesc, float64(stats.LimitBytes))
	for _, t := range stats.Targets {
		age, failing := 0.0, 0.0
		if t.Oldest != 0 {
			age = max(0, m.now().Sub(time.Unix(0, t.Oldest)).Seconds())
		}
		if t.LastError != "" {
			failing = 1
		}
		gauge(forwardWaitDesc, float64(t.Spans), t.Name)
		gauge(forwardAgeDesc, age, t.Name)
		gauge(forwardDownDesc, failing, t.Name)
		counter(forwardSentDesc, float64(t.SentSpans), t.Name)
		counter(forwardBadDesc, float64(t.RefusedSpans), t.Name)
		counter(forwardDropDesc, float64(t.DroppedSpans), t.Name)
		counter(forwardLostDesc, float64(t.UnreadableSpans), t.Name)
		counter(forwardFailDesc, float64(t.Failures), t.Name)
	}
}

// bucket is what is in object storage.
func (m *metrics) bucket(b *store.BucketStats, gauge, counter func(*prometheus.Desc, float64, ...string)) {
	is := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	gauge(bucketSegmentsDesc, float64(b.Segments))
	gauge(bucketBytesDesc, float64(b.Bytes))
	gauge(bucketFarDesc, float64(b.Far))
	if !b.ReadOnly {
		gauge(bucketWaitDesc, float64(b.WaitingSegments))
		gauge(bucketWaitSizeDesc, float64(b.WaitingBytes))
		lag := 0.0
		if b.Since != 0 {
			lag = max(0, m.now().Sub(time.Unix(0, b.Since)).Seconds())
		}
		gauge(bucketLagDesc, lag)
		counter(bucketUploadDesc, float64(b.Uploads))
		counter(bucketUpBytesDesc, float64(b.UploadedBytes))
		gauge(bucketLostDesc, is(b.Lost != ""))
	}
	counter(bucketFailDesc, float64(b.Failures))
	gauge(bucketBadDesc, is(b.LastError != ""))
	if b.CheckedAt != 0 {
		gauge(bucketCheckDesc, float64(b.CheckedAt)/1e9)
	}
	gauge(bucketCacheDesc, float64(b.CacheBytes))
	counter(bucketRangeDesc, float64(b.CacheHits), "cache")
	counter(bucketRangeDesc, float64(b.Fetches), "bucket")
	counter(bucketFetchedDesc, float64(b.FetchedBytes))
}

// findings gives every code a series from the first round on, so that an alarm on it resolves.
func (m *metrics) findings(gauge func(*prometheus.Desc, float64, ...string)) {
	report := m.doctor.Last()
	if report == nil {
		return
	}
	type series struct {
		code     string
		severity doctor.Severity
	}
	counts := make(map[series]int)
	for _, e := range doctor.Catalog() {
		counts[series{e.Code, e.Severity}] = 0
	}
	for _, f := range report.Findings {
		counts[series{f.Code, f.Severity}]++
	}
	for k, n := range counts {
		gauge(findingsDesc, float64(n), k.code, string(k.severity))
	}
}
