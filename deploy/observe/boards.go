package observe

// Boards are the dashboards.
func Boards() []Board {
	return []Board{spanloomBoard(), meshBoard(), serviceBoard(), envoyBoard()}
}

const rate = "[$__rate_interval]"

func one(expr, legend string) []Query { return []Query{{Expr: expr, Legend: legend}} }

// quantiles of a histogram by some labels, with example traces.
func quantiles(metric, match, by string, of ...string) []Query {
	var list []Query
	for _, q := range of {
		list = append(list, Query{
			Expr:      `histogram_quantile(0.` + q + `, sum by (` + by + `le) (rate(` + metric + `_bucket{` + match + `}` + rate + `)))`,
			Legend:    "p" + q + legendOf(by),
			Exemplars: true,
		})
	}
	return list
}

func legendOf(by string) string {
	if by == "" {
		return ""
	}
	return " {{" + by[:len(by)-len(", ")] + "}}"
}

var jobVar = Var{Name: "job", Label: "Job", Query: "label_values(spanloom_store_spans, job)", Multi: true}

func spanloomBoard() Board {
	const j = `{job=~"$job"}`
	return Board{
		UID: "spanloom", Title: "Spanloom", Description: "Spanloom itself: what it takes, refuses, stores and answers.",
		Vars: []Var{jobVar},
		Rows: []Row{
			{"Ingest", []Panel{
				{Title: "Spans received", Unit: PerSecond, Queries: one(`sum by (protocol) (rate(spanloom_received_spans_total`+j+rate+`))`, "{{protocol}}")},
				{Title: "Spans a request", Unit: Short, Help: "Sidecars put 5 spans in a request unless told otherwise; 50 and more cost a fraction of the processor. `spanloom mesh render` writes the setting.",
					Queries: one(`sum by (protocol) (rate(spanloom_received_spans_total`+j+rate+`)) / sum by (protocol) (rate(spanloom_received_requests_total`+j+rate+`))`, "{{protocol}}")},
				{Title: "Refused", Unit: PerSecond, Help: "Spans, or bodies whose spans could not be counted. The Status page names the senders.",
					Queries: one(`sum by (protocol, reason) (rate(spanloom_refused_total`+j+rate+`))`, "{{protocol}} {{reason}}")},
				{Title: "Taken with a note", Unit: PerSecond, Help: "Requests on a wrong path, or with a wrong protocol on a port.",
					Queries: one(`sum by (protocol, misuse) (rate(spanloom_misuses_total`+j+rate+`))`, "{{protocol}} {{misuse}}")},
				{Title: "Changed on the way", Unit: PerSecond, Queries: []Query{
					{Expr: `sum(rate(spanloom_sampled_out_spans_total` + j + rate + `))`, Legend: "sampled out"},
					{Expr: `sum(rate(spanloom_redacted_values_total` + j + rate + `))`, Legend: "values redacted"},
					{Expr: `sum(rate(spanloom_cut_spans_total` + j + rate + `))`, Legend: "cut to a limit"},
					{Expr: `sum(rate(spanloom_replaced_times_total` + j + rate + `))`, Legend: "impossible times"},
					{Expr: `sum(rate(spanloom_derived_services_total` + j + rate + `))`, Legend: "without service.name"},
				}},
				{Title: "Bodies in flight", Unit: Bytes, Queries: one(`sum(spanloom_inflight_bytes`+j+`)`, "bytes")},
			}},
			{"Store", []Panel{
				{Title: "Spans held", Unit: Short, Kind: Number, Queries: one(`sum(spanloom_store_spans`+j+`)`, "spans")},
				{Title: "Spans will be held for", Unit: Seconds, Kind: Number, Help: "At the present rate: --retention, or less where --max-disk is reached first.", Queries: one(`min(spanloom_store_holds_seconds`+j+`)`, "")},
				{Title: "Oldest span", Unit: Seconds, Kind: Number, Queries: one(`time() - min(spanloom_store_oldest_timestamp_seconds`+j+`)`, "age")},
				{Title: "Disk", Unit: Bytes, Queries: one(`sum by (instance) (spanloom_store_disk_bytes`+j+`)`, "{{instance}}")},
				{Title: "Growth", Unit: Bytes, Help: "Bytes of files that came an hour, over the last day.", Queries: one(`sum by (instance) (spanloom_store_bytes_per_hour`+j+`)`, "{{instance}} an hour")},
				{Title: "Disk limit reached in", Unit: Seconds, Help: "Nothing to see where retention takes spans before the limit does.", Queries: one(`min by (instance) (spanloom_store_full_seconds`+j+`)`, "{{instance}}")},
				{Title: "Memory of spans", Unit: Bytes, Queries: []Query{
					{Expr: `sum by (instance) (spanloom_store_memory_bytes` + j + `)`, Legend: "{{instance}}"},
					{Expr: `sum by (instance) (spanloom_store_memory_limit_bytes` + j + `)`, Legend: "{{instance}} limit"},
				}},
				{Title: "Spans by hour of receipt", Unit: Short, Queries: one(`sum by (hour) (spanloom_store_hour_spans`+j+`)`, "{{hour}}")},
				{Title: "Gone by limits or age", Unit: PerSecond, Queries: one(`sum(rate(spanloom_store_evicted_spans_total`+j+rate+`))`, "spans")},
				{Title: "Files", Unit: Short, Queries: []Query{
					{Expr: `sum by (instance) (spanloom_store_segments` + j + `)`, Legend: "{{instance}} files"},
					{Expr: `sum by (instance) (spanloom_store_damaged` + j + `)`, Legend: "{{instance}} damaged"},
				}},
				{Title: "Compaction due", Unit: Bytes, Queries: one(`sum by (instance) (spanloom_store_compaction_due_bytes`+j+`)`, "{{instance}}")},
				{Title: "Log", Unit: PerSecB, Queries: []Query{
					{Expr: `sum by (instance) (rate(spanloom_log_written_bytes_total` + j + rate + `))`, Legend: "{{instance}} written"},
				}},
			}},
			{"Questions", []Panel{
				{Title: "Questions to the store", Unit: PerSecond, Queries: one(`sum(rate(spanloom_store_questions_total`+j+rate+`))`, "a second")},
				{Title: "Blocks", Unit: PerSecond, Help: "Passed over: the index told that nothing is in them.", Queries: one(`sum by (outcome) (rate(spanloom_store_blocks_total`+j+rate+`))`, "{{outcome}}")},
				{Title: "Lag of traces_* metrics", Unit: Seconds, Help: "A minute is counted a minute after its end.", Queries: one(`time() - max(spanloom_trace_metrics_counted_until_seconds`+j+`)`, "behind")},
			}},
			{"Process", []Panel{
				{Title: "Processor", Unit: Cores, Queries: one(`sum by (instance) (rate(process_cpu_seconds_total`+j+rate+`))`, "{{instance}}")},
				{Title: "Memory", Unit: Bytes, Queries: []Query{
					{Expr: `sum by (instance) (process_resident_memory_bytes` + j + `)`, Legend: "{{instance}} resident"},
					{Expr: `sum by (instance) (go_memstats_heap_inuse_bytes` + j + `)`, Legend: "{{instance}} heap"},
					{Expr: `sum by (instance) (spanloom_store_cached_bytes` + j + `)`, Legend: "{{instance}} decoded rollups"},
				}},
				{Title: "Processor and memory limit, as the kubelet sees them", Unit: Cores, Help: "Of the container spanloom; needs cAdvisor's metrics.", Queries: []Query{
					{Expr: `sum by (pod) (rate(container_cpu_usage_seconds_total{container="spanloom"}` + rate + `))`, Legend: "{{pod}} cores"},
					{Expr: `sum by (pod) (container_memory_working_set_bytes{container="spanloom"}) / sum by (pod) (container_spec_memory_limit_bytes{container="spanloom"} > 0)`, Legend: "{{pod}} memory of its limit"},
				}},
			}},
		},
	}
}

func meshBoard() Board {
	const (
		g      = `{job=~"$job"}`
		total  = "traces_service_graph_request_total"
		failed = "traces_service_graph_request_failed_total"
	)
	return Board{
		UID: "spanloom-mesh", Title: "Mesh, from traces", Description: "Who calls whom, how often and how well, counted from spans and corrected for sampling.",
		Vars: []Var{jobVar},
		Rows: []Row{
			{"All calls", []Panel{
				{Title: "Calls", Kind: Number, Unit: PerSecond, Queries: one(`sum(rate(`+total+g+rate+`))`, "a second")},
				{Title: "Fail", Kind: Number, Unit: Share, Queries: one(`sum(rate(`+failed+g+rate+`)) / sum(rate(`+total+g+rate+`))`, "of the calls")},
				{Title: "Services", Kind: Number, Unit: Short, Queries: one(`count(group by (service) (traces_spanmetrics_calls_total`+g+`))`, "that sent spans")},
			}},
			{"Services", []Panel{
				{Title: "Calls served", Unit: PerSecond, Queries: one(`topk(12, sum by (server) (rate(`+total+g+rate+`)))`, "{{server}}")},
				{Title: "Fail", Unit: Share, Queries: one(`topk(12, sum by (server) (rate(`+failed+g+rate+`)) / sum by (server) (rate(`+total+g+rate+`)))`, "{{server}}")},
				{Title: "95th percentile, as servers see it", Unit: Seconds, Queries: quantiles("traces_service_graph_request_server_seconds", `job=~"$job"`, "server, ", "95")},
			}},
			{"Calls between services", []Panel{
				{Title: "Most frequent", Unit: PerSecond, Queries: one(`topk(12, sum by (client, server) (rate(`+total+g+rate+`)))`, "{{client}} → {{server}}")},
				{Title: "Most failing", Unit: PerSecond, Queries: []Query{{Expr: `topk(12, sum by (client, server) (rate(` + failed + g + rate + `)))`, Legend: "{{client}} → {{server}}", Exemplars: true}}},
				{Title: "Slowest, as clients see it", Unit: Seconds, Help: "Mean duration.",
					Queries: one(`topk(12, sum by (client, server) (rate(traces_service_graph_request_client_seconds_sum`+g+rate+`)) / sum by (client, server) (rate(traces_service_graph_request_client_seconds_count`+g+rate+`) > 0))`, "{{client}} → {{server}}")},
				{Title: "To what sends no spans", Unit: PerSecond, Help: "Hosts outside of the mesh, databases, brokers, services without tracing.",
					Queries: one(`topk(12, sum by (server, connection_type) (rate(`+total+`{job=~"$job",connection_type!=""}`+rate+`)))`, "{{server}} ({{connection_type}})")},
				{Title: "Seen from one side only", Unit: PerSecond, Help: "Calls whose other side was not found: it sends no spans, or trace headers are lost on the way.",
					Queries: one(`topk(12, sum by (client, server) (rate(traces_service_graph_unpaired_spans_total`+g+rate+`)))`, "{{client}} → {{server}}")},
			}},
			{"Beside Istio's own counts", []Panel{
				{Title: "Requests, Istio", Unit: PerSecond, Queries: one(`sum by (destination_canonical_service) (rate(istio_requests_total{reporter="destination"}`+rate+`))`, "{{destination_canonical_service}}")},
				{Title: "Traced, of what Istio counted", Unit: Share, Help: "Below 1: sampling that Spanloom does not know of, or spans that do not arrive.",
					Queries: one(`sum by (service) (rate(traces_spanmetrics_calls_total{job=~"$job",span_kind="SPAN_KIND_SERVER"}`+rate+`))
  / sum by (service) (label_join(rate(istio_requests_total{reporter="destination"}`+rate+`), "service", ".", "destination_canonical_service", "destination_service_namespace"))`, "{{service}}")},
				{Title: "Sidecars", Unit: Cores, Help: "Needs cAdvisor's metrics.", Queries: one(`sum by (namespace) (rate(container_cpu_usage_seconds_total{container="istio-proxy"}`+rate+`))`, "{{namespace}} cores")},
			}},
		},
	}
}

func serviceBoard() Board {
	const (
		own     = `{job=~"$job",service="$service"}`
		served  = `job=~"$job",service="$service",span_kind=~"SPAN_KIND_(SERVER|CONSUMER)"`
		callers = `{job=~"$job",server="$service"}`
		callees = `{job=~"$job",client="$service"}`
		total   = "traces_service_graph_request_total"
		failed  = "traces_service_graph_request_failed_total"
		// Istio has the two halves of a service's name as two labels.
		istio = `sum by (response_code) (
  label_join(rate(istio_requests_total{reporter="destination"}` + rate + `), "service", ".", "destination_canonical_service", "destination_service_namespace")
  and on (service) group by (service) (traces_spanmetrics_calls_total` + own + `)
)`
	)
	return Board{
		UID: "spanloom-service", Title: "Service, from traces", Description: "One service: its operations, its callers and what it calls.",
		Vars: []Var{jobVar, {Name: "service", Label: "Service", Query: `label_values(traces_spanmetrics_calls_total{job=~"$job"}, service)`}},
		Rows: []Row{
			{"Operations", []Panel{
				{Title: "Requests", Unit: PerSecond, Queries: one(`topk(12, sum by (span_name) (rate(traces_spanmetrics_calls_total{`+served+`}`+rate+`)))`, "{{span_name}}")},
				{Title: "Fail", Unit: Share, Queries: []Query{{Legend: "{{span_name}}", Exemplars: true,
					Expr: `sum by (span_name) (rate(traces_spanmetrics_calls_total{` + served + `,status_code="STATUS_CODE_ERROR"}` + rate + `)) / sum by (span_name) (rate(traces_spanmetrics_calls_total{` + served + `}` + rate + `))`}}},
				{Title: "Durations", Unit: Seconds, Queries: quantiles("traces_spanmetrics_latency", served, "", "50", "95", "99")},
				{Title: "95th percentile by operation", Unit: Seconds, Queries: quantiles("traces_spanmetrics_latency", served, "span_name, ", "95")},
				{Title: "All spans by kind", Unit: PerSecond, Queries: one(`sum by (span_kind) (rate(traces_spanmetrics_calls_total`+own+rate+`))`, "{{span_kind}}")},
			}},
			{"Callers", []Panel{
				{Title: "Calls", Unit: PerSecond, Queries: one(`sum by (client) (rate(`+total+callers+rate+`))`, "{{client}}")},
				{Title: "Fail", Unit: Share, Queries: one(`sum by (client) (rate(`+failed+callers+rate+`)) / sum by (client) (rate(`+total+callers+rate+`))`, "{{client}}")},
				{Title: "95th percentile, as they see it", Unit: Seconds, Queries: quantiles("traces_service_graph_request_client_seconds", `job=~"$job",server="$service"`, "client, ", "95")},
			}},
			{"What it calls", []Panel{
				{Title: "Calls", Unit: PerSecond, Queries: one(`sum by (server, connection_type) (rate(`+total+callees+rate+`))`, "{{server}} {{connection_type}}")},
				{Title: "Fail", Unit: Share, Queries: one(`sum by (server) (rate(`+failed+callees+rate+`)) / sum by (server) (rate(`+total+callees+rate+`))`, "{{server}}")},
				{Title: "95th percentile, as it sees it", Unit: Seconds, Queries: quantiles("traces_service_graph_request_client_seconds", `job=~"$job",client="$service"`, "server, ", "95")},
			}},
			{"Beside Istio's own counts", []Panel{
				{Title: "Requests, Istio", Unit: PerSecond, Queries: one(istio, "{{response_code}}")},
			}},
		},
	}
}

func envoyBoard() Board {
	const (
		z      = "envoy_tracing_zipkin_"
		o      = "envoy_tracing_opentelemetry_"
		pod    = "sum by (namespace, pod) "
		who    = "{{namespace}}/{{pod}}"
		target = `{cluster_name=~"$collector"}`
	)
	return Board{
		UID: "spanloom-envoy", Title: "Envoy's tracing", Description: "Do sidecars and gateways sample, and do their spans leave? Needs their tracing statistics: " +
			`docs/users/grafana.md has the setting.`,
		Vars: []Var{jobVar, {Name: "collector", Label: "Collector's clusters", // Brackets, for Grafana doubles backslashes.
			Default: `outbound[|](9411|4317|4318)[|].*|.*zipkin.*`}},
		Rows: []Row{
			{"Decisions", []Panel{
				{Title: "Requests by sampling decision", Unit: PerSecond, Queries: []Query{
					{Expr: `sum(rate(envoy_http_tracing_random_sampling` + rate + `))`, Legend: "sampled at random"},
					{Expr: `sum(rate(envoy_http_tracing_service_forced` + rate + `))`, Legend: "forced by a service"},
					{Expr: `sum(rate(envoy_http_tracing_client_enabled` + rate + `))`, Legend: "wanted by the client"},
					{Expr: `sum(rate(envoy_http_tracing_not_traceable` + rate + `))`, Legend: "not traced"},
					{Expr: `sum(rate(envoy_http_tracing_health_check` + rate + `))`, Legend: "health checks"},
				}},
				{Title: "Traced", Unit: Share, Help: "0: sampling is 0, or a header says no.", Queries: one(
					pod+`(rate(envoy_http_tracing_random_sampling`+rate+`) + rate(envoy_http_tracing_service_forced`+rate+`) + rate(envoy_http_tracing_client_enabled`+rate+`))
  / `+pod+`(rate(envoy_http_downstream_rq_total`+rate+`))`, who)},
			}},
			{"Zipkin", []Panel{
				{Title: "Reports delivered", Unit: PerSecond, Help: "Answered with 202.", Queries: one(pod+`(rate(`+z+`reports_sent`+rate+`))`, who)},
				{Title: "Reports lost", Unit: PerSecond, Help: "Dropped: answered otherwise, or no connection. Skipped: no such cluster.", Queries: []Query{
					{Expr: pod + `(rate(` + z + `reports_dropped` + rate + `))`, Legend: who + " dropped"},
					{Expr: pod + `(rate(` + z + `reports_failed` + rate + `))`, Legend: who + " failed"},
					{Expr: pod + `(rate(` + z + `reports_skipped_no_cluster` + rate + `))`, Legend: who + " skipped"},
				}},
				{Title: "Delivered, of all reports", Unit: Share, Queries: one(pod+`(rate(`+z+`reports_sent`+rate+`))
  / `+pod+`(rate(`+z+`reports_sent`+rate+`) + rate(`+z+`reports_dropped`+rate+`) + rate(`+z+`reports_failed`+rate+`) + rate(`+z+`reports_skipped_no_cluster`+rate+`))`, who)},
				{Title: "Spans", Unit: PerSecond, Queries: one(pod+`(rate(`+z+`spans_sent`+rate+`))`, who)},
				{Title: "Spans a report", Unit: Short, Help: "5 unless tracing.zipkin.min_flush_spans says otherwise.", Queries: one(pod+`(rate(`+z+`spans_sent`+rate+`)) / `+pod+`(rate(`+z+`reports_sent`+rate+`))`, who)},
				{Title: "Sent and not received", Unit: PerSecond, Help: "What lies between: refusals, another collector, spans on their way.", Queries: one(
					`clamp_min(sum(rate(`+z+`spans_sent`+rate+`)) - sum(rate(spanloom_received_spans_total{job=~"$job",protocol="zipkin"}`+rate+`)), 0)`, "spans")},
			}},
			{"OpenTelemetry", []Panel{
				{Title: "Spans handed over", Unit: PerSecond, Help: "Counts on while the collector's port is closed: see the collector's clusters below.", Queries: one(pod+`(rate(`+o+`spans_sent`+rate+`))`, who)},
				{Title: "Spans dropped", Unit: PerSecond, Queries: one(pod+`(rate(`+o+`spans_dropped`+rate+`))`, who)},
				{Title: "Flushed by the clock", Unit: PerSecond, Queries: one(pod+`(rate(`+o+`timer_flushed`+rate+`))`, who)},
			}},
			{"The way to the collector", []Panel{
				{Title: "Requests", Unit: PerSecond, Queries: one(`sum by (namespace, pod) (rate(envoy_cluster_upstream_rq_total`+target+rate+`))`, who)},
				{Title: "Connections that failed", Unit: PerSecond, Help: "A closed port, a network policy, an address that resolves to nothing.", Queries: []Query{
					{Expr: pod + `(rate(envoy_cluster_upstream_cx_connect_fail` + target + rate + `))`, Legend: who + " connect"},
					{Expr: pod + `(rate(envoy_cluster_upstream_cx_none_healthy` + target + rate + `))`, Legend: who + " no host"},
				}},
				{Title: "Sidecars' processor", Unit: Cores, Help: "Needs cAdvisor's metrics.", Queries: one(`sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container="istio-proxy"}`+rate+`))`, who)},
			}},
		},
	}
}
