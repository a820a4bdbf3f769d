// Package queue is the write path of remote engines: a sender is answered when its spans are in a local log (store/wal), and a drain
// sends them on in batches. An engine that is slow or away costs disk, never spans or memory.
//
// What the engine does not have yet stands in generations: runs of the log that are sent as a whole, each readable in memory as long as
// the budget allows. Answers merge the engine's with theirs, as of one moment: an engine that is pinned answers without what it was
// sent since, and a generation leaves the queue in the same step in which its rows begin to count there.
//
// The cursor file says up to where the engine has everything, and which run was being sent under which token: after a crash the same run
// is sent under the same token, which the engine takes once.
package queue

import (
	"context"
	"iter"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Engine is what the queue needs of a remote engine.
type Engine interface {
	store.Engine
	// Insert stores batches that were received on one day (UTC). Each row is taken once under a token, so the same insert may be asked for
	// again after any error. The rows are not in this process's answers before Count. A *remote.Refused names rows that will never be
	// taken; the engine has all others then. A problem of kind Invalid or TooLarge says that it has none, and will never take these
	// batches together. After any other error they may be taken later.
	Insert(ctx context.Context, token string, batches []*span.Batch) error
	// Count makes the rows of inserts part of the answers, at one moment; tokens whose inserts failed are forgotten.
	Count(tokens ...string)
	// Pin gives the engine's answers as of now: of what this process inserted only what counts now.
	Pin() Reader
}

// Reader is what the queue needs of an engine's answers, to merge them with its own.
type Reader interface {
	store.Reader
	// Sightings lists a trace and all its twins, however far from it, with their first starts; other ids with the same lower half may
	// be among them.
	Sightings(ctx context.Context, s store.Scope, id span.TraceID) ([]answer.Sighting, error)
	// Rows yields the rows of traces with the receipt of each, whatever the scope's predicate says of them; those of one trace in the order
	// they were received. Batches stay valid.
	Rows(ctx context.Context, s store.Scope, ids []span.TraceID, need store.Need) iter.Seq2[[]answer.Row, error]
	// CountKeys is Keys before the list is made.
	CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error)
}
