package clickhouse

import (
	"context"
	"iter"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// Scan yields the matching rows, a block of the server's answer at a time, in no order. It reads the columns of the need and of the
// conditions that SQL does not decide. Read.Of is what the server has planned so far, the highest of the steps counts.
func (e *Engine) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		p, err := e.plan(s, q.Match, match.Window{TimeRange: q.Range, Mode: q.Mode})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(store.Rows{}, err)
			return
		}
		var total cost
		var last store.Read
		for r, err := range e.matching(ctx, p, q.Need, &total) {
			if err != nil {
				yield(store.Rows{}, err)
				return
			}
			now := total.read()
			r.Read = store.Read{Blocks: now.Blocks - last.Blocks, Of: now.Of, Bytes: now.Bytes - last.Bytes}
			last = now
			if !yield(r, nil) {
				return
			}
		}
		if err := total.end(); err != nil {
			yield(store.Rows{}, err)
		}
	}
}

// plan is a question about rows.
type plan struct {
	tenant string
	prog   *match.Program
	window match.Window
	sql    string // rows that may be an answer
	exact  bool   // and are
}

// plan compiles the conditions of a question.
func (e *Engine) plan(s store.Scope, expr store.Expr, w match.Window) (*plan, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	prog, err := match.Compile(s.MustMatch, expr)
	if err != nil {
		return nil, err
	}
	p := &plan{tenant: answer.Tenant(s.Tenant), prog: prog, window: w}
	p.setSQL(e.layout, e.pinned(), s.MustMatch, expr)
	return p, nil
}

func (p *plan) setSQL(l layout, pinned string, exprs ...store.Expr) {
	parts := []string{l.tenant(p.tenant), l.during(p.window.TimeRange, p.window.Mode), pinned}
	p.exact = true
	for _, e := range exprs {
		c := sqlOf(l, e)
		p.exact = p.exact && c.Exact()
		parts = append(parts, c.May)
	}
	p.sql = texts.All(parts...)
}

// matching yields the rows of a plan with what need says of them.
func (e *Engine) matching(ctx context.Context, p *plan, need store.Need, total *cost) iter.Seq2[store.Rows, error] {
	return func(yield func(store.Rows, error) bool) {
		if !p.exact {
			need = need.And(p.prog.Need())
		}
		if err := e.reach(ctx, total); err != nil {
			yield(store.Rows{}, err)
			return
		}
		d := newDecoder(e.layout, need, false)
		var bound *match.Bound
		var list []uint32
		for r, err := range e.yieldRows(ctx, p.tenant, d, "WHERE "+p.sql, total) {
			if err != nil {
				yield(store.Rows{}, err)
				return
			}
			list = list[:0]
			for row := range r.Len() {
				list = append(list, uint32(row))
			}
			if !p.exact {
				if bound == nil {
					bound = p.prog.Bind(r.Batch)
				} else {
					bound.Rebind(r.Batch)
				}
				list = bound.Filter(list)
			}
			if len(list) > 0 && !yield(store.Rows{Batch: r.Batch, Rows: list}, nil) {
				return
			}
		}
	}
}
