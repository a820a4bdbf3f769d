package query

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

func intrinsic(key string, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
}

func attribute(in store.FieldScope, key string, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: in, Key: key}, Op: op, Value: v}
}

func TestParseFilters(t *testing.T) {
	for _, c := range []struct {
		text, printed string // printed: where it differs
		want          store.Cond
	}{
		{`service=productpage`, ``, intrinsic(store.FieldService, store.Eq, store.LooseText("productpage"))},
		{`serviceName = productpage`, `service=productpage`, intrinsic(store.FieldService, store.Eq, store.LooseText("productpage"))},
		{`name!="a b"`, `operation!=a b`, intrinsic(store.FieldName, store.Ne, store.LooseText("a b"))},
		{`operation=reviews:9080/*`, ``, intrinsic(store.FieldName, store.Eq, store.LooseText("reviews:9080/*"))},
		{`operation="server reviews"`, `operation=server reviews`, intrinsic(store.FieldName, store.Eq, store.LooseText("server reviews"))},
		{`namespace=~shop|bookinfo`, ``, intrinsic(store.FieldNamespace, store.Regex, store.LooseText("shop|bookinfo"))},
		{`kind=server`, ``, intrinsic(store.FieldKind, store.Eq, store.LooseText("server"))},
		{`kind=~server|consumer`, ``, intrinsic(store.FieldKind, store.Regex, store.LooseText("server|consumer"))},
		{`status!=ok`, ``, intrinsic(store.FieldStatus, store.Ne, store.LooseText("ok"))},
		{`error=true`, ``, intrinsic(store.FieldError, store.Eq, store.Bool(true))},
		{`duration>250ms`, ``, intrinsic(store.FieldDuration, store.Gt, store.Int(250e6))},
		{`duration<=1d`, `duration<=24h0m0s`, intrinsic(store.FieldDuration, store.Le, store.Int(24*3600e9))},
		{`duration?`, ``, intrinsic(store.FieldDuration, store.Exists, store.Operand{})},
		{`span.http.status_code=503`, ``, attribute(store.InSpan, "http.status_code", store.Eq, store.LooseText("503"))},
		{`span.http.status_code >= 500`, `span.http.status_code>=500`, attribute(store.InSpan, "http.status_code", store.Ge, store.LooseText("500"))},
		{`resource.k8s.pod.name!~web-.*`, ``, attribute(store.InResource, "k8s.pod.name", store.NotRegex, store.LooseText("web-.*"))},
		{`.guid:x-request-id=a=b`, ``, attribute(store.InAny, "guid:x-request-id", store.Eq, store.LooseText("a=b"))},
		{`event.exception.type?`, ``, attribute(store.InEvent, "exception.type", store.Exists, store.Operand{})},
		{`link.x=1`, ``, attribute(store.InLink, "x", store.Eq, store.LooseText("1"))},
		{`scope.x=1`, ``, attribute(store.InScope, "x", store.Eq, store.LooseText("1"))},
		{`span.x=""`, ``, attribute(store.InSpan, "x", store.Eq, store.LooseText(""))},
		{`span.x="=a"`, ``, attribute(store.InSpan, "x", store.Eq, store.LooseText("=a"))},
		{`span.x="say \"hi\"\n"`, ``, attribute(store.InSpan, "x", store.Eq, store.LooseText("say \"hi\"\n"))},
		{`span.x=say "hi"`, ``, attribute(store.InSpan, "x", store.Eq, store.LooseText(`say "hi"`))},
		{`span."a key = 1?"?`, ``, attribute(store.InSpan, "a key = 1?", store.Exists, store.Operand{})},
		{`.한글=값`, ``, attribute(store.InAny, "한글", store.Eq, store.LooseText("값"))},
		{`traceId=0AF7`, ``, intrinsic(store.FieldTraceID, store.Eq, store.LooseText("0AF7"))},
	} {
		f, err := ParseFilters([]string{c.text})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if want := (store.And{c.want}); !reflect.DeepEqual(f.Match, store.Expr(want)) {
			t.Errorf("%s: got %+v, want %+v", c.text, f.Match, want)
		}
		if _, err := match.Compile(f.Match); err != nil {
			t.Errorf("%s: engines do not take it: %v", c.text, err)
		}
		printed, err := FormatFilters(f)
		want := c.printed
		if want == "" {
			want = c.text
		}
		if err != nil || len(printed) != 1 || printed[0] != want {
			t.Errorf("%s: printed %q, %v", c.text, printed, err)
		}
	}
}

func TestParseFilterErrors(t *testing.T) {
	for _, c := range []struct{ text, message, hint string }{
		{``, `a field was expected at position 1 of ""`, "service=productpage"},
		{`=x`, `a field was expected at position 1`, ""},
		{`servce=x`, `unknown field "servce" at position 1`, "did you mean service?"},
		{`http.method=GET`, `unknown field "http.method" at position 1`, "span.http.method"},
		{`service`, `an operator was expected at position 8`, "operators are"},
		{`service!x`, `an operator was expected at position 8`, "operators are"},
		{`service=`, `a value was expected at position 9`, `write ""`},
		{`span.=x`, `an attribute key was expected at position 6`, "write the key"},
		{`span."a=x`, `the quoted key has no end at position 6`, ""},
		{`span.a b=x`, `the key "a b" holds spaces`, `span."a b"`},
		{`span.a="b`, `the quoted value has no end or a bad escape at position 8`, ""},
		{`span.a="b" c`, `the end was expected at position 11`, "several"},
		{`한글="b" c`, `unknown field "한글" at position 1`, ""},
		{`span.한글="b" c`, `the end was expected at position 12`, ""},
		{`kind=sever`, `"sever" is none of the values at position 6`, "did you mean server?"},
		{`kind>server`, `> does not order words at position 5`, ""},
		{`status=fine`, `"fine" is none of the values at position 8`, "error, ok, unset"},
		{`error=yes`, `"yes" is none of the values`, "true, false"},
		{`duration>250`, `"250" is not a duration at position 10`, "have a unit"},
		{`duration>-5ms`, `"-5ms" is not a duration`, ""},
		{`duration=~5ms`, `a duration is not searched with =~ at position 9`, ""},
		{`traceDuration?`, `every trace has a duration at position 14`, ""},
		{`traceDuration!=1s`, `traceDuration takes = > >= < and <=`, ""},
		{`traceDuration<=0s`, `no trace is that short`, ""},
		{`operation=~a(`, `bad regular expression: error parsing regexp: missing closing ): ` + "`a(`" + ` at position 12`, "RE2"},
		{`traceId=xyz`, `"xyz" is not an id at position 9`, "hexadecimal"},
	} {
		_, err := ParseFilters([]string{c.text})
		p := problem.Of(err)
		if err == nil || p.Kind != problem.Invalid || p.Field != "filter" || !strings.Contains(p.Message, c.message) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: got %v", c.text, err)
		}
	}
}

func TestTraceDurationFilters(t *testing.T) {
	for _, c := range []struct {
		texts    string
		min, max int64
		bad      bool
	}{
		{"traceDuration>1s", 1e9 + 1, 0, false},
		{"traceDuration>=1s traceDuration<2s", 1e9, 2e9 - 1, false},
		{"traceDuration<=2s traceDuration<=3s traceDuration>1ns traceDuration>=1s", 1e9, 2e9, false},
		{"traceDuration=5ms", 5e6, 5e6, false},
		{"traceDuration>2s traceDuration<1s", 0, 0, true},
	} {
		f, err := ParseFilters(strings.Fields(c.texts))
		if (err != nil) != c.bad || f.TraceDuration != (Bounds{c.min, c.max}) || f.Match != nil {
			t.Errorf("%s: got %+v, %v", c.texts, f, err)
		}
		texts, err := FormatFilters(f)
		if again, err2 := ParseFilters(texts); err != nil || err2 != nil || !reflect.DeepEqual(again, f) {
			t.Errorf("%s: printed %q, %v, %v", c.texts, texts, err, err2)
		}
	}
}

// TestFiltersRoundTrip prints random conditions and reads them back.
func TestFiltersRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	alphabet := []rune("ab.~=!<>?\" \\\n\tä한\x00_-:*(")
	text := func(n int) string {
		var w strings.Builder
		for range n {
			w.WriteRune(alphabet[rnd.IntN(len(alphabet))])
		}
		return w.String()
	}
	for range 20_000 {
		var f Filters
		var all store.And
		for range 1 + rnd.IntN(3) {
			op := store.Op(rnd.IntN(int(store.Regex)))
			c := store.Cond{Op: op, Value: store.LooseText(text(rnd.IntN(6)))}
			if rnd.IntN(3) == 0 {
				w := fieldWords[rnd.IntN(len(fieldWords))]
				switch c.Field = (store.Field{In: store.Intrinsic, Key: w.key}); w.typ {
				case durationField:
					c.Value = store.Int(rnd.Int64N(1e15))
				case textField:
				default:
					continue
				}
			} else {
				c.Field = store.Field{In: attributeScopes[rnd.IntN(len(attributeScopes))].in, Key: text(1 + rnd.IntN(6))}
			}
			if op == store.Exists {
				c.Value = store.Operand{}
			}
			all = append(all, c)
		}
		if all != nil {
			f.Match = all
		}
		if rnd.IntN(2) == 0 {
			f.TraceDuration = Bounds{rnd.Int64N(1e9), 1e9 + rnd.Int64N(1e12)}
		}
		texts, err := FormatFilters(f)
		if err != nil {
			t.Fatalf("seed %d: %+v: %v", seed, f, err)
		}
		if got, err := ParseFilters(texts); err != nil || !reflect.DeepEqual(got, f) {
			t.Fatalf("seed %d: %q: got %+v, %v, want %+v", seed, texts, got, err, f)
		}
	}
}

func FuzzParseFilters(f *testing.F) {
	for _, s := range []string{"service=a", "span.\"x y\"?", "duration>1.5s", "traceDuration<=1h", `.k="\x00"`, "kind=~s.*", "a.b", "span.x= y "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFilters([]string{text})
		if err != nil {
			if p := problem.Of(err); p.Kind != problem.Invalid || p.Message == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		texts, err := FormatFilters(got)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := ParseFilters(texts); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q printed as %q: %+v, %v, want %+v", text, texts, again, err, got)
		}
	})
}

func TestFormatFiltersUnsupported(t *testing.T) {
	for _, e := range []store.Expr{
		store.Or{}, store.Not{}, store.And{store.Or{}},
		intrinsic("nonsense", store.Eq, store.LooseText("x")),
		attribute(store.InSpan, "x", store.Eq, store.Int(1)),
		intrinsic(store.FieldDuration, store.Eq, store.LooseText("1s")),
	} {
		if texts, err := FormatFilters(Filters{Match: e}); problem.Of(err) == nil || problem.Of(err).Kind != problem.Unsupported {
			t.Errorf("%+v: %q, %v", e, texts, err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"250ms": 250e6, "1.5s": 1.5e9, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "0.5d": 12 * time.Hour, "0": 0, "15µs": 15e3,
		"-1s": -1, "": -1, "d": -1, "1e3d": -1, "50000d": 50000 * 24 * time.Hour, "1000000d": -1, "1s1d": -1, "NaNd": -1, "5": -1,
	} {
		got, err := ParseDuration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
