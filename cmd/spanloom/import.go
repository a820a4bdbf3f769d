package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/transfer"
)

// defaultReceiver is where `spanloom serve` takes OTLP over HTTP if nobody says otherwise.
const defaultReceiver = "http://127.0.0.1:4318"

// importSpansCommand brings spans of other systems into a running server.
func importSpansCommand() *cobra.Command {
	var o transfer.Options
	var format, since, output, dataDir, tokenFile string
	var quiet bool
	var show int
	cmd := &cobra.Command{
		Use:   "import [FILE|FOLDER|-]...",
		Short: "Bring spans of Jaeger, Zipkin, Tempo and OTLP files into a running Spanloom",
		Long: "Reads files, all files of folders, standard input (-), or with --from the documents that Jaeger keeps in Elasticsearch or OpenSearch, and sends\n" +
			"their spans to a running Spanloom. The content decides what a file is: Jaeger's JSON (of its UI or API), hits or documents of its indices,\n" +
			"Zipkin's JSON of version 1 and 2, OTLP as JSON, lines of JSON or protobuf, answers of Tempo; packed with gzip or zstd or not.\n" +
			"What cannot be read is named and passed over; what a format could not hold is listed at the end. An import that stopped goes on\n" +
			"where it was when the same command runs again (--state).\n" +
			"Exit code 1 means that spans could not be read or were refused, 2 that the import stopped.",
		Example: "  spanloom import traces.json\n" +
			"  spanloom import --to http://spanloom.tracing:4318 backup/\n" +
			"  zcat spans.json.gz | spanloom import -\n" +
			"  spanloom import --from 'elasticsearch://elastic@localhost:9200/jaeger-span-*' --since -168h",
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return badOutput(output, "text", "json")
			}
			if (len(args) > 0) == (o.From != "") {
				return &problem.Problem{Kind: problem.Invalid, Message: "nothing to import, or both files and --from", Hint: "give files, folders or -, or --from elasticsearch://host:9200"}
			}
			var err error
			if o.Format, err = transfer.ParseFormat(format); err != nil {
				return err
			}
			if o.Since, err = instantFlag("--since", since, time.Now()); err != nil {
				return err
			}
			if o.Since != 0 && o.From == "" {
				return &problem.Problem{Kind: problem.Invalid, Field: "--since", Message: "files are read whole", Hint: "leave it out, or use --from"}
			}
			if o.To, err = receiver(o.To, dataDir); err != nil {
				return err
			}
			if o.Token, err = readToken(tokenFile); err != nil {
				return err
			}
			o.Sources, o.Stdin = args, cmd.InOrStdin()
			for _, a := range args {
				if a == "-" && !cmd.Flags().Changed("state") {
					o.State = "" // what comes next time on standard input may be something else
				}
			}
			stderr := cmd.ErrOrStderr()
			shown := 0
			o.Fault = func(f transfer.Fault) {
				if shown++; shown <= show {
					fmt.Fprintln(stderr, faultLine(f))
				} else if shown == show+1 {
					fmt.Fprintln(stderr, "further ones are only counted (--show)")
				}
			}
			if !quiet {
				o.Progress, o.Waiting = importProgress(stderr)
			}
			report, err := transfer.Import(cmd.Context(), o)
			if err == nil || report.Read > 0 {
				if printErr := printImport(cmd.OutOrStdout(), report, output); printErr != nil {
					return errors.Join(err, printErr)
				}
			}
			switch {
			case err != nil && o.State != "" && report.Sent > 0:
				if errors.Is(err, context.Canceled) {
					err = errors.New("interrupted")
				}
				return fmt.Errorf("%w; the same command goes on where this one stopped (%s)", err, o.State)
			case err != nil:
				return err
			case !report.Whole():
				return errFindings
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.From, "from", "", "`address` of the Elasticsearch or OpenSearch of Jaeger: elasticsearch://user@host:9200/jaeger-span-*; options: tls=true, password_file, ca_file, skip_verify. A password may also stand in SPANLOOM_OPENSEARCH_PASSWORD")
	f.StringVar(&since, "since", "", "with --from, only spans that start at or after this `time`: 2026-01-31T12:00:00Z, or -24h for a day ago")
	f.StringVar(&format, "format", "auto", "auto, jaeger, jaeger-es, zipkin, otlp-json, otlp-proto or tempo-json")
	f.StringVar(&o.To, "to", "", "base `URL` of an OTLP/HTTP receiver (default: that of --data-dir, else "+defaultReceiver+")")
	f.StringVar(&dataDir, "data-dir", "./spanloom-data", "data `folder` of a running Spanloom, whose endpoints.json says where it listens")
	f.StringVar(&tokenFile, "token-file", "", "`file` with a bearer token of role ingest")
	f.StringVar(&o.State, "state", "spanloom-import.state", "`file` that the place is kept in until the import is done; empty keeps none. Standard input has none unless it is given")
	f.BoolVar(&o.Strict, "strict", false, "stop at the first piece that cannot be read or is refused")
	f.DurationVar(&o.RetryFor, "retry-for", 10*time.Minute, "how long a request is tried again while the receiver is away or full")
	f.IntVar(&show, "show", 20, "pieces that could not be read, of which each is named")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress on standard error")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// receiver finds the OTLP/HTTP receiver of --to or --data-dir.
func receiver(to, dataDir string) (string, error) {
	if to == "" {
		to = defaultReceiver
		if ends := endpointsOf(dataDir); ends.OTLPHTTP != "" {
			to = "http://" + ends.OTLPHTTP
		}
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", &problem.Problem{Kind: problem.Invalid, Field: "--to", Message: fmt.Sprintf("%q is no URL", to), Hint: "write " + defaultReceiver}
	}
	return to, nil
}

func faultLine(f transfer.Fault) string {
	place := f.File
	if f.At != "" {
		place += " " + f.At
	}
	if place == "" {
		return printable(f.What)
	}
	return printable(place + ": " + f.What)
}

// importProgress writes a line each second at most, and one when the receiver is waited for.
func importProgress(w io.Writer) (func(transfer.Report), func(string)) {
	last, begun := time.Now(), time.Now()
	progress := func(r transfer.Report) {
		now := time.Now()
		if now.Sub(last) < time.Second {
			return
		}
		last = now
		line := fmt.Sprintf("%d spans sent", r.Sent)
		if r.OfRead > 0 {
			line = fmt.Sprintf("%d of %d spans sent", r.Sent, r.OfRead)
		}
		line += fmt.Sprintf(", %.0f a second", float64(r.Sent)/now.Sub(begun).Seconds())
		if r.OfFiles > 0 {
			line += fmt.Sprintf("; file %d of %d", r.Files, r.OfFiles)
			if r.OfBytes > 0 {
				line += fmt.Sprintf(", %d of %d MiB", r.Bytes>>20, r.OfBytes>>20)
			}
		}
		if r.Refused+r.Unreadable > 0 {
			line += fmt.Sprintf("; %d refused, %d unreadable", r.Refused, r.Unreadable)
		}
		fmt.Fprintln(w, line)
	}
	return progress, func(why string) { fmt.Fprintln(w, "waiting:", printable(why)) }
}

// printImport writes what came of an import.
func printImport(w io.Writer, r transfer.Report, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var b strings.Builder
	if r.Resumed {
		b.WriteString("went on where the import before stopped\n")
	}
	fmt.Fprintf(&b, "read        %d spans\nsent        %d spans\nrefused     %d spans\nunreadable  %d spans or pieces\n", r.Read, r.Sent, r.Refused, r.Unreadable)
	if len(r.Losses) > 0 {
		b.WriteString("\nguessed or left out:\n")
		for _, l := range r.Losses {
			fmt.Fprintf(&b, "%10d  %s\n", l.Count, l.What)
		}
	}
	if len(r.Lacks) > 0 {
		b.WriteString("\nnot in these files, because their format cannot hold it:\n")
		for _, l := range r.Lacks {
			fmt.Fprintf(&b, "            %s\n", l)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
