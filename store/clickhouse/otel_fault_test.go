package clickhouse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// exporter is a version of the collector's exporter: the tables that it makes, by what matters in them.
type exporter struct {
	name           string
	spans          string // more columns of spans
	duration       string
	order          string
	lookup         string // columns and order of the lookup table
	server, failed string // words of a kind and a status
	scope          bool
}

var exporters = []exporter{
	{name: "2023", duration: "Int64", order: "(ServiceName, SpanName, toUnixTimestamp(Timestamp), TraceId)",
		lookup: "Start DateTime64(9), End DateTime64(9), INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1) ENGINE = MergeTree ORDER BY (TraceId, toUnixTimestamp(Start))",
		server: "SPAN_KIND_SERVER", failed: "STATUS_CODE_ERROR"},
	{name: "2024", duration: "UInt64", order: "(ServiceName, SpanName, toDateTime(Timestamp))", scope: true,
		lookup: "Start DateTime, End DateTime, INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1) ENGINE = MergeTree PARTITION BY toDate(Start) ORDER BY (TraceId, Start)",
		server: "Server", failed: "Error"},
	{name: "2026", duration: "UInt64", order: "(ServiceName, SpanName, toDateTime(Timestamp), Timestamp)", scope: true,
		spans:  ", SpanAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(SpanAttributes, 'Array(Tuple(String, String))')), Cluster String DEFAULT 'a'",
		lookup: "Start SimpleAggregateFunction(min, DateTime), End SimpleAggregateFunction(max, DateTime)) ENGINE = AggregatingMergeTree PARTITION BY toStartOfWeek(Start) ORDER BY TraceId",
		server: "Server", failed: "Error"},
}

// create makes the exporter's tables, with a TTL of ten years.
func (x exporter) create(t *testing.T, server *clickhouseserver.Server, database string) {
	t.Helper()
	scope := ""
	if x.scope {
		scope = "ScopeName String, ScopeVersion String, "
	}
	const attributes = "Map(LowCardinality(String), String)"
	server.Run(t, "CREATE DATABASE "+database)
	server.Run(t, "CREATE TABLE "+database+".otel_traces (Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String, "+
		"SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String), ResourceAttributes "+attributes+", "+scope+
		"SpanAttributes "+attributes+", Duration "+x.duration+", StatusCode LowCardinality(String), StatusMessage String, "+
		"Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes "+attributes+"), "+
		"Links Nested (TraceId String, SpanId String, TraceState String, Attributes "+attributes+")"+x.spans+", "+
		"INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1, INDEX idx_duration Duration TYPE minmax GRANULARITY 1) "+
		"ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY "+x.order+" TTL toDateTime(Timestamp) + toIntervalDay(3650) SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1")
	server.Run(t, "CREATE TABLE "+database+".otel_traces_trace_id_ts (TraceId String, "+x.lookup)
	server.Run(t, "CREATE MATERIALIZED VIEW "+database+".otel_traces_trace_id_ts_mv TO "+database+".otel_traces_trace_id_ts AS SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM "+
		database+".otel_traces WHERE TraceId != '' GROUP BY TraceId")
}

// insert stores two spans as the exporter does.
func (x exporter) insert(t *testing.T, server *clickhouseserver.Server, database string) {
	t.Helper()
	columns, scope, inSpan := "", "", ", 'otel.scope.name': 'lib', 'otel.scope.version': '1.2'"
	if x.scope {
		columns, scope, inSpan = "ScopeName, ScopeVersion, ", "'lib', '1.2', ", ""
	}
	server.Run(t, "INSERT INTO "+database+".otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, "+columns+
		"SpanAttributes, Duration, StatusCode, StatusMessage, Events.Timestamp, Events.Name, Events.Attributes, Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes) VALUES "+
		"(toDateTime64('2026-01-01 00:00:01.000000001', 9, 'UTC'), 'ab000000000000000000000000000001', '000000000000000a', '', 'a=1', 'GET /', '"+x.server+"', 'front', "+
		"{'service.name': 'front', 'k8s.namespace.name': 'shop', 'process.pid': '7'}, "+scope+"{'http.status_code': '503', 'flag': 'true', 'version': '1.1', 'tags': '[\"a\",1]'"+inSpan+"}, "+
		"5000000, '"+x.failed+"', 'no way', [toDateTime64('2026-01-01 00:00:01.002', 9, 'UTC')], ['exception'], [{'n': '1'}], "+
		"['cd000000000000000000000000000002'], ['000000000000000b'], ['x=y'], [{'k': 'v'}]), "+
		"(toDateTime64('2026-01-01 00:00:02', 9, 'UTC'), 'ab000000000000000000000000000001', '000000000000000b', '000000000000000a', '', 'query', 'Unspecified', 'db', "+
		"{'service.name': 'db'}, "+scope+"{}, 1000, 'Unset', '', [], [], [], [], [], [], [])")
}

// TestExporters reads what each version of the exporter wrote, and writes beside it.
func TestExporters(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	for _, x := range exporters {
		t.Run(x.name, func(t *testing.T) {
			to := otelTarget(t, server.Addr)
			x.create(t, server, to.Database)
			x.insert(t, server, to.Database)
			before := server.Run(t, "SELECT engine_full FROM system.tables WHERE database = '"+to.Database+"' AND name = 'otel_traces'")
			var told []string
			e := open(t, clickhouse.Options{Target: to, Retention: time.Hour, Naming: naming, Log: func(m string) { told = append(told, m) }})
			defer e.Close()
			// What others made stays as it is, but for the one setting.
			after := server.Run(t, "SELECT engine_full FROM system.tables WHERE database = '"+to.Database+"' AND name = 'otel_traces'")
			if after != strings.TrimSpace(before)+", non_replicated_deduplication_window = 1000\n" && after != strings.TrimSpace(before)+", non_replicated_deduplication_window = 1000" {
				t.Errorf("the table was %q, is %q", before, after)
			}
			if text := strings.Join(told, "\n"); !strings.Contains(text, "set non_replicated_deduplication_window") || !strings.Contains(text, "its TTL is toDateTime(Timestamp) + toIntervalDay(3650)") {
				t.Errorf("told %q", told)
			}

			attrs := "http.status_code=503 flag=true version=\"1.1\" tags=\"[\\\"a\\\",1]\""
			if !x.scope {
				attrs += " otel.scope.name=lib otel.scope.version=\"1.2\""
			}
			want := "ab000000000000000000000000000001 a - front server \"GET /\" 1.000000001s 5ms " + attrs + " resource:k8s.namespace.name=shop resource:process.pid=\"7\" @scope=lib @scope.version=1.2 @status=error @message=\"no way\" @state=a=1 @group=front @namespace=shop\n" +
				"  event exception 1.002s n=1\n  link cd000000000000000000000000000002 b k=v @state=x=y\n" +
				"ab000000000000000000000000000001 b a db unspecified query 2s 1us @group=db\n"
			if x.scope {
				want = strings.Replace(want, "1us @group", "1us @scope=lib @scope.version=1.2 @group", 1)
			}
			if err := e.Accept(t.Context(), storetest.Batch(t, "ab000000000000000000000000000001 c b db client more 3s 1ms k=1 error=true")); err != nil {
				t.Fatal(err)
			}
			trace := func(id string) string {
				var read []*span.Batch
				parsed, err := span.ParseTraceID(id)
				if err != nil {
					t.Fatal(err)
				}
				for b, err := range e.Trace(t.Context(), store.Scope{}, parsed, store.TimeRange{}) {
					if err != nil {
						t.Fatal(err)
					}
					read = append(read, b.Clone())
				}
				return storetest.Print(read...)
			}
			want += "ab000000000000000000000000000001 c b db client more 3s 1ms k=1 error=true @group=db\n"
			wanted := storetest.Print(storetest.Batch(t, want))
			if got := trace("ab000000000000000000000000000001"); got != wanted {
				t.Errorf("got:\n%swant:\n%s", got, wanted)
			}
			// The view is gone, as where somebody made it later: the spans are found.
			server.Run(t, "TRUNCATE TABLE "+to.Database+".otel_traces_trace_id_ts")
			if got := trace("ab000000000000000000000000000001"); got != wanted {
				t.Errorf("without the view's rows:\n%swant:\n%s", got, wanted)
			}

			attr := func(scope store.FieldScope, key string, op store.Op, v store.Operand) store.Expr {
				return store.Cond{Field: store.Field{In: scope, Key: key}, Op: op, Value: v}
			}
			own := func(key, text string) store.Expr { return attr(store.Intrinsic, key, store.Eq, store.Text(text)) }
			for name, c := range map[string]struct {
				match store.Expr
				n     int
			}{
				"status code":  {attr(store.InSpan, "http.status_code", store.Ge, store.Int(500)), 1},
				"equal":        {attr(store.InSpan, "http.status_code", store.Eq, store.Int(503)), 1},
				"other":        {attr(store.InSpan, "http.status_code", store.Eq, store.Int(504)), 0},
				"resource":     {attr(store.InResource, "process.pid", store.Eq, store.Text("7")), 1},
				"event":        {attr(store.InEvent, "n", store.Eq, store.Int(1)), 1},
				"link":         {attr(store.InLink, "k", store.Eq, store.Text("v")), 1},
				"kind":         {own(store.FieldKind, "server"), 1},
				"failed":       {attr(store.Intrinsic, store.FieldError, store.Eq, store.Bool(true)), 2},
				"status":       {own(store.FieldStatus, "error"), 1},
				"duration":     {attr(store.Intrinsic, store.FieldDuration, store.Lt, store.Int(5_000_000)), 2},
				"root":         {attr(store.Intrinsic, store.FieldRoot, store.Eq, store.Bool(true)), 1},
				"service":      {store.ServiceIs("db"), 2},
				"scope":        {own(store.FieldScopeName, "lib"), map[bool]int{true: 2, false: 1}[x.scope]},
				"trace and id": {store.And{own(store.FieldTraceID, "ab000000000000000000000000000001"), own(store.FieldSpanID, "c")}, 1},
			} {
				page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5, Match: c.match})
				if err != nil {
					t.Fatal(name, err)
				}
				matched := 0
				for _, s := range page.Traces {
					matched += s.Matched
				}
				if matched != c.n {
					t.Errorf("%s: %d spans, want %d", name, matched, c.n)
				}
			}
			services, _, err := e.Services(t.Context(), store.Scope{}, store.TimeRange{})
			if err != nil || len(services) != 2 || services[0].Name != "db" || services[0].Spans != 2 || services[1].Namespace != "shop" {
				t.Error(services, err)
			}
			keys, _, err := e.Keys(t.Context(), store.Scope{}, store.KeysQuery{})
			if err != nil || !slices.Contains(keys, store.Key{Key: "http.status_code", In: store.InSpan, Type: span.TypeInt, N: 1}) {
				t.Error(keys, err)
			}
			// Others read what Spanloom wrote as they read their own.
			if got := server.Run(t, "SELECT SpanKind, StatusCode, SpanAttributes['k'], ResourceAttributes['service.name'], Duration FROM "+to.Database+".otel_traces WHERE SpanId = '000000000000000c'"); strings.TrimSpace(got) != "Client\tUnset\t1\tdb\t1000000" {
				t.Errorf("Spanloom's row is %q", got)
			}
		})
	}
}

// TestOtelTablesOfOthers: what is not the exporter's is named, and nothing of it is changed.
func TestOtelTablesOfOthers(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	for _, c := range []struct{ name, change, want, hint string }{
		{"a column is missing", "ALTER TABLE %s.otel_traces DROP COLUMN StatusMessage", "it lacks StatusMessage String", "?schema=otel&table="},
		{"a column of another type", "ALTER TABLE %s.otel_traces MODIFY COLUMN TraceState UInt8", "TraceState is UInt8, not String", "?schema=otel&table="},
		{"attributes in JSON", "ALTER TABLE %s.otel_traces DROP COLUMN SpanAttributes; ALTER TABLE %s.otel_traces ADD COLUMN SpanAttributes JSON", "SpanAttributes is JSON", "cannot be read"},
		{"a view", "RENAME TABLE %s.otel_traces TO %s.spans; CREATE VIEW %s.otel_traces AS SELECT * FROM %s.spans", "is a View", "a MergeTree"},
	} {
		to := otelTarget(t, server.Addr)
		exporters[1].create(t, server, to.Database)
		for statement := range strings.SplitSeq(strings.ReplaceAll(c.change, "%s", to.Database), "; ") {
			server.Run(t, statement)
		}
		_, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: to})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Invalid || !strings.Contains(p.Message, c.want) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestOtelRights: a user without the right to change the table, and one who may only read.
func TestOtelRights(t *testing.T) {
	server := clickhouseserver.Start(t, strings.Replace(users, "<reader><readonly>1</readonly></reader>", "<reader><readonly>2</readonly></reader>", 1))
	exporters[1].create(t, server, "shared")
	exporters[1].insert(t, server, "shared")
	p := startProxy(t, server.Addr, nil)
	var told []string
	openAs := func(user, password string) *clickhouse.Engine {
		told = nil
		return open(t, clickhouse.Options{Target: parse(t, "clickhouse://"+user+"@"+p.addr+"/shared?schema=otel", password), Naming: naming,
			Log: func(m string) { told = append(told, m) }})
	}
	reader := openAs("reader", "r")
	defer reader.Close()
	if page, err := reader.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err != nil || len(page.Traces) != 1 {
		t.Errorf("a reader finds %v: %v", page, err)
	}
	if doc, err := reader.Load(t.Context(), store.Scope{}, "x"); err != nil || doc.Version != 0 {
		t.Errorf("without a table of documents: %v %v", doc, err)
	}
	if _, err := reader.Save(t.Context(), store.Scope{}, "x", nil, 0); problem.Of(err) == nil || problem.Of(err).Kind != problem.Unsupported {
		t.Errorf("without a table of documents: %v", err)
	}

	writer := openAs("writer", "w")
	defer writer.Close()
	if text := strings.Join(told, "\n"); !strings.Contains(text, "is looked for before it is sent again") || !strings.Contains(text, "are not kept") {
		t.Errorf("told %q", told)
	}
	// The server takes the insert and its answer is lost: it is looked for, and not sent again.
	var w strings.Builder
	for i := range 500 {
		fmt.Fprintf(&w, "%x 1 - front server get 0s 1ms http.url=http://example.test/%d i=%d\n", i+1, i*7919, i)
	}
	b := storetest.Batch(t, w.String())
	rows := func() int {
		return server.Number(t, "SELECT count() FROM shared.otel_traces WHERE ServiceName = 'front' AND SpanName = 'get'")
	}
	p.answers.Store(1)
	if err := writer.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 500 || p.cuts.Load() != 1 {
		t.Errorf("%d rows after %d cuts, want 500 after 1", n, p.cuts.Load())
	}
	// Of an insert that was cut in its middle nothing is there, and it is sent again.
	p.halves.Store(1)
	if err := writer.Accept(t.Context(), storetest.Batch(t, strings.ReplaceAll(w.String(), " 1 - ", " 2 - "))); err != nil {
		t.Fatal(err)
	}
	if n := rows(); n != 1000 || p.cuts.Load() != 2 {
		t.Errorf("%d rows after %d cuts, want 1000 after 2", n, p.cuts.Load())
	}
}

// TestOtelOwnTables: tables that Spanloom made have its retention, and tell an insert that comes twice.
func TestOtelOwnTables(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := otelTarget(t, server.Addr)
	for _, keep := range []time.Duration{72 * time.Hour, 24 * time.Hour, 0} {
		openOtel(t, clickhouse.Options{Target: to, Retention: keep}).Close()
		for name, column := range map[string]string{"otel_traces": "toDateTime(Timestamp)", "otel_traces_trace_id_ts": "Start"} {
			want := fmt.Sprintf("TTL %s + toIntervalSecond(%d)", column, int64(keep/time.Second))
			got := server.Run(t, "SELECT engine_full FROM system.tables WHERE name = '"+name+"' AND database = '"+to.Database+"'")
			if strings.Contains(got, want) != (keep > 0) || strings.Contains(got, "TTL") != (keep > 0) {
				t.Errorf("%s: %s is %q", keep, name, got)
			}
		}
	}
	// As after a start that ended between two statements.
	server.Run(t, "DROP TABLE "+to.Database+".otel_traces_trace_id_ts_mv")
	e := openOtel(t, clickhouse.Options{Target: to})
	defer e.Close()
	b := storetest.Batch(t, "1 a - front server get 0s 1ms\n1 b a front server get 24h 1ms")
	for range 3 { // as after answers that were lost
		if err := e.Insert(t.Context(), "token", []*span.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	e.Count("token")
	if n := server.Number(t, "SELECT count() FROM "+to.Database+".otel_traces"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	if n := server.Number(t, "SELECT uniqExact(TraceId) FROM "+to.Database+".otel_traces_trace_id_ts"); n != 1 {
		t.Errorf("the view has %d traces, want 1", n)
	}
	if e.Stats().Spans != 2 {
		t.Errorf("stats %+v", e.Stats())
	}
}

// TestOtelNames: a table may be named as SQL does not like it.
func TestOtelNames(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	e := openOtel(t, clickhouse.Options{Target: parse(t, "clickhouse://"+server.Addr+"/my-spans?schema=otel&table=2026-traces", ""), Retention: time.Hour * 1e6})
	defer e.Close()
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms")); err != nil {
		t.Fatal(err)
	}
	if page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err != nil || len(page.Traces) != 1 || page.Traces[0].Spans != 1 {
		t.Error(page, err)
	}
	if version, err := e.Save(t.Context(), store.Scope{}, "colours", []byte("x"), 0); err != nil || version == 0 {
		t.Error(version, err)
	}
}

// TestOtelKilled is TestKilled on the exporter's tables, where the token alone tells an insert that comes twice.
func TestOtelKilled(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := otelTarget(t, server.Addr)
	e := openOtel(t, clickhouse.Options{Target: to})
	defer e.Close()
	engines.Killed(t, e, server, 3, 60*time.Second)
	if twice := server.Number(t, "SELECT count() - uniqExact(TraceId, SpanId) FROM "+to.Database+".otel_traces"); twice > 0 {
		t.Errorf("%d rows are there twice", twice)
	}
}
