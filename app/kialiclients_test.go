package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	gogo "github.com/gogo/protobuf/proto"
	"github.com/jaegertracing/jaeger-idl/model/v1"
	"github.com/jaegertracing/jaeger-idl/proto-gen/api_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// kialiHTTP is the mode use_grpc: false.
type kialiHTTP struct {
	base    string
	seconds int
}

// get ignores the status, as Kiali does: what is no envelope is an error.
func (k kialiHTTP) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

func (k kialiHTTP) up(ctx context.Context) error {
	_, err := k.services(ctx)
	return err
}

func (k kialiHTTP) services(ctx context.Context) ([]string, error) {
	var envelope struct{ Data []string }
	err := k.get(ctx, "/api/services", &envelope)
	return envelope.Data, err
}

type kialiEnvelope struct {
	Data []struct {
		TraceID string
		Spans   []struct {
			SpanID, OperationName, ProcessID string
			Duration                         int64
			References                       []struct{ RefType, SpanID string }
			Tags                             []struct {
				Key   string
				Value any
			}
		}
		Processes map[string]struct{ ServiceName string }
	}
	Errors []struct {
		Code int
		Msg  string
	}
}

func (e *kialiEnvelope) traces() map[string][]kialiSpan {
	out := make(map[string][]kialiSpan)
	for _, d := range e.Data {
		for _, s := range d.Spans {
			one := kialiSpan{Trace: d.TraceID, ID: s.SpanID, Operation: s.OperationName, Service: d.Processes[s.ProcessID].ServiceName,
				Tags: make(map[string]any), Duration: time.Duration(s.Duration) * time.Microsecond}
			for _, ref := range s.References {
				if one.Parent == "" && (ref.RefType == "CHILD_OF" || ref.RefType == "FOLLOWS_FROM") {
					one.Parent = ref.SpanID
				}
			}
			for _, tag := range s.Tags {
				one.Tags[tag.Key] = tag.Value
			}
			out[d.TraceID] = append(out[d.TraceID], one)
		}
	}
	return out
}

func (k kialiHTTP) find(ctx context.Context, q kialiQuery) (map[string][]kialiSpan, error) {
	v := url.Values{"service": {q.service}, "start": {fmt.Sprint(q.start.UnixMicro())}, "end": {fmt.Sprint(q.end.UnixMicro())}, "limit": {fmt.Sprint(q.limit)}}
	tags, err := json.Marshal(q.tags)
	if err != nil {
		return nil, err
	}
	v.Set("tags", string(tags))
	if q.minDuration > 0 {
		v.Set("minDuration", fmt.Sprintf("%dus", q.minDuration.Microseconds()))
	}
	var e kialiEnvelope
	err = k.get(ctx, "/api/traces?"+v.Encode(), &e)
	return e.traces(), err
}

func (k kialiHTTP) trace(ctx context.Context, id string) ([]kialiSpan, error) {
	var e kialiEnvelope
	if err := k.get(ctx, "/api/traces/"+id, &e); err != nil || len(e.Data) == 0 {
		if err == nil && len(e.Errors) == 0 {
			err = errors.New("neither data nor errors")
		}
		return nil, err
	}
	return e.traces()[e.Data[0].TraceID], nil
}

// kialiGRPC is the mode use_grpc: true.
type kialiGRPC struct{ api_v2.QueryServiceClient }

// jaegerCodec is the codec that Jaeger's own clients use with the types that Jaeger generates.
type jaegerCodec struct{}

func (jaegerCodec) Name() string                       { return "proto" }
func (jaegerCodec) Marshal(v any) ([]byte, error)      { return gogo.Marshal(v.(gogo.Message)) }
func (jaegerCodec) Unmarshal(data []byte, v any) error { return gogo.Unmarshal(data, v.(gogo.Message)) }

func newKialiGRPC(t *testing.T, addr string) kialiGRPC {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(jaegerCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return kialiGRPC{api_v2.NewQueryServiceClient(conn)}
}

func (k kialiGRPC) up(ctx context.Context) error {
	_, err := k.GetServices(ctx, &api_v2.GetServicesRequest{})
	return err
}

func (k kialiGRPC) services(ctx context.Context) ([]string, error) {
	r, err := k.GetServices(ctx, &api_v2.GetServicesRequest{})
	if err != nil {
		return nil, err
	}
	return r.Services, nil
}

// find sends a present duration of zero where none is wanted, as Kiali does.
func (k kialiGRPC) find(ctx context.Context, q kialiQuery) (map[string][]kialiSpan, error) {
	stream, err := k.FindTraces(ctx, &api_v2.FindTracesRequest{Query: &api_v2.TraceQueryParameters{ServiceName: q.service, Tags: q.tags,
		StartTimeMin: q.start, StartTimeMax: q.end, DurationMin: q.minDuration, SearchDepth: int32(q.limit)}})
	if err != nil {
		return nil, err
	}
	return readKiali(stream)
}

func (k kialiGRPC) trace(ctx context.Context, id string) ([]kialiSpan, error) {
	traceID, err := model.TraceIDFromString(id)
	if err != nil {
		return nil, err
	}
	stream, err := k.GetTrace(ctx, &api_v2.GetTraceRequest{TraceID: traceID})
	if err != nil {
		return nil, err
	}
	traces, err := readKiali(stream)
	if err != nil && regexp.MustCompile("NotFound.*trace not found").MatchString(err.Error()) {
		return nil, nil
	}
	for _, spans := range traces {
		return spans, err
	}
	return nil, err
}

// readKiali groups the spans of all parts by their trace.
func readKiali(stream interface {
	Recv() (*api_v2.SpansResponseChunk, error)
}) (map[string][]kialiSpan, error) {
	out := make(map[string][]kialiSpan)
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for _, s := range part.Spans {
			if s.Process == nil {
				return nil, fmt.Errorf("span %s has no process", s.SpanID)
			}
			one := kialiSpan{Trace: s.TraceID.String(), ID: s.SpanID.String(), Operation: s.OperationName, Service: s.Process.ServiceName,
				Tags: make(map[string]any), Duration: s.Duration}
			if len(s.References) > 0 {
				one.Parent = s.References[0].SpanID.String()
			}
			for _, tag := range s.Tags {
				one.Tags[tag.Key] = tag.Value()
			}
			out[one.Trace] = append(out[one.Trace], one)
		}
	}
}
