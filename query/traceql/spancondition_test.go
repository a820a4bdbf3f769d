package traceql

import "testing"

func TestSpanConditionIsAllOrNothing(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true,
		`{ resource.service.name = "cart" && status = error }`: true,
		`{ span.http.status_code >= 500 || duration > 1s }`:    true,
		`{ kind = server } | count() > 2`:                      false,
		`{ kind = server } > { kind = client }`:                false,
		`{ span.a + 1 > 2 }`:                                   false,
		`{ span.a = span.b }`:                                  false,
		`{ } | rate()`:                                         false,
	} {
		q, err := Parse(text)
		if err != nil {
			t.Fatal(text, err)
		}
		cond, ok := SpanCondition(q)
		if ok != want || ok && (cond == nil) != (text == "{}") {
			t.Errorf("%s: %#v, %t", text, cond, ok)
		}
	}
}
