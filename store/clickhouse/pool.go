package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/store/answer"
)

// Connections are kept for a while: a handshake costs two round trips and a thread of the server.
const (
	maxConnections  = 32 // that ask at once; more wait. Inserts have slots of their own
	maxIdle         = 8
	idleTime        = 30 * time.Second // servers close theirs after some minutes; a proxy between may be stricter
	dialTimeout     = 5 * time.Second
	maxQueryMemory  = 4 << 30 // bytes a question may take on the server
	handshakeSilent = 10 * time.Second
)

// pool holds connections to the hosts of a target. It is safe for concurrent use.
type pool struct {
	target *Target
	silent *silentHosts
	slots  chan struct{}

	mu     sync.Mutex
	closed bool
	idle   []idleConn // the last used is the last
	first  int        // host that answered last
}

type idleConn struct {
	conn  *ch.Client
	host  int
	since time.Time
}

func newPool(t *Target, s *silentHosts) *pool {
	return &pool{target: t, silent: s, slots: make(chan struct{}, maxConnections)}
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.conn.Close()
	}
	p.idle = nil
}

// get takes a connection: an idle one, else a new one. fresh passes the idle ones over.
func (p *pool) get(ctx context.Context, fresh bool) (c idleConn, reused bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return idleConn{}, false, answer.Closed()
	}
	for !fresh && len(p.idle) > 0 {
		last := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if time.Since(last.since) < idleTime && !last.conn.IsClosed() && p.silent.of(p.target.Hosts[last.host]).IsZero() {
			p.mu.Unlock()
			return last, true, nil
		}
		last.conn.Close()
	}
	p.mu.Unlock()
	c, err = p.dial(ctx, p.places(), handshakeSilent)
	return c, false, err
}

// places are the hosts in the order to try them: beginning with the one that answered last, those that hang at the end.
func (p *pool) places() (list []int) {
	p.mu.Lock()
	first := p.first
	p.mu.Unlock()
	for i := range p.target.Hosts {
		list = append(list, (first+i)%len(p.target.Hosts))
	}
	slices.SortStableFunc(list, func(a, b int) int {
		return p.silent.of(p.target.Hosts[a]).Compare(p.silent.of(p.target.Hosts[b]))
	})
	return list
}

// dial connects to the first of some hosts that answers. Those that hung before have less time for it.
func (p *pool) dial(ctx context.Context, places []int, handshake time.Duration) (idleConn, error) {
	password, err := p.target.Password()
	if err != nil {
		return idleConn{}, err
	}
	var failures []error
	for _, at := range places {
		host := p.target.Hosts[at]
		if !p.silent.of(host).IsZero() {
			handshake = greetTime
		}
		conn, err := p.dialHost(ctx, host, password, handshake)
		if err != nil && ctx.Err() != nil {
			return idleConn{}, context.Cause(ctx)
		}
		p.silent.note(host, err)
		if err == nil {
			p.mu.Lock()
			p.first = at
			p.mu.Unlock()
			return idleConn{conn: conn, host: at}, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", host, err))
	}
	return idleConn{}, errors.Join(failures...)
}

// answers reports whether one of some hosts greets a new connection, or refuses it in words.
func (p *pool) answers(ctx context.Context, places []int) bool {
	c, err := p.dial(ctx, places, greetTime)
	if err == nil {
		p.put(c, nil)
	}
	return err == nil || !Away(err)
}

// hanging is since when no host answers, as far as it was tried; zero for one that did.
func (p *pool) hanging() (since time.Time) {
	for i, host := range p.target.Hosts {
		if at := p.silent.of(host); i == 0 || at.Before(since) {
			since = at
		}
	}
	return since
}

func (p *pool) dialHost(ctx context.Context, host, password string, handshake time.Duration) (*ch.Client, error) {
	dialing, cancel := context.WithTimeout(ctx, min(dialTimeout, handshake))
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(dialing, "tcp", host)
	if err != nil {
		return nil, err
	}
	if p.target.TLS != nil {
		conf := p.target.TLS.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(host)
		}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(dialing); err != nil {
			conn.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		conn = secure
	}
	client, err := ch.Connect(ctx, conn, ch.Options{
		Database: "default", // the own one may not be there yet: every statement names it
		User:     p.target.User, Password: password, ClientName: "spanloom",
		Compression: ch.CompressionLZ4, ReadTimeout: ch.NoTimeout, HandshakeTimeout: handshake,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return client, nil
}

// put gives a connection back.
func (p *pool) put(c idleConn, err error) {
	var said *ch.Exception
	if err != nil && !errors.As(err, &said) || c.conn.IsClosed() {
		c.conn.Close()
		return
	}
	p.silent.note(p.target.Hosts[c.host], nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		c.conn.Close()
		return
	}
	c.since = time.Now()
	p.idle = append(p.idle, c)
}

// do asks one question or inserts one block. A connection that lay idle may have died meanwhile, and a server may hang: then the question is
// asked again on a new one, unless a part of its answer was handed out. Inserts are safe to repeat by their token.
func (p *pool) do(ctx context.Context, q ch.Query) error {
	if len(q.Input) == 0 {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	answered := false
	if original := q.OnResult; original != nil {
		q.OnResult = func(ctx context.Context, b proto.Block) error {
			answered = answered || b.Rows > 0
			return original(ctx, b)
		}
	}
	for again := false; ; again = true {
		c, reused, err := p.get(ctx, again)
		if err != nil {
			return err
		}
		err = p.ask(ctx, c, q)
		var said *ch.Exception
		if err == nil || again || answered || errors.As(err, &said) || ctx.Err() != nil || !reused && !errors.Is(err, errSilent) {
			return err
		}
	}
}

// once asks on a new connection and never again: for inserts that the server would take twice.
func (p *pool) once(ctx context.Context, q ch.Query) error {
	c, _, err := p.get(ctx, true)
	if err != nil {
		return err
	}
	return p.ask(ctx, c, q)
}

// ask asks on a connection and gives it back. The client waits for packets whatever happens: when the context ends or the server hangs, it is the end
// of the connection that ends the wait.
func (p *pool) ask(ctx context.Context, c idleConn, q ch.Query) error {
	look := lookTime
	if len(q.Input) > 0 {
		look = insertTime
	}
	var heard atomic.Bool
	progress := q.OnProgress
	q.OnProgress = func(ctx context.Context, done proto.Progress) error {
		heard.Store(true)
		if progress == nil {
			return nil
		}
		return progress(ctx, done)
	}
	asking, stop := watch(ctx, look, func(ctx context.Context) bool { return heard.Swap(false) || p.answers(ctx, []int{c.host}) })
	defer stop()
	leave := context.AfterFunc(asking, func() { c.conn.Close() })
	err := c.conn.Do(asking, q)
	leave()
	if asking.Err() != nil {
		c.conn.Close() // not to be put among the idle ones just before it is closed
		if err != nil {
			err = fmt.Errorf("%s: %w", p.target.Hosts[c.host], context.Cause(asking))
		}
	}
	p.put(c, err)
	return err
}
