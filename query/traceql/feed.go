package traceql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// metricsPage is how many candidates are asked for at once: all are wanted, and a page costs a walk over the blocks.
const metricsPage = 20_000

// sink takes the spans that a pipeline leaves.
type sink interface {
	// rebuild compiles the expressions of the function for the evaluator that observe will get.
	rebuild(c *compiler) error
	observe(ev *evaluator, row, bucket int)
	series() []series
}

func (m *measure) pipeline(ctx context.Context, p *MetricPipeline) ([]series, error) {
	c := newCompiler()
	sink, err := m.newSink(c, p.Func)
	if err != nil {
		return nil, err
	}
	local, isLocal := localCondition(p.Pipeline)
	var cond *node
	if isLocal {
		if local != nil {
			if cond, err = c.expr(local); err != nil {
				return nil, err
			}
		}
		isLocal = c.local()
	}
	if isLocal {
		err = m.scan(ctx, c, local, cond, p.Func, sink)
	} else {
		err = m.traces(ctx, p, sink)
	}
	if reason, ok := m.spent.partial(err); ok {
		m.complete, m.reason = false, reason
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return sink.series(), nil
}

// localCondition is the condition of a pipeline that asks every span alone: filters, joined by ||.
func localCondition(p *Pipeline) (Expr, bool) {
	var all Expr
	for _, e := range p.Elements {
		var next Expr
		switch e := e.(type) {
		case *Filter, *SpansetOp:
			var ok bool
			if next, ok = localElement(e); !ok {
				return nil, false
			}
		case *Select, *Coalesce:
		default:
			return nil, false
		}
		switch {
		case all == nil:
			all = next
		case next != nil:
			all = &Binary{Op: OpAnd, L: all, R: next}
		}
	}
	return all, true
}

// localElement is nil for {}.
func localElement(e Element) (Expr, bool) {
	switch e := e.(type) {
	case *Filter:
		return e.Expr, true
	case *SpansetOp:
		l, lok := localElement(e.L)
		r, rok := localElement(e.R)
		if e.Op != OpOr || !lok || !rok {
			return nil, false
		}
		if l == nil || r == nil {
			return nil, true
		}
		return &Binary{Op: OpOr, L: l, R: r}, true
	default:
		return nil, false
	}
}

// scan feeds the sink with rows of a scan. Copies of a span that the store still holds twice count twice.
func (m *measure) scan(ctx context.Context, c *compiler, local Expr, cond *node, f *MetricFunc, to sink) error {
	p := always
	if local != nil {
		p = bounded(planExpr(local, wantTrue))
	}
	if p.exact {
		cond = nil
	}
	q := &store.Scan{Range: m.buckets.window, Mode: store.Start, Match: p.expr, Need: m.need(c, f)}
	ev := newEvaluator(c)
	for r, err := range m.engine.reader.Scan(ctx, m.scope, q) {
		if err != nil {
			if m.spent.without(ctx, err) {
				break
			}
			return fmt.Errorf("scan: %w", err)
		}
		m.spent.add(r.Read)
		m.spent.spans += int64(len(r.Rows))
		ev.bind(r.Batch, nil)
		for n, i := range r.Rows {
			if err := ev.pause(n, ctx.Err); err != nil {
				return err
			}
			row := int(i)
			if ev.holds(cond, row) {
				to.observe(ev, row, m.buckets.of(r.Batch.Time[row]))
			}
		}
		if ev.err != nil {
			return ev.err
		}
		if err := m.step(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

func (m *measure) need(c *compiler, f *MetricFunc) store.Need {
	if f.Filter != nil {
		return store.Everything()
	}
	n := c.need()
	if m.exemplars == 0 && !c.tree {
		n.Columns = store.ColTime
		if c.parents {
			n.Columns |= store.ColParent
		}
		for _, f := range c.fields {
			n.Columns |= columnsOf(f)
		}
	}
	return n
}

// step looks at the bounds between two batches.
func (m *measure) step(ctx context.Context, to sink) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.spent.check(0); err != nil {
		return err
	}
	if m.progress != nil {
		if now := m.engine.options.Now(); now.Sub(m.told) >= time.Second {
			m.told = now
			m.progress(to.series())
		}
	}
	return nil
}

// traces feeds the sink with what the pipeline leaves of every trace that has a span in the window.
func (m *measure) traces(ctx context.Context, p *MetricPipeline, to sink) error {
	c := newCompiler()
	steps, err := c.pipeline(p.Pipeline)
	if err != nil {
		return err
	}
	if err := to.rebuild(c); err != nil {
		return err
	}
	f := feeder{measure: m, compiler: c, need: m.need(c, p.Func), steps: steps, sink: to,
		runner: runner{ev: newEvaluator(c), cancelled: ctx.Err, room: m.engine.options.room()}}
	f.need.Columns |= store.ColIdentity
	q := &store.Search{Range: m.buckets.window, Mode: store.Start, Match: planPipeline(p.Pipeline).expr, Limit: metricsPage}
	for {
		page, err := m.engine.reader.Search(ctx, m.scope, q)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		m.spent.add(page.Read)
		for list := page.Traces; len(list) > 0; {
			n := together(list)
			if err := f.feed(ctx, list[:n]); err != nil {
				return err
			}
			list = list[n:]
			if err := m.step(ctx, to); err != nil {
				return err
			}
		}
		if !page.Complete {
			if page.Reason == outOfTime || ctx.Err() != nil {
				return errors.Join(context.DeadlineExceeded, ctx.Err())
			}
			m.complete, m.reason = false, page.Reason
			if page.Away {
				m.spent.away = page.Done
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Page = page.Next
	}
}

// feeder runs a pipeline on traces and gives the spans that it leaves to a sink.
type feeder struct {
	measure  *measure
	compiler *compiler
	need     store.Need
	steps    pipeline
	runner   runner
	sink     sink
}

func (f *feeder) feed(ctx context.Context, list []store.Summary) error {
	m, r := f.measure, &f.runner
	ids, hint := idsOf(list)
	frame, err := m.engine.gather(ctx, m.scope, ids, hint, f.compiler, f.need, &m.spent)
	if err != nil {
		return err
	}
	r.frame = frame
	r.ev.bind(frame.batch, frame)
	window := match.Window{TimeRange: m.buckets.window, Mode: store.Start}
	for i := range frame.traces {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.spent.traces++
		input := r.begin(&frame.traces[i], func(row int) bool { return window.Row(frame.batch, row) })
		if len(input.spans) == 0 {
			continue
		}
		r.sets = append(r.sets[:0], input)
		for _, set := range f.steps.run(r, r.sets) {
			for _, local := range set.spans {
				row := int(r.rows[local])
				f.sink.observe(r.ev, row, m.buckets.of(frame.batch.Time[row]))
			}
		}
		if r.ev.err != nil {
			return r.ev.err
		}
	}
	return nil
}
