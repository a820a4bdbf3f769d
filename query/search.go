package query

import (
	"context"
	"fmt"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// MaxSearchLimit is the most traces one page of a search holds, for every dialect.
const MaxSearchLimit = 10_000

// Search answers one page of traces, newest first; see store.Reader.Search for the order and for pages. Roots without a name
// show PlainName, and a condition on that name finds them. Where the engine cannot bound the duration of traces, a page may
// hold fewer traces than asked for although there is a next one. A search out of time answers what it found, marked partial.
func (q *Query) Search(ctx context.Context, s store.Scope, plan *store.Search) (*store.Page, error) {
	if plan.Limit < 1 || plan.Limit > MaxSearchLimit {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "limit", Message: fmt.Sprintf("limit is %d", plan.Limit), Hint: fmt.Sprintf("use 1 to %d", MaxSearchLimit)}
	}
	p := *plan
	p.Match = withNameless(plan.Match)
	bounds := p.TraceDuration
	filter := bounds != (Bounds{}) && !q.store.Can().TraceDuration
	if filter {
		p.TraceDuration = Bounds{}
	}
	leave, err := q.Admit(ctx, Page)
	if err != nil {
		return nil, err
	}
	defer leave()
	limited, cancel := context.WithTimeout(ctx, q.limits.ScanTime)
	defer cancel()
	page, err := q.store.Search(limited, s, &p)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if filter {
		kept := page.Traces[:0]
		for _, t := range page.Traces {
			if d := t.End - t.Start; d >= bounds.Min && (bounds.Max == 0 || d <= bounds.Max) {
				kept = append(kept, t)
			}
		}
		page.Traces = kept
	}
	for i := range page.Traces {
		if t := &page.Traces[i]; t.RootName == "" {
			t.RootName = PlainName(t.RootKind, t.RootService)
		}
	}
	return page, nil
}

// withNameless lets a condition on an operation that PlainName makes up find the spans that have no name.
func withNameless(e store.Expr) store.Expr {
	switch e := e.(type) {
	case store.And:
		return store.And(eachNameless(e))
	case store.Or:
		return store.Or(eachNameless(e))
	case store.Not:
		return store.Not{Expr: withNameless(e.Expr)}
	case store.Cond:
		if e.Field != (store.Field{In: store.Intrinsic, Key: store.FieldName}) || e.Op != store.Eq {
			return e
		}
		word, service, ok := strings.Cut(e.Value.Text, " ")
		kind, known := kindOf(word)
		if !ok || !known {
			return e
		}
		return store.Or{e, store.And{
			intrinsicIs(store.FieldName, ""), intrinsicIs(store.FieldKind, kind.String()), intrinsicIs(store.FieldService, service),
		}}
	default:
		return e
	}
}

func eachNameless(list []store.Expr) []store.Expr {
	out := make([]store.Expr, len(list))
	for i, e := range list {
		out[i] = withNameless(e)
	}
	return out
}

// kindOf is the inverse of PlainName's first word.
func kindOf(word string) (span.Kind, bool) {
	if word == "span" {
		return span.KindUnspecified, true
	}
	for k := span.KindInternal; k <= span.KindConsumer; k++ {
		if k.String() == word {
			return k, true
		}
	}
	return 0, false
}

func intrinsicIs(key, text string) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: store.Eq, Value: store.Text(text)}
}
