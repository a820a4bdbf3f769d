package query

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/rollup"
)

func TestCallCases(t *testing.T) {
	caseFiles(t, "calls", func(t *testing.T, _ map[string]string, e *mem.Engine) string {
		tr, err := New(Options{Reader: e, Now: storetestClock}).Trace(t.Context(), scope, span.TraceIDFromUint64s(0, 1), store.TimeRange{})
		if err != nil {
			t.Fatal(err)
		}
		return printCalls(tr)
	})
}

func printCalls(tr *Trace) string {
	var w strings.Builder
	for _, c := range Calls(tr) {
		fmt.Fprintf(&w, "call hop=%d %s -> %s %s", c.Hop, printEnd(c.From), printEnd(c.To), time.Duration(c.Duration))
		for _, word := range []string{c.Protocol, c.Method, c.Path, c.Code, c.Family} {
			if word != "" {
				w.WriteString(" " + word)
			}
		}
		if c.Failed {
			w.WriteString(" failed")
		}
		if c.Shared {
			w.WriteString(" shared")
		}
		if c.Cluster != (rollup.Cluster{}) {
			fmt.Fprintf(&w, " cluster=%+v", c.Cluster)
		}
		if len(c.Missing) > 0 {
			fmt.Fprintf(&w, " missing=%v", c.Missing)
		}
		w.WriteString("\n  at")
		for _, r := range c.Rows {
			fmt.Fprintf(&w, " %s:%d", r.Stage, r.Row)
		}
		w.WriteString("\n  parts")
		for _, p := range c.Parts {
			fmt.Fprintf(&w, " %s=%s", p.Name, time.Duration(p.Duration))
		}
		w.WriteByte('\n')
		for _, a := range c.Attempts {
			fmt.Fprintf(&w, "  try row=%d +%s %s code=%s flag=%s failed=%v\n", a.Row, time.Duration(a.Start-c.Start), time.Duration(a.Duration), a.Code, a.Flag, a.Failed)
		}
		for _, f := range c.Flags {
			fmt.Fprintf(&w, "  flag row=%d %s: %s (%s)\n", f.Row, f.Flag, f.Meaning, f.Cause)
		}
	}
	for _, c := range EstimateSkew(tr).Clocks {
		fmt.Fprintf(&w, "clock %s shift=%s between %s and %s, %d calls, linked=%v %s\n", c.Name, time.Duration(c.Shift), time.Duration(c.Low), time.Duration(c.High), c.Pairs, c.Linked, c.Note)
	}
	return w.String()
}

func printEnd(e CallEnd) string {
	s := e.Kind.String() + "/" + e.Namespace + "/" + e.Name
	if e.Service != "" {
		s += "[" + e.Service + " " + e.Version + " " + e.Pod + "]"
	}
	return s
}

// TestCallsOfEnvoys: every hop of what real Envoys sent has times that add up to the call's.
func TestCallsOfEnvoys(t *testing.T) {
	folders := recorded(t)
	for _, folder := range sortedKeys(folders) {
		q := New(Options{Reader: received(t, folder, folders[folder])})
		page, err := q.Search(t.Context(), scope, &store.Search{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		for _, s := range page.Traces {
			tr, err := q.Trace(t.Context(), scope, s.TraceID, store.TimeRange{})
			if err != nil {
				t.Fatal(err)
			}
			rows := 0
			for _, c := range Calls(tr) {
				rows += len(c.Rows)
				tries = max(tries, len(c.Attempts))
				var sum int64
				for _, p := range c.Parts {
					if p.Duration < 0 {
						t.Errorf("%s: %s of a call lasts %d ns", s.TraceID, p.Name, p.Duration)
					}
					sum += p.Duration
				}
				if len(c.Attempts) <= 1 && len(c.Rows) <= 2 && sum < c.Duration {
					t.Errorf("%s: parts last %d ns, the call %d: %+v", s.TraceID, sum, c.Duration, c)
				}
			}
			if rows != len(tr.Rows) {
				t.Errorf("%s: %d of %d rows are in calls", s.TraceID, rows, len(tr.Rows))
			}
		}
		if !strings.Contains(folder, "reset") && tries != 3 {
			t.Errorf("%s: at most %d tries, want the 3 of the retried calls", folder, tries)
		}
	}
}
