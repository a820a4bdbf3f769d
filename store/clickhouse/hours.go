package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/store/rollup"
)

// The rollups of an hour are joined into one, so that a question about a day reads some dozens. The row of the hour and those that take the place of
// the joined ones away come in one block; readers take the row that reaches furthest, whichever of them they see.
const (
	joinOwn    = 10 * time.Minute // after the end of an hour its rollups are joined by the process they are of
	joinOthers = time.Hour        // and by any other, if that did not
)

// joinHours joins the rollups of a day's hours.
func (r *rolls) joinHours(ctx context.Context, tenant string, day proto.Date, now time.Time) error {
	there, err := r.e.stretches(ctx, fmt.Sprintf("Tenant = %s AND Day = '%s'", quote(tenant), day), new(cost))
	if err != nil {
		return err
	}
	there = cover(there)
	for len(there) > 0 {
		n := 1
		for n < len(there) && there[0].precedes(there[n-1], there[n]) {
			n++
		}
		age := joinOthers
		if there[0].writer == r.e.writer {
			age = joinOwn
		}
		if n > 1 && now.Sub(there[0].hour().Add(time.Hour)) >= age {
			if err := r.join(ctx, tenant, there[:n]); err != nil {
				return err
			}
		}
		there = there[n:]
	}
	return nil
}

// hour is when a rollup's last insert began, by the clock of its writer.
func (p stretch) hour() time.Time { return time.Unix(0, int64(p.to)).Truncate(time.Hour) }

// precedes reports whether the next of two rollups belongs to the same hour as p and leaves no number behind the last.
func (p stretch) precedes(last, next stretch) bool {
	return p.level == 0 && next.level == 0 && next.writer == p.writer && next.from == last.to+1 && next.hour().Equal(p.hour())
}

// join stores one rollup for several, or more where they would not fit into one without loss.
func (r *rolls) join(ctx context.Context, tenant string, of []stretch) error {
	for len(of) > 1 {
		n, t, err := r.joined(ctx, tenant, of)
		if err != nil || n == 0 {
			return err
		}
		if n > 1 {
			hour := madeTable{tenant: tenant, stretch: of[0], table: t}
			hour.to, hour.level, hour.spans = of[n-1].to, 1, 0
			var replaced []madeTable
			for _, p := range of[:n] {
				hour.first, hour.last, hour.spans = min(hour.first, p.first), max(hour.last, p.last), hour.spans+p.spans
				replaced = append(replaced, madeTable{tenant: tenant, stretch: p})
			}
			if err := r.e.storeTables(ctx, append(replaced, hour)); err != nil {
				return err
			}
		}
		of = of[n:]
	}
	return nil
}

// joined merges the first few of some rollups and says how many; 0 where one of them is not there any more.
func (r *rolls) joined(ctx context.Context, tenant string, of []stretch) (int, *rollup.Table, error) {
	total := rollup.New()
	for i, p := range of {
		tables, err := r.e.tablesOf(ctx, tenant, []stretch{p}, new(cost))
		if err != nil || tables == nil {
			return 0, nil, err
		}
		t := tables[0]
		if i > 0 && (total.Cells()+t.Cells() > rollup.MaxCells || total.Keys()+t.Keys() > rollup.MaxKeys/4 || total.Halves()+t.Halves() > rollup.MaxHalves/2) {
			of = of[:i]
			break
		}
		total.Merge(t)
	}
	if total.Step() != rollup.Minute || total.Uncounted > 0 { // of too many minutes; the others may fit
		return 1, nil, nil
	}
	return len(of), total, nil
}
