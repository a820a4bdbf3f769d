package clickhouse

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

//go:embed schema/1.sql
var schema1 string

//go:embed schema/rollups.sql
var schemaRollups string

// SchemaVersion is the version this build writes.
const SchemaVersion = 1

// distributed is the table that questions over shards are asked of.
const distributed = "spans_distributed"

// Schema is the statements that create the tables in a target's database, in order, with the comments that explain them; with a cluster they
// are for each of its servers. retention 0 keeps spans for ever.
func Schema(t *Target, retention time.Duration) []string {
	if t.Table != "" {
		return otelSchema(t.Database, t.Table, retention)
	}
	return append(needed(t, retention), rollupsTable(t, retention))
}

// rollupsTable is the statement of the table of rollups.
func rollupsTable(t *Target, retention time.Duration) string {
	text := strings.ReplaceAll(schemaRollups, "${database}", "`"+t.Database+"`")
	return strings.TrimSuffix(strings.ReplaceAll(text, "${ttl}\n", rollupsTTL(retention)), ";\n")
}

// needed is the statements without whose tables there is no engine.
func needed(t *Target, retention time.Duration) []string {
	database := "`" + t.Database + "`"
	text := strings.ReplaceAll(schema1, "${database}", database)
	text = strings.ReplaceAll(text, "${ttl}\n", ttl(retention))
	list := []string{"CREATE DATABASE IF NOT EXISTS " + database}
	for statement := range strings.SplitSeq(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	if t.Cluster != "" {
		list = append(list, fmt.Sprintf(`-- What questions read: the spans of all shards. It holds nothing itself, and Spanloom inserts into the shards' own tables.
CREATE TABLE IF NOT EXISTS %s.%s AS %s.spans
ENGINE = %s
COMMENT 'spanloom schema %d: %s'`, database, distributed, database, distributedEngine(t.Cluster, t.Database), SchemaVersion, distributed))
	}
	return list
}

func distributedEngine(cluster, database string) string {
	return fmt.Sprintf("Distributed(%s, %s, 'spans', TraceLow)", quote(cluster), quote(database))
}

var (
	creating   = regexp.MustCompile(`(?m)^CREATE (?:DATABASE|TABLE) IF NOT EXISTS \S+`)
	mergeTrees = regexp.MustCompile(`(?m)^ENGINE = (Replacing)?MergeTree`)
)

// SchemaOnCluster is Schema as one server runs it for a whole cluster, with tables whose rows the replicas of a shard share.
func SchemaOnCluster(t *Target, retention time.Duration) []string {
	list := Schema(t, retention)
	for i, statement := range list {
		statement = creating.ReplaceAllString(statement, "$0 ON CLUSTER "+quote(t.Cluster))
		list[i] = mergeTrees.ReplaceAllString(statement, "ENGINE = Replicated${1}MergeTree")
	}
	return list
}

// forEver is the retention from which on nothing expires: the server adds up seconds in 32 bits, which end in 2106, and drops at once what would
// go behind that.
const forEver = 50 * 365 * 24 * time.Hour

func expires(retention time.Duration) bool { return retention > 0 && retention < forEver }

// ttl is the line of the table that drops old spans.
func ttl(retention time.Duration) string {
	if !expires(retention) {
		return ""
	}
	return fmt.Sprintf("TTL toDateTime(Received) + toIntervalSecond(%d)\n", int64(retention/time.Second))
}

// rollupsTTL is that of the rollups: those of a day stay until the last span of it may go.
func rollupsTTL(retention time.Duration) string {
	if !expires(retention) {
		return ""
	}
	return fmt.Sprintf("TTL Day + toIntervalSecond(%d)\n", int64((retention+24*time.Hour)/time.Second))
}

// tables are the tables of the schema without which there is no engine.
func (e *Engine) tables() []string {
	if e.sharded() {
		return []string{"spans", "documents", distributed}
	}
	return []string{"spans", "documents"}
}

// prepare creates what is missing on a shard, checks what is there and sets retention; once it went well it does nothing.
func (e *Engine) prepare(ctx context.Context, s *shard) error {
	s.preparing.Lock()
	defer s.preparing.Unlock()
	if s.prepared {
		return nil
	}
	if e.exporters != "" {
		err := e.prepareOtel(ctx, s)
		s.prepared = err == nil
		return err
	}
	found, err := e.existing(ctx, s, e.tables()...)
	if err != nil {
		return err
	}
	for _, t := range e.tables() {
		is, ok := found[t]
		if !ok {
			if len(s.target.Hosts) > 1 && e.sharded() && t != distributed {
				return notReplicated(fmt.Sprintf("table %s is missing%s, a shard of several replicas", e.table(t), s.at()))
			}
			continue
		}
		if err := e.check(s, t, is); err != nil {
			return err
		}
	}
	for i, statement := range needed(&Target{Database: e.database, Cluster: e.cluster}, e.keep) {
		// A user without the right to create may use what is there.
		if i == 0 && len(found) > 0 || i > 0 && len(found) == len(e.tables()) {
			continue
		}
		if err := s.do(ctx, ch.Query{Body: statement}); err != nil {
			return err
		}
	}
	if err := e.setRetention(ctx, s, "spans", ttl(e.keep)); err != nil {
		return err
	}
	if s == e.shards[0] {
		if err := e.prepareRollups(ctx, s); err != nil {
			return err
		}
	}
	s.prepared = true
	return nil
}

// prepareRollups creates the table of rollups where it is missing, also beside the tables of an older Spanloom. Who may not create it works
// without, as does who shares replicated tables: a table of one server's own would not hold what the others write.
func (e *Engine) prepareRollups(ctx context.Context, s *shard) error {
	found, err := e.existing(ctx, s, "spans", "rollups")
	if err != nil {
		return err
	}
	if is, ok := found["rollups"]; ok {
		if err := e.check(s, "rollups", is); err != nil {
			return err
		}
	} else {
		if strings.HasPrefix(found["spans"].engine, "Replicated") {
			return nil
		}
		err := s.do(ctx, ch.Query{Body: rollupsTable(&Target{Database: e.database}, e.keep)})
		if err != nil && ClassOf(err) == remote.Fatal {
			return nil
		}
		if err != nil {
			return err
		}
	}
	if err := e.setRetention(ctx, s, "rollups", rollupsTTL(e.keep)); err != nil {
		return err
	}
	e.rolls.begun()
	return nil
}

// existing is a table that is there: its engine as it is defined, and the name of that.
type existing struct{ comment, engine, kind string }

// check looks whether a table is what the schema says.
func (e *Engine) check(s *shard, t string, is existing) error {
	invalid := func(message, hint string) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: "table " + e.table(t) + s.at() + " " + message, Hint: hint}
	}
	var version int
	if _, err := fmt.Sscanf(is.comment, "spanloom schema %d: "+t, &version); err != nil {
		return invalid(fmt.Sprintf("is there and is not Spanloom's (its comment is %q)", is.comment), "name another database in --clickhouse-dsn, or rename that table")
	}
	if version != SchemaVersion {
		return invalid(fmt.Sprintf("has schema %d, this Spanloom writes %d", version, SchemaVersion), "run a Spanloom of at least that version, or name another database")
	}
	if t == distributed {
		if want := distributedEngine(e.cluster, e.database); is.engine != want {
			return invalid(fmt.Sprintf("is %s, not %s", is.engine, want), "drop it, it holds no spans: the next start makes the right one")
		}
		return nil
	}
	if e.sharded() && len(s.target.Hosts) > 1 && !strings.HasPrefix(is.engine, "Replicated") && !strings.HasPrefix(is.engine, "Shared") {
		name, _, _ := strings.Cut(is.engine, " ")
		return notReplicated(fmt.Sprintf("table %s%s is a %s, and the replicas of this shard do not share its rows", e.table(t), s.at(), name))
	}
	return nil
}

// notReplicated refuses a shard of several servers of which each would have rows of its own.
func notReplicated(message string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: message,
		Hint: "make replicated tables before the start: `spanloom store schema --on-cluster` prints statements for it"}
}

// unprepared is why nothing can be stored on a shard that was away at the start: whatever it is, it is not about the spans.
func unprepared(err error) error {
	if p := (*problem.Problem)(nil); errors.As(err, &p) {
		return &problem.Problem{Kind: problem.Unavailable, Field: p.Field, Message: p.Message, Hint: p.Hint, Err: p.Err, RetryAfter: time.Minute}
	}
	return err
}

// existing are those of some tables that are there.
func (e *Engine) existing(ctx context.Context, s *shard, tables ...string) (map[string]existing, error) {
	found := make(map[string]existing)
	var names, comments, engines, kinds proto.ColStr
	err := s.do(ctx, ch.Query{
		Body:   "SELECT name, comment, engine_full, engine FROM system.tables WHERE database = " + quote(e.database) + " AND name IN ('" + strings.Join(tables, "', '") + "')",
		Result: proto.Results{{Name: "name", Data: &names}, {Name: "comment", Data: &comments}, {Name: "engine_full", Data: &engines}, {Name: "engine", Data: &kinds}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range names.Rows() {
				found[names.Row(i)] = existing{comments.Row(i), engines.Row(i), kinds.Row(i)}
			}
			return nil
		},
	})
	return found, err
}

// setRetention makes a table's TTL what its line of the schema says, and looks whether it is.
func (e *Engine) setRetention(ctx context.Context, s *shard, table, line string) error {
	want := strings.TrimSuffix(strings.TrimPrefix(line, "TTL "), "\n")
	is, err := e.ttl(ctx, s, table)
	if err != nil || is == want {
		return err
	}
	statement := "ALTER TABLE " + e.table(table) + " MODIFY TTL " + want
	if want == "" {
		statement = "ALTER TABLE " + e.table(table) + " REMOVE TTL"
	}
	if err := s.do(ctx, ch.Query{Body: statement}); err != nil {
		return err
	}
	if is, err = e.ttl(ctx, s, table); err != nil || is == want {
		return err
	}
	return problem.New(problem.Internal, fmt.Sprintf("the TTL of %s%s is %q after it was set to %q", e.table(table), s.at(), is, want), "set it by hand and report this")
}

// ttl is the TTL of a table as its definition says.
func (e *Engine) ttl(ctx context.Context, s *shard, table string) (string, error) {
	found, err := e.existing(ctx, s, table)
	return ttlIn(found[table].engine), err
}

// ttlIn is the TTL in the definition of a table, empty for none.
func ttlIn(definition string) string {
	_, text, _ := strings.Cut(definition, " TTL ")
	text, _, _ = strings.Cut(text, " SETTINGS ")
	return strings.TrimSpace(text)
}
