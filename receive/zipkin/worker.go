package zipkin

import (
	"net/netip"
	"sync"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive"
	"github.com/spanloom/spanloom/span"
)

// worker is what one request needs besides body and batch. Workers are pooled, so that a request allocates none of it.
type worker struct {
	Decoder
	kept  [16]byte // the body's beginning: decoding changes the body
	nKept int
	size  int // of the body

	// What the batch may grow beyond the usual multiple of its body is taken from the budget.
	budget      *receive.Budget
	free, taken int64
	alone       bool // it asked for more than one request may have
}

type workerPool struct{ pool sync.Pool }

func (p *workerPool) get(in *receive.Intake, body []byte) *worker {
	w, ok := p.pool.Get().(*worker)
	if !ok {
		w = new(worker)
		w.room = w.fits
	}
	w.Strict, w.size = in.Strict, len(body)
	w.nKept = copy(w.kept[:], body)
	w.budget, w.free, w.taken, w.alone = in.Budget, int64(len(body))+minFree, 0, false
	return w
}

func (p *workerPool) put(w *worker) {
	w.budget.Give(w.taken)
	if w.size <= pooledBody {
		p.pool.Put(w)
	}
}

const (
	minFree    = 1 << 20 // what every batch may hold without asking, besides as much as its body
	pooledBody = 1 << 20 // a worker holds arrays and views as large as its body: after a larger one it is not kept
)

func (w *worker) head() []byte { return w.kept[:w.nKept] }

// problem words the decoder's error: a batch that will never fit the budget is not one that does not fit now.
func (w *worker) problem(err error) *problem.Problem {
	pr := problem.Of(err)
	if w.alone && pr.Kind == problem.Overloaded {
		return receive.ErrOutgrown(w.budget)
	}
	return pr
}

// fits is the decoder's room.
func (w *worker) fits(b *span.Batch) bool {
	need := int64(b.Size()) - w.free - w.taken
	if need <= 0 {
		return true
	}
	need += minFree
	if !w.budget.Take(need) {
		w.alone = w.budget.TooMuch(int64(w.size) + w.taken + need)
		return false
	}
	w.taken += need
	return true
}

// countRefused writes the refusals of a batch that is not handed on: what was malformed has no known number of spans.
func countRefused(in *receive.Intake, b *span.Batch, sender netip.Addr, size int, head []byte, pr *problem.Problem) {
	for _, x := range b.Refused {
		r := receive.Rejection{Protocol: span.ProtocolZipkin, Sender: sender, Reason: receive.Reason(x.Reason), Spans: x.Spans,
			Bytes: size, Head: head, Message: pr.Error()}
		if r.Reason == receive.Malformed {
			r.Spans = 0
		}
		in.Ledger.Refused(r)
	}
}
