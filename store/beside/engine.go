package beside

import (
	"context"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Writing is the half of an engine that writes.
type Writing interface {
	store.Writer
	store.Keeper
	store.Meta
	Stats() store.Stats
	Close() error
	Insert(ctx context.Context, token string, batches []*span.Batch) error
	Count(tokens ...string)
}

// Engine writes to an engine and reads from both.
type Engine struct {
	Writing
	*Reader
}

var _ store.Engine = (*Engine)(nil)
