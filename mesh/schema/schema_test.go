package schema

import (
	"strings"
	"testing"

	"github.com/spanloom/spanloom/mesh/yamldoc"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, message, minor, in, want string }{
		{"set-up 0: a field that does not exist", "mesh.MeshConfig", "1.28", "defaultConfig:\n  tracing:\n    sampling: 100.0\n    custom_tags: {service.name: {literal: {value: x}}}\n    provider:\n      name: tempo\n",
			"5 unknown defaultConfig.tracing.provider: no such field"},
		{"a wrong type", "mesh.MeshConfig", "1.28", "defaultConfig: {tracing: {sampling: \"all\"}}", `1 type defaultConfig.tracing.sampling: "all" is no number`},
		{"numbers in quotes", "mesh.MeshConfig", "", "defaultConfig: {tracing: {sampling: \"10\"}}", ""},
		{"a list that is none", "mesh.MeshConfig", "", "extensionProviders: {name: x}", `1 type extensionProviders: "a map" is no list`},
		{"a nearly right name", "mesh.MeshConfig", "", "extensionProvider: []", "1 unknown extensionProvider: no such field, did you mean extensionProviders?"},
		{"both spellings", "mesh.MeshConfig", "", "extension_providers: [{name: a, opentelemetry: {service: b, port: 4317, resource_detectors: {environment: {}}}}]", ""},
		{"a field of a later version", "mesh.MeshConfig", "1.27", "extensionProviders: [{name: a, zipkin: {service: b, port: 9411, traceContextOption: USE_B3_WITH_W3C_PROPAGATION}}]",
			"1 version extensionProviders[0].zipkin.traceContextOption: exists in Istio 1.28 and later only"},
		{"the version that has it", "mesh.MeshConfig", "1.28", "extensionProviders: [{name: a, zipkin: {service: b, port: 9411, traceContextOption: USE_B3_WITH_W3C_PROPAGATION}}]", ""},
		{"an unknown value of an enum", "mesh.MeshConfig", "", "outboundTrafficPolicy: {mode: ANY}", `1 type outboundTrafficPolicy.mode: "ANY" is no value of`},
		{"a boolean in quotes", "mesh.MeshConfig", "", "enableTracing: \"true\"", `1 type enableTracing: "true" is no bool`},
		{"a string that is a number", "mesh.MeshConfig", "", "rootNamespace: 5", `1 type rootNamespace: "5" is no string`},
		{"a port with a fraction", "mesh.MeshConfig", "", "extensionProviders: [{name: a, zipkin: {port: 9411.5}}]", `1 type extensionProviders[0].zipkin.port: "9411.5" is no int`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, i := range Check(c.message, root(t, c.in), c.minor, true) {
				got = append(got, strings.Join([]string{string(rune('0' + i.Line)), string(i.Kind), i.Message()}, " "))
			}
			if g := strings.Join(got, "; "); g != c.want && !(c.want != "" && strings.HasPrefix(g, c.want) && len(got) == 1) {
				t.Errorf("got %s\nwant %s", g, c.want)
			}
		})
	}
}

func TestObjectsDoNotTakeSnakeCase(t *testing.T) {
	v := root(t, "tracing: [{random_sampling_percentage: 5}]")
	if got := Check("telemetry.Telemetry", v, "", false); len(got) != 1 || got[0].Want != "randomSamplingPercentage" {
		t.Errorf("got %v", got)
	}
	if got := Check("telemetry.Telemetry", v, "", true); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestTableHasWhatTheDoctorRelies(t *testing.T) {
	for _, c := range []struct{ message, field, since string }{
		{"mesh.Tracing", "zipkin", ""}, {"mesh.Tracing", "enableIstioTags", "1.25"},
		{"telemetry.Tracing", "disableContextPropagation", "1.30"}, {"telemetry.Tracing", "useRequestIdForTraceSampling", ""},
		{"mesh.MeshConfig.ExtensionProvider.ZipkinTracingProvider", "path", "1.24"},
		{"mesh.MeshConfig.ExtensionProvider.OpenTelemetryTracingProvider", "http", "1.22"},
		{"networking.EnvoyFilter", "configPatches", ""}, {"security.PeerAuthentication", "mtls", ""},
	} {
		if f, ok := Lookup(c.message, c.field); !ok || f.Since != c.since {
			t.Errorf("%s %s: %+v %v, want since %q", c.message, c.field, f, ok, c.since)
		}
	}
	if _, ok := Lookup("mesh.Tracing", "provider"); ok {
		t.Error("defaultConfig.tracing.provider exists in no version")
	}
}

func TestMinors(t *testing.T) {
	for in, want := range map[string]string{"1.28.0": "1.28", "1.31-alpha.5": "1.31", "1.9": "1.9", "unknown": "", "": ""} {
		if got := Minor(in); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
	if !Less("1.9", "1.28") || Less("1.28", "1.9") || Less("", "1.9") {
		t.Error("order of minors")
	}
}

func root(t *testing.T, in string) *yamldoc.Value {
	t.Helper()
	docs, err := yamldoc.Read([]byte(in))
	if err != nil || len(docs) != 1 || docs[0].Err != nil {
		t.Fatalf("%v %v", docs, err)
	}
	return docs[0].Root
}
