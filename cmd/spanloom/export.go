package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/export"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query/traceql"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local"
)

// exportCommand writes a data folder's spans into a Parquet file.
func exportCommand() *cobra.Command {
	var dir, start, end, filter, out, server, tokenFile, format string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write spans into a file: Parquet of a data folder, OTLP of a running server",
		Long: "Without --server it writes the spans of a data folder into one Parquet file, a row a span, for DuckDB, ClickHouse, pandas and others\n" +
			"(docs/format/parquet.md is the schema). No server may run on the folder: stop it, or export a copy.\n" +
			"Exit code 1 means that the file is there, and parts of the folder could not be read.\n\n" +
			"With --server it asks a running Spanloom, whatever engine that has, and writes lines of OTLP JSON, field by field as the spans were\n" +
			"received, or with --format zipkin lines of Zipkin's JSON. `spanloom import` reads both. A name that ends in .gz is packed.",
		Example: "  spanloom export --start -24h --out day.parquet\n" +
			"  spanloom export --server http://127.0.0.1:16686 --start -24h --query '{ status = error }' --out errors.jsonl.gz\n" +
			"  duckdb -c \"SELECT service, count(*), quantile_cont(duration_ns, 0.99) FROM 'day.parquet' GROUP BY ALL\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := instantFlag("--start", start, now)
			if err != nil {
				return err
			}
			to, err := instantFlag("--end", end, now)
			if err != nil {
				return err
			}
			if to != 0 && to <= from {
				return &problem.Problem{Kind: problem.Invalid, Field: "--end", Message: fmt.Sprintf("%s is not after --start %s", end, start), Hint: "give an end after the start"}
			}
			match, err := spanFilter(filter)
			if err != nil {
				return err
			}
			if server != "" {
				return exportServer(cmd, serverExport{server, tokenFile, format, filter, out, from, to, quiet})
			}
			if format != "" && format != "parquet" {
				return &problem.Problem{Kind: problem.Invalid, Field: "--format", Message: format + " is not written from a data folder", Hint: "start a server on the folder and give --server"}
			}
			o := export.Options{Match: match, Scope: store.Scope{Tenant: store.DefaultTenant}, Range: store.TimeRange{From: from, To: to}, Version: version}
			stderr := cmd.ErrOrStderr()
			if !quiet {
				o.Progress = progressTo(stderr)
			}
			damaged, err := exportFolder(cmd.Context(), dir, o, out, cmd.OutOrStdout(), stderr)
			if err != nil {
				return err
			}
			for _, d := range damaged {
				fmt.Fprintln(stderr, "not exported:", d)
			}
			if len(damaged) > 0 {
				return errFindings
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "data-dir", "./spanloom-data", "folder of the embedded engine")
	f.StringVar(&start, "start", "", "first start of spans: 2026-01-31T12:00:00Z, nanoseconds since 1970, or -24h for a day ago (default: everything)")
	f.StringVar(&end, "end", "", "spans start before this `time`, in the same forms (default: everything)")
	f.StringVar(&filter, "query", "", "only spans that meet this TraceQL `filter`, such as '{ status = error }' (default: every span)")
	f.StringVar(&out, "out", "", "`file` to write, - for standard output (required)")
	f.StringVar(&server, "server", "", "base `URL` of a running Spanloom to ask, instead of --data-dir")
	f.StringVar(&tokenFile, "token-file", "", "with --server, `file` with a bearer token of role read")
	f.StringVar(&format, "format", "", "parquet of a data folder; with --server otlp-json or zipkin (default: the first)")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress on standard error")
	_ = cmd.MarkFlagRequired("out")
	return cmd
}

// instantFlag reads a time flag; 0 where it is empty.
func instantFlag(flag, text string, now time.Time) (int64, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
		return n, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d <= 0 {
		return now.Add(d).UnixNano(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Unix() <= 0 || t.Unix() > math.MaxInt64/int64(time.Second)-1 {
		return 0, &problem.Problem{Kind: problem.Invalid, Field: flag, Message: fmt.Sprintf("%q is not a time", text),
			Hint: "write 2026-01-31T12:00:00Z, nanoseconds since 1970, or -24h for a day ago"}
	}
	return t.UnixNano(), nil
}

// spanFilter reads --query: one filter that each span meets or not by itself.
func spanFilter(text string) (store.Expr, error) {
	if text == "" {
		return nil, nil
	}
	q, err := traceql.Parse(text)
	if bad, ok := errors.AsType[*traceql.ParseError](err); ok {
		return nil, fmt.Errorf("--query: %w\n%s", err, bad.Caret())
	}
	if err != nil {
		return nil, fmt.Errorf("--query: %w", err)
	}
	match, ok := traceql.SpanCondition(q)
	if !ok {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--query", Message: fmt.Sprintf("%q cannot be decided on one span", text),
			Hint: "use one filter over attributes and fields of spans compared with values, such as '{ resource.service.name = \"cart\" && status = error }'"}
	}
	return match, nil
}

// exportFolder opens a data folder and writes its spans; it answers what of the folder cannot be read. Nothing of the folder goes:
// the engine is opened without limits of memory, disk and age.
func exportFolder(ctx context.Context, dir string, o export.Options, out string, stdout, stderr io.Writer) (damaged []string, err error) {
	if _, err := os.Stat(filepath.Join(dir, store.DefaultTenant)); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--data-dir", Message: dir + " is not a data folder of Spanloom", Hint: "give the folder that serve was started with", Err: err}
	}
	e, err := local.Open(ctx, local.Options{Dir: dir, MaxMemory: math.MaxInt64 / 4, MaxDisk: math.MaxInt64 / 4, LockWait: -1, Sync: time.Second})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	damaged = e.Stats().Damaged
	var report export.Report
	if out == "-" {
		report, err = export.Write(ctx, e, o, stdout)
	} else {
		err = writeFile(out, func(w io.Writer) error {
			report, err = export.Write(ctx, e, o, w)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("export to %s: %w", out, err)
	}
	if o.Progress != nil {
		fmt.Fprintf(stderr, "%d spans, %d bytes written to %s\n", report.Spans, report.Bytes, out)
	}
	return damaged, nil
}

// writeFile writes beside the file's place and renames, so that a file of that name is always a whole one.
func writeFile(out string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(out); err == nil && !info.Mode().IsRegular() {
		return &problem.Problem{Kind: problem.Invalid, Field: "--out", Message: out + " is not a regular file", Hint: "give the name of a file, or - for standard output"}
	}
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+"-*.part")
	if errors.Is(err, fs.ErrNotExist) {
		return &problem.Problem{Kind: problem.Invalid, Field: "--out", Message: filepath.Dir(out) + " is not there", Hint: "make the folder first"}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), out); err != nil {
		return err
	}
	return f.Close()
}

// progressTo writes a line each second at most.
func progressTo(w io.Writer) func(export.Report) {
	last := time.Now()
	return func(r export.Report) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintf(w, "%d spans, %d of %d blocks, %d MiB\n", r.Spans, r.Blocks, r.OfBlocks, r.Bytes>>20)
		}
	}
}
