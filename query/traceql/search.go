package traceql

import (
	"context"
	"errors"
	"fmt"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// Pages of candidates grow: the first answers come soon, and a search that finds little does not ask thousands of times.
const (
	firstPage   = 64
	lastPage    = 4096
	spansAtOnce = 20_000 // spans of the traces that are read together
	// MaxLimit is the most traces a search answers.
	MaxLimit = query.MaxSearchLimit
)

// outOfTime is what engines answer with where the context's deadline ended a search.
const outOfTime = "out of time"

// search is one search on its way.
type search struct {
	engine  *Engine
	scope   store.Scope
	request SearchRequest
	program pipeline
	comp    *compiler
	need    store.Need
	runner  runner
	spent   cost
	result  *SearchResult
	sent    int // traces that progress was told of
	window  match.Window
}

func (e *Engine) search(ctx context.Context, s store.Scope, r SearchRequest, progress func(*SearchResult)) (*SearchResult, error) {
	if r.Query == nil || r.Query.IsMetrics() {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "q", Message: "a metrics query where traces are searched",
			Hint: "metrics have an address of their own; a search ends before rate()"}
	}
	if r.Limit == 0 {
		r.Limit = 20
	}
	if r.SpansPerSet == 0 {
		r.SpansPerSet = 3
	}
	if r.Limit < 0 || r.Limit > MaxLimit {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "limit", Message: fmt.Sprintf("limit is %d", r.Limit), Hint: fmt.Sprintf("use 1 to %d", MaxLimit)}
	}
	sr := &search{engine: e, scope: s, request: r, comp: newCompiler(), spent: cost{options: e.options},
		result: &SearchResult{Done: store.Done{Complete: true}}, window: match.Window{TimeRange: r.Range, Mode: store.Overlap}}
	var err error
	if sr.program, err = sr.comp.pipeline(r.Query.Pipeline); err != nil {
		return nil, err
	}
	sr.need = sr.comp.need()
	sr.need.Columns |= store.ColName
	sr.runner.ev = newEvaluator(sr.comp)

	limited, cancel := context.WithTimeout(ctx, e.options.MaxTime)
	defer cancel()
	sr.runner.cancelled, sr.runner.room = limited.Err, e.options.room()
	err = sr.pages(limited, progress)
	if reason, ok := sr.spent.partial(err); ok {
		sr.result.Complete, sr.result.Reason = false, reason
		err = nil
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	sr.count()
	return sr.result, nil
}

// count notes what the search took so far.
func (sr *search) count() {
	sr.result.Done = sr.spent.complete(sr.result.Done)
	sr.result.InspectedTraces, sr.result.InspectedSpans = sr.spent.traces, sr.spent.spans
}

// pages asks the engine for candidates until there are enough answers or none are left.
func (sr *search) pages(ctx context.Context, progress func(*SearchResult)) error {
	p := planPipeline(sr.request.Query.Pipeline)
	q := store.Search{Range: sr.request.Range, Mode: store.Overlap, Match: p.expr, Limit: firstPage}
	lowest, highest := traceBounds(sr.request.Query.Pipeline)
	bounded := sr.engine.reader.Can().TraceDuration
	if bounded {
		q.TraceDuration.Min = max(lowest, int64(sr.request.MinDuration))
		q.TraceDuration.Max = int64(sr.request.MaxDuration)
		if highest > 0 && (q.TraceDuration.Max == 0 || highest < q.TraceDuration.Max) {
			q.TraceDuration.Max = highest
		}
	}
	if p.exact && (bounded || sr.request.MinDuration == 0 && sr.request.MaxDuration == 0) {
		q.Limit = sr.request.Limit
	}
	for {
		page, err := sr.engine.reader.Search(ctx, sr.scope, &q)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		sr.spent.add(page.Read)
		if err := sr.page(ctx, page.Traces, progress); err != nil {
			return err
		}
		if !page.Complete {
			if page.Reason == outOfTime || ctx.Err() != nil {
				return errors.Join(context.DeadlineExceeded, ctx.Err())
			}
			sr.result.Complete, sr.result.Reason = false, page.Reason
			if page.Away {
				sr.spent.away = page.Done
			}
		}
		if page.Next == "" || len(sr.result.Traces) >= sr.request.Limit {
			return nil
		}
		q.Page = page.Next
		q.Limit = min(max(4*q.Limit, firstPage), lastPage)
	}
}

// page looks at the candidates of a page, some thousand spans at a time.
func (sr *search) page(ctx context.Context, candidates []store.Summary, progress func(*SearchResult)) error {
	kept := candidates[:0]
	for _, c := range candidates {
		d := c.End - c.Start
		if d >= int64(sr.request.MinDuration) && (sr.request.MaxDuration == 0 || d <= int64(sr.request.MaxDuration)) {
			kept = append(kept, c)
		}
	}
	for len(kept) > 0 && len(sr.result.Traces) < sr.request.Limit {
		n := together(kept)
		if err := sr.run(ctx, kept[:n]); err != nil {
			return err
		}
		kept = kept[n:]
		if progress != nil {
			sr.count()
			part := *sr.result
			part.Traces = sr.result.Traces[sr.sent:]
			sr.sent = len(sr.result.Traces)
			progress(&part)
		}
	}
	return nil
}

// run reads some traces and runs the query on each, in their order.
func (sr *search) run(ctx context.Context, list []store.Summary) error {
	ids, hint := idsOf(list)
	f, err := sr.engine.gather(ctx, sr.scope, ids, hint, sr.comp, sr.need, &sr.spent)
	if err != nil {
		return err
	}
	r := &sr.runner
	r.frame = f
	r.ev.bind(f.batch, f)
	for i := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := f.find(list[i].TraceID)
		if t == nil {
			continue // evicted in between
		}
		sr.spent.traces++
		input := r.begin(t, func(row int) bool { return sr.window.Row(f.batch, row) })
		if len(input.spans) == 0 {
			continue
		}
		r.sets = append(r.sets[:0], input)
		sets := sr.program.run(r, r.sets)
		if r.ev.err != nil {
			return r.ev.err
		}
		if len(sets) == 0 {
			continue
		}
		sr.add(&list[i], sets)
		if err := sr.spent.check(int64(f.batch.Size())); err != nil {
			return err
		}
		if len(sr.result.Traces) == sr.request.Limit {
			return nil
		}
	}
	return nil
}

// maxSets bounds the sets of one trace that are listed: by(span:id) makes one of every span.
const maxSets = 1000

// add puts a trace and its sets into the result.
func (sr *search) add(c *store.Summary, sets []spanset) {
	t := TraceResult{
		TraceID: c.TraceID, RootService: c.RootService, RootName: c.RootName, RootMissing: c.RootMissing,
		Start: c.Start, End: c.End, Received: c.Received, Spans: c.Spans, Errors: c.Errors, Services: c.Services,
	}
	if t.RootName == "" {
		t.RootName = query.PlainName(c.RootKind, c.RootService)
	}
	bytes := 300 + 40*len(t.Services)
	for _, set := range sets[:min(len(sets), maxSets)] {
		out := SpanSet{Matched: len(set.spans), Attrs: set.attrs}
		listed := set.spans
		if sr.request.SpansPerSet > 0 {
			listed = listed[:min(len(listed), sr.request.SpansPerSet)]
		}
		out.Spans = make([]MatchedSpan, len(listed))
		for i, local := range listed {
			out.Spans[i] = sr.span(int(sr.runner.rows[local]))
			bytes += 120
			for _, a := range out.Spans[i].Attrs {
				bytes += 80 + a.Value.size()
			}
		}
		t.Sets = append(t.Sets, out)
	}
	sr.spent.held += int64(bytes)
	sr.result.Traces = append(sr.result.Traces, t)
}

// span copies what answers show of a row.
func (sr *search) span(row int) MatchedSpan {
	ev := sr.runner.ev
	b := ev.batch
	m := MatchedSpan{SpanID: b.SpanID[row], Service: b.String(b.Service[row]), Kind: b.Kind[row], Start: b.Time[row], Duration: b.Duration(row)}
	m.Name = string(ev.name(row).s)
	for _, i := range sr.comp.order {
		ev.scratch, ev.text = ev.scratch[:0], ev.text[:0]
		if v := ev.get(i, row).value(); v.Type != TypeNil {
			m.Attrs = append(m.Attrs, Attr{Name: ev.fields[i].String(), Value: v})
		}
	}
	return m
}
