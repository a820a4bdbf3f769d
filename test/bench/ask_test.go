package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuestionsAreAnswered measures every question once on few spans: a figure checks its own answers.
func TestQuestionsAreAnswered(t *testing.T) {
	e := &bench{temp: t.TempDir(), spans: minSpans, quick: true}
	defer func() {
		if err := e.data.close(); err != nil {
			t.Error(err)
		}
	}()
	for _, f := range asked(minSpans, false) {
		if strings.HasPrefix(f.name, "start to ready") {
			continue // needs a server; TestServerThatEndsIsReported knows what happens without
		}
		if v, err := f.run(t.Context(), e); err != nil || v <= 0 {
			t.Errorf("%s: %v, %v", f.name, v, err)
		}
	}
	if got := e.data.floor(); got < 10 || got > 25 {
		t.Errorf("the entropy floor is %.1f B a span", got)
	}
	// A store that lost spans gives no figures.
	if err := e.data.close(); err != nil {
		t.Fatal(err)
	}
	e.data.spans++
	if _, err := e.open(t.Context()); err == nil || !strings.Contains(err.Error(), "the engine holds") {
		t.Errorf("a missing span: %v", err)
	}
	e.data.spans--
}

func TestFillTakesANewFolder(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	folder := filepath.Join(dir, "new")
	if err := run(t.Context(), []string{"-fill", folder, "-spans", "100000"}, &out); err != nil || !strings.Contains(out.String(), "x the entropy floor") {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []string{folder, dir} {
		if err := run(t.Context(), []string{"-fill", taken, "-spans", "100000"}, &out); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Errorf("%s is filled: %v", taken, err)
		}
	}
}

func TestShortNumbers(t *testing.T) {
	for n, want := range map[int64]string{200_000: "200K", 2_000_000: "2M", 123: "123", 1_500_000: "1500K"} {
		if got := short(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
