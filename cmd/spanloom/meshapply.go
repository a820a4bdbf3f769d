package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/doctor/collect"
	"github.com/spanloom/spanloom/doctor/prescribe"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/apply"
	"github.com/spanloom/spanloom/mesh/plan"
	"github.com/spanloom/spanloom/mesh/render"
)

// clusterFlags are those of commands that write to a cluster, or plan to.
type clusterFlags struct {
	kubeconfig string
	context    string
	backups    string
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod's own service account)")
	cmd.Flags().StringVar(&f.context, "context", "", "`name` of the kubeconfig's context (default: its current one)")
}

func (f *clusterFlags) addBackups(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.backups, "backup-dir", "./spanloom-backups", "`folder` of backups")
}

// connect gives both clients of a cluster: the one that reads facts, and the one that writes.
func (f *clusterFlags) connect() (*collect.Client, *apply.Client, error) {
	reader, err := collect.ConnectContext(f.kubeconfig, f.context)
	if err != nil {
		return nil, nil, err
	}
	writer, err := apply.New(reader.Config())
	return reader, writer, err
}

func (f *clusterFlags) options(cmd *cobra.Command) apply.Options {
	return apply.Options{Backups: f.backups, Now: time.Now, Say: func(format string, args ...any) {
		fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	}}
}

// objects reads level 1 of a cluster: what a plan needs for its words. What may not be read is left out of them.
func objects(ctx context.Context, c *collect.Client, progress io.Writer) (*doctor.Facts, error) {
	facts, err := c.Cluster(ctx, collect.ClusterOptions{Level: collect.LevelObjects})
	if err != nil {
		return nil, err
	}
	for _, u := range facts.Unread {
		fmt.Fprintf(progress, "not read: %s: %s\n", u.Name, u.Why)
	}
	return facts, nil
}

func meshApplyCommand() *cobra.Command {
	var flags intentFlags
	var cluster clusterFlags
	var yes, dryRun, forceOwned, forceConflicts bool
	var output string
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make a cluster's mesh send its spans to Spanloom: plan, dry run, backup, write",
		Long: "Takes what `spanloom mesh render` makes of the same flags, or objects from files (-f), and compares it with the cluster. It shows the plan, lets the\n" +
			"API server try every change (dry run), asks, backs up every object that it touches, and writes. Shared documents (data.mesh of the ConfigMap istio,\n" +
			"Kiali's config.yaml, Grafana's datasources.yaml) are edited in place. What Helm, Argo CD, Flux or an operator keeps is refused: -o patch prints the\n" +
			"change for the repository. An apply that was interrupted goes on when it is run again; `spanloom mesh rollback` takes it back.\n" +
			"It uses the rights of the kubeconfig. Nothing else of Spanloom but `spanloom mesh` ever writes to a cluster.",
		Example: "  spanloom mesh apply --sampling staging\n" +
			"  spanloom mesh render --istio-version 1.28 > mesh.yaml && spanloom mesh apply -f mesh.yaml --yes\n" +
			"  spanloom mesh apply --sampling staging -o patch > spans.patch",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "patch" {
				return badOutput(output, "text", "patch")
			}
			ctx := cmd.Context()
			reader, writer, err := cluster.connect()
			if err != nil {
				return err
			}
			facts, err := objects(ctx, reader, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			in, parts, err := flags.parts(facts)
			if err != nil {
				return err
			}
			shown := false
			look := func(ctx context.Context) (*apply.Planned, error) {
				p, err := prescribe.Look(ctx, writer, in, parts, facts)
				if err == nil && !shown {
					shown = true
					if output == "patch" {
						fmt.Fprint(cmd.OutOrStdout(), p.Plan.Patch())
					} else {
						plan.Print(cmd.OutOrStdout(), p.Plan)
					}
				}
				return p, err
			}
			if output == "patch" {
				_, err := look(ctx)
				return err
			}
			o := cluster.options(cmd)
			o.ForceOwned, o.ForceConflicts, o.DryRun = forceOwned, forceConflicts, dryRun
			if !yes {
				o.Confirm = func(*plan.Plan) (bool, error) { return confirm(cmd, "Write this to the cluster at "+writer.Server()) }
			}
			rec, err := apply.Apply(ctx, writer, look, o)
			switch {
			case err != nil:
				return err
			case dryRun:
				fmt.Fprintln(cmd.OutOrStdout(), "dry run: the API server takes every change; nothing was written")
			case rec != nil:
				fmt.Fprintf(cmd.OutOrStdout(), "done. Next: `spanloom mesh rollout` if the plan names restarts, then `spanloom mesh verify URL`; back: `spanloom mesh rollback %s`\n", rec.Name())
			}
			return nil
		},
	}
	flags.addIntent(cmd, "configmap, telemetry")
	flags.addWorkloads(cmd)
	cmd.Flags().StringArrayVarP(&flags.paths, "filename", "f", nil, "`folder` or file with objects to apply instead of rendering them (can be repeated)")
	cluster.add(cmd)
	cluster.addBackups(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "end after the API server's dry run")
	cmd.Flags().BoolVar(&forceOwned, "force-owned", false, "change objects that Helm, Argo CD, Flux or an operator keeps: they undo it sooner or later")
	cmd.Flags().BoolVar(&forceConflicts, "force-conflicts", false, "take over fields of our own objects that somebody else changed")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or patch: print the change for a repository and write nothing")
	return cmd
}

// parts renders the intent for a cluster, or takes the files.
func (f *intentFlags) parts(facts *doctor.Facts) (render.Intent, []render.Part, error) {
	words := f.words
	if len(f.paths) == 0 {
		return prescribe.Render(words, facts)
	}
	prescribe.Complete(&words, facts)
	if len(words.For) > 0 {
		return render.Intent{}, nil, problem.New(problem.Invalid, "both -f and --for are given", "files say what they are for: leave --for out")
	}
	files, err := manifests(f.paths)
	if err != nil {
		return render.Intent{}, nil, err
	}
	parts, err := apply.Files(files)
	if err != nil {
		return render.Intent{}, nil, err
	}
	if len(parts) == 0 {
		return render.Intent{}, nil, &problem.Problem{Kind: problem.Invalid, Field: "-f", Message: "no object is in " + strings.Join(f.paths, ", "), Hint: "give YAML files (.yaml, .yml)"}
	}
	words.For = []string{string(render.Grafana)} // parses without a version: files are written already
	in, err := render.Parse(words)
	in.Targets = nil
	for _, p := range parts {
		in.Targets = append(in.Targets, p.Target)
	}
	return in, parts, err
}

// confirm asks on the terminal. Without one nobody can answer, which is no.
func confirm(cmd *cobra.Command, question string) (bool, error) {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", question)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return false, problem.New(problem.Invalid, "nobody answered, and nothing was written", "give --yes where nobody can be asked")
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a == "y" || a == "yes" {
		return true, nil
	}
	return false, problem.New(problem.Invalid, "nothing was written", "")
}

func meshRollbackCommand() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use:   "rollback [BACKUP]",
		Short: "Take an apply back: every object as it was before",
		Long: "Returns the objects of a backup (default: the newest that was not returned; an older one takes the newer ones back first). Where nobody else wrote since, an object\n" +
			"is as it was, its strings byte by byte; what others wrote stays, and is said. Objects that the apply created are deleted; what vanished is made anew.\n" +
			"It can be interrupted and run again.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, writer, err := cluster.connect()
			if err != nil {
				return err
			}
			return apply.Rollback(cmd.Context(), writer, strings.Join(args, ""), cluster.options(cmd))
		},
	}
	cluster.add(cmd)
	cluster.addBackups(cmd)
	return cmd
}

func meshVerifyCommand() *cobra.Command {
	var from factsFlags
	var judge judgeFlags
	p := probe{every: 500 * time.Millisecond}
	cmd := &cobra.Command{
		Use:   "verify URL",
		Short: "Prove that tracing works: the doctor, and a request through the gateway that must become a trace within a minute",
		Long: "Reads the cluster as `spanloom doctor` does, then sends a request to a gateway as `spanloom doctor probe` does, and waits for its trace. Exit code 0: the doctor has\n" +
			"neither errors nor warnings and the trace is whole; 1: it has, or a hop did not report; 2: it could not be tried.",
		Example: "  spanloom mesh verify http://gateway.example/productpage --server http://spanloom.example:16686 --expect bookinfo/reviews",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.url = args[0]
			s, err := judge.server.find()
			if err != nil {
				return err
			}
			judge.server.server = s.base
			out := cmd.OutOrStdout()
			// The probe first: a doctor that looks afterwards sees its receipts.
			probed, err := p.run(cmd.Context(), s, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			facts, err := from.read(cmd, judge.options)
			if err != nil {
				return err
			}
			r, err := judge.report(cmd.Context(), facts)
			if err != nil {
				return err
			}
			doctor.Print(out, r)
			fmt.Fprintf(out, "\n%s %s answered %s; trace %s\n", p.method, p.url, probed.Status, probed.TraceID)
			printFollowed(out, &probed.Followed)
			if len(probed.Breaks) > 0 {
				return errFindings
			}
			return gravity(r)
		},
	}
	from.add(cmd)
	judge.server.add(cmd)
	judge.addSince(cmd)
	p.add(cmd)
	return cmd
}
