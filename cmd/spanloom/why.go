package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/problem"
)

// whyCommand follows one workload's spans link by link.
func whyCommand() *cobra.Command {
	var from factsFlags
	var server serverFlags
	var output, language string
	cmd := &cobra.Command{
		Use:   "why WORKLOAD|TRACE-ID|REQUEST-ID",
		Short: "Follow the spans of one workload, or of one request, link by link",
		Long: "Says for each link between a workload's requests and its traces whether it holds, and why: injected, policy, accepted, listener, cluster,\nendpoint, tls, network, receiver, stored, joined. WORKLOAD is a name or namespace/name, looked up in a cluster or in files as by `spanloom doctor`.\n" +
			"Of a trace id, traceparent, b3 header or x-request-id it asks a running Spanloom: which hops of the request reported, whose spans are missing, and\n" +
			"where the trace context was lost. Exit code 1 means a broken link.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (isRequestID(args[0]) || isTraceID(args[0])) && !from.offline() {
				return whyRequest(cmd.Context(), cmd.OutOrStdout(), &server, args[0], output)
			}
			f, err := from.read(cmd, doctor.Options{Workload: args[0]})
			if err != nil {
				return err
			}
			if err := checkLanguage(language); err != nil {
				return err
			}
			r := spoken(doctor.Diagnose(f, doctor.Options{Workload: args[0]}), language)
			if len(r.Stations) == 0 {
				var names []string
				for _, c := range doctor.Diagnose(f, doctor.Options{}).Stations {
					names = append(names, c.Workload)
				}
				if len(names) > 20 {
					names = append(names[:20], "…")
				}
				return &problem.Problem{Kind: problem.NotFound, Field: "WORKLOAD", Message: fmt.Sprintf("no workload %q in the facts", args[0]), Hint: "there are " + strings.Join(names, ", ")}
			}
			out := cmd.OutOrStdout()
			switch output {
			case "json":
				err = writeJSON(out, r)
			case "text":
				doctor.PrintWhy(out, r, doctor.Explain(f, args[0]))
			default:
				return badOutput(output, "text", "json")
			}
			if err != nil {
				return err
			}
			for _, c := range r.Stations {
				for _, s := range c.Stations {
					if s.State == doctor.Red {
						return errFindings
					}
				}
			}
			return nil
		},
	}
	from.add(cmd)
	server.add(cmd)
	addLanguage(cmd, &language)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}
