package clickhouse_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
)

var databases atomic.Int64

// target names a database of its own on a server.
func target(t testing.TB, addr string) *clickhouse.Target {
	t.Helper()
	to, err := clickhouse.ParseDSN(fmt.Sprintf("clickhouse://%s/test%d", addr, databases.Add(1)), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func open(t testing.TB, o clickhouse.Options) *clickhouse.Engine {
	t.Helper()
	e, err := clickhouse.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformance(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
		return open(t, clickhouse.Options{Target: target(t, server.Addr), Now: now})
	})
}

// TestModel runs random operations over tiny blocks, with the process restarted in between.
func TestModel(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	model(t, func(t *testing.T) *clickhouse.Target { return target(t, server.Addr) }, server)
}

func model(t *testing.T, target func(*testing.T) *clickhouse.Target, servers ...*clickhouseserver.Server) {
	targets := make(map[store.Engine]*clickhouse.Target)
	again := func(t *testing.T, to *clickhouse.Target, now func() time.Time) store.Engine {
		e := open(t, clickhouse.Options{Target: to, Now: now, Rows: 3})
		targets[e] = to
		return e
	}
	storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine {
		return again(t, target(t), now)
	}, storetest.ModelOptions{
		Reopen: func(t *testing.T, e store.Engine, now func() time.Time) store.Engine {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			return again(t, targets[e], now)
		},
		Hidden: map[string]func(*testing.T, store.Engine){
			"seal": func(_ *testing.T, e store.Engine) { e.(*clickhouse.Engine).Seal() },
			"tidy": func(t *testing.T, e store.Engine) { tidy(t, e.(*clickhouse.Engine), 26*time.Hour) },
			"merge": func(t *testing.T, e store.Engine) {
				for _, server := range servers {
					server.Run(t, "OPTIMIZE TABLE "+targets[e].Database+".spans FINAL")
				}
			},
		},
	})
}
