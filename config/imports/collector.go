package imports

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// Reasons that several places share.
const (
	noSuchStep    = "Spanloom has no such step: spans are kept as they were sent"
	noSuchOption  = "Spanloom has no setting for it"
	ownEngine     = "Spanloom keeps spans in its own engine (store: local): no database is needed beside it"
	noForwarding  = "Spanloom keeps spans itself; it does not pass them on. A collector in front can send to both"
	tokensInstead = "Spanloom takes bearer tokens with roles: auth-token-file"
	inChart       = "the chart deploy/helm/spanloom decides how it runs: "
)

// typeOf is a component's type: "otlp" of "otlp/2".
func typeOf(name string) string { t, _, _ := strings.Cut(name, "/"); return t }

// collector reads receivers, processors, exporters and the rest of a collector's configuration.
func (im *Importer) collector(v *yamldoc.Value, prefix string) {
	used := pipelines(v)
	section := func(known map[string]rule, otherwise func(kind string) string) rule {
		return func(im *Importer, path string, f yamldoc.Field) {
			if f.Value == nil || f.Value.Kind != yamldoc.Map {
				return
			}
			for _, c := range f.Value.Fields {
				at := join(path, c.Name)
				switch apply, ok := known[typeOf(c.Name)]; {
				case used != nil && !used[c.Name] && f.Name != "extensions":
					im.drop(at, c.Line, "no pipeline of traces has it")
				case ok:
					apply(im, at, c)
				default:
					im.drop(at, c.Line, otherwise(typeOf(c.Name)))
				}
			}
		}
	}
	im.each(v, prefix, rules{
		"receivers":  section(receivers, func(k string) string { return k + " is no way in for spans here: send OTLP or Zipkin" }),
		"processors": section(processors, func(string) string { return noSuchStep }),
		"exporters":  section(exporters, func(string) string { return noForwarding }),
		"connectors": section(connectors, func(string) string { return noSuchStep }),
		"extensions": section(extensions, func(string) string { return noSuchOption }),
		"service":    within(rules{"pipelines": pipelinesRule, "extensions": silently, "telemetry": within(telemetry, noSuchOption)}, noSuchOption),
	}, noSuchOption)
}

// pipelines are the components that a pipeline of traces has; nil if there is no list of pipelines, as in a fragment.
func pipelines(v *yamldoc.Value) map[string]bool {
	all := v.Exact("service", "pipelines")
	if all == nil || all.Kind != yamldoc.Map {
		return nil
	}
	used := make(map[string]bool)
	for _, p := range all.Fields {
		if typeOf(p.Name) != "traces" {
			continue
		}
		for _, part := range []string{"receivers", "processors", "exporters"} {
			for _, name := range p.Value.Exact(part).Strings() {
				used[name] = true
			}
		}
	}
	return used
}

func pipelinesRule(im *Importer, path string, f yamldoc.Field) {
	if f.Value == nil {
		return
	}
	for _, p := range f.Value.Fields {
		switch typeOf(p.Name) {
		case "traces": // its parts were taken one by one; the order of steps is fixed here
		case "metrics", "logs", "profiles":
			im.drop(join(path, p.Name), p.Line, "Spanloom takes traces only")
		default:
			im.drop(join(path, p.Name), p.Line, noSuchOption)
		}
	}
}

// listen takes an endpoint over as an address to listen on. A host from the environment becomes all of listen-host.
func listen(setting string) rule {
	return func(im *Importer, path string, f yamldoc.Field) {
		text := f.Value.Str()
		text = strings.TrimPrefix(strings.TrimPrefix(text, "http://"), "tcp://")
		if i := strings.LastIndexByte(text, ':'); i >= 0 && strings.Contains(text[:i], "${") && !strings.Contains(text[i:], "}") {
			im.drop(path, f.Line, "the host comes from the environment: listen-host says it for all listeners. The port is taken")
			text = text[i:]
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			im.drop(path, f.Line, "it is no host:port")
			return
		}
		im.take(setting, path, f.Line, net.JoinHostPort(host, port))
	}
}

// tlsOf takes a listener's certificate over.
func tlsOf(listener string) rule {
	return within(rules{
		"cert_file": as("tls-"+listener+"-cert", "%s"), "key_file": as("tls-"+listener+"-key", "%s"), "client_ca_file": as("tls-"+listener+"-client-ca", "%s"),
		"reload_interval": because("certificates are read again when their files change"),
	}, noSuchOption)
}

func server(listener string) rules {
	return rules{
		"endpoint": listen(listener + "-addr"), "tls": tlsOf(listener), "auth": because(tokensInstead),
		"max_request_body_size": as("max-body", "%sB"), "max_recv_msg_size_mib": as("max-body", "%sMiB"),
		"cors":             within(rules{"allowed_origins": listOf("cors-origin", "%s"), "allowed_headers": silently, "max_age": silently}, noSuchOption),
		"include_metadata": because("no step of Spanloom asks for headers of the sender"),
	}
}

func listOf(setting, format string) rule {
	return func(im *Importer, path string, f yamldoc.Field) {
		for _, s := range f.Value.Strings() {
			im.take(setting, path, f.Line, fmt.Sprintf(format, s))
		}
	}
}

var receivers = map[string]rule{
	"otlp": within(rules{"protocols": within(rules{
		"grpc": within(server("otlp-grpc"), noSuchOption), "http": within(server("otlp-http"), noSuchOption),
	}, noSuchOption)}, noSuchOption),
	"zipkin": within(with(server("zipkin"), "parse_string_tags", because("tags of Zipkin are kept as text")), noSuchOption),
	"jaeger": because("Jaeger's own ports (14250, 14268, 6831, 6832) are not offered: clients that still use them need OTLP"),
}

func with(r rules, name string, apply rule) rules { r[name] = apply; return r }

var processors = map[string]rule{
	"batch": because("Spanloom gathers what is waiting and writes it at once: there is no timer and no size to set"),
	"memory_limiter": within(rules{
		"limit_mib": as("max-memory", "%sMiB"), "limit_percentage": as("max-memory", "%s%%"),
		"check_interval": because("the limit is kept without a timer"), "spike_limit_mib": because("the limit holds spikes too"), "spike_limit_percentage": because("the limit holds spikes too"),
	}, noSuchOption),
	"resource":              resource,
	"attributes":            attributes,
	"probabilistic_sampler": within(rules{"sampling_percentage": as("sampling-percent", "%s")}, "sampling is decided by the trace id alone"),
	"redaction": within(rules{
		"blocked_values": patterns, "allow_all_keys": silently, "summary": silently,
	}, "Spanloom removes secrets by value and by key: redact-pattern, redact-key"),
	"tail_sampling":    because("sampling is decided by the trace id as spans arrive (sampling-percent), not when a trace is complete"),
	"k8sattributes":    because("names of workloads come from the proxies' own attributes and from resource attributes of SDKs"),
	"groupbytrace":     because("spans are stored by trace anyway"),
	"spanmetrics":      because("counts and latencies are made of all spans anyway: /metrics has traces_spanmetrics_*"),
	"servicegraph":     because("the service graph is made of all spans anyway: /metrics has traces_service_graph_*"),
	"metricstransform": because("Spanloom takes traces only"),
}

// resource takes the actions that resource-attribute knows.
func resource(im *Importer, path string, f yamldoc.Field) {
	im.each(f.Value, path, rules{"attributes": func(im *Importer, path string, f yamldoc.Field) {
		for i, a := range f.Value.List() {
			at := fmt.Sprintf("%s[%d]", path, i)
			key, action, value := a.Exact("key").Str(), a.Exact("action").Str(), a.Exact("value")
			switch {
			case strings.ContainsAny(key+value.Str(), "\n\r"):
				im.drop(at, a.At(), "a line break cannot stand in a setting")
			case strings.Contains(value.Str(), "${"):
				im.drop(at, a.At(), "the value comes from the environment: set resource-attribute yourself, or its variable")
			case key != "" && (action == "upsert" || action == "insert") && value != nil && value.Kind != yamldoc.Map && value.Kind != yamldoc.List:
				im.take("resource-attribute", at, a.At(), action+":"+key+"="+value.Text)
			case key != "" && action == "delete":
				im.take("resource-attribute", at, a.At(), "delete:"+key)
			default:
				im.drop(at, a.At(), "resource-attribute knows upsert and insert of a value, and delete")
			}
		}
	}}, noSuchOption)
}

// attributes takes the actions that remove a value; redaction replaces it and leaves the key.
func attributes(im *Importer, path string, f yamldoc.Field) {
	im.each(f.Value, path, rules{"actions": func(im *Importer, path string, f yamldoc.Field) {
		for i, a := range f.Value.List() {
			at := fmt.Sprintf("%s[%d]", path, i)
			key, action := a.Exact("key").Str(), a.Exact("action").Str()
			if key != "" && (action == "delete" || action == "hash") {
				im.take("redact-key", at, a.At(), key)
			} else {
				im.drop(at, a.At(), "attributes of spans are kept as sent; only removing a value is known (redact-key)")
			}
		}
	}}, "it would limit the step to some spans, and redaction covers all")
}

func patterns(im *Importer, path string, f yamldoc.Field) {
	for _, p := range f.Value.Strings() {
		if _, err := regexp.Compile(p); err != nil {
			im.drop(path, f.Line, "one of them is no regular expression of Go")
			continue
		}
		im.take("redact-pattern", path, f.Line, p)
	}
}

// keepFor takes the time that a database keeps spans.
var keepFor = rules{
	"ttl":      as("retention", "%s"),
	"ttl_days": as("retention", "%sd"),
}

// exporterTables is keepFor of the exporter whose tables Spanloom can go on with.
var exporterTables = rules{
	"ttl":      keepFor["ttl"],
	"ttl_days": keepFor["ttl_days"],
	"endpoint": because("its tables can be read and written as they are: store: clickhouse, clickhouse-dsn: clickhouse://USER@HOST:9000/DATABASE?schema=otel; else " + ownEngine),
}

var exporters = map[string]rule{
	"clickhouse":             within(exporterTables, ownEngine),
	"clickhousetraces":       within(keepFor, ownEngine),
	"signozclickhousetraces": within(keepFor, ownEngine),
	"elasticsearch":          because(ownEngine),
	"opensearch":             because(ownEngine),
	"debug":                  because("for a look at what arrives: `spanloom query '{}'`, or log-level: debug"),
	"logging":                because("for a look at what arrives: `spanloom query '{}'`, or log-level: debug"),
	"file":                   because("`spanloom export` writes spans into files"),
	"spanmetrics":            because("/metrics has traces_spanmetrics_* of all spans"),
}

var connectors = map[string]rule{
	"spanmetrics":  processors["spanmetrics"],
	"servicegraph": processors["servicegraph"],
}

var extensions = map[string]rule{
	"health_check":    because("/healthz and /readyz stand on admin-addr (8888)"),
	"healthcheckv2":   because("/healthz and /readyz stand on admin-addr (8888)"),
	"pprof":           within(rules{"endpoint": listen("debug-addr")}, noSuchOption),
	"zpages":          because("/metrics on admin-addr and the Status page say how it is"),
	"basicauth":       because(tokensInstead),
	"bearertokenauth": because(tokensInstead),
	"oidc":            because(tokensInstead),
	"memory_ballast":  because("max-memory is what the process plans with"),
	"file_storage":    because("the log in data-dir holds every span before its sender has an answer"),
}

var telemetry = rules{
	"logs": within(rules{"level": logLevel, "encoding": logFormat}, noSuchOption),
	"metrics": within(rules{
		"address": listen("admin-addr"), "level": because("all metrics are always there"), "readers": because("/metrics stands on admin-addr (8888)"),
	}, noSuchOption),
	"resource": because("metrics of Spanloom carry no resource"),
	"traces":   because("Spanloom does not trace itself"),
}

func logLevel(im *Importer, path string, f yamldoc.Field) {
	switch level := strings.ToLower(f.Value.Str()); level {
	case "debug", "info", "warn", "error":
		im.take("log-level", path, f.Line, level)
	default:
		im.drop(path, f.Line, "log-level is debug, info, warn or error")
	}
}

func logFormat(im *Importer, path string, f yamldoc.Field) {
	switch f.Value.Str() {
	case "json":
		im.take("log-format", path, f.Line, "json")
	case "console":
		im.take("log-format", path, f.Line, "text")
	default:
		im.drop(path, f.Line, "log-format is text or json")
	}
}
