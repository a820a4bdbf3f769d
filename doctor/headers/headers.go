// Package headers decodes the trace headers that people paste: B3 in both forms, W3C, Envoy's own, peer metadata.
package headers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spanloom/spanloom/internal/problem"
)

// Field is one thing a header says.
type Field struct {
	Header  string `json:"header"`
	Name    string `json:"name"`
	Value   string `json:"value"`
	Meaning string `json:"meaning,omitempty"`
}

// Decoded is what the headers say together.
type Decoded struct {
	TraceID  string   `json:"traceId,omitempty"` // 32 digits, left-padded
	SpanID   string   `json:"spanId,omitempty"`
	Sampled  string   `json:"sampled"` // yes, no, forced, deferred
	Fields   []Field  `json:"fields"`
	Warnings []string `json:"warnings"`
}

// MaxInput bounds what is read: more is no set of headers.
const MaxInput = 1 << 20

// Header is a name with a value.
type Header struct{ Name, Value string }

// Parse takes headers out of pasted text: "Name: value" lines (also those of curl -v), or JSON as echo services answer.
func Parse(data []byte) ([]Header, error) {
	if len(data) > MaxInput {
		return nil, problem.New(problem.TooLarge, fmt.Sprintf("%d bytes", len(data)), "paste the headers of one request")
	}
	text := strings.TrimSpace(string(data))
	if strings.HasPrefix(text, "{") {
		return parseJSON([]byte(text))
	}
	var out []Header
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "<>*"))
		line = strings.TrimSuffix(strings.TrimPrefix(line, `"`), `",`)
		name, value, ok := strings.Cut(line, ":")
		name = strings.Trim(name, `"' `)
		if !ok || name == "" || strings.ContainsAny(name, " /") {
			continue
		}
		out = append(out, Header{strings.ToLower(name), strings.Trim(strings.TrimSpace(value), `"'`)})
	}
	if len(out) == 0 {
		return nil, problem.New(problem.Invalid, "no header found", "paste lines such as `traceparent: 00-…`, or the JSON of an echo service")
	}
	return out, nil
}

func parseJSON(data []byte) ([]Header, error) {
	var top map[string]any
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Message: "the text begins like JSON and is none", Hint: "paste the whole answer, or header lines", Err: err}
	}
	if h, ok := top["headers"].(map[string]any); ok {
		top = h
	}
	var out []Header
	for name, v := range top {
		switch v := v.(type) {
		case string:
			out = append(out, Header{strings.ToLower(name), v})
		case []any:
			for _, item := range v {
				if s, ok := item.(string); ok {
					out = append(out, Header{strings.ToLower(name), s})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Header) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
	return out, nil
}

// decoder collects what the headers say; ids by family, to compare them.
type decoder struct {
	Decoded
	ids     map[string]string
	sampled map[string]string
}

// Decode reads the headers.
func Decode(hs []Header) Decoded {
	d := &decoder{ids: make(map[string]string), sampled: make(map[string]string)}
	d.Fields, d.Warnings = []Field{}, []string{}
	for _, h := range hs {
		d.header(h)
	}
	d.conclude()
	return d.Decoded
}

func (d *decoder) add(h Header, name, value, meaning string, args ...any) {
	d.Fields = append(d.Fields, Field{Header: h.Name, Name: name, Value: value, Meaning: fmt.Sprintf(meaning, args...)})
}

func (d *decoder) warn(text string, args ...any) {
	if w := fmt.Sprintf(text, args...); !slices.Contains(d.Warnings, w) {
		d.Warnings = append(d.Warnings, w)
	}
}

func (d *decoder) header(h Header) {
	switch h.Name {
	case "traceparent":
		d.traceparent(h)
	case "tracestate":
		for _, m := range strings.Split(h.Value, ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(m), "=")
			d.add(h, k, v, "state of the vendor %s", k)
		}
	case "b3":
		d.b3(h)
	case "x-b3-traceid":
		d.id(h, "B3", "trace id", h.Value, 32)
	case "x-b3-spanid":
		d.id(h, "B3", "span id", h.Value, 16)
	case "x-b3-parentspanid":
		d.id(h, "", "parent span id", h.Value, 16)
	case "x-b3-sampled":
		d.decision(h, "B3", h.Value)
	case "x-b3-flags":
		if h.Value == "1" {
			d.decision(h, "B3", "d")
		} else {
			d.add(h, "flags", h.Value, "not debug")
		}
	case "uber-trace-id":
		p := strings.Split(h.Value, ":")
		if len(p) == 4 {
			d.id(h, "Jaeger", "trace id", p[0], 32)
			d.id(h, "Jaeger", "span id", p[1], 16)
			flags, _ := strconv.ParseUint(p[3], 16, 8)
			d.decision(h, "Jaeger", strconv.FormatUint(flags&1, 10))
		}
		d.warn("uber-trace-id is Jaeger's old header: Envoy reads neither it nor its decision")
	case "x-request-id":
		d.requestID(h)
	case "x-envoy-peer-metadata":
		d.peer(h)
	case "x-envoy-peer-metadata-id":
		d.peerID(h)
	case "x-forwarded-client-cert":
		for _, part := range strings.FieldsFunc(h.Value, func(r rune) bool { return r == ';' || r == ',' }) {
			k, v, _ := strings.Cut(part, "=")
			if strings.EqualFold(k, "uri") || strings.EqualFold(k, "by") {
				d.add(h, strings.ToLower(k), strings.Trim(v, `"`), "identity over mutual TLS")
			}
		}
	default:
		if meaning, ok := known[h.Name]; ok {
			d.add(h, strings.TrimPrefix(h.Name, "x-envoy-"), h.Value, "%s", meaning)
		}
	}
}

// known are headers whose value needs no decoding.
var known = map[string]string{
	"x-envoy-attempt-count":              "which try of a request this is; more than 1 is a retry",
	"x-envoy-decorator-operation":        "Istio's name for the route; Envoy takes it as the span's name",
	"x-envoy-internal":                   "the request counts as internal",
	"x-envoy-external-address":           "address of the client as the edge saw it",
	"x-envoy-original-path":              "path before it was rewritten",
	"x-envoy-original-dst-host":          "address the client asked for",
	"x-envoy-upstream-service-time":      "milliseconds the upstream took",
	"x-envoy-force-trace":                "the request is traced whatever the rate",
	"x-envoy-expected-rq-timeout-ms":     "milliseconds the caller waits",
	"x-envoy-downstream-service-cluster": "cluster of the caller",
	"x-client-trace-id":                  "id of a client that asks for a trace",
	"x-ot-span-context":                  "Lightstep's context",
	"x-cloud-trace-context":              "Google Cloud's trace context: trace/span;o=sampled",
	"x-amzn-trace-id":                    "AWS's trace id; Envoy does not read it",
	"x-datadog-trace-id":                 "Datadog's trace id, decimal",
	"x-datadog-parent-id":                "Datadog's span id, decimal",
	"x-datadog-sampling-priority":        "Datadog's decision",
	"grpc-trace-bin":                     "OpenCensus's binary context",
	"baggage":                            "values that travel with the request",
	"x-forwarded-for":                    "addresses the request passed",
}

func (d *decoder) traceparent(h Header) {
	p := strings.Split(strings.TrimSpace(h.Value), "-")
	if len(p) < 4 || len(p[0]) != 2 || len(p[1]) != 32 || len(p[2]) != 16 || len(p[3]) != 2 {
		d.warn("traceparent %q is malformed: version-traceid-spanid-flags with 2, 32, 16 and 2 digits; it is ignored and a new trace begins", cut(h.Value))
		return
	}
	if p[0] == "ff" || p[0] == "00" && len(p) != 4 {
		d.warn("traceparent has version %s, which is not valid", p[0])
	}
	d.id(h, "W3C", "trace id", p[1], 32)
	d.id(h, "W3C", "span id", p[2], 16)
	flags, err := strconv.ParseUint(p[3], 16, 8)
	if err != nil {
		d.warn("traceparent's flags %q are no hex digits", p[3])
		return
	}
	d.decision(h, "W3C", strconv.FormatUint(flags&1, 10))
}

func (d *decoder) b3(h Header) {
	if h.Value == "0" || h.Value == "1" || h.Value == "d" {
		d.decision(h, "B3", h.Value)
		return
	}
	p := strings.Split(h.Value, "-")
	if len(p) < 2 {
		d.warn("b3 %q is malformed: traceid-spanid-sampled-parent, or 0", cut(h.Value))
		return
	}
	d.id(h, "B3", "trace id", p[0], 32)
	d.id(h, "B3", "span id", p[1], 16)
	if len(p) > 2 {
		d.decision(h, "B3", p[2])
	}
	if len(p) > 3 {
		d.id(h, "", "parent span id", p[3], 16)
	}
}

// id checks an id and keeps it by family.
func (d *decoder) id(h Header, family, name, value string, digits int) {
	v := strings.ToLower(strings.TrimSpace(value))
	if v == "" || len(v) > digits || strings.Trim(v, "0123456789abcdef") != "" {
		d.warn("%s: %s %q is no number of at most %d hex digits", h.Name, name, cut(value), digits)
		return
	}
	if strings.Trim(v, "0") == "" {
		d.warn("%s: %s is zero, which is not valid", h.Name, name)
		return
	}
	meaning := ""
	if name == "trace id" && len(v) <= 16 {
		meaning = "64 bits; stored with zeros in front"
	}
	v = strings.Repeat("0", digits-len(v)) + v
	d.add(h, name, v, "%s", meaning)
	if family != "" {
		key := family + " " + name
		if old := d.ids[key]; old != "" && old != v {
			d.warn("two %s headers disagree on the %s", family, name)
		}
		d.ids[key] = v
	}
}

func (d *decoder) decision(h Header, family, value string) {
	word := map[string]string{"1": "yes", "true": "yes", "0": "no", "false": "no", "d": "forced"}[strings.ToLower(value)]
	if word == "" {
		d.warn("%s: %q is no decision (0, 1, d)", h.Name, cut(value))
		return
	}
	meaning := map[string]string{"yes": "the caller traces this request, and proxies follow", "no": "the caller decided not to trace: no proxy behind it makes spans, whatever its rate is", "forced": "debug: traced by everyone"}[word]
	d.add(h, "sampled", word, "%s", meaning)
	d.sampled[family] = word
}

// requestID: Envoy keeps its decision in the 15th digit of a UUID.
func (d *decoder) requestID(h Header) {
	v := h.Value
	uuid := len(v) == 36 && v[8] == '-' && v[13] == '-' && v[18] == '-' && v[23] == '-'
	if !uuid {
		d.add(h, "request id", v, "no UUID")
		d.warn("x-request-id is no UUID: Envoy takes its sampling decision from it and may count the request as not traceable (useRequestIdForTraceSampling: false helps)")
		return
	}
	reason := map[byte]string{'4': "not traced, or not decided by Envoy", '9': "traced: sampled", 'a': "traced: forced", 'b': "traced: asked for by the client"}[v[14]]
	d.add(h, "request id", v, "%s", reason)
}

// maxMetadata of decoded peer metadata; Istio's own is below 4 KiB.
const maxMetadata = 64 << 10

func (d *decoder) peer(h Header) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(h.Value))
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(h.Value), "="))
	}
	if err != nil || len(raw) > maxMetadata {
		d.warn("x-envoy-peer-metadata is no base64 of at most %d bytes", maxMetadata)
		return
	}
	var s structpb.Struct
	if err := proto.Unmarshal(raw, &s); err != nil {
		d.warn("x-envoy-peer-metadata is no protobuf structure")
		return
	}
	d.warn("x-envoy-peer-metadata left the mesh: whoever gets it learns names, labels and addresses of pods (remove it at the egress, or use the metadata discovery of newer Istio)")
	d.flatten(h, "", structpb.NewStructValue(&s), 0)
}

func (d *decoder) flatten(h Header, path string, v *structpb.Value, depth int) {
	if depth > 8 || len(d.Fields) > 500 {
		return
	}
	switch k := v.GetKind().(type) {
	case *structpb.Value_StructValue:
		names := make([]string, 0, len(k.StructValue.GetFields()))
		for n := range k.StructValue.GetFields() {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			d.flatten(h, strings.TrimPrefix(path+"."+n, "."), k.StructValue.GetFields()[n], depth+1)
		}
	case *structpb.Value_ListValue:
		for i, item := range k.ListValue.GetValues() {
			d.flatten(h, fmt.Sprintf("%s[%d]", path, i), item, depth+1)
		}
	case *structpb.Value_StringValue:
		if k.StringValue != "" {
			d.add(h, path, k.StringValue, "")
		}
	case *structpb.Value_NumberValue:
		d.add(h, path, strconv.FormatFloat(k.NumberValue, 'g', -1, 64), "")
	case *structpb.Value_BoolValue:
		d.add(h, path, strconv.FormatBool(k.BoolValue), "")
	}
}

func (d *decoder) peerID(h Header) {
	p := strings.Split(h.Value, "~")
	if len(p) != 4 {
		d.warn("x-envoy-peer-metadata-id %q is not type~address~pod.namespace~domain", cut(h.Value))
		return
	}
	d.add(h, "proxy type", p[0], "sidecar, router or ztunnel")
	d.add(h, "address", p[1], "of the pod that sent the request")
	d.add(h, "pod", p[2], "name and namespace")
}

// conclude compares the families.
func (d *decoder) conclude() {
	for _, family := range []string{"W3C", "B3", "Jaeger"} {
		if id := d.ids[family+" trace id"]; id != "" && d.TraceID == "" {
			d.TraceID, d.SpanID = id, d.ids[family+" span id"]
		}
	}
	w3c, b3 := d.ids["W3C trace id"], d.ids["B3 trace id"]
	if w3c != "" && b3 != "" && w3c != b3 && (!short(w3c) && !short(b3) || w3c[16:] != b3[16:]) {
		d.warn("W3C and B3 carry different traces (%s, %s): somebody on the way speaks only one of them", w3c, b3)
	}
	d.Sampled = "deferred"
	for _, family := range []string{"W3C", "B3", "Jaeger"} {
		if s := d.sampled[family]; s != "" && d.Sampled == "deferred" {
			d.Sampled = s
		}
	}
	if d.sampled["W3C"] != "" && d.sampled["B3"] != "" && d.sampled["W3C"] != d.sampled["B3"] && d.sampled["B3"] != "forced" {
		d.warn("W3C and B3 carry different decisions (%s, %s)", d.sampled["W3C"], d.sampled["B3"])
	}
	if d.Sampled == "no" {
		d.warn("the caller decided not to trace: proxies make no spans of this request")
	}
}

// short ids have 64 bits and are compared with the lower half of others.
func short(id string) bool { return strings.HasPrefix(id, "0000000000000000") }

func cut(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
