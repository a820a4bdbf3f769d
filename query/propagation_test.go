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

func TestPropagationCases(t *testing.T) {
	caseFiles(t, "propagation", func(t *testing.T, _ map[string]string, e *mem.Engine) string {
		a, err := New(Options{Reader: e, Now: storetestClock}).Propagation(t.Context(), scope, store.TimeRange{From: storetest.At(0), To: storetest.At(time.Minute)})
		if err != nil || !a.Complete {
			t.Fatal(a, err)
		}
		var w strings.Builder
		for _, p := range a.Services {
			fmt.Fprintf(&w, "%s/%s %s inbound=%d outbound=%d roots=%d appRoots=%d passed=%d broken=%d score=%.2f\n", p.Namespace, p.Group, p.Services,
				p.Inbound, p.Outbound, p.OutboundRoots, p.AppRoots, p.Passed, p.Broken, p.Score)
			for _, f := range p.Findings {
				fmt.Fprintf(&w, "  %s n=%d confidence=%.2f: %s\n", f.Kind, f.N, f.Confidence, f.Message)
				for _, x := range f.Examples {
					fmt.Fprintf(&w, "    %d:%d and %d:%d: %s\n", x.Trace.Low(), x.Span.Uint64(), x.OtherTrace.Low(), x.OtherSpan.Uint64(), x.Proof)
				}
			}
			for _, r := range p.Routes {
				fmt.Fprintf(&w, "  route %q passed=%d broken=%d score=%.2f\n", r.Route, r.Passed, r.Broken, r.Score)
			}
		}
		return w.String()
	})
}
