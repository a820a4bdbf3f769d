package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
	"github.com/spanloom/spanloom/query/traceql"
)

// question is a query with its window.
type question struct {
	text       string
	start, end time.Time // zero start: all time
	limit      int
	spans      int
	step       time.Duration
}

// queryCommand asks a running server a TraceQL query.
func queryCommand() *cobra.Command {
	var flags serverFlags
	var since, output string
	var q question
	cmd := &cobra.Command{
		Use:   "query TRACEQL",
		Short: "Search traces or compute metrics with TraceQL",
		Long: "Asks a running Spanloom a TraceQL query and prints what it finds: traces, newest first, or, of a query that ends in a function such as\n" +
			"`| rate() by (resource.service.name)`, a line per series. While it runs it says how far it is.",
		Example: "  spanloom query '{ resource.service.name = \"reviews.bookinfo\" && status = error }'\n" +
			"  spanloom query --spans 3 '{ duration > 1s }'\n" +
			"  spanloom query --since 6h '{ kind = server } | quantile_over_time(duration, 0.95) by (resource.service.name)'",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return badOutput(output, "text", "json")
			}
			q.text, q.end = args[0], time.Now()
			parsed, err := traceql.Parse(q.text)
			if bad, ok := errors.AsType[*traceql.ParseError](err); ok {
				return fmt.Errorf("%w\n%s", err, bad.Caret())
			}
			if err != nil {
				return err
			}
			if since == "" && parsed.IsMetrics() {
				since = "1h"
			}
			if since != "" {
				d, err := query.ParseDuration(since)
				if err != nil || d <= 0 {
					return fmt.Errorf("--since %q is not a duration such as 30m, 6h or 2d", since)
				}
				q.start = q.end.Add(-d)
			}
			s, err := flags.find()
			if err != nil {
				return err
			}
			progress := newProgress(cmd.ErrOrStderr())
			if parsed.IsMetrics() {
				m, err := s.metrics(cmd.Context(), q, progress)
				if progress.clear(); err != nil {
					return err
				}
				return printAnswer(cmd.OutOrStdout(), m, output, func(out io.Writer) error { return printSeries(out, m) })
			}
			m, err := s.search(cmd.Context(), q, progress)
			if progress.clear(); err != nil {
				return err
			}
			return printAnswer(cmd.OutOrStdout(), m, output, func(out io.Writer) error { return printTraces(out, m, q.spans) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "how far back: 30m, 6h, 2d (default: everything for traces, 1h for metrics)")
	cmd.Flags().IntVar(&q.limit, "limit", 20, "traces, at most")
	cmd.Flags().IntVar(&q.spans, "spans", 0, "matching spans shown of each trace, at most")
	cmd.Flags().DurationVar(&q.step, "step", 0, "length of a step of metrics (default: a 240th of the window)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// search asks over gRPC, which tells how far it is, and over HTTP where something between speaks nothing newer.
func (s *server) search(ctx context.Context, q question, p *progress) (*tempopb.SearchResponse, error) {
	req := &tempopb.SearchRequest{Query: q.text, Limit: uint32(q.limit), SpansPerSpanSet: uint32(max(q.spans, 1))}
	v := url.Values{"q": {q.text}, "limit": {strconv.Itoa(q.limit)}, "spss": {strconv.Itoa(max(q.spans, 1))}}
	if !q.start.IsZero() {
		req.Start, req.End = uint32(q.start.Unix()), uint32(q.end.Unix()+1)
		v.Set("start", strconv.FormatUint(uint64(req.Start), 10))
		v.Set("end", strconv.FormatUint(uint64(req.End), 10))
	}
	all := &tempopb.SearchResponse{}
	err := follow(ctx, s, func(ctx context.Context, c tempopb.StreamingQuerierClient) (grpc.ServerStreamingClient[tempopb.SearchResponse], error) {
		return c.Search(ctx, req)
	}, func(m *tempopb.SearchResponse) {
		all.Traces = append(all.Traces, m.Traces...)
		if m.Metrics != nil {
			all.Metrics = m.Metrics
		}
		p.show(all.Metrics, count(len(all.Traces), "trace"))
	})
	if noGRPC(err) {
		err = s.getMessage(ctx, "/tempo/api/search?"+v.Encode(), all)
	}
	return all, err
}

func (s *server) metrics(ctx context.Context, q question, p *progress) (*tempopb.QueryRangeResponse, error) {
	req := &tempopb.QueryRangeRequest{Query: q.text, Start: uint64(q.start.UnixNano()), End: uint64(q.end.UnixNano()), Step: uint64(q.step)}
	v := url.Values{"q": {q.text}, "start": {strconv.FormatUint(req.Start, 10)}, "end": {strconv.FormatUint(req.End, 10)}}
	if q.step > 0 {
		v.Set("step", q.step.String())
	}
	all := &tempopb.QueryRangeResponse{}
	err := follow(ctx, s, func(ctx context.Context, c tempopb.StreamingQuerierClient) (grpc.ServerStreamingClient[tempopb.QueryRangeResponse], error) {
		return c.MetricsQueryRange(ctx, req)
	}, func(m *tempopb.QueryRangeResponse) {
		all.Series = append(all.Series, m.Series...)
		if m.Metrics != nil {
			all.Metrics = m.Metrics
		}
		all.Status, all.Message = m.Status, m.Message
		p.show(all.Metrics, count(len(all.Series), "line"))
	})
	if noGRPC(err) {
		err = s.getMessage(ctx, "/tempo/api/metrics/query_range?"+v.Encode(), all)
	}
	return all, err
}

// follow calls each with every message of a stream.
func follow[M any](ctx context.Context, s *server, open func(context.Context, tempopb.StreamingQuerierClient) (grpc.ServerStreamingClient[M], error), each func(*M)) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := open(s.withToken(ctx), tempopb.NewStreamingQuerierClient(conn))
	for err == nil {
		var m *M
		if m, err = stream.Recv(); err == nil {
			each(m)
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case noGRPC(err):
		return err
	default:
		return errors.New(status.Convert(err).Message())
	}
}

// noGRPC reports whether nobody there speaks gRPC: nobody at all, or a proxy of HTTP/1.
func noGRPC(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Unimplemented
}

// getMessage fetches a message in its JSON form.
func (s *server) getMessage(ctx context.Context, path string, m proto.Message) error {
	body, err := s.get(ctx, path)
	if err != nil {
		return err
	}
	proto.Reset(m)
	if err := protojson.Unmarshal(body, m); err != nil {
		return fmt.Errorf("read answer of %s: %w", s.base, err)
	}
	return nil
}
