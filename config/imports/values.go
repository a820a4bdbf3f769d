package imports

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// signoz reads Helm values of SigNoz, and of charts that have a collector's configuration under config. That is what
// concerns tracing.
func (im *Importer) signoz(v *yamldoc.Value, prefix string) {
	builtIn := because("it is in the one binary")
	otelCollector := rules{
		"config":      nested,
		"ports":       because(inChart + "the Service has 4317, 4318 and 9411 under names that Istio understands"),
		"service":     because(inChart + "service; it has 4317, 4318 and 9411 under names that Istio understands"),
		"replicas":    because("the engine local is one replica"),
		"resources":   because(inChart + "resources"),
		"autoscaling": because("the engine local is one replica"),
	}
	im.each(v, prefix, rules{
		"config": nested,
		"otelCollector": within(with(otelCollector, "enabled", silently),
			inChart+"resources, ingress, podAnnotations and the like"),
		"service":              otelCollector["service"],
		"clickhouse":           because(ownEngine),
		"externalClickhouse":   because(ownEngine),
		"zookeeper":            because(ownEngine),
		"schemaMigrator":       because("there is no schema to migrate: files of every format are read for ever"),
		"signoz":               builtIn,
		"frontend":             builtIn,
		"queryService":         builtIn,
		"alertmanager":         because("rules for Prometheus come with the chart: prometheusRule.enabled"),
		"otelCollectorMetrics": because("Spanloom takes traces only"),
		"k8s-infra":            because("Spanloom takes traces only"),
		"global":               because(inChart + "image, persistence.storageClass"),
		"mode":                 because("one process receives, keeps and answers: there is no agent on every node"),
		"presets":              because("Spanloom takes traces only, and names workloads by the proxies' own attributes"),
	}, inChart+"image, resources, ingress and the like")
}

// nested reads a collector's configuration inside of values.
func nested(im *Importer, path string, f yamldoc.Field) {
	if f.Value == nil {
		return
	}
	if f.Value.Kind == yamldoc.Map {
		im.collector(f.Value, path)
		return
	}
	im.inner(f.Value, path)
}

// tempo reads values of Grafana's charts tempo and tempo-distributed, and Tempo's own configuration: they name the same
// things at different places.
func (im *Importer) tempo(v *yamldoc.Value, prefix string) {
	receive := func(im *Importer, path string, f yamldoc.Field) {
		if f.Value == nil {
			return
		}
		for _, c := range f.Value.Fields {
			at := join(path, c.Name)
			if apply, ok := receivers[typeOf(c.Name)]; ok {
				apply(im, at, c)
			} else {
				im.drop(at, c.Line, typeOf(c.Name)+" is no way in for spans here: send OTLP or Zipkin")
			}
		}
	}
	compaction := within(rules{"compaction": within(rules{"block_retention": retention}, "compaction sets itself within a budget"), "ring": silently}, "compaction sets itself within a budget")
	server := within(rules{
		"http_listen_port": as("tempo-addr", ":%s"), "grpc_listen_port": as("tempo-grpc-addr", ":%s"), "log_level": logLevel, "log_format": tempoLogFormat,
	}, noSuchOption)
	own := rules{
		"server":               server,
		"distributor":          within(rules{"receivers": receive}, noSuchOption),
		"receivers":            receive,
		"retention":            retention,
		"compactor":            compaction,
		"ingester":             because("segments are closed at a size or an age that needs no setting"),
		"storage":              within(rules{"trace": because(ownEngine)}, ownEngine),
		"metricsGenerator":     because("/metrics has traces_spanmetrics_* and traces_service_graph_* of all spans"),
		"metrics_generator":    because("/metrics has traces_spanmetrics_* and traces_service_graph_* of all spans"),
		"overrides":            because("there is one tenant; max-trace-spans and max-value-bytes bound what a trace may be"),
		"multitenancyEnabled":  because("there is one tenant; tokens have roles (auth-token-file)"),
		"multitenancy_enabled": because("there is one tenant; tokens have roles (auth-token-file)"),
		"querier":              because("the process that keeps spans answers for them"),
		"queryFrontend":        because("the process that keeps spans answers for them"),
		"query_frontend":       because("the process that keeps spans answers for them"),
		"memberlist":           because("one process needs no ring"),
		"memcached":            because("filters and dictionaries are mapped from files: no cache is needed beside it"),
		"cache":                because("filters and dictionaries are mapped from files: no cache is needed beside it"),
		"usage_report":         because("nothing is reported home"),
		"reportingEnabled":     because("nothing is reported home"),
	}
	component := within(rules{"config": within(rules{"compaction": within(rules{"block_retention": retention}, "compaction sets itself within a budget")}, noSuchOption)}, "the engine local is one replica")
	top := rules{
		"tempo":          within(with(own, "resources", because(inChart+"resources")), noSuchOption),
		"persistence":    because(inChart + "persistence"),
		"replicas":       because("the engine local is one replica"),
		"service":        because(inChart + "service"),
		"serviceMonitor": because(inChart + "serviceMonitor"),
		"tempoQuery":     because("Jaeger's API and UI paths are served by Spanloom itself (16686)"),
		"gateway":        because("one Service has all ports"),
		"traces":         within(rules{"otlp": silentlyEnabled, "zipkin": silentlyEnabled, "jaeger": receivers["jaeger"]}, noSuchOption),
	}
	for k, r := range own {
		if _, ok := top[k]; !ok {
			top[k] = r
		}
	}
	if v.Exact("traces") != nil { // tempo-distributed: each part has pods of its own
		top["compactor"] = component
	}
	im.each(v, prefix, top, inChart+"other values")
}

// silentlyEnabled: a receiver that is on here anyway. One that is switched off there stays on and that is said.
func silentlyEnabled(im *Importer, path string, f yamldoc.Field) {
	if on, ok := f.Value.Exact("enabled").Bool(); ok && !on {
		im.drop(path, f.Line, "it is off there and on by default here: an address of off closes a listener")
	}
}

// retention: Go's durations, which Tempo writes as 336h0m0s.
func retention(im *Importer, path string, f yamldoc.Field) {
	as("retention", "%s")(im, path, f)
}

func tempoLogFormat(im *Importer, path string, f yamldoc.Field) {
	format := strings.Replace(f.Value.Str(), "logfmt", "text", 1)
	if format != "text" && format != "json" {
		im.drop(path, f.Line, "log-format is text or json")
		return
	}
	im.take("log-format", path, f.Line, format)
}
