package tempoapi

import (
	"context"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/queue/queuetest"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestPartialAnswers: an answer that a budget cut says so in each of its forms, and with what was found.
func TestPartialAnswers(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	for range 3 {
		if err := engine.Accept(t.Context(), storetest.Batch(t, bookinfo)); err != nil {
			t.Fatal(err)
		}
	}
	s := listening(t, New(Options{Query: query.New(query.Options{Reader: engine, Now: clock}), TraceQL: traceql.New(engine, traceql.Options{Now: clock, MaxSpans: 1})}))
	header, body := s.headers("/api/search", params("q", "{}"))
	if r := strictly[strictSearch](t, body); header.Get(query.HeaderPartial) == "" {
		t.Errorf("search: %v %+v", header, r)
	}
	stream, err := s.client.Search(s.context(), &tempopb.SearchRequest{Query: "{}"})
	all(t, stream, err)
	if got := strings.Join(stream.Trailer().Get(query.HeaderPartial), ""); got == "" || got != header.Get(query.HeaderPartial) {
		t.Errorf("trailer %q, header %q", got, header.Get(query.HeaderPartial))
	}
	if r := strictly[strictRange](t, s.get("/api/metrics/query_range", params("q", "{}|rate()", "step", "10s"))); r.Status != "PARTIAL" || r.Message == "" {
		t.Errorf("range: %+v", r)
	}
	if r := strictly[strictInstant](t, s.get("/api/metrics/query", params("q", "{}|rate()"))); r.Status != "PARTIAL" || r.Message == "" {
		t.Errorf("instant: %+v", r)
	}
}

// manyLines is an engine whose lists are not complete for a reason of several lines, as servers give them.
type manyLines struct{ store.Engine }

func (manyLines) Keys(context.Context, store.Scope, store.KeysQuery) ([]store.Key, store.Done, error) {
	return nil, store.Done{Reason: "the server says:\n\tno\x00room für ключ"}, nil
}

// TestReasonOfManyLines: a trailer with a line break would cost a client the whole answer.
func TestReasonOfManyLines(t *testing.T) {
	engine := mem.New(mem.Options{Now: clock})
	t.Cleanup(func() { _ = engine.Close() })
	s := listening(t, newAPIOver(t, manyLines{engine}, bookinfo))
	stream, err := s.client.SearchTagsV2(s.context(), &tempopb.SearchTagsRequest{Scope: "span"})
	all(t, stream, err)
	if got := stream.Trailer().Get(query.HeaderPartial); len(got) != 1 || got[0] != "the server says: no room f?r ????" {
		t.Errorf("trailer %q", got)
	}
}

// TestEngineAwayInTrailers: streams of lists say what the header says.
func TestEngineAwayInTrailers(t *testing.T) {
	s := listening(t, newAPIOver(t, queuetest.Away(t, clock), bookinfo))
	header, _ := s.headers("/api/v2/search/tags", params("scope", "span"))
	stream, err := s.client.SearchTagsV2(s.context(), &tempopb.SearchTagsRequest{Scope: "span"})
	all(t, stream, err)
	if got := strings.Join(stream.Trailer().Get(query.HeaderPartial), ""); got == "" || got != header.Get(query.HeaderPartial) {
		t.Errorf("trailer %q, header %q", got, header.Get(query.HeaderPartial))
	}
}
