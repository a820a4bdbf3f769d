package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/transfer"
)

// serverExport is what of a running server is written where.
type serverExport struct {
	server, tokenFile, format, filter, out string
	from, to                               int64
	quiet                                  bool
}

// exportServer writes the spans of a running server.
func exportServer(cmd *cobra.Command, x serverExport) error {
	if x.format != "" && x.format != string(transfer.OTLPJSON) && x.format != string(transfer.Zipkin) {
		return &problem.Problem{Kind: problem.Invalid, Field: "--format", Message: x.format + " is not written from a server", Hint: "it is otlp-json or zipkin"}
	}
	flags := serverFlags{server: x.server, tokenFile: x.tokenFile}
	s, err := flags.find()
	if err != nil {
		return err
	}
	o := transfer.ExportOptions{Server: s.base, Token: s.token, From: x.from, To: x.to, TraceQL: x.filter, Format: transfer.Format(x.format)}
	stderr := cmd.ErrOrStderr()
	if !x.quiet {
		last := time.Now()
		o.Progress = func(spans int64) {
			if now := time.Now(); now.Sub(last) >= time.Second {
				last = now
				fmt.Fprintf(stderr, "%d spans\n", spans)
			}
		}
	}
	var spans int64
	write := func(w io.Writer) (err error) {
		if !strings.HasSuffix(x.out, ".gz") {
			spans, err = transfer.Export(cmd.Context(), o, w)
			return err
		}
		z := gzip.NewWriter(w)
		spans, err = transfer.Export(cmd.Context(), o, z)
		return errors.Join(err, z.Close())
	}
	if x.out == "-" {
		err = write(cmd.OutOrStdout())
	} else {
		err = writeFile(x.out, write)
	}
	if err != nil {
		return fmt.Errorf("export to %s: %w", x.out, err)
	}
	if !x.quiet {
		fmt.Fprintf(stderr, "%d spans written to %s\n", spans, x.out)
	}
	return nil
}
