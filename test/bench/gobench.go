package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// goBenchmark measures a Go benchmark of a room: metric is the unit behind the value in its output (ns/op, ns/span,
// allocs/span ...), scale what the value is multiplied by to come to the figure's unit.
func goBenchmark(pkg, name, metric string, scale float64) (command string, run func(context.Context, *bench) (float64, error)) {
	pattern := "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
	command = fmt.Sprintf("go test -run ^$ -bench '%s' ./%s", pattern, pkg)
	return command, func(ctx context.Context, e *bench) (float64, error) {
		binary, err := e.testBinary(ctx, pkg)
		if err != nil {
			return 0, err
		}
		lasting := "1s"
		if e.quick {
			lasting = "200ms"
		}
		c := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.bench="+pattern, "-test.benchmem", "-test.benchtime="+lasting)
		c.Dir = filepath.Join(e.root, pkg)
		out, err := c.CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("%s: %w: %s", command, err, lastLine(out))
		}
		v, err := metricOf(out, metric)
		return v * scale, err
	}
}

// testBinary compiles a package's tests once, so that compiling is not measured.
func (e *bench) testBinary(ctx context.Context, pkg string) (string, error) {
	if path, ok := e.tests[pkg]; ok {
		return path, nil
	}
	path := filepath.Join(e.temp, strings.ReplaceAll(pkg, "/", "_")+".test")
	c := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, "./"+pkg)
	c.Dir = e.root
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the benchmarks of %s: %w: %s", pkg, err, lastLine(out))
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no benchmarks in %s yet", pkg)
	}
	e.tests[pkg] = path
	return path, nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

var benchLine = regexp.MustCompile(`(?m)^Benchmark\S*\s+\d+\s+(.*)$`)

// metricOf finds the value before a unit in the output of a benchmark.
func metricOf(out []byte, metric string) (float64, error) {
	m := benchLine.FindSubmatch(out)
	if m == nil {
		return 0, errors.New("there is no such benchmark yet")
	}
	fields := strings.Fields(string(m[1]))
	for i := 1; i < len(fields); i += 2 {
		if fields[i] == metric {
			return strconv.ParseFloat(fields[i-1], 64)
		}
	}
	return 0, fmt.Errorf("the benchmark reports no %s: %s", metric, m[1])
}
