package clickhouse_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/internal/wait"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/storetest"
)

// A server that is paused takes connections and says nothing. What is asked then must end by itself, far within this.
const hangs = 90 * time.Second

// patient is a context for one question.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scale(hangs))
	t.Cleanup(cancel)
	return ctx
}

// took logs how long something took.
func took(t *testing.T, what string) func() {
	began := time.Now()
	return func() { t.Logf("%s took %.1f s", what, time.Since(began).Seconds()) }
}

// TestShardHangs asks while each shard in turn hangs: the answers have what the other one has and name the one that is missing; when it goes on they
// are complete, and an insert that hung is stored once.
func TestShardHangs(t *testing.T) {
	servers := clickhouseserver.StartCluster(t, 1, 1)
	to := over(t, servers)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), many(t, 0x10, 40)); err != nil {
		t.Fatal(err)
	}
	stored := 40
	complete := func() bool {
		page, err := e.Search(patient(t), store.Scope{}, &store.Search{Limit: 100})
		return err == nil && page.Complete && len(page.Traces) == stored
	}
	// Both servers have connections to each other, and this process to one of them.
	if !complete() {
		t.Fatal("the answer is not complete before anything hangs")
	}
	for at, server := range servers {
		name, there := fmt.Sprintf("shard %d (%s) does not answer", at+1, server.Addr), stored/2
		token, batch := fmt.Sprintf("token-%d", at), many(t, 0x1000*(at+1), 10)
		before := e.Pin() // of the insert the other shard has its part
		server.Pause(t)
		inserting, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		inserted := make(chan error, 1)
		go func() { inserted <- e.Insert(inserting, token, []*span.Batch{batch}) }()

		for _, which := range []string{"the first search", "the second search"} {
			took := took(t, which+" without "+server.Addr)
			page, err := before.Search(patient(t), store.Scope{}, &store.Search{Limit: 100})
			took()
			if err != nil || page.Complete || !page.Away || !strings.Contains(page.Reason, name) || len(page.Traces) != there {
				t.Fatalf("%s: %+v, %v; want %d traces without %s", which, page, err, there, name)
			}
		}
		done := took(t, "a scan")
		rows, err := 0, error(nil)
		for r, failure := range before.Scan(patient(t), store.Scope{}, &store.Scan{}) {
			rows += len(r.Rows)
			err = failure
		}
		if done(); rows != there || !errors.Is(err, remote.ErrPartial) || !strings.Contains(err.Error(), name) {
			t.Errorf("a scan: %d rows, want %d, then %v", rows, there, err)
		}
		done = took(t, "a trace")
		rows, err = 0, nil
		for b, failure := range before.Trace(patient(t), store.Scope{}, span.TraceIDFromUint64s(0, 0x10+uint64(1-at)), store.TimeRange{}) {
			if err = failure; err == nil {
				rows += b.Len()
			}
		}
		if done(); rows != 1 || !errors.Is(err, remote.ErrPartial) || !strings.Contains(err.Error(), name) {
			t.Errorf("a trace: %d rows, want 1, then %v", rows, err)
		}
		done = took(t, "services")
		list, d, err := before.Services(patient(t), store.Scope{}, store.TimeRange{})
		if done(); err != nil || !d.Away || !strings.Contains(d.Reason, name) || len(list) != 1 || list[0].Spans != int64(there) {
			t.Errorf("services: %v %+v %v", list, d, err)
		}
		done = took(t, "rollups")
		_, d, err = before.Rollups(patient(t), store.Scope{}, store.TimeRange{})
		if done(); err != nil || !d.Away || !strings.Contains(d.Reason, server.Addr) {
			t.Errorf("rollups: %+v %v", d, err)
		}

		// The server finds the rows of an insert that was given up in its socket.
		if at == 0 {
			giveUp()
		} else {
			server.Resume(t)
		}
		err = <-inserted
		if at == 0 && !errors.Is(err, context.Canceled) || at == 1 && err != nil {
			t.Errorf("an insert that hung: %v", err)
		}
		if at == 0 {
			server.Resume(t)
			wait.For(t, time.Minute, "the insert to be taken", func() bool { return e.Insert(t.Context(), token, []*span.Batch{batch}) == nil })
		}
		e.Count(token)
		stored += 10
		wait.For(t, time.Minute, "complete answers", complete)
	}
	for _, s := range servers {
		if n := s.Number(t, "SELECT count() FROM "+to.Database+".spans"); n != stored/2 {
			t.Errorf("%d rows on a shard, want %d: each once", n, stored/2)
		}
	}
}

// TestQuestionAtHangingServer ends what hangs when its context ends, and by itself.
func TestQuestionAtHangingServer(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	to := target(t, server.Addr)
	e := open(t, clickhouse.Options{Target: to})
	defer e.Close()
	if err := e.Accept(t.Context(), many(t, 1, 10)); err != nil {
		t.Fatal(err)
	}
	server.Pause(t)
	var unanswered *problem.Problem
	for _, which := range []string{"the first", "the second"} {
		took := took(t, which+" list of services")
		_, _, err := e.Services(patient(t), store.Scope{}, store.TimeRange{})
		if took(); !errors.As(err, &unanswered) || unanswered.Kind != problem.Unavailable || !clickhouse.Away(err) || !strings.Contains(err.Error(), server.Addr) {
			t.Errorf("%s list of services: %v", which, err)
		}
	}
	server.Resume(t)
	wait.For(t, time.Minute, "an answer", func() bool {
		list, d, err := e.Services(patient(t), store.Scope{}, store.TimeRange{})
		return err == nil && d.Complete && list[0].Spans == 10
	})

	// Who asked gives up long before anybody looks at the server.
	server.Pause(t)
	ctx, giveUp := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, giveUp)
	_, d, err := e.Keys(ctx, store.Scope{}, store.KeysQuery{})
	if err != nil || d.Complete || d.Reason != answer.Cancelled(context.Canceled) {
		t.Errorf("a list that was given up: %+v %v", d, err)
	}
	server.Resume(t)
	page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 100})
	if err != nil || !page.Complete || len(page.Traces) != 10 {
		t.Errorf("%+v %v, want 10 traces", page, err)
	}
}

// TestInsertAtHangingServer inserts while the server hangs for longer than an insert waits: the sender is told, and what he sends again is stored once.
func TestInsertAtHangingServer(t *testing.T) {
	if testing.Short() {
		t.Skip("an insert waits for a minute")
	}
	server := clickhouseserver.Start(t, "")
	for _, to := range []*clickhouse.Target{target(t, server.Addr), otelTarget(t, server.Addr)} {
		e := open(t, clickhouse.Options{Target: to, Naming: naming})
		defer e.Close()
		batch := []*span.Batch{many(t, 1, 10)}
		server.Pause(t)
		took := took(t, "an insert")
		err := e.Insert(patient(t), "token", batch)
		if took(); !clickhouse.Away(err) || clickhouse.ClassOf(err) != remote.Retry || !strings.Contains(err.Error(), server.Addr) {
			t.Errorf("an insert that hung: %v", err)
		}
		server.Resume(t)
		wait.For(t, time.Minute, "the insert to be taken", func() bool { return e.Insert(t.Context(), "token", batch) == nil })
		e.Count("token")
		page, err := e.Search(t.Context(), store.Scope{}, &store.Search{Limit: 100})
		if err != nil || !page.Complete || len(page.Traces) != 10 {
			t.Errorf("%+v %v, want 10 traces", page, err)
		}
		table := cmp.Or(to.Table, "spans")
		if n := server.Number(t, "SELECT count() FROM "+to.Database+"."+table); n != 10 {
			t.Errorf("%d rows in %s, want 10: each once", n, table)
		}
	}
}

// TestHostHangs goes on with the second host while the first hangs.
func TestHostHangs(t *testing.T) {
	servers := []*clickhouseserver.Server{clickhouseserver.Start(t, ""), clickhouseserver.Start(t, "")}
	// Each server has one span, of a service that is named after it.
	for i, s := range servers {
		only := open(t, clickhouse.Options{Target: parse(t, "clickhouse://"+s.Addr+"/both", "")})
		if err := only.Accept(t.Context(), storetest.Batch(t, fmt.Sprintf("%d a - server-%d server get 0s 1ms", i+1, i+1))); err != nil {
			t.Fatal(err)
		}
		only.Close()
	}
	e := open(t, clickhouse.Options{Target: parse(t, "clickhouse://"+servers[0].Addr+","+servers[1].Addr+"/both", "")})
	defer e.Close()
	services := func() (names []string) {
		list, _, err := e.Services(patient(t), store.Scope{}, store.TimeRange{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			names = append(names, s.Name)
		}
		return names
	}
	if got := services(); !slices.Equal(got, []string{"server-1"}) {
		t.Fatalf("%q, want the first host", got)
	}
	servers[0].Pause(t)
	for _, which := range []string{"the first", "the second"} {
		took := took(t, which+" list of services")
		got := services()
		if took(); !slices.Equal(got, []string{"server-2"}) {
			t.Errorf("%s list of services is %q, want the second host's", which, got)
		}
	}
	servers[0].Resume(t)
	servers[1].Pause(t)
	if got := services(); !slices.Equal(got, []string{"server-1"}) {
		t.Errorf("%q, want the first host again", got)
	}
}
