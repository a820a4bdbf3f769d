package doctor

import (
	"regexp"
	"strings"
	"sync"
)

// heardFormats are sentences that come with facts: what reading files found odd (mesh/istio, mesh/schema, mesh/yamldoc), what
// collecting could not read (doctor/collect, doctor/live), what the store and the search for lost context say. Facts have no
// language, so they come in English. The first that fits counts.
var heardFormats = []string{
	"%s: no such field, did you mean %s?",
	"%s: no such field",
	"%s: exists in Istio %s only",
	"%s: %q is no %s",
	"%q is written twice (first in line %d); the last one counts",
	"did you mean %s?",
	"it looks like a template of Helm: check the output of `helm template`",
	"a document that cannot be parsed is not applied either",
	"meshConfig stands under global, where the istiod chart does not read it",
	"move it to the top level: meshConfig: …",
	"global.tracer.zipkin.address is read only when global.proxy.tracer is zipkin, which is no longer the default",
	"set meshConfig.defaultConfig.tracing.zipkin.address, or an extension provider and a Telemetry",
	"global.mtls.enabled was removed long ago and does nothing",
	"use a PeerAuthentication",

	"the newest reading failed, this is an older one: %s",
	"nothing of it may be read: %s: %s",
	"the API server does not serve %s: is Istio installed in this cluster?",
	"asking for the right to list them: %s",
	"no right to list them: `spanloom doctor roles` prints what is needed",
	"no right to list them in %s: the mesh configuration is unknown (`spanloom doctor roles` prints what is needed)",
	"no right to list them",
	"may be listed in %s only",
	"the list changed while it was read: objects made meanwhile may be missing",
	"no right to read this bootstrap override",
	"no right to %s them: %s (`spanloom doctor roles` prints what is needed)",
	"Envoy's state and istiod's debug endpoints are unknown",
	"the proxies' statistics are unknown",
	"%d workloads have a proxy, the state of %d was read: name a namespace (-n) or raise --proxies",
	"no ready pod of istiod was found: what is in force is unknown",
	"no right to port-forward in %s: what is in force is unknown",
	"config_dump breaks off: %s",
	"server_info breaks off: %s",
	"a config_dump is a JSON object",
	"server_info is a JSON object",
	"it has no field received",
	"more than one JSON value",
	"kinds of the API server",
	"kinds of %s",
	"proxy of %s",
	"endpointslices of %s",

	"the log could not be made durable: %s (%s)",
	"the log holds %d bytes of at most %d: %s (%s)",
	"traces %s and %s are one request: %s",
	"the sidecar of pod %s made this call while it served that request, and nothing else of that request is here",
	"both served %s at the same time: the sidecar from %s before to %s after the application",
}

type heardForm struct {
	format  string
	pattern *regexp.Regexp
}

var heardForms = sync.OnceValue(func() []heardForm {
	words := strings.NewReplacer("%s", "(.+?)", "%d", `(-?\d+)`, "%q", `("(?:[^"\\]|\\.)*")`)
	var out []heardForm
	for _, f := range heardFormats {
		out = append(out, heardForm{f, regexp.MustCompile("(?s)^" + words.Replace(regexp.QuoteMeta(f)) + "$")})
	}
	return out
})

// heard is a sentence that came with the facts. One of another make, an error of Kubernetes or of a parser, is quoted. Cost: a
// pass over the formats for each sentence and each part of it.
func heard(s string) Text {
	for _, f := range heardForms() {
		m := f.pattern.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		args := make([]any, len(m)-1)
		for i, part := range m[1:] {
			args[i] = heard(part)
		}
		return Text{english: s, format: f.format, args: args}
	}
	return quote(s)
}
