package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/rollup"
)

// Limits of one answer.
const (
	maxUncounted = 1_000_000 // rows of no rollup that are read for an answer
	countAtOnce  = 200_000   // of these in memory, 144 bytes each
	maxRanges    = 2_000     // of numbers that a question names: some 50 bytes each of at most 256 KiB
	tablesAtOnce = 64        // rollups that one question reads
	maxTables    = 64 << 20  // bytes of decoded rollups that are kept
)

var (
	_ rollup.Reader = (*Engine)(nil)
	_ rollup.Summer = (*Engine)(nil)
)

// stretch is a row of rollups: the rows of one writer from one number to another.
type stretch struct {
	writer, from, to uint64
	level            uint8
	day              proto.Date
	spans            uint64
	first, last      proto.DateTime // minutes
}

// Rollups implements rollup.Reader. Rows of which no rollup tells are read and counted: they are those of the last minute or so, and those
// of a process that ended until another one counts them (adopt.go). An answer is not complete where there are more than a million
// of them, or where the database has no rollups at all.
func (e *Engine) Rollups(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return e.mergeRollups(ctx, s, r, rollup.New())
}

// Sums implements rollup.Summer.
func (e *Engine) Sums(ctx context.Context, s store.Scope, r store.TimeRange) (*rollup.Table, store.Done, error) {
	return e.mergeRollups(ctx, s, r, rollup.NewSums())
}

func (e *Engine) mergeRollups(ctx context.Context, s store.Scope, r store.TimeRange, total *rollup.Table) (*rollup.Table, store.Done, error) {
	if err := e.open(); err != nil {
		return nil, store.Done{}, err
	}
	switch {
	case !e.rolls.kept():
		return nil, store.Done{Reason: "the database has no table of rollups"}, nil
	case s.MustMatch != nil:
		return nil, store.Done{Reason: "rollups cannot be narrowed"}, nil
	}
	var c cost
	d, err := e.addRollups(ctx, answer.Tenant(s.Tenant), r, total, &c)
	if missing := c.end(); missing != nil && (err == nil || errors.Is(err, missing)) {
		d, err = store.Done{Away: true, Reason: c.reason(), Read: d.Read}, nil // of the rows that no rollup counts, those of some shards
	}
	if err != nil {
		if d, err = done(ctx, "read rollups", &c, err); retryable(err) { // a scan may still have what another server holds
			return nil, store.Done{Away: true, Reason: err.Error(), Read: d.Read}, nil
		}
		return nil, d, err
	}
	read := c.read()
	d.Read.Blocks, d.Read.Of, d.Read.Bytes = d.Read.Blocks+read.Blocks, d.Read.Of+read.Of, read.Bytes
	return total, d, nil
}

// retryable reports whether the same question may be answered later.
func retryable(err error) bool {
	p := problem.Of(err)
	return p != nil && p.Kind.Retryable()
}

// addRollups merges the rollups of a range into a table, and what they do not count.
func (e *Engine) addRollups(ctx context.Context, tenant string, r store.TimeRange, total *rollup.Table, c *cost) (store.Done, error) {
	near := rollup.Around(r)
	for range 3 { // a rollup may be replaced between two questions
		where := "Tenant = " + quote(tenant) + fmt.Sprintf(" AND Last >= %d", minuteOf(near.From))
		if near.To != 0 {
			where += fmt.Sprintf(" AND First <= %d", minuteOf(near.To))
		}
		stretches, err := e.stretches(ctx, where, c)
		if err != nil {
			return store.Done{}, err
		}
		stretches = largest(cover(e.within(stretches)))
		tables, err := e.tablesOf(ctx, tenant, stretches, c)
		if err != nil {
			return store.Done{}, err
		}
		if tables == nil {
			continue
		}
		for _, t := range tables {
			total.MergeRange(t, r)
		}
		d := store.Done{Complete: true, Read: store.Read{Blocks: int64(len(tables)), Of: int64(len(tables))}}
		err = e.addUncounted(ctx, tenant, r, near, stretches, total, &d, c)
		return d, err
	}
	return store.Done{Reason: "the rollups change faster than they can be read"}, nil
}

// askRollups asks the first shard, where the rollups of all shards stand.
func (e *Engine) askRollups(ctx context.Context, q ch.Query, c *cost) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.OnProgress, q.Settings = c.progress, e.settings()
	return e.shards[0].do(ctx, q)
}

// askAll is ask where rows of every shard must be in the answer.
func (e *Engine) askAll(ctx context.Context, q ch.Query) error {
	var c cost
	if err := e.ask(ctx, q, &c); err != nil {
		return err
	}
	return c.end()
}

// stretches are the rollups that a condition lets through.
func (e *Engine) stretches(ctx context.Context, where string, c *cost) (list []stretch, err error) {
	var writer, from, to, spans proto.ColUInt64
	var level proto.ColUInt8
	var day proto.ColDate
	var first, last proto.ColDateTime
	err = e.askRollups(ctx, ch.Query{
		Body:   "SELECT Writer, SeqFrom, SeqTo, Spans, Level, Day, First, Last FROM " + e.table("rollups") + " WHERE Spans > 0 AND " + where,
		Result: proto.Results{{Data: &writer}, {Data: &from}, {Data: &to}, {Data: &spans}, {Data: &level}, {Data: &day}, {Data: &first}, {Data: &last}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range writer {
				list = append(list, stretch{writer[i], from[i], to[i], level[i], day[i], spans[i], first.Data[i], last.Data[i]})
			}
			return nil
		},
	}, c)
	return list, err
}

// within leaves out what is not wholly in the moment of a pinned engine.
func (e *Engine) within(stretches []stretch) []stretch {
	if e.at == nil {
		return stretches
	}
	return slices.DeleteFunc(stretches, func(p stretch) bool {
		return p.writer == e.at.Writer && (p.to > e.at.Last ||
			slices.ContainsFunc(e.at.Flying, func(seq uint64) bool { return seq >= p.from && seq <= p.to }))
	})
}

// cover chooses rollups of which no two count the same row, by writer and number. Of those that overlap, the one that begins first and reaches
// furthest counts: that of an hour, before those it was made of.
func cover(stretches []stretch) []stretch {
	slices.SortFunc(stretches, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.writer, b.writer), cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to), cmp.Compare(b.level, a.level))
	})
	var chosen []stretch
	for _, p := range stretches {
		if n := len(chosen); n > 0 && chosen[n-1].writer == p.writer && p.from <= chosen[n-1].to {
			continue
		}
		chosen = append(chosen, p)
	}
	return chosen
}

// largest are as many of some stretches as a question can name, in the order of cover; the rows of the others are read instead.
func largest(chosen []stretch) []stretch {
	if len(chosen) <= maxRanges {
		return chosen
	}
	slices.SortFunc(chosen, func(a, b stretch) int { return cmp.Compare(b.spans, a.spans) })
	return cover(chosen[:maxRanges])
}

// uncovered is the condition of rows that none of some rollups, in the order of cover, counts.
func uncovered(stretches []stretch) string {
	if len(stretches) == 0 {
		return yes
	}
	var writers []string
	for len(stretches) > 0 {
		writer := stretches[0].writer
		var ranges []string
		for len(stretches) > 0 && stretches[0].writer == writer {
			from, to := stretches[0].from, stretches[0].to
			for stretches = stretches[1:]; len(stretches) > 0 && stretches[0].writer == writer && stretches[0].from == to+1; stretches = stretches[1:] {
				to = stretches[0].to
			}
			ranges = append(ranges, fmt.Sprintf("Seq BETWEEN %d AND %d", from, to))
		}
		writers = append(writers, fmt.Sprintf("(Writer = %d AND (%s))", writer, strings.Join(ranges, " OR ")))
	}
	return "NOT (" + strings.Join(writers, " OR ") + ")"
}

// addUncounted counts the rows near a range that no rollup counts.
func (e *Engine) addUncounted(ctx context.Context, tenant string, r, near store.TimeRange, stretches []stretch, total *rollup.Table, d *store.Done, c *cost) error {
	p, err := e.plan(store.Scope{Tenant: tenant}, nil, match.Window{TimeRange: near, Mode: store.Start})
	if err != nil {
		return err
	}
	p.sql = texts.All(p.sql, uncovered(stretches))
	n, held := 0, 0
	b := rollup.NewBuilder()
	count := func() {
		b.Flush(store.TimeRange{})
		total.MergeRange(b.Table(), r)
		b, held = rollup.NewBuilder(), 0
	}
	for rows, err := range e.matching(ctx, p, rollup.Need(), c) {
		if err != nil {
			count()
			return err
		}
		b.Collect(rows)
		n, held = n+len(rows.Rows), held+len(rows.Rows)
		if n > maxUncounted {
			d.Complete, d.Reason = false, fmt.Sprintf("more than %d spans are in no rollup yet", maxUncounted)
			return nil
		}
		if held >= countAtOnce {
			count()
		}
	}
	count()
	return nil
}

// tableKey names a rollup. Its table never changes.
type tableKey struct {
	tenant           string
	writer, from, to uint64
	level            uint8
}

func (p stretch) key(tenant string) tableKey {
	return tableKey{tenant, p.writer, p.from, p.to, p.level}
}

// tablesOf are the tables of rollups, by the time of their spans; nil without an error where one is not there any more. They are shared: they
// must not be changed.
func (e *Engine) tablesOf(ctx context.Context, tenant string, stretches []stretch, c *cost) ([]*rollup.Table, error) {
	found := make(map[tableKey]*rollup.Table, len(stretches))
	var missing []stretch
	for _, p := range stretches {
		if t := e.rolls.tables.get(p.key(tenant)); t != nil {
			found[p.key(tenant)] = t
		} else {
			missing = append(missing, p)
		}
	}
	for some := range slices.Chunk(missing, tablesAtOnce) {
		if err := e.readTables(ctx, tenant, some, found, c); err != nil {
			return nil, err
		}
	}
	if len(found) < len(stretches) {
		return nil, nil
	}
	byTime := slices.Clone(stretches)
	slices.SortStableFunc(byTime, func(a, b stretch) int { return cmp.Compare(a.first, b.first) })
	tables := make([]*rollup.Table, len(byTime))
	for i, p := range byTime {
		tables[i] = found[p.key(tenant)]
	}
	return tables, nil
}

// readTables reads tables from the server and keeps them.
func (e *Engine) readTables(ctx context.Context, tenant string, stretches []stretch, found map[tableKey]*rollup.Table, c *cost) error {
	var keys []string
	for _, p := range stretches {
		keys = append(keys, fmt.Sprintf("(%d, %d, %d, %d)", p.writer, p.from, p.to, p.level))
	}
	var writer, from, to proto.ColUInt64
	var level proto.ColUInt8
	var data proto.ColStr
	return e.askRollups(ctx, ch.Query{
		Body: "SELECT Writer, SeqFrom, SeqTo, Level, Data FROM " + e.table("rollups") + " WHERE Tenant = " + quote(tenant) +
			" AND Spans > 0 AND (Writer, SeqFrom, SeqTo, Level) IN (" + strings.Join(keys, ", ") + ")",
		Result: proto.Results{{Data: &writer}, {Data: &from}, {Data: &to}, {Data: &level}, {Data: &data}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range writer {
				k := tableKey{tenant, writer[i], from[i], to[i], level[i]}
				if found[k] != nil {
					continue // not replaced yet
				}
				t, err := rollup.Decode(data.RowBytes(i))
				if err != nil {
					return fmt.Errorf("the rollup of writer %d from %d to %d: %w", k.writer, k.from, k.to, err)
				}
				t.Summed()
				found[k] = t
				e.rolls.tables.keep(k, t)
			}
			return nil
		},
	}, c)
}

// keptTables keeps decoded rollups for who asks again. The zero value is ready.
type keptTables struct {
	mu    sync.Mutex
	bytes int64
	used  int64
	kept  map[tableKey]*keptTable
}

type keptTable struct {
	table *rollup.Table
	bytes int64
	used  int64 // grows with every use
}

func (k *keptTables) get(key tableKey) *rollup.Table {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.kept[key]
	if t == nil {
		return nil
	}
	k.used++
	t.used = k.used
	return t.table
}

// keep takes a table and lets go of those that nobody asked for longest.
func (k *keptTables) keep(key tableKey, t *rollup.Table) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = make(map[tableKey]*keptTable)
	}
	if k.kept[key] != nil {
		return
	}
	k.used++
	made := &keptTable{table: t, bytes: t.Bytes(), used: k.used}
	k.kept[key] = made
	if k.bytes += made.bytes; k.bytes <= maxTables {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(k.kept), func(a, b tableKey) int { return cmp.Compare(k.kept[a].used, k.kept[b].used) })
	for _, old := range oldest { // a quarter at once, so that this is not done for every table
		if k.bytes <= maxTables/4*3 {
			return
		}
		k.bytes -= k.kept[old].bytes
		delete(k.kept, old)
	}
}

// write stores a window's counts if the server has the rows that were counted, and no others.
func (r *rolls) write(ctx context.Context, w *window) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var made []madeTable
	for tenant, c := range w.tenants {
		c.builder.Flush(store.TimeRange{})
		t := madeTable{tenant: tenant, table: c.builder.Table(), stretch: stretch{writer: r.e.writer, from: w.from, to: w.to, day: proto.Date(w.day),
			first: proto.DateTime(minuteOf(c.first)), last: proto.DateTime(minuteOf(c.last))}}
		for _, n := range c.inserts {
			t.spans += n
		}
		if t.table.Uncounted > 0 {
			return nil
		}
		there, err := r.e.insertsOf(ctx, t)
		if err != nil {
			return err
		}
		if !maps.Equal(there, c.inserts) {
			return nil
		}
		made = append(made, t)
	}
	return r.e.storeTables(ctx, made)
}

// ofStretch is the condition of the rows that a rollup counts, or is to count: they lie between its minutes.
func ofStretch(tenant string, p stretch) string {
	return fmt.Sprintf("Tenant = %s AND Minute BETWEEN %d AND %d AND %s AND Writer = %d AND Seq BETWEEN %d AND %d",
		quote(tenant), p.first, p.last, onDay(p.day), p.writer, p.from, p.to)
}

// onDay is the condition of rows in a partition.
func onDay(day proto.Date) string {
	return "toDate(Received) = '" + day.String() + "'"
}

// insertsOf counts the rows of each insert that a rollup is to count.
func (e *Engine) insertsOf(ctx context.Context, t madeTable) (map[uint64]uint64, error) {
	there := make(map[uint64]uint64)
	var seq, n proto.ColUInt64
	err := e.askAll(ctx, ch.Query{
		Body:   "SELECT Seq, count() FROM " + e.source() + " WHERE " + ofStretch(t.tenant, t.stretch) + " GROUP BY Seq",
		Result: proto.Results{{Data: &seq}, {Data: &n}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range seq {
				there[seq[i]] = n[i]
			}
			return nil
		},
	})
	return there, err
}

// madeTable is a rollup that is to be stored.
type madeTable struct {
	tenant string
	stretch
	table *rollup.Table // nil: it takes another one's place away
}

// storeTables inserts rollups of one day, as one block, and asks twice where the answer is lost. They may be stored twice: one of them counts.
func (e *Engine) storeTables(ctx context.Context, made []madeTable) error {
	if len(made) == 0 {
		return nil
	}
	return twice(ctx, func() error { return e.insertTables(ctx, made) })
}

func (e *Engine) insertTables(ctx context.Context, made []madeTable) error {
	tenant := newWords()
	var day proto.ColDate
	var writer, from, to, spans, version proto.ColUInt64
	var level proto.ColUInt8
	var first, last proto.ColDateTime
	var data proto.ColStr
	now := uint64(time.Now().UnixNano())
	for _, t := range made {
		tenant.add([]byte(t.tenant))
		day, writer, from, to, level = append(day, t.day), append(writer, t.writer), append(from, t.from), append(to, t.to), append(level, t.level)
		first.Data, last.Data = append(first.Data, t.first), append(last.Data, t.last)
		version = append(version, now)
		if t.table == nil {
			spans = append(spans, 0)
			data.Append("")
			continue
		}
		spans = append(spans, t.spans)
		data.AppendBytes(t.table.AppendBinary(nil))
	}
	in := proto.Input{{Name: "Tenant", Data: tenant}, {Name: "Day", Data: day}, {Name: "Writer", Data: writer}, {Name: "SeqFrom", Data: from},
		{Name: "SeqTo", Data: to}, {Name: "Level", Data: level}, {Name: "First", Data: first}, {Name: "Last", Data: last}, {Name: "Spans", Data: spans},
		{Name: "Version", Data: version}, {Name: "Data", Data: data}}
	return e.shards[0].do(ctx, ch.Query{Body: into(e.table("rollups"), in), Input: in, Settings: []ch.Setting{
		{Key: "async_insert", Value: "0", Important: true},
	}})
}
