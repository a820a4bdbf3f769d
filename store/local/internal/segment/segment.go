// Package segment writes and reads the immutable files in which the embedded engine keeps spans: docs/format/segment.md draws
// them.
//
// A segment holds rows in blocks of about 4K, traces in the order of their first start, rows of one trace together. Every
// column of a block is a chunk of its own, so that a question reads the columns it is about. Most columns of a mesh's spans
// follow from others (the pod says the node, the operation says the method): such a column is written as a function of the
// row's context and takes no space per row. What does differ from row to row is written as the distance to the last row with
// the same value, texts without the number in them, numbers in planes of bytes.
//
// All reading is defensive: a file with flipped bits gives ErrDamaged, never a panic or a wrong answer. Every block and section
// has a checksum, checked when it is read.
package segment

import (
	"hash/crc32"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	magic      = "spanseg\n"
	version    = 1
	headerSize = 16
	// trailerSize is of the last bytes: length and checksum of the footer, version, 2 zeros, magic.
	trailerSize = 4 + 4 + 2 + 2 + 8
)

// BlockRows is how many rows a block has, but for the last one of a segment and those before a trace that would not fit.
const BlockRows = 4096

// The limits of what a reader takes as sound.
const (
	maxBlockRows = 1 << 20
	maxRows      = 1 << 31
)

// The chunks of a block. Attributes have a chunk for each field, from chunkFields on.
const (
	chunkContext = iota
	chunkParts
	chunkSpanIDs
	chunkParents
	chunkTimes
	chunkName
	chunkIdent
	chunkKind
	chunkStatus
	chunkMark
	chunkRare
	chunkResource
	chunkScope
	chunkShape
	chunkMessage
	chunkState
	chunkEventCounts
	chunkEventTimes
	chunkEventNames
	chunkEventShapes
	chunkEventDropped
	chunkLinkCounts
	chunkLinkIDs
	chunkLinkStates
	chunkLinkShapes
	chunkLinkDropped
	chunkLinkFlags
	chunkFields = 32
)

// The sections behind the blocks.
const (
	sectionSide   = iota // strings, fields, shapes, resources and the like that blocks refer to
	sectionTraces        // lower halves of all trace ids, then upper halves
	sectionTraceFilter
	sectionFilters // of the texts of each block
	sectionStats
	sectionRollups
	sectionCount
)

// Info describes a segment. Times are ns since the epoch.
type Info struct {
	Rows, Parts        int // a trace that fills several blocks has a part in each
	Bytes              int64
	MinStart, MaxStart int64 // effective
	MaxEnd             int64
	MinReceived        int64
	MaxReceived        int64
	FirstSeq, LastSeq  uint64 // of the log frames that gave the rows
	Sum                uint32 // of the footer: two files with equal sums are equal
}

// Block describes a block.
type Block struct {
	Rows               int
	FirstPart, Parts   int // in the segment's list of traces
	MinStart, MaxStart int64
	MaxEnd             int64
	MaxDuration        int64
	Repeated           bool // some owner has a key twice
	offset             int64
	length             int
	sum                uint32
	filter             int64 // where its filter begins in sectionFilters
	filterLength       int
}

// Group counts the rows of a segment that are equal in these columns.
type Group struct {
	Service, Group, Namespace, Name string
	Kind                            span.Kind
	N                               int64
	Last                            int64 // newest effective start
}

// MaxGroups bounds the groups of a segment: one with a span name per request has none, and is counted by reading.
const MaxGroups = 20_000

// KeyCount counts an attribute key of a segment in one kind of owner.
type KeyCount struct {
	Key   string
	Owner store.FieldScope
	Type  span.Type
	N     int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }
