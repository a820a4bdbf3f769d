package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/istio"
)

// RestartedAt is the annotation by which `kubectl rollout restart` restarts a workload, and Restart too.
const RestartedAt = "kubectl.kubernetes.io/restartedAt"

// Restart gives a Deployment, StatefulSet or DaemonSet new pods and waits until all of them are ready, or patience is over.
// It asks every so often; each new state is told.
func (c *Client) Restart(ctx context.Context, id ID, now time.Time, patience, every time.Duration, say func(string)) error {
	patch := Object{"spec": Object{"template": Object{"metadata": Object{"annotations": Object{RestartedAt: now.UTC().Format(time.RFC3339)}}}}}
	if _, _, err := c.write(ctx, id, asMerge, patch, false, false); err != nil {
		return describe(id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		live, err := c.Get(ctx, id)
		if err == nil && live == nil {
			return problem.New(problem.NotFound, id.String()+" vanished while it was restarted", "")
		}
		if err == nil {
			done, state := Ready(live)
			if state != last {
				say("  " + id.String() + ": " + state)
				last = state
			}
			if done {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if last == "" {
				last = "its state could not be read"
			}
			return problem.New(problem.Unavailable, fmt.Sprintf("%s is not ready after %s: %s", id, patience, last),
				fmt.Sprintf("kubectl describe pods -n %s; the workloads behind it were not touched; run the same command again when it is mended", id.Namespace))
		case <-tick.C:
		}
	}
}

// Ready tells whether all pods of a workload are of its newest template and ready, and says how far it is.
func Ready(workload Object) (done bool, state string) {
	count := func(otherwise int64, path ...string) int64 {
		if n, ok := at(workload, path...).(int64); ok {
			return n
		}
		return otherwise
	}
	if count(0, "status", "observedGeneration") < count(0, "metadata", "generation") {
		return false, "its controller has not seen the restart"
	}
	want := count(1, "spec", "replicas")
	updated, ready, all := count(0, "status", "updatedReplicas"), count(0, "status", "readyReplicas"), count(0, "status", "replicas")
	if str(workload, "kind") == "DaemonSet" {
		want = count(0, "status", "desiredNumberScheduled")
		updated, ready, all = count(0, "status", "updatedNumberScheduled"), count(0, "status", "numberReady"), count(0, "status", "currentNumberScheduled")
	}
	state = fmt.Sprintf("%d of %d new, %d ready", updated, want, ready)
	// Old pods may count as ready until they are gone.
	return updated >= want && ready >= want && all <= updated, state
}

// LastMeshChange is when the newest apply that changed mesh configuration, and was not taken back, began.
func LastMeshChange(records []*Record) (at time.Time, ok bool) {
	changed := func(s *Step) bool {
		return s.State == Done && s.ID.Kind == "ConfigMap" && istio.IsMeshName(s.ID.Name)
	}
	for _, r := range slices.Backward(records) { // oldest first
		if r.State == Done && slices.ContainsFunc(r.Steps, changed) {
			return r.Started, true
		}
	}
	return time.Time{}, false
}
