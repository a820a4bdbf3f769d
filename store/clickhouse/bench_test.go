package clickhouse_test

import (
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/test/engines"
)

// BenchmarkAsk asks what people ask: see engines.Ask.
func BenchmarkAsk(b *testing.B) {
	server := clickhouseserver.Start(b, "")
	to := target(b, server.Addr)
	e := open(b, clickhouse.Options{Target: to})
	defer e.Close()
	askTables(b, e, server, to.Database, func(spans int) {
		e.Seal()
		wait.For(b, time.Minute, "rollups", func() bool {
			return server.Number(b, "SELECT sum(Spans) FROM "+to.Database+".rollups FINAL") >= spans
		})
	}, "spans")
}

// BenchmarkAskOtel asks the same of the tables of OpenTelemetry's exporter.
func BenchmarkAskOtel(b *testing.B) {
	server := clickhouseserver.Start(b, "")
	to := otelTarget(b, server.Addr)
	e := openOtel(b, clickhouse.Options{Target: to})
	defer e.Close()
	askTables(b, e, server, to.Database, nil, "otel_traces", "otel_traces_trace_id_ts")
}

// askTables is engines.Ask with the size of some tables. ready waits until the engine has done its own part; nil for nothing.
func askTables(b *testing.B, e *clickhouse.Engine, server *clickhouseserver.Server, database string, ready func(spans int), tables ...string) {
	engines.Ask(b, e, server, func(spans int, spent func() float64) {
		if ready != nil {
			ready(spans)
		}
		for _, table := range tables {
			server.Run(b, "OPTIMIZE TABLE "+database+"."+table+" FINAL")
		}
		bytes := server.Number(b, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table IN ('"+strings.Join(tables, "', '")+"') AND database = '"+database+"'")
		b.Logf("%.1f bytes a span after a merge; server CPU with it %.2f µs a span", float64(bytes)/float64(spans), spent())
	})
}
