package query

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/storetest"
)

// scanned counts scans.
type scanned struct {
	store.Reader
	scans int
}

func (c *scanned) Scan(ctx context.Context, s store.Scope, q *store.Scan) iter.Seq2[store.Rows, error] {
	c.scans++
	return c.Reader.Scan(ctx, s, q)
}

// TestScanBack reads a window that fits in few stretches, and of one that does not fit the newest rows.
func TestScanBack(t *testing.T) {
	engine := mem.New(mem.Options{})
	var text strings.Builder
	for i := range 600 {
		fmt.Fprintf(&text, "%x a - front server get %ds 1ms\n", i+1, i)
	}
	if err := engine.Accept(t.Context(), storetest.Batch(t, text.String())); err != nil {
		t.Fatal(err)
	}
	reader := &scanned{Reader: engine}
	q := New(Options{Reader: reader, Now: func() time.Time { return storetest.Epoch.Add(storetest.DefaultReceived) }})
	rows, newest := 0, int64(0)
	plan := store.Scan{Range: store.TimeRange{From: storetest.At(0), To: storetest.At(storetest.DefaultReceived)}, Mode: store.Start}
	done, err := q.ScanBack(t.Context(), store.Scope{Tenant: store.DefaultTenant}, plan, 1000, func(r store.Rows) {
		rows += len(r.Rows)
		for _, row := range r.Rows {
			newest = max(newest, r.Batch.Time[row])
		}
	})
	if err != nil || !done.Complete || rows != 600 || newest != storetest.At(599*time.Second) || reader.scans > 5 {
		t.Errorf("%d rows in %d stretches, %+v, %v", rows, reader.scans, done, err)
	}
	rows, plan.Range.To = 0, storetest.At(600*time.Second)
	done, err = q.ScanBack(t.Context(), store.Scope{Tenant: store.DefaultTenant}, plan, 100, func(r store.Rows) {
		rows += len(r.Rows)
		for _, row := range r.Rows {
			newest = min(newest, r.Batch.Time[row])
		}
	})
	if err != nil || done.Complete || done.Reason == "" || rows != 100 || newest < storetest.At(480*time.Second) {
		t.Errorf("%d rows, the oldest %d, %+v, %v", rows, newest, done, err)
	}
	for _, c := range []struct {
		stretch    int64
		rows, room int
		want       int64
	}{{1000, 10, 1000, 75_000}, {1000, 10, 10, 1000}, {1000, 0, 5, 4000}, {1 << 60, 0, 5, 1 << 62}, {1 << 60, 1, 1 << 40, 1 << 62}} {
		if got := nextStretch(c.stretch, c.rows, c.room); got != c.want {
			t.Errorf("after %d rows in %d with room for %d: %d, want %d", c.rows, c.stretch, c.room, got, c.want)
		}
	}
}
