package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/app"
	"github.com/spanloom/spanloom/demo"
)

// demoCommand serves and lets a mesh of real Envoys report to it, until Ctrl-C.
func demoCommand() *cobra.Command {
	var envoy string
	var rate float64
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start Spanloom with a mesh of real Envoys and traffic",
		Long: "Starts Spanloom and, reporting to it, an ingress gateway and seven sidecars (real Envoys, configured as Istio does) around small\n" +
			"services shaped like Bookinfo, with steady traffic: good requests, retries, timeouts, errors, gRPC, an external host.\n" +
			"Everything listens on loopback. Takes the settings of `spanloom serve`; spans go to a folder of their own unless --data-dir is given.\n\n" + settingHelp(),
		Args: cobra.NoArgs,
	}
	load := settingFlags(cmd)
	cmd.Flags().StringVar(&envoy, "envoy", "", "Envoy to run (default: the one of tools/get envoy, or on PATH)")
	cmd.Flags().Float64Var(&rate, "rate", 5, "requests a second")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		if !cmd.Flags().Changed("data-dir") {
			dir, err := os.MkdirTemp("", "spanloom-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			c.DataDir = filepath.Join(dir, "data")
		}
		log := newLog(cmd.ErrOrStderr(), c)
		if envoy == "" {
			if envoy, err = demo.FindEnvoy(); err != nil {
				return noEnvoy(err)
			}
		}
		// The mesh stops first, so that its last spans still arrive; then the server.
		ctx := cmd.Context()
		serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
		defer stopServer()
		var started atomic.Bool
		defer context.AfterFunc(ctx, func() {
			if !started.Load() {
				stopServer()
			}
		})()
		meshDone := make(chan error, 1)
		err = app.Serve(serverCtx, c, app.Options{Build: build(), Log: log, Ready: func(e app.Endpoints) {
			started.Store(true)
			go func() {
				defer stopServer()
				meshDone <- demo.Run(ctx, demo.Options{
					Envoy: envoy, Rate: rate, UI: "http://" + e.HTTP, Log: log,
					Collector: demo.Collector{Zipkin: e.Zipkin, OTLPGRPC: e.OTLPGRPC, OTLPHTTP: e.OTLPHTTP},
				})
			}()
		}})
		if started.Load() && err == nil {
			err = noEnvoy(<-meshDone)
		}
		return err
	}
	return cmd
}

func noEnvoy(err error) error {
	if errors.Is(err, demo.ErrNoEnvoy) {
		return fmt.Errorf("%w\nwithout Envoy: run `spanloom serve` and, in another terminal, `spanloom load send --protocol zipkin --rate 200`", err)
	}
	return err
}
