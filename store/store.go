// Package store is the contract between Spanloom and its engines. It holds no engine: mem, local, clickhouse and
// opensearch are rooms of their own, each done when storetest passes. What an engine cannot do it says in Can or by an
// Unsupported problem, never by a silent empty answer.
//
// Errors are *problem.Problem where a caller must tell kinds apart: Overloaded and Unavailable (retry), Unsupported, Expired
// (page tokens), NotFound (Keep), Invalid (a plan that makes no sense). Anything else is internal.
package store

import (
	"context"
	"iter"
	"time"

	"github.com/spanloom/spanloom/span"
)

// DefaultTenant is the tenant of every span until tenants exist.
const DefaultTenant = "default"

// Scope says whose data a call may see. Every call takes one; dialects pass it from the middleware in which
// authentication stands.
type Scope struct {
	Tenant    string
	MustMatch Expr // and-ed into every question; nil for none
}

// TimeRange is [From, To) in nanoseconds since the epoch. A zero To is open; the zero TimeRange is all time.
type TimeRange struct{ From, To int64 }

// Contains reports whether an instant lies inside.
func (r TimeRange) Contains(t int64) bool { return t >= r.From && (r.To == 0 || t < r.To) }

// Overlaps reports whether [from, to] has an instant in common with the range.
func (r TimeRange) Overlaps(from, to int64) bool { return to >= r.From && (r.To == 0 || from < r.To) }

// Writer takes spans. Its method set is receive.Sink.
type Writer interface {
	// Accept stores a batch whose Tenant, Received, Time, Service, Group and Namespace columns are set. It borrows the
	// batch until it returns. nil means: durable as --wal-sync says, and readable by every Reader of this process.
	// Overloaded or Unavailable: nothing of the batch was stored, the sender may try again after RetryAfter.
	Accept(ctx context.Context, b *span.Batch) error
}

// Reader finds spans. All methods are safe for concurrent use. Duplicates (span.Identity) may still be in what Trace and
// Scan yield; the assembly in query drops them. Search counts a span once.
type Reader interface {
	// Trace yields the spans of one trace and of its 64/128-bit twins within an hour of it, in batches, in no particular
	// order; rows of equal identity come in the order they were received. A batch is valid until the next step of the
	// sequence. An unknown id ends the sequence at once without an error: a trace still on its way looks the same.
	// hint may narrow the look-up by time; an engine may ignore it, never answer less inside of it.
	Trace(ctx context.Context, s Scope, id span.TraceID, hint TimeRange) iter.Seq2[*span.Batch, error]

	// Traces yields the rows of several traces, without their twins, each row with what need says of it. The traces come in no
	// particular order and share batches; a trace's rows may come in several of them, rows of equal identity in the order
	// they were received. A batch is valid until the next step. Ids that are not here yield nothing; an id given twice is
	// answered once. Cost: a block that holds rows of several of the traces is read once, so hundreds of ids of one page
	// of a search cost little more than one.
	Traces(ctx context.Context, s Scope, ids []span.TraceID, hint TimeRange, need Need) iter.Seq2[*span.Batch, error]

	// Search answers the traces in which at least one span meets the plan, newest first: by the start of the trace's
	// newest matching span, descending, then by trace id, ascending: the same in every engine and for every segmentation.
	Search(ctx context.Context, s Scope, q *Search) (*Page, error)

	// Scan yields every row that meets the plan, engine order, with what q.Need says of it. What RED, maps and TraceQL's
	// metrics are computed from where no rollup answers. Rows and batch are valid until the next step.
	Scan(ctx context.Context, s Scope, q *Scan) iter.Seq2[Rows, error]

	// Services lists the services (span.Batch.Service) that have spans in the range, sorted by name.
	Services(ctx context.Context, s Scope, r TimeRange) ([]Service, Done, error)

	// Operations lists a service's span names with their kinds, sorted by name, then kind.
	Operations(ctx context.Context, s Scope, service string, r TimeRange) ([]Operation, Done, error)

	// Keys lists attribute keys, most frequent first.
	Keys(ctx context.Context, s Scope, q KeysQuery) ([]Key, Done, error)

	// Values lists the values of an attribute or an intrinsic field in text form, most frequent first.
	Values(ctx context.Context, s Scope, q ValuesQuery) ([]ValueCount, Done, error)

	// Can reports what this engine answers natively; query does the rest itself or says that it cannot.
	Can() Abilities
}

// Keeper copies traces out of retention.
type Keeper interface {
	// Keep holds a trace's spans until an instant (0: for ever). NotFound if no span of it is here.
	Keep(ctx context.Context, s Scope, id span.TraceID, until int64) error
}

// Meta holds small state: versioned documents of at most MaxDocument bytes (colours per service, the receipt ledger).
// Where Can().CompareAndSet is false, documents are append-only per replica and merged by their readers.
type Meta interface {
	// Load reads a document; a name never stored is version 0 with no data and no error.
	Load(ctx context.Context, s Scope, name string) (Document, error)
	// Save writes a document if its version is still ifVersion and answers the new version; else a problem of kind
	// Invalid that wraps ErrConflict.
	Save(ctx context.Context, s Scope, name string, data []byte, ifVersion uint64) (uint64, error)
	// Names lists documents by prefix, sorted.
	Names(ctx context.Context, s Scope, prefix string) ([]string, error)
	// Delete removes a document; an unknown one is no error.
	Delete(ctx context.Context, s Scope, name string) error
}

// MaxDocument is the largest Meta document in bytes.
const MaxDocument = 64 << 10

// Document is a Meta document.
type Document struct {
	Version uint64
	Data    []byte
}

// Engine is what app wires: a writer, a reader and small state over the same data.
type Engine interface {
	Writer
	Reader
	Keeper
	Meta
	// Stats answers from memory, without reading spans.
	Stats() Stats
	// Close syncs what Accept promised and releases everything. Calls after it fail.
	Close() error
}

// Abilities is what an engine does natively.
type Abilities struct {
	CompareAndSet bool // Meta.Save compares versions
	Keep          bool
	TraceDuration bool // Search.TraceDuration
	Durable       bool // survives the process
	// Lossy says in words what does not come back of a span, or is less than the contract promises; empty for engines that keep
	// everything.
	Lossy []string
}

// Stats is an engine's state for Status and metrics.
type Stats struct {
	Kind          string
	Spans         int64
	Traces        int64
	Bytes         int64 // in memory, spans and their indices
	LimitBytes    int64 // at which the oldest traces go; 0 for none
	DiskBytes     int64
	EvictedTraces int64
	EvictedSpans  int64
	Oldest        int64    // receipt of the oldest span held, ns; 0 if none
	Refusing      string   // why Accept refuses now; empty if it does not
	Damaged       []string // frames and files that could not be read, in words
	LogSyncs      int64    // fsyncs of the log
	LogBytes      int64    // bytes written to the log since start
	ReplayedSpans int64
	Segments      *Segments    // nil for engines without
	Queue         *QueueStats  // nil for engines without
	Bucket        *BucketStats // nil for engines without
}

// BucketStats is what an engine has in object storage, and how far it is behind.
type BucketStats struct {
	Address    string // without secrets
	ReadOnly   bool   // another process writes
	Generation uint64 // of the manifest that counts
	Segments   int    // in the bucket
	Bytes      int64  // of them
	Far        int    // of them, that are not on the disk too

	WaitingSegments int   // closed and not in the bucket yet
	WaitingBytes    int64 // of them
	Since           int64 // receipt of the oldest span that would be lost with this machine, ns; 0 if there is none
	Uploads         int64 // segments since the start
	UploadedBytes   int64

	Failures  int64  // attempts since the start
	LastError string // of the last attempt; empty if that went well
	FailedAt  int64  // when an attempt failed last, ns; 0 for never
	CheckedAt int64  // when the manifest was last written, or looked for by a reader, ns; 0 for never
	Lost      string // why nothing is uploaded any more, for good; empty if it is

	CacheBytes   int64 // of ranges on the disk
	CacheHits    int64 // since the start
	Fetches      int64 // of ranges from the bucket
	FetchedBytes int64
}

// QueueStats is what waits before a remote engine.
type QueueStats struct {
	Spans           int64 // that the engine does not have yet
	HiddenSpans     int64 // of these, on the disk only: they cannot be read before they are sent
	Bytes           int64 // of the log
	LimitBytes      int64 // of log and dead letters, at which senders are refused; 0 for none
	Oldest          int64 // receipt of the oldest span that waits, ns; 0 if none does
	SentSpans       int64 // since the start
	Inserts         int64
	Failures        int64  // attempts since the start
	LastError       string // of the last attempt; empty if that went well
	FailedAt        int64  // when an attempt failed last, ns; 0 for never
	PoisonSpans     int64  // that the engine refused for good and that were set aside, since the start
	PoisonBytes     int64  // of the files they are in
	PoisonFile      string // the newest of these, also from before the start; empty if there is none
	UnreadableSpans int64  // lost to damage of the log's files
}

// Segments is the state of an engine that keeps its spans in immutable files, which are joined and let go of as time passes.
type Segments struct {
	Files        int
	Bytes        int64
	Joined       int64 // compactions since the start
	Duplicates   int64 // copies of spans that were left out of files since the start
	DueJobs      int   // compactions that are due
	DueBytes     int64 // of their inputs
	BytesPerHour int64 // that came lately
	// FullIn is when the oldest spans will go by size if spans go on coming as they did, Holds how long spans will be held then.
	// Negative: never, for ever.
	FullIn, Holds time.Duration

	Hours     []HourStats // by hour of receipt, oldest first
	Questions int64       // asked since the start
	Blocks    int64       // looked into for them
	Passed    int64       // passed over by what is known of them without reading
	Sides     int         // files whose side tables are kept in memory
	Rollups   int64       // bytes of decoded rollups kept in memory, estimated
}

// HourStats is what was received in an hour and is still there.
type HourStats struct {
	Hour  int64 // since the epoch
	Spans int64
	Bytes int64
}
