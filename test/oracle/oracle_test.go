package oracle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/export"
	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

func long() bool { return os.Getenv("SPANLOOM_LONG") == "1" }

// engines are asked one after another. Those in a folder are closed and opened again, as `spanloom export` finds it: from the log
// alone, and from segments of two sizes.
var engines = map[string]func(t *testing.T, b *span.Batch) store.Engine{
	"mem": func(t *testing.T, b *span.Batch) store.Engine {
		e := mem.New(mem.Options{MaxBytes: 1 << 30})
		accept(t, e, b)
		return e
	},
	"local, log": func(t *testing.T, b *span.Batch) store.Engine {
		return reopened(t, b, local.Options{}, false)
	},
	"local, segment": func(t *testing.T, b *span.Batch) store.Engine {
		return reopened(t, b, local.Options{}, true)
	},
	"local, small segments": func(t *testing.T, b *span.Batch) store.Engine {
		return reopened(t, b, local.Options{SegmentRows: 700, BlockRows: 100}, true)
	},
}

func reopened(t *testing.T, b *span.Batch, o local.Options, flush bool) store.Engine {
	t.Helper()
	o.Dir, o.MaxMemory, o.LockWait, o.Sync = t.TempDir(), 1<<30, -1, time.Second
	e, err := local.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, e, b)
	if flush {
		if err := e.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err = local.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return e
}

// accept stores a batch in requests of 500 rows.
func accept(t *testing.T, e store.Engine, b *span.Batch) {
	t.Helper()
	for from := 0; from < b.Len(); from += 500 {
		part := &span.Batch{Tenant: b.Tenant, Received: b.Received}
		c := span.NewCopier(part)
		c.Begin(b)
		for row := from; row < min(from+500, b.Len()); row++ {
			c.Row(row)
		}
		if err := e.Accept(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
}

// traffic is that of `spanloom load`.
func traffic(seed uint64, spans int) *span.Batch {
	data := load.New(seed, storetest.Epoch, 0, load.FormOTLP)
	b := &span.Batch{Tenant: store.DefaultTenant, Received: storetest.At(time.Hour)}
	rows := data.Rows(b)
	var t load.Trace
	for no := uint64(0); b.Len() < spans; no++ {
		data.Trace(no, &t)
		rows.All(&t)
	}
	return b
}

// mixed is spans with values of all types under the same keys, events, weights, odd times; no span is sent twice.
func mixed(t *testing.T, r *rand.Rand, spans int) *span.Batch {
	var w strings.Builder
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	value := func() string {
		return pick("x", "xyz", `""`, "ein", `"it's"`, "200", "-1", "404", "72.5", "200.0", "true", "false", `["x","y"]`, `["xyz"]`, "[]", "[1,2]", "null", "bytes:00ff")
	}
	for i := range spans {
		start := (time.Duration(r.IntN(600_000)) * time.Millisecond).String()
		if r.IntN(50) == 0 {
			start = "none"
		}
		parent := "-"
		if r.IntN(3) > 0 {
			parent = fmt.Sprintf("%x", 1+r.IntN(spans))
		}
		fmt.Fprintf(&w, "%x %x %s %s %s %s %s %s a=%s b=%s @weight=%s", 1+uint64(r.IntN(spans/8))<<40, i+1, parent, pick("front", "cart", `"ein laden"`, "übung"),
			pick("server", "client", "internal", "consumer"), pick(`"GET /"`, `"POST /cart"`, "query"), start, pick("0s", "1ms", "10ms", "1.5s", "-2ms", "7us"),
			value(), value(), pick("1", "1", "2.5", "100"))
		fmt.Fprintf(&w, " resource:zone=%s scope:lang=%s @scope=lib @group=%s @namespace=%s @status=%s", pick("eu", "us"), pick("go", "cpp"), pick("g", "h", `""`),
			pick("prod", "test", `""`), pick("unset", "ok", "error"))
		if r.IntN(10) == 0 {
			fmt.Fprintf(&w, " error=%s", pick("true", "false", `"false"`, "reset"))
		}
		w.WriteByte('\n')
		for range r.IntN(3) {
			fmt.Fprintf(&w, "  event %s 1ms a=%s try=%d\n", pick("retry", "exception"), value(), r.IntN(4))
		}
		if r.IntN(4) == 0 {
			fmt.Fprintf(&w, "  link 7 8 why=%s\n", value())
		}
	}
	return storetest.Batch(t, w.String())
}

// TestOracle asks 2 x 25 random questions of each engine and of DuckDB, 2 x 200 with SPANLOOM_LONG=1, each about spans of its own file. SPANLOOM_SEED replays.
func TestOracle(t *testing.T) {
	binary := duckdb(t)
	questions, spans := 25, 4000
	if long() {
		questions, spans = 200, 40_000
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SPANLOOM_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SPANLOOM_SEED=%d", seed)
	for name, b := range map[string]*span.Batch{"traffic": traffic(seed, spans), "mixed": mixed(t, rand.New(rand.NewPCG(seed, 1)), spans/4)} {
		for kind, open := range engines {
			t.Run(name+"/"+kind, func(t *testing.T) {
				a := asker{r: rand.New(rand.NewPCG(seed, 2)), spans: b}
				list := make([]question, questions)
				for i := range list {
					list[i] = a.question()
				}
				e := open(t, b)
				defer e.Close()
				compare(t, binary, e, list)
				if t.Failed() {
					t.Logf("replay with SPANLOOM_SEED=%d", seed)
				}
			})
		}
	}
}

func compare(t *testing.T, binary string, e store.Engine, list []question) {
	file := filepath.Join(t.TempDir(), "spans.parquet")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	report, err := export.Write(t.Context(), e, export.Options{Scope: scope}, f)
	if err != nil || f.Close() != nil {
		t.Fatal(report, err)
	}
	lines, differ := 0, 0
	for i, want := range ask(t, binary, file, list) {
		q := list[i]
		got := q.engine(t, e)
		if !q.ordered {
			slices.Sort(got)
			slices.Sort(want)
		}
		lines += len(got)
		if slices.Equal(got, want) {
			continue
		}
		if differ++; differ <= 5 {
			t.Errorf("%s\nengine says %d lines, duckdb %d; %s\n%s", q.name, len(got), len(want), parting(got, want), q.sql)
		}
	}
	t.Logf("%d spans, %d questions, %d lines of answers, %d disagreements", report.Spans, len(list), lines, differ)
	if lines < len(list) {
		t.Errorf("%d questions have %d lines of answers: they ask for nothing", len(list), lines)
	}
}

// parting is where two answers part.
func parting(got, want []string) string {
	for i := range max(len(got), len(want)) {
		line := func(list []string) string {
			if i < len(list) {
				return strconv.Quote(list[i])
			}
			return "nothing"
		}
		if g, w := line(got), line(want); g != w {
			return fmt.Sprintf("line %d is %s and %s", i, g, w)
		}
	}
	return "the same"
}
