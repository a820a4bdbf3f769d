package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/spanloom/spanloom/internal/otlpclient"
)

// sink is a receiver that keeps the ids of all spans and their facts where a decoder other than ours can read them.
type sink struct {
	ptraceotlp.UnimplementedGRPCServer
	mu       sync.Mutex
	spans    map[string]int   // "trace span" -> times received
	attrs    map[string]facts // -> attributes
	requests []int            // spans of each
	senders  []string         // the service of each request
	refuse   func(n int) (status int, header http.Header, err error)
	reject   int64 // answered as partial success
	calls    int
	chunked  bool // a request came without Content-Length
}

func newSink() *sink { return &sink{spans: map[string]int{}, attrs: map[string]facts{}} }

func (s *sink) begin() (int, http.Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.refuse == nil {
		return 0, nil, nil
	}
	return s.refuse(s.calls)
}

func (s *sink) traces(td ptrace.Traces) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range td.ResourceSpans().Len() {
		rs := td.ResourceSpans().At(i)
		service, _ := rs.Resource().Attributes().Get("service.name")
		s.senders = append(s.senders, service.Str())
		for j := range rs.ScopeSpans().Len() {
			spans := rs.ScopeSpans().At(j).Spans()
			for k := range spans.Len() {
				sp := spans.At(k)
				f := facts{"name": sp.Name(), "start": fmt.Sprint(uint64(sp.StartTimestamp())), "end": fmt.Sprint(uint64(sp.EndTimestamp())),
					"kind": fmt.Sprint(int(sp.Kind()))}
				for key, v := range sp.Attributes().All() {
					f.put("attribute "+key, quoted(v.Str()))
				}
				s.keep(sp.TraceID().String()+" "+sp.SpanID().String(), f)
				n++
			}
		}
	}
	s.requests = append(s.requests, n)
}

func (s *sink) keep(id string, f facts) {
	s.spans[id]++
	s.attrs[id] = f
}

func (s *sink) Export(_ context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	if _, _, err := s.begin(); err != nil {
		return ptraceotlp.NewExportResponse(), err
	}
	s.traces(r.Traces())
	resp := ptraceotlp.NewExportResponse()
	if s.reject > 0 {
		resp.PartialSuccess().SetRejectedSpans(s.reject)
		resp.PartialSuccess().SetErrorMessage("bad ids")
	}
	return resp, nil
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	code, header, err := s.begin()
	body, readErr := io.ReadAll(r.Body)
	if err == nil {
		err = readErr
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	if code != 0 {
		http.Error(w, "not now", code)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.chunked = s.chunked || r.ContentLength < 0
	s.mu.Unlock()
	isJSON := r.Header.Get("Content-Type") == "application/json"
	if strings.HasPrefix(r.URL.Path, "/v1/traces") {
		s.otlp(w, body, isJSON)
		return
	}
	if isJSON {
		err = s.zipkinJSON(body)
	} else {
		err = s.zipkinProto(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s *sink) otlp(w http.ResponseWriter, body []byte, isJSON bool) {
	req, resp := ptraceotlp.NewExportRequest(), ptraceotlp.NewExportResponse()
	if s.reject > 0 {
		resp.PartialSuccess().SetRejectedSpans(s.reject)
	}
	var (
		err error
		out []byte
	)
	if isJSON {
		if err = req.UnmarshalJSON(body); err == nil {
			out, err = resp.MarshalJSON()
		}
	} else if err = req.UnmarshalProto(body); err == nil {
		out, err = resp.MarshalProto()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.traces(req.Traces())
	w.Write(out)
}

func (s *sink) zipkinJSON(body []byte) error {
	var list []struct {
		TraceID, ID, Name, Kind string
		Timestamp, Duration     int64
		LocalEndpoint           struct{ ServiceName, IPv4 string }
		Tags                    map[string]string
		Annotations             []struct {
			Timestamp int64
			Value     string
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, len(list))
	for _, z := range list {
		f := facts{"name": z.Name, "kind": map[string]string{"SERVER": "2", "CLIENT": "3"}[z.Kind],
			"start": fmt.Sprint(z.Timestamp * 1000), "end": fmt.Sprint((z.Timestamp + z.Duration) * 1000)}
		for k, v := range z.Tags {
			f.put("attribute "+k, quoted(v))
		}
		f.put("attribute net.host.ip", quoted(z.LocalEndpoint.IPv4))
		s.keep(z.TraceID+" "+z.ID, f)
	}
	s.senders = append(s.senders, list[0].LocalEndpoint.ServiceName)
	return nil
}

func (s *sink) zipkinProto(body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	err := otlpclient.EachField(body, func(_ protowire.Number, v []byte, _ uint64) error {
		var trace, id []byte
		n++
		err := otlpclient.EachField(v, func(field protowire.Number, v []byte, _ uint64) error {
			switch field {
			case 1:
				trace = v
			case 3:
				id = v
			}
			return nil
		})
		s.spans[fmt.Sprintf("%x %x", trace, id)]++
		return err
	})
	s.requests = append(s.requests, n)
	return err
}

// serve starts the sink for a protocol and answers its address.
func (s *sink) serve(t *testing.T, p Protocol) string {
	t.Helper()
	if p != OTLPGRPC {
		srv := httptest.NewServer(s)
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	ptraceotlp.RegisterGRPCServer(srv, s)
	go srv.Serve(lis)
	t.Cleanup(srv.Stop)
	return lis.Addr().String()
}
