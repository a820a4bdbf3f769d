package engines_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/realparts"
	"github.com/spanloom/spanloom/internal/wait"
)

const (
	tracesOfBatch = 10
	spansOfTrace  = 5
	spansOfBatch  = tracesOfBatch * spansOfTrace
)

// sender sends batches to one process, one after the other, and knows which were acknowledged.
type sender struct {
	first int // number of its first trace; 100 million lie between two senders

	mu          sync.Mutex
	acked, lost []int // batches: taken, and without an answer or refused
}

// trace is the number of a trace of a batch.
func (s *sender) trace(batch, k int) int { return s.first + batch*tracesOfBatch + k + 1 }

// ackedSpans is how many spans were acknowledged.
func (s *sender) ackedSpans() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked) * spansOfBatch
}

// send posts until stop is closed, or the process is gone.
func (s *sender) send(zipkin string, stop <-chan struct{}) {
	client := http.Client{Timeout: time.Minute}
	for batch := 0; ; batch++ {
		select {
		case <-stop:
			return
		default:
		}
		var spans []string
		now := time.Now().UnixMicro()
		for k := range tracesOfBatch {
			for n := range spansOfTrace {
				parent := ""
				if n > 0 {
					parent = `"parentId":"0000000000000001",`
				}
				spans = append(spans, fmt.Sprintf(`{"traceId":"%016x","id":"%016x",%s"name":"get /x","kind":"SERVER","timestamp":%d,"duration":1000,"localEndpoint":{"serviceName":"web"}}`,
					s.trace(batch, k), n+1, parent, now+int64(n)))
			}
		}
		answer, err := client.Post("http://"+zipkin+"/api/v2/spans", "application/json", strings.NewReader("["+strings.Join(spans, ",")+"]"))
		taken := err == nil && answer.StatusCode == http.StatusAccepted
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		s.mu.Lock()
		if taken {
			s.acked = append(s.acked, batch)
		} else {
			s.lost = append(s.lost, batch)
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// finds reports whether a process shows a trace whole.
func (s *serving) finds(trace int) bool {
	answer, err := http.Get(fmt.Sprintf("http://%s/api/traces/%016x", s.http, trace))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK && strings.Count(string(body), `"spanID"`) >= spansOfTrace
}

// relay stands before a server until the test ends, and gives its address. When a client is killed the server sees the end of a stream: the library that stands
// for a server ends when a connection is reset, which a server of ClickHouse does not.
func relay(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
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
			go func() {
				_, _ = io.Copy(server, client)
				_ = server.(*net.TCPConn).CloseWrite()
			}()
			go func() {
				_, _ = io.Copy(client, server)
				_, _ = io.Copy(io.Discard, server)
				client.Close()
				server.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// TestTwoProcesses has two processes with a queue each before a ClickHouse of two shards. Both are under load when one is killed as by kill -9: the
// other one goes on taking spans and answering; the killed one starts again on its folder and sends what waited. Every acknowledged span is found,
// once. SPANLOOM_TWO sets how many spans each process acknowledges before the kill, meanwhile and afterwards (10,000).
func TestTwoProcesses(t *testing.T) {
	realparts.Lane(t, "real servers")
	step, err := strconv.Atoi(get("SPANLOOM_TWO", "10000"))
	if err != nil {
		t.Fatal(err)
	}
	program := build(t)
	servers := []*clickhouseserver.Server{clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")}
	fronts := []string{relay(t, servers[0].Addr), relay(t, servers[1].Addr)}
	for _, s := range servers {
		s.Configure(t, clickhouseserver.ClusterConfig([]int{1, 1}, fronts...))
	}
	args := []string{"--store", "clickhouse", "--clickhouse-dsn", fmt.Sprintf("clickhouse://%s/two?cluster=%s", strings.Join(fronts, ","), clickhouseserver.Cluster)}
	dirs := []string{filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")}
	killed, other := serve(t, program, dirs[0], args), serve(t, program, dirs[1], args)

	var senders []*sender
	var sending sync.WaitGroup
	stop := make(chan struct{})
	start := func(to *serving) *sender {
		s := &sender{first: len(senders) * 100_000_000}
		senders = append(senders, s)
		sending.Go(func() { s.send(to.zipkin, stop) })
		return s
	}
	more := func(what string, s *sender) {
		t.Helper()
		until := s.ackedSpans() + step
		wait.For(t, 5*time.Minute, what, func() bool { return s.ackedSpans() >= until })
	}
	doomed, living := start(killed), start(other)
	more("spans to be taken by the first process", doomed)
	more("spans to be taken by the second process", living)
	wait.For(t, time.Minute, "the first process to store spans", func() bool { return killed.metrics(t)["spanloom_queue_sent_spans_total"] > 0 })
	more("spans to wait in the first process", doomed)

	killed.kill()
	atKill := doomed.ackedSpans()
	more("spans to be taken while the other process is dead", living)
	living.mu.Lock()
	newest := living.trace(living.acked[len(living.acked)-1], 0)
	living.mu.Unlock()
	if !other.finds(newest) {
		t.Error("the second process does not show what it took just now, while the first is dead")
	}
	if !other.finds(doomed.trace(doomed.acked[0], 0)) {
		t.Error("the second process does not show what the first one stored before it was killed")
	}

	killed = serve(t, program, dirs[0], args)
	waited := killed.metrics(t)
	again := start(killed)
	more("spans to be taken after the restart", again)
	more("spans to be taken after the restart of the other", living)
	close(stop)
	sending.Wait()
	for _, s := range []*serving{killed, other} {
		wait.For(t, 5*time.Minute, "the queue to be empty", func() bool { return s.metrics(t)["spanloom_queue_spans"] == 0 })
	}

	type found struct{ rows, spans int }
	there := make(map[int]found)
	for line := range strings.Lines(servers[0].Run(t, "SELECT TraceLow, count(), uniqExact(SpanNumber) FROM two.spans_distributed GROUP BY TraceLow")) {
		var trace int
		var f found
		if _, err := fmt.Sscan(line, &trace, &f.rows, &f.spans); err != nil {
			t.Fatal(err)
		}
		there[trace] = f
	}
	acked, missing, double, unanswered := 0, 0, 0, 0
	for _, s := range senders {
		for _, batch := range s.acked {
			for k := range tracesOfBatch {
				f := there[s.trace(batch, k)]
				acked, missing, double = acked+spansOfTrace, missing+spansOfTrace-f.spans, double+f.rows-f.spans
			}
		}
		for _, batch := range s.lost {
			for k := range tracesOfBatch {
				f := there[s.trace(batch, k)]
				unanswered, double = unanswered+f.spans, double+f.rows-f.spans
			}
		}
	}
	rows := [2]int{}
	for i, s := range servers {
		rows[i] = s.Number(t, "SELECT count() FROM two.spans")
	}
	t.Logf("| acknowledged | found of these | missing | double | found of requests without an answer | rows on the shards | acknowledged by the first before it was killed | of these and of unanswered ones, waiting in its folder |")
	t.Logf("| %d | %d | %d | %d | %d | %d + %d | %d | %.0f |", acked, acked-missing, missing, double, unanswered, rows[0], rows[1], atKill,
		waited["spanloom_queue_spans"]+waited["spanloom_queue_sent_spans_total"])
	if missing != 0 || double != 0 || rows[0]+rows[1] != acked+unanswered {
		t.Errorf("%d spans are missing, %d double; %d rows for %d spans", missing, double, rows[0]+rows[1], acked+unanswered)
	}
	if rows[0] == 0 || rows[1] == 0 {
		t.Errorf("the shards have %v rows", rows)
	}
	for _, s := range []*serving{killed, other} {
		for _, from := range senders {
			if trace := from.trace(from.acked[len(from.acked)-1], tracesOfBatch-1); !s.finds(trace) {
				t.Errorf("a process does not show trace %d, which is stored", trace)
			}
		}
	}
}
