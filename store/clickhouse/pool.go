package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
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
	maxQueryMemory  = 4 << 30     // bytes a question may take on the server
	silence         = time.Minute // after which a server that sends nothing, not even progress, is taken for dead
	handshakeSilent = 10 * time.Second
)

// pool holds connections to the hosts of a target. It is safe for concurrent use.
type pool struct {
	target *Target
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

func newPool(t *Target) *pool { return &pool{target: t, slots: make(chan struct{}, maxConnections)} }

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
		if time.Since(last.since) < idleTime && !last.conn.IsClosed() {
			p.mu.Unlock()
			return last, true, nil
		}
		last.conn.Close()
	}
	first := p.first
	p.mu.Unlock()
	c, err = p.dial(ctx, first)
	return c, false, err
}

// dial connects to the first host that answers, beginning with the one that did last.
func (p *pool) dial(ctx context.Context, first int) (idleConn, error) {
	password, err := p.target.Password()
	if err != nil {
		return idleConn{}, err
	}
	var failures []error
	for i := range p.target.Hosts {
		at := (first + i) % len(p.target.Hosts)
		conn, err := p.dialHost(ctx, p.target.Hosts[at], password)
		if err == nil {
			p.mu.Lock()
			p.first = at
			p.mu.Unlock()
			return idleConn{conn: conn, host: at}, nil
		}
		if ctx.Err() != nil {
			return idleConn{}, ctx.Err()
		}
		failures = append(failures, fmt.Errorf("%s: %w", p.target.Hosts[at], err))
	}
	return idleConn{}, errors.Join(failures...)
}

func (p *pool) dialHost(ctx context.Context, host, password string) (*ch.Client, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
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
		Compression: ch.CompressionLZ4, ReadTimeout: silence, HandshakeTimeout: handshakeSilent,
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		c.conn.Close()
		return
	}
	c.since = time.Now()
	p.idle = append(p.idle, c)
}

// do asks one question or inserts one block. A connection that lay idle may have died meanwhile: then the question is asked again
// on a new one, unless a part of its answer was handed out. Inserts are safe to repeat by their token.
func (p *pool) do(ctx context.Context, q ch.Query) error {
	if len(q.Input) == 0 {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return ctx.Err()
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
		err = c.conn.Do(ctx, q)
		p.put(c, err)
		var said *ch.Exception
		if err == nil || !reused || again || answered || errors.As(err, &said) || ctx.Err() != nil {
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
	err = c.conn.Do(ctx, q)
	p.put(c, err)
	return err
}
