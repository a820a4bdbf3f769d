// Command spanloom is distributed tracing for service meshes in one binary. Each file beside this one is a subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Set by the linker; see Makefile.
var (
	version = "dev"
	commit  = "unknown"
	date    = "unknown"
)

// Exit codes, the same for every subcommand.
const (
	exitFindings = 1 // findings or a mismatch
	exitFailure  = 2 // wrong usage, or it did not work
)

// errFindings ends a command with exit code 1: it worked, and what it found is not fine. It has been printed already.
var errFindings = errors.New("findings")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and answers the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "spanloom",
		Short:         "Distributed tracing for service meshes",
		Long:          "Spanloom receives spans from Envoy sidecars and SDKs (Zipkin, OTLP), keeps them, finds them and shows them.\n`spanloom serve` starts it; `spanloom demo` starts it with a mesh that has traffic.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(), demoCommand(), loadCommand(), configCommand(), fsckCommand(), storeCommand(), exportCommand(), importSpansCommand(), queryCommand(), traceCommand(), doctorCommand(), whyCommand(), meshCommand(), getCommand(), versionCommand())
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFindings):
		return exitFindings
	default:
		fmt.Fprintln(stderr, "spanloom:", err)
		return exitFailure
	}
}
