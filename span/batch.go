package span

import (
	"net/netip"
	"time"
)

// Protocol says by which door a batch came in. It labels counters, receipts and Status.
type Protocol uint8

// The protocols of the receivers.
const (
	ProtocolUnknown Protocol = iota
	ProtocolZipkin
	ProtocolOTLPGRPC
	ProtocolOTLPHTTP
	NumProtocols
)

// String is the name in metrics, the own API and the ledger.
func (p Protocol) String() string {
	return [...]string{"unknown", "zipkin", "otlp_grpc", "otlp_http"}[p%NumProtocols]
}

// Mark is a set of facts about a row that receivers and steps found out and readers show.
type Mark uint16

// The marks. Their bits are part of the log and segment formats: never renumber.
const (
	MarkTimeReplaced   Mark = 1 << iota // Start absent or impossible; Time is the receipt time
	MarkServiceDerived                  // no usable service.name; Service was derived
	MarkNameDerived                     // no span name; Name stays empty, readers derive one
	MarkCut                             // attributes, events or values were cut to a limit
	MarkShared                          // Zipkin's shared span: server half under the client's id
	MarkDebug                           // Zipkin's debug flag
	MarkProxy                           // made by an Envoy proxy (sidecar, gateway, waypoint)
)

// Resource describes who made spans. Attrs indexes Batch.Attrs.
type Resource struct {
	Attrs     Range
	Dropped   uint32
	SchemaURL Str
}

// Scope is the instrumentation scope of spans.
type Scope struct {
	Name, Version Str
	Attrs         Range
	Dropped       uint32
	SchemaURL     Str
}

// Event is a point in time on a span; Time is nanoseconds since the epoch as sent.
type Event struct {
	Time    uint64
	Name    Str
	Attrs   Range
	Dropped uint32
}

// Link points from a span to another one.
type Link struct {
	TraceID    TraceID
	SpanID     SpanID
	TraceState Str
	Attrs      Range
	Dropped    uint32
	Flags      uint32
}

// Refusal counts rows that a step took out of a batch; receivers report them as partial success.
type Refusal struct {
	Reason string // from receive's closed list
	Spans  int
}

// Batch is spans in columns: entry i of every column slice below belongs to row i.
//
// Strings are runs of the batch's own arena, never of a network buffer. Attributes of all owners (spans, resources,
// scopes, events, links) share one table; an owner's Range says which are its own, in the order they were sent. Keys are
// interned: equal keys have equal indexes. Resources and scopes are side tables that rows index.
//
// Ownership: Sink.Accept borrows a batch until it returns; who keeps one clones it (Clone or Append). Readers yield
// batches that are valid until the iterator's next step. Steps may rewrite columns in place: a changed attribute list is
// appended at the table's end and the owner's Range moved, the old entries stay behind unused.
//
// The zero Batch is empty and ready. Reset keeps the capacity, so that a pooled batch allocates nothing per span.
// A Batch is not safe for concurrent use; a batch that nobody changes may be read by many.
type Batch struct {
	Tenant   string     // "default" until tenants exist
	Received int64      // receipt time of the batch (of its newest row, where batches were joined), ns since the epoch
	Protocol Protocol   // how it came; ProtocolUnknown on the way out
	Sender   netip.Addr // peer, or X-Forwarded-For behind a trusted proxy; zero if unknown

	Arena     []byte
	Keys      []Str
	Attrs     []Attr
	Resources []Resource
	Scopes    []Scope
	Events    []Event
	Links     []Link

	// Columns, one entry a row.
	TraceID       []TraceID
	SpanID        []SpanID
	Parent        []SpanID // zero for roots
	Name          []Str
	Kind          []Kind
	Status        []Status
	Mark          []Mark
	Start, End    []uint64 // ns since the epoch exactly as sent; 0 if absent; End may lie before Start
	Time          []int64  // effective start: Start, or the receipt time with MarkTimeReplaced. Files and finds the span
	StatusMessage []Str
	TraceState    []Str
	Flags         []uint32 // OTLP span flags
	SpanAttrs     []Range
	SpanEvents    []Range
	SpanLinks     []Range
	DroppedAttrs  []uint32
	DroppedEvents []uint32
	DroppedLinks  []uint32
	Resource      []uint32
	Scope         []uint32
	Weight        []float64 // 1 / probability of being kept; 1 if unknown
	Service       []Str     // as shown: service.name or derived; set by process
	Group         []Str     // workload group without namespace; set by process
	Namespace     []Str     // namespace of the group, empty if unknown; set by process

	Refused []Refusal // rows taken out on the way

	keys internTable // over Keys
}

// Len is the number of rows.
func (b *Batch) Len() int { return len(b.TraceID) }

// Bytes reads a run of the arena. The result is a view: valid as long as the batch is, not to be changed.
func (b *Batch) Bytes(s Str) []byte { return b.Arena[s.Off : s.Off+s.Len : s.Off+s.Len] }

// String copies a run of the arena.
func (b *Batch) String(s Str) string { return string(b.Bytes(s)) }

// Key reads an attribute's key.
func (b *Batch) Key(a Attr) []byte { return b.Bytes(b.Keys[a.Key]) }

// AttrsOf is an owner's attributes: a view into the table.
func (b *Batch) AttrsOf(r Range) []Attr { return b.Attrs[r.Off:r.End():r.End()] }

// EventsOf is a row's events.
func (b *Batch) EventsOf(row int) []Event {
	r := b.SpanEvents[row]
	return b.Events[r.Off:r.End():r.End()]
}

// LinksOf is a row's links.
func (b *Batch) LinksOf(row int) []Link {
	r := b.SpanLinks[row]
	return b.Links[r.Off:r.End():r.End()]
}

// earliest is the first start that is taken as real: 2000-01-01. Anything before is an unset or broken clock.
const earliest = 946684800_000000000

// maxAhead is how far a start may lie after its receipt before it counts as impossible.
const maxAhead = int64(24 * time.Hour)

// ImpossibleStart reports whether a sent start cannot be true given the receipt time: absent, before 2000, or more
// than 24 h ahead. Such spans are kept with MarkTimeReplaced, never refused.
func ImpossibleStart(start uint64, received int64) bool {
	return start < earliest || start > 1<<63-1 || int64(start)-received > maxAhead
}

// Duration is a row's duration in nanoseconds: 0 where the end lies before the start or where the start is so absurd that
// the difference means nothing.
func (b *Batch) Duration(row int) int64 { return DurationOf(b.Start[row], b.End[row]) }

// DurationOf is Batch.Duration of a start and an end as sent.
func DurationOf(start, end uint64) int64 {
	if end <= start || end > 1<<63-1 {
		return 0
	}
	if start < earliest && end >= earliest {
		return 0
	}
	return int64(end - start)
}

// EndTime is a row's effective end: Time plus Duration, in ns since the epoch.
func (b *Batch) EndTime(row int) int64 { return EndTimeOf(b.Time[row], b.Duration(row)) }

// EndTimeOf is Batch.EndTime of an effective start and a duration.
func EndTimeOf(t, duration int64) int64 {
	if t > 1<<63-1-duration {
		return 1<<63 - 1
	}
	return t + duration
}

// Failed reports whether a row is an error as people count them: status Error, or an `error` attribute that is
// neither false nor empty (Envoy marks resets so while leaving the status unset).
func (b *Batch) Failed(row int) bool {
	if b.Status[row] == StatusError {
		return true
	}
	if b.Status[row] == StatusOK {
		return false
	}
	a, ok := b.FindAttr(b.SpanAttrs[row], "error")
	if !ok {
		return false
	}
	switch a.Type {
	case TypeBool:
		return a.Bits != 0
	case TypeString:
		s := b.Bytes(a.Value().Str())
		return len(s) > 0 && string(s) != "false"
	default:
		return false
	}
}

// FindAttr finds an owner's attribute by key; of repeated keys the last wins. Cost: one pass over the owner's attributes.
func (b *Batch) FindAttr(r Range, key string) (Attr, bool) {
	attrs := b.AttrsOf(r)
	for i := len(attrs) - 1; i >= 0; i-- {
		k := b.Keys[attrs[i].Key]
		if int(k.Len) == len(key) && string(b.Bytes(k)) == key {
			return attrs[i], true
		}
	}
	return Attr{}, false
}

// FindString is FindAttr for string values; nil if absent or of another type.
func (b *Batch) FindString(r Range, key string) []byte {
	if a, ok := b.FindAttr(r, key); ok && a.Type == TypeString {
		return b.Bytes(a.Value().Str())
	}
	return nil
}

// Identity tells two copies of one span from two spans (design: trace, span id, kind, start as sent, service name as
// shown). Of equal ones the latest-ending wins, then the last received.
type Identity struct {
	Trace   TraceID
	Span    SpanID
	Kind    Kind
	Start   uint64
	Service string
}

// Identity of a row. It allocates the service's name.
func (b *Batch) Identity(row int) Identity {
	return Identity{b.TraceID[row], b.SpanID[row], b.Kind[row], b.Start[row], b.String(b.Service[row])}
}

// Size is the bytes a batch holds in memory, capacity not counted. Cost: constant.
func (b *Batch) Size() int {
	const perRow = 16 + 8 + 8 + 8 + 3 + 2 + 16 + 8 + 8 + 8 + 4 + 3*8 + 3*4 + 4 + 4 + 8 + 3*8
	return len(b.Arena) + 8*len(b.Keys) + 16*len(b.Attrs) + 20*len(b.Resources) + 40*len(b.Scopes) +
		32*len(b.Events) + 56*len(b.Links) + perRow*b.Len()
}
