package tempoapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
)

// TestLargeAnswersAreSplit: a client takes 4 MiB a message, so an answer of 9 MB comes in several, and a trace that alone is
// larger with fewer of its spans.
func TestLargeAnswersAreSplit(t *testing.T) {
	var spans strings.Builder
	for i := range 300 {
		fmt.Fprintf(&spans, "%x 1 - front server root %dms 1ms big=%s\n", i+1, i, strings.Repeat("x", 30_000))
	}
	for i := range 100 {
		fmt.Fprintf(&spans, "fff %x - huge server root 1s 1ms big=%s\n", i+1, strings.Repeat("y", 60_000))
	}
	s := newServer(t, spans.String())
	stream, err := s.client.Search(s.context(), &tempopb.SearchRequest{Query: `{ resource.service.name = "front" } | select(.big)`, Limit: 1000})
	messages := all(t, stream, err)
	seen := make(map[string]bool)
	for _, m := range messages {
		for _, trace := range m.Traces {
			seen[trace.TraceID] = true
			if got := trace.SpanSet.Spans[0].Attributes[0].Value.GetStringValue(); len(got) != 30_000 && trace.SpanSet.Spans[0].Attributes[0].Key == "big" {
				t.Errorf("trace %s: a value of %d bytes", trace.TraceID, len(got))
			}
		}
	}
	if len(messages) < 4 || len(seen) != 300 {
		t.Errorf("%d traces in %d messages", len(seen), len(messages))
	}
	stream, err = s.client.Search(s.context(), &tempopb.SearchRequest{Query: `{ resource.service.name = "huge" } | select(.big)`, SpansPerSpanSet: 100})
	found := 0
	for _, m := range all(t, stream, err) {
		for _, trace := range m.Traces {
			found++
			if n := len(trace.SpanSet.Spans); n == 0 || n > 50 || trace.SpanSet.Matched != 100 {
				t.Errorf("%d spans listed, %d matched", n, trace.SpanSet.Matched)
			}
		}
	}
	if found != 1 {
		t.Errorf("the huge trace came %d times", found)
	}
}

// stuck is an engine that answers nothing until its caller gives up.
type stuck struct {
	store.Reader
	asked, released chan struct{}
}

func (s *stuck) Search(ctx context.Context, _ store.Scope, _ *store.Search) (*store.Page, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	s.released <- struct{}{}
	return nil, ctx.Err()
}

// TestCancelReachesTheEngine: who hangs up stops the work.
func TestCancelReachesTheEngine(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	reader := &stuck{engine, make(chan struct{}), make(chan struct{})}
	s := listening(t, New(Options{Query: query.New(query.Options{Reader: reader, Now: clock}), TraceQL: traceql.New(reader, traceql.Options{Now: clock})}))

	ctx, cancel := context.WithCancel(s.context())
	stream, err := s.client.Search(ctx, &tempopb.SearchRequest{Query: "{}"})
	if err != nil {
		t.Fatal(err)
	}
	<-reader.asked
	cancel()
	<-reader.released
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ends with %v", err)
	}

	ctx, cancel = context.WithCancel(s.context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/search?q=%7B%7D", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	<-reader.asked
	cancel()
	<-reader.released
	if err := <-done; err == nil {
		t.Error("a cancelled request was answered")
	}
}
