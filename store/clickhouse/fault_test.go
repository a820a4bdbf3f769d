package clickhouse_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// users is a server with passwords: owner may do everything, reader may only read, writer may not create. The user default is the
// launcher's own.
const users = `<clickhouse>
  <user_directories><users_xml><path>config.xml</path></users_xml></user_directories>
  <profiles><default/><reader><readonly>1</readonly></reader></profiles>
  <quotas><default/></quotas>
  <users>
    <default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default>
    <owner><password>top secret</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></owner>
    <reader><password>r</password><networks><ip>::/0</ip></networks><profile>reader</profile><quota>default</quota></reader>
    <writer><password>w</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
      <grants><query>GRANT SELECT, INSERT ON shared.*</query><query>GRANT SELECT ON system.tables</query></grants></writer>
  </users>
</clickhouse>`

func parse(t *testing.T, dsn, password string) *clickhouse.Target {
	t.Helper()
	to, err := clickhouse.ParseDSN(dsn, func(name string) string {
		if name != "SPANLOOM_CLICKHOUSE_PASSWORD" {
			t.Errorf("asks for %s", name)
		}
		return password
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestPasswordsAndRights(t *testing.T) {
	server := clickhouseserver.Start(t, users)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(server.Output())
		}
	})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("top secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const login = "check user and password"
	refused := func(name, dsn, password, want string) {
		t.Helper()
		e, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: parse(t, dsn, password)})
		if want == login {
			// The library that stands for a server ends some time after it refused a login on the native port.
			server.Kill()
			server.Restart(t)
		}
		if err == nil {
			e.Close()
			t.Errorf("%s: opens", name)
			return
		}
		var p *problem.Problem
		if !errors.As(err, &p) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "top secret") {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	refused("no password", "clickhouse://owner@"+server.Addr+"/shared", "", login)
	refused("a wrong password", "clickhouse://owner@"+server.Addr+"/shared", "wrong", login)
	refused("an unknown user", "clickhouse://nobody@"+server.Addr+"/shared", "x", login)
	refused("a reader of a database that is not there", "clickhouse://reader@"+server.Addr+"/shared", "r", "the user may only read")
	refused("a writer of a database that is not there", "clickhouse://writer@"+server.Addr+"/shared", "w", "spanloom store schema")
	refused("nobody there", "clickhouse://127.0.0.1:1/shared", "", "check that the server runs")

	owner := open(t, clickhouse.Options{Target: parse(t, "clickhouse://owner@"+server.Addr+"/shared?password_file="+file, "")})
	defer owner.Close()
	writer := open(t, clickhouse.Options{Target: parse(t, "clickhouse://writer@"+server.Addr+"/shared", "w")})
	defer writer.Close()
	if err := writer.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms")); err != nil {
		t.Error(err)
	}
	reader := open(t, clickhouse.Options{Target: parse(t, "clickhouse://reader@"+server.Addr+"/shared", "r")})
	defer reader.Close()
	// readonly=1 forbids settings too, which every question sends.
	if _, err := reader.Search(t.Context(), store.Scope{}, &store.Search{Limit: 5}); err == nil || !strings.Contains(err.Error(), "readonly=2") {
		t.Errorf("a reader with readonly=1 asks: %v", err)
	}
	err := reader.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms"))
	if err == nil || !strings.Contains(err.Error(), "may only read") {
		t.Errorf("a reader stores: %v", err)
	}
}

func TestTablesOfOthers(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	for _, c := range []struct{ name, statement, want string }{
		{"foreign", "CREATE TABLE %s.spans (x UInt8) ENGINE = Memory", "is not Spanloom's"},
		{"foreign documents", "CREATE TABLE %s.documents (x UInt8) ENGINE = Memory COMMENT 'letters'", `(its comment is "letters")`},
		{"of a later version", "CREATE TABLE %s.spans (x UInt8) ENGINE = Memory COMMENT 'spanloom schema 7: spans'", "has schema 7, this Spanloom writes 1"},
	} {
		to := target(t, server.Addr)
		server.Run(t, "CREATE DATABASE "+to.Database)
		server.Run(t, fmt.Sprintf(c.statement, to.Database))
		_, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: to})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Kind != problem.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// Tables that go while the engine runs.
	to := target(t, server.Addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	server.Run(t, "DROP TABLE "+to.Database+".spans")
	err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms"))
	if err == nil || !strings.Contains(err.Error(), "the tables are gone") {
		t.Errorf("dropped: %v", err)
	}
}

func TestRetention(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	ttl := func() string {
		text := server.Run(t, "SELECT engine_full FROM system.tables WHERE name = 'spans' AND database = '"+to.Database+"'")
		_, text, _ = strings.Cut(text, " TTL ")
		text, _, _ = strings.Cut(text, " SETTINGS")
		return text
	}
	for _, c := range []struct {
		keep time.Duration
		want string
	}{{0, ""}, {72 * time.Hour, "toDateTime(Received) + toIntervalSecond(259200)"}, {72 * time.Hour, "toDateTime(Received) + toIntervalSecond(259200)"},
		{24 * time.Hour, "toDateTime(Received) + toIntervalSecond(86400)"}, {100 * 365 * 24 * time.Hour, ""}, {0, ""}} {
		e := open(t, clickhouse.Options{Target: to, Retention: c.keep})
		if got := ttl(); got != c.want {
			t.Errorf("%s: TTL %q, want %q", c.keep, got, c.want)
		}
		e.Close()
	}
	// What is older than the retention goes. The clock of the suite lies in the past of every server.
	e := open(t, clickhouse.Options{Target: to})
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms")); err != nil {
		t.Fatal(err)
	}
	e.Close()
	e = open(t, clickhouse.Options{Target: to, Retention: 24 * time.Hour})
	defer e.Close()
	wait.For(t, 60*time.Second, "old spans to go", func() bool {
		server.Run(t, "OPTIMIZE TABLE "+to.Database+".spans FINAL")
		return server.Number(t, "SELECT count() FROM "+to.Database+".spans") == 0
	})
}

// TestGrownLogs has a server that logs inserts and questions, as servers do that are not told otherwise.
func TestGrownLogs(t *testing.T) {
	log := func(name string) string {
		return "<" + name + "><database>system</database><table>" + name + "</table><flush_interval_milliseconds>100</flush_interval_milliseconds></" + name + ">"
	}
	server := clickhouseserver.Start(t, "<clickhouse>"+log("query_log")+log("part_log")+"</clickhouse>")
	to := target(t, server.Addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	const inserts = 200
	for i := range inserts {
		if err := e.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%x a - front server get 0s 1ms", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	server.Run(t, "SYSTEM FLUSH LOGS")
	warning, err := e.GrownLogs(t.Context(), 1)
	for _, part := range []string{"query_log", "part_log", "ALTER TABLE system.query_log MODIFY TTL"} {
		if !strings.Contains(warning, part) {
			t.Errorf("%q does not name %s: %v", warning, part, err)
		}
	}
	for _, name := range []string{"query_log", "part_log"} {
		server.Run(t, "OPTIMIZE TABLE system."+name+" FINAL")
		t.Logf("%s: %d bytes an insert, merged", name, server.Number(t, "SELECT sum(data_compressed_bytes) FROM system.parts WHERE active AND table = '"+name+"'")/inserts)
	}
	if warning, err := e.GrownLogs(t.Context(), 1<<30); warning != "" || err != nil {
		t.Errorf("below the limit: %q %v", warning, err)
	}
	for name := range strings.FieldsSeq("query_log part_log") {
		server.Run(t, "ALTER TABLE system."+name+" MODIFY TTL event_date + INTERVAL 30 DAY")
	}
	if warning, err := e.GrownLogs(t.Context(), 1); warning != "" || err != nil {
		t.Errorf("with a TTL: %q %v", warning, err)
	}
}

// TestKilled kills the server under load and starts it again: what was acknowledged is there, once.
func TestKilled(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	engines.Killed(t, e, server, 3, 60*time.Second)
	if twice := server.Number(t, "SELECT count() - uniqExact(TraceLow, SpanNumber) FROM "+to.Database+".spans"); twice > 0 {
		t.Errorf("%d rows are there twice", twice)
	}
}

// proxy stands between an engine and a server. It can end connections at a chosen moment.
type proxy struct {
	addr string
	// answers is how many inserts' answers are still to be cut: the server has the data, the client never hears of it.
	answers atomic.Int64
	// halves is how many inserts are still to be cut in their middle.
	halves atomic.Int64
	cuts   atomic.Int64
}

func startProxy(t *testing.T, to string, conf *tls.Config) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	p := &proxy{addr: l.Addr().String()}
	var tasks sync.WaitGroup
	ended := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		close(ended)
		tasks.Wait()
	})
	tasks.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			tasks.Go(func() { // servers keep connections to each other
				<-ended
				client.Close()
				server.Close()
			})
			var sent atomic.Int64
			tasks.Go(func() {
				defer server.Close()
				buffer := make([]byte, 32<<10)
				for {
					n, err := client.Read(buffer)
					if sent.Add(int64(n)) > 10<<10 && p.halves.Load() > 0 {
						p.halves.Add(-1)
						p.cuts.Add(1)
						client.Close()
						return
					}
					if _, werr := server.Write(buffer[:n]); err != nil || werr != nil {
						return
					}
				}
			})
			tasks.Go(func() {
				defer client.Close()
				defer server.Close()
				buffer := make([]byte, 32<<10)
				for {
					n, err := server.Read(buffer)
					// Only a block of spans is as large; its answer is what is lost.
					if sent.Load() > 10<<10 && p.answers.Load() > 0 {
						p.answers.Add(-1)
						p.cuts.Add(1)
						const endOfStream = 5 // the packet that ends an answer: the server has the data then, and not before
						for err == nil && buffer[n-1] != endOfStream {
							n, err = server.Read(buffer)
						}
						return
					}
					if sent.Load() > 10<<10 {
						sent.Store(0)
					}
					if _, werr := client.Write(buffer[:n]); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	return p
}

// TestCutConnections cuts the connection in the middle of an insert and after the server took one: it is sent again and stored once.
func TestCutConnections(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	p := startProxy(t, server.Addr, nil)
	to := target(t, p.addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	var w strings.Builder
	for i := range 500 {
		fmt.Fprintf(&w, "%x 1 - front server get 0s 1ms http.url=http://example.test/%d i=%d\n", i+1, i*7919, i)
	}
	b := storetest.Batch(t, w.String())
	p.answers.Store(1)
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if p.cuts.Load() != 1 {
		t.Fatal("no answer was cut")
	}
	if n := server.Number(t, "SELECT count() FROM "+to.Database+".spans"); n != 500 {
		t.Errorf("%d rows, want 500", n)
	}
	// The connection breaks in the middle of a batch: nothing of it is stored before it is sent again.
	p.halves.Store(1)
	if err := e.Accept(t.Context(), storetest.Batch(t, strings.ReplaceAll(w.String(), "http.url=", "half=1 http.url="))); err != nil {
		t.Fatal(err)
	}
	if n := server.Number(t, "SELECT count() FROM "+to.Database+".spans"); n != 1000 || p.cuts.Load() != 2 {
		t.Errorf("%d rows after %d cuts, want 1000 after 2", n, p.cuts.Load())
	}
	// All answers lost: the sender is told to try again. He does, and every span counts once.
	p.answers.Store(100)
	err := e.Accept(t.Context(), b)
	var pr *problem.Problem
	if !errors.As(err, &pr) || !pr.Kind.Retryable() {
		t.Fatalf("all answers lost: %v", err)
	}
	p.answers.Store(0)
	if err := e.Accept(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 1000})
	if err != nil || len(page.Traces) != 500 {
		t.Fatal(len(page.Traces), err)
	}
	for _, s := range page.Traces {
		if s.Spans != 1 {
			t.Errorf("trace %s has %d spans", s.TraceID, s.Spans)
		}
	}
}

// TestHosts takes the second host while the first is away, and goes on when the one it uses dies.
func TestHosts(t *testing.T) {
	one, two := clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")
	to, err := clickhouse.ParseDSN("clickhouse://127.0.0.1:1,"+one.Addr+","+two.Addr+"/both", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms")); err != nil {
		t.Fatal(err)
	}
	// The tables of the second server are made by whoever opens on it.
	other, err := clickhouse.ParseDSN("clickhouse://"+two.Addr+"/both", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	open(t, clickhouse.Options{Target: other}).Close()
	one.Kill()
	if err := e.Accept(t.Context(), storetest.Batch(t, "2 a - front server get 0s 1ms")); err != nil {
		t.Fatal(err)
	}
	if n := two.Number(t, "SELECT count() FROM both.spans"); n != 1 {
		t.Errorf("%d rows on the second host", n)
	}
}

// certificate makes a certificate of 127.0.0.1 and the file of who signed it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestTLS(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	cert, ca := certificate(t)
	p := startProxy(t, server.Addr, &tls.Config{Certificates: []tls.Certificate{cert}})
	good := parse(t, "clickhouse://"+p.addr+"/secure?secure=true&ca_file="+ca, "")
	e := open(t, clickhouse.Options{Target: good})
	if err := e.Accept(t.Context(), storetest.Batch(t, "1 a - front server get 0s 1ms")); err != nil {
		t.Error(err)
	}
	e.Close()
	skip := parse(t, "clickhouse://"+p.addr+"/secure?secure=true&skip_verify=true", "")
	if len(skip.Warnings) != 1 {
		t.Errorf("warnings %q", skip.Warnings)
	}
	open(t, clickhouse.Options{Target: skip}).Close()
	if _, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: parse(t, "clickhouse://"+p.addr+"/secure?secure=true", "")}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	if _, err := clickhouse.Open(t.Context(), clickhouse.Options{Target: parse(t, "clickhouse://"+server.Addr+"/secure?secure=true", "")}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("TLS to a plain port: %v", err)
	}
}

// TestTwoProcesses shares one database: each sees what the other stored, and a page token of one is answered by the other.
func TestTwoProcesses(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	one, two := open(t, clickhouse.Options{Target: to}), open(t, clickhouse.Options{Target: to})
	defer one.Close()
	defer two.Close()
	for i, e := range []*clickhouse.Engine{one, two, one, two} {
		if err := e.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%d a - front server get %ds 1ms", i+1, i))); err != nil {
			t.Fatal(err)
		}
	}
	first, err := one.Search(t.Context(), store.Scope{}, &store.Search{Limit: 2})
	if err != nil || len(first.Traces) != 2 || first.Next == "" {
		t.Fatal(first, err)
	}
	// What the process of the first page stores later is not seen; it is exact, whoever answers.
	if err := one.Accept(t.Context(), storetest.Batch(t, "9 a - front server get 500ms 1ms")); err != nil {
		t.Fatal(err)
	}
	second, err := two.Search(t.Context(), store.Scope{}, &store.Search{Limit: 2, Page: first.Next})
	if err != nil || len(second.Traces) != 2 || second.Traces[0].TraceID[15] != 2 || second.Traces[1].TraceID[15] != 1 {
		t.Fatal(storetest.Summaries(second.Traces), err)
	}
}

// TestClocks has processes whose clocks differ. Within ten seconds nothing is seen of it; a process that is further ahead finds its own spans, and the others
// find them by trace at once and in searches when their clocks are there.
func TestClocks(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	right := open(t, clickhouse.Options{Target: to})
	defer right.Close()
	found := func(e *clickhouse.Engine) (ids []byte) {
		page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Traces {
			if s.Spans != 1 {
				t.Errorf("trace %s has %d spans", s.TraceID, s.Spans)
			}
			ids = append(ids, s.TraceID[15])
		}
		return ids
	}
	for i, ahead := range []time.Duration{0, 5 * time.Second, time.Hour} {
		e := open(t, clickhouse.Options{Target: to})
		defer e.Close()
		e.Ahead(ahead)
		if err := e.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%d a - front server get %ds 1ms", i+1, i))); err != nil {
			t.Fatal(err)
		}
		if own := found(e); len(own) == 0 || own[0] != byte(i+1) {
			t.Errorf("%s ahead: it finds %d, not what it stored", ahead, own)
		}
	}
	if got := found(right); string(got) != "\x02\x01" {
		t.Errorf("found %d, want 2 1", got)
	}
	n := 0
	for b, err := range right.Trace(t.Context(), store.Scope{}, span.TraceIDFromUint64s(0, 3), store.TimeRange{}) {
		if err != nil {
			t.Fatal(err)
		}
		n += b.Len()
	}
	if n != 1 {
		t.Errorf("the trace of the process an hour ahead has %d spans", n)
	}
}
