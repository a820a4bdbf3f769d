package jaegerapi

import (
	"context"
	"strconv"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// orphansOf counts for each trace of a page the spans whose parent is not here. Where a part of the store is away the page says so.
func (a *api) orphansOf(ctx context.Context, s store.Scope, page *store.Page) (map[span.TraceID]int, error) {
	if a.Reader == nil || len(page.Traces) == 0 {
		return nil, nil
	}
	ids := make([]span.TraceID, len(page.Traces))
	r := store.TimeRange{From: page.Traces[0].Start, To: page.Traces[0].End}
	for i := range page.Traces {
		t := &page.Traces[i]
		ids[i], r.From, r.To = t.TraceID, min(r.From, t.Start), max(r.To, t.End)
	}
	type spans struct {
		here    map[span.SpanID]bool
		parents map[span.SpanID]int // how many spans name it
	}
	traces := make(map[span.TraceID]*spans, len(ids))
	for b, err := range a.Reader.Traces(ctx, s, ids, around(r), store.Need{Columns: store.ColSpanID | store.ColParent}) {
		if err != nil {
			away, ok := query.Away(err)
			if !ok || ctx.Err() != nil {
				return nil, err
			}
			// Which parents are not here is not known.
			page.Complete, page.Reason, page.Away = false, away.Reason, true
			return nil, nil
		}
		for row, id := range b.TraceID {
			t := traces[id]
			if t == nil {
				t = &spans{make(map[span.SpanID]bool), make(map[span.SpanID]int)}
				traces[id] = t
			}
			if t.here[b.SpanID[row]] = true; !b.Parent[row].IsZero() {
				t.parents[b.Parent[row]]++
			}
		}
	}
	orphans := make(map[span.TraceID]int)
	for id, t := range traces {
		for parent, n := range t.parents {
			if !t.here[parent] {
				orphans[id] += n
			}
		}
	}
	return orphans, ctx.Err()
}

// appendSummaryJSON appends a TraceSummary of API v3.
func appendSummaryJSON(dst []byte, t *store.Summary, orphans int) []byte {
	dst = append(append(append(dst, `{"traceId":"`...), t.TraceID.String()...), '"')
	dst = otlpjson.AppendQuoted(append(dst, `,"rootServiceName":`...), t.RootService)
	dst = otlpjson.AppendQuoted(append(dst, `,"rootOperationName":`...), t.RootName)
	dst = strconv.AppendInt(append(dst, `,"minStartTimeUnixNano":"`...), t.Start, 10)
	dst = strconv.AppendInt(append(dst, `","maxEndTimeUnixNano":"`...), t.End, 10)
	dst = strconv.AppendInt(append(dst, `","spanCount":`...), int64(t.Spans), 10)
	dst = strconv.AppendInt(append(dst, `,"errorSpanCount":`...), int64(t.Errors), 10)
	dst = strconv.AppendInt(append(dst, `,"orphanSpanCount":`...), int64(orphans), 10)
	dst = append(dst, `,"services":[`...)
	for i, s := range t.Services {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = otlpjson.AppendQuoted(append(dst, `{"name":`...), s.Name)
		dst = strconv.AppendInt(append(dst, `,"spanCount":`...), int64(s.Spans), 10)
		dst = append(strconv.AppendInt(append(dst, `,"errorSpanCount":`...), int64(s.Errors), 10), '}')
	}
	return append(dst, `]}`...)
}

// appendSummary is appendSummaryJSON as field 1 of a FindTraceSummariesResponse.
func appendSummary(dst []byte, t *store.Summary, orphans int) []byte {
	dst, at := openField(dst, 1)
	dst = appendText(appendText(appendText(dst, 1, t.TraceID.String()), 2, t.RootService), 3, t.RootName)
	dst = appendFixed64(appendFixed64(dst, 4, uint64(t.Start)), 5, uint64(t.End))
	dst = appendVarint(appendVarint(appendVarint(dst, 6, uint64(t.Spans)), 7, uint64(t.Errors)), 8, uint64(orphans))
	for _, s := range t.Services {
		var service int
		dst, service = openField(dst, 9)
		dst = appendVarint(appendVarint(appendText(dst, 1, s.Name), 2, uint64(s.Spans)), 3, uint64(s.Errors))
		dst = closeField(dst, service)
	}
	return closeField(dst, at)
}
