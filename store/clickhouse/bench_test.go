package clickhouse_test

import (
	"testing"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/test/engines"
)

// BenchmarkAsk asks what people ask: see engines.Ask.
func BenchmarkAsk(b *testing.B) {
	server := clickhouseserver.Start(b, "")
	to := target(b, server.Addr)
	e := open(b, clickhouse.Options{Target: to})
	defer e.Close()
	engines.Ask(b, e, server, func(spans int, spent func() float64) {
		server.Run(b, "OPTIMIZE TABLE "+to.Database+".spans FINAL")
		bytes := server.Number(b, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'spans' AND database = '"+to.Database+"'")
		b.Logf("%.1f bytes a span after a merge; server CPU with it %.2f µs a span", float64(bytes)/float64(spans), spent())
	})
}
