package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/load"
)

func loadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "load", Short: "Send reproducible mesh traffic, and verify that all of it is there"}
	cmd.AddCommand(loadSendCommand(), loadVerifyCommand())
	return cmd
}

func loadSendCommand() *cobra.Command {
	var o load.SendOptions
	var protocol string
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send the traffic of a mesh of 12 services",
		Long:  "Sends spans as sidecars of 12 services in 4 namespaces send them, encoded before the clock starts. The same --seed gives the same spans;\nthe manifest it writes is what `spanloom load verify` rebuilds them from.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := load.ParseProtocol(protocol)
			if err != nil {
				return err
			}
			o.Protocol = p
			if o.Duration > 0 && !cmd.Flags().Changed("spans") {
				o.Spans = 0 // as many as the time allows
			}
			_, err = load.Send(cmd.Context(), o, cmd.OutOrStdout())
			return findings(err, load.ErrMismatch)
		},
	}
	f := cmd.Flags()
	f.StringVar(&protocol, "protocol", string(load.OTLPGRPC), "otlp-grpc, otlp-http, otlp-http-json, zipkin or zipkin-proto")
	f.StringVar(&o.Target, "target", "", "host:port or URL of the receiver (default: the protocol's usual port on 127.0.0.1)")
	f.StringVar(&o.Endpoints, "endpoints", "", "endpoints.json of a server or its data folder, instead of --target and --server-pid")
	f.Int64Var(&o.Spans, "spans", 200_000, "how many spans; the last trace is sent whole")
	f.DurationVar(&o.Duration, "duration", 0, "send for so long, as many spans as that allows unless --spans is given")
	f.Float64Var(&o.Rate, "rate", 0, "spans a second; 0 sends as fast as answers come")
	f.IntVar(&o.SpansPerRequest, "spans-per-request", 512, "5 is what a sidecar sends")
	f.IntVar(&o.Connections, "connections", 8, "connections, one request under way on each")
	f.Uint64Var(&o.Seed, "seed", 1, "the same seed gives the same spans")
	f.IntVar(&o.TracesPerSecond, "traces-per-second", 50, "density of the traces in their own time, which ends now")
	f.StringVar(&o.Manifest, "manifest", load.DefaultManifest, "what verify needs; - writes none")
	f.BoolVar(&o.Chunked, "chunked", false, "HTTP bodies without Content-Length, as Envoy sends them")
	f.IntVar(&o.ServerPID, "server-pid", 0, "also report CPU and memory of this process (Linux)")
	f.StringVar(&o.TokenFile, "token-file", "", "bearer token")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates to trust; makes the connection TLS")
	f.DurationVar(&o.RetryFor, "retry-for", time.Minute, "how long one request is tried again before it counts as refused")
	return cmd
}

// findings turns a mismatch, which load has printed, into exit code 1.
func findings(err, mismatch error) error {
	if errors.Is(err, mismatch) {
		return errFindings
	}
	return err
}

func loadVerifyCommand() *cobra.Command {
	var o load.VerifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that every span of a load is there and equal",
		Long:  "Rebuilds the spans of a manifest and compares them with what the own API and the Jaeger API of a running Spanloom answer.\nExit code 1 means that something is missing, double or different; the first differences are printed.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := load.Verify(cmd.Context(), o, cmd.OutOrStdout())
			return findings(err, load.ErrMismatch)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.URL, "url", "", "UI and own API (default http://127.0.0.1:16686); a base path belongs to it")
	f.StringVar(&o.JaegerURL, "jaeger-url", "", "what stands before /api/traces (default: --url)")
	f.StringVar(&o.Endpoints, "endpoints", "", "endpoints.json of a server or its data folder, instead of --url")
	f.StringVar(&o.Manifest, "manifest", load.DefaultManifest, "as load send wrote it; several, separated by commas, add up")
	f.IntVar(&o.Sample, "sample", 200, "traces compared in every field")
	f.BoolVar(&o.All, "all", false, "also compare the span ids of every trace")
	f.BoolVar(&o.Exact, "exact", false, "the server must hold nothing but these spans")
	f.DurationVar(&o.Wait, "wait", 30*time.Second, "how long the server may take until it shows all spans")
	f.IntVar(&o.Show, "show", 10, "differences to print")
	f.StringVar(&o.TokenFile, "token-file", "", "bearer token")
	f.StringVar(&o.CAFile, "ca-file", "", "certificates to trust")
	return cmd
}
