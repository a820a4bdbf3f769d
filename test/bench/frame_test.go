package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMetricOfBenchmarkOutput(t *testing.T) {
	out := []byte("goos: linux\npkg: x\nBenchmarkDecode/spans=512-2   \t 5000\t  2345 ns/op\t 0.6 allocs/span\t 801.5 ns/span\nPASS\n")
	for metric, want := range map[string]float64{"ns/op": 2345, "ns/span": 801.5, "allocs/span": 0.6} {
		if got, err := metricOf(out, metric); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", metric, got, err, want)
		}
	}
	if _, err := metricOf(out, "B/span"); err == nil {
		t.Error("a metric that is not there is found")
	}
	if _, err := metricOf([]byte("PASS\n"), "ns/op"); err == nil {
		t.Error("a benchmark that did not run is found")
	}
}

func TestLinesOfFigures(t *testing.T) {
	values := []float64{3, 1, 2}
	n := 0
	f := figure{name: "decode", target: "<= 2.5 µs", unit: "µs", timed: true, command: "go test", run: func(context.Context, *bench) (float64, error) {
		n++
		return values[n-1], nil
	}}
	fields := strings.Split((&bench{}).line(t.Context(), f, 3), " | ")
	if len(fields) != 7 || fields[0] != "decode" || fields[1] != "<= 2.5 µs" || fields[2] != "2.00 µs" || fields[3] != "1-3" || fields[4] == "" || fields[6] != "go test" {
		t.Errorf("line %q", fields)
	}
	if got := strings.Count(header, "|"); got != len(fields)-1 {
		t.Errorf("the header has %d columns, the line %d", got+1, len(fields))
	}
	f.run = func(context.Context, *bench) (float64, error) { return 0, errors.New("no server\nto | measure") }
	line := (&bench{}).line(t.Context(), f, 3)
	if !strings.Contains(line, "not measured: no server to / measure") || strings.Contains(line, "\n") {
		t.Errorf("line %q", line)
	}
}

func TestRatioIsLowerForSlowMachines(t *testing.T) {
	less, more := figure{}, figure{moreBetter: true}
	if less.ratio(10, 100*time.Millisecond) != less.ratio(20, 200*time.Millisecond) {
		t.Error("twice the time on a machine that is twice as slow is another ratio")
	}
	if more.ratio(1000, 100*time.Millisecond) != more.ratio(500, 200*time.Millisecond) {
		t.Error("half the rate on a machine that is twice as slow is another ratio")
	}
}

func TestMedian(t *testing.T) {
	for want, v := range map[float64][]float64{2: {3, 1, 2}, 1.5: {1, 2}, 7: {7}} {
		if got := median(v); got != want {
			t.Errorf("median of %v is %v", v, got)
		}
	}
}

func TestTableOfFigures(t *testing.T) {
	seen := map[string]bool{}
	for _, quick := range []bool{false, true} {
		for _, f := range figures(quick, 2_000_000, quick) {
			key := fmt.Sprint(quick, f.name)
			if seen[key] {
				t.Errorf("figure %q twice", f.name)
			}
			seen[key] = true
			if f.target == "" || f.unit == "" || f.command == "" || f.run == nil || strings.Contains(f.name+f.target+f.command, "|") {
				t.Errorf("figure %+v is incomplete or has a bar in its text", f)
			}
		}
	}
}

func TestListNamesEveryFigure(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-list"}, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(out.String(), "\n"), len(figures(false, 2_000_000, false)); got != want {
		t.Errorf("%d lines, %d figures", got, want)
	}
	for _, args := range [][]string{{"-n", "0"}, {"-only", "("}, {"-unknown"}, {"-spans", "99999"}, {"-spans", "-1"}} {
		if err := run(t.Context(), args, &out); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestMissingBinaryIsNamed(t *testing.T) {
	e := &bench{binary: filepath.Join(t.TempDir(), "spanloom"), temp: t.TempDir()}
	if _, err := e.fresh(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error %v", err)
	}
	if _, err := binarySize(t.Context(), e); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestServerThatEndsIsReported(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "spanloom")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho 'flag --http-addr is unknown' >&2\nexit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := &bench{binary: binary, temp: t.TempDir()}
	if _, err := e.fresh(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "flag --http-addr is unknown") {
		t.Errorf("error %v", err)
	}
}

func TestBytesOnDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x", "a/y", "a/b/z"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 100), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := bytesOnDisk(dir); err != nil || n != 300 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
