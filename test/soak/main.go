// soak runs the embedded engine as it is run in a cluster, only faster: spans come in, questions are asked, segments are written and
// joined, hours go by age, traces are kept, and the process is restarted or killed every few seconds. What was acknowledged must be
// found, answers must be those that the ledger of what was sent gives, nothing may be damaged, and memory, files and goroutines
// must stay bounded. With -overload it runs serve with a log that is slow instead. `make soak` calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		length   = flag.Duration("for", 2*time.Minute, "how long to run; with -overload 30s if not given")
		seed     = flag.Uint64("seed", uint64(time.Now().UnixNano()), "what is sent, asked and when to kill is drawn from it")
		memory   = flag.Int64("memory", 192<<20, "limit of the process in bytes, as --max-memory")
		overload = flag.Bool("overload", false, "serve with a slow log instead, and send more than it takes")
		dir      = flag.String("dir", "", "data folder, which must not exist; it stays there (default: a temporary one that goes)")
		child    = flag.String("child", "", "")
		number   = flag.Uint64("life", 0, "")
		origin   = flag.Int64("origin", 0, "")
	)
	flag.CommandLine.Usage = usage
	flag.Parse()
	switch *child {
	case "live":
		return live(*dir, *memory, *seed, *number, time.Unix(0, *origin))
	case "serve":
		return serve(ctx, *dir, *memory, time.Duration(*number))
	}
	if *dir == "" {
		temp, err := os.MkdirTemp("", "soak-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		*dir = filepath.Join(temp, "data")
	} else if _, err := os.Stat(*dir); err == nil {
		return fmt.Errorf("-dir %s exists: give a folder that does not", *dir)
	}
	if *overload {
		if !given("for") {
			*length = 30 * time.Second
		}
		return overloaded(ctx, *dir, *memory, *length)
	}
	fmt.Printf("seed %d (soak -seed %d -for %s)\n", *seed, *seed, *length)
	p := &parent{dir: *dir, memory: *memory, seed: *seed, origin: time.Now(), ledger: newLedger()}
	return errors.Join(p.run(ctx, *length), p.print())
}

func usage() {
	fmt.Fprintln(flag.CommandLine.Output(), "soak [-for 5m] [-seed N] [-memory BYTES] [-dir FOLDER] [-overload]")
}

func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}
