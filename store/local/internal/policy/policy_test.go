package policy

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/store/local/internal/manifest"
)

var update = flag.Bool("update", false, "write the answers into testdata")

// TestCases runs testdata: each block is a title, lines that set up a state, questions, and after ---- their answers.
//
//	now 9h30m                                  since the epoch
//	retention 48h · disk 10G                   limits
//	log 1M · kept 1M · docs 1M · next 1M       what else takes room
//	seg 3-5 hour=9 level=1 rows=1M traces=50K bytes=30M   segments 3, 4 and 5; sequences grow with the numbers; seq=20-29 says others
//	expired · oversize · plan · next ROOM · debt · forecast · held
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, block := range strings.Split(strings.TrimSpace(string(p)), "\n\n") {
			in, want, _ := strings.Cut(block, "\n----")
			title, _, _ := strings.Cut(in, "\n")
			got := strings.TrimSpace(run(t, in))
			if !*update && got != strings.TrimSpace(want) {
				t.Errorf("%s: %s\ngot\n%s\nwant\n%s", name, title, got, want)
			}
			out = append(out, strings.TrimSpace(in+"\n----\n"+got))
		}
		if *update {
			if err := os.WriteFile(name, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type state struct {
	now     time.Time
	l       Limits
	u       Use
	entries []manifest.Entry
}

func run(t *testing.T, in string) string {
	t.Helper()
	var s state
	var out strings.Builder
	for _, line := range strings.Split(in, "\n")[1:] {
		f := strings.Fields(line)
		arg := ""
		if len(f) > 1 {
			arg = f[1]
		}
		switch f[0] {
		case "now":
			s.now = time.Unix(0, 0).Add(duration(t, arg))
		case "retention":
			s.l.Retention = duration(t, arg)
		case "disk":
			s.l.MaxDisk = size(t, arg)
		case "log":
			s.u.Log = size(t, arg)
		case "kept":
			s.u.Kept = size(t, arg)
		case "docs":
			s.u.Docs = size(t, arg)
		case "next":
			if len(s.entries) == 0 {
				s.u.Next = size(t, arg)
				continue
			}
			if j, ok := Next(s.entries, s.now, size(t, arg)); ok {
				fmt.Fprintln(&out, "next:", text(j))
			} else {
				fmt.Fprintln(&out, "next: none")
			}
		case "seg":
			s.entries = append(s.entries, segments(t, f[1:])...)
		case "expired":
			fmt.Fprintln(&out, "expired:", removals(Expired(s.entries, s.l, s.now)))
		case "oversize":
			fmt.Fprintln(&out, "oversize:", removals(Oversize(s.entries, s.l, s.u)))
		case "plan":
			for _, j := range Plan(s.entries, s.now) {
				fmt.Fprintln(&out, text(j))
			}
		case "debt":
			d := DebtOf(s.entries, s.now)
			fmt.Fprintf(&out, "debt: %d jobs, %d segments, %d rows, %d bytes\n", d.Jobs, d.Segments, d.Rows, d.Bytes)
		case "forecast":
			f := ForecastOf(s.entries, s.l, s.u, s.now)
			fmt.Fprintf(&out, "forecast: %d bytes an hour, full %s, holds %s\n", f.PerHour, when(f.Full), when(f.Holds))
		case "held":
			fmt.Fprintln(&out, "held since", time.Duration(Held(s.entries)))
		default:
			t.Fatalf("line %q", line)
		}
	}
	return out.String()
}

func when(d time.Duration) string {
	if d == Never {
		return "never"
	}
	return d.Round(time.Minute).String()
}

func text(j Job) string {
	var numbers []string
	for _, e := range j.Inputs {
		numbers = append(numbers, strconv.FormatUint(e.Number, 10))
	}
	return fmt.Sprintf("hour %d: %s -> level %d, %d rows, %d bytes", j.Hour, strings.Join(numbers, " "), j.Level, j.Rows, j.Bytes)
}

func removals(list []manifest.Removal) string {
	if len(list) == 0 {
		return "none"
	}
	var s []string
	for _, r := range list {
		s = append(s, fmt.Sprintf("%d (%s)", r.Number, r.Reason))
	}
	return strings.Join(s, ", ")
}

func segments(t *testing.T, f []string) (list []manifest.Entry) {
	t.Helper()
	from, to := span(t, f[0])
	for n := from; n <= to; n++ {
		e := manifest.Entry{Number: n, First: n * 10, Last: n*10 + 9, Rows: 1000, Bytes: 1 << 20}
		late := time.Duration(0)
		for _, a := range f[1:] {
			k, v, _ := strings.Cut(a, "=")
			switch k {
			case "hour":
				e.Hour = size(t, v)
			case "level":
				e.Level = uint8(size(t, v))
			case "rows":
				e.Rows = size(t, v)
			case "bytes":
				e.Bytes = size(t, v)
			case "traces":
				e.Traces = size(t, v)
			case "seq":
				e.First, e.Last = span(t, v)
			case "late":
				late = duration(t, v)
			default:
				t.Fatalf("segment with %q", a)
			}
		}
		start := time.Duration(e.Hour) * time.Hour
		e.MinReceived, e.MaxReceived = int64(start+time.Minute*time.Duration(n%50)), int64(start+time.Minute*time.Duration(n%50+5)+late)
		list = append(list, e)
	}
	return list
}

func span(t *testing.T, s string) (from, to uint64) {
	t.Helper()
	a, b, ok := strings.Cut(s, "-")
	from = uint64(size(t, a))
	if to = from; ok {
		to = uint64(size(t, b))
	}
	return from, to
}

func size(t *testing.T, s string) int64 {
	t.Helper()
	digits := strings.TrimRight(s, "KMG")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	switch s[len(digits):] {
	case "K":
		n *= 1000
	case "M":
		n *= 1000_000
	case "G":
		n *= 1000_000_000
	}
	return n
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPlanEnds does what Plan says on random states until it says no more: it does end, no row is compacted more than twice, no
// result is too large, and neighbours stay in order.
func TestPlanEnds(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		var entries []manifest.Entry
		times := map[uint64]int{} // how often a segment's rows were compacted
		next, sequence := uint64(1), uint64(1)
		rows := int64(0)
		now := time.Unix(1000*3600, 0)
		for range 60 {
			now = now.Add(time.Duration(r.IntN(20)) * time.Minute)
			if seed%3 == 0 && r.IntN(10) == 0 { // somebody sets the clock
				now = now.Add(time.Duration(r.IntN(4)-2) * time.Hour)
			}
			for range r.IntN(6) {
				e := manifest.Entry{Number: next, Hour: now.Unix() / 3600, Rows: 1 + r.Int64N(1_500_000), First: sequence, Last: sequence + 9, MaxReceived: now.UnixNano()}
				rows += e.Rows
				next, sequence = next+1, sequence+10
				entries = append(entries, e)
			}
			for steps := 0; ; steps++ {
				j, ok := Next(entries, now, 1<<60)
				if !ok {
					break
				}
				if steps > len(entries)+10 {
					t.Fatalf("seed %d: no end", seed)
				}
				out := manifest.Entry{Number: next, Hour: j.Hour, Level: j.Level, Rows: j.Rows, First: j.Inputs[0].First, Last: j.Inputs[len(j.Inputs)-1].Last}
				next++
				for i, in := range j.Inputs {
					if times[out.Number] = max(times[out.Number], times[in.Number]+1); times[out.Number] > maxLevel {
						t.Fatalf("seed %d: rows of segment %d are compacted for the third time", seed, in.Number)
					}
					if in.Hour != j.Hour || i > 0 && Less(j.Inputs[i-1], in) >= 0 {
						t.Fatalf("seed %d: inputs out of order: %s", seed, text(j))
					}
					for k, e := range entries {
						if e.Number == in.Number {
							entries = append(entries[:k], entries[k+1:]...)
							break
						}
					}
				}
				for _, e := range entries {
					if e.First <= out.Last && e.Last >= out.First {
						t.Fatalf("seed %d: segment %d lies within %s", seed, e.Number, text(j))
					}
				}
				if len(j.Inputs) < 2 || j.Rows > MaxRows {
					t.Fatalf("seed %d: %s", seed, text(j))
				}
				entries = append(entries, out)
			}
		}
		for _, e := range entries {
			rows -= e.Rows
		}
		if rows != 0 {
			t.Fatalf("seed %d: %d rows are gone", seed, rows)
		}
	}
}
