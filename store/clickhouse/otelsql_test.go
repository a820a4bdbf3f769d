package clickhouse

import (
	"math"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// exporterTypes are the columns of a table of today's exporter.
func exporterTypes() map[string]string {
	types := make(map[string]string)
	for _, c := range otelNeeded {
		types[c.name] = c.example
	}
	return types
}

func TestOtelSQL(t *testing.T) {
	table, err := newOtelTable("db", "otel_traces", exporterTypes())
	if err != nil {
		t.Fatal(err)
	}
	in := func(scope store.FieldScope, key string, op store.Op, v store.Operand) store.Cond {
		return store.Cond{Field: store.Field{In: scope, Key: key}, Op: op, Value: v}
	}
	const code = "(mapContains(SpanAttributes, 'code') AND SpanAttributes['code'] = '200')"
	for _, c := range []struct {
		name      string
		expr      store.Expr
		may, must string
	}{
		{"service", store.ServiceIs("front"), "ServiceName = 'front'", "ServiceName = 'front'"},
		{"int", in(store.InSpan, "code", store.Eq, store.Int(200)), code, no},
		{"not", store.Not{Expr: in(store.InSpan, "code", store.Eq, store.Int(200))}, yes, "NOT " + code},
		{"exists", in(store.InResource, "o'k", store.Exists, store.Operand{}), `mapContains(ResourceAttributes, 'o\'k')`, `mapContains(ResourceAttributes, 'o\'k')`},
		{"event", in(store.InEvent, "k", store.Eq, store.Text("v")), "arrayExists(m -> (mapContains(m, 'k') AND m['k'] = 'v'), Events.Attributes)", no},
		{"of a scope", in(store.InScope, "k", store.Exists, store.Operand{}), no, no},
		{"no failure", in(store.Intrinsic, store.FieldError, store.Eq, store.Bool(false)), "NOT StatusCode IN ('Error', 'STATUS_CODE_ERROR')",
			"NOT (StatusCode IN ('Error', 'STATUS_CODE_ERROR') OR StatusCode NOT IN ('Ok', 'STATUS_CODE_OK') AND SpanAttributes['error'] NOT IN ('', 'false'))"},
		{"trace", in(store.Intrinsic, store.FieldTraceID, store.Eq, store.Text("ab")), "TraceId = '000000000000000000000000000000ab'", "TraceId = '000000000000000000000000000000ab'"},
		{"group", in(store.Intrinsic, store.FieldGroup, store.Eq, store.Text("g")), yes, no},
	} {
		if got := sqlOf(table, c.expr); got.May != c.may || got.Must != c.must {
			t.Errorf("%s: may %s, must %s; want may %s, must %s", c.name, got.May, got.Must, c.may, c.must)
		}
	}
}

func TestOtelColumns(t *testing.T) {
	for _, c := range []struct{ name, column, typ, want string }{
		{"as people set it", "Timestamp", "DateTime64(6, 'UTC')", ""},
		{"as it was in 2023", "Duration", "Int64", ""},
		{"with texts without a dictionary", "ServiceName", "String", ""},
		{"another type", "TraceId", "FixedString(32)", "TraceId is FixedString(32), not String"},
		{"attributes in JSON", "SpanAttributes", "JSON", "SpanAttributes is JSON"},
		{"without a column", "Links.TraceState", "", "it lacks Links.TraceState Array(String)"},
		{"without scopes", "ScopeName", "", ""},
	} {
		types := exporterTypes()
		if types[c.column] = c.typ; c.typ == "" {
			delete(types, c.column)
		}
		_, err := newOtelTable("db", "otel_traces", types)
		if c.want == "" && err != nil || c.want != "" && (problem.Of(err) == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestLooksLike(t *testing.T) {
	for text, want := range map[string]span.Type{
		"": span.TypeString, "0": span.TypeInt, "-1": span.TypeInt, "9223372036854775807": span.TypeInt, "-9223372036854775808": span.TypeInt,
		"9223372036854775808": span.TypeString, "007": span.TypeString, "+5": span.TypeString, "-0": span.TypeString, "-": span.TypeString, "1.1": span.TypeString,
		"1e3": span.TypeString, " 1": span.TypeString, "true": span.TypeBool, "false": span.TypeBool, "True": span.TypeString, "NaN": span.TypeString,
	} {
		if got := looksLike([]byte(text)); got != want {
			t.Errorf("%q is of type %d, want %d", text, got, want)
		}
	}
}

// TestOtelRanges: what prunes is never narrower than the range, whatever its ends are.
func TestOtelRanges(t *testing.T) {
	table := new(otelTable)
	for _, c := range []struct {
		r    store.TimeRange
		mode store.TimeMode
		want string
	}{
		{store.TimeRange{}, store.Overlap, yes},
		{store.TimeRange{From: 172800e9, To: 172801e9}, store.Start, "(Timestamp < fromUnixTimestamp64Nano(172801000000000) AND Timestamp >= fromUnixTimestamp64Nano(172800000000000))"},
		{store.TimeRange{From: 172800e9}, store.Overlap, "Timestamp >= fromUnixTimestamp64Nano(86400000000000) AND " + endsFrom(172800e9)},
		{store.TimeRange{From: math.MinInt64}, store.Overlap, "Timestamp >= fromUnixTimestamp64Nano(0) AND " + endsFrom(math.MinInt64)},
	} {
		if got := table.during(c.r, c.mode); got != c.want {
			t.Errorf("%+v: %s, want %s", c.r, got, c.want)
		}
	}
	if got := table.windows(math.MinInt64); got[0] != "Timestamp >= fromUnixTimestamp64Nano(0)" {
		t.Errorf("windows %q", got)
	}
}
