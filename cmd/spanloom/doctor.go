package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/headers"
	"github.com/spanloom/spanloom/internal/problem"
)

// factsFlags are the flags that say where facts come from.
type factsFlags struct {
	paths []string
	facts string
	istio string
}

func (f *factsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.paths, "filename", "f", nil, "`folder` or file with manifests, values, dumps (can be repeated)")
	cmd.Flags().StringVar(&f.facts, "facts", "", "saved facts `file`")
	cmd.Flags().StringVar(&f.istio, "istio-version", "", "`version` to judge fields by, where no proxy tells it")
}

func (f *factsFlags) read(cmd *cobra.Command) (*doctor.Facts, error) {
	switch {
	case f.facts != "" && len(f.paths) > 0:
		return nil, problem.New(problem.Invalid, "both --facts and -f are given", "saved facts hold everything already: leave one out")
	case f.facts != "":
		in, err := os.Open(f.facts)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		return doctor.LoadFacts(in)
	case len(f.paths) == 0:
		return nil, problem.New(problem.Invalid, "nothing to look at", "give -f DIR (manifests, config_dump, clusters, stats) or --facts FILE")
	}
	return collect.Files(cmd.Context(), f.paths, collect.Options{Istio: f.istio, Progress: func(done, of int) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d proxies read\n", done, of)
	}})
}

// doctorCommand diagnoses a mesh from files.
func doctorCommand() *cobra.Command {
	var from factsFlags
	var o doctor.Options
	var save, output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Name the broken link between requests and traces",
		Long: "Reads manifests, mesh configuration and what Envoy says of itself, and names the one link that keeps spans from arriving, with evidence\n" +
			"and the smallest fix. A folder may hold any of: YAML of Kubernetes and Istio, Helm values, mesh.yaml, effective_mesh.json (istiod's /debug/mesh),\n" +
			"and a folder for each proxy with config_dump.json, clusters.txt, stats.txt, server_info.json (gzip is fine). What is missing is unknown, not guessed.\n" +
			"Exit code 1 means errors or warnings.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := from.read(cmd)
			if err != nil {
				return err
			}
			if save != "" {
				if err := saveFacts(f, save); err != nil {
					return err
				}
			}
			return printReport(cmd.OutOrStdout(), doctor.Diagnose(f, o), output)
		},
	}
	from.add(cmd)
	cmd.Flags().StringVarP(&o.Namespace, "namespace", "n", "", "show only what concerns this `namespace`")
	cmd.Flags().StringVar(&o.Workload, "workload", "", "show only what concerns this `workload` (name or namespace/name)")
	cmd.Flags().StringVar(&save, "save", "", "write the facts to a `file`, to be replayed with --facts")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.AddCommand(lintCommand(), headersCommand())
	return cmd
}

func saveFacts(f *doctor.Facts, path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := f.Save(out); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func printReport(out io.Writer, r *doctor.Report, output string) error {
	switch output {
	case "json":
		if err := writeJSON(out, r); err != nil {
			return err
		}
	case "text":
		doctor.Print(out, r)
	default:
		return badOutput(output, "text", "json")
	}
	return gravity(r)
}

// gravity is the exit code: errors and warnings count, cost and style do not.
func gravity(r *doctor.Report) error {
	if w := r.Worst(); w == doctor.Error || w == doctor.Warning {
		return errFindings
	}
	return nil
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// lintCommand checks the files of a repository.
func lintCommand() *cobra.Command {
	var output, istioVersion string
	cmd := &cobra.Command{
		Use:   "lint FILES",
		Short: "Check the files of a Git repository: a line for each finding, with file and line",
		Long:  "Checks manifests, mesh configuration and Helm values without a cluster. A finding is a line `file:line: severity code cause: detail`.\nExit code 1 means errors or warnings, so that a pipeline stops.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := collect.Files(cmd.Context(), args, collect.Options{Istio: istioVersion})
			if err != nil {
				return err
			}
			r := doctor.Diagnose(f, doctor.Options{})
			out := cmd.OutOrStdout()
			switch output {
			case "json":
				if err := writeJSON(out, r); err != nil {
					return err
				}
			case "text":
				for _, f := range r.Findings {
					fmt.Fprintln(out, lintLine(f))
				}
			default:
				return badOutput(output, "text", "json")
			}
			return gravity(r)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&istioVersion, "istio-version", "", "`version` to judge fields by")
	return cmd
}

func lintLine(f doctor.Finding) string {
	at := f.Object.File
	if at == "" {
		at = f.Object.String()
	}
	if f.Object.Line > 0 {
		at += fmt.Sprintf(":%d", f.Object.Line)
	}
	detail := f.Detail
	if detail == "" {
		detail = f.Title
	}
	return fmt.Sprintf("%s: %s %s %s: %s", at, f.Severity, f.Code, f.Cause, detail)
}

// headersCommand decodes pasted headers.
func headersCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "headers [FILE]",
		Short: "Decode pasted trace headers: B3, traceparent, x-envoy-*, peer metadata",
		Long:  "Reads header lines or the JSON of an echo service from a file or from standard input, and says what they carry and what is odd.\nExit code 1 means that something is odd.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			data, err := io.ReadAll(io.LimitReader(in, headers.MaxInput+1))
			if err != nil {
				return err
			}
			hs, err := headers.Parse(data)
			if err != nil {
				return err
			}
			d := headers.Decode(hs)
			out := cmd.OutOrStdout()
			switch output {
			case "json":
				err = writeJSON(out, d)
			case "text":
				printHeaders(out, d)
			default:
				return badOutput(output, "text", "json")
			}
			if err == nil && len(d.Warnings) > 0 {
				err = errFindings
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printHeaders(out io.Writer, d headers.Decoded) {
	if d.TraceID != "" {
		fmt.Fprintf(out, "trace %s, span %s, sampled: %s\nlook it up: spanloom trace %s\n\n", d.TraceID, d.SpanID, d.Sampled, d.TraceID)
	} else {
		fmt.Fprintf(out, "no trace id, sampled: %s\n\n", d.Sampled)
	}
	header := ""
	for _, f := range d.Fields {
		if f.Header != header {
			header = f.Header
			fmt.Fprintln(out, header)
		}
		meaning := ""
		if f.Meaning != "" {
			meaning = "  (" + f.Meaning + ")"
		}
		fmt.Fprintf(out, "  %s: %s%s\n", f.Name, f.Value, meaning)
	}
	for _, w := range d.Warnings {
		fmt.Fprintf(out, "\n! %s\n", w)
	}
}
