package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/headers"
)

// doctorCommand diagnoses a mesh.
func doctorCommand() *cobra.Command {
	var from factsFlags
	var judge judgeFlags
	var save, output string
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Name the broken link between requests and traces",
		Long: "Reads a cluster, or files, and names the one link that keeps spans from arriving, with evidence and the smallest fix. It changes nothing.\n" +
			"From a cluster (--kubeconfig, else $KUBECONFIG, ~/.kube/config, or the pod's own service account) it reads what it may: objects, then the proxies'\n" +
			"statistics, then Envoy's and istiod's own state over port-forwards; `spanloom doctor roles` prints the rights of each level. Secrets are never read.\n" +
			"A folder (-f) may hold any of: YAML of Kubernetes and Istio, Helm values, mesh.yaml, effective_mesh.json (istiod's /debug/mesh), and a folder for\n" +
			"each proxy with config_dump.json, clusters.txt, stats.txt, server_info.json (gzip is fine). What is missing is unknown, not guessed.\n" +
			"With --server the receipts of a running Spanloom take part. Exit code 1 means errors or warnings.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return watchCluster(cmd, &from, &judge, interval, output)
			}
			f, err := from.read(cmd, judge.options)
			if err != nil {
				return err
			}
			if save != "" {
				if err := saveFacts(f, save); err != nil {
					return err
				}
			}
			r, err := judge.report(cmd.Context(), f)
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), r, output)
		},
	}
	from.add(cmd)
	judge.add(cmd)
	cmd.Flags().StringVarP(&judge.options.Namespace, "namespace", "n", "", "only what concerns this `namespace`")
	cmd.Flags().StringVar(&judge.options.Workload, "workload", "", "only what concerns this `workload` (name or namespace/name)")
	cmd.Flags().StringVar(&save, "save", "", "write the facts to a `file`, to be replayed with --facts or loaded in the UI")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().BoolVar(&watch, "watch", false, "look again whenever the mesh's configuration changes, and at an interval; says what is new until interrupted")
	cmd.Flags().DurationVar(&interval, "interval", time.Minute, "with --watch: look again at least so often")
	cmd.AddCommand(lintCommand(), headersCommand(), rolesCommand(), probeCommand())
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
	var output, istioVersion, language string
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
			if err := checkLanguage(language); err != nil {
				return err
			}
			r := spoken(doctor.Diagnose(f, doctor.Options{}), language)
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
	addLanguage(cmd, &language)
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
