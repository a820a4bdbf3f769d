package query

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spanloom/spanloom/store"
)

const (
	backFirst  = time.Minute      // the first stretch that ScanBack reads
	backWithin = 10 * time.Second // after which it begins no further one
	backLost   = time.Second      // after which the rest is one stretch, where a part of the store is away
)

// ScanBack scans a window with both ends set from its end, until it, most rows or the time are used up: then Done is not
// complete, and each was given the newest rows, no more than most (of the last stretch any). Stretches grow by what the
// one before held, so that a window that fits is read in few: an engine looks through a block once for each stretch that it
// meets. Where a part of the store is away, what the others have is an answer, unless that is nothing. If that takes long, as it does until
// a server is given up, the rest of the window is one stretch.
func (q *Query) ScanBack(ctx context.Context, s store.Scope, plan store.Scan, most int, each func(store.Rows)) (store.Done, error) {
	done := store.Done{Complete: true}
	leave, err := q.Admit(ctx, effortOf(plan.Range))
	if err != nil {
		return done, err
	}
	defer leave()
	window, begun, rows := plan.Range, q.now(), 0
	var away error // of the first stretch that was not answered in full
	stretch := int64(backFirst)
	for to := window.To; to > window.From; {
		from := max(window.From, to-stretch)
		if from > to { // before the beginning of time
			from = window.From
		}
		plan.Range = store.TimeRange{From: from, To: to}
		read := 0
		for r, err := range q.store.Scan(ctx, s, &plan) {
			if err != nil {
				d, ok := Away(err)
				if err = fmt.Errorf("scan: %w", err); !ok || ctx.Err() != nil {
					return done, err
				}
				done, away = joinDone(done, d), cmp.Or(away, err)
				break
			}
			done.Read.Blocks += r.Read.Blocks
			done.Read.Of = max(done.Read.Of, r.Read.Of)
			done.Read.Bytes += r.Read.Bytes
			if room := most - rows - read; len(r.Rows) > room {
				r.Rows = r.Rows[:room]
				each(r)
				return joinDone(done, store.Done{Reason: fmt.Sprintf("stopped after %d spans", most)}), nil
			}
			each(r)
			read += len(r.Rows)
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
		rows += read
		if to = from; to > window.From && q.now().Sub(begun) > backWithin {
			done = joinDone(done, store.Done{Reason: "stopped at spans of " + time.Unix(0, to).UTC().Format(time.RFC3339) + " after " + backWithin.String()})
			break
		}
		if stretch = nextStretch(stretch, read, most-rows); away != nil && q.now().Sub(begun) > backLost {
			stretch = to - window.From
		}
	}
	if rows == 0 {
		return done, away
	}
	return done, nil
}

// nextStretch is how far to go after a stretch that held some rows: as far as room is likely to last, less a quarter.
func nextStretch(stretch int64, rows, room int) int64 {
	const most = 1 << 62
	if rows == 0 {
		return min(stretch, most/4) * 4
	}
	times := float64(room) / float64(rows) * 0.75
	return int64(min(max(times, 1)*float64(stretch), most))
}
