package mem

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/storetest"
)

// stopAfter is a context that ends when it was asked n times.
type stopAfter struct {
	context.Context
	n int
}

func (s *stopAfter) Err() error {
	if s.n--; s.n < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestExpressionsStopWithinAChunk gives up amid the rows of one chunk, so that a slow expression outlives nobody.
func TestExpressionsStopWithinAChunk(t *testing.T) {
	var text strings.Builder
	for i := range 40 * slowRows {
		fmt.Fprintf(&text, "%x %x - front server op%d 0s 1ms url=/a/%d\n", i+1, i+1, i, i)
	}
	b := storetest.Batch(t, text.String())
	prog, err := match.Compile(store.Cond{Field: store.Field{In: store.InSpan, Key: "url"}, Op: store.Regex, Value: store.Text("/a/.*7")})
	if err != nil {
		t.Fatal(err)
	}
	rows := func() (all []uint32) {
		for i := range b.Len() {
			all = append(all, uint32(i))
		}
		return all
	}
	want := prog.Bind(b).Filter(rows())
	got, err := filterRows(t.Context(), prog.Bind(b), rows())
	if err != nil || len(got) != len(want) || len(want) == 0 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d rows in pieces, %d at once, %v", len(got), len(want), err)
	}
	ctx := &stopAfter{t.Context(), 3}
	if _, err := filterRows(ctx, prog.Bind(b), rows()); !errors.Is(err, context.DeadlineExceeded) || ctx.n != -1 {
		t.Errorf("%v after %d looks too many", err, -1-ctx.n)
	}
}
