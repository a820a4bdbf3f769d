package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// run is one Send under way.
type run struct {
	o      SendOptions
	poster poster
	stream *Stream
	report SendReport

	accepted, refused, retried atomic.Int64
	bytes, requests            atomic.Int64

	mu         sync.Mutex
	complaints []string // different ones, at most maxComplaints
}

const maxComplaints = 5

// closed sends piece after piece: encode, start the clock, send on all connections, stop the clock.
func (r *run) closed(ctx context.Context) error {
	for {
		piece := r.fill()
		if len(piece) == 0 {
			return nil
		}
		cpu, start := selfCPU(), r.o.clock.now()
		err := r.sendAll(ctx, piece)
		r.report.Wall += r.o.clock.now().Sub(start)
		r.report.ClientCPU += selfCPU() - cpu
		if err != nil {
			return err
		}
		for _, q := range piece {
			r.stream.Release(q)
		}
		if r.o.Duration > 0 && r.report.Wall >= r.o.Duration {
			r.stream.Finish()
		}
	}
}

func (r *run) fill() (piece []Request) {
	for bytes := int64(0); bytes < r.o.chunkBytes; {
		q, ok := r.stream.Next()
		if !ok {
			break
		}
		bytes += int64(len(q.Body))
		piece = append(piece, q)
	}
	return piece
}

func (r *run) sendAll(ctx context.Context, piece []Request) error {
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for connection := range r.o.Connections {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(piece) {
					return
				}
				r.deliver(ctx, connection, piece[i])
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// paced hands each request to a free connection when its turn has come: the first span of it is due after the spans
// before it at the rate. Late requests follow at once, so that the rate holds on average.
func (r *run) paced(ctx context.Context) error {
	var (
		due      = make(chan Request, r.o.Connections)
		released = make(chan Request, 4*r.o.Connections)
		wg       sync.WaitGroup
	)
	for connection := range r.o.Connections {
		wg.Go(func() {
			for q := range due {
				if ctx.Err() == nil {
					r.deliver(ctx, connection, q)
				}
				select {
				case released <- q:
				default: // the collector takes the body
				}
			}
		})
	}
	cpu, start := selfCPU(), r.o.clock.now()
	err := r.pace(ctx, start, due, released)
	close(due)
	wg.Wait()
	r.report.Wall = r.o.clock.now().Sub(start)
	r.report.ClientCPU = selfCPU() - cpu
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (r *run) pace(ctx context.Context, start time.Time, due chan<- Request, released <-chan Request) error {
	var sent int64
	for {
		for more := true; more; {
			select {
			case q := <-released:
				r.stream.Release(q)
			default:
				more = false
			}
		}
		q, ok := r.stream.Next()
		if !ok {
			return nil
		}
		at := start.Add(time.Duration(float64(sent) / r.o.Rate * float64(time.Second)))
		if ahead := at.Sub(r.o.clock.now()); ahead > 0 {
			if err := r.o.clock.wait(ctx, ahead); err != nil {
				return err
			}
		} else {
			r.report.MostBehind = max(r.report.MostBehind, -ahead)
		}
		select {
		case due <- q:
		case <-ctx.Done():
			return ctx.Err()
		}
		sent += int64(q.Spans)
	}
}

// First waits between tries when the receiver names no time.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// deliver sends one request until it is answered for good.
func (r *run) deliver(ctx context.Context, connection int, q Request) {
	r.requests.Add(1)
	r.bytes.Add(int64(len(q.Body)))
	giveUp := r.o.clock.now().Add(r.o.RetryFor)
	pause := firstPause
	for {
		a := r.poster.post(ctx, connection, q.Body)
		if a.accepted {
			r.accepted.Add(int64(q.Spans) - a.rejected)
			if a.rejected > 0 {
				r.refuse(a.rejected, fmt.Sprintf("partial success: %s", a.message))
			} else if a.message != "" {
				r.complain(a.message)
			}
			return
		}
		wait := pause
		if a.after > 0 {
			wait = a.after
		}
		if !a.retry || r.o.clock.now().Add(wait).After(giveUp) || r.o.clock.wait(ctx, wait) != nil {
			r.refuse(int64(q.Spans), a.message)
			return
		}
		r.retried.Add(1)
		r.complain(a.message)
		pause = min(2*pause, mostPause)
	}
}

func (r *run) refuse(spans int64, message string) {
	r.refused.Add(spans)
	r.complain(message)
}

func (r *run) complain(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.complaints) >= maxComplaints {
		return
	}
	for _, c := range r.complaints {
		if c == message {
			return
		}
	}
	r.complaints = append(r.complaints, message)
}

// finish moves what was counted into the report.
func (r *run) finish() {
	p := &r.report
	p.Traces, p.Spans = r.stream.Traces, r.stream.Spans
	p.Accepted, p.Refused, p.Retried = r.accepted.Load(), r.refused.Load(), r.retried.Load()
	p.Requests, p.Bytes = r.requests.Load(), r.bytes.Load()
	p.Complaints = r.complaints
	if p.Wall > 0 {
		p.SpansPerSecond = float64(p.Accepted) / p.Wall.Seconds()
	}
}
