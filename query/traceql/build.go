package traceql

// pipeline makes the elements of a pipeline ready and notes which fields answers show.
func (c *compiler) pipeline(p *Pipeline) (pipeline, error) {
	steps := make(pipeline, 0, len(p.Elements))
	for _, e := range p.Elements {
		s, err := c.step(e)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func (c *compiler) step(e Element) (step, error) {
	switch e := e.(type) {
	case *Filter:
		return c.filter(e)
	case *SpansetOp:
		l, err := c.step(e.L)
		if err != nil {
			return nil, err
		}
		r, err := c.step(e.R)
		if err != nil {
			return nil, err
		}
		if e.Op == OpAnd || e.Op == OpOr {
			return joinStep{e.Op, l, r}, nil
		}
		c.tree = true
		return newStructure(e.Op, l, r), nil
	case *Sub:
		p, err := c.pipeline(e.Pipeline)
		return subStep{p}, err
	case *GroupBy:
		c.name(e.Expr)
		n, err := c.expr(e.Expr)
		return groupStep{n, "by(" + exprText(e.Expr) + ")"}, err
	case *Select:
		for _, a := range e.Attrs {
			c.name(a)
		}
		return passStep{}, nil
	case *ScalarFilter:
		return c.scalarFilter(e)
	default:
		return coalesceStep{}, nil
	}
}

func (c *compiler) filter(f *Filter) (filterStep, error) {
	if f.Expr == nil {
		return filterStep{}, nil
	}
	c.name(f.Expr)
	n, err := c.expr(f.Expr)
	return filterStep{n}, err
}

func (c *compiler) scalarFilter(f *ScalarFilter) (step, error) {
	agg, ok := f.L.(*Aggregate)
	constant, op := f.R, f.Op
	if !ok {
		agg = f.R.(*Aggregate) // one side is: validation saw to it
		constant, op = f.L, mirrored[f.Op]
	}
	v, _, err := checker{}.scalar(constant)
	if err != nil {
		return nil, err
	}
	s := aggregateStep{name: agg.String(), fn: agg.Func, op: op, value: valOf(v)}
	if agg.Expr != nil {
		c.name(agg.Expr)
		s.expr, err = c.expr(agg.Expr)
	}
	return s, err
}
