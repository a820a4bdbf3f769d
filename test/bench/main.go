// Command bench measures Spanloom's figures on the traffic of `spanloom load` and writes one line each: name, target,
// result, ratio to a fixed reference loop, load average, command. Every figure is an entry of the table in figures.go.
//
//	go run ./test/bench                     all figures, median of five, appended to docs/measurements/<date>-<commit>.txt
//	go run ./test/bench -quick              once each, shorter, printed only
//	go run ./test/bench -only 'otlp|idle'   those whose name matches
//	go run ./test/bench -list
//	go run ./test/bench -spans 20000000 -only 'on 20M'    questions about as many stored spans
//	go run ./test/bench -fill DIR -spans 100000000        a data folder of that many spans
//
// Machines are shared and differ: a figure is judged by its ratio to the reference loop, which runs before each of its
// runs, never by a timed test.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}

// minSpans is how many stored spans the questions need to have answers.
const minSpans = 100_000

type options struct {
	quick, list bool
	runs        int
	spans       int64
	cpu         bool
	only        *regexp.Regexp
	binary, out string
	fill        string
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "one short run each, printed and not recorded")
	f.BoolVar(&o.list, "list", false, "list the figures")
	f.IntVar(&o.runs, "n", 5, "runs each, of which the median counts")
	f.Int64Var(&o.spans, "spans", 0, "stored spans that questions are asked of (default 2000000; -quick: 200000)")
	f.BoolVar(&o.cpu, "cpu", false, "time questions about stored spans by CPU time: for machines that others use too")
	f.StringVar(&o.fill, "fill", "", "measure nothing: store -spans spans in this new `folder`")
	only := f.String("only", "", "regular expression over the names")
	f.StringVar(&o.binary, "binary", "bin/spanloom", "the server to measure (`make build`)")
	f.StringVar(&o.out, "out", "docs/measurements", "folder of the history; empty records nothing")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.runs < 1 {
		return o, fmt.Errorf("-n is %d: at least 1", o.runs)
	}
	if o.quick {
		o.runs, o.out = 1, ""
	}
	switch {
	case o.spans < 0 || o.spans > 0 && o.spans < minSpans:
		return o, fmt.Errorf("-spans is %d: at least %d", o.spans, minSpans)
	case o.spans == 0 && o.quick:
		o.spans = 200_000
	case o.spans == 0:
		o.spans = 2_000_000
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.fill != "" {
		return fillCommand(ctx, o.fill, o.spans, stdout)
	}
	all := figures(o.quick, o.spans, o.cpu)
	if o.list {
		for _, f := range all {
			fmt.Fprintf(stdout, "%-60s %s\n", f.name, f.target)
		}
		return nil
	}
	root, err := repositoryRoot(ctx)
	if err != nil {
		return err
	}
	out, id := stdout, commit(ctx, root)
	if o.out != "" {
		file, err := record(root, o.out, id)
		if err != nil {
			return err
		}
		defer file.Close()
		out = io.MultiWriter(stdout, file)
	}
	temp, err := os.MkdirTemp("", "spanloom-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	e := &bench{root: root, temp: temp, binary: inside(root, o.binary), quick: o.quick, spans: o.spans, cpu: o.cpu, tests: map[string]string{}}
	defer func() { _, _ = e.data.close(), e.hours.close() }()
	fmt.Fprintf(out, "# %s  %s  %s  %d CPUs  %s  load %s  runs %d\n", time.Now().UTC().Format(time.RFC3339), id, runtime.Version(),
		runtime.NumCPU(), cpuModel(), loadAverage(), o.runs)
	fmt.Fprintf(out, "# %s\n", sizes())
	fmt.Fprintln(out, header)
	for _, f := range all {
		if !o.only.MatchString(f.name) {
			continue
		}
		fmt.Fprintln(out, e.line(ctx, f, o.runs))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

const header = "# name | target | result | spread | x reference | load | command"

// line measures a figure. A figure that cannot be measured says why in place of its result.
func (e *bench) line(ctx context.Context, f figure, runs int) string {
	if f.once {
		runs = 1
	}
	var values, ratios []float64
	for range runs {
		reference := referenceLoop()
		v, err := f.run(ctx, e)
		if err != nil {
			return fmt.Sprintf("%s | %s | not measured: %s | | | %s | %s", f.name, f.target, oneLine(err), loadAverage(), f.command)
		}
		values = append(values, v)
		ratios = append(ratios, f.ratio(v, reference))
	}
	ratio := ""
	if f.timed {
		ratio = fmt.Sprintf("%.3g", median(ratios))
	}
	return fmt.Sprintf("%s | %s | %s | %s | %s | %s | %s", f.name, f.target, f.format(median(values)), f.spread(values), ratio, loadAverage(), f.command)
}

func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return strings.ReplaceAll(text, "|", "/")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func repositoryRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("run it inside of the repository: no go.mod above this folder")
	}
	return filepath.Dir(mod), nil
}

func inside(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}

// commit is the short commit, marked when the tree holds uncommitted changes of Go files.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) string {
		c := exec.CommandContext(ctx, "git", args...)
		c.Dir = root
		out, err := c.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short=10", "HEAD")
	if id == "" {
		return "unknown"
	}
	if git("status", "--porcelain", "--", "*.go", "go.mod") != "" {
		id += "-changed"
	}
	return id
}

// record opens the history file of today and this commit for appending.
func record(root, folder, id string) (*os.File, error) {
	dir := inside(root, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("record the figures: %w", err)
	}
	name := fmt.Sprintf("%s-%s.txt", time.Now().UTC().Format("2006-01-02"), id)
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("record the figures: %w", err)
	}
	return f, nil
}
