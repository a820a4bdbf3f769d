package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/apply"
	"github.com/spanloom/spanloom/mesh/istio"
)

// rolling is one run of `mesh rollout`.
type rolling struct {
	cmd       *cobra.Command
	cluster   clusterFlags
	only      []string
	ready     time.Duration
	firstSpan time.Duration
	server    serverFlags
	noSpans   bool
	every     time.Duration
}

func meshRolloutCommand() *cobra.Command {
	r := rolling{every: time.Second}
	var yes bool
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Restart the workloads whose proxies began before the last apply, one at a time",
		Long: "runtimeValues count when a pod starts. Restarts, as `kubectl rollout restart` does, the workloads with a proxy that run pods from before the last\n" +
			"`mesh apply` that changed mesh configuration (its backup tells when): one at a time, each until its pods are ready and a span of it is here. Stops at\n" +
			"the first that fails. Run again it goes on: what has new pods is left alone.",
		Example: "  spanloom mesh rollout --server http://spanloom.example:16686\n  spanloom mesh rollout --workload shop/web --yes --no-spans",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.cmd = cmd
			return r.do(cmd.Context(), yes)
		},
	}
	r.cluster.add(cmd)
	r.cluster.addBackups(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	r.server.add(cmd)
	cmd.Flags().StringSliceVar(&r.only, "workload", nil, "only this `workload`: NAMESPACE/NAME; repeatable")
	cmd.Flags().DurationVar(&r.ready, "ready-within", 10*time.Minute, "give up on a workload whose pods are not ready after so long")
	cmd.Flags().DurationVar(&r.firstSpan, "span-within", 2*time.Minute, "give up on a workload that sent no span so long after it was ready: it needs traffic")
	cmd.Flags().BoolVar(&r.noSpans, "no-spans", false, "wait for readiness alone, and ask no Spanloom")
	return cmd
}

func (r *rolling) do(ctx context.Context, yes bool) error {
	reader, writer, err := r.cluster.connect()
	if err != nil {
		return err
	}
	uid, err := writer.Cluster(ctx)
	if err != nil {
		return err
	}
	records, err := apply.Records(r.cluster.backups, uid)
	if err != nil {
		return err
	}
	since, ok := apply.LastMeshChange(records)
	if !ok {
		return problem.New(problem.NotFound, "no `mesh apply` changed the mesh configuration of "+writer.Server(), "nothing needs a restart for Spanloom; is --backup-dir the folder of that run?")
	}
	var s *server
	if !r.noSpans {
		if s, err = r.server.find(); err != nil {
			return err
		}
		if _, _, err := s.get(ctx, "/api/spanloom/v1/status"); err != nil {
			return err // before anything is restarted
		}
	}
	facts, err := objects(ctx, reader, r.cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	todo, err := outdated(facts.Objects.Workloads, since, r.only)
	if err != nil {
		return err
	}
	out := r.cmd.OutOrStdout()
	if len(todo) == 0 {
		fmt.Fprintln(out, "no workload runs a proxy from before "+since.Format(time.RFC3339))
		return nil
	}
	for i, o := range todo {
		fmt.Fprintf(out, "%d. %s\n", i+1, o)
	}
	if !yes {
		if ok, err := confirm(r.cmd, "Restart these, one at a time"); !ok {
			return err
		}
	}
	for i, o := range todo {
		began := time.Now()
		fmt.Fprintf(out, "%d of %d: restart %s\n", i+1, len(todo), o)
		if err := writer.Restart(ctx, o, began, r.ready, r.every, func(line string) { fmt.Fprintln(out, line) }); err != nil {
			return err
		}
		if s != nil {
			if err := r.span(ctx, s, o, namesOf(facts.Objects.Workloads, o), began, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// outdated are workloads with a running proxy that began before a time, sorted by name: gateways last, so that what they lead
// to reports already.
func outdated(all []istio.Workload, since time.Time, only []string) ([]apply.ID, error) {
	type entry struct {
		object  apply.ID
		gateway bool
	}
	found := make(map[apply.ID]entry)
	for _, w := range all {
		if !w.Pod || !w.HasProxy {
			continue
		}
		o := apply.ID{APIVersion: "apps/v1", Kind: w.OfKind, Namespace: w.Namespace, Name: w.Of}
		started, err := time.Parse(time.RFC3339, w.Started)
		if err != nil || !started.Before(since) || !slices.Contains([]string{"Deployment", "StatefulSet", "DaemonSet"}, w.OfKind) {
			continue
		}
		if len(only) == 0 || slices.Contains(only, o.Namespace+"/"+o.Name) {
			found[o] = entry{o, w.Gateway}
		}
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(w istio.Workload) bool {
			return w.Namespace+"/"+w.Of == name || w.Namespace+"/"+w.Name == name
		}) {
			return nil, &problem.Problem{Kind: problem.NotFound, Field: "--workload", Message: fmt.Sprintf("%q is no workload of this cluster", name), Hint: "write NAMESPACE/NAME"}
		}
	}
	var entries []entry
	for _, e := range found {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.gateway != b.gateway {
			if b.gateway {
				return -1
			}
			return 1
		}
		return strings.Compare(a.object.String(), b.object.String())
	})
	out := make([]apply.ID, len(entries))
	for i, e := range entries {
		out[i] = e.object
	}
	return out, nil
}

// namesOf are what proxies may call a workload in spans, without its namespace: Istio takes the label app, or by
// tracingServiceName the canonical name.
func namesOf(all []istio.Workload, o apply.ID) []string {
	out := []string{o.Name}
	for _, w := range all {
		if !w.Pod || w.Namespace != o.Namespace || w.Of != o.Name || w.OfKind != o.Kind {
			continue
		}
		for _, l := range []string{"app", "service.istio.io/canonical-name"} {
			if n := w.Labels[l]; n != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// span waits until a span of the workload that began after the restart is here.
func (r *rolling) span(ctx context.Context, s *server, o apply.ID, names []string, began time.Time, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, r.firstSpan)
	defer cancel()
	var either []string
	for _, n := range names {
		either = append(either, "resource.service.name = "+strconv.Quote(n+"."+o.Namespace))
	}
	query := url.Values{"limit": {"1"}, "q": {"{ " + strings.Join(either, " || ") + " }"}, "start": {strconv.FormatInt(began.Unix(), 10)}}
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		query.Set("end", strconv.FormatInt(time.Now().Unix()+1, 10))
		body, _, err := s.get(ctx, "/tempo/api/search?"+query.Encode())
		var answer struct{ Traces []struct{ TraceID string } }
		if err == nil && json.NewDecoder(bytes.NewReader(body)).Decode(&answer) == nil && len(answer.Traces) > 0 {
			fmt.Fprintf(out, "  %s: its first span is here, trace %s\n", o, answer.Traces[0].TraceID)
			return nil
		}
		select {
		case <-ctx.Done():
			return problem.New(problem.Unavailable, fmt.Sprintf("%s is ready, and no span of %s in %s came within %s", o, strings.Join(names, " or "), o.Namespace, r.firstSpan),
				"it needs traffic to send one; `spanloom why "+o.Namespace+"/"+o.Name+"` names what keeps it back; --no-spans goes on without")
		case <-tick.C:
		}
	}
}
