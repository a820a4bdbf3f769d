package clickhouse_test

import (
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

func tidy(t *testing.T, e *clickhouse.Engine, ahead time.Duration) {
	t.Helper()
	if err := e.Tidy(t.Context(), ahead); err != nil {
		t.Error(err)
	}
}

// TestRollupsOfDeadProcess: what a killed process had not counted is counted by others, once, and not before it is old enough.
func TestRollupsOfDeadProcess(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	one, two, dead := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer two.Close()
	defer dead.Close()
	batches, start := engines.Traffic(time.Now(), 240, 8)
	spans := 0
	for i, b := range batches {
		e := dead
		if i%3 == 1 {
			e = one
		}
		accept(t, e, b)
		if spans += b.Len(); i == 3 {
			dead.Seal()
			rolled(t, server, to, 1, batches[0].Len()+batches[2].Len()+batches[3].Len())
		}
	}
	dead.Abandon()
	agree(t, one, start)
	tidy(t, one, 5*time.Minute)
	rolled(t, server, to, 1, batches[0].Len()+batches[2].Len()+batches[3].Len())

	var both sync.WaitGroup // that find the same
	for _, e := range []*clickhouse.Engine{one, two} {
		both.Go(func() { tidy(t, e, 11*time.Minute) })
	}
	agree(t, one, start) // meanwhile
	both.Wait()
	agree(t, two, start)
	rolled(t, server, to, 3, spans) // of one what it had not written yet either
	tidy(t, two, 11*time.Minute)
	rolled(t, server, to, 3, spans)

	// Of a database that had no rollups everything is counted.
	server.Run(t, "TRUNCATE TABLE "+to.Database+".rollups")
	fresh := open(t, clickhouse.Options{Target: to})
	defer fresh.Close()
	tidy(t, fresh, 11*time.Minute)
	rolled(t, server, to, 2, spans)
	agree(t, fresh, start)

	// A later window of a process begins behind what was counted for it.
	accept(t, one, storetest.Batch(t, "1 a - front server get 0s 1ms"))
	one.Seal()
	agree(t, fresh, start)
}

// TestRollupsOverDays: a process stores spans that were received on several days, in turns, and is killed: each rollup is of one day.
func TestRollupsOverDays(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	one, dead := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer dead.Close()
	batches, start := engines.Traffic(time.Now(), 240, 9)
	spans := 0
	for i, b := range batches {
		b.Received -= int64(i%3) * int64(24*time.Hour)
		spans += b.Len()
		accept(t, []*clickhouse.Engine{one, dead}[i/6], b)
	}
	one.Seal()
	rolled(t, server, to, 8, spans-batches[8].Len())
	dead.Abandon()
	agree(t, one, start)
	tidy(t, one, 11*time.Minute)
	rolled(t, server, to, 9, spans)
	agree(t, one, start)
	server.Run(t, "TRUNCATE TABLE "+to.Database+".rollups")
	fresh := open(t, clickhouse.Options{Target: to})
	defer fresh.Close()
	tidy(t, fresh, 11*time.Minute)
	agree(t, fresh, start)
	if n := server.Number(t, "SELECT sum(Spans) FROM "+to.Database+".rollups FINAL"); n != spans {
		t.Errorf("%d spans in rollups, want %d", n, spans)
	}
	if n := server.Number(t, "SELECT uniqExact(Day) FROM "+to.Database+".rollups"); n != 3 {
		t.Errorf("rollups of %d days, want 3", n)
	}
}

// TestRollupsOfHours: the rollups of an hour become one; whoever asks meanwhile has the same answers.
func TestRollupsOfHours(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	one, two := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer two.Close()
	batches, start := engines.Traffic(time.Now(), 240, 10)
	spans := 0
	count := func(where string) int {
		return server.Number(t, "SELECT count() FROM "+to.Database+".rollups FINAL WHERE Spans > 0 AND "+where)
	}
	for i, b := range batches {
		spans += b.Len()
		accept(t, []*clickhouse.Engine{one, two}[i%2], b)
		one.Seal()
		two.Seal()
		rolled(t, server, to, i+1, spans)
	}
	before := storetest.CheckRollups(t, one, store.Scope{}, store.TimeRange{})
	tidy(t, one, 5*time.Minute)
	if n := count("Level = 1"); n > 0 {
		t.Errorf("%d hours are joined that are not over", n)
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 5 {
			agree(t, two, start)
		}
	}()
	oneHour := server.Number(t, "SELECT uniqExact(intDiv(SeqTo, 3600000000000)) FROM "+to.Database+".rollups") == 1
	tidy(t, one, time.Until(time.Now().Truncate(time.Hour).Add(75*time.Minute))) // its own hour
	if a, b := count("Level = 1"), count("Level = 0"); a == 0 || oneHour && b < 5 {
		t.Errorf("%d rollups of hours and %d others after a process joined its own", a, b)
	}
	tidy(t, one, 3*time.Hour) // and that of the other
	<-asked
	if n := count("1"); n > 5 { // two, or more where the hour ended in between
		t.Errorf("%d rollups after their hours were joined", n)
	}
	if n := server.Number(t, "SELECT sum(Spans) FROM "+to.Database+".rollups FINAL"); n != spans {
		t.Errorf("%d spans in rollups, want %d", n, spans)
	}
	agree(t, two, start)
	server.Run(t, "OPTIMIZE TABLE "+to.Database+".rollups FINAL")
	fresh := open(t, clickhouse.Options{Target: to})
	defer fresh.Close()
	if after := storetest.CheckRollups(t, fresh, store.Scope{}, store.TimeRange{}); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	// A copy of a row that was joined, as a server may show it for a while, counts nothing twice.
	server.Run(t, "INSERT INTO "+to.Database+".rollups SELECT * REPLACE (0 AS Level, SeqTo - 1 AS SeqTo) FROM "+to.Database+".rollups WHERE Level = 1")
	agree(t, open(t, clickhouse.Options{Target: to}), start)
}

// TestRollupsOfShardsInPart: of an insert that not all shards have nothing is counted as whole.
func TestRollupsOfShardsInPart(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	one, dead := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer dead.Close()
	batches, start := engines.Traffic(time.Now(), 240, 3)
	accept(t, dead, batches[0])
	servers[1].Kill()
	if err := dead.Insert(t.Context(), "part", batches[1:2]); err == nil {
		t.Fatal("an insert without a shard went well")
	}
	servers[1].Restart(t)
	tidy(t, one, 11*time.Minute)
	if err := dead.Insert(t.Context(), "part", batches[1:2]); err != nil { // hours later, for all that anybody knows
		t.Fatal(err)
	}
	dead.Count("part")
	accept(t, dead, batches[2])
	agree(t, one, start)
	dead.Abandon()
	tidy(t, one, 25*time.Hour)
	agree(t, one, start)
	if n := servers[0].Number(t, "SELECT sum(Spans) FROM "+to.Database+".rollups FINAL"); n != batches[0].Len()+batches[1].Len()+batches[2].Len() {
		t.Errorf("%d spans in rollups", n)
	}
}
