package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spanloom/spanloom/internal/otlpclient"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/wal"
)

// The requests. Receivers built on grpc-go and grpc-java take 4 MiB unless told otherwise.
const (
	requestRows  = 2048
	requestBytes = 1 << 20
	pieceRows    = 512 // of a batch that is too large for one request

	requestTimeout = 30 * time.Second
	firstPause     = 250 * time.Millisecond // doubled from try to try
	longPause      = 30 * time.Second
	longestPause   = time.Hour // that a receiver may ask for
)

// sender sends the log to one target. Fields below are guarded by Forwarder.mu but for those that only its loop uses.
type sender struct {
	f       *Forwarder
	target  *Target
	client  client
	through uint64 // the target was offered every frame up to this sequence
	done    int64  // spans of the run behind it that were answered for good
	flying  int64  // spans of the request on its way
	kept    int64  // of one on its way when its run went: its answer decides
	stats   TargetStats

	written uint64        // of the cursor file
	batches []*span.Batch // kept from run to run
	body    []byte
}

// loop sends run after run until the end.
func (s *sender) loop() {
	for {
		r := s.next()
		if r == nil {
			return
		}
		if s.send(r) {
			s.advance(r)
		}
		s.mark() // before the end too: Close waits for what was offered, not for the cursor
		if s.f.ctx.Err() != nil {
			return
		}
	}
}

// next waits for a run: nil at the end.
func (s *sender) next() *run {
	for {
		s.f.mu.Lock()
		changed := s.f.changed
		for _, r := range s.f.runs {
			if r.last > s.through {
				s.f.mu.Unlock()
				return r
			}
		}
		s.f.mu.Unlock()
		select {
		case <-changed:
		case <-s.f.ctx.Done():
			return nil
		}
	}
}

// gone reports whether a run went because of the disk's limit.
func (s *sender) gone(r *run) bool {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.through >= r.last
}

// advance says that the target was offered a run.
func (s *sender) advance(r *run) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.through >= r.last {
		return
	}
	s.through, s.done = r.last, 0
	s.f.forget()
	close(s.f.changed)
	s.f.changed = make(chan struct{})
}

// mark writes the cursor where it has moved.
func (s *sender) mark() {
	s.f.mu.Lock()
	through := s.through
	s.f.mu.Unlock()
	if through == s.written {
		return
	}
	if err := s.writeCursor(); err != nil {
		s.failed(err.Error())
	}
}

// send offers a run, as long as it takes: false where it went meanwhile, or at the end.
func (s *sender) send(r *run) bool {
	n := 0
	damage, err := s.f.log.Again(r.first, r.last, func() *span.Batch {
		if n == len(s.batches) {
			s.batches = append(s.batches, new(span.Batch))
		}
		return s.batches[n]
	}, func(*span.Batch, uint64) error {
		n++
		return nil
	})
	if err != nil {
		if s.gone(r) {
			return false
		}
		s.failed(fmt.Sprintf("read the log: %v", err))
		_ = s.f.o.Wait(s.f.ctx, longPause)
		return false
	}
	var parts []*span.Batch
	rows, size := 0, 0
	for _, b := range s.batches[:n] {
		for _, part := range pieces(b) {
			if rows > 0 && (rows+part.Len() > requestRows || size+part.Size() > requestBytes) {
				if !s.deliver(r, parts) {
					return false
				}
				parts, rows, size = parts[:0], 0, 0
			}
			parts = append(parts, part)
			rows, size = rows+part.Len(), size+part.Size()
		}
	}
	if rows > 0 && !s.deliver(r, parts) {
		return false
	}
	lost := 0
	for _, d := range damage {
		lost += d.Spans
		s.f.slog.Error("spans could not be read and were not forwarded", "target", s.target.Name, "what", d.String())
	}
	s.f.mu.Lock()
	s.stats.UnreadableSpans += int64(lost)
	s.f.mu.Unlock()
	if n > requestRows {
		s.batches, s.body = nil, nil // what a burst took is given back
	}
	return true
}

// pieces cuts a batch that is too large for a request.
func pieces(b *span.Batch) []*span.Batch {
	if b.Len() <= 1 || b.Len() <= requestRows && b.Size() <= requestBytes {
		return []*span.Batch{b}
	}
	var out []*span.Batch
	for from := 0; from < b.Len(); from += pieceRows {
		out = append(out, part(b, from, min(from+pieceRows, b.Len())))
	}
	return out
}

// part is a copy of some rows of a batch.
func part(b *span.Batch, from, to int) *span.Batch {
	out := &span.Batch{Tenant: b.Tenant, Received: b.Received}
	c := span.NewCopier(out)
	c.Begin(b)
	for row := from; row < to; row++ {
		c.Row(row)
	}
	return out
}

// halves cuts parts of more than one span in two.
func halves(parts []*span.Batch) (a, b []*span.Batch) {
	if n := len(parts) / 2; n > 0 {
		return parts[:n], parts[n:]
	}
	n := parts[0].Len()
	return []*span.Batch{part(parts[0], 0, n/2)}, []*span.Batch{part(parts[0], n/2, n)}
}

// deliver sends one request until it is answered for good: false where its run went meanwhile, or at the end. Of one that is too large the
// halves are sent.
func (s *sender) deliver(r *run, parts []*span.Batch) bool {
	s.body = s.body[:0]
	var n int64
	for _, b := range parts {
		s.body = otlp.AppendRequest(s.body, b) // messages that follow each other are one: its list is that of all
		n += int64(b.Len())
	}
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		if s.f.ctx.Err() != nil || !s.takeOff(r, n) {
			return false
		}
		ctx, cancel := context.WithTimeout(s.f.ctx, requestTimeout)
		a := s.client.send(ctx, s.body)
		cancel()
		wait := max(pause, min(a.After, longestPause))
		switch a.Verdict {
		case otlpclient.Accepted:
			s.answered(r, n, min(max(a.Rejected, 0), n), a.Message)
			return true
		case otlpclient.TooLarge:
			if n > 1 {
				first, second := halves(parts)
				return s.deliver(r, first) && s.deliver(r, second)
			}
			s.answered(r, n, n, a.Message)
			return true
		case otlpclient.Refused:
			s.answered(r, n, n, a.Message)
			return true
		case otlpclient.Barred:
			wait = longPause
		}
		if s.f.ctx.Err() != nil {
			return false
		}
		s.failed(a.Message)
		if s.pause(r, wait) != nil {
			return false
		}
	}
}

// takeOff says that a request is on its way, unless its run went: then it is dropped too.
func (s *sender) takeOff(r *run, n int64) bool {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	if s.through >= r.last {
		s.stats.DroppedSpans += s.kept
		s.flying, s.kept = 0, 0
		return false
	}
	s.flying = n
	return true
}

// drop counts a run that goes. mu is held.
func (s *sender) drop(r *run) {
	if s.through >= r.last {
		return
	}
	s.stats.DroppedSpans += int64(r.spans) - s.done - s.flying
	s.through, s.done, s.flying, s.kept = r.last, 0, 0, s.kept+s.flying
}

// pause waits, but not for a run that went.
func (s *sender) pause(r *run, d time.Duration) error {
	ctx, stop := context.WithCancel(s.f.ctx)
	defer stop()
	go func() {
		_ = s.f.until(ctx, func(other *sender) bool { return other != s || s.through >= r.last })
		stop()
	}()
	if err := s.f.o.Wait(ctx, d); err != nil && s.f.ctx.Err() != nil {
		return err
	}
	return nil
}

// answered counts a request that was answered for good.
func (s *sender) answered(r *run, n, refused int64, why string) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.stats.SentSpans += n - refused
	s.stats.RefusedSpans += refused
	s.stats.LastError = ""
	s.flying, s.kept = 0, 0
	if s.through < r.last {
		s.done += n
	}
	if refused > 0 {
		if s.stats.LastRefusal != why {
			s.f.slog.Warn("the target refuses spans for good; they are passed over", "target", s.target.Name, "spans", refused, "why", why)
		}
		s.stats.LastRefusal = why
	}
}

// failed counts an attempt that may go well later.
func (s *sender) failed(why string) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.stats.Failures++
	s.stats.FailedAt = s.f.now().UnixNano()
	if s.stats.LastError != why {
		s.f.slog.Warn("spans could not be forwarded; they wait", "target", s.target.Name, "err", why)
	}
	s.stats.LastError = why
	close(s.f.changed) // who closes does not wait for it
	s.f.changed = make(chan struct{})
}

// cursor is the file that says how far a target is.
type cursor struct {
	Version int    `json:"version"`
	Through uint64 `json:"through"`
}

const cursorVersion = 1

func (s *sender) writeCursor() error {
	s.f.mu.Lock()
	through := s.through
	s.f.mu.Unlock()
	p, err := json.Marshal(cursor{cursorVersion, through})
	if err != nil {
		return err
	}
	if err := wal.Replace(s.f.fs, s.f.cursorFile(s.target.Name), append(p, '\n')); err != nil {
		return fmt.Errorf("write the cursor of %s: %w", s.target.Name, err)
	}
	s.written = through
	return nil
}

// readCursor reads a target's file. One that is damaged counts as the beginning of the log.
func (f *Forwarder) readCursor(name string) (through uint64, found bool, err error) {
	h, err := f.fs.Open(f.cursorFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, true, err
	}
	p, err := io.ReadAll(io.LimitReader(h, 4096))
	if err = errors.Join(err, h.Close()); err != nil {
		return 0, true, err
	}
	var c cursor
	if err := json.Unmarshal(p, &c); err != nil {
		return 0, true, err
	}
	if c.Version != cursorVersion {
		return 0, true, fmt.Errorf("version %d, this program knows %d", c.Version, cursorVersion)
	}
	return c.Through, true, nil
}
