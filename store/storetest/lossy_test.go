package storetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// forgetful is an engine that keeps no flags, no weights and only the text of values.
type forgetful struct{ *mem.Engine }

func (e forgetful) Can() store.Abilities {
	can := e.Engine.Can()
	can.Lossy = []string{"flags and weights", "types of values: they are text"}
	return can
}

func (e forgetful) Accept(ctx context.Context, b *span.Batch) error {
	return e.Engine.Accept(ctx, forget(b.Clone())[0])
}

func forget(b *span.Batch) []*span.Batch {
	for row := range b.Len() {
		b.Flags[row], b.Weight[row] = 0, 1
	}
	for i, a := range b.Attrs {
		text := b.AddText(storetest.PrintValue(b, a.Value()))
		b.Attrs[i] = span.Attr{Key: a.Key, Type: span.TypeString, Bits: span.StrValue(span.TypeString, text).Bits}
	}
	return []*span.Batch{b}
}

// TestLossy: an engine that says what it loses passes with the answers of what is left.
func TestLossy(t *testing.T) {
	open := func(_ *testing.T, now func() time.Time) store.Engine {
		return forgetful{mem.New(mem.Options{MaxBytes: 1 << 30, Now: now})}
	}
	loss := storetest.Loss{Stored: forget}
	storetest.RunLossy(t, open, loss)
	storetest.Model(t, open, storetest.ModelOptions{Loss: loss})
}
