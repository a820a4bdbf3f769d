package load

import (
	"math"
	"time"

	"github.com/spanloom/spanloom/span"
)

// shuffle is how far a request may be delayed against the order in which proxies had it ready: slow links, retries and
// collectors between them make receivers see the past minute in no order.
const shuffle = 40 * time.Second

// Request is one export request of one proxy, encoded.
type Request struct {
	Pod   int // whose proxy sends it
	Spans int
	Body  []byte
}

// Stream yields the requests of a mesh in the order in which they arrive: each proxy collects its spans as they end,
// sends every so many of them, and requests overtake one another by up to 40 s of the generated time.
type Stream struct {
	Traces uint64  // generated until now
	Spans  int64   // of these traces
	Bits   float64 // information in them: Trace.Bits
	Twice  float64 // Trace.Repeated

	data       *Data
	encode     Encoder
	perRequest int
	limit      int64 // spans after which no further trace is begun

	ended   queue[endedSpan] // by end, waiting for the traces that may end before
	proxies [Pods]*proxyQueue
	late    queue[Request] // by arrival
	now     int64          // no span that is still to come ends before
	closing bool
	flushed bool
	delays  *draw
	traces  []*Trace // unused
	bodies  [][]byte // unused
}

type endedSpan struct {
	trace *openTrace
	index int
}

// openTrace counts the spans that have not been handed to their proxy yet.
type openTrace struct {
	*Trace
	open int
}

type proxyQueue struct {
	batch span.Batch
	rows  *Rows
}

// Encoder appends one export request with every row of a batch to dst.
type Encoder func(dst []byte, b *span.Batch) []byte

// Stream starts the traffic at trace 0. limit is the number of spans after which no further trace is begun (the last
// trace is sent whole); 0 is without end.
func (d *Data) Stream(perRequest int, limit int64, encode Encoder) *Stream {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	s := &Stream{data: d, encode: encode, perRequest: perRequest, limit: limit, delays: newDraw()}
	s.delays.seed(d.Seed, math.MaxUint64)
	for i := range s.proxies {
		p := &proxyQueue{}
		p.rows = d.Rows(&p.batch)
		s.proxies[i] = p
	}
	return s
}

// Finish begins no further trace: what was begun is still yielded to its end.
func (s *Stream) Finish() { s.closing = true }

// Next yields the next request, false after the last. The body is the caller's until Release.
func (s *Stream) Next() (Request, bool) {
	for {
		if s.late.len() > 0 && (s.flushed || s.late.first() <= s.now) {
			return s.late.pop(), true
		}
		switch {
		case s.flushed:
			return Request{}, false
		case s.closing || s.Spans >= s.limit:
			s.endAll()
		default:
			s.grow()
		}
	}
}

// Release gives a request's body back for reuse.
func (s *Stream) Release(r Request) { s.bodies = append(s.bodies, r.Body[:0]) }

// grow generates the next trace and hands on all spans that ended before it began.
func (s *Stream) grow() {
	s.now = s.data.Slot(s.Traces)
	for s.ended.len() > 0 && s.ended.first() <= s.now {
		s.hand(s.ended.pop())
	}
	t := &openTrace{Trace: s.unused()}
	s.data.Trace(s.Traces, t.Trace)
	t.open = len(t.Spans)
	for i := range t.Spans {
		s.ended.push(t.Spans[i].End, endedSpan{t, i})
	}
	s.Traces++
	s.Spans += int64(t.open)
	s.Bits += t.Bits
	s.Twice += t.Repeated
}

func (s *Stream) unused() *Trace {
	if n := len(s.traces); n > 0 {
		t := s.traces[n-1]
		s.traces = s.traces[:n-1]
		return t
	}
	return &Trace{}
}

// hand gives a span to its proxy, which sends when it has enough.
func (s *Stream) hand(e endedSpan) {
	p := s.proxies[e.trace.Spans[e.index].Pod]
	p.rows.Add(e.trace.Trace, e.index)
	if p.batch.Len() >= s.perRequest {
		s.send(e.trace.Spans[e.index].Pod, e.trace.Spans[e.index].End)
	}
	e.trace.open--
	if e.trace.open == 0 {
		s.traces = append(s.traces, e.trace.Trace)
	}
}

func (s *Stream) send(pod int, at int64) {
	p := s.proxies[pod]
	var body []byte
	if n := len(s.bodies); n > 0 {
		body, s.bodies = s.bodies[n-1], s.bodies[:n-1]
	}
	r := Request{Pod: pod, Spans: p.batch.Len(), Body: s.encode(body, &p.batch)}
	p.batch.Reset()
	p.rows.Reset(&p.batch)
	s.late.push(at+int64(s.delays.intn(int(shuffle))), r)
}

func (s *Stream) endAll() {
	for s.ended.len() > 0 {
		s.now = s.ended.first()
		s.hand(s.ended.pop())
	}
	for pod, p := range s.proxies {
		if p.batch.Len() > 0 {
			s.send(pod, s.now)
		}
	}
	s.flushed = true
}
