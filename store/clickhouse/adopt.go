package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/rollup"
)

// Rows that no rollup counts are looked for and counted by any process: those of one that was killed, of inserts whose answers were lost, and of
// times before rollups. Two processes that do so at once store the same rollup, or two that overlap, of which readers take one.
const (
	adoptEvery = 5 * time.Minute
	adoptAge   = 10 * time.Minute // of an insert, by the server's clock: nothing is on its way any more then
	adoptPart  = 24 * time.Hour   // of a writer's newest insert over shards, of which some may not have their part yet
	oldEvery   = 6 * time.Hour    // how often days before yesterday are looked at
	maxLeft    = 200_000          // inserts that are looked at together
)

// stored is an insert of which no rollup tells.
type stored struct {
	writer, seq, rows uint64
	first, last       proto.DateTime // minutes
}

// tidy counts what nobody counted and joins hours, until the engine is closed.
func (r *rolls) tidy() {
	wait := adoptEvery/2 + rand.N(adoptEvery) // not all processes at once
	for pause.For(r.ctx, wait) == nil {
		now, err := r.e.clock(r.ctx)
		if err == nil {
			err = r.tidyAll(r.ctx, now)
		}
		if err != nil && ClassOf(err) == remote.Fatal {
			return // the user may only read
		}
		wait = adoptEvery // what failed otherwise is tried again
	}
}

// tidyAll looks at the days that are due, the newest first. now is the server's clock.
func (r *rolls) tidyAll(ctx context.Context, now time.Time) error {
	days, err := r.e.days(ctx)
	if err != nil {
		return err
	}
	for _, day := range days {
		old := proto.ToDate(now)-day > 1
		if old && now.Sub(r.looked[day]) < oldEvery {
			continue
		}
		tenants, err := r.e.tenants(ctx, day)
		if err != nil {
			return err
		}
		for _, tenant := range tenants {
			if err := r.adopt(ctx, tenant, day, now); err != nil {
				return err
			}
			if err := r.joinHours(ctx, tenant, day, now); err != nil {
				return err
			}
		}
		r.looked[day] = now
	}
	return nil
}

// clock is the server's.
func (e *Engine) clock(ctx context.Context) (time.Time, error) {
	var at proto.ColInt64
	var now time.Time
	err := e.askAll(ctx, ch.Query{
		Body:   "SELECT toUnixTimestamp64Nano(now64(9))",
		Result: proto.Results{{Data: &at}},
		OnResult: func(context.Context, proto.Block) error {
			if len(at) > 0 {
				now = time.Unix(0, at[0])
			}
			return nil
		},
	})
	return now, err
}

// days are the days of receipt of which there are spans, the newest first. The server knows them without reading rows.
func (e *Engine) days(ctx context.Context) (list []proto.Date, err error) {
	var day proto.ColDate
	err = e.askAll(ctx, ch.Query{
		Body:   "SELECT toDate(Received) AS day FROM " + e.source() + " GROUP BY day ORDER BY day DESC",
		Result: proto.Results{{Data: &day}},
		OnResult: func(context.Context, proto.Block) error {
			list = append(list, day...)
			return nil
		},
	})
	return list, err
}

func (e *Engine) tenants(ctx context.Context, day proto.Date) (list []string, err error) {
	var tenant proto.ColStr
	err = e.askAll(ctx, ch.Query{
		Body:   "SELECT CAST(Tenant, 'String') FROM " + e.source() + " WHERE " + onDay(day) + " GROUP BY Tenant",
		Result: proto.Results{{Data: &tenant}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range tenant.Rows() {
				list = append(list, tenant.Row(i))
			}
			return nil
		},
	})
	return list, err
}

// adopt counts the rows of a day that no rollup counts.
func (r *rolls) adopt(ctx context.Context, tenant string, day proto.Date, now time.Time) error {
	there, err := r.e.stretches(ctx, fmt.Sprintf("Tenant = %s AND Day = '%s'", quote(tenant), day), new(cost))
	if err != nil {
		return err
	}
	there = cover(there)
	left, err := r.e.left(ctx, tenant, day, there, uint64(now.Add(-adoptAge).UnixNano()))
	if err != nil {
		return err
	}
	for n := 0; len(left) > 0; left = left[n:] {
		for n = 1; n < len(left) && left[n].writer == left[0].writer; {
			n++
		}
		first, last := left[0].seq, left[n-1].seq
		var walls []wall
		before, behind, newest := first, last, true // as far as a chunk may reach
		for _, p := range there {
			if p.writer != left[0].writer {
				continue
			}
			walls = append(walls, wall{p.from, p.to, true})
			if p.to < first {
				before = p.to + 1
			} else if p.from > last && newest {
				behind, newest = p.from-1, false
			}
		}
		others, err := r.e.otherDays(ctx, tenant, day, left[0].writer, before, behind)
		if err != nil {
			return err
		}
		walls = append(walls, others...)
		inserts := left[:n]
		if r.e.sharded() && newest && now.Sub(time.Unix(0, int64(last))) < adoptPart {
			inserts = inserts[:n-1]
		}
		for _, chunk := range slices.Backward(chunks(inserts, walls)) {
			began := time.Now()
			if err := r.count(ctx, tenant, day, chunk); err != nil {
				return err
			}
			if err := pause.For(ctx, time.Since(began)); err != nil { // half of the time is for those who ask
				return err
			}
		}
	}
	return nil
}

// left are inserts before a number of which no rollup tells, by writer and number.
func (e *Engine) left(ctx context.Context, tenant string, day proto.Date, there []stretch, before uint64) (list []stored, err error) {
	var writer, seq, n proto.ColUInt64
	var first, last proto.ColDateTime
	err = e.askAll(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT Writer, Seq, count(), min(Minute), max(Minute) FROM %s WHERE Tenant = %s AND %s AND Seq < %d AND %s GROUP BY Writer, Seq "+
			"ORDER BY Writer, Seq LIMIT %d", e.source(), quote(tenant), onDay(day), before, uncovered(there), maxLeft),
		Result: proto.Results{{Data: &writer}, {Data: &seq}, {Data: &n}, {Data: &first}, {Data: &last}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range writer {
				list = append(list, stored{writer[i], seq[i], n[i], first.Data[i], last.Data[i]})
			}
			return nil
		},
	})
	return list, err
}

// wall is numbers of a writer that a new rollup must not reach over: of another rollup, or of rows received on another day.
type wall struct {
	from, to uint64
	rollup   bool
}

// otherDays are the inserts of a writer between two numbers whose spans were received on another day.
func (e *Engine) otherDays(ctx context.Context, tenant string, day proto.Date, writer, from, to uint64) (walls []wall, err error) {
	var seq proto.ColUInt64
	err = e.askAll(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT DISTINCT Seq FROM %s WHERE Tenant = %s AND Writer = %d AND Seq BETWEEN %d AND %d AND NOT %s",
			e.source(), quote(tenant), writer, from, to, onDay(day)),
		Result: proto.Results{{Data: &seq}},
		OnResult: func(context.Context, proto.Block) error {
			for _, n := range seq {
				walls = append(walls, wall{n, n, false})
			}
			return nil
		},
	})
	return walls, err
}

// chunk is inserts that become one rollup, from one number to another.
type chunk struct {
	from, to uint64
	inserts  []stored
}

// chunks cuts the inserts of a writer at walls and where there are enough rows. They reach as far as the rollups beside them, so that no number
// is left between them.
func chunks(of []stored, walls []wall) (list []chunk) {
	slices.SortFunc(walls, func(a, b wall) int { return cmp.Compare(a.from, b.from) })
	var open chunk
	rows, next := uint64(0), uint64(0) // next is where a chunk may begin: 0 for at its first insert
	end := func(to uint64) {
		if len(open.inserts) > 0 {
			open.to = to
			list = append(list, open)
		}
		open, rows = chunk{}, 0
	}
	for _, s := range of {
		for len(walls) > 0 && walls[0].from <= s.seq {
			w := walls[0]
			walls = walls[1:]
			if n := len(open.inserts); n > 0 {
				if w.rollup {
					end(w.from - 1)
				} else {
					end(open.inserts[n-1].seq)
				}
			}
			if next = 0; w.rollup {
				next = w.to + 1
			}
		}
		if n := len(open.inserts); n > 0 && rows+s.rows > countAtOnce {
			next = open.inserts[n-1].seq + 1
			end(next - 1)
		}
		if len(open.inserts) == 0 {
			if open.from = s.seq; next != 0 {
				open.from = next
			}
		}
		open.inserts = append(open.inserts, s)
		rows += s.rows
	}
	if n := len(open.inserts); n > 0 {
		to := open.inserts[n-1].seq
		if len(walls) > 0 && walls[0].rollup {
			to = walls[0].from - 1
		}
		end(to)
	}
	return list
}

// count reads the rows of a chunk and stores their rollup, unless somebody did meanwhile. Where they have no place in one it is tried with halves.
func (r *rolls) count(ctx context.Context, tenant string, day proto.Date, of chunk) error {
	there, err := r.e.stretches(ctx, fmt.Sprintf("Tenant = %s AND Writer = %d AND SeqFrom = %d AND SeqTo = %d", quote(tenant), of.inserts[0].writer, of.from, of.to), new(cost))
	if err != nil || len(there) > 0 {
		return err
	}
	t := madeTable{tenant: tenant, stretch: stretch{writer: of.inserts[0].writer, from: of.from, to: of.to, day: day, first: of.inserts[0].first, last: of.inserts[0].last}}
	for _, s := range of.inserts {
		t.spans += s.rows
		t.first, t.last = min(t.first, s.first), max(t.last, s.last)
	}
	b, n := rollup.NewBuilder(), uint64(0)
	d := newDecoder(r.e.layout, rollup.Need(), false)
	var c cost
	for rows, err := range r.e.yieldRows(ctx, tenant, d, "WHERE "+ofStretch(tenant, t.stretch), &c) {
		if err != nil {
			return err
		}
		n += uint64(rows.Len())
		b.Collect(store.Whole(rows.Batch))
	}
	if err := c.end(); err != nil {
		return err
	}
	if n != t.spans {
		return nil // they expire, or come: the next one to look sees it
	}
	b.Flush(store.TimeRange{})
	if t.table = b.Table(); t.table.Uncounted == 0 {
		return r.e.storeTables(ctx, []madeTable{t})
	}
	if half := len(of.inserts) / 2; half > 0 {
		middle := of.inserts[half-1].seq
		if err := r.count(ctx, tenant, day, chunk{of.from, middle, of.inserts[:half]}); err != nil {
			return err
		}
		return r.count(ctx, tenant, day, chunk{middle + 1, of.to, of.inserts[half:]})
	}
	return nil // rows of so many minutes or operations in one insert are read whenever somebody asks
}
