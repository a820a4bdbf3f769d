package traceql

import (
	"strconv"
	"strings"
	"unicode"
)

// String writes the query so that Parse gives the same tree again.
func (q *Query) String() string {
	var w printer
	if q.IsMetrics() {
		w.metric(q.Metrics)
	} else {
		w.pipeline(q.Pipeline)
	}
	if len(q.Hints) > 0 {
		w.WriteString(" with(")
		for i, h := range q.Hints {
			w.comma(i)
			w.WriteString(h.Name + "=" + literal(h.Value))
		}
		w.WriteByte(')')
	}
	return w.String()
}

type printer struct{ strings.Builder }

func (w *printer) comma(i int) {
	if i > 0 {
		w.WriteString(", ")
	}
}

func (w *printer) pipeline(p *Pipeline) {
	for i, e := range p.Elements {
		if i > 0 {
			w.WriteString(" | ")
		}
		w.element(e)
	}
}

func (w *printer) element(e Element) {
	switch e := e.(type) {
	case *Filter:
		if e.Expr == nil {
			w.WriteString("{ }")
			return
		}
		w.WriteString("{ ")
		w.expr(e.Expr)
		w.WriteString(" }")
	case *SpansetOp:
		w.side(e.L, e.Op.precedence())
		w.WriteString(" " + e.Op.String() + " ")
		w.side(e.R, e.Op.precedence()+1)
	case *Sub:
		w.WriteByte('(')
		w.pipeline(e.Pipeline)
		w.WriteByte(')')
	case *GroupBy:
		w.WriteString("by(")
		w.expr(e.Expr)
		w.WriteByte(')')
	case *Coalesce:
		w.WriteString("coalesce()")
	case *Select:
		w.WriteString("select")
		w.fields(e.Attrs)
	case *ScalarFilter:
		w.scalar(e.L, 0)
		w.WriteString(" " + e.Op.String() + " ")
		w.scalar(e.R, 0)
	}
}

// side writes an operand of a spanset operator, in parentheses where its own operator binds looser.
func (w *printer) side(e Element, level int) {
	if op, ok := e.(*SpansetOp); ok && op.Op.precedence() < level {
		w.WriteByte('(')
		w.element(e)
		w.WriteByte(')')
		return
	}
	w.element(e)
}

func (w *printer) fields(list []Expr) {
	w.WriteByte('(')
	for i, e := range list {
		w.comma(i)
		w.expr(e)
	}
	w.WriteByte(')')
}

func (w *printer) expr(e Expr) {
	switch e := e.(type) {
	case *Literal:
		w.WriteString(literal(e.Value))
	case *Attribute:
		w.WriteString(e.String())
	case *Intrinsic:
		w.WriteString(e.ID.String())
	case *Unary:
		w.WriteString(e.Op.String())
		level := minusPrecedence + 1
		if e.Op == OpNot {
			level = notPrecedence + 1
		}
		w.operand(e.X, level)
	case *Binary:
		left, right := e.Op.precedence(), e.Op.precedence()+1
		if e.Op == OpPow {
			left, right = right, left
		}
		w.operand(e.L, left)
		w.WriteString(" " + e.Op.String() + " ")
		w.operand(e.R, right)
	}
}

// operand writes a part of an expression, in parentheses where it binds looser than a level.
func (w *printer) operand(e Expr, level int) {
	own := 10
	switch e := e.(type) {
	case *Unary:
		own = minusPrecedence
		if e.Op == OpNot {
			own = notPrecedence
		}
	case *Binary:
		own = e.Op.precedence()
	}
	if own >= level {
		w.expr(e)
		return
	}
	w.WriteByte('(')
	w.expr(e)
	w.WriteByte(')')
}

func (w *printer) scalar(s Scalar, level int) {
	switch s := s.(type) {
	case *Constant:
		w.WriteString(literal(s.Value))
	case *Aggregate:
		w.WriteString(s.String())
	case *ScalarOp:
		own := s.Op.precedence()
		left, right := own, own+1
		if s.Op == OpPow {
			left, right = right, left
		}
		if own < level {
			w.WriteByte('(')
			defer w.WriteByte(')')
		}
		w.scalar(s.L, left)
		w.WriteString(" " + s.Op.String() + " ")
		w.scalar(s.R, right)
	}
}

func (w *printer) metric(m MetricExpr) {
	switch m := m.(type) {
	case *MetricPipeline:
		w.pipeline(m.Pipeline)
		w.WriteString(" | ")
		w.metricFunc(m.Func)
		w.stages(m.Stages)
	case *MetricNumber:
		w.WriteString(literal(m.Value))
	case *MetricMath:
		w.metricSide(m.L, m.Op.precedence())
		w.WriteString(" " + m.Op.String() + " ")
		w.metricSide(m.R, m.Op.precedence()+1)
	case *MetricStages:
		w.metric(m.X)
		w.stages(m.Stages)
	}
}

func (w *printer) metricSide(m MetricExpr, level int) {
	switch m := m.(type) {
	case *MetricNumber:
		w.metric(m)
		return
	case *MetricMath:
		if m.Op.precedence() >= level {
			w.metric(m)
			return
		}
	}
	w.WriteByte('(')
	w.metric(m)
	w.WriteByte(')')
}

func (w *printer) metricFunc(f *MetricFunc) {
	w.WriteString(f.Name + "(")
	if f.Attr != nil {
		w.expr(f.Attr)
	}
	for _, q := range f.Quantiles {
		w.WriteString(", " + literal(FloatValue(q)))
	}
	if f.Filter != nil {
		w.element(f.Filter)
		if f.HasTop {
			w.WriteString(", " + strconv.FormatInt(f.Top, 10))
		}
		if f.End > 0 {
			w.WriteString(", " + strconv.FormatInt(f.Start, 10) + ", " + strconv.FormatInt(f.End, 10))
		}
	}
	w.WriteByte(')')
	if len(f.By) > 0 {
		w.WriteString(" by")
		w.fields(f.By)
	}
}

func (w *printer) stages(stages []MetricStage) {
	for _, s := range stages {
		if s.Name != "" {
			w.WriteString(" | " + s.Name + "(" + strconv.FormatInt(s.N, 10) + ")")
		} else {
			w.WriteString(" " + s.Op.String() + " " + literal(s.Value))
		}
	}
}

// literal writes a constant. The smallest int has no digits that could be read back.
func literal(v Value) string {
	if v.Type == TypeInt && v.n == -1<<63 {
		return "minInt"
	}
	return v.Literal()
}

// String is the attribute as a query writes it, in quotes where it has to be.
func (a *Attribute) String() string {
	prefix := scopeWords[a.Scope] + "."
	if a.Parent {
		prefix = "parent" + prefix
		if a.Scope != ScopeNone {
			prefix = "parent." + prefix[len("parent"):]
		}
	}
	if plainName(a.Name) {
		// What begins with digits after a lone dot may read as a number.
		if l := (lexer{text: prefix + a.Name}); !l.numberAfterDot() {
			return prefix + a.Name
		}
	}
	return prefix + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.Name) + `"`
}

func plainName(name string) bool {
	for _, r := range name {
		if unicode.IsSpace(r) || r == '"' || strings.ContainsRune(nameEnds, r) {
			return false
		}
	}
	return name != ""
}

// String is the aggregate as a query writes it: the name of the attribute that it leaves on a span set.
func (a *Aggregate) String() string {
	var w printer
	w.WriteString(a.Func + "(")
	if a.Expr != nil {
		w.expr(a.Expr)
	}
	w.WriteByte(')')
	return w.String()
}

// exprText is an expression as a query writes it.
func exprText(e Expr) string {
	var w printer
	w.expr(e)
	return w.String()
}
