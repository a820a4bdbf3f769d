package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/apply"
)

func meshSamplingCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sampling", Short: "Raise the sampling rate of a workload for a time"}
	cmd.AddCommand(samplingRaiseCommand(), samplingReturnCommand())
	return cmd
}

func samplingRaiseCommand() *cobra.Command {
	var cluster clusterFlags
	var percent float64
	var d time.Duration
	var image, output string
	cmd := &cobra.Command{
		Use:   "raise NAMESPACE/WORKLOAD",
		Short: "Trace more requests of a workload for a time; a Job in the cluster takes it back",
		Long: "Writes a Telemetry for the workload's pods, and before it a Job that deletes it when the time is over, whatever becomes of this machine. The Job may do\n" +
			"nothing else. The rate counts for requests that begin at this workload: where a gateway or another proxy decided before, its decision stays; raise the gateway\n" +
			"to see more of everything. Should the Job not run, the doctor says so (T0129), and `spanloom mesh sampling return` does it by hand.",
		Example: "  spanloom mesh sampling raise istio-system/istio-ingressgateway --percent 100 --for 10m\n" +
			"  spanloom mesh sampling raise shop/web --percent 50 --for 1h -o yaml",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := apply.ParseRaise(args[0], percent, d, image)
			if err != nil {
				return err
			}
			_, writer, err := cluster.connect()
			if err != nil {
				return err
			}
			labels, err := apply.Selected(cmd.Context(), writer, r)
			if err != nil {
				return err
			}
			objects := r.Objects(labels, time.Now())
			switch output {
			case "yaml":
				text, err := apply.YAML(objects)
				fmt.Fprint(cmd.OutOrStdout(), text)
				return err
			case "text":
				o := cluster.options(cmd)
				if err := apply.Up(cmd.Context(), writer, objects, o.Say); err != nil {
					return err
				}
				o.Say("%s traces %g %% until %s", args[0], percent, time.Now().Add(d).Format(time.TimeOnly))
				return nil
			}
			return badOutput(output, "text", "yaml")
		},
	}
	cluster.add(cmd)
	cmd.Flags().Float64Var(&percent, "percent", 100, "`percentage` of requests")
	cmd.Flags().DurationVar(&d, "for", 10*time.Minute, "how long, from 1m to 24h")
	cmd.Flags().StringVar(&image, "image", "spanloom/spanloom:"+version, "`image` of the Job")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or yaml: print the objects and write nothing")
	return cmd
}

func samplingReturnCommand() *cobra.Command {
	var cluster clusterFlags
	var at string
	cmd := &cobra.Command{
		Use:   "return NAMESPACE/WORKLOAD",
		Short: "Take a raised sampling rate back; the Job of a raise runs this",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := apply.ParseRaise(args[0], 100, apply.MinRaise, "")
			if err != nil {
				return err
			}
			var expires time.Time
			if at != "" {
				if expires, err = time.Parse(time.RFC3339, at); err != nil {
					return &problem.Problem{Kind: problem.Invalid, Field: "--expires", Message: fmt.Sprintf("%q is no time", at), Hint: "write 2026-01-31T12:00:00Z, or leave it out to return it at once"}
				}
			}
			_, writer, err := cluster.connect()
			if err != nil {
				return err
			}
			return apply.Return(cmd.Context(), writer, r, expires, time.Now, cluster.options(cmd).Say)
		},
	}
	cluster.add(cmd)
	cmd.Flags().StringVar(&at, "expires", "", "`time` to wait for (RFC 3339; default: at once)")
	return cmd
}
