package query

import "github.com/spanloom/spanloom/span"

// The stages of one call through the mesh, in the order in which the request passes them.
const (
	stageCaller      = iota // the calling application's client span
	stageCallerProxy        // the client span of its sidecar, or of a gateway or waypoint on the way
	stageCalleeProxy        // the server span of the callee's sidecar, or of a gateway or waypoint
	stageCallee             // the called application's server span
	noStage          = -1
)

// hops numbers the calls of a trace. A hop is one call seen from up to four places: app client span -> proxy client span ->
// proxy server span -> app server span. A row belongs to its parent's hop if both have a stage and the row's is later; the
// places in between may be missing (no sidecar, no instrumentation). So:
//
//   - the caller's outbound sidecar span (group A), the callee's inbound sidecar span (group B) and B's server span share a
//     hop, and A's app client span above them too;
//   - a gateway or waypoint ends one hop with its server span and begins the next one with its client span;
//   - all tries of a retried call share the hop of the client span above them;
//   - internal, producer and consumer spans have no stage: a message is not a call that waits.
//
// Hops are numbered in the order of their first row; a row alone has -1.
func hops(t *Trace) {
	next := int32(0)
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Parent < 0 {
			continue
		}
		p := &t.Rows[r.Parent]
		if from, to := stage(p), stage(r); from == noStage || to <= from {
			continue
		}
		if p.Hop < 0 {
			p.Hop = next
			next++
		}
		r.Hop = p.Hop
	}
}

func stage(r *Row) int {
	proxy := r.Flags&FlagProxy != 0
	switch {
	case r.Flags&FlagPlaceholder != 0:
		return noStage
	case r.Kind == span.KindClient && proxy:
		return stageCallerProxy
	case r.Kind == span.KindClient:
		return stageCaller
	case r.Kind == span.KindServer && proxy:
		return stageCalleeProxy
	case r.Kind == span.KindServer:
		return stageCallee
	default:
		return noStage
	}
}
