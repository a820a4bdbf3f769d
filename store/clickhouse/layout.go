package clickhouse

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// layout is how spans lie in a table, in SQL. All else of the engine is the same for each.
type layout interface {
	// table is the name of the table.
	table() string
	// column is the expression of a column of block, of its type; empty where the table has nothing of it.
	column(name string) string
	// received is the order in which rows were received, trace that of traces: columns by which they are told apart too.
	received() string
	trace() string

	// Conditions of rows: of a tenant, in a range of time, not newer than an instant, of a trace, of a trace behind another one in the order of ids,
	// of some traces.
	tenant(name string) string
	during(r store.TimeRange, mode store.TimeMode) string
	until(at int64) string
	is(id span.TraceID) string
	behind(id span.TraceID) string
	near(list []extent) string

	// failed is the condition of an error as people count them; attribute that of an owner's attribute.
	failed() answer.Condition
	attribute(a attributeColumn, c store.Cond) answer.Condition

	// extents asks for the upper and the lower halves of ids, the first and the last start of traces by the lower halves of their ids.
	// twins are not needed unless they are asked for. again may ask for more when it is known what was found; empty: there is no need to.
	extents(source, tenant string, ids []span.TraceID, twins bool) string
	again(source, tenant string, ids []span.TraceID, twins bool, found []extent) string
	// filler makes blocks of batches; documents is the table of small state.
	filler() filler
	documents() string
	// lossy says what does not come back of spans.
	lossy() []string

	// snapshots reports whether rows tell who stored them and when.
	snapshots() bool
	// typed reports whether the table holds types of values; else they are known by their looks.
	typed() bool
	// need is what must be read to give what a caller needs; settle makes of what was read what no column says.
	need(n store.Need) store.Need
	settle(b *span.Batch)

	// windows are conditions of rows not much older than an instant, from narrow to wide, in which newest is asked first; none: all rows are as
	// quick. resolved is how many of its traces are read at once for a page of a limit.
	windows(at int64) []string
	resolved(limit int) int
	// newest asks for the first traces by the start of their newest row that meets a condition: start in nanoseconds, upper, lower half.
	newest(source, where string, limit int) string
}

// filler turns batches into a block. It keeps its memory from block to block.
type filler interface {
	reset()
	encode(b *span.Batch, rows []uint32, writer, seq uint64)
	input() proto.Input
	rows() int
}

// startNanos is the start of a row in nanoseconds.
const startNanos = "toUnixTimestamp64Nano(Timestamp)"

// ownTable is the table of schema/1.sql: its columns are those of block.
type ownTable struct{}

func (ownTable) table() string             { return "spans" }
func (ownTable) column(name string) string { return name }
func (ownTable) received() string          { return "Seq, Writer, Row" }
func (ownTable) trace() string             { return "TraceHigh, TraceLow" }
func (ownTable) tenant(name string) string { return "Tenant = " + quote(name) }

// during is the time condition of a plan. Rows are filed by minute, so the first line of it prunes; the rest is exact.
func (ownTable) during(r store.TimeRange, mode store.TimeMode) string {
	var parts []string
	if r.To != 0 {
		parts = append(parts, fmt.Sprintf("Minute <= %d AND %s < %d", minuteOf(r.To), startNanos, r.To))
	}
	if r.From != 0 {
		if mode == store.Start {
			parts = append(parts, fmt.Sprintf("Minute >= %d AND %s >= %d", minuteOf(r.From), startNanos, r.From))
		} else {
			// The sum is compared as doubles first: that is what the index knows.
			parts = append(parts, fmt.Sprintf("toFloat64(%s) + toFloat64(Duration) >= %s AND %s", startNanos, number(float64(r.From)-4096), endsFrom(r.From)))
		}
	}
	return texts.All(parts...)
}

// endsFrom is the condition of a row that ends at an instant or later, without a sum that overflows.
func endsFrom(at int64) string {
	return fmt.Sprintf("(%s >= %d OR Duration >= toUInt64(%d - %s))", startNanos, at, at, startNanos)
}

func (ownTable) until(at int64) string {
	return fmt.Sprintf("Minute <= %d AND %s <= %d", minuteOf(at), startNanos, at)
}

func (ownTable) is(id span.TraceID) string {
	return fmt.Sprintf("(TraceLow = %d AND TraceHigh = %d)", id.Low(), id.High())
}

func (ownTable) behind(id span.TraceID) string {
	return fmt.Sprintf("(TraceHigh, TraceLow) > (%d, %d)", id.High(), id.Low())
}

// shortTrace is how many minutes a trace may last whose minutes are written out.
const shortTrace = 10

// near finds rows by minute and id, which is how they are ordered. Keys are written out, because a list of them costs the server a third of
// what as many ranges do.
func (ownTable) near(list []extent) string {
	var keys, parts []string
	for _, x := range list {
		from, to := uint64(minuteOf(x.from)), uint64(minuteOf(x.to))
		if to-from > shortTrace*60 {
			parts = append(parts, fmt.Sprintf("(Minute BETWEEN %d AND %d AND TraceLow = %d AND TraceHigh = %d)", from, to, x.id.Low(), x.id.High()))
			continue
		}
		for minute := from; minute <= to; minute += 60 {
			keys = append(keys, fmt.Sprintf("(%d, %d, %d)", minute, x.id.Low(), x.id.High()))
		}
	}
	if len(keys) > 0 {
		parts = append(parts, "(Minute, TraceLow, TraceHigh) IN ("+strings.Join(keys, ", ")+")")
	}
	if len(parts) == 0 {
		return no
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

func (ownTable) failed() answer.Condition { return answer.Exactly("Failed = 1") }

func (ownTable) attribute(a attributeColumn, c store.Cond) answer.Condition {
	has := fmt.Sprintf("has(%sKeys, %s)", a.prefix, quote(c.Field.Key))
	if c.Op == store.Exists {
		return answer.Exactly(has)
	}
	test := valueTest(c)
	at, typed := typedIndex[c.Field.Key]
	if a.in == store.InSpan && typed {
		if test == nil {
			return texts.Maybe(has)
		}
		// attr_lists: a list of a typed key stands in SpanValues.
		return texts.Maybe(fmt.Sprintf("(%s OR attr_lists = 1)", test(typedColumns[at].name)))
	}
	if test == nil {
		return texts.Maybe(has)
	}
	// Any of several occurrences will do, though the last one decides; lists are left to the rows. Most rows are passed over by the
	// dictionary of the keys alone.
	return texts.Maybe(fmt.Sprintf("(%s AND arrayExists((k, t, v) -> k = %s AND (t >= %d OR %s), %sKeys, %sTypes, %sValues))",
		has, quote(c.Field.Key), span.TypeBytes, test("v"), a.prefix, a.prefix, a.prefix))
}

// extents is answered by the projection from a few granules a part.
func (t ownTable) extents(source, tenant string, ids []span.TraceID, _ bool) string {
	lows := make([]string, len(ids))
	for i, id := range ids {
		lows[i] = strconv.FormatUint(id.Low(), 10)
	}
	return "SELECT TraceHigh, TraceLow, min(Timestamp), max(Timestamp) FROM " + source + " WHERE " + t.tenant(tenant) +
		" AND TraceLow IN (" + strings.Join(lows, ", ") + ") GROUP BY TraceLow, TraceHigh"
}

func (ownTable) filler() filler    { return newEncoder() }
func (ownTable) documents() string { return "documents" }
func (ownTable) lossy() []string   { return nil }

func (ownTable) again(string, string, []span.TraceID, bool, []extent) string { return "" }
func (ownTable) snapshots() bool                                             { return true }
func (ownTable) typed() bool                                                 { return true }
func (ownTable) need(n store.Need) store.Need                                { return n }
func (ownTable) settle(*span.Batch)                                          {}

func (ownTable) windows(int64) []string { return nil }
func (ownTable) resolved(int) int       { return tracesAtOnce }

// newest walks from the end of the table.
func (ownTable) newest(source, where string, limit int) string {
	return fmt.Sprintf("SELECT %s AS start, TraceHigh, TraceLow FROM %s WHERE %s ORDER BY Minute DESC, start DESC, TraceHigh, TraceLow LIMIT 1 BY TraceHigh, TraceLow LIMIT %d",
		startNanos, source, where, limit)
}
