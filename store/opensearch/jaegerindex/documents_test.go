package jaegerindex_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/receive/jaeger"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// template is an index template with the fields and types that Jaeger 1.x and 2.x map (jaeger-span-7.json and jaeger-span-8.json of its
// repository at 05c8f1af and 0ab66e9b): keywords of at most 256 units, lists of tags as nested objects, objects of tags by dynamic templates.
func template(prefix string) string {
	keyword := map[string]any{"type": "keyword", "ignore_above": 256}
	number := map[string]any{"type": "long"}
	list := func(extra map[string]any) map[string]any {
		fields := map[string]any{}
		for k, v := range extra {
			fields[k] = v
		}
		return map[string]any{"type": "nested", "dynamic": false, "properties": fields}
	}
	tags := list(map[string]any{"key": keyword, "value": keyword, "type": keyword})
	object := map[string]any{"type": "object"}
	var dynamic []any
	for _, name := range []string{"tag", "process.tag", "scopeTag"} {
		dynamic = append(dynamic, map[string]any{strings.ReplaceAll(name, ".", "_") + "_map": map[string]any{"mapping": keyword, "path_match": name + ".*"}})
	}
	properties := map[string]any{
		"traceID": keyword, "spanID": keyword, "parentSpanID": keyword, "operationName": keyword,
		"startTime": number, "startTimeMillis": map[string]any{"type": "date", "format": "epoch_millis"}, "duration": number, "flags": map[string]any{"type": "integer"},
		"logs":       list(map[string]any{"timestamp": number, "fields": tags}),
		"process":    map[string]any{"properties": map[string]any{"serviceName": keyword, "tag": object, "tags": tags}},
		"references": list(map[string]any{"refType": keyword, "traceID": keyword, "spanID": keyword, "traceState": keyword, "flags": map[string]any{"type": "integer"}, "tags": tags}),
		"tag":        object, "tags": tags, "scopeTag": object, "scopeTags": tags,
	}
	p, err := json.Marshal(map[string]any{
		"index_patterns": []string{prefix + "jaeger-span-*"},
		"priority":       501,
		"template": map[string]any{
			"settings": map[string]any{"index.mapping.nested_fields.limit": 50, "number_of_shards": 2, "number_of_replicas": 0},
			"aliases":  map[string]any{prefix + "jaeger-span-read": map[string]any{}},
			"mappings": map[string]any{"dynamic_templates": dynamic, "properties": properties},
		},
	})
	if err != nil {
		panic(err)
	}
	return string(p)
}

// form is how a version of Jaeger writes documents.
type form int

const (
	one    form = iota // 1.x: values are text, short ids have 16 digits, parents are references
	two                // 2.x: values have types, ids all digits, parents a field
	fields             // --es.tags-as-fields.all
	legacy             // before 1.16: ids without zeros in front
	forms
)

// document writes a row of a batch as Jaeger does.
func document(b *span.Batch, row int, f form) string {
	d := map[string]any{
		"operationName": b.String(b.Name[row]), "startTime": b.Start[row] / 1000, "startTimeMillis": b.Start[row] / 1e6, "duration": b.Duration(row) / 1000,
		"spanID": b.SpanID[row].String(), "flags": 1,
	}
	trace := b.TraceID[row].String()
	if (f == one || f == fields) && b.TraceID[row].High() == 0 {
		trace = trace[16:]
	}
	if f == legacy {
		trace = strings.TrimLeft(trace, "0")
		d["spanID"] = strings.TrimLeft(b.SpanID[row].String(), "0")
	}
	d["traceID"] = trace
	references := []any{}
	if p := b.Parent[row]; !p.IsZero() {
		if f == two {
			d["parentSpanID"] = p.String()
		}
		references = append(references, map[string]any{"refType": "CHILD_OF", "traceID": trace, "spanID": p.String()})
	}
	for _, l := range b.LinksOf(row) {
		references = append(references, map[string]any{"refType": "FOLLOWS_FROM", "traceID": l.TraceID.String(), "spanID": l.SpanID.String()})
	}
	d["references"] = references

	list, object := []any{}, map[string]any{}
	tag := func(key, typ string, text string, value any) {
		if f == fields && typ != "binary" {
			object[strings.ReplaceAll(key, ".", "@")] = value
			return
		}
		if f == one || f == legacy || typ == "binary" {
			value = text
		}
		list = append(list, map[string]any{"key": key, "type": typ, "value": value})
	}
	attrs := func(r span.Range) {
		for _, a := range b.AttrsOf(r) {
			key, v := string(b.Key(a)), a.Value()
			switch a.Type {
			case span.TypeString:
				tag(key, "string", b.String(v.Str()), b.String(v.Str()))
			case span.TypeBool:
				tag(key, "bool", strconv.FormatBool(v.Bool()), v.Bool())
			case span.TypeInt:
				tag(key, "int64", strconv.FormatInt(v.Int(), 10), v.Int())
			case span.TypeDouble:
				number := v.Double()
				if number != number || number > 1e308 {
					tag(key, "string", "not a number", "not a number")
					continue
				}
				tag(key, "float64", strconv.FormatFloat(number, 'g', 10, 64), number)
			case span.TypeBytes:
				tag(key, "binary", hex.EncodeToString(b.Bytes(v.Str())), nil)
			default:
				tag(key, "string", "[list]", "[list]")
			}
		}
	}
	if k := b.Kind[row]; k != span.KindUnspecified {
		tag("span.kind", "string", k.String(), k.String())
	}
	switch b.Status[row] {
	case span.StatusError:
		tag("error", "bool", "true", true)
		if f == two {
			tag("otel.status_code", "string", "ERROR", "ERROR")
		}
	case span.StatusOK:
		tag("otel.status_code", "string", "OK", "OK")
	}
	for key, text := range map[string]span.Str{"otel.status_description": b.StatusMessage[row], "w3c.tracestate": b.TraceState[row], "otel.scope.name": b.Scopes[b.Scope[row]].Name} {
		if text.Len > 0 {
			tag(key, "string", b.String(text), b.String(text))
		}
	}
	attrs(b.SpanAttrs[row])
	d["tags"] = list
	if f == fields {
		d["tag"] = object
	}

	logs := []any{}
	for _, e := range b.EventsOf(row) {
		list, object = []any{}, map[string]any{}
		if e.Name.Len > 0 {
			list = append(list, map[string]any{"key": "event", "type": "string", "value": b.String(e.Name)})
		}
		was := f
		if f == fields { // fields of logs stay a list
			f = two
		}
		attrs(e.Attrs)
		f = was
		logs = append(logs, map[string]any{"timestamp": e.Time / 1000, "fields": list})
	}
	d["logs"] = logs

	list, object = []any{}, map[string]any{}
	attrs(b.Resources[b.Resource[row]].Attrs)
	process := map[string]any{"serviceName": b.String(b.Service[row]), "tags": list}
	if f == fields {
		process["tag"] = object
	}
	d["process"] = process
	p, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(p)
}

// index is the daily index of a document.
func index(prefix, doc string) string {
	var d struct{ StartTime int64 }
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		panic(err)
	}
	return prefix + "jaeger-span-" + time.UnixMicro(d.StartTime).UTC().Format("2006-01-02")
}

// odd are documents as hands and tools wrote them.
var odd = []string{
	// Both forms of tags, a number beyond 2^53, bytes, several references.
	`{"traceID":"00000000000000ab","spanID":"00000000000000a1","flags":1,"operationName":"both","references":[{"refType":"FOLLOWS_FROM","traceID":"00000000000000ab","spanID":"00000000000000a2"},{"refType":"CHILD_OF","traceID":"00000000000000ab","spanID":"00000000000000a3"},{"refType":"CHILD_OF","traceID":"00000000000000ac","spanID":"00000000000000a4"}],
"startTime":1767225600000001,"startTimeMillis":1767225600000,"duration":1500000,"tags":[{"key":"a","type":"int64","value":"9007199254740993"},{"key":"b","type":"binary","value":"00ff"},{"key":"span.kind","type":"string","value":"SERVER"}],
"tag":{"http@method":"GET","c":200,"error":"true"},"logs":[{"timestamp":1767225600000002,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"a","type":"string","value":"x"}]}],"process":{"serviceName":"front","tags":[{"key":"k8s.namespace.name","type":"string","value":"prod"}],"tag":{"host@name":"h"}}}`,
	// No process, no tags, parent of zeros.
	`{"traceID":"ab","spanID":"a9","parentSpanID":"0000000000000000","operationName":"alone","references":null,"startTime":1767225600000003,"startTimeMillis":1767225600000,"duration":0,"tags":null,"logs":null}`,
	`{"traceID":"000000000000000000000000000000ab","spanID":"00000000000000aa","parentSpanID":"00000000000000a1","flags":257,"operationName":"","references":null,"startTime":1767225600000004,"startTimeMillis":1767225600000,"duration":7,"tags":[{"key":"error","type":"bool","value":false},{"key":"a","type":"float64","value":1e+300}],"logs":null,"process":{"serviceName":"OTLPResourceNoServiceName","tags":[]}}`,
	// A long name and a long value are not in the index.
	`{"traceID":"00000000000000ad","spanID":"00000000000000a1","operationName":"` + strings.Repeat("long ", 60) + `","references":[],"startTime":1767225600000005,"startTimeMillis":1767225600000,"duration":8,"tags":[{"key":"a","type":"string","value":"` + strings.Repeat("v", 300) + `"},{"key":"e","type":"string","value":""}],"logs":[],"process":{"serviceName":"` + strings.Repeat("s", 300) + `","tags":[{"key":"service.namespace","type":"string","value":"deep"}]}}`,
	// A proxy without a name of its own.
	`{"traceID":"00000000000000ad","spanID":"00000000000000a2","operationName":"cart:80/*","references":[{"refType":"CHILD_OF","traceID":"00000000000000ad","spanID":"00000000000000a1"}],"startTime":1767225600000006,"startTimeMillis":1767225600000,"duration":9,"tags":[{"key":"node_id","type":"string","value":"sidecar~10.0.0.7~cart-66756cddfd-7rz4s.shop~x"},{"key":"span.kind","type":"string","value":"client"}],"logs":[],"process":{"serviceName":"unknown_service","tags":[]}}`,
}

// unreadable is a document that is no span.
const unreadable = `{"traceID":"xyz","spanID":"00000000000000a1","operationName":"none","references":[],"startTime":1767225600000007,"startTimeMillis":1767225600000,"duration":1,"tags":[],"logs":[],"process":{"serviceName":"front","tags":[]}}`

// decoded is a document as a batch of one row, that was received at its end.
func decoded(t testing.TB, doc string, settle func(*span.Batch)) *span.Batch {
	t.Helper()
	b := &span.Batch{Tenant: store.DefaultTenant}
	var d jaeger.Decoder
	d.Begin(b)
	if err := d.Document([]byte(doc)); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", doc, err))
	}
	b.Time[0] = int64(b.Start[0])
	b.Received = b.EndTime(0)
	settle(b)
	return b
}
