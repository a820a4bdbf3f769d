package clickhouse

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

//go:embed schema/otel.sql
var schemaOtel string

// otelComment begins the comments of the tables that Spanloom made in the exporter's form: their retention is Spanloom's to set.
const otelComment = "spanloom otel schema"

const otelWindow = "non_replicated_deduplication_window"

// otelNames are the tables of the exporter's form, by what they are for; documents are Spanloom's own.
type otelNames struct{ traces, lookup, view, documents string }

func namesOf(table string) otelNames {
	return otelNames{table, table + "_trace_id_ts", table + "_trace_id_ts_mv", "spanloom_documents"}
}

func otelWindowOf(table string) string {
	return "ALTER TABLE " + table + " MODIFY SETTING " + otelWindow + " = 1000"
}

// otelSchema is Schema for the exporter's form. The last statement is for a table that is there already.
func otelSchema(database, table string, retention time.Duration) (list []string) {
	for _, s := range otelStatements(database, table, retention) {
		list = append(list, s.text)
	}
	return append(list, "-- For a table that is there already: the server tells a batch that is sent again after a lost answer.\n"+otelWindowOf("`"+database+"`.`"+table+"`"))
}

// making is a statement and the table that it makes, none for the database.
type making struct{ text, table string }

func otelStatements(database, table string, retention time.Duration) []making {
	n := namesOf(table)
	in := func(name string) string { return "`" + database + "`.`" + name + "`" }
	text := strings.NewReplacer("${traces}", in(n.traces), "${lookup}", in(n.lookup), "${view}", in(n.view), "${documents}", in(n.documents),
		"${ttl of Timestamp}\n", otelTTL("Timestamp", retention), "${ttl of Start}\n", otelTTL("Start", retention)).Replace(schemaOtel)
	list := []making{{text: fmt.Sprintf("CREATE DATABASE IF NOT EXISTS `%s`", database)}}
	for i, statement := range strings.Split(strings.TrimSuffix(strings.TrimSpace(text), ";"), ";\n") {
		list = append(list, making{strings.TrimSpace(statement), []string{n.traces, n.lookup, n.view, n.documents}[i]})
	}
	return list
}

// otelTTL is the line of a table that drops old rows.
func otelTTL(column string, retention time.Duration) string {
	if !expires(retention) {
		return ""
	}
	if column == "Timestamp" {
		column = "toDateTime(Timestamp)"
	}
	return fmt.Sprintf("TTL %s + toIntervalSecond(%d)\n", column, int64(retention/time.Second))
}

// prepareOtel looks at the exporter's tables, makes all of them where there are none, and says what it finds. Tables that others made stay as
// they are, but for the setting that tells batches sent twice.
func (e *Engine) prepareOtel(ctx context.Context, s *shard) error {
	n := namesOf(e.exporters)
	found, err := e.existing(ctx, s, n.traces, n.lookup, n.view, n.documents)
	if err != nil {
		return err
	}
	is, present := found[n.traces]
	others := present && !strings.HasPrefix(is.comment, otelComment)
	for _, m := range otelStatements(e.database, n.traces, e.keep) {
		if _, ok := found[m.table]; ok || m.table == "" && present || others && m.table != n.documents {
			continue // another's table gets no view: it would cost every insert
		}
		if err := s.do(ctx, ch.Query{Body: m.text}); err != nil && (m.table != n.documents || ClassOf(err) != remote.Fatal) {
			return err
		} else if err != nil {
			e.noDocuments = fmt.Sprintf("table %s is missing and may not be made: %v", e.table(n.documents), explain(ctx, "create it", err))
			e.log("views, colours and what the doctor remembers are not kept: " + e.noDocuments)
		}
	}
	types, err := e.columnsOf(ctx, s, n.traces)
	if err != nil {
		return err
	}
	if e.otel, err = newOtelTable(e.database, n.traces, types); err != nil {
		return err
	}
	e.otel.naming = e.naming
	e.layout = e.otel
	if !present {
		e.otel.lookup, e.otel.window = e.table(n.lookup), true
		e.log("made the tables of the OpenTelemetry exporter: " + e.table(e.otel.table()))
		return nil
	}
	if !strings.HasSuffix(is.kind, "MergeTree") {
		return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: fmt.Sprintf("table %s is a %s", e.table(n.traces), is.kind),
			Hint: "name the table that holds the rows (a MergeTree) by ?schema=otel&table="}
	}
	lookup, err := e.columnsOf(ctx, s, n.lookup)
	if err != nil {
		return err
	}
	if lookup["TraceId"] != "" && lookup["Start"] != "" && lookup["End"] != "" {
		e.otel.lookup = e.table(n.lookup)
	} else {
		e.log(fmt.Sprintf("table %s is missing: traces are looked for by the bloom filter of %s alone", e.table(n.lookup), e.table(n.traces)))
	}
	if err := e.otelWindow(ctx, s, is); err != nil {
		return err
	}
	return e.otelRetention(ctx, s, n, found)
}

// columnsOf are the types of a table's columns; none if it is not there.
func (e *Engine) columnsOf(ctx context.Context, s *shard, table string) (map[string]string, error) {
	columns := make(map[string]string)
	var names, types proto.ColStr
	err := s.do(ctx, ch.Query{
		Body:   "SELECT name, type FROM system.columns WHERE database = " + quote(e.database) + " AND table = " + quote(table),
		Result: proto.Results{{Name: "name", Data: &names}, {Name: "type", Data: &types}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range names.Rows() {
				columns[names.Row(i)] = types.Row(i)
			}
			return nil
		},
	})
	return columns, err
}

var windowSetting = regexp.MustCompile(otelWindow + ` = ([1-9]\d*)`)

// otelWindow sees to it that the server tells an insert that it has already, else inserts are looked for before they are sent again.
func (e *Engine) otelWindow(ctx context.Context, s *shard, is existing) error {
	if !strings.HasPrefix(is.kind, "Replicated") && !strings.HasPrefix(is.kind, "Shared") && !windowSetting.MatchString(is.engine) {
		err := s.do(ctx, ch.Query{Body: otelWindowOf(e.table(e.otel.table()))})
		if err != nil && ClassOf(err) != remote.Fatal {
			return err
		}
		if err != nil {
			e.log(fmt.Sprintf("the server tells no insert that comes twice, and %s may not be set (%v): an insert whose answer is lost is looked for before it is sent again",
				otelWindow, explain(ctx, "set it", err)))
			return nil
		}
		e.log("set " + otelWindow + " of " + e.table(e.otel.table()) + ": the server tells an insert that comes twice")
	}
	e.otel.window = true
	return nil
}

// otelRetention sets the TTL of tables that Spanloom made.
func (e *Engine) otelRetention(ctx context.Context, s *shard, n otelNames, found map[string]existing) error {
	for _, t := range []struct{ name, column string }{{n.traces, "Timestamp"}, {n.lookup, "Start"}} {
		is, ok := found[t.name]
		switch {
		case !ok:
		case strings.HasPrefix(is.comment, otelComment):
			if err := e.setRetention(ctx, s, t.name, otelTTL(t.column, e.keep)); err != nil {
				return err
			}
		case t.name == n.traces:
			e.log(fmt.Sprintf("--retention does not change %s, which others made: its TTL is %s", e.table(t.name), cmp.Or(ttlIn(is.engine), "none, so nothing in it expires")))
		}
	}
	return nil
}

// otelSamples is how many rows of an insert are looked for to know that the server has it.
const otelSamples = 32

// arrived looks whether an insert whose answer was lost is there, when the server has ended with it: it is if rows from all over it are. Where they
// came another time, in a batch that was sent twice, all of it is there too.
func (e *Engine) arrived(ctx context.Context, token string, o *otelEncoder) (bool, error) {
	if o.rows() == 0 {
		return false, nil
	}
	var keys []string
	from, to := o.timestamp.Data[0], o.timestamp.Data[0]
	step := max(1, o.rows()/otelSamples)
	for row := 0; row < o.rows(); row += step {
		at := o.timestamp.Data[row]
		from, to = min(from, at), max(to, at)
		key := fmt.Sprintf("(%s, %d, %s, %s)", quote(string(o.service.bytes(row))), int64(at), quote(o.traceID.Row(row)), quote(o.spanID.Row(row)))
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	var n proto.ColUInt64
	err := alone(ctx, e.pool.do, ch.Query{
		QueryID: token,
		Body: fmt.Sprintf("SELECT uniqExact(ServiceName, Timestamp, TraceId, SpanId) FROM %s WHERE Timestamp >= %s AND Timestamp <= %s AND (ServiceName, %s, TraceId, SpanId) IN (%s)",
			e.source(), otelTime(int64(from)), otelTime(int64(to)), startNanos, strings.Join(keys, ", ")),
		Result: proto.Results{{Data: &n}},
	})
	return err == nil && len(n) == 1 && int(n[0]) == len(keys), err
}

// runningPause is how often a server is asked whether it still works on an insert.
const runningPause = 100 * time.Millisecond

// alone asks a question that has an id when the server works on no other one with that id.
func alone(ctx context.Context, do func(context.Context, ch.Query) error, q ch.Query) error {
	for {
		err := do(ctx, q)
		if !ch.IsErr(err, proto.ErrQueryWithSameIDIsAlreadyRunning) {
			return err
		}
		if pause.For(ctx, runningPause) != nil {
			return err
		}
	}
}
