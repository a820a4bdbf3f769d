package query

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

func TestDependencyCases(t *testing.T) {
	caseFiles(t, "dependencies", func(t *testing.T, _ map[string]string, e *mem.Engine) string {
		var w strings.Builder
		q := New(Options{Reader: e, Now: storetestClock})
		for _, inferred := range []bool{false, true} {
			list, done, err := q.Dependencies(t.Context(), scope, store.TimeRange{From: storetest.At(0), To: storetest.At(time.Minute)}, inferred)
			if err != nil || !done.Complete {
				t.Fatal(done, err)
			}
			fmt.Fprintf(&w, "inferred=%v\n", inferred)
			for _, d := range list {
				fmt.Fprintf(&w, "  %s -> %s calls=%g errors=%g", d.Parent, d.Child, d.Calls, d.Errors)
				if d.ChildInferred {
					w.WriteString(" child inferred")
				}
				w.WriteByte('\n')
			}
		}
		return w.String()
	})
}

func TestBreakdown(t *testing.T) {
	e := filled(t, `
1 - server a "x" 1s+10ms http.status_code=200
2 - server a "x" 2s+20ms http.status_code=500 error
3 - server a "x" 3s+30ms http.status_code=200
4 1 client a "x" 3s+30ms http.status_code=404
5 - server b "x" 3s+5ms
6 - server b "x" -3s+5ms http.status_code=200
`)
	q := New(Options{Reader: e, Now: testClock})
	show := func(bq BreakdownQuery) string {
		t.Helper()
		bq.Range = window(0, time.Minute)
		list, done, err := q.Breakdown(t.Context(), scope, bq)
		if err != nil || !done.Complete {
			t.Fatal(done, err)
		}
		var w strings.Builder
		for _, v := range list {
			fmt.Fprintf(&w, "%q absent=%v %s; ", v.Value, v.Absent, printRED(&v.RED))
		}
		return w.String()
	}
	code := store.Field{In: store.InSpan, Key: "http.status_code"}
	for _, c := range []struct {
		name string
		q    BreakdownQuery
		want string
	}{
		{"attribute", BreakdownQuery{Field: code}, `"200" absent=false n=2 p50=10.09ms; "" absent=true n=1 p50=5ms; "500" absent=false n=1 errors=1 p50=20ms; `},
		{"limit", BreakdownQuery{Field: code, Limit: 1}, `"200" absent=false n=2 p50=10.09ms; `},
		{"condition", BreakdownQuery{Field: code, Match: intrinsicIs(store.FieldKind, "client")}, `"404" absent=false n=1 p50=30ms; `},
		{"intrinsic", BreakdownQuery{Field: store.Field{In: store.Intrinsic, Key: store.FieldService}}, `"a" absent=false n=3 errors=1 p50=20.19ms; "b" absent=false n=1 p50=5ms; `},
		{"computed", BreakdownQuery{Field: store.Field{In: store.Intrinsic, Key: store.FieldKind}}, `"server" absent=false n=4 errors=1 p50=10.09ms; `},
	} {
		if got := show(c.q); got != c.want {
			t.Errorf("%s: got %s want %s", c.name, got, c.want)
		}
	}
	for _, bq := range []BreakdownQuery{{Range: window(time.Minute, 0), Field: code}, {Range: window(0, time.Minute)}, {Range: window(0, time.Minute), Field: code, Limit: -1}} {
		if _, _, err := q.Breakdown(t.Context(), scope, bq); err == nil {
			t.Errorf("%+v is answered", bq)
		}
	}
}
