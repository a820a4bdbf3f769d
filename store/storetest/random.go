package storetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spanloom/spanloom/store"
)

// RandomText makes n spans in text form from small vocabularies, so that values, times and ids meet often: duplicates,
// shared spans, twins, all value types, absent and backward times. first is added to trace ids.
func RandomText(r *rand.Rand, n, traces int, first int) string {
	var w strings.Builder
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for range n {
		trace := fmt.Sprintf("%x", first+1+r.IntN(traces))
		if r.IntN(20) == 0 {
			trace = "1" + strings.Repeat("0", 32-1-len(trace)) + trace
		}
		start := (time.Duration(r.IntN(2000)) * time.Millisecond).String()
		if r.IntN(60) == 0 {
			start = pick("none", "=5", "48h")
		}
		fmt.Fprintf(&w, "%s %x %s %s %s %s %s %s", trace, 1+r.IntN(12), pick("-", "1", "2", "3"), pick("front", "cart", "ad", "-", `"ein laden"`),
			pick("server", "client", "internal", "consumer"), pick(`"GET /"`, `"POST /cart"`, "query", "-"), start,
			pick("0s", "1ms", "10ms", "1.5s", "-2ms", "none"))
		for range r.IntN(5) {
			fmt.Fprintf(&w, " %s=%s", randomKey(r), randomValue(r))
		}
		if r.IntN(2) == 0 {
			fmt.Fprintf(&w, " resource:%s=%s", randomKey(r), randomValue(r))
		}
		if r.IntN(4) == 0 {
			fmt.Fprintf(&w, " scope:%s=%s @scope=%s @scope.version=1", randomKey(r), randomValue(r), pick("lib", "otel"))
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&w, " @status=%s", pick("ok", "error", "unset"))
		}
		if r.IntN(5) == 0 {
			fmt.Fprintf(&w, " @message=%s @state=%s @group=%s @namespace=%s", pick("boom", "late"), pick("a=1", "b=2"), pick("g", "h"), pick("prod", "test"))
		}
		w.WriteByte('\n')
		for range r.IntN(7) - 4 {
			fmt.Fprintf(&w, "  event %s 1ms %s=%s %s=%s\n", pick("exception", "retry", "-"), randomKey(r), randomValue(r), randomKey(r), randomValue(r))
		}
		for range r.IntN(6) - 4 {
			fmt.Fprintf(&w, "  link 7 8 %s=%s\n", randomKey(r), randomValue(r))
		}
	}
	return w.String()
}

func randomKey(r *rand.Rand) string { return string(rune('a' + r.IntN(6))) }

var randomValues = []string{
	"x", "y", "xyz", `""`, `"200"`, `"72.5"`, `"10.0.0.1"`, "true", "false", "200", "-1", "9007199254740993", "72.5", "200.0", "1e300",
	"9007199254740992.0", "NaN", "+Inf", "null", "bytes:00ff", "[]", `["x","y"]`, `["x"]`, "[1,200]", "[72.5,200.0]", "[true,false]", "array:0a00",
	"kvlist:0a00", `"true"`,
}

func randomValue(r *rand.Rand) string { return randomValues[r.IntN(len(randomValues))] }

// RandomExpr makes a valid condition tree over the vocabulary of RandomText.
func RandomExpr(r *rand.Rand, depth int) store.Expr {
	if depth > 0 {
		switch r.IntN(6) {
		case 0:
			return store.Not{Expr: RandomExpr(r, depth-1)}
		case 1, 2:
			list := make(store.And, r.IntN(4))
			for i := range list {
				list[i] = RandomExpr(r, depth-1)
			}
			return list
		case 3:
			list := make(store.Or, r.IntN(4))
			for i := range list {
				list[i] = RandomExpr(r, depth-1)
			}
			return list
		}
	}
	return RandomCond(r)
}

// RandomCond makes one valid condition.
func RandomCond(r *rand.Rand) store.Cond {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	op := store.Op(r.IntN(int(store.NotRegex) + 1))
	order := func() store.Op { return store.Op(r.IntN(int(store.Ge) + 1)) }
	if r.IntN(2) == 0 {
		f := store.Field{In: store.FieldScope(r.IntN(int(store.InLink) + 1)), Key: randomKey(r)}
		switch r.IntN(5) {
		case 0:
			return store.Cond{Field: f, Op: order(), Value: store.Int([]int64{200, -1, 1, 9007199254740993, 9007199254740992}[r.IntN(5)])}
		case 1:
			return store.Cond{Field: f, Op: order(), Value: store.Num([]float64{72.5, 200, 1e300, 9007199254740992, -0.5}[r.IntN(5)])}
		case 2:
			return store.Cond{Field: f, Op: []store.Op{store.Eq, store.Ne}[r.IntN(2)], Value: store.Bool(r.IntN(2) == 0)}
		case 3:
			return store.Cond{Field: f, Op: op, Value: store.LooseText(pick("x", "200", "72.5", "200.0", "true", "1e2", "x.*", "9007199254740993", "1e+300", "", "NaN"))}
		default:
			return store.Cond{Field: f, Op: op, Value: store.Text(pick("x", "y", "x.*", ".*", "200", "", "[xy]"))}
		}
	}
	field := func(key string) store.Field { return store.Field{In: store.Intrinsic, Key: key} }
	switch r.IntN(6) {
	case 0:
		v := []store.Operand{store.Int(1_000_000), store.Num(1e7), store.LooseText("10ms"), store.LooseText("1500000000")}[r.IntN(4)]
		return store.Cond{Field: field(store.FieldDuration), Op: order(), Value: v}
	case 1:
		return store.Cond{Field: field(pick(store.FieldError, store.FieldRoot)), Op: store.Eq, Value: store.Bool(r.IntN(2) == 0)}
	case 2:
		return store.Cond{Field: field(pick(store.FieldSpanID, store.FieldParentID, store.FieldTraceID)), Op: []store.Op{store.Exists, store.Eq, store.Ne, store.Gt}[r.IntN(4)],
			Value: store.Text(pick("1", "2", "0x3", "000A"))}
	default:
		key := pick(store.FieldService, store.FieldGroup, store.FieldNamespace, store.FieldName, store.FieldKind, store.FieldStatus,
			store.FieldStatusMessage, store.FieldTraceState, store.FieldScopeName, store.FieldScopeVersion, store.FieldEventName)
		text := pick("front", "cart", "g", "prod", "GET /", "query", "server", "error", "boom", "a=1", "lib", "1", "retry", "", ".*a.*", "[^e]+")
		v := store.Text(text)
		v.Loose = r.IntN(4) == 0
		return store.Cond{Field: field(key), Op: op, Value: v}
	}
}
