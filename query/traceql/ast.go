package traceql

// Query is a parsed and checked query: a pipeline that finds span sets, or a metrics expression. It is immutable and safe for
// concurrent use. Parentheses are not part of the tree: the printer sets those that precedence needs.
type Query struct {
	Pipeline *Pipeline  // of a search; nil for metrics
	Metrics  MetricExpr // of a metrics query; nil for a search
	Hints    []Hint     // of the last with()
}

// IsMetrics reports whether the query asks for series instead of traces.
func (q *Query) IsMetrics() bool { return q.Metrics != nil }

// Hint is one name=value of with(). Names that nobody knows are kept and ignored.
type Hint struct {
	Name  string
	Value Value
}

// Hint finds a hint by name.
func (q *Query) Hint(name string) (Value, bool) {
	for _, h := range q.Hints {
		if h.Name == name {
			return h.Value, true
		}
	}
	return Value{}, false
}

// Pipeline is elements joined by |.
type Pipeline struct{ Elements []Element }

// Element is one step of a pipeline: it takes span sets and gives span sets.
type Element interface{ element() }

// Filter is {} or { Expr }.
type Filter struct {
	At   int // byte offset in the text, here and below
	Expr Expr
}

// SpansetOp joins two spanset expressions: && || > >> < << ~ and their negated and union forms.
type SpansetOp struct {
	At   int
	Op   Op
	L, R Element // Filter, SpansetOp or Sub
}

// Sub is a pipeline in parentheses that is more than a spanset expression.
type Sub struct {
	At       int
	Pipeline *Pipeline
}

// GroupBy is by(Expr).
type GroupBy struct {
	At   int
	Expr Expr
}

// Coalesce is coalesce().
type Coalesce struct{ At int }

// Select is select(Attrs...): Attribute or Intrinsic.
type Select struct {
	At    int
	Attrs []Expr
}

// ScalarFilter compares an aggregate with a constant: count() > 2.
type ScalarFilter struct {
	At   int
	Op   Op
	L, R Scalar
}

// Scalar is an Aggregate, a Constant or a ScalarOp.
type Scalar interface{ scalar() }

// Aggregate is count() or avg, min, max, sum of an expression.
type Aggregate struct {
	At   int
	Func string
	Expr Expr // nil for count
}

// Constant is a literal beside an aggregate; it may be negative.
type Constant struct {
	At    int
	Value Value
}

// ScalarOp is arithmetic of scalars; only constants may take part.
type ScalarOp struct {
	At   int
	Op   Op
	L, R Scalar
}

// Expr is an expression over one span: Literal, Attribute, Intrinsic, Unary or Binary.
type Expr interface{ exprPos() int }

// Literal is a constant.
type Literal struct {
	At    int
	Value Value
}

// Attribute names an attribute.
type Attribute struct {
	At     int
	Scope  AttrScope
	Name   string
	Parent bool // parent.: parses, and is refused by validation
}

// AttrScope says where an attribute stands.
type AttrScope uint8

// The scopes. ScopeNone looks into the span, then its resource, events, links and instrumentation scope.
const (
	ScopeNone AttrScope = iota
	ScopeSpan
	ScopeResource
	ScopeEvent
	ScopeLink
	ScopeInstrumentation
)

var scopeWords = [...]string{"", "span", "resource", "event", "link", "instrumentation"}

// Intrinsic is a field that every span or trace has.
type Intrinsic struct {
	At int
	ID IntrinsicID
}

// Unary is -X or !X.
type Unary struct {
	At int
	Op Op
	X  Expr
}

// Binary is arithmetic, a comparison, && or ||.
type Binary struct {
	At   int
	Op   Op
	L, R Expr
}

// MetricExpr is a MetricPipeline, MetricMath, MetricNumber or MetricStages.
type MetricExpr interface{ metricExpr() }

// MetricPipeline is a pipeline that ends in a metrics function.
type MetricPipeline struct {
	Pipeline *Pipeline
	Func     *MetricFunc
	Stages   []MetricStage
}

// MetricFunc is the first stage: what is computed of the spans.
type MetricFunc struct {
	At        int
	Name      string
	Attr      Expr      // of the *_over_time functions that take one
	Quantiles []float64 // of quantile_over_time
	By        []Expr
	// Of compare:
	Filter     *Filter
	Top        int64
	Start, End int64 // ns; 0 for none
	HasTop     bool
}

// MetricStage is topk, bottomk or a comparison with a literal.
type MetricStage struct {
	At    int
	Name  string // topk, bottomk, or empty
	N     int64
	Op    Op
	Value Value
}

// MetricMath joins two metric expressions by + - * /.
type MetricMath struct {
	At   int
	Op   Op
	L, R MetricExpr
}

// MetricNumber is a scalar in metric arithmetic.
type MetricNumber struct {
	At    int
	Value Value
}

// MetricStages applies stages to the result of arithmetic.
type MetricStages struct {
	X      MetricExpr
	Stages []MetricStage
}

func (*Filter) element()       {}
func (*SpansetOp) element()    {}
func (*Sub) element()          {}
func (*GroupBy) element()      {}
func (*Coalesce) element()     {}
func (*Select) element()       {}
func (*ScalarFilter) element() {}

func (*Aggregate) scalar() {}
func (*Constant) scalar()  {}
func (*ScalarOp) scalar()  {}

func (e *Literal) exprPos() int   { return e.At }
func (e *Attribute) exprPos() int { return e.At }
func (e *Intrinsic) exprPos() int { return e.At }
func (e *Unary) exprPos() int     { return e.At }
func (e *Binary) exprPos() int    { return e.At }

func (*MetricPipeline) metricExpr() {}
func (*MetricMath) metricExpr()     {}
func (*MetricNumber) metricExpr()   {}
func (*MetricStages) metricExpr()   {}
