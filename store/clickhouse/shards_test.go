package clickhouse_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
)

// over names a database of its own on the shards of a cluster.
func over(t testing.TB, servers []*clickhouseserver.Server) *clickhouse.Target {
	t.Helper()
	to, err := clickhouse.ParseDSN(fmt.Sprintf("clickhouse://%s,%s/test%d?cluster=%s", servers[0].Addr, servers[1].Addr, databases.Add(1), clickhouseserver.Cluster),
		func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestConformanceShards(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 2)
	storetest.Run(t, func(t *testing.T, now func() time.Time) store.Engine {
		return open(t, clickhouse.Options{Target: over(t, servers), Now: now})
	})
}

// TestModelShards is TestModel on two shards.
func TestModelShards(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	model(t, func(t *testing.T) *clickhouse.Target { return over(t, servers) }, servers...)
}

// many is a batch of so many traces of one span each.
func many(t testing.TB, from, n int) *span.Batch {
	var w strings.Builder
	for i := range n {
		fmt.Fprintf(&w, "%x 1 - front server get %ds 1ms i=%d\n", from+i, i%60, i)
	}
	return storetest.Batch(t, w.String())
}

// TestShardsDivide stores traces where a Distributed table would put them, whole, in the shards' own tables.
func TestShardsDivide(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 2)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), many(t, 1, 300)); err != nil {
		t.Fatal(err)
	}
	if err := e.Accept(t.Context(), many(t, 1, 300)); err != nil { // again: a trace stays together
		t.Fatal(err)
	}
	for i, s := range servers {
		if got, want := s.Number(t, "SELECT count() FROM "+to.Database+".spans"), 200*(i+1); got != want {
			t.Errorf("shard %d has %d rows, want %d", i+1, got, want)
		}
		// What an insert into the Distributed table puts on a shard.
		s.Run(t, "CREATE TABLE "+to.Database+".ids (TraceLow UInt64) ENGINE = MergeTree ORDER BY ()")
	}
	servers[0].Run(t, "INSERT INTO FUNCTION cluster("+clickhouseserver.Cluster+", "+to.Database+".ids, TraceLow) SELECT number + 1 FROM numbers(300) SETTINGS distributed_foreground_insert = 1")
	for i, s := range servers {
		const ids = "SELECT arraySort(groupUniqArray(TraceLow)) FROM "
		if got, want := s.Run(t, ids+to.Database+".spans"), s.Run(t, ids+to.Database+".ids"); got != want {
			t.Errorf("shard %d has traces %s, a Distributed table gives it %s", i+1, got, want)
		}
	}
}

// withUsers is the configuration of a cluster of servers with the users of users, whose profile has these settings.
func withUsers(profile string, addrs ...string) string {
	_, cluster, _ := strings.Cut(clickhouseserver.ClusterConfig([]int{1, 1}, addrs...), "<clickhouse>")
	text := strings.Replace(users, "<profiles><default/>", "<profiles><default>"+profile+"</default>", 1)
	return strings.Replace(text, "</clickhouse>", cluster, 1)
}

// TestTraceOnTwoShards reads traces of which each shard has a part, as they are after shards were added or weights changed, as a user whose profile
// lets servers rely on the division.
func TestTraceOnTwoShards(t *testing.T) {
	servers := []*clickhouseserver.Server{clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")}
	for _, s := range servers {
		s.Configure(t, withUsers("<optimize_skip_unused_shards>1</optimize_skip_unused_shards><distributed_group_by_no_merge>1</distributed_group_by_no_merge>",
			servers[0].Addr, servers[1].Addr))
	}
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	for i, s := range servers {
		alone := *to
		alone.Hosts, alone.Cluster = []string{s.Addr}, ""
		one := open(t, clickhouse.Options{Target: &alone})
		if err := one.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("1 %d - front server get %ds 1ms\n2 %d - front server get 0s 1ms", i+1, 100*i, i+1))); err != nil {
			t.Fatal(err)
		}
		one.Close()
	}
	id := span.TraceIDFromUint64s(0, 1)
	rows := 0
	for b, err := range e.Trace(t.Context(), store.Scope{}, id, store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows += b.Len()
	}
	if rows != 2 {
		t.Errorf("a look-up finds %d spans, want 2", rows)
	}
	q := store.Search{Limit: 5}
	q.TraceDuration.Min = int64(50 * time.Second)
	page, err := e.Search(t.Context(), store.Scope{}, &q)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Traces) != 1 || page.Traces[0].TraceID != id || page.Traces[0].Spans != 2 {
		t.Errorf("traces of 50 s: %v", storetest.Summaries(page.Traces))
	}
	list, done, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
	if err != nil || !done.Complete || len(list) != 1 || list[0].Spans != 4 {
		t.Errorf("services %v %v %v", list, done, err)
	}
}

func TestShardsRefused(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	refused := func(to *clickhouse.Target, want ...string) {
		t.Helper()
		_, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: to})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Invalid || p.Field != "clickhouse-dsn" || p.Hint == "" {
			t.Errorf("%v, want a refusal with %q", err, want)
			return
		}
		for _, text := range want {
			if !strings.Contains(p.Error()+" "+p.Hint, text) {
				t.Errorf("%v (%s), want %q", err, p.Hint, text)
			}
		}
	}
	to := over(t, servers)
	to.Cluster = "three"
	refused(to, "cluster=three is no cluster of "+servers[0].Addr, "the servers know: "+clickhouseserver.Cluster)

	for _, c := range []struct{ statement, want string }{
		{"CREATE TABLE %s.spans (x UInt8) ENGINE = Memory", "is not Spanloom's"},
		{"CREATE TABLE %s.documents (x UInt8) ENGINE = Memory COMMENT 'spanloom schema 7: documents'", "has schema 7, this Spanloom writes 1"},
		{"CREATE TABLE %s.spans_distributed (x UInt8) ENGINE = Memory COMMENT 'spanloom schema 1: spans_distributed'", "is Memory, not Distributed('" + clickhouseserver.Cluster},
	} {
		to := over(t, servers)
		servers[1].Run(t, "CREATE DATABASE "+to.Database)
		servers[1].Run(t, fmt.Sprintf(c.statement, to.Database))
		refused(to, c.want, " on shard 2 ("+servers[1].Addr+")")
	}

	// Two servers of one shard that do not share their rows: a question would be answered by either.
	one := clickhouseserver.Start(t, fmt.Sprintf("<clickhouse><remote_servers><copies><shard><replica><host>127.0.0.1</host><port>%s</port></replica>"+
		"<replica><host>127.0.0.1</host><port>%s</port></replica></shard></copies></remote_servers></clickhouse>", port(servers[0].Addr), port(servers[1].Addr)))
	copies := parse(t, "clickhouse://"+one.Addr+"/copies?cluster=copies", "")
	refused(copies, "table `copies`.spans is missing on shard 1 ("+servers[0].Addr+", "+servers[1].Addr+"), a shard of several replicas", "schema --on-cluster")
	open(t, clickhouse.Options{Target: parse(t, "clickhouse://"+servers[0].Addr+"/copies", "")}).Close()
	refused(copies, "is a MergeTree, and the replicas of this shard do not share its rows")
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// TestShardsRetention sets the TTL on every shard.
func TestShardsRetention(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	for _, keep := range []time.Duration{0, time.Hour, 2 * time.Hour} {
		open(t, clickhouse.Options{Target: to, Retention: keep}).Close()
		for i, s := range servers {
			text := s.Run(t, "SELECT engine_full FROM system.tables WHERE name = 'spans' AND database = '"+to.Database+"'")
			if want := fmt.Sprintf(" TTL toDateTime(Received) + toIntervalSecond(%d) ", int(keep.Seconds())); strings.Contains(text, want) != (keep > 0) {
				t.Errorf("shard %d keeps spans for %s: %s", i+1, keep, text)
			}
		}
	}
}

// TestShardsTLS asks shards by TLS and with a password: hosts and ports are those that the server of the DSN knows, which differ from what the shards call each
// other.
func TestShardsTLS(t *testing.T) {
	shards := []*clickhouseserver.Server{clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")}
	for _, s := range shards {
		s.Configure(t, withUsers("", shards[0].Addr, shards[1].Addr))
	}
	cert, ca := certificate(t)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	entry := clickhouseserver.Start(t, withUsers("", startProxy(t, shards[0].Addr, conf).addr, startProxy(t, shards[1].Addr, conf).addr))
	dsn := "clickhouse://owner@" + startProxy(t, entry.Addr, conf).addr + "/secure?cluster=" + clickhouseserver.Cluster + "&secure=true"
	e := open(t, clickhouse.Options{Target: parse(t, dsn+"&ca_file="+ca, "top secret")})
	defer e.Close()
	if err := e.Accept(t.Context(), many(t, 1, 10)); err != nil {
		t.Fatal(err)
	}
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 20})
	if err != nil || !page.Complete || len(page.Traces) != 10 {
		t.Errorf("%+v %v", page, err)
	}
	for i, s := range shards {
		if n := s.Number(t, "SELECT count() FROM secure.spans"); n != 5 {
			t.Errorf("shard %d has %d spans, want 5", i+1, n)
		}
	}
	if _, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: parse(t, dsn, "top secret")}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}
