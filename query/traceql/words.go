package traceql

import "github.com/spanloom/spanloom/span"

// Op is an operator of any level.
type Op uint8

// The operators.
const (
	OpNone Op = iota
	OpAnd
	OpOr
	OpEq
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpRegex
	OpNotRegex
	OpAdd
	OpSub
	OpMul
	OpDiv
	OpMod
	OpPow
	OpNot
	// Between span sets. The order is that of relation times form, see structure.
	OpChild
	OpDescendant
	OpParent
	OpAncestor
	OpSibling
	OpNotChild
	OpNotDescendant
	OpNotParent
	OpNotAncestor
	OpNotSibling
	OpUnionChild
	OpUnionDescendant
	OpUnionParent
	OpUnionAncestor
	OpUnionSibling
)

var opTexts = [...]string{"", "&&", "||", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "+", "-", "*", "/", "%", "^", "!",
	">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~"}

// String is the operator as a query writes it.
func (o Op) String() string { return opTexts[o] }

// precedence of binary operators between fields; higher binds tighter. 0: none.
func (o Op) precedence() int {
	switch o {
	case OpAnd, OpOr:
		return 2
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe, OpRegex, OpNotRegex:
		return 3
	case OpAdd, OpSub:
		return 4
	case OpMul, OpDiv, OpMod:
		return 6
	case OpPow:
		return 7
	}
	if o >= OpChild {
		return 3
	}
	return 0
}

// The levels of the prefix operators.
const (
	minusPrecedence = 4
	notPrecedence   = 5
)

func (o Op) isComparison() bool { return o >= OpEq && o <= OpNotRegex }
func (o Op) isArithmetic() bool { return o >= OpAdd && o <= OpPow }
func (o Op) isOrder() bool      { return o >= OpLt && o <= OpGe }

// IntrinsicID numbers the intrinsics.
type IntrinsicID uint8

// The intrinsics.
const (
	Duration IntrinsicID = iota
	Name
	Status
	StatusMessage
	Kind
	TraceDuration
	RootName
	RootServiceName
	TraceID
	SpanID
	ParentID
	ChildCount
	EventName
	EventTimeSinceStart
	LinkTraceID
	LinkSpanID
	InstrumentationName
	InstrumentationVersion
	NestedSetLeft
	NestedSetRight
	NestedSetParent
	Parent
)

// intrinsics by number: the canonical name and the type; array for those that a span may have several of.
var intrinsics = [...]struct {
	name string
	typ  staticType
	many bool
}{
	Duration:               {"duration", isDuration, false},
	Name:                   {"name", isString, false},
	Status:                 {"status", isStatus, false},
	StatusMessage:          {"statusMessage", isString, false},
	Kind:                   {"kind", isKind, false},
	TraceDuration:          {"traceDuration", isDuration, false},
	RootName:               {"rootName", isString, false},
	RootServiceName:        {"rootServiceName", isString, false},
	TraceID:                {"trace:id", isString, false},
	SpanID:                 {"span:id", isString, false},
	ParentID:               {"span:parentID", isString, false},
	ChildCount:             {"span:childCount", isNumber, false},
	EventName:              {"event:name", isString, true},
	EventTimeSinceStart:    {"event:timeSinceStart", isDuration, true},
	LinkTraceID:            {"link:traceID", isString, true},
	LinkSpanID:             {"link:spanID", isString, true},
	InstrumentationName:    {"instrumentation:name", isString, false},
	InstrumentationVersion: {"instrumentation:version", isString, false},
	NestedSetLeft:          {"nestedSetLeft", isNumber, false},
	NestedSetRight:         {"nestedSetRight", isNumber, false},
	NestedSetParent:        {"nestedSetParent", isNumber, false},
	Parent:                 {"parent", isAttribute, false},
}

// String is the canonical name.
func (i IntrinsicID) String() string { return intrinsics[i].name }

// scopedIntrinsics are the forms with a colon.
var scopedIntrinsics = map[string]IntrinsicID{
	"span:duration": Duration, "span:name": Name, "span:status": Status, "span:statusMessage": StatusMessage, "span:kind": Kind,
	"span:id": SpanID, "span:parentID": ParentID, "span:childCount": ChildCount,
	"trace:duration": TraceDuration, "trace:rootName": RootName, "trace:rootService": RootServiceName, "trace:id": TraceID,
	"event:name": EventName, "event:timeSinceStart": EventTimeSinceStart, "link:traceID": LinkTraceID, "link:spanID": LinkSpanID,
	"instrumentation:name": InstrumentationName, "instrumentation:version": InstrumentationVersion,
}

// plainIntrinsics are the words without a scope.
var plainIntrinsics = map[string]IntrinsicID{
	"duration": Duration, "name": Name, "status": Status, "statusMessage": StatusMessage, "kind": Kind,
	"traceDuration": TraceDuration, "rootName": RootName, "rootServiceName": RootServiceName,
	"nestedSetLeft": NestedSetLeft, "nestedSetRight": NestedSetRight, "nestedSetParent": NestedSetParent, "parent": Parent,
}

// constants are the words that are values.
var constants = map[string]Value{
	"true": BoolValue(true), "false": BoolValue(false), "nil": {},
	"minInt": IntValue(-1 << 63), "maxInt": IntValue(1<<63 - 1),
	"ok": StatusValue(span.StatusOK), "error": StatusValue(span.StatusError), "unset": StatusValue(span.StatusUnset),
	"unspecified": KindValue(span.KindUnspecified), "internal": KindValue(span.KindInternal), "server": KindValue(span.KindServer),
	"client": KindValue(span.KindClient), "producer": KindValue(span.KindProducer), "consumer": KindValue(span.KindConsumer),
}

var aggregates = map[string]bool{"count": true, "avg": true, "min": true, "max": true, "sum": true}

// metricFuncs are the first stages of metrics.
var metricFuncs = map[string]metricShape{
	"rate": {}, "count_over_time": {}, "min_over_time": {attr: true}, "max_over_time": {attr: true}, "avg_over_time": {attr: true},
	"sum_over_time": {attr: true}, "histogram_over_time": {attr: true, bucketed: true},
	"quantile_over_time": {attr: true, bucketed: true, quantiles: true}, "compare": {compare: true},
}

type metricShape struct{ attr, bucketed, quantiles, compare bool }

// pipelineWords begin an element of a pipeline.
var pipelineWords = []string{"by", "select", "coalesce", "count", "avg", "min", "max", "sum", "with", "topk", "bottomk",
	"rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time", "histogram_over_time",
	"quantile_over_time", "compare"}

// fieldWords are what may stand in braces beside attributes.
func fieldWords() []string {
	words := []string{"span.", "resource.", "event.", "link.", "instrumentation."}
	for w := range plainIntrinsics {
		words = append(words, w)
	}
	for w := range scopedIntrinsics {
		words = append(words, w)
	}
	for w := range constants {
		words = append(words, w)
	}
	return words
}
