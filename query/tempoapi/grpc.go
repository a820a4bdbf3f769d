package tempoapi

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Register adds StreamingQuerier to a gRPC server.
func (a *API) Register(s grpc.ServiceRegistrar) {
	tempopb.RegisterStreamingQuerierServer(s, &streams{API: a})
}

// streams is StreamingQuerier over the same questions as HTTP's.
type streams struct {
	tempopb.UnimplementedStreamingQuerierServer
	*API
}

func (s *streams) scope(ctx context.Context) store.Scope {
	return s.GRPCScope(ctx)
}

// answered turns an error into gRPC's form and logs what is our fault.
func (s *streams) answered(ctx context.Context, method string, err error) error {
	if err != nil && problem.Of(err).Kind == problem.Internal && ctx.Err() == nil {
		s.Log.ErrorContext(ctx, "tempo api", "method", method, "error", err)
	}
	return grpcError(err)
}

// partial is the header of HTTP as a trailer.
func partial(stream grpc.ServerStream, d store.Done) {
	if !d.Complete {
		stream.SetTrailer(metadata.Pairs(query.HeaderPartial, query.HeaderText(d.Reason)))
	}
}

// one sends the only message of a stream.
func one[M any](s *streams, stream grpc.ServerStreamingServer[M], method string, ask func(context.Context, store.Scope) (*M, store.Done, error)) error {
	m, done, err := ask(stream.Context(), s.scope(stream.Context()))
	if err != nil {
		return s.answered(stream.Context(), method, err)
	}
	partial(stream, done)
	return stream.Send(m)
}

// Search sends every trace once and complete, as clients keep its first copy; the last message has the final counts.
func (s *streams) Search(r *tempopb.SearchRequest, stream grpc.ServerStreamingServer[tempopb.SearchResponse]) error {
	return s.answered(stream.Context(), "Search", s.streamSearch(r, stream))
}

func (s *streams) streamSearch(r *tempopb.SearchRequest, stream grpc.ServerStreamingServer[tempopb.SearchResponse]) error {
	q, err := searchRequest(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	sent := make(map[span.TraceID]bool)
	found, err := s.runSearch(ctx, s.scope(ctx), q, func(r *traceql.SearchResult) {
		if err := sendTraces(stream, r, sent); err != nil {
			cancel(err) // the client is gone: so is the search
		}
	})
	if err != nil {
		return err
	}
	partial(stream, found.Done)
	return sendTraces(stream, found, sent)
}

// sendTraces sends the traces that were not sent yet in messages that clients take, the counts with the last of them.
func sendTraces(stream grpc.ServerStreamingServer[tempopb.SearchResponse], r *traceql.SearchResult, sent map[span.TraceID]bool) error {
	m, size := &tempopb.SearchResponse{}, 0
	for i := range r.Traces {
		if sent[r.Traces[i].TraceID] {
			continue
		}
		sent[r.Traces[i].TraceID] = true
		t := traceMetadata(&r.Traces[i])
		if n := proto.Size(t); size > 0 && size+n > maxMessage {
			if err := stream.Send(m); err != nil {
				return err
			}
			m, size = &tempopb.SearchResponse{}, 0
		}
		size += proto.Size(t)
		m.Traces = append(m.Traces, t)
	}
	m.Metrics = searchMetrics(r)
	return stream.Send(m)
}

func searchRequest(r *tempopb.SearchRequest) (q searchQuery, err error) {
	switch {
	case r.GetQuery() != "" && len(r.GetTags()) > 0:
		return q, invalid("Tags", "write the tags as conditions of the query", "query and tags cannot both be given")
	case r.GetQuery() != "":
		q.text = r.GetQuery()
	default:
		if len(r.GetTags()) > maxTags {
			return q, invalid("Tags", "leave some out", "there are more than %d tags", maxTags)
		}
		var tags []searchTag
		for key, value := range r.GetTags() {
			tags = append(tags, searchTag{key, value})
		}
		q.text = tagsText(tags)
	}
	if q.window, err = window(r.GetStart(), r.GetEnd(), true); err != nil {
		return q, err
	}
	q.atLeast, q.upTo = time.Duration(r.GetMinDurationMs())*time.Millisecond, time.Duration(r.GetMaxDurationMs())*time.Millisecond
	limit, spansPerSet := int(r.GetLimit()), int(r.GetSpansPerSpanSet())
	if limit == 0 {
		limit = defaultLimit
	}
	if spansPerSet == 0 {
		spansPerSet = defaultSpansPerSet
	}
	return q, q.bound(limit, spansPerSet)
}

// MetricsQueryRange sends counts while it runs and the series at the end, each series in one message: clients keep the first value
// of an instant, so nothing unfinished may be sent.
func (s *streams) MetricsQueryRange(r *tempopb.QueryRangeRequest, stream grpc.ServerStreamingServer[tempopb.QueryRangeResponse]) error {
	return s.answered(stream.Context(), "MetricsQueryRange", s.streamRange(r, stream))
}

func (s *streams) streamRange(r *tempopb.QueryRangeRequest, stream grpc.ServerStreamingServer[tempopb.QueryRangeResponse]) error {
	q := metricsQuery{text: r.GetQuery(), exemplars: int(r.GetExemplars()), maxSeries: int(r.GetMaxSeries())}
	if err := s.boundRequest(&q, r.GetStart(), r.GetEnd(), r.GetStep(), false); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	found, err := s.runMetrics(ctx, s.scope(ctx), q, func(r *traceql.MetricsResult) {
		if err := stream.Send(&tempopb.QueryRangeResponse{Metrics: metricsMetrics(r)}); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		return err
	}
	whole := rangeResponse(found, q.maxSeries)
	series := whole.Series
	whole.Series = nil
	size := 0
	for _, one := range series {
		n := proto.Size(one)
		if size > 0 && size+n > maxMessage {
			if err := stream.Send(whole); err != nil {
				return err
			}
			whole.Series, size = nil, 0
		}
		whole.Series, size = append(whole.Series, one), size+n
	}
	return stream.Send(whole)
}

// MetricsQueryInstant sends the answer as it grows: each message replaces the one before.
func (s *streams) MetricsQueryInstant(r *tempopb.QueryInstantRequest, stream grpc.ServerStreamingServer[tempopb.QueryInstantResponse]) error {
	return s.answered(stream.Context(), "MetricsQueryInstant", s.streamInstant(r, stream))
}

func (s *streams) streamInstant(r *tempopb.QueryInstantRequest, stream grpc.ServerStreamingServer[tempopb.QueryInstantResponse]) error {
	q := metricsQuery{text: r.GetQuery()}
	if err := s.boundRequest(&q, r.GetStart(), r.GetEnd(), 0, true); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	found, err := s.runMetrics(ctx, s.scope(ctx), q, func(r *traceql.MetricsResult) {
		if err := stream.Send(instantResponse(r, 0)); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		return err
	}
	return stream.Send(instantResponse(found, 0))
}

// boundRequest sets the times of a request, all in nanoseconds; 0 is absent.
func (s *streams) boundRequest(q *metricsQuery, start, end, step uint64, instant bool) error {
	const most = 1 << 62
	if start > most || end > most || step > most {
		return invalid("start", "times are nanoseconds since the epoch", "start %d, end %d or step %d is too large", start, end, step)
	}
	if step > 0 && step < uint64(time.Millisecond) {
		return invalid("step", "it is given in nanoseconds", "a step of %d ns is shorter than a millisecond", step)
	}
	now := s.Query.Now().UnixNano()
	from, to := int64(start), int64(end)
	if to == 0 {
		to = now
	}
	if from == 0 {
		from = max(to-int64(defaultSince), 0)
	}
	return q.bound(from, to, time.Duration(step), now, instant)
}

func (s *streams) SearchTags(r *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsResponse]) error {
	return one(s, stream, "SearchTags", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagsResponse, store.Done, error) {
		q, err := tagsRequest(r)
		if err != nil {
			return nil, store.Done{}, err
		}
		return s.tagNames(ctx, scope, q)
	})
}

func (s *streams) SearchTagsV2(r *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsV2Response]) error {
	return one(s, stream, "SearchTagsV2", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagsV2Response, store.Done, error) {
		q, err := tagsRequest(r)
		if err != nil {
			return nil, store.Done{}, err
		}
		return s.tagScopes(ctx, scope, q)
	})
}

func tagsRequest(r *tempopb.SearchTagsRequest) (q listQuery, err error) {
	q = listQuery{scope: r.GetScope(), filter: r.GetQuery(), limit: int(r.GetMaxTagsPerScope())}
	q.window, err = window(r.GetStart(), r.GetEnd(), false)
	return q, err
}

func (s *streams) SearchTagValues(r *tempopb.SearchTagValuesRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagValuesResponse]) error {
	return one(s, stream, "SearchTagValues", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagValuesResponse, store.Done, error) {
		q, err := valuesRequest(r)
		if err != nil {
			return nil, store.Done{}, err
		}
		m, done, err := s.tagValues(ctx, scope, bareTag(r.GetTagName()), q)
		if err != nil {
			return nil, store.Done{}, err
		}
		return withoutTypes(m), done, nil
	})
}

func (s *streams) SearchTagValuesV2(r *tempopb.SearchTagValuesRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagValuesV2Response]) error {
	return one(s, stream, "SearchTagValuesV2", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagValuesV2Response, store.Done, error) {
		t, err := parseIdentifier(r.GetTagName())
		if err != nil {
			return nil, store.Done{}, err
		}
		q, err := valuesRequest(r)
		if err != nil {
			return nil, store.Done{}, err
		}
		return s.tagValues(ctx, scope, t, q)
	})
}

func valuesRequest(r *tempopb.SearchTagValuesRequest) (q listQuery, err error) {
	q = listQuery{filter: r.GetQuery(), limit: int(r.GetMaxTagValues())}
	q.window, err = window(r.GetStart(), r.GetEnd(), false)
	return q, err
}
