package clickhouse

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
)

//go:embed schema/1.sql
var schema1 string

// SchemaVersion is the version this build writes.
const SchemaVersion = 1

// Schema is the statements that create the tables in a database, in order, with the comments that explain them.
// retention 0 keeps spans for ever.
func Schema(database string, retention time.Duration) []string {
	text := strings.ReplaceAll(schema1, "${database}", "`"+database+"`")
	text = strings.ReplaceAll(text, "${ttl}\n", ttl(retention))
	list := []string{fmt.Sprintf("CREATE DATABASE IF NOT EXISTS `%s`", database)}
	for statement := range strings.SplitSeq(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	return list
}

// ttl is the line of the table that drops old spans.
func ttl(retention time.Duration) string {
	if retention <= 0 {
		return ""
	}
	return fmt.Sprintf("TTL toDateTime(Received) + toIntervalSecond(%d)\n", int64(retention/time.Second))
}

// tables are the tables of the schema.
var tables = []string{"spans", "documents"}

// prepare creates what is missing, checks what is there and sets retention.
func (e *Engine) prepare(ctx context.Context, retention time.Duration) error {
	found, err := e.comments(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		comment, ok := found[t]
		if !ok {
			continue
		}
		var version int
		if _, err := fmt.Sscanf(comment, "spanloom schema %d: "+t, &version); err != nil {
			return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn",
				Message: fmt.Sprintf("table %s is there and is not Spanloom's (its comment is %q)", e.table(t), comment),
				Hint:    "name another database in --clickhouse-dsn, or rename that table"}
		}
		if version != SchemaVersion {
			return &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn",
				Message: fmt.Sprintf("table %s has schema %d, this Spanloom writes %d", e.table(t), version, SchemaVersion),
				Hint:    "run a Spanloom of at least that version, or name another database"}
		}
	}
	for i, statement := range Schema(e.database, retention) {
		// A user without the right to create may use what is there.
		if i == 0 && len(found) > 0 || i > 0 && len(found) == len(tables) {
			continue
		}
		if err := e.run(ctx, statement); err != nil {
			return err
		}
	}
	return e.setRetention(ctx, retention)
}

// comments are the comments of the schema's tables that are there.
func (e *Engine) comments(ctx context.Context) (map[string]string, error) {
	found := make(map[string]string)
	var names, texts proto.ColStr
	err := e.pool.do(ctx, ch.Query{
		Body:   "SELECT name, comment FROM system.tables WHERE database = " + quote(e.database) + " AND name IN ('" + strings.Join(tables, "', '") + "')",
		Result: proto.Results{{Name: "name", Data: &names}, {Name: "comment", Data: &texts}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range names.Rows() {
				found[names.Row(i)] = texts.Row(i)
			}
			return nil
		},
	})
	return found, err
}

// setRetention makes the table's TTL what the setting says, and looks whether it is.
func (e *Engine) setRetention(ctx context.Context, retention time.Duration) error {
	want := strings.TrimSuffix(strings.TrimPrefix(ttl(retention), "TTL "), "\n")
	is, err := e.ttl(ctx)
	if err != nil || is == want {
		return err
	}
	statement := "ALTER TABLE " + e.table("spans") + " MODIFY TTL " + want
	if want == "" {
		statement = "ALTER TABLE " + e.table("spans") + " REMOVE TTL"
	}
	if err := e.run(ctx, statement); err != nil {
		return err
	}
	if is, err = e.ttl(ctx); err != nil || is == want {
		return err
	}
	return problem.New(problem.Internal, fmt.Sprintf("the TTL of %s is %q after it was set to %q", e.table("spans"), is, want), "set it by hand and report this")
}

// ttl is the TTL of the table as its definition says.
func (e *Engine) ttl(ctx context.Context) (string, error) {
	var engine proto.ColStr
	text := ""
	err := e.pool.do(ctx, ch.Query{
		Body:   "SELECT engine_full FROM system.tables WHERE database = " + quote(e.database) + " AND name = 'spans'",
		Result: proto.Results{{Name: "engine_full", Data: &engine}},
		OnResult: func(context.Context, proto.Block) error {
			if engine.Rows() > 0 {
				text = engine.Row(0)
			}
			return nil
		},
	})
	_, text, ok := strings.Cut(text, " TTL ")
	if !ok {
		return "", err
	}
	text, _, _ = strings.Cut(text, " SETTINGS ")
	return strings.TrimSpace(text), err
}
