package traceql

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// dice makes random traces and random queries that often have answers.
type dice struct {
	*rand.Rand
	used map[string]int // constructs of the query at hand
}

func (d *dice) one(list ...string) string { return list[d.IntN(len(list))] }
func (d *dice) chance(percent int) bool   { return d.IntN(100) < percent }

func (d *dice) use(construct string) { d.used[construct]++ }

// spans makes traces in the text form of storetest from small vocabularies.
func (d *dice) spans(traces int, duplicates bool) string {
	var w strings.Builder
	for t := 1; t <= traces; t++ {
		at := time.Duration(d.IntN(600_000)) * time.Millisecond
		n := 1 + d.IntN(8)
		var lines []string
		for i := 1; i <= n; i++ {
			id, parent := fmt.Sprintf("%x", i), "-"
			switch {
			case i > 1 && d.chance(85):
				parent = fmt.Sprintf("%x", 1+d.IntN(i-1))
			case d.chance(15):
				parent = d.one("77", "78")
			case d.chance(4):
				parent = fmt.Sprintf("%x", 1+d.IntN(n)) // perhaps a cycle
			}
			kind := d.one("server", "client", "internal", "producer", "consumer", "unspecified")
			if d.chance(10) && i > 1 { // both halves under one id
				id = fmt.Sprintf("%x", i-1)
				kind = d.one("server", "client")
			}
			start := at + time.Duration(d.IntN(i*20_000))*time.Millisecond
			sent := start.String()
			if duplicates && d.chance(3) {
				sent = "none" // the time of receipt counts
			}
			line := fmt.Sprintf("%x %s %s %s %s %s %s %s", t, id, parent, d.one("front", "cart", "ad", "-"), kind,
				d.one(`"GET /"`, `"POST /cart"`, "query", "-"), sent, d.one("0s", "1ms", "50ms", "50ms", "1.5s", "30s", "3ns"))
			line += d.fields()
			lines = append(lines, line)
		}
		if duplicates && d.chance(30) {
			lines = append(lines, strings.Replace(lines[d.IntN(len(lines))], "50ms", "70ms", 1))
		}
		w.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return w.String()
}

func (d *dice) fields() string {
	var w strings.Builder
	for _, key := range []string{"n", "f", "s", "b", "list", "mix", "x-1"} {
		if d.chance(60) {
			w.WriteString(" " + key + "=" + d.attrValue(key))
		}
	}
	if d.chance(60) {
		fmt.Fprintf(&w, " resource:pod=%s resource:n=%d", d.one("p1", "p2"), d.IntN(4))
	}
	if d.chance(20) {
		fmt.Fprintf(&w, " resource:s=%s resource:service.name=%s", d.one("x", "y"), d.one("front", "real"))
	}
	if d.chance(30) {
		fmt.Fprintf(&w, " scope:s=%s scope:lib=%s @scope=%s @scope.version=1", d.one("x", "z"), d.one("a", "b"), d.one("otel", "lib"))
	}
	if d.chance(60) {
		fmt.Fprintf(&w, " @status=%s", d.one("ok", "error", "error", "unset"))
	}
	if d.chance(20) {
		fmt.Fprintf(&w, " @message=%s", d.one("boom", "late"))
	}
	if d.chance(5) {
		w.WriteString(" service.name=inner")
	}
	for range d.IntN(5) - 2 {
		fmt.Fprintf(&w, "\n  event %s %s s=%s n=%s list=%s", d.one("exception", "retry", "-"), time.Duration(d.IntN(600))*time.Second, d.one("x", "y", "e"), d.attrValue("n"), d.attrValue("list"))
	}
	for range d.IntN(5) - 3 {
		fmt.Fprintf(&w, "\n  link %d %d s=%s kind=%s", 1+d.IntN(3), 1+d.IntN(3), d.one("x", "l"), d.one("follows", "batch"))
	}
	return w.String()
}

func (d *dice) attrValue(key string) string {
	switch key {
	case "n":
		return d.one("0", "1", "2", "3", "200", "-1", "9007199254740993")
	case "f":
		return d.one("0.5", "1.0", "2.5", "-1.5", "NaN")
	case "b":
		return d.one("true", "false")
	case "list":
		return d.one(`["x","y"]`, `["x"]`, `[1,2]`, `[]`, `[true]`, `[0.5,2.0]`)
	case "mix":
		return d.one("1", "x", "2.5", "true", `["x"]`, "null", "bytes:00ff", "[]")
	}
	return d.one("x", "y", "xyz", `""`, `"200"`, `"a\nb"`)
}

func field(scope AttrScope, name string) *Attribute { return &Attribute{Scope: scope, Name: name} }

func (d *dice) attribute() *Attribute {
	scope := AttrScope(d.IntN(6))
	d.use("scope " + scopeWords[scope])
	names := map[AttrScope][]string{
		ScopeNone: {"n", "f", "s", "b", "list", "mix", "x-1", "pod", "service.name", "lib", "kind", "none"}, ScopeSpan: {"n", "f", "s", "b", "list", "mix", "service.name"},
		ScopeResource: {"pod", "n", "s", "service.name"}, ScopeEvent: {"s", "n", "list"}, ScopeLink: {"s", "kind"}, ScopeInstrumentation: {"s", "lib"},
	}[scope]
	return field(scope, names[d.IntN(len(names))])
}

func (d *dice) intrinsic(ids ...IntrinsicID) *Intrinsic {
	id := ids[d.IntN(len(ids))]
	d.use("intrinsic " + id.String())
	return &Intrinsic{ID: id}
}

func (d *dice) op(ops ...Op) Op {
	o := ops[d.IntN(len(ops))]
	d.use("operator " + o.String())
	return o
}

func lit(v Value) *Literal { return &Literal{Value: v} }

func number(n int64) Expr {
	if n < 0 {
		return &Unary{Op: OpSub, X: lit(IntValue(-n))}
	}
	return lit(IntValue(n))
}

// constantFor is a literal that an attribute may well be compared with.
func (d *dice) constantFor() Expr {
	switch d.IntN(8) {
	case 0, 1:
		return number([]int64{0, 1, 2, 3, 200, -1, 9007199254740992}[d.IntN(7)])
	case 2:
		return lit(FloatValue([]float64{0.5, 1, 2.5, 9007199254740992}[d.IntN(4)]))
	case 3:
		return lit(BoolValue(d.chance(50)))
	case 4:
		return lit(DurationValue(int64(d.IntN(3))))
	default:
		return lit(StringValue(d.one("x", "y", "", "200", "front", "p1", "a", "follows", "z")))
	}
}

var orders = []Op{OpEq, OpNe, OpLt, OpLe, OpGt, OpGe}

// condition makes an expression that is true or false.
func (d *dice) condition(depth int) Expr {
	if depth > 0 && d.chance(45) {
		switch d.IntN(5) {
		case 0, 1:
			return &Binary{Op: d.op(OpAnd), L: d.condition(depth - 1), R: d.condition(depth - 1)}
		case 2, 3:
			return &Binary{Op: d.op(OpOr), L: d.condition(depth - 1), R: d.condition(depth - 1)}
		default:
			d.use("operator !")
			return &Unary{Op: OpNot, X: d.condition(depth - 1)}
		}
	}
	b := d.comparison()
	if c, ok := b.(*Binary); ok && mirrored[c.Op] != OpNone && d.chance(10) {
		return &Binary{Op: mirrored[c.Op], L: c.R, R: c.L}
	}
	return b
}

func (d *dice) comparison() Expr {
	switch d.IntN(20) {
	case 0:
		return &Binary{Op: d.op(OpEq, OpNe), L: d.intrinsic(Status), R: lit([]Value{constants["ok"], constants["error"], constants["unset"]}[d.IntN(3)])}
	case 1:
		return &Binary{Op: d.op(OpEq, OpNe), L: d.intrinsic(Kind), R: lit(constants[d.one("server", "client", "internal", "producer", "unspecified")])}
	case 2:
		return &Binary{Op: d.op(orders...), L: d.intrinsic(Duration, TraceDuration, EventTimeSinceStart), R: d.duration()}
	case 3:
		return &Binary{Op: d.op(orders...), L: d.intrinsic(Name, RootName, RootServiceName, StatusMessage, EventName, InstrumentationName, InstrumentationVersion), R: d.word()}
	case 4:
		return &Binary{Op: d.op(orders...), L: d.intrinsic(NestedSetLeft, NestedSetRight, NestedSetParent, ChildCount), R: number(int64(d.IntN(5) - 1))}
	case 5:
		return &Binary{Op: d.op(OpEq, OpNe), L: d.intrinsic(TraceID, SpanID, ParentID, LinkTraceID, LinkSpanID), R: lit(StringValue(d.one("1", "02", "3", "", "zz", "0000000000000002")))}
	case 6, 7:
		d.use("regular expression")
		left := Expr(d.attribute())
		if d.chance(50) {
			left = d.intrinsic(Name, RootName, RootServiceName, StatusMessage, EventName, InstrumentationName)
		}
		return &Binary{Op: d.op(OpRegex, OpNotRegex), L: left, R: lit(StringValue(d.one("x|y", ".*", "G.*", "[a-y]+", "front|cart", "x.*", "a.b", "", "late|boom", "otel")))}
	case 8:
		d.use("nil")
		if d.chance(30) {
			return &Binary{Op: d.op(OpNe), L: d.intrinsic(Name, RootName, EventName, LinkSpanID, NestedSetParent, Status), R: lit(Value{})}
		}
		a := d.attribute()
		if a.Scope == ScopeResource && a.Name == "service.name" {
			a.Name = "pod"
		}
		return &Binary{Op: d.op(OpEq, OpNe), L: a, R: lit(Value{})}
	case 9:
		d.use("bare attribute")
		return field(ScopeNone, d.one("b", "mix", "s", "list"))
	case 10:
		d.use("field with field")
		return &Binary{Op: d.op(orders...), L: field(ScopeSpan, d.one("n", "f", "s")), R: field(ScopeResource, d.one("n", "s"))}
	case 11, 12, 13:
		d.use("arithmetic")
		return &Binary{Op: d.op(orders...), L: d.arithmetic(2), R: d.arithmetic(1)}
	case 14:
		return lit(BoolValue(d.chance(70)))
	default:
		left, right := d.attribute(), d.constantFor()
		op := d.op(orders...)
		if l, ok := right.(*Literal); ok && l.Value.Type == TypeBool {
			op = d.op(OpEq, OpNe)
		}
		return &Binary{Op: op, L: left, R: right}
	}
}

func (d *dice) duration() Expr {
	return lit(DurationValue([]int64{0, 3, 1_000_000, 50_000_000, 1_500_000_000, 30_000_000_000}[d.IntN(6)]))
}

func (d *dice) word() Expr {
	return lit(StringValue(d.one("GET /", "query", "front", "cart", "boom", "otel", "1", "retry", "server front", "internal cart", "span", "")))
}

func (d *dice) arithmetic(depth int) Expr {
	if depth == 0 || d.chance(30) {
		switch d.IntN(4) {
		case 0:
			return d.intrinsic(Duration)
		case 1:
			return number(int64(1 + d.IntN(4)))
		default:
			return field(ScopeSpan, d.one("n", "f"))
		}
	}
	if d.chance(15) {
		d.use("operator unary -")
		return &Unary{Op: OpSub, X: d.arithmetic(depth - 1)}
	}
	op := d.op(OpAdd, OpSub, OpMul, OpDiv, OpMod, OpPow)
	right := d.arithmetic(depth - 1)
	if op == OpDiv || op == OpMod || op == OpPow {
		right = number(int64(1 + d.IntN(3)))
	}
	return &Binary{Op: op, L: d.arithmetic(depth - 1), R: right}
}

func (d *dice) filter() *Filter {
	if d.chance(15) {
		d.use("{ }")
		return &Filter{}
	}
	return &Filter{Expr: d.condition(2)}
}

func (d *dice) spansets(depth int) Element {
	if depth == 0 || d.chance(45) {
		return d.filter()
	}
	if d.chance(12) {
		d.use("pipeline in parentheses")
		return &Sub{Pipeline: &Pipeline{Elements: []Element{d.spansets(depth - 1), d.stage()}}}
	}
	op := OpAnd
	switch d.IntN(4) {
	case 0:
	case 1:
		op = OpOr
	default:
		op = OpChild + Op(d.IntN(15))
	}
	d.use("spanset operator " + op.String())
	return &SpansetOp{Op: op, L: d.spansets(depth - 1), R: d.spansets(depth - 1)}
}

// groupable is what traces are grouped by.
func (d *dice) groupable() Expr {
	switch d.IntN(3) {
	case 0:
		return d.intrinsic(Name, Status, Kind, SpanID, EventName, RootName)
	default:
		return d.attribute()
	}
}

func (d *dice) stage() Element {
	switch d.IntN(6) {
	case 0:
		d.use("by()")
		return &GroupBy{Expr: d.groupable()}
	case 1:
		d.use("coalesce()")
		return &Coalesce{}
	case 2:
		d.use("select()")
		return &Select{Attrs: []Expr{d.attribute(), d.groupable()}}
	case 3:
		return d.filter()
	}
	agg := &Aggregate{Func: d.one("count", "avg", "min", "max", "sum")}
	d.use("aggregate " + agg.Func)
	right := IntValue(int64(d.IntN(4)))
	if agg.Func != "count" {
		switch d.IntN(4) {
		case 0:
			agg.Expr, right = d.intrinsic(Duration), DurationValue(int64(d.IntN(50_000_000)))
		case 1:
			agg.Expr = field(ScopeEvent, "n")
		case 2:
			agg.Expr = d.attribute()
		default:
			agg.Expr = field(ScopeSpan, "n")
		}
	}
	f := &ScalarFilter{Op: d.op(OpGt, OpGe, OpLt, OpNe, OpEq), L: agg, R: &Constant{Value: right}}
	if d.chance(20) {
		d.use("constant arithmetic")
		f.R = &ScalarOp{Op: OpAdd, L: &Constant{Value: right}, R: &Constant{Value: IntValue(-1)}}
	}
	if d.chance(20) {
		f.L, f.R = f.R, f.L
	}
	return f
}

func (d *dice) pipeline() *Pipeline {
	p := &Pipeline{Elements: []Element{d.spansets(2)}}
	if d.chance(5) {
		d.use("pipeline without braces")
		p.Elements[0] = &GroupBy{Expr: d.groupable()}
	}
	for d.chance(35) {
		p.Elements = append(p.Elements, d.stage())
	}
	return p
}

func (d *dice) metric(depth int) MetricExpr {
	if depth > 0 && d.chance(15) {
		op := d.op(OpAdd, OpSub, OpMul, OpDiv)
		d.use("metric arithmetic " + op.String())
		m := &MetricMath{Op: op, L: d.metric(depth - 1), R: d.metric(depth - 1)}
		if d.chance(30) {
			m.R = &MetricNumber{Value: IntValue(int64(1 + d.IntN(5)))}
		}
		return m
	}
	f := &MetricFunc{Name: d.one("rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time", "histogram_over_time", "quantile_over_time", "compare")}
	d.use(f.Name)
	shape := metricFuncs[f.Name]
	if shape.attr {
		f.Attr = d.intrinsic(Duration)
		if d.chance(50) {
			f.Attr = field(AttrScope(d.IntN(4)), d.one("n", "f", "list"))
		}
	}
	if shape.quantiles {
		f.Quantiles = []float64{[]float64{0, 0.5, 0.9}[d.IntN(3)], 1}
	}
	if shape.compare {
		f.Filter, f.Top = d.filter(), 10
		if d.chance(50) {
			f.Top, f.HasTop = int64(1+d.IntN(3)), true
		}
	} else {
		for d.chance(45) && len(f.By) < 3 {
			d.use("metrics by()")
			e := d.groupable()
			if in, ok := e.(*Intrinsic); ok && in.ID == RootName {
				d.use("metrics by() of the trace")
			}
			f.By = append(f.By, e)
		}
	}
	p := &MetricPipeline{Pipeline: &Pipeline{Elements: []Element{d.filter()}}, Func: f}
	if d.chance(30) {
		d.use("metrics of structure")
		p.Pipeline = d.pipeline()
	}
	p.Stages = d.stages()
	return p
}

func (d *dice) stages() (out []MetricStage) {
	for d.chance(20) {
		if d.chance(60) {
			s := MetricStage{Name: d.one("topk", "bottomk"), N: int64(1 + d.IntN(3))}
			d.use(s.Name)
			out = append(out, s)
			continue
		}
		d.use("metrics comparison")
		out = append(out, MetricStage{Op: orders[d.IntN(len(orders))], Value: []Value{IntValue(1), FloatValue(0.02), DurationValue(50_000_000)}[d.IntN(3)]})
	}
	return out
}
