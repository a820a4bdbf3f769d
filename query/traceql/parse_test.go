package traceql

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// tree writes a tree with every operator in parentheses, without positions.
func tree(n any) string {
	v := reflect.ValueOf(n)
	switch n := n.(type) {
	case nil:
		return "-"
	case Value:
		return n.Type.String() + ":" + n.Literal()
	case Op:
		return n.String()
	case IntrinsicID:
		return n.String()
	case *Query:
		return tree(n.Pipeline) + tree(n.Metrics) + tree(n.Hints)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "-"
		}
		return tree(v.Elem().Interface())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = tree(v.Index(i).Interface())
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Struct:
		parts := []string{v.Type().Name()}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "At" {
				parts = append(parts, tree(v.Field(i).Interface()))
			}
		}
		return "(" + strings.Join(parts, " ") + ")"
	default:
		return fmt.Sprint(n)
	}
}

func TestParsePrintsWhatParsesAgain(t *testing.T) {
	for _, q := range accepted {
		first, err := Parse(q)
		if err != nil {
			t.Errorf("%s\n%v", q, err)
			continue
		}
		second, err := Parse(first.String())
		if err != nil {
			t.Errorf("%s\nprinted %s\n%v", q, first, err)
			continue
		}
		if tree(first) != tree(second) {
			t.Errorf("%s\nprinted %s\n%s\n%s", q, first, tree(first), tree(second))
		}
	}
}

var accepted = []string{
	`{}`, `{ }`, `{ true }`, `{ .a }`, `{ !.a }`, `({})`, `(({}))`, `{ span."foo bar" = 1 }`, `{ ."a\"b" = 1 }`, `{ .foo."b c".d = 1 }`,
	`{ .a-1 = 1 }`, `{ .a + 1 = 2 }`, `{ .http.status_code/100 = 2 }`, `{ .5xx = 1 }`, `{ .a > .5 }`, `{ duration > .24h }`,
	`{ duration > 1d12h && duration < 1.5s && duration != 5µs && duration = 10ns }`, `{ -.a * .b = 1 }`, `{ (-.a) * .b = 1 }`, `{ -.a + .b = 1 }`,
	`{ .a ^ .b ^ .c = 1 }`, `{ (.a ^ .b) ^ .c = 1 }`, `{ .a * -.b * .c = 1 }`, `{ .a - -.b = 1 }`, `{ !(.a = .b) }`, `{ !.a = .b }`, `{ !(.a && .b) || .c }`,
	`{ .a || .b && .c }`, `{ .a || (.b && .c) }`, `{ .a - (.b - .c) = 1 }`, `{ .a = -1 }`, `{ .a > minInt && .a < maxInt }`,
	"{ name =~ `a.*` }", `{ name = "a\x00\u00e4\n\"\\" }`, `{ .a = nil }`, `{ nil != .a }`, `{ nil = nil }`, `{ duration = 5 }`,
	`{ status = error && kind = server }`, `{ span:status != ok }`, `{ trace:rootService = "x" || trace:rootName = "y" || trace:duration > 1s }`,
	`{ event:name = "x" && event:timeSinceStart > 1ms && link:traceID = "1" && link:spanID = "2" && instrumentation:name = "n" && instrumentation:version = "v" }`,
	`{ nestedSetParent < 0 && nestedSetLeft > 1 && nestedSetRight > 1 && span:childCount > 1 && span:id = "1" && span:parentID = "" && trace:id = "1" }`,
	`{ resource.a = 1 && event.b = 2 && link.c = 3 && instrumentation.d = 4 }`, `{ name < "b" }`, `{ .a = true && .b != false }`,
	`{ .a } && { .b } >> { .c }`, `{ .a } || { .b } && { .c }`, `{ .a } > { .b } >> { .c }`, `{ .a } > ({ .b } >> { .c })`,
	`{} > {} >> {} < {} << {} ~ {} !> {} !>> {} !< {} !<< {} !~ {} &> {} &>> {} &< {} &<< {} &~ {}`,
	`{} | { .a }`, `{} | by(name) | count() > 1 | coalesce() | select(name, .a)`, `by(name)`, `select(.a)`, `count() > 1`, `2 < count()`, `{} | avg(duration) >= 1s`,
	`{} | max(.a + 1) = 1 + 2 * 3`, `{} | min(.a) > -1`, `{} | sum(span.a) != 1.5`, `({} | count() > 1) && ({} | avg(duration) > 1s)`,
	`({} | count()) > 5`, `({ .a } &>> { .b }) || ({ .a }) | select(status)`, `{} with(most_recent=true)`, `{} with(a=1) with(b="x", c=-1.5, d=1s)`,
	`{} | rate()`, `{} | rate() by(name, resource.a) with(sample=true)`, `{} | count_over_time() by(.a)`, `{} | quantile_over_time(duration, .5, 0.9, 1) by(.a)`,
	`{} | min_over_time(.a)`, `{} | max_over_time(duration)`, `{} | avg_over_time(.a)`, `{} | sum_over_time(.a)`, `{} | histogram_over_time(duration)`,
	`{} | compare({ status = error })`, `{} | compare({ status = error }, 5)`, `{} | compare({ true }, 10, 100, 200)`, `{} > {} | rate() | topk(5)`,
	`{} | rate() > 10 | topk(5) <= 3`, `{} | rate() | bottomk(1)`, `{} | avg_over_time(duration) > 1s`,
	`({} | rate()) / ({ .b } | rate()) * 100`, `100 * (({} | rate()) - ({ .b } | rate()))`, `(({} | rate()) + ({} | rate())) / 2 > 0.5 | topk(1)`,
	`(({}) | rate())`, `(({} | rate()) > 1) + ({} | rate() | topk(1))`, `-1 * ({} | rate())`,
	"{ // a comment\n .a = 1 /* and\n another */ }",
	`{ .service.name = "app.ns"  && .istio.cluster_id = "Kubernetes"   } && {  }| select(status, .service_name, resource.hostname, name)`,
	`{resource.service.name="a" && span.http.method=~"GET|POST" && duration>100ms && (name="x" || name="y")}`,
	`{nestedSetParent<0 && true && status=error} | rate() by(resource.service.name) with(sample=true)`,
}

func TestPrecedence(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{`{ .a || .b && .c }`, `((.a || .b) && .c)`},
		{`{ .a && .b || .c }`, `((.a && .b) || .c)`},
		{`{ !.a = .b }`, `((!.a) = .b)`},
		{`{ !(.a = .b) && .c }`, `((!(.a = .b)) && .c)`},
		{`{ -.a * .b = 1 }`, `((-(.a * .b)) = 1)`},
		{`{ -.a + .b = 1 }`, `(((-.a) + .b) = 1)`},
		{`{ .a * -.b + .c = 1 }`, `(((.a * (-.b)) + .c) = 1)`},
		{`{ .a ^ .b ^ .c = 1 }`, `((.a ^ (.b ^ .c)) = 1)`},
		{`{ .a - .b - .c = 1 }`, `(((.a - .b) - .c) = 1)`},
		{`{ .a + .b * .c ^ .d > 1 }`, `((.a + (.b * (.c ^ .d))) > 1)`},
		{`{.a} && {.b} >> {.c}`, `({.a} && ({.b} >> {.c}))`},
		{`{.a} || {.b} && {.c}`, `(({.a} || {.b}) && {.c})`},
		{`{.a} > {.b} >> {.c}`, `(({.a} > {.b}) >> {.c})`},
	} {
		q, err := Parse(c.query)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		e := q.Pipeline.Elements[0]
		got := grouped(e)
		if f, ok := e.(*Filter); ok {
			got = groupedExpr(f.Expr)
		}
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.query, got, c.want)
		}
	}
}

func grouped(e Element) string {
	if op, ok := e.(*SpansetOp); ok {
		return "(" + grouped(op.L) + " " + op.Op.String() + " " + grouped(op.R) + ")"
	}
	return "{" + groupedExpr(e.(*Filter).Expr) + "}"
}

func groupedExpr(e Expr) string {
	switch e := e.(type) {
	case *Unary:
		return "(" + e.Op.String() + groupedExpr(e.X) + ")"
	case *Binary:
		return "(" + groupedExpr(e.L) + " " + e.Op.String() + " " + groupedExpr(e.R) + ")"
	default:
		return exprText(e)
	}
}
