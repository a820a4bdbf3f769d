// Package rollup says what is counted of spans and how: rate, errors and durations per operation, and who called whom, per
// minute. Engines build a Table for every segment and merge them; query counts the rows of a scan with the same Builder,
// so that both give the same numbers.
//
// A row is counted once in a series (SeriesKey). Calls are counted once per view in an edge (EdgeKey): what the client
// waited for (ViewClient), what each server did for a client whose span is known (ViewServer: tries of a retried call
// count each), and servers without a client's span (ViewLone). The calls of an edge are ViewClient plus ViewLone.
//
// Everything is bounded: MaxKeys keys, then named overflow keys; what has no place at all is in Table.Uncounted, and a
// table that has it is no answer.
package rollup

import (
	"context"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Minute is the width of a cell as Builders make them, in ns.
const Minute = int64(time.Minute)

// Limits of one table.
const (
	MaxKeys    = 20_000  // series and edges together
	MaxNodes   = 10_000  // ends of edges
	MaxStrings = 65_536  // distinct names; each is cut to 255 bytes
	MaxCells   = 200_000 // a merged table past it gets cells twice as wide, a Builder's counts no more
	MaxHalves  = 65_536  // calls of which one side is elsewhere
	maxPerKey  = 2_048   // cells of one key
	softKeys   = MaxKeys - 2_000
	softNodes  = MaxNodes - 2_000
)

// Other is the name of everything that had no place of its own.
const Other = "(other)"

// Reader is an engine that keeps rollups. query asks an engine for it by type assertion, and scans where it is absent or
// where the question does not fit (Scope.MustMatch is set, or it filters by other fields).
type Reader interface {
	// Rollups answers the counts of the whole minutes that lie in the range, of everything that is readable, in a table made
	// by Table.MergeRange. The table is the caller's own. query counts the ragged ends of a range by a scan.
	Rollups(ctx context.Context, s store.Scope, r store.TimeRange) (*Table, store.Done, error)
}

// Summer is a Reader that can sum up over time.
type Summer interface {
	// Sums is Rollups in a table of NewSums: cheaper where a window is long.
	Sums(ctx context.Context, s store.Scope, r store.TimeRange) (*Table, store.Done, error)
}

// Need is the columns and attributes a Builder reads.
func Need() store.Need {
	n := store.Need{Columns: store.ColSpanID | store.ColParent | store.ColName | store.ColKind | store.ColStatus | store.ColMark |
		store.ColTime | store.ColWeight | store.ColService | store.ColLinks}
	for _, key := range slotKeys {
		n.Fields = append(n.Fields, store.Field{In: store.InSpan, Key: key})
	}
	for _, key := range versionKeys {
		n.Fields = append(n.Fields, store.Field{In: store.InResource, Key: key})
	}
	return n
}

// SeriesNeed is what Builder.Count reads.
func SeriesNeed() store.Need {
	n := store.Need{Columns: store.ColParent | store.ColName | store.ColKind | store.ColStatus | store.ColMark | store.ColTime |
		store.ColWeight | store.ColService}
	for _, key := range [...]string{"error", "node_id", "istio.canonical_revision"} {
		n.Fields = append(n.Fields, store.Field{In: store.InSpan, Key: key})
	}
	for _, key := range versionKeys {
		n.Fields = append(n.Fields, store.Field{In: store.InResource, Key: key})
	}
	return n
}

// Flags are facts about the spans of a series.
type Flags uint8

// The flags.
const (
	Proxy   Flags = 1 << iota // made by a sidecar, gateway or waypoint
	Root                      // without a parent id
	Gateway                   // made by a gateway
	Waypoint
)

// SeriesKey is what rate, errors and durations are kept by.
type SeriesKey struct {
	Service, Group, Namespace string
	Version                   string // canonical revision or service.version; empty if unknown
	Operation                 string // the span's name with ids replaced: Operation
	Kind                      span.Kind
	Flags                     Flags
}

// NodeKind is what stands at an end of an edge.
type NodeKind uint8

// The kinds.
const (
	KindService     NodeKind = iota // a workload group
	KindGateway                     // ingress or egress gateway
	KindWaypoint                    // waypoint of an ambient mesh
	KindExternal                    // a host outside of the mesh; Name is the host
	KindDatabase                    // Name is its system, and the host or database where known
	KindBroker                      // Name is its system and the destination
	KindPassthrough                 // left the mesh unmatched; Name is the host where known
	KindBlackHole                   // refused by outbound policy; Name is the host where known
	KindClient                      // a caller that sent no span
	KindUnknown                     // a callee of which nothing is known
	KindOther                       // no place of its own in the table
	NumKinds
)

// String is the word of the own API.
func (k NodeKind) String() string {
	if k >= NumKinds {
		return "unknown"
	}
	return [...]string{"service", "gateway", "waypoint", "external", "database", "broker", "passthrough", "blackhole", "client", "unknown", "other"}[k]
}

// Node is an end of an edge. Name is the workload group, or what its kind says; Service is the name as dialects list it, empty
// where it was inferred from the other side.
type Node struct {
	Kind      NodeKind
	Namespace string
	Name      string
	Service   string
}

// Class tells calls apart that are not meant to be mixed.
type Class uint8

// The classes.
const (
	ClassCall      Class = iota // a call that waits for its answer
	ClassAsync                  // a message
	ClassTelemetry              // the export of spans, metrics and logs
	numClasses
)

// String is the word of the own API.
func (c Class) String() string {
	return [...]string{"call", "async", "telemetry", "call"}[c%4]
}

// View is whose view of a call is counted: see the package comment.
type View uint8

// The views.
const (
	ViewClient View = iota
	ViewServer
	ViewLone
	numViews
)

// EdgeKey is what calls are kept by.
type EdgeKey struct {
	From, To Node
	Protocol string // http, grpc, tcp, a database's or a broker's system; empty if unknown
	Flag     string // Envoy's response flag that says most, "-" or empty for none
	Class    Class
	View     View
}

// Counts are the calls of one key in one stretch of time.
type Counts struct {
	N, Errors           int64   // spans
	Weight, ErrorWeight float64 // Σ weight
	Variance            float64 // of Weight as an estimate, from what was kept: see Add
	Sum                 float64 // Σ weight × duration, ns
	Durations           Histogram
	Slowest             span.TraceID // of the longest one
	Failed              span.TraceID // of one that failed; zero if none did

	trace   uint64  // the trace that was counted last
	inTrace float64 // Σ weight of it
}

// Add counts one span. Sampling keeps traces whole or not at all: a trace that was kept with the probability 1/w and counts c spans
// here stands for w·c, with the variance (1 - 1/w)(w·c)². The spans of a trace are to be added one after the other; where they
// are not, the variance comes out too small.
func (c *Counts) Add(trace span.TraceID, duration int64, weight float64, failed bool) {
	if c.N == 0 || duration > c.Durations.Max() {
		c.Slowest = trace
	}
	c.N++
	c.Weight += weight
	if weight > 1 {
		low, before := trace.Low(), 0.0
		if low == c.trace {
			before = c.inTrace
		}
		c.trace, c.inTrace = low, before+weight
		c.Variance += (1 - 1/weight) * (c.inTrace*c.inTrace - before*before)
	}
	c.Sum += weight * float64(duration)
	if failed {
		c.Errors++
		c.ErrorWeight += weight
		c.Failed = trace
	}
	c.Durations.Add(duration, weight)
}

// Merge adds all of another one, which must not change afterwards: Histogram.Merge.
func (c *Counts) Merge(o *Counts) {
	if o.N > 0 && (c.N == 0 || o.Durations.Max() > c.Durations.Max()) {
		c.Slowest = o.Slowest
	}
	if o.Errors > 0 {
		c.Failed = o.Failed
	}
	c.N += o.N
	c.Errors += o.Errors
	c.Weight += o.Weight
	c.ErrorWeight += o.ErrorWeight
	c.Variance += o.Variance
	c.Sum += o.Sum
	c.Durations.Merge(&o.Durations)
}

// Cell is the counts of one key from Start on, Table.Step long.
type Cell struct {
	Start int64 // ns since the epoch, a multiple of the step
	Counts
}
