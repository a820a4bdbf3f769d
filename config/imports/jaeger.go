package imports

import (
	"strings"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// jaeger reads the resource of the first Jaeger operator.
func (im *Importer) jaeger(v *yamldoc.Value) {
	im.each(v.Exact("spec"), "spec", rules{
		"strategy": strategy,
		"allInOne": within(rules{"image": silently, "options": options}, inChart+"image, resources, podAnnotations and the like"),
		"collector": within(rules{
			"replicas": because("one process receives, keeps and answers: the engine local is one replica"), "maxReplicas": because("the engine local is one replica"), "minReplicas": because("the engine local is one replica"),
			"autoscale": because("the engine local is one replica"), "image": silently, "options": options,
		}, inChart+"resources, podAnnotations and the like"),
		"query": within(rules{
			"replicas": because("the process that keeps spans answers for them"), "image": silently, "options": options, "serviceType": because(inChart + "service.type"),
			"metricsStorage": because("service metrics are made of all spans anyway"),
		}, inChart+"resources, podAnnotations and the like"),
		"agent":           because("Jaeger's agent and this generation of its operator are gone: proxies and SDKs send to the Service directly, by OTLP or Zipkin"),
		"sidecar":         because("Jaeger's agent is gone: SDKs send to the Service directly, by OTLP"),
		"ingester":        because("no Kafka stands between senders and store: the log in data-dir holds what is not filed yet"),
		"storage":         within(storage, ownEngine),
		"sampling":        because("SDKs do not ask a server for rates here: the mesh decides (`spanloom mesh render --sampling`), and SDKs follow it (parent-based)"),
		"ingress":         because(inChart + "ingress"),
		"ui":              because("the UI is Spanloom's own; links into it keep Jaeger's paths"),
		"volumes":         because(inChart + "persistence"),
		"volumeMounts":    because(inChart + "persistence"),
		"resources":       because(inChart + "resources"),
		"affinity":        because(inChart + "affinity"),
		"tolerations":     because(inChart + "tolerations"),
		"annotations":     because(inChart + "podAnnotations"),
		"labels":          because(inChart + "podLabels"),
		"serviceAccount":  because(inChart + "serviceAccount"),
		"securityContext": because(inChart + "pods are restricted already"),
	}, noSuchOption)
}

func strategy(im *Importer, path string, f yamldoc.Field) {
	switch s := strings.ToLower(f.Value.Str()); s {
	case "allinone", "all-in-one", "production":
		// The storage says where spans are kept.
	case "streaming":
		im.drop(path, f.Line, "no Kafka stands between senders and store: the log in data-dir holds what is not filed yet")
	default:
		im.drop(path, f.Line, "strategies are allInOne, production and streaming")
	}
}

var storage = rules{
	"type": func(im *Importer, path string, f yamldoc.Field) {
		switch f.Value.Str() {
		case "memory":
			im.take("store", path, f.Line, "memory")
		case "badger":
			im.take("store", path, f.Line, "local")
		case "none", "":
		default:
			im.take("store", path, f.Line, "local")
			im.drop(path, f.Line, ownEngine)
		}
	},
	"options": options,
	"esIndexCleaner": within(rules{
		"numberOfDays": as("retention", "%sd"), "enabled": silently, "schedule": because("the oldest spans go by themselves"),
	}, "the oldest spans go by themselves"),
	"cassandraCreateSchema": because("there is no schema to make"),
	"dependencies":          because("the service map needs no batch job"),
	"esRollover":            because("there are no indices to roll over"),
	"secretName":            because("there is no database to log in to"),
	"elasticsearch":         because(ownEngine),
}

// options flattens options of the operator, which write a flag's dots as nesting or not.
func options(im *Importer, path string, f yamldoc.Field) {
	var walk func(name, at string, f yamldoc.Field)
	walk = func(name, at string, f yamldoc.Field) {
		if f.Value != nil && f.Value.Kind == yamldoc.Map {
			for _, inner := range f.Value.Fields {
				walk(strings.TrimPrefix(name+"."+inner.Name, "."), join(at, inner.Name), inner)
			}
			return
		}
		im.flag(name, at, f)
	}
	walk("", path, f)
}

// flag takes one flag of Jaeger over.
func (im *Importer) flag(name, at string, f yamldoc.Field) {
	switch name {
	case "query.base-path":
		as("base-path", "%s")(im, at, f)
	case "log-level":
		logLevel(im, at, f)
	case "collector.zipkin.host-port":
		listen("zipkin-addr")(im, at, f)
	case "collector.otlp.grpc.host-port":
		listen("otlp-grpc-addr")(im, at, f)
	case "collector.otlp.http.host-port":
		listen("otlp-http-addr")(im, at, f)
	case "query.http-server.host-port":
		listen("http-addr")(im, at, f)
	case "query.grpc-server.host-port":
		listen("jaeger-grpc-addr")(im, at, f)
	case "badger.span-store-ttl", "cassandra.span-store-ttl":
		as("retention", "%s")(im, at, f)
	case "collector.otlp.enabled", "collector.zipkin.enabled", "badger.ephemeral":
	case "memory.max-traces":
		im.drop(at, f.Line, "memory is bounded in bytes, not in traces: max-memory")
	case "query.max-clock-skew-adjustment":
		im.drop(at, f.Line, "times are stored as sent; shifting them is a switch of the view")
	case "es.tls.skip-host-verify":
		im.drop(at, f.Line, "no certificate needs to go unchecked any more: "+ownEngine)
	default:
		group, _, _ := strings.Cut(name, ".")
		switch group {
		case "es", "es-archive", "cassandra", "cassandra-archive", "badger", "grpc-storage", "kafka", "memory":
			im.drop(at, f.Line, ownEngine)
		default:
			im.drop(at, f.Line, noSuchOption)
		}
	}
}
