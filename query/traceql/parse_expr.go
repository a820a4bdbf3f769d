package traceql

import "math"

// fieldOps are the binary operators between fields.
var fieldOps = map[string]Op{
	"&&": OpAnd, "||": OpOr, "=": OpEq, "!=": OpNe, "<": OpLt, "<=": OpLe, ">": OpGt, ">=": OpGe, "=~": OpRegex, "!~": OpNotRegex,
	"+": OpAdd, "-": OpSub, "*": OpMul, "/": OpDiv, "%": OpMod, "^": OpPow,
}

// expr reads an expression whose operators bind at least as tight as a level. A prefix operator takes what binds tighter than
// itself, wherever it stands.
func (p *parser) expr(level int) (Expr, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		op, ok := fieldOps[t.text]
		if t.kind != tokSymbol || !ok || op.precedence() < level {
			return left, nil
		}
		p.take()
		if err := p.node(); err != nil {
			return nil, err
		}
		if p.lenient && op.isComparison() && p.unfinished() {
			left = &Literal{At: t.pos, Value: BoolValue(true)}
			continue
		}
		next := op.precedence() + 1
		if op == OpPow { // right-associative
			next = op.precedence()
		}
		right, err := p.expr(next)
		if err != nil {
			return nil, err
		}
		left = &Binary{At: t.pos, Op: op, L: left, R: right}
	}
}

const operandWords = "an attribute such as span.http.method, an intrinsic such as name or a value"

func (p *parser) operand() (Expr, error) {
	t := p.peek()
	switch {
	case t.is("-"):
		p.take()
		x, err := p.expr(minusPrecedence + 1)
		return &Unary{At: t.pos, Op: OpSub, X: x}, err
	case t.is("!"):
		p.take()
		x, err := p.expr(notPrecedence + 1)
		return &Unary{At: t.pos, Op: OpNot, X: x}, err
	case t.is("("):
		p.take()
		x, err := p.expr(0)
		if err != nil || p.lenient && p.peek().kind == tokEnd {
			return x, err
		}
		return x, p.expect(")", "an operator")
	case t.kind == tokLiteral:
		p.take()
		return &Literal{At: t.pos, Value: t.value}, nil
	case t.kind == tokWord:
		if v, ok := constants[t.text]; ok {
			p.take()
			return &Literal{At: t.pos, Value: v}, nil
		}
	case t.is("="):
		return nil, p.unexpected(operandWords, "equality is written =")
	}
	return p.field()
}

// field reads an attribute or an intrinsic.
func (p *parser) field() (Expr, error) {
	t := p.peek()
	switch t.kind {
	case tokAttribute:
		p.take()
		a := t.attr
		return &a, nil
	case tokIntrinsic:
		p.take()
		return &Intrinsic{At: t.pos, ID: t.id}, nil
	case tokWord:
		if id, ok := plainIntrinsics[t.text]; ok {
			p.take()
			return &Intrinsic{At: t.pos, ID: id}, nil
		}
		hint := nearestOf(t.text, fieldWords())
		if hint == "" {
			hint = "attributes begin with a dot or a scope: ." + shorten(t.text)
		}
		return nil, p.unexpected(operandWords, hint)
	}
	return nil, p.unexpected(operandWords, "")
}

// scalarFilter reads an aggregate, a comparison and a constant, in either order.
func (p *parser) scalarFilter(bare bool) (Element, error) {
	f := &ScalarFilter{At: p.peek().pos}
	var err error
	if f.L, err = p.scalar(0); err != nil {
		return nil, err
	}
	if bare && p.peek().is(")") {
		return f, nil
	}
	return f, p.compareScalar(f)
}

func (p *parser) compareScalar(f *ScalarFilter) (err error) {
	t := p.peek()
	op := fieldOps[t.text]
	if t.kind == tokSymbol && op.isArithmetic() {
		return p.fail(t.pos, "compare the aggregate with a number", "arithmetic of aggregates is not supported")
	}
	if t.kind != tokSymbol || !op.isComparison() || op == OpRegex || op == OpNotRegex {
		return p.unexpected("one of = != < <= > >=", "")
	}
	p.take()
	f.Op = op
	if p.peek().is("(") {
		return p.fail(p.peek().pos, "compare the aggregate with a number", "comparing two aggregates is not supported")
	}
	f.R, err = p.scalar(0)
	return err
}

func (p *parser) scalar(level int) (Scalar, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	left, err := p.scalarOperand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		op := fieldOps[t.text]
		if t.kind != tokSymbol || !op.isArithmetic() || op.precedence() < level {
			return left, nil
		}
		p.take()
		next := op.precedence() + 1
		if op == OpPow {
			next = op.precedence()
		}
		right, err := p.scalar(next)
		if err != nil {
			return nil, err
		}
		left = &ScalarOp{At: t.pos, Op: op, L: left, R: right}
	}
}

func (p *parser) scalarOperand() (Scalar, error) {
	t := p.peek()
	switch {
	case t.is("("):
		p.take()
		s, err := p.scalar(0)
		if err != nil {
			return nil, err
		}
		return s, p.expect(")")
	case t.kind == tokWord && aggregates[t.text]:
		p.take()
		return p.aggregate(t)
	}
	v, err := p.value()
	return &Constant{At: t.pos, Value: v}, err
}

func (p *parser) aggregate(t token) (Scalar, error) {
	a := &Aggregate{At: t.pos, Func: t.text}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if t.text != "count" {
		var err error
		if a.Expr, err = p.expr(0); err != nil {
			return nil, err
		}
	}
	return a, p.expect(")")
}

// value reads a literal with a minus before it or without.
func (p *parser) value() (Value, error) {
	minus := p.accept("-")
	t := p.peek()
	v, ok := t.value, t.kind == tokLiteral
	if t.kind == tokWord {
		v, ok = constants[t.text]
	}
	if minus && (v.Type != TypeInt && v.Type != TypeFloat && v.Type != TypeDuration || v.n == math.MinInt64) {
		ok = false
	}
	if !ok {
		hint := ""
		if t.kind == tokWord {
			hint = nearestOf(t.text, append(keysOf(constants), "count", "avg", "min", "max", "sum"))
		}
		return v, p.unexpected("a value", hint)
	}
	p.take()
	if minus {
		v.n, v.f = -v.n, -v.f
	}
	return v, nil
}

// hints reads with(name=value, ...).
func (p *parser) hints() ([]Hint, error) {
	p.take()
	var hints []Hint
	err := p.list(func() error {
		t := p.peek()
		if t.kind != tokWord {
			return p.unexpected("the name of a hint", "")
		}
		p.take()
		if err := p.expect("="); err != nil {
			return err
		}
		v, err := p.value()
		hints = append(hints, Hint{Name: t.text, Value: v})
		return err
	})
	return hints, err
}
