package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// GrownLogs looks at the tables in which each server keeps its own logs (system.query_log, part_log and others): each insert and each question
// adds rows to them, and without a TTL, as a server comes, they grow for ever on the disk of the spans. It answers what a start log
// should say, empty if the logs without a TTL take less than limit bytes or may not be seen.
func (e *Engine) GrownLogs(ctx context.Context, limit int64) (string, error) {
	var said []string
	for _, s := range e.shards {
		text, err := s.grownLogs(ctx, limit)
		if err != nil {
			return "", explain(ctx, "look at the server's logs", err)
		}
		if text != "" {
			said = append(said, text)
		}
	}
	return strings.Join(said, ". "), nil
}

func (s *shard) grownLogs(ctx context.Context, limit int64) (string, error) {
	var names proto.ColStr
	var bytes proto.ColUInt64
	var sum int64
	var texts, mend []string
	err := s.do(ctx, ch.Query{
		Body: "SELECT name, assumeNotNull(total_bytes) AS bytes FROM system.tables WHERE database = 'system' AND endsWith(name, '_log') AND total_bytes > 0" +
			" AND position(engine_full, ' TTL ') = 0 ORDER BY bytes DESC",
		Result: proto.Results{{Name: "name", Data: &names}, {Name: "bytes", Data: &bytes}},
		OnResult: func(context.Context, proto.Block) error {
			for i, n := range bytes {
				sum += int64(n)
				texts = append(texts, fmt.Sprintf("%s %d MiB", names.Row(i), n>>20))
				mend = append(mend, "ALTER TABLE system."+names.Row(i)+" MODIFY TTL event_date + INTERVAL 30 DAY")
			}
			return nil
		},
	})
	if err != nil || sum < limit {
		return "", err
	}
	return fmt.Sprintf("the server's own logs%s take %d MiB of its disk and grow for ever: %s. Let them go with age: %s", s.at(), sum>>20,
		strings.Join(texts, ", "), strings.Join(mend, "; ")), nil
}
