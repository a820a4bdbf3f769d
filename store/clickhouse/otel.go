package clickhouse

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// otelTable is the table of the OpenTelemetry Collector's ClickHouse exporter (schema/otel.sql), as all its versions since 2023 make it. What it
// does not hold of a span is said by otelLossy.
//
// Its rows are ordered by service and name, so ranges of time prune by day and traces are found by the table of the exporter's view and a bloom
// filter.
type otelTable struct {
	name    string
	lookup  string            // of the view's table with its database, empty where it is not there
	columns map[string]string // of block -> expressions
	naming  Naming
	window  bool // the server tells an insert that comes twice by its token
	scoped  bool // it has ScopeName and ScopeVersion; else they stand in SpanAttributes, as exporters before 2024 put them
}

// otelLossy says in words what the exporter's table does not hold.
func otelLossy() []string {
	return []string{
		"types of values: whole numbers, true and false of spans, events and links are known by their looks, all other values and those of resources are text; lists and maps are JSON, bytes base64",
		"repeated keys of one owner: the last value counts",
		"attributes of scopes, schema URLs, flags, counts of what was dropped, marks of Zipkin's (shared, debug)",
		"weights: each row counts as one span",
		"group and namespace of a service: they are found again in the attributes",
		"kinds and statuses without a name in OpenTelemetry",
		"absent and impossible times: the start by which a span is found stands in their place, an end before it is the start",
		"receipt: it is taken to be the end of the span; --retention counts from the start",
		otelPages,
		"one moment: spans that go from the queue to the table may count twice in lists and rates until the server has answered; an insert with spans of two days may be seen in halves",
		"spans of more than a day: a range of time finds those that began at most a day before it",
		"tenants: there is one",
	}
}

// otelPages is what a page token does not promise there.
const otelPages = "snapshots: what is stored while somebody turns pages may show on them"

func (t *otelTable) filler() filler    { return newOtelEncoder(t.scoped) }
func (t *otelTable) documents() string { return namesOf(t.name).documents }
func (t *otelTable) lossy() []string   { return otelLossy() }
func (t *otelTable) snapshots() bool   { return false }
func (t *otelTable) typed() bool       { return false }

// need adds what group, namespace and marks are found in.
func (t *otelTable) need(n store.Need) store.Need {
	if n.Columns&(store.ColService|store.ColMark) == 0 || n.All {
		return n
	}
	add := store.Need{Columns: store.ColService | store.ColName}
	for _, key := range t.naming.Keys {
		add.Fields = append(add.Fields, store.Field{In: store.InSpan, Key: key}, store.Field{In: store.InResource, Key: key})
	}
	return n.And(add)
}

func (t *otelTable) settle(b *span.Batch) {
	if t.naming.Set != nil {
		t.naming.Set(b)
		return
	}
	copy(b.Group, b.Service)
}

func (t *otelTable) table() string             { return t.name }
func (t *otelTable) column(name string) string { return t.columns[name] }

// received is the place of a row on the disk: rows with equal starts, services and names lie in the order they came, and a merge keeps it.
func (t *otelTable) received() string { return "_part_index, _part_offset" }
func (t *otelTable) trace() string    { return "TraceId" }

func (t *otelTable) tenant(name string) string {
	if name == store.DefaultTenant {
		return yes
	}
	return no
}

// otelTime is a time literal. Times before 1970 are not in question where it prunes.
func otelTime(at int64) string { return fmt.Sprintf("fromUnixTimestamp64Nano(%d)", max(at, 0)) }

// longSpan is how long before a range a span may have begun that reaches into it. Rows are not ordered by their ends: without a bound such a range
// would read all rows.
const longSpan = int64(24 * time.Hour)

func (t *otelTable) during(r store.TimeRange, mode store.TimeMode) string {
	var parts []string
	if r.To != 0 {
		parts = append(parts, fmt.Sprintf("Timestamp < %s", otelTime(r.To)))
	}
	if r.From != 0 {
		if mode == store.Start {
			parts = append(parts, fmt.Sprintf("Timestamp >= %s", otelTime(r.From)))
		} else {
			parts = append(parts, "Timestamp >= "+otelTime(max(r.From, 0)-longSpan)+" AND "+endsFrom(r.From))
		}
	}
	return texts.All(parts...)
}

func (t *otelTable) until(at int64) string { return "Timestamp <= " + otelTime(at) }

func (t *otelTable) is(id span.TraceID) string     { return "TraceId = " + quote(id.String()) }
func (t *otelTable) behind(id span.TraceID) string { return "TraceId > " + quote(id.String()) }

// slack is how much further than the view says rows of a trace are looked for: it knows seconds, and may lack an insert that it failed on. Each
// minute more is more granules whose bloom filters are read.
const slack = int64(time.Minute)

func (t *otelTable) near(list []extent) string {
	if len(list) == 0 {
		return no
	}
	var ids []span.TraceID
	from, to := list[0].from, list[0].to
	for _, x := range list {
		ids = append(ids, x.id)
		from, to = min(from, x.from), max(to, x.to)
	}
	return fmt.Sprintf("(TraceId IN (%s) AND Timestamp >= %s AND Timestamp <= %s)", idTexts(ids), otelTime(from-slack), otelTime(to+slack))
}

func idTexts(ids []span.TraceID) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = quote(id.String())
	}
	return strings.Join(list, ", ")
}

// The words of statuses: those of today's exporter, then those of 2023.
const (
	otelErrors = "('Error', 'STATUS_CODE_ERROR')"
	otelOKs    = "('Ok', 'STATUS_CODE_OK')"
)

// failed: of the attribute error the type decides, which is for the rows.
func (t *otelTable) failed() answer.Condition {
	is := "StatusCode IN " + otelErrors
	return answer.Condition{Must: is,
		May: "(" + is + " OR StatusCode NOT IN " + otelOKs + " AND SpanAttributes['error'] NOT IN ('', 'false'))"}
}

// otelMaps are the columns of attributes; those of events and links are arrays of maps.
var otelMaps = map[store.FieldScope]string{store.InSpan: "SpanAttributes", store.InResource: "ResourceAttributes",
	store.InEvent: "Events.Attributes", store.InLink: "Links.Attributes"}

func (t *otelTable) attribute(a attributeColumn, c store.Cond) answer.Condition {
	column, ok := otelMaps[a.in]
	if !ok {
		return answer.Exactly(no)
	}
	key, many := quote(c.Field.Key), a.in == store.InEvent || a.in == store.InLink
	in := column
	if many {
		in = "m"
	}
	sql := fmt.Sprintf("mapContains(%s, %s)", in, key)
	exact := c.Op == store.Exists
	if test := valueTest(c); !exact && test != nil {
		value := fmt.Sprintf("%s[%s]", in, key)
		if v := c.Value; v.Type == span.TypeInt && !v.Loose && c.Op == store.Eq {
			sql += fmt.Sprintf(" AND %s = '%d'", value, v.Int) // by its looks: the index of values knows it
		} else {
			sql += " AND " + test(value)
		}
		sql = "(" + sql + ")"
	}
	if many {
		sql = fmt.Sprintf("arrayExists(m -> %s, %s)", sql, column)
	}
	if exact {
		return answer.Exactly(sql)
	}
	return texts.Maybe(sql)
}

const otelExtents = "SELECT %s, %s, toDateTime64(min(%s), 9), toDateTime64(max(%s), 9) FROM %s WHERE %s GROUP BY TraceId"

// extents asks the view's table: for ids, and with twins for those that differ in an upper half of zeros. Which full ids have a short twin
// is asked of all ids of the table, because it is ordered by them; only short ids are asked for so.
func (t *otelTable) extents(source, tenant string, ids []span.TraceID, twins bool) string {
	where, from, to := t.ids(ids, twins), "Start", "End"
	in := t.lookup
	if in == "" {
		in, from, to = source, "Timestamp", "Timestamp"
	}
	return fmt.Sprintf(otelExtents, t.column("TraceHigh"), t.column("TraceLow"), from, to, in, t.tenant(tenant)+" AND "+where)
}

func (t *otelTable) ids(ids []span.TraceID, twins bool) string {
	all := ids
	var ends []string
	if twins {
		for _, id := range ids {
			if id.High() == 0 {
				ends = append(ends, "endsWith(TraceId, "+quote(id.String()[16:])+")")
			} else {
				all = append(all[:len(all):len(all)], span.TraceIDFromUint64s(0, id.Low()))
			}
		}
	}
	return "(" + strings.Join(append(ends, "TraceId IN ("+idTexts(all)+")"), " OR ") + ")"
}

// again asks the spans themselves for traces that the view does not know, as those stored before it was made, and of several twins for the exact
// starts: how far they are apart decides. Empty: nothing is to be asked.
func (t *otelTable) again(source, tenant string, ids []span.TraceID, twins bool, found []extent) string {
	if t.lookup == "" {
		return ""
	}
	var missing []span.TraceID
	for _, id := range ids {
		if !slices.ContainsFunc(found, func(x extent) bool { return x.id == id }) {
			missing = append(missing, id)
		}
	}
	var conds []string
	if twins && len(found) > 1 {
		conds = append(conds, t.near(found))
	}
	if len(missing) > 0 {
		conds = append(conds, t.ids(missing, false))
	}
	if len(conds) == 0 {
		return ""
	}
	return fmt.Sprintf(otelExtents, t.column("TraceHigh"), t.column("TraceLow"), "Timestamp", "Timestamp", source,
		t.tenant(tenant)+" AND ("+strings.Join(conds, " OR ")+")")
}

// windows are the times behind an instant in which the newest rows are looked for first: rows are not ordered by time, so a question about all
// of them reads all of them.
func (t *otelTable) windows(at int64) (from []string) {
	for _, d := range []time.Duration{10 * time.Minute, 24 * time.Hour} {
		from = append(from, "Timestamp >= "+otelTime(max(at, 0)-int64(d)))
	}
	return from
}

// resolved: rows of a trace lie in as many places as it has services and names.
func (t *otelTable) resolved(limit int) int { return min(limit+limit/4+1, tracesAtOnce) }

func (t *otelTable) newest(source, where string, limit int) string {
	return fmt.Sprintf("SELECT toUnixTimestamp64Nano(max(Timestamp)) AS newest, %s, %s FROM %s WHERE TraceId != '' AND %s GROUP BY TraceId ORDER BY newest DESC, TraceId LIMIT %d",
		t.column("TraceHigh"), t.column("TraceLow"), source, where, limit)
}
