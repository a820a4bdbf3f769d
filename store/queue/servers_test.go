package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/queue"
	"github.com/spanloom/spanloom/store/storetest"
	"github.com/spanloom/spanloom/test/engines"
)

// stops stops the server under load and starts it again, while the counts of lists are read: every span is there once, at
// every moment in which the server answers.
func stops(t *testing.T, o queue.Options, server engines.Server) {
	o.Linger, o.FullRows, o.MaxRows = 5*time.Millisecond, 1000, 2000
	q := open(t, o)
	sent := send(t, q, 0, 100)
	const most = 50_000 // batches
	stop := make(chan struct{})
	var load sync.WaitGroup
	var accepted atomic.Int64
	load.Go(func() {
		for i := 0; ; i++ {
			if i >= most { // a server that starts slowly is not given a mountain
				<-stop
			}
			select {
			case <-stop:
				return
			default:
				b, err := storetest.Parse(fmt.Sprintf("%x a - front server get 0s 1ms\n%x b a cart client get 0s 1ms", 1_000_000+i, 1_000_000+i))
				if err == nil {
					err = q.Accept(t.Context(), b)
				}
				if err != nil {
					t.Error(err)
					return
				}
				accepted.Add(2)
			}
		}
	})
	counted := func() (n int64) {
		list, done, err := q.Services(t.Context(), store.Scope{}, store.TimeRange{})
		if err != nil {
			t.Error(err)
		}
		for _, s := range list {
			n += s.Spans
		}
		if !done.Complete {
			return -1
		}
		return n
	}
	look := func(times int) {
		for range times {
			least := accepted.Load() + int64(sent)
			got := counted()
			if most := accepted.Load() + int64(sent) + 2; got >= 0 && (got < least || got > most) {
				t.Errorf("%d spans are counted, %d to %d were accepted", got, least, most)
			}
		}
	}
	look(30)
	server.Kill()
	look(10)
	server.Restart(t)
	look(30)
	close(stop)
	load.Wait()
	flush(t, q)
	total := int64(sent) + accepted.Load()
	if got := counted(); got != total {
		t.Errorf("%d spans are counted, %d were accepted", got, total)
	}
	if s := q.Stats().Queue; s.Spans != 0 || s.PoisonSpans != 0 || s.SentSpans != total || s.Failures == 0 {
		t.Errorf("%+v", s)
	}
	t.Logf("%d spans, %+v", total, *q.Stats().Queue)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// beforeServer is a queue before the server of an address, as --store names its kind.
func beforeServer(t testing.TB, kind, address string) queue.Options {
	if kind == "clickhouse" {
		return beforeClickHouse(t, address, time.Now)
	}
	return beforeSearch(t, address, time.Now)
}

// child says to a process of this test what it is: kind, address and folder, a space between.
const child = "SPANLOOM_QUEUE_CHILD"

// TestChild is no test: it is the process that killed kills. It prints how many batches are accepted.
func TestChild(t *testing.T) {
	kind, rest, ok := strings.Cut(os.Getenv(child), " ")
	if !ok {
		t.Skip("only as a child")
	}
	address, dir, _ := strings.Cut(rest, " ")
	o := beforeServer(t, kind, address)
	o.Dir, o.FS, o.Linger, o.FullRows, o.MaxRows = dir, nil, 5*time.Millisecond, 200, 400
	q := open(t, o)
	from, err := strconv.Atoi(filepath.Base(dir)[len("queue"):])
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		send(t, q, from+n, 1)
		if _, err := fmt.Printf("accepted %d\n", n+1); err != nil {
			return
		}
	}
}

// killed kills a process under load, with the server there, away and back, and starts it again on its folder each time: what it
// said is accepted is found, once.
func killed(t *testing.T, kind, address string, server engines.Server) {
	// Batches of one life must not be those of another one: a life's first number is the folder's.
	dir := filepath.Join(t.TempDir(), "queue0")
	accepted := make(map[int]int) // first number -> batches
	life := func(first int, until func(n int) bool) {
		t.Helper()
		at := filepath.Join(filepath.Dir(dir), "queue"+strconv.Itoa(first))
		if at != dir {
			if err := os.Rename(dir, at); err != nil {
				t.Fatal(err)
			}
			dir = at
		}
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
		defer stop()
		c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$", "-test.v")
		c.Env = append(os.Environ(), child+"="+kind+" "+address+" "+at)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "accepted ")); err == nil {
				accepted[first] = n
				if until(n) {
					break
				}
			} else if !strings.HasPrefix(lines.Text(), "===") {
				t.Log(lines.Text())
			}
		}
		_ = c.Process.Kill()
		for lines.Scan() { // what it had printed before
			if n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "accepted ")); err == nil {
				accepted[first] = n
			}
		}
		_ = c.Wait()
		if accepted[first] == 0 {
			t.Fatal("it accepted nothing")
		}
	}
	const apart = 10_000_000
	life(0, func(n int) bool { return n >= 500 })
	life(apart, func(n int) bool {
		if n == 300 {
			server.Kill()
		}
		return n >= 800
	})
	life(2*apart, func(n int) bool { return n >= 300 }) // starts without a server
	server.Restart(t)
	life(3*apart, func(n int) bool { return n >= 500 })

	o := beforeServer(t, kind, address)
	o.Dir, o.FS = dir, nil
	q := open(t, o)
	flush(t, q)
	found := make(map[uint64]int)
	wait.For(t, time.Minute, "the server's answers", func() bool {
		clear(found)
		for r, err := range q.Scan(t.Context(), store.Scope{}, &store.Scan{}) {
			if err != nil {
				t.Log(err)
				return false
			}
			for _, row := range r.Rows {
				found[r.Batch.TraceID[row].Low()]++
			}
		}
		return true
	})
	total := 0
	for first, n := range accepted {
		total += 2 * n
		for i := range n {
			if got := found[uint64(first+i+1)]; got != 2 {
				t.Errorf("batch %d of the life from %d: %d spans instead of 2", i, first, got)
			}
		}
	}
	for id, n := range found {
		if n > 2 { // also of batches that the process did not come to speak of
			t.Errorf("trace %d has %d spans", id, n)
		}
	}
	t.Logf("%d spans of four lives, %+v", total, *q.Stats().Queue)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
