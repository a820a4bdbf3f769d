package uiapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
)

// question is what a reader looks for: filters, or a TraceQL query.
type question struct {
	query.Filters
	traceql *traceql.Query // nil: the filters
}

// question reads the parameters filter and q; one of them may be given.
func (c *call) question() (question, error) {
	text, filters := c.params.Get("q"), c.params["filter"]
	if text != "" && len(filters) > 0 {
		return question{}, &problem.Problem{Kind: problem.Invalid, Field: "q", Message: "q and filter are both given", Hint: "write the filters as conditions of q"}
	}
	if text == "" {
		f, err := query.ParseFilters(filters)
		return question{Filters: f}, err
	}
	q, err := traceql.Parse(text)
	if err != nil {
		return question{}, err
	}
	if q.IsMetrics() {
		return question{}, &problem.Problem{Kind: problem.Invalid, Field: "q", Message: "a metrics query where traces are searched", Hint: "leave out the part from | rate() on"}
	}
	return question{traceql: q}, nil
}

// onSpans is the question as a condition on single spans; nil is every span that counts where nothing is asked.
func (q question) onSpans() (store.Expr, error) {
	if q.traceql == nil {
		return q.Match, nil
	}
	cond, ok := traceql.SpanCondition(q.traceql)
	if !ok {
		return nil, &problem.Problem{Kind: problem.Unsupported, Field: "q", Message: "this TraceQL query is about whole traces, not about single spans",
			Hint: "a query of one { … } without parent, child or arithmetic conditions works"}
	}
	return cond, nil
}

// asked is one page of a search as it is asked for.
type asked struct {
	question
	window store.TimeRange
	limit  int
	page   string // of the store, for filters
	skip   int    // traces of the pages before, for TraceQL
}

func (c *call) asked() (s asked, err error) {
	if s.question, err = c.question(); err != nil {
		return s, err
	}
	if s.limit, err = c.number("limit", 20, 1, maxListed); err != nil {
		return s, err
	}
	if s.window, err = c.window(); err != nil {
		return s, err
	}
	if page := c.params.Get("page"); page != "" {
		if s.window, s.page, err = readPage(page); err != nil {
			return s, err
		}
		if s.traceql != nil {
			if s.skip, err = strconv.Atoi(s.page); err != nil || s.skip < 1 || s.skip > query.MaxSearchLimit {
				return s, badPage(page)
			}
		}
	}
	return s, nil
}

// found is a part of an answer, or all of it.
type found struct {
	traces []store.Summary
	next   string // token of the own API
	store.Done
}

// run answers a page in parts: each is called with the traces found since its last call and what was read so far. The result holds
// what the last part did not.
func (a *api) run(ctx context.Context, c *call, s asked, each func(found)) (found, error) {
	if s.traceql != nil {
		return a.runTraceQL(ctx, c, s, each)
	}
	plan := store.Search{Mode: store.Overlap, Match: s.Match, TraceDuration: s.TraceDuration, Range: s.window, Page: s.page}
	total := store.Done{Complete: true}
	for left, size := s.limit, firstPart; ; size = laterPart {
		plan.Limit = left
		if each != nil {
			plan.Limit = min(left, size)
		}
		page, err := a.Query.Search(ctx, c.scope, &plan)
		if err != nil {
			return found{Done: total}, err
		}
		total.Read.Of = max(total.Read.Of, page.Read.Of)
		total.Read.Blocks = min(total.Read.Blocks+page.Read.Blocks, total.Read.Of) // a block may be read for two pages
		total.Read.Bytes += page.Read.Bytes
		total.Complete, total.Reason, total.Away = page.Complete, page.Reason, page.Away
		next := ""
		if page.Next != "" {
			next = writePage(s.window, page.Next)
		}
		part := found{traces: page.Traces, next: next, Done: total}
		left -= plan.Limit
		if page.Next == "" || left <= 0 || !page.Complete {
			return part, nil
		}
		each(part)
		plan.Page = page.Next
	}
}

// The first traces of a stream are asked for alone, so that they are seen soon.
const (
	firstPart = 20
	laterPart = 100
)

// runTraceQL runs the query anew for every page and leaves out what the pages before had: its answers have no snapshot.
func (a *api) runTraceQL(ctx context.Context, c *call, s asked, each func(found)) (found, error) {
	limit := min(s.skip+s.limit+1, query.MaxSearchLimit) // one more tells whether there is a next page
	leave, err := a.Query.Admit(ctx, query.Page)
	if err != nil {
		return found{}, err
	}
	defer leave()
	seen := 0
	part := func(r *traceql.SearchResult) found {
		f := found{Done: r.Done}
		for i := range r.Traces {
			if seen++; seen > s.skip && seen <= s.skip+s.limit {
				f.traces = append(f.traces, summaryOf(&r.Traces[i]))
			}
		}
		return f
	}
	var progress func(*traceql.SearchResult)
	if each != nil {
		progress = func(r *traceql.SearchResult) { each(part(r)) }
	}
	result, err := a.TraceQL.Search(ctx, c.scope, traceql.SearchRequest{Query: s.traceql, Range: s.window, Limit: limit, SpansPerSet: 1}, progress)
	if err != nil {
		return found{}, err
	}
	all := len(result.Traces)
	rest := *result
	rest.Traces = result.Traces[min(seen, all):]
	f := part(&rest)
	if all > s.skip+s.limit {
		f.next = writePage(s.window, strconv.Itoa(s.skip+s.limit))
	}
	return f, nil
}

// summaryOf is a trace of TraceQL's answer as searches list it.
func summaryOf(t *traceql.TraceResult) store.Summary {
	s := store.Summary{TraceID: t.TraceID, Start: t.Start, End: t.End, RootService: t.RootService, RootName: t.RootName, RootMissing: t.RootMissing,
		Spans: t.Spans, Errors: t.Errors, Services: t.Services, Received: t.Received}
	for i := range t.Sets {
		s.Matched += t.Sets[i].Matched
	}
	return s
}

func (a *api) search(c *call) error {
	s, err := c.asked()
	if err != nil {
		return err
	}
	f, err := a.run(c.ctx, c, s, nil)
	if err != nil {
		return err
	}
	slots := a.slotsOf(c, f.traces)
	o := open(make([]byte, 0, 512*(len(f.traces)+1)))
	o.list("items", len(f.traces), func(dst []byte, i int) []byte {
		return a.appendSummary(dst, &f.traces[i], slots)
	})
	o.someText("next", f.next)
	o.done(f.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// searchStream answers the same page as lines of JSON, the first traces at once. What fails after the first line is said in the last.
func (a *api) searchStream(c *call) error {
	s, err := c.asked()
	if err != nil {
		return err
	}
	began := false
	flush := http.NewResponseController(c.w)
	write := func(body []byte) {
		if !began {
			began = true
			c.w.Header().Set("Content-Type", "application/x-ndjson")
			c.w.Header().Set("X-Accel-Buffering", "no") // of proxies in between
			c.w.WriteHeader(http.StatusOK)
		}
		if c.r.Method != http.MethodHead {
			_, _ = c.w.Write(body)
			_ = flush.Flush() // a writer that cannot is only late
		}
	}
	count := 0
	lines := func(f found) []byte {
		slots := a.slotsOf(c, f.traces)
		var out []byte
		for i := range f.traces {
			o := open(out)
			o.text("type", "trace")
			o.key("trace")
			o.out = a.appendSummary(o.out, &f.traces[i], slots)
			out = append(o.close(), '\n')
		}
		count += len(f.traces)
		return out
	}
	last, err := a.run(c.ctx, c, s, func(f found) {
		o := open(lines(f))
		o.text("type", "progress")
		o.int("found", int64(count))
		o.read(f.Read)
		write(append(o.close(), '\n'))
	})
	if err != nil && !began {
		return err
	}
	if c.ctx.Err() != nil {
		return nil // the reader went away
	}
	o := open(lines(last))
	o.text("type", "end")
	o.someText("next", last.next)
	if err != nil {
		p := a.told(c.r, err)
		last.Done = store.Done{Reason: p.Message, Read: last.Read}
		o.key("error")
		o.out = appendProblem(o.out, p)
	}
	o.done(last.Done)
	write(append(o.close(), '\n'))
	return nil
}

// writePage puts the window before the token: a next page must ask for the same window, and "the last hour" has moved
// on by then.
func writePage(r store.TimeRange, token string) string {
	return strconv.FormatInt(r.From, 36) + "." + strconv.FormatInt(r.To, 36) + "." + token
}

func badPage(text string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "page", Message: fmt.Sprintf("%.100q is not a page token", text), Hint: "ask for the first page again"}
}

func readPage(text string) (r store.TimeRange, token string, err error) {
	from, rest, _ := strings.Cut(text, ".")
	to, token, ok := strings.Cut(rest, ".")
	var err1, err2 error
	r.From, err1 = strconv.ParseInt(from, 36, 64)
	r.To, err2 = strconv.ParseInt(to, 36, 64)
	if !ok || token == "" || err1 != nil || err2 != nil {
		return r, "", badPage(text)
	}
	return r, token, nil
}

// slotsOf finds the colours of all services of a page at once.
func (a *api) slotsOf(c *call, traces []store.Summary) map[string]int {
	slots := make(map[string]int)
	var names []string
	for _, t := range traces {
		for _, s := range t.Services {
			if _, ok := slots[s.Name]; !ok {
				slots[s.Name] = 0
				names = append(names, s.Name)
			}
		}
	}
	for i, slot := range a.Query.SlotsOf(c.ctx, c.scope, names) {
		slots[names[i]] = slot
	}
	return slots
}

func (a *api) appendSummary(dst []byte, t *store.Summary, slots map[string]int) []byte {
	o := open(dst)
	o.id("traceId", t.TraceID[:])
	o.instant("start", t.Start)
	o.int("duration", max(t.End-t.Start, 0))
	o.text("rootService", t.RootService)
	o.text("rootOperation", t.RootName)
	if t.RootMissing {
		o.bool("rootMissing", true)
	}
	o.int("spans", int64(t.Spans))
	o.int("errors", int64(t.Errors))
	o.int("matched", int64(t.Matched))
	if t.MatchedStart != 0 {
		o.instant("matchedStart", t.MatchedStart)
	}
	o.bool("maybeIncomplete", a.Query.MaybeIncomplete(t.Received))
	o.list("services", len(t.Services), func(dst []byte, i int) []byte {
		s := &t.Services[i]
		o := open(dst)
		o.text("name", s.Name)
		o.int("slot", int64(slots[s.Name]))
		o.int("spans", int64(s.Spans))
		o.int("errors", int64(s.Errors))
		return o.close()
	})
	return o.close()
}
