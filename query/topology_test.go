package query

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// caseFiles runs f on the spans and settings of every file of a folder: settings are lines "key: value" before the first
// span. What f answers must be what stands behind "-- want --".
func caseFiles(t *testing.T, folder string, f func(t *testing.T, settings map[string]string, e *mem.Engine) string) {
	t.Helper()
	golden.Files(t, "testdata/"+folder+"/*.txt", func(t *testing.T, input string) string {
		settings := make(map[string]string)
		var spans strings.Builder
		for line := range strings.Lines(input) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.ContainsAny(key, " #") {
				settings[key] = value
			} else {
				spans.WriteString(line)
			}
		}
		e := mem.New(mem.Options{Now: storetestClock})
		defer e.Close()
		b := storetest.Batch(t, spans.String())
		for i := range b.Group { // as process does it
			if b.Group[i].Len == 0 {
				b.Group[i] = b.Service[i]
			}
		}
		if err := e.Accept(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return f(t, settings, e)
	})
}

func storetestClock() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }

func TestMapCases(t *testing.T) {
	caseFiles(t, "map", func(t *testing.T, settings map[string]string, e *mem.Engine) string {
		mq := MapQuery{Range: store.TimeRange{From: storetest.At(0), To: storetest.At(time.Minute)}, Focus: settings["focus"],
			Telemetry: settings["telemetry"] == "true", Compare: settings["compare"] == "true"}
		if settings["namespaces"] != "" {
			mq.Namespaces = strings.Fields(settings["namespaces"])
		}
		if _, err := fmt.Sscan(settings["depth"], &mq.Depth); err != nil {
			mq.Depth = 0
		}
		a, err := New(Options{Reader: e, Now: storetestClock}).Map(t.Context(), store.Scope{Tenant: store.DefaultTenant}, mq)
		if err != nil {
			t.Fatal(err)
		}
		return printMap(a)
	})
}

func printMap(a *MapAnswer) string {
	var w strings.Builder
	for _, n := range a.Nodes {
		fmt.Fprintf(&w, "node %s services=%s %s", n.ID, n.Services, printRED(&n.RED))
		for _, v := range n.Versions {
			fmt.Fprintf(&w, " version %s n=%d", v.Version, v.RED.N)
		}
		if n.Before != nil {
			fmt.Fprintf(&w, " before n=%d", n.Before.N)
		}
		if len(n.Badges) > 0 {
			fmt.Fprintf(&w, " %v", n.Badges)
		}
		w.WriteByte('\n')
	}
	for _, e := range a.Edges {
		fmt.Fprintf(&w, "edge %s -> %s %s %s seen=%s %s", e.From, e.To, e.Class, e.Protocols, e.Seen, printRED(&e.RED))
		if e.Server != nil {
			fmt.Fprintf(&w, " client(%s) server(%s)", printRED(e.Client), printRED(e.Server))
		}
		for _, f := range e.Flags {
			fmt.Fprintf(&w, " %s×%d", f.Flag, f.N)
		}
		if e.Before != nil {
			fmt.Fprintf(&w, " before n=%d", e.Before.N)
		}
		w.WriteByte('\n')
	}
	for _, m := range a.Missing {
		fmt.Fprintf(&w, "missing %s %s", m.Kind, m.Node)
		if m.From != "" {
			w.WriteString(" from " + m.From)
		}
		w.WriteString("\n")
	}
	for _, n := range a.Notes {
		fmt.Fprintf(&w, "note %s: %s\n", n.Kind, n.Message)
	}
	return w.String()
}

func printRED(r *RED) string {
	s := fmt.Sprintf("n=%d", r.N)
	if r.Estimated {
		s += fmt.Sprintf(" weight=%g±%.1f", r.Weight, r.Deviation)
	}
	if r.Errors > 0 {
		s += fmt.Sprintf(" errors=%g", r.Errors)
	}
	return s + fmt.Sprintf(" p50=%s", time.Duration(r.P50).Round(10*time.Microsecond))
}

func TestMapRefuses(t *testing.T) {
	e := filled(t, redSpans)
	q := New(Options{Reader: e, Now: testClock})
	for _, c := range []struct {
		mq    MapQuery
		kind  problem.Kind
		field string
	}{
		{MapQuery{Range: window(time.Minute, 0)}, problem.Invalid, "start"},
		{MapQuery{Range: window(0, time.Minute), Depth: -1}, problem.Invalid, "depth"},
		{MapQuery{Range: window(0, time.Minute), Focus: "service//nobody"}, problem.NotFound, "focus"},
	} {
		_, err := q.Map(t.Context(), scope, c.mq)
		if p := problem.Of(err); p == nil || p.Kind != c.kind || p.Field != c.field {
			t.Errorf("%+v: %v", c.mq, err)
		}
	}
}

// TestMapOfEnvoys is the map of what real Envoys sent.
func TestMapOfEnvoys(t *testing.T) {
	var w strings.Builder
	for _, folder := range sortedKeys(recorded(t)) {
		e := received(t, folder, recorded(t)[folder])
		q := New(Options{Reader: e, Now: func() time.Time { return time.Unix(0, recordedAt) }})
		a, err := q.Map(t.Context(), scope, MapQuery{Range: store.TimeRange{From: recordedAt - 90*24*int64(time.Hour), To: recordedAt + int64(time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString("== " + folder + "\n" + printMap(a))
	}
	const file = "testdata/envoy-map.txt"
	if *golden.Update {
		if err := os.WriteFile(file, []byte(w.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if w.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", w.String(), want)
	}
}
