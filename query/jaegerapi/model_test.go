package jaegerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

// shown is a span as either API shows it, in comparable form: times in microseconds.
type shown struct {
	Trace, ID, Name, Service string
	Flags                    uint32
	Start, Duration          int64
	References, Tags         []string
	ProcessTags, Logs        []string
	Warnings                 []string
}

func shownModel(s *model.Span) shown {
	out := shown{Trace: s.TraceID.String(), ID: s.SpanID.String(), Name: s.OperationName, Service: s.Process.ServiceName, Flags: uint32(s.Flags),
		Start: s.StartTime.UnixMicro(), Duration: s.Duration.Microseconds(), Warnings: s.Warnings}
	for _, r := range s.References {
		out.References = append(out.References, r.RefType.String()+" "+r.TraceID.String()+" "+r.SpanID.String())
	}
	tags := func(list []model.KeyValue) (texts []string) {
		for _, kv := range list {
			texts = append(texts, fmt.Sprintf("%s %s %v", kv.Key, strings.ToLower(kv.VType.String()), kv.Value()))
		}
		return texts
	}
	out.Tags, out.ProcessTags = tags(s.Tags), tags(s.Process.Tags)
	for _, l := range s.Logs {
		out.Logs = append(out.Logs, fmt.Sprint(l.Timestamp.UnixMicro(), " ", tags(l.Fields)))
	}
	return out
}

// jsonTrace is all of a trace in v1's JSON.
type jsonTrace struct {
	TraceID string
	Spans   []struct {
		TraceID, SpanID, OperationName, ProcessID string
		Flags                                     uint32
		References                                []struct{ RefType, TraceID, SpanID string }
		StartTime, Duration                       int64
		Tags                                      []jsonTag
		Logs                                      []struct {
			Timestamp int64
			Fields    []jsonTag
		}
		Warnings []string
	}
	Processes map[string]struct {
		ServiceName string
		Tags        []jsonTag
	}
}

type jsonTag struct {
	Key, Type string
	Value     any
}

func shownJSON(t *jsonTrace) (list []shown) {
	tags := func(tags []jsonTag) (texts []string) {
		for _, tag := range tags {
			v := tag.Value
			if f, ok := v.(json.Number); ok && tag.Type == "float64" {
				n, _ := f.Float64()
				v = n
			}
			if text, ok := v.(string); ok && tag.Type == "binary" {
				var p []byte
				_ = json.Unmarshal([]byte(`"`+text+`"`), &p)
				v = p
			}
			texts = append(texts, fmt.Sprintf("%s %s %v", tag.Key, tag.Type, v))
		}
		return texts
	}
	for _, s := range t.Spans {
		p := t.Processes[s.ProcessID]
		out := shown{Trace: s.TraceID, ID: s.SpanID, Name: s.OperationName, Service: p.ServiceName, Flags: s.Flags, Start: s.StartTime, Duration: s.Duration,
			Tags: tags(s.Tags), ProcessTags: tags(p.Tags), Warnings: s.Warnings}
		for _, r := range s.References {
			out.References = append(out.References, r.RefType+" "+r.TraceID+" "+r.SpanID)
		}
		for _, l := range s.Logs {
			out.Logs = append(out.Logs, fmt.Sprint(l.Timestamp, " ", tags(l.Fields)))
		}
		list = append(list, out)
	}
	return list
}

const mapped = `
1 a - front server "GET /" 1s 10ms http.status_code=200 ok=true off=false ratio=72.5 big=9007199254740993 neg=-5 data=bytes:0102 nothing=null list=["x","y"] resource:pod=front-1 @flags=1
  event exception 3s exception.type=Timeout count=3
  event "" 2s event=own
  link ffffffffffffffff0000000000000009 9 why=retry
  link 1 77 opentracing.ref_type=child_of
1 a a cart server "GET /" 1001ms 5ms @mark=shared,debug telemetry.sdk.name=x ip=167772161
1 b a cart client "" 1002ms 3ms @status=error @message=boom @scope=lib @scope.version=1 @state=k=v error=odd span.kind=odd
1 c ff cart internal late 0s -5s @mark=cut
1 d a cart internal none none 1ms
aaaaaaaaaaaaaaaa0000000000000002 1 - other consumer take 2s 1ms
`

// TestModelIsWhatHTTPShows reads traces with Jaeger's generated types and compares every field with the JSON of HTTP v1,
// which the golden files hold.
func TestModelIsWhatHTTPShows(t *testing.T) {
	for name, spans := range map[string]string{"fields": mapped, "large": bigTrace(2500)} {
		for _, raw := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " raw ", raw), func(t *testing.T) {
				o, _ := optionsOf(t, spans)
				v2, api := dialV2(t, o), New(o)
				for _, id := range []string{"1", "abc", "aaaaaaaaaaaaaaaa0000000000000002"} {
					w := ask(t, api, "GET", "/api/traces/"+id+"?raw="+fmt.Sprint(raw))
					if w.Code != 200 {
						continue
					}
					var envelope struct{ Data []jsonTrace }
					d := json.NewDecoder(w.Body)
					d.UseNumber()
					if err := d.Decode(&envelope); err != nil {
						t.Fatal(err)
					}
					want := shownJSON(&envelope.Data[0])
					traceID, err := model.TraceIDFromString(id)
					if err != nil {
						t.Fatal(err)
					}
					stream, err := v2.GetTrace(t.Context(), &api_v2.GetTraceRequest{TraceID: traceID, RawTraces: raw})
					spans, parts, failed := chunks(t, stream, err)
					if failed != nil || len(spans) != len(want) || parts < (len(spans)+chunkRows-1)/chunkRows {
						t.Fatalf("%d spans in %d parts, %v; want %d", len(spans), parts, failed, len(want))
					}
					for i := range spans {
						if got := shownModel(&spans[i]); !reflect.DeepEqual(got, want[i]) {
							t.Fatalf("gRPC shows\n%+v\nHTTP shows\n%+v", got, want[i])
						}
					}
				}
			})
		}
	}
}

// TestV3IsWhatHTTPShows reads OTLP from both transports with the Collector's decoder.
func TestV3IsWhatHTTPShows(t *testing.T) {
	o, _ := optionsOf(t, mapped+bigTrace(1200))
	conn, api := dialGRPC(t, o), New(o)
	for _, raw := range []string{"false", "true"} {
		for _, id := range []string{"1", "abc", "aaaaaaaaaaaaaaaa0000000000000002"} {
			w := ask(t, api, "GET", "/api/v3/traces/"+id+"?raw_traces="+raw)
			var envelope struct{ Result json.RawMessage }
			if err := json.Unmarshal(w.Body.Bytes(), &envelope); err != nil || w.Code != 200 {
				t.Fatalf("%d %v", w.Code, err)
			}
			want, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(envelope.Result)
			if err != nil {
				t.Fatal(err)
			}
			request := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), id)
			if raw == "true" {
				request = append(request, 4<<3, 1)
			}
			stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/jaeger.api_v3.QueryService/GetTrace", grpc.ForceCodec(rawCodec{}))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(stream.SendMsg(&request), stream.CloseSend()); err != nil {
				t.Fatal(err)
			}
			var all []string
			for {
				var part []byte
				if err := stream.RecvMsg(&part); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				got, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(part)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, spanTexts(got)...)
			}
			wanted := spanTexts(want)
			slices.Sort(all)
			slices.Sort(wanted)
			if len(all) == 0 || !slices.Equal(all, wanted) {
				t.Errorf("trace %s raw %s: %d spans over gRPC, %d over HTTP, or they differ: %q", id, raw, len(all), len(wanted), all[:min(1, len(all))])
			}
		}
	}
}

// spanTexts is every span with its resource and scope as text.
func spanTexts(traces ptrace.Traces) (texts []string) {
	for _, r := range traces.ResourceSpans().All() {
		for _, s := range r.ScopeSpans().All() {
			for _, one := range s.Spans().All() {
				alone := ptrace.NewTraces()
				in := alone.ResourceSpans().AppendEmpty()
				r.Resource().CopyTo(in.Resource())
				in.SetSchemaUrl(r.SchemaUrl())
				scope := in.ScopeSpans().AppendEmpty()
				s.Scope().CopyTo(scope.Scope())
				scope.SetSchemaUrl(s.SchemaUrl())
				one.CopyTo(scope.Spans().AppendEmpty())
				text, err := new(ptrace.JSONMarshaler).MarshalTraces(alone)
				if err != nil {
					panic(err) // what was just decoded can be encoded
				}
				texts = append(texts, string(text))
			}
		}
	}
	return texts
}

// TestV3Summaries compares the summaries of both transports.
func TestV3Summaries(t *testing.T) {
	o, _ := optionsOf(t, searched+"7 1 99 lost client call 1s 2ms\n")
	api := New(o)
	type summary struct {
		TraceID           string
		OrphanSpanCount   int32
		SpanCount         int32
		RootOperationName string
		Services          []struct{ Name string }
	}
	var page struct{ Summaries []summary }
	w := ask(t, api, "GET", "/api/v3/trace-summaries?query.startTimeMin=2026-01-01T00:00:00Z&query.startTimeMax=2026-01-01T01:00:00Z")
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Summaries) != 6 {
		t.Fatalf("%v %s", err, w.Body)
	}
	files, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	d, err := files.FindDescriptorByName("jaeger.api_v3.FindTraceSummariesResponse")
	if err != nil {
		t.Fatal(err)
	}
	from := appendTime(nil, 4, storetest.Epoch.UnixNano(), false)
	query := appendBytes(nil, 1, appendTime(from, 5, clock().UnixNano(), false))
	got := dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
	if err := newAPI(o).findSummaries(t.Context(), store.Scope{Tenant: store.DefaultTenant}, query, func(p []byte) error { return proto.Unmarshal(p, got) }); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	over := page
	over.Summaries = nil
	if err := json.Unmarshal(text, &over); err != nil || !reflect.DeepEqual(over, page) {
		t.Errorf("%v\n%s\nwant\n%s", err, text, w.Body)
	}
	if i := slices.IndexFunc(page.Summaries, func(s summary) bool { return strings.HasSuffix(s.TraceID, "7") }); page.Summaries[i].OrphanSpanCount != 1 {
		t.Errorf("%+v", page.Summaries[i])
	}
}
