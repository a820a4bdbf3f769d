package store

import (
	"errors"

	"github.com/spanloom/spanloom/span"
)

// ErrConflict says that a Meta document was changed in between.
var ErrConflict = errors.New("document was changed by someone else")

// TimeMode says how a span meets a time range.
type TimeMode uint8

// The time modes.
const (
	Overlap TimeMode = iota // any instant of the span lies in the range (TraceQL search)
	Start                   // the span's effective start lies in the range (metrics, Jaeger, Zipkin)
)

// Search is a plan: what TraceQL, the UI's chips, Jaeger's tags and Zipkin's annotationQuery compile to.
type Search struct {
	Range TimeRange
	Mode  TimeMode
	Match Expr // must hold on one span; nil: any span
	// TraceDuration bounds last end minus first start over all spans of the trace, in ns; Max 0 is open.
	TraceDuration struct{ Min, Max int64 }
	Limit         int    // traces a page; must be positive
	Page          string // Page.Next of the answer before; the other fields must be unchanged
}

// Scan is a plan that yields rows instead of traces.
type Scan struct {
	Range TimeRange
	Mode  TimeMode
	Match Expr
	Need  Need // what of the rows the caller reads; conditions need not be named
}

// Rows are the matching rows of one batch.
type Rows struct {
	Batch *span.Batch
	Rows  []uint32
	Read  Read // what was read since the last step
}

// Whole is all rows of a batch.
func Whole(b *span.Batch) Rows {
	rows := make([]uint32, b.Len())
	for i := range rows {
		rows[i] = uint32(i)
	}
	return Rows{Batch: b, Rows: rows}
}

// Page is one page of a search.
type Page struct {
	Traces []Summary
	Next   string // token of the next page, which sees the same snapshot for five minutes; empty on the last page
	Done
}

// Done says how much of the question was answered.
type Done struct {
	Complete bool
	Reason   string // why not complete, in words: "cancelled", "over the memory budget"
	Away     bool   // because the store, or a part of it, did not answer: the same question may find more later
	Read     Read
}

// Read counts what answering cost.
type Read struct {
	Blocks int64 // blocks (mem: chunks) looked into
	Of     int64 // blocks there are
	Bytes  int64
}

// Summary is one trace in a search answer.
type Summary struct {
	TraceID      span.TraceID
	Start, End   int64 // over all its spans, effective times
	RootService  string
	RootName     string // as stored; empty if the span has none
	RootKind     span.Kind
	RootMissing  bool // no span without parent is here; the earliest one stands in
	Spans        int
	Errors       int
	Matched      int
	MatchedStart int64              // start of its newest matching span: the order of the list
	MatchedSpans []span.SpanID      // the first few matching spans (at most 3), newest first
	Services     []ServiceInSummary // sorted by name
	Received     int64              // receipt of its newest span, ns, whole milliseconds
}

// ServiceInSummary counts one service's spans in a trace.
type ServiceInSummary struct {
	Name   string
	Spans  int
	Errors int
}

// Service is one service in a window.
type Service struct {
	Name      string
	Group     string
	Namespace string
	Spans     int64
	LastTime  int64 // start of its newest span
}

// Operation is a span name with its kind.
type Operation struct {
	Name string
	Kind span.Kind
	N    int64
}

// KeysQuery asks for attribute keys.
type KeysQuery struct {
	Range   TimeRange
	In      FieldScope // InAny for all owners
	Prefix  string
	Service string // only spans of it; empty for all
	Limit   int
}

// Key is an attribute key with where it stands.
type Key struct {
	Key  string
	In   FieldScope
	Type span.Type // the most frequent one
	N    int64
}

// ValuesQuery asks for the values of a field.
type ValuesQuery struct {
	Range  TimeRange
	Field  Field
	Match  Expr // only spans that meet it; nil for all
	Prefix string
	Limit  int
}

// ValueCount is a value in text form with its frequency.
type ValueCount struct {
	Text string
	Type span.Type
	N    int64
}

// Expr is a condition tree over one span. The zero interface (nil) holds always.
type Expr interface{ expr() }

// And holds if all do; an empty And holds.
type And []Expr

// Or holds if one does; an empty Or does not.
type Or []Expr

// Not holds if its condition does not. Note that a Cond on an absent attribute does not hold, whatever its Op: so
// Not{Cond{x = 1}} holds where x is absent and Cond{x != 1} does not (TraceQL's rule).
type Not struct{ Expr Expr }

// Cond compares one field with one value.
type Cond struct {
	Field Field
	Op    Op
	Value Operand // unused by Exists
}

func (And) expr()  {}
func (Or) expr()   {}
func (Not) expr()  {}
func (Cond) expr() {}

// FieldScope says where an attribute stands.
type FieldScope uint8

// The scopes. InAny finds the key in span attributes first, then resource, scope, events and links; a condition holds if it
// holds on any of them.
const (
	InAny FieldScope = iota
	InSpan
	InResource
	InScope
	InEvent
	InLink
	Intrinsic // Field.Key is one of the Field… names below
)

// String is the word of the own API.
func (s FieldScope) String() string {
	return [...]string{"any", "span", "resource", "scope", "event", "link", "intrinsic"}[s]
}

// Field names an attribute or an intrinsic.
type Field struct {
	In  FieldScope
	Key string
}

// The intrinsic fields and the types their operands have.
const (
	FieldService       = "service"       // string, as shown
	FieldGroup         = "group"         // string
	FieldNamespace     = "namespace"     // string
	FieldName          = "name"          // string, the operation
	FieldKind          = "kind"          // string: server, client ...
	FieldStatus        = "status"        // string: ok, error, unset
	FieldStatusMessage = "statusMessage" // string
	FieldDuration      = "duration"      // int, ns
	FieldError         = "error"         // bool: span.Batch.Failed
	FieldRoot          = "root"          // bool: has no parent id
	FieldSpanID        = "spanId"        // string, 16 hex digits
	FieldParentID      = "parentId"      // string, 16 hex digits; empty for roots
	FieldTraceID       = "traceId"       // string, 32 hex digits
	FieldTraceState    = "traceState"    // string
	FieldScopeName     = "scopeName"     // string
	FieldScopeVersion  = "scopeVersion"  // string
	FieldEventName     = "eventName"     // string; any event of the span
)

// Op compares.
type Op uint8

// The operators. On an absent field none of them holds. Lists (arrays, several events): Eq, Regex and the orders hold if
// they hold for any element, Ne and NotRegex if they hold for all.
const (
	Exists Op = iota
	Eq
	Ne
	Lt
	Le
	Gt
	Ge
	Regex // RE2, anchored at both ends
	NotRegex
)

// Operand is the value a Cond compares with. Numbers compare across int and double; otherwise a value of another type does
// not match.
type Operand struct {
	Type span.Type // TypeString, TypeInt, TypeDouble or TypeBool
	Text string
	Int  int64
	Num  float64
	Bool bool
	// Loose compares the text form of any scalar (200, true, 72.5) with Text: Jaeger's and Zipkin's tags and the UI's chips come
	// without types. For Lt to Ge both sides are numbers if Text reads as one (durations too, on FieldDuration).
	Loose bool
}

// Text makes a string operand.
func Text(s string) Operand { return Operand{Type: span.TypeString, Text: s} }

// ServiceIs holds on the spans of a service.
func ServiceIs(name string) Expr {
	return Cond{Field: Field{In: Intrinsic, Key: FieldService}, Op: Eq, Value: Text(name)}
}

// LooseText makes an operand compared by text form.
func LooseText(s string) Operand { return Operand{Type: span.TypeString, Text: s, Loose: true} }

// Int makes an int operand.
func Int(v int64) Operand { return Operand{Type: span.TypeInt, Int: v} }

// Num makes a double operand.
func Num(v float64) Operand { return Operand{Type: span.TypeDouble, Num: v} }

// Bool makes a bool operand.
func Bool(v bool) Operand { return Operand{Type: span.TypeBool, Bool: v} }
