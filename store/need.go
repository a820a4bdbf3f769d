package store

// Columns is a set of row columns of a span.Batch.
type Columns uint32

// The columns a caller can ask for. TraceID is always there. A structure that several slices make up is one column: events
// are Events and SpanEvents, links are Links and SpanLinks.
const (
	ColSpanID Columns = 1 << iota
	ColParent
	ColName
	ColKind
	ColStatus
	ColMark
	ColTime // Start, End and Time
	ColStatusMessage
	ColTraceState
	ColFlags
	ColDropped // the counts of dropped attributes, events and links
	ColWeight
	ColService // Service, Group and Namespace
	ColScope   // names and versions of scopes
	ColEvents  // times and names; attributes by Fields
	ColLinks   // ids, trace state and flags; attributes by Fields
)

// ColIdentity is what span.Identity and the choice between two copies of a span take.
const ColIdentity = ColSpanID | ColKind | ColTime | ColService

// Need is what of the rows a caller will read, so that an engine in columns decodes nothing else. The zero Need is the trace
// ids alone.
//
// A batch made for a Need is sound (span.Batch.Check), and every column has an entry a row; what was not asked for is zero
// (weights 1) or, where that costs the engine nothing, true. Of attributes those of Fields are there, in the order they
// were sent, with whatever else costs nothing: an absent attribute that was asked for is absent in the span.
// The `error` attribute that span.Batch.Failed looks at comes with ColStatus.
type Need struct {
	All     bool // everything; the rest of the Need is then without meaning
	Columns Columns
	Fields  []Field // attributes; intrinsics are Columns
}

// Has reports whether all of some columns are needed.
func (n Need) Has(c Columns) bool { return n.All || n.Columns&c == c }

// Everything is the Need of all columns and attributes.
func Everything() Need { return Need{All: true} }

// And is everything that one of two needs asks for.
func (n Need) And(o Need) Need {
	n.All = n.All || o.All
	n.Columns |= o.Columns
	if len(o.Fields) > 0 {
		n.Fields = append(n.Fields[:len(n.Fields):len(n.Fields)], o.Fields...)
	}
	return n
}
