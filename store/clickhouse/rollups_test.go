package clickhouse_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// ranges are questions about the traffic from start on.
func ranges(start time.Time) []store.TimeRange {
	at := func(minutes int) int64 { return start.Add(time.Duration(minutes) * time.Minute).UnixNano() }
	return []store.TimeRange{{From: at(-60), To: at(60)}, {From: at(1), To: at(4)}, {From: at(2), To: at(3)}, {From: 0, To: 0}}
}

// agree compares rollups with scans.
func agree(t *testing.T, e store.Reader, start time.Time) {
	t.Helper()
	for i, r := range ranges(start) {
		if got := storetest.CheckRollups(t, e, store.Scope{}, r); i == 0 && strings.Count(got, "\n") < 50 {
			t.Errorf("only\n%s", got)
		}
	}
}

func accept(t *testing.T, e store.Writer, b *span.Batch) {
	t.Helper()
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// rolled waits until so many rollups stand for so many spans.
func rolled(t *testing.T, server *clickhouseserver.Server, to *clickhouse.Target, rollups, spans int) {
	t.Helper()
	wait.For(t, 30*time.Second, "rollups", func() bool {
		return server.Number(t, "SELECT count() FROM "+to.Database+".rollups FINAL WHERE Spans > 0") == rollups
	})
	if n := server.Number(t, "SELECT sum(Spans) FROM "+to.Database+".rollups FINAL"); n != spans {
		t.Errorf("%d spans in %d rollups, want %d", n, rollups, spans)
	}
}

// TestRollups: whatever part of the spans rollups count, of whichever process, the answers are those of a scan.
func TestRollups(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	rollups(t, server, target(t, server.Addr))
}

// TestRollupsShards is TestRollups on two shards, of which the first holds the rollups.
func TestRollupsShards(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 2)
	rollups(t, servers[0], over(t, servers))
}

func rollups(t *testing.T, server *clickhouseserver.Server, to *clickhouse.Target) {
	one, two := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	batches, start := engines.Traffic(time.Now(), 240, 8)
	accept(t, one, batches[0])
	agree(t, one, start) // nothing is rolled up yet
	one.Seal()
	rolled(t, server, to, 1, batches[0].Len())
	agree(t, one, start)
	accept(t, two, batches[1])
	accept(t, one, batches[2])
	accept(t, two, batches[3])
	agree(t, two, start)
	one.Seal()
	rolled(t, server, to, 2, batches[0].Len()+batches[2].Len())
	agree(t, one, start) // of two there are two batches, in no rollup
	// A process that ends writes what is open.
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	rolled(t, server, to, 3, batches[0].Len()+batches[1].Len()+batches[2].Len()+batches[3].Len())
	agree(t, one, start)

	// A pinned engine answers without what counts later, also when that is in a rollup.
	if err := one.Insert(t.Context(), "later", batches[4:5]); err != nil {
		t.Fatal(err)
	}
	pin := one.Pin()
	before := storetest.CheckRollups(t, pin, store.Scope{}, store.TimeRange{})
	one.Seal()
	all := batches[0].Len() + batches[1].Len() + batches[2].Len() + batches[3].Len() + batches[4].Len()
	rolled(t, server, to, 4, all)
	if after := storetest.CheckRollups(t, pin, store.Scope{}, store.TimeRange{}); after != before {
		t.Error("the answers of a pinned engine changed when a rollup was written")
	}
	one.Count("later")
	if after := storetest.CheckRollups(t, pin, store.Scope{}, store.TimeRange{}); after != before {
		t.Error("the answers of a pinned engine changed when an insert began to count")
	}
	if now := storetest.CheckRollups(t, one.Pin(), store.Scope{}, store.TimeRange{}); now == before {
		t.Error("an insert that counts is not in the answers")
	}
	agree(t, one, start)

	// An insert that is repeated after it went well counts once.
	for range 2 {
		if err := one.Insert(t.Context(), "twice", batches[5:6]); err != nil {
			t.Fatal(err)
		}
	}
	one.Count("twice")
	one.Seal()
	rolled(t, server, to, 5, all+batches[5].Len())
	agree(t, one, start)

	// What another process stored under the same token is not in this one's rollups, though it was told that the server has it.
	three := open(t, clickhouse.Options{Target: to})
	if err := three.Insert(t.Context(), "twice", batches[5:6]); err != nil {
		t.Fatal(err)
	}
	three.Count("twice")
	accept(t, three, batches[6])
	if err := three.Close(); err != nil {
		t.Fatal(err)
	}
	agree(t, one, start)
	rolled(t, server, to, 5, all+batches[5].Len())
	accept(t, one, batches[7])
	agree(t, one, start)

	// Without the rollups everything is there, read from the spans.
	server.Run(t, "TRUNCATE TABLE "+to.Database+".rollups")
	fresh := open(t, clickhouse.Options{Target: to})
	defer fresh.Close()
	agree(t, fresh, start)
}

// TestRollupsAtClose: a window that is being written when the engine is closed is written all the same.
func TestRollupsAtClose(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	e := open(t, clickhouse.Options{Target: to})
	accept(t, e, storetest.Batch(t, "1 a - front server get 0s 1ms"))
	e.Interrupt()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	rolled(t, server, to, 1, 1)
}

// TestRollupsOfOlderDatabase: the table is made beside those of a Spanloom that had none; who may not make it works without.
func TestRollupsOfOlderDatabase(t *testing.T) {
	server := clickhouseserver.Start(t, users)
	owner := parse(t, "clickhouse://owner@"+server.Addr+"/shared", "top secret")
	open(t, clickhouse.Options{Target: owner}).Close()
	server.Run(t, "DROP TABLE shared.rollups")
	batches, start := engines.Traffic(time.Now(), 240, 2)

	writer := open(t, clickhouse.Options{Target: parse(t, "clickhouse://writer@"+server.Addr+"/shared", "w")})
	accept(t, writer, batches[0])
	if _, done, err := writer.Rollups(t.Context(), store.Scope{}, store.TimeRange{}); done.Complete || err != nil {
		t.Errorf("rollups without their table: %v, %v", done, err)
	}
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
	again := open(t, clickhouse.Options{Target: owner, Retention: 48 * time.Hour})
	defer again.Close()
	accept(t, again, batches[1])
	again.Seal()
	rolled(t, server, owner, 1, batches[1].Len())
	agree(t, again, start)
	if text := server.Run(t, "SELECT engine_full FROM system.tables WHERE name = 'rollups'"); !strings.Contains(text, "TTL Day + toIntervalSecond(259200)") {
		t.Errorf("the rollups have another retention: %s", text)
	}
}

// TestRollupsAfterLostAnswer: what the server took of an insert that seemed to fail is counted once.
func TestRollupsAfterLostAnswer(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	p := startProxy(t, server.Addr, nil)
	to := target(t, p.addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	batches, start := engines.Traffic(time.Now(), 240, 3)
	accept(t, e, batches[0])
	p.answers.Store(100)
	if err := e.Accept(t.Context(), batches[1]); err == nil {
		t.Fatal("no answer was lost")
	}
	p.answers.Store(0)
	accept(t, e, batches[2])
	e.Seal()
	rolled(t, server, to, 1, batches[2].Len())
	agree(t, e, start)
	if n := server.Number(t, "SELECT count() FROM "+to.Database+".spans"); n != batches[0].Len()+batches[1].Len()+batches[2].Len() {
		t.Errorf("%d spans", n)
	}
}

// TestMapFromRollups: what people see of rates and calls is the same from rollups and from a scan, also where a window cuts minutes.
func TestMapFromRollups(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	one, two := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer two.Close()
	batches, start := engines.Traffic(time.Now(), 240, 6)
	for i, b := range batches {
		e := []*clickhouse.Engine{one, two}[i%2]
		accept(t, e, b)
		if i < 3 {
			e.Seal()
			rolled(t, server, to, i+1, server.Number(t, "SELECT count() FROM "+to.Database+".spans"))
		}
	}
	answers := func(r store.Reader, tr store.TimeRange) string {
		q := query.New(query.Options{Reader: r})
		calls, err := q.Map(t.Context(), store.Scope{}, query.MapQuery{Range: tr})
		if err != nil || !calls.Complete || len(calls.Edges) < 10 {
			t.Fatal(calls, err)
		}
		rates, err := q.Services(t.Context(), store.Scope{}, query.ServicesQuery{Range: tr})
		if err != nil || !rates.Complete {
			t.Fatal(rates, err)
		}
		text, err := json.MarshalIndent([]any{calls.Nodes, calls.Edges, rates.Items}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, tr := range []store.TimeRange{
		{From: start.UnixNano(), To: start.Add(5 * time.Minute).UnixNano()},
		{From: start.Add(31 * time.Second).UnixNano(), To: start.Add(200 * time.Second).UnixNano()},
	} {
		if got, want := answers(one, tr), answers(struct{ store.Reader }{one}, tr); got != want {
			t.Errorf("in %v\n%s\na scan says\n%s", tr, got, want)
		}
	}
}
