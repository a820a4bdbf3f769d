package zipkinapi

import (
	"context"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
)

const (
	backRows   = 1_000_000        // rows that one answer looks at
	backFirst  = time.Minute      // the first stretch that is read
	backWithin = 10 * time.Second // after which no further stretch is begun (the clock is Query's)
)

// scanBack reads the spans of a window from its end, until it, the rows or the time are used up: then the answer is partial and
// holds the newest. Stretches grow by what the last one held, so that a window that fits is read in two or three: an engine
// looks through a block once for each stretch that it meets.
func (a *api) scanBack(ctx context.Context, s store.Scope, plan store.Scan, each func(store.Rows)) (store.Done, error) {
	window, begun, rows := plan.Range, a.Query.Now(), 0
	stretch := int64(backFirst)
	for to := window.To; to > window.From; {
		from := max(window.From, to-stretch)
		plan.Range = store.TimeRange{From: from, To: to}
		read := 0
		for r, err := range a.Reader.Scan(ctx, s, &plan) {
			if err != nil {
				return store.Done{}, err
			}
			if room := backRows - rows - read; len(r.Rows) > room {
				r.Rows = r.Rows[:room]
				each(r)
				return store.Done{Reason: fmt.Sprintf("stopped after %d spans", backRows)}, nil
			}
			each(r)
			read += len(r.Rows)
		}
		if err := ctx.Err(); err != nil {
			return store.Done{}, err
		}
		rows += read
		if to = from; to > window.From && a.Query.Now().Sub(begun) > backWithin {
			return store.Done{Reason: "stopped at spans of " + time.Unix(0, to).UTC().Format(time.RFC3339) + " after " + backWithin.String()}, nil
		}
		stretch = nextStretch(stretch, read, backRows-rows)
	}
	return store.Done{Complete: true}, nil
}

// nextStretch is how far to go after a stretch that held some rows: as far as room is likely to last, less a quarter.
func nextStretch(stretch int64, rows, room int) int64 {
	const most = 1 << 62
	if rows == 0 {
		return min(stretch, most/64) * 64
	}
	times := float64(room) / float64(rows) * 0.75
	return int64(min(max(times, 1)*float64(stretch), most))
}
