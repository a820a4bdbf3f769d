// Package match evaluates store.Expr on rows of a span.Batch. A condition tree is compiled once, bound to each batch (keys
// become indexes there) and then asked row by row without allocating. Engines and process share it, so that a condition
// means the same everywhere.
//
// What the contract's comments leave open is decided here:
//   - An attribute with a null value is present: Exists holds, nothing else does. Bytes, mixed arrays and lists likewise.
//   - An empty array has no element, so only Exists holds on it.
//   - Intrinsics are always present, as empty text if need be: name != "x" holds on a span without a name. Exists on a
//     string intrinsic asks whether it is not empty. eventName is absent where a span has no events.
//   - Of an attribute repeated in one owner the last one counts, as in span.Batch.FindAttr.
//   - Text is ordered bytewise. NaN is unequal to everything and in no order with it.
package match

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// maxDepth bounds the nesting of a tree, maxConds its conditions, maxRegex the bytes of an expression: all come from foreign
// text. RE2 matches in linear time, but each byte of a value may cost a step for every instruction of the program, and programs
// can be a thousand times as large as their text: maxSteps bounds those. A list of a hundred names of services fits.
const (
	maxDepth = 500
	maxConds = 10_000
	maxRegex = 4 << 10
	maxSteps = 4_000
)

// Program is a compiled condition tree. It is immutable and safe for concurrent use.
type Program struct {
	root  *node // nil: holds always
	conds []*cond
}

type nodeOp uint8

const (
	opAnd nodeOp = iota
	opOr
	opNot
	opCond
)

type node struct {
	op   nodeOp
	kids []*node
	cond int // index into Program.conds
}

// cond is a Cond with its operand made ready for its operator.
type cond struct {
	field     store.Field
	intrinsic intrinsic // if field.In is store.Intrinsic
	op        store.Op
	typ       span.Type // of the operand
	loose     bool
	text      string
	raw       []byte // text
	isBool    bool   // of a bool operand: its value
	num       number // numeric operands; loose ones too where numeric
	numeric   bool   // compare as numbers: the operand is one or is loose and reads as one
	wantInt   bool   // loose Eq and Ne: text is the text form of num.i
	// loose Eq: text may be the text form of a double or a bool
	textOfScalar bool
	re           *regexp.Regexp
	words        []bool // kind and status: the answer by number, decided once
}

// Compile checks a condition tree and makes it ready; nil compiles to a program that holds always. Errors are problems
// of kind Invalid that name the field and what to write instead.
func Compile(exprs ...store.Expr) (*Program, error) {
	p := &Program{}
	var roots []*node
	for _, e := range exprs {
		if e == nil {
			continue
		}
		n, err := p.compile(e, 0)
		if err != nil {
			return nil, err
		}
		roots = append(roots, n)
	}
	switch len(roots) {
	case 0:
	case 1:
		p.root = roots[0]
	default:
		p.root = &node{op: opAnd, kids: roots}
	}
	return p, nil
}

// Always reports whether the program holds on every row.
func (p *Program) Always() bool { return p.root == nil }

func (p *Program) compile(e store.Expr, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, problem.New(problem.Invalid, fmt.Sprintf("the condition is nested deeper than %d levels", maxDepth), "use fewer parentheses")
	}
	switch e := e.(type) {
	case nil:
		return &node{op: opAnd}, nil
	case store.And:
		return p.list(opAnd, e, depth)
	case store.Or:
		return p.list(opOr, e, depth)
	case store.Not:
		n, err := p.compile(e.Expr, depth+1)
		if err != nil {
			return nil, err
		}
		return &node{op: opNot, kids: []*node{n}}, nil
	case store.Cond:
		if len(p.conds) == maxConds {
			return nil, problem.New(problem.Invalid, fmt.Sprintf("more than %d conditions", maxConds), "ask in several questions")
		}
		c, err := compileCond(e)
		if err != nil {
			return nil, err
		}
		p.conds = append(p.conds, c)
		return &node{op: opCond, cond: len(p.conds) - 1}, nil
	default:
		return nil, problem.New(problem.Invalid, fmt.Sprintf("unknown kind of condition %T", e), "")
	}
}

func (p *Program) list(op nodeOp, exprs []store.Expr, depth int) (*node, error) {
	n := &node{op: op}
	for _, e := range exprs {
		kid, err := p.compile(e, depth+1)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	return n, nil
}

func compileCond(e store.Cond) (*cond, error) {
	c := &cond{
		field: e.Field, op: e.Op, typ: e.Value.Type, loose: e.Value.Loose,
		text: e.Value.Text, raw: []byte(e.Value.Text), isBool: e.Value.Bool,
	}
	invalid := func(hint, format string, args ...any) (*cond, error) {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: e.Field.Key, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if e.Op > store.NotRegex {
		return invalid("", "unknown operator %d", e.Op)
	}
	switch {
	case e.Field.In > store.Intrinsic:
		return invalid("", "unknown scope %d", e.Field.In)
	case e.Field.In == store.Intrinsic:
		var known bool
		if c.intrinsic, known = intrinsics[e.Field.Key]; !known {
			return invalid("the intrinsic fields are "+intrinsicNames(), "%q is not an intrinsic field", e.Field.Key)
		}
	case e.Field.Key == "":
		return invalid("name the attribute", "a condition without an attribute key")
	}
	if e.Op == store.Exists {
		c.decideWords()
		return c, nil
	}
	if c.loose {
		c.typ = span.TypeString
	}
	switch c.typ {
	case span.TypeString:
	case span.TypeInt:
		c.num, c.numeric = number{i: e.Value.Int}, true
	case span.TypeDouble:
		c.num, c.numeric = number{float: true, f: e.Value.Num}, true
	case span.TypeBool:
		if c.op != store.Eq && c.op != store.Ne {
			return invalid("true and false can only be equal or not", "operator %s on a bool", OpText(c.op))
		}
	default:
		return invalid("compare with a string, a number or a bool", "operand of type %d", c.typ)
	}
	if c.op == store.Regex || c.op == store.NotRegex {
		if c.typ != span.TypeString {
			return invalid("write the expression in quotes", "operator %s needs a string", OpText(c.op))
		}
		re, err := compileRegex(c.text)
		if err != nil {
			return invalid("expressions are RE2 (https://github.com/google/re2/wiki/Syntax), anchored at both ends", "bad regular expression: %v", err)
		}
		c.re = re
	}
	if c.loose {
		c.readLoose()
	}
	if c.field.In == store.Intrinsic && !c.loose {
		if want := c.intrinsic.operand(); want != c.typ && !(want == span.TypeInt && c.typ == span.TypeDouble) {
			return invalid(fmt.Sprintf("compare it with %s", typeWords[want]), "%s cannot be compared with %s", e.Field.Key, typeWords[c.typ])
		}
	}
	if err := c.canonicalID(); err != nil {
		return nil, err
	}
	c.decideWords()
	return c, nil
}

// decideWords evaluates a condition on kind or status for every number there is; the last entry stands for the numbers that no
// specification knows.
func (c *cond) decideWords() {
	if c.field.In != store.Intrinsic {
		return
	}
	var texts []string
	switch c.intrinsic {
	case inKind:
		for k := span.KindUnspecified; k <= span.KindConsumer+1; k++ {
			texts = append(texts, k.String())
		}
	case inStatus:
		for s := span.StatusUnset; s <= span.StatusError+1; s++ {
			texts = append(texts, s.String())
		}
	}
	for _, text := range texts {
		c.words = append(c.words, c.op == store.Exists || c.textHolds([]byte(text)))
	}
}

var typeWords = map[span.Type]string{span.TypeString: "a string", span.TypeInt: "a number", span.TypeDouble: "a number", span.TypeBool: "true or false"}

// readLoose finds out as what a loose operand's text can be read.
func (c *cond) readLoose() {
	if c.re != nil {
		return
	}
	duration := c.field.In == store.Intrinsic && c.intrinsic == inDuration
	if duration {
		c.num, c.numeric = parseDuration(c.text)
	} else {
		c.num, c.numeric = parseNumber(c.text)
	}
	if (c.op == store.Eq || c.op == store.Ne) && !duration {
		// Text forms are compared; for ints that is the same as comparing numbers if the text is in canonical form.
		c.wantInt = c.numeric && !c.num.float && strconv.FormatInt(c.num.i, 10) == c.text
		c.textOfScalar = c.numeric || c.text == "true" || c.text == "false" || c.text == "NaN" || c.text == "+Inf" || c.text == "-Inf"
		c.numeric = false
	}
}

// canonicalID brings an id operand of Eq and Ne into the form in which ids are compared.
func (c *cond) canonicalID() error {
	if c.field.In != store.Intrinsic || c.op != store.Eq && c.op != store.Ne {
		return nil
	}
	var id interface{ String() string }
	var err error
	switch c.intrinsic {
	case inTraceID:
		id, err = span.ParseTraceID(c.text)
	case inSpanID:
		id, err = span.ParseSpanID(c.text)
	case inParentID:
		if c.text == "" {
			return nil
		}
		id, err = span.ParseSpanID(c.text)
	default:
		return nil
	}
	if err != nil {
		return &problem.Problem{Kind: problem.Invalid, Field: c.field.Key, Message: fmt.Sprintf("%q is not an id", c.text),
			Hint: "ids are hexadecimal: up to 32 digits for traces, 16 for spans", Err: err}
	}
	c.text = id.String()
	c.raw = []byte(c.text)
	return nil
}

// compileRegex anchors an expression at both ends. It is parsed alone first, so that "a)|(b" is not mended by the group
// around it.
func compileRegex(text string) (*regexp.Regexp, error) {
	if err := CheckRegex(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + text + `)\z`)
}

// CheckRegex tells whether an expression parses and is small enough to be matched against everything.
func CheckRegex(text string) error {
	if len(text) > maxRegex {
		return fmt.Errorf("it has %d bytes, at most %d are searched with", len(text), maxRegex)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		var wrong *syntax.Error
		if errors.As(err, &wrong) && len(wrong.Expr) > 100 {
			return &syntax.Error{Code: wrong.Code, Expr: strings.ToValidUTF8(wrong.Expr[:100], "") + "…"}
		}
		return err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	if n := len(prog.Inst); n > maxSteps {
		return fmt.Errorf("it unfolds to %d steps, at most %d are searched with", n, maxSteps)
	}
	return nil
}

// OpText is an operator as people write it.
func OpText(op store.Op) string {
	names := [...]string{"exists", "=", "!=", "<", "<=", ">", ">=", "=~", "!~"}
	if int(op) >= len(names) {
		return fmt.Sprintf("operator %d", op)
	}
	return names[op]
}

// Window is the time condition of a plan.
type Window struct {
	store.TimeRange
	Mode store.TimeMode
}

// Row reports whether a row meets the window.
func (w Window) Row(b *span.Batch, row int) bool {
	if w.Mode == store.Start {
		return w.Contains(b.Time[row])
	}
	return w.Overlaps(b.Time[row], b.EndTime(row))
}

// Block reports whether a row of a block may meet the window, given the block's first and last start and last end.
func (w Window) Block(firstStart, lastStart, lastEnd int64) bool {
	if w.To != 0 && firstStart >= w.To {
		return false
	}
	if w.Mode == store.Start {
		return lastStart >= w.From
	}
	return lastEnd >= w.From
}

// Covers reports whether every row of such a block meets the window by its start and its end.
func (w Window) Covers(firstStart, lastStart int64) bool {
	return firstStart >= w.From && (w.To == 0 || lastStart < w.To)
}
