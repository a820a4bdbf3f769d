package uiapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

func (a *api) search(c *call) error {
	filters, err := query.ParseFilters(c.params["filter"])
	if err != nil {
		return err
	}
	limit, err := c.number("limit", 20, 1, maxListed)
	if err != nil {
		return err
	}
	plan := store.Search{Mode: store.Overlap, Match: filters.Match, TraceDuration: filters.TraceDuration, Limit: limit}
	if plan.Range, err = c.window(); err != nil {
		return err
	}
	if page := c.params.Get("page"); page != "" {
		if plan.Range, plan.Page, err = readPage(page); err != nil {
			return err
		}
	}
	page, err := a.Query.Search(c.ctx, c.scope, &plan)
	if err != nil {
		return err
	}
	slots := a.slotsOf(c, page.Traces)
	o := open(make([]byte, 0, 512*(len(page.Traces)+1)))
	o.list("items", len(page.Traces), func(dst []byte, i int) []byte {
		return a.appendSummary(dst, &page.Traces[i], slots)
	})
	if page.Next != "" {
		o.text("next", writePage(plan.Range, page.Next))
	}
	o.done(page.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// writePage puts the window before the store's token: a next page must ask for the same window, and "the last hour" has moved
// on by then.
func writePage(r store.TimeRange, token string) string {
	return strconv.FormatInt(r.From, 36) + "." + strconv.FormatInt(r.To, 36) + "." + token
}

func readPage(text string) (r store.TimeRange, token string, err error) {
	from, rest, _ := strings.Cut(text, ".")
	to, token, ok := strings.Cut(rest, ".")
	var err1, err2 error
	r.From, err1 = strconv.ParseInt(from, 36, 64)
	r.To, err2 = strconv.ParseInt(to, 36, 64)
	if !ok || token == "" || err1 != nil || err2 != nil {
		return r, "", &problem.Problem{Kind: problem.Invalid, Field: "page", Message: fmt.Sprintf("%.100q is not a page token", text), Hint: "ask for the first page again"}
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
	o.instant("matchedStart", t.MatchedStart)
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
