package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/spanloom/spanloom/store/local"
	"github.com/spanloom/spanloom/store/storetest"
)

// folder makes a data folder of three spans, two of them in the first of two batches.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	e, err := local.Open(t.Context(), local.Options{Dir: dir, LockWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1 a - front server get 0s 1ms\n1 b a cart server get 1s 1ms", "2 a - front server put 2s 1ms"} {
		if err := e.Accept(t.Context(), storetest.Batch(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func rowsOf(t *testing.T, file []byte) int64 {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return f.NumRows()
}

func TestExport(t *testing.T) {
	dir := folder(t)
	second := storetest.Epoch.Add(time.Second).Format(time.RFC3339)
	out := filepath.Join(t.TempDir(), "spans.parquet")
	code, stdout, stderr := command(t, "export", "--data-dir", dir, "--out", out)
	if code != 0 || stdout != "" || !strings.Contains(stderr, "3 spans") {
		t.Fatalf("code %d, %q, %q", code, stdout, stderr)
	}
	file, err := os.ReadFile(out)
	if err != nil || rowsOf(t, file) != 3 {
		t.Errorf("%d rows, %v", rowsOf(t, file), err)
	}
	for name, c := range map[string]struct {
		args []string
		rows int64
	}{
		"start":       {[]string{"--start", second}, 2},
		"end":         {[]string{"--end", second}, 1},
		"nanoseconds": {[]string{"--start", "1767225601000000001"}, 1},
		"query":       {[]string{"--query", `{ resource.service.name = "cart" }`}, 1},
		"every span":  {[]string{"--query", "{}"}, 3},
		"an hour ago": {[]string{"--start", "-1h", "--end", "0s"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := command(t, append([]string{"export", "--data-dir", dir, "--out", "-", "--quiet"}, c.args...)...)
			if code != 0 || stderr != "" || rowsOf(t, []byte(stdout)) != c.rows {
				t.Errorf("code %d, %d rows, %q", code, rowsOf(t, []byte(stdout)), stderr)
			}
		})
	}
}

func TestExportRefuses(t *testing.T) {
	dir := folder(t)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no out":        {nil, `"out" not set`},
		"no folder":     {[]string{"--data-dir", filepath.Join(dir, "none"), "--out", "-"}, "is not a data folder"},
		"no out folder": {[]string{"--out", filepath.Join(dir, "none", "x.parquet")}, "make the folder first"},
		"out is folder": {[]string{"--out", dir}, "not a regular file"},
		"bad start":     {[]string{"--out", "-", "--start", "soon"}, "--start"},
		"ahead":         {[]string{"--out", "-", "--start", "24h"}, "-24h"},
		"bad query":     {[]string{"--out", "-", "--query", "{ status = "}, "--query"},
		"a pipeline":    {[]string{"--out", "-", "--query", "{ } | count() > 1"}, "cannot be decided on one span"},
		"backwards":     {[]string{"--out", "-", "--start", "2026-01-02T00:00:00Z", "--end", "2026-01-01T00:00:00Z"}, "after the start"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"export", "--data-dir", dir}, c.args...)
			if code, stdout, stderr := command(t, args...); code != 2 || stdout != "" || !strings.Contains(stderr, c.says) {
				t.Errorf("code %d, %d bytes, %q", code, len(stdout), stderr)
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.part"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	e, err := local.Open(t.Context(), local.Options{Dir: dir, LockWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if code, _, stderr := command(t, "export", "--data-dir", dir, "--out", "-"); code != 2 || !strings.Contains(stderr, "in use by process") {
		t.Errorf("beside a running engine: code %d, %q", code, stderr)
	}
}

// TestExportNamesDamage: what can be read is exported, the rest is named.
func TestExportNamesDamage(t *testing.T) {
	dir := folder(t)
	logs, err := filepath.Glob(filepath.Join(dir, "default", "log", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	data[40+60] ^= 0xff // inside of the first frame, behind the file's header
	if err := os.WriteFile(logs[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "export", "--data-dir", dir, "--out", "-", "-q")
	if code != 1 || !strings.Contains(stderr, "not exported: ") || rowsOf(t, []byte(stdout)) != 1 {
		t.Errorf("code %d, %d bytes, %q", code, len(stdout), stderr)
	}
}
