package tempoapi

import (
	"context"

	"google.golang.org/grpc"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
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

// one sends the only message of a stream.
func one[M any](s *streams, stream grpc.ServerStreamingServer[M], method string, ask func(context.Context, store.Scope) (*M, error)) error {
	m, err := ask(stream.Context(), s.scope(stream.Context()))
	if err != nil {
		return s.answered(stream.Context(), method, err)
	}
	return stream.Send(m)
}

func (s *streams) SearchTags(r *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsResponse]) error {
	return one(s, stream, "SearchTags", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagsResponse, error) {
		q, err := tagsRequest(r)
		if err != nil {
			return nil, err
		}
		return s.tagNames(ctx, scope, q)
	})
}

func (s *streams) SearchTagsV2(r *tempopb.SearchTagsRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagsV2Response]) error {
	return one(s, stream, "SearchTagsV2", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagsV2Response, error) {
		q, err := tagsRequest(r)
		if err != nil {
			return nil, err
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
	return one(s, stream, "SearchTagValues", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagValuesResponse, error) {
		q, err := valuesRequest(r)
		if err != nil {
			return nil, err
		}
		m, err := s.tagValues(ctx, scope, bareTag(r.GetTagName()), q)
		if err != nil {
			return nil, err
		}
		return withoutTypes(m), nil
	})
}

func (s *streams) SearchTagValuesV2(r *tempopb.SearchTagValuesRequest, stream grpc.ServerStreamingServer[tempopb.SearchTagValuesV2Response]) error {
	return one(s, stream, "SearchTagValuesV2", func(ctx context.Context, scope store.Scope) (*tempopb.SearchTagValuesV2Response, error) {
		t, err := parseIdentifier(r.GetTagName())
		if err != nil {
			return nil, err
		}
		q, err := valuesRequest(r)
		if err != nil {
			return nil, err
		}
		return s.tagValues(ctx, scope, t, q)
	})
}

func valuesRequest(r *tempopb.SearchTagValuesRequest) (q listQuery, err error) {
	q = listQuery{filter: r.GetQuery(), limit: int(r.GetMaxTagValues())}
	q.window, err = window(r.GetStart(), r.GetEnd(), false)
	return q, err
}
