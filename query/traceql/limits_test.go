package traceql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// TestBadTextIsBounded: texts made to hurt are refused with an error that says why, or work.
func TestBadTextIsBounded(t *testing.T) {
	many := func(n int, word, sep string) string { return strings.Repeat(word+sep, n-1) + word }
	for name, c := range map[string]struct{ text, want string }{
		"megabytes":        {`{ name = "` + strings.Repeat("x", 2<<20) + `" }`, "at most 1048576"},
		"a long string":    {`{ name = "` + strings.Repeat("x", 1<<19) + `" }`, ""},
		"parentheses":      {"{ " + strings.Repeat("(", 400_000) + " }", "more than 200000"},
		"deep parentheses": {"{ " + strings.Repeat("(", 5000) + ".a" + strings.Repeat(")", 5000) + " }", "deeper than"},
		"deep nots":        {"{ " + strings.Repeat("!", 5000) + ".a }", "deeper than"},
		"deep minus":       {"{ " + strings.Repeat("-", 5000) + ".a = 1 }", "deeper than"},
		"deep powers":      {"{ " + many(5000, ".a", " ^ ") + " = 1 }", "deeper than"},
		"deep spansets":    {strings.Repeat("(", 5000) + "{}" + strings.Repeat(")", 5000), "deeper than"},
		"deep metrics":     {strings.Repeat("(", 5000) + "{} | rate()" + strings.Repeat(")", 5000), "deeper than"},
		"10,000 ors":       {"{ " + many(10_000, `name = "x"`, " || ") + " }", ""},
		"40,000 ors":       {"{ " + many(40_000, ".a = 1", " || ") + " }", "more than 50000 parts"},
		"spansets":         {many(10_000, "{}", " >> "), ""},
		"pipes":            {many(30_000, "{}", " | "), ""},
		"alternatives":     {`{ name =~ "` + many(10_000, "abcdef", "|") + `" }`, "bad regular expression"},
		"repeats":          {`{ name =~ "((a{99}){9}){9}" }`, "bad regular expression"},
		"comments":         {strings.Repeat("/**/", 100_000) + "{}", ""},
		"stars":            {strings.Repeat("/*", 100_000), "comment without end"},
		"quotes":           {`{ .` + strings.Repeat(`"a"`, 100_000) + " = 1 }", ""},
		"selects":          {"{} | select(" + many(60_000, ".a", ",") + ")", "more than 50000 parts"},
		"control":          {"{ \x00 }", `unexpected '\x00'`},
		"not utf-8":        {"{ \xff }", "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := Parse(c.text)
			if c.want == "" {
				if err != nil {
					t.Fatalf("%.200v", err)
				}
				again, err := Parse(q.String())
				if err != nil || again.String() != q.String() {
					t.Errorf("printed text does not parse: %.200v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Errorf("%.300v, want %q", err, c.want)
			}
			var e *ParseError
			if errors.As(err, &e) && (len(e.Caret()) > 1000 || problem.Of(err).Kind != problem.Invalid) {
				t.Errorf("caret of %d bytes, kind %v", len(e.Caret()), problem.Of(err).Kind)
			}
		})
	}
}

// filled is an engine with n traces of three spans, a second apart.
func filled(t testing.TB, n int) *mem.Engine {
	engine := mem.New(mem.Options{})
	t.Cleanup(func() { engine.Close() })
	var w strings.Builder
	for i := range n {
		at := time.Duration(i) * time.Second
		fmt.Fprintf(&w, "%x 1 - front server root %s 100ms i=%d m=%d\n%x 2 1 cart client call %s 50ms i=%d\n%x 3 2 cart server call %s 40ms @status=%s\n",
			i+1, at, i, i%100, i+1, at+time.Millisecond, i, i+1, at+2*time.Millisecond, []string{"ok", "error"}[i%2])
	}
	if err := engine.Accept(t.Context(), storetest.Batch(t, w.String())); err != nil {
		t.Fatal(err)
	}
	return engine
}

func parse(t testing.TB, text string) *Query {
	q, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var day = store.TimeRange{From: storetest.At(0), To: storetest.At(24 * time.Hour)}

// TestBudgets: a query past its bounds is cut, says so in numbers, and what was found stands.
func TestBudgets(t *testing.T) {
	engine := filled(t, 2000)
	all := SearchRequest{Query: parse(t, `{ } | count() > 2`), Range: day, Limit: 2000}
	for name, c := range map[string]struct {
		options Options
		reason  string
	}{
		"bytes": {Options{MaxBytes: 600_000}, "memory budget of 0 MiB"},
		"spans": {Options{MaxSpans: 100}, "stopped after"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := New(engine, c.options).Search(t.Context(), scope, all, nil)
			if err != nil || r.Complete || !strings.Contains(r.Reason, c.reason) || len(r.Traces) == 2000 {
				t.Errorf("%d traces, %+v, %v", len(r.Traces), r.Done, err)
			}
			m, err := New(engine, c.options).Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{ } > { } | rate() by(span:id, trace:id)`), Range: day, Step: time.Minute}, nil)
			if err != nil || m.Complete || m.Reason == "" {
				t.Errorf("metrics: %+v, %v", m.Done, err)
			}
		})
	}
	t.Run("series", func(t *testing.T) {
		m, err := New(engine, Options{MaxSeries: 10}).Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{ } | rate() by(.i)`), Range: day, Step: time.Hour}, nil)
		if err != nil || m.Complete || len(m.Series) != 10 || !strings.Contains(m.Reason, "10 series") {
			t.Errorf("%d series, %+v, %v", len(m.Series), m.Done, err)
		}
	})
	t.Run("time", func(t *testing.T) {
		r, err := New(engine, Options{MaxTime: 1}).Search(t.Context(), scope, all, nil)
		if err != nil || r.Complete || !strings.Contains(r.Reason, "stopped after") {
			t.Errorf("%+v, %v", r, err)
		}
		m, err := New(engine, Options{MaxTime: 1}).Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{ } | rate()`), Range: day, Step: time.Hour}, nil)
		if err != nil || m.Complete || !strings.Contains(m.Reason, "stopped after") {
			t.Errorf("%+v, %v", m, err)
		}
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := New(engine, Options{}).Search(ctx, scope, all, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("search: %v", err)
		}
		if _, err := New(engine, Options{}).Metrics(ctx, scope, MetricsRequest{Query: parse(t, `{ } | rate()`), Range: day, Step: time.Hour}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("metrics: %v", err)
		}
	})
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	e := New(filled(t, 1), Options{})
	for name, c := range map[string]struct {
		run   func() error
		field string
	}{
		"a metrics query as a search": {func() error {
			_, err := e.Search(t.Context(), scope, SearchRequest{Query: parse(t, `{} | rate()`)}, nil)
			return err
		}, "q"},
		"a search as metrics": {func() error {
			_, err := e.Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{}`), Range: day, Step: 1}, nil)
			return err
		}, "q"},
		"limit": {func() error {
			_, err := e.Search(t.Context(), scope, SearchRequest{Query: parse(t, `{}`), Limit: 1 << 30}, nil)
			return err
		}, "limit"},
		"no step": {func() error {
			_, err := e.Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{} | rate()`), Range: day}, nil)
			return err
		}, "step"},
		"a tiny step": {func() error {
			_, err := e.Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{} | rate()`), Range: day, Step: 1}, nil)
			return err
		}, "step"},
		"a window backwards": {func() error {
			_, err := e.Metrics(t.Context(), scope, MetricsRequest{Query: parse(t, `{} | rate()`), Range: store.TimeRange{From: 5, To: 5}, Step: 1}, nil)
			return err
		}, "start"},
	} {
		if p := problem.Of(c.run()); p == nil || p.Kind != problem.Invalid || p.Field != c.field || p.Hint == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestProgress: each trace is told once, and metrics as they stand.
func TestProgress(t *testing.T) {
	engine := filled(t, 3000)
	seen := make(map[string]int)
	r, err := New(engine, Options{}).Search(t.Context(), scope, SearchRequest{Query: parse(t, `{ .m >= 0 } | count() > 0`), Range: day, Limit: 1500}, func(part *SearchResult) {
		for _, tr := range part.Traces {
			seen[tr.TraceID.String()]++
		}
	})
	if err != nil || len(r.Traces) != 1500 || len(seen) != 1500 {
		t.Fatalf("%d traces, %d told, %v", len(r.Traces), len(seen), err)
	}
	for i := 1; i < len(r.Traces); i++ {
		if r.Traces[i].Start >= r.Traces[i-1].Start {
			t.Fatal("not newest first")
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was told %d times", id, n)
		}
	}
	now := time.Unix(0, 0)
	told := 0
	_, err = New(engine, Options{Now: func() time.Time { now = now.Add(2 * time.Second); return now }}).Metrics(t.Context(), scope,
		MetricsRequest{Query: parse(t, `{ } | rate() | topk(1)`), Range: day, Step: time.Hour}, func(m *MetricsResult) { told += len(m.Series) })
	if err != nil || told == 0 {
		t.Errorf("told of %d series, %v", told, err)
	}
}

func TestSpanFilter(t *testing.T) {
	b := storetest.Batch(t, `
1 a - front server get 0s 1ms a=x b=1
1 b - cart client get 0s 1ms a=y @status=error`)
	for text, want := range map[string]string{
		``: "ab", `{`: "ab", `{}`: "ab", `{ .a = "x" }`: "a", `{ .a = "x" && name = }`: "a", `{ .a = "x" && name =`: "a", `{ .a = `: "ab",
		`{ (.a = "y" || .a = ) && status = error`: "b", `{ .a = "y" && (name = "get" && kind =`: "b", `{ .a = 1 && }`: "ab", `{ .a = "x" } && {}`: "ab",
		`{ .a = "x" } | count() > 1`: "ab", `{ name }`: "ab", `garbage`: "ab", `{ status = error }`: "b", `{ .b != nil`: "a", `{ resource.service.name = "cart" }`: "b",
		`{ .a = "x" && traceDuration > 1s }`: "a", `{ .a = "unclosed`: "ab",
	} {
		e, err := SpanFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		prog, err := match.Compile(e)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := ""
		for row, name := range []string{"a", "b"} {
			if prog.Bind(b).Row(row) {
				got += name
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestSlowExpressionsEnd: an expression made to be slow, on long texts, ends near its time and not after minutes.
func TestSlowExpressionsEnd(t *testing.T) {
	engine := mem.New(mem.Options{})
	t.Cleanup(func() { engine.Close() })
	var w strings.Builder
	for i := range 100 {
		fmt.Fprintf(&w, "1 %x - front server root 0s 1ms a=%s%d\n", i+1, strings.Repeat("ab", 1000), i)
	}
	if err := engine.Accept(t.Context(), storetest.Batch(t, w.String())); err != nil {
		t.Fatal(err)
	}
	q := parse(t, `{ } >> { } || { traceDuration > 0 && span.a =~ "(.*a.*b){60}c" }`)
	begin := time.Now()
	r, err := New(engine, Options{MaxTime: 50 * time.Millisecond}).Search(t.Context(), scope, SearchRequest{Query: q, Range: day}, nil)
	if took := time.Since(begin); err != nil || r.Complete || took > 20*time.Second {
		t.Errorf("%v after %s, %+v", err, took, r)
	}
}

// TestManySteps: steps that copy the spans of a large trace again and again end at the budget.
func TestManySteps(t *testing.T) {
	engine := mem.New(mem.Options{})
	t.Cleanup(func() { engine.Close() })
	var w strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&w, "1 %x - front server root 0s 1ms\n", i+1)
	}
	if err := engine.Accept(t.Context(), storetest.Batch(t, w.String())); err != nil {
		t.Fatal(err)
	}
	q := parse(t, strings.Repeat("{} || ", 3000)+"{}")
	r, err := New(engine, Options{MaxBytes: 16 << 20}).Search(t.Context(), scope, SearchRequest{Query: q, Range: day}, nil)
	if err != nil || r.Complete || !strings.Contains(r.Reason, "steps of the query") {
		t.Errorf("%+v, %v", r, err)
	}
	long := parse(t, "{ "+strings.Repeat("duration + ", 1000)+"1 > 0 }")
	r, err = New(engine, Options{}).Search(t.Context(), scope, SearchRequest{Query: long, Range: day}, nil)
	if err != nil || len(r.Traces) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
