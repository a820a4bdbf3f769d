package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/remote"
)

// Servers may share the rows: the DSN names a cluster of theirs, and each of its shards holds the traces that the division gives it, in
// tables of its own. Rows are inserted into those and never through a Distributed table, which answers before the shard has them. Questions
// are asked of any server's Distributed table; none assumes that a trace lies where the division says, so shards may come and weights change.

// shard is a server, or several that are copies of each other.
type shard struct {
	number uint32 // as the cluster counts; 0 for the servers of a DSN without a cluster
	weight uint64
	*pool

	preparing sync.Mutex
	prepared  bool
}

// at is the shard in a message, behind what is said of it; empty without a cluster.
func (s *shard) at() string {
	if s.number == 0 {
		return ""
	}
	return " on " + s.String()
}

func (s *shard) String() string {
	return fmt.Sprintf("shard %d (%s)", s.number, strings.Join(s.target.Hosts, ", "))
}

// do is pool.do whose errors know the shard.
func (s *shard) do(ctx context.Context, q ch.Query) error {
	err := s.pool.do(ctx, q)
	if err != nil && s.number > 0 {
		return &fault{s, err}
	}
	return err
}

// fault is an error of one of several shards.
type fault struct {
	shard *shard
	err   error
}

func (f *fault) Error() string { return f.shard.String() + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// division says on which shard new rows of a trace go: the lower half of its id, modulo the sum of the weights, counted off along the
// shards.
type division struct {
	ends []uint64 // of each shard's slots
	name string   // of this division, for tokens: another one cuts a batch differently
}

func divide(shards []*shard) division {
	if len(shards) == 1 && shards[0].number == 0 {
		return division{ends: []uint64{1}}
	}
	var d division
	sum, all := uint64(0), fnv.New64a()
	for _, s := range shards {
		sum += s.weight
		d.ends = append(d.ends, sum)
		fmt.Fprintf(all, "%d:%d ", s.number, s.weight)
	}
	d.name = "-" + strconv.FormatUint(all.Sum64(), 16)
	return d
}

// shard is the place of a trace's shard.
func (d division) shard(id span.TraceID) int {
	slot := id.Low() % d.ends[len(d.ends)-1]
	at, found := slices.BinarySearch(d.ends, slot)
	if !found {
		return at
	}
	for d.ends[at] == slot { // it is the next one's, past those without a weight
		at++
	}
	return at
}

// piece is rows of batches, by batch.
type piece [][]uint32

// pieces are the rows of each shard.
func (d division) pieces(batches []*span.Batch) []piece {
	all := make([]piece, len(d.ends))
	for i := range all {
		all[i] = make(piece, len(batches))
	}
	for at, b := range batches {
		for row, id := range b.TraceID {
			p := all[d.shard(id)]
			p[at] = append(p[at], uint32(row))
		}
	}
	return all
}

func (p piece) len() (n int) {
	for _, rows := range p {
		n += len(rows)
	}
	return n
}

// halves cuts a piece of more than one row in two.
func (p piece) halves() (a, b piece) {
	left := p.len() / 2
	for _, rows := range p {
		n := min(left, len(rows))
		a, b = append(a, rows[:n]), append(b, rows[n:])
		left -= n
	}
	return a, b
}

func (p piece) places() (list []remote.Place) {
	for at, rows := range p {
		for _, row := range rows {
			list = append(list, remote.Place{Batch: at, Row: int(row)})
		}
	}
	return list
}

// shardsOf asks the servers of a target for the shards of its cluster.
func shardsOf(ctx context.Context, t *Target, silent *silentHosts) ([]*shard, error) {
	p := newPool(t, silent)
	defer p.close()
	var clusters, hosts proto.ColStr
	var numbers, weights proto.ColUInt32
	var ports proto.ColUInt16
	var names []string
	var list []*shard
	err := p.do(ctx, ch.Query{
		Body:   "SELECT cluster, toUInt32(shard_num), toUInt32(shard_weight), host_name, toUInt16(port) FROM system.clusters ORDER BY cluster, shard_num, replica_num",
		Result: proto.Results{{Data: &clusters}, {Data: &numbers}, {Data: &weights}, {Data: &hosts}, {Data: &ports}},
		OnResult: func(context.Context, proto.Block) error {
			for i, number := range numbers {
				if name := clusters.Row(i); name != t.Cluster {
					names = append(names, name)
					continue
				}
				if len(list) == 0 || list[len(list)-1].number != number {
					of := *t
					of.Hosts = nil
					list = append(list, &shard{number: number, weight: uint64(weights[i]), pool: newPool(&of, silent)})
				}
				to := list[len(list)-1].target
				to.Hosts = append(to.Hosts, net.JoinHostPort(hosts.Row(i), strconv.Itoa(int(ports[i]))))
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		hint := "the servers know no cluster: define one in their remote_servers, or leave the option out"
		if names = slices.Compact(names); len(names) > 0 {
			hint = "the servers know: " + strings.Join(names, ", ")
		}
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: fmt.Sprintf("cluster=%s is no cluster of %s", t.Cluster, strings.Join(t.Hosts, ", ")), Hint: hint}
	}
	if !slices.ContainsFunc(list, func(s *shard) bool { return s.weight > 0 }) {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "clickhouse-dsn", Message: fmt.Sprintf("no shard of cluster=%s has a weight", t.Cluster),
			Hint: "give one a weight in the servers' remote_servers"}
	}
	return list, nil
}

// anyShard is a target of all servers of a cluster, for questions.
func anyShard(t *Target, shards []*shard) *Target {
	all := *t
	all.Hosts = nil
	for _, s := range shards {
		all.Hosts = append(all.Hosts, s.target.Hosts...)
	}
	return &all
}

// sharded reports whether rows lie on the shards of a cluster.
func (e *Engine) sharded() bool { return e.cluster != "" }

// whole are the settings of a question over shards, whatever a user's profile says: no shard is left out, silently or because a trace should
// not be there, and groups of several shards are put together. Copies are read in the order in which they are written.
var whole = []ch.Setting{
	{Key: "optimize_skip_unused_shards", Value: "0", Important: true},
	{Key: "optimize_distributed_group_by_sharding_key", Value: "0", Important: true},
	{Key: "distributed_group_by_no_merge", Value: "0", Important: true},
	{Key: "load_balancing", Value: "in_order"},
}

// unreachable are the codes of a question that a server could not ask of another shard.
var unreachable = []proto.Error{proto.ErrAllConnectionTriesFailed, proto.ErrNetworkError, proto.ErrSocketTimeout, proto.ErrDNSError,
	proto.ErrAttemptToReadAfterEOF, proto.ErrCannotReadFromSocket, proto.ErrCannotWriteToSocket, proto.ErrNoRemoteShardAvailable}

// without are the settings of a question from which a server leaves out shards that it cannot reach. One that hangs costs it a second.
var without = []ch.Setting{
	{Key: "skip_unavailable_shards", Value: "1", Important: true},
	{Key: "connections_with_failover_max_tries", Value: "1"},
	{Key: "handshake_timeout_ms", Value: "1000"},
}

// ask asks a question about spans, unless the context has ended. A question that some shard does not answer is asked of the others, and c
// says what is missing.
func (e *Engine) ask(ctx context.Context, q ch.Query, c *cost) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.OnProgress = c.progress
	if !e.sharded() {
		q.Settings = e.settings()
		return e.pool.do(ctx, q)
	}
	var answered atomic.Bool
	if original := q.OnResult; original != nil {
		q.OnResult = func(ctx context.Context, b proto.Block) error {
			if b.Rows > 0 {
				answered.Store(true)
			}
			return original(ctx, b)
		}
	}
	if c.missing == nil && slices.ContainsFunc(e.shards, func(s *shard) bool { return !s.hanging().IsZero() }) {
		c.away = e.away(ctx)
		c.missing = missing(c.away, nil)
	}
	for again := false; ; again = true {
		q.Settings = append(e.settings(), whole...)
		if c.missing == nil {
			q.Settings = append(q.Settings, ch.Setting{Key: "skip_unavailable_shards", Value: "0", Important: true})
		} else {
			q.Settings = append(q.Settings, without...)
		}
		// The server that is asked would wait for minutes for one that hangs.
		known := len(c.away)
		asking, stop := watch(ctx, lookTime, func(ctx context.Context) bool { return len(e.away(ctx)) <= known })
		err := e.pool.do(asking, q)
		stop()
		var said *ch.Exception
		if !errors.Is(err, errSilent) && (!errors.As(err, &said) || !said.IsCode(unreachable...)) {
			return err
		}
		if away := e.away(ctx); c.missing == nil || len(away) > known {
			c.away, c.missing = away, missing(away, said)
		}
		switch {
		case !again && !answered.Load():
		case c.missing != nil:
			return c.missing
		default:
			return err
		}
	}
}

// reach finds out, before a question whose answers are handed out as they come, which shards there are to ask.
func (e *Engine) reach(ctx context.Context, c *cost) error {
	if !e.sharded() || c.missing != nil {
		return nil
	}
	return e.ask(ctx, ch.Query{Body: "SELECT count() FROM " + e.source() + " WHERE " + e.layout.tenant(""), Result: proto.Results{{Data: new(proto.ColUInt64)}}}, c)
}

// away are the shards that do not answer this process. One that hung some seconds ago is not tried again.
func (e *Engine) away(ctx context.Context) (list []*shard) {
	asking, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	away := make([]bool, len(e.shards))
	var tasks sync.WaitGroup
	for i, s := range e.shards {
		tasks.Go(func() { away[i] = time.Since(s.hanging()) < hangTime || !s.answers(asking, s.places()) })
	}
	tasks.Wait()
	for i, s := range e.shards {
		if away[i] {
			list = append(list, s)
		}
	}
	return list
}

// missing is the error of an answer without some shards: those that are away, else what a server said of one. nil for neither.
func missing(away []*shard, said *ch.Exception) *problem.Problem {
	var names []string
	for _, s := range away {
		names = append(names, s.String())
	}
	p := &problem.Problem{Kind: problem.Unavailable, RetryAfter: time.Second, Err: remote.ErrPartial, Hint: "its spans are missing until it is back"}
	switch {
	case len(names) == 0 && said == nil:
		return nil
	case len(names) == 0:
		p.Message = fmt.Sprintf("a shard does not answer another: %.300s", strings.Join(strings.Fields(said.Message), " "))
		p.Hint = "check that the servers of the cluster reach each other: spans of that shard are missing"
	case len(names) == 1:
		p.Message = names[0] + " does not answer"
	default:
		p.Message, p.Hint = strings.Join(names, " and ")+" do not answer", "their spans are missing until they are back"
	}
	return p
}
