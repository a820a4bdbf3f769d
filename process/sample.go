package process

import (
	"bytes"
	"encoding/binary"
	"math"
	"sync"

	"github.com/spanloom/spanloom/span"
)

// Head sampling follows OpenTelemetry's consistent probability sampling (specification "TraceState: Probability Sampling"):
// the last 56 bits of the trace id, or the explicit rv of the trace state, are the trace's randomness R; a sampler with
// threshold T keeps it if R >= T. All samplers with the same rule agree on a trace, so what a sender's sampler kept with
// th:… is kept here with the larger of both thresholds, and the weight is 2^56 / (2^56 - T).
//
// Envoy samples by the request id and says nothing of its rate. Where the mesh's rate is known (MeshPercent), spans without th:
// weigh by it too; the two decisions are independent, so the weights multiply.
const randomness = 1 << 56

// sample drops the rows of traces that are not kept and sets the weight of the others.
func (p *Pipeline) sample(b *span.Batch, percent, mesh float64) {
	own, unsaid := threshold(percent), 1.0
	if mesh > 0 {
		unsaid = 100 / mesh
	}
	hasState := false
	for _, s := range b.TraceState {
		if s.Len > 0 {
			hasState = true
			break
		}
	}
	if own == 0 && unsaid == 1 && !hasState {
		return
	}
	before := b.Len()
	b.Keep(func(i int) bool {
		r := binary.BigEndian.Uint64(b.TraceID[i][8:]) & (randomness - 1)
		t, weight := own, unsaid
		if s := b.TraceState[i]; s.Len > 0 {
			th, rv, hasRV := otState(b.Bytes(s))
			if hasRV {
				r = rv
			}
			t = max(t, th)
			if th > 0 {
				weight = 1
			}
		}
		if own > 0 && r < own {
			return false // only our own threshold drops: a sender's inconsistent th is not ours to enforce
		}
		if t > 0 {
			weight *= randomness / float64(randomness-t)
		}
		b.Weight[i] = weight
		return true
	})
	p.sampledOut.Add(int64(before - b.Len()))
}

// threshold of a percentage: 0 keeps all, 2^56 keeps none.
func threshold(percent float64) uint64 {
	if percent >= 100 {
		return 0
	}
	return uint64(math.Round((1 - percent/100) * randomness))
}

// otState reads th and rv from the ot member of a W3C trace state. What does not parse counts as absent.
func otState(state []byte) (th, rv uint64, hasRV bool) {
	for len(state) > 0 {
		var member []byte
		member, state, _ = bytes.Cut(state, []byte{','})
		member = bytes.TrimSpace(member)
		if !bytes.HasPrefix(member, []byte("ot=")) {
			continue
		}
		member = member[3:]
		for len(member) > 0 {
			var field []byte
			field, member, _ = bytes.Cut(member, []byte{';'})
			switch {
			case bytes.HasPrefix(field, []byte("th:")):
				// Trailing zeros may be left out: th:8 is 0x80000000000000.
				if digits := field[3:]; len(digits) >= 1 && len(digits) <= 14 {
					if v, ok := parseHex(digits); ok {
						th = v << (4 * (14 - len(digits)))
					}
				}
			case bytes.HasPrefix(field, []byte("rv:")):
				if digits := field[3:]; len(digits) == 14 {
					if v, ok := parseHex(digits); ok {
						rv, hasRV = v, true
					}
				}
			}
		}
	}
	return th, rv, hasRV
}

func parseHex(p []byte) (v uint64, ok bool) {
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// traceCounts counts the spans of recent traces in a fixed table: enough to stop a trace that never ends, in 1 MiB.
// A slot belongs to the last trace that hashed to it, so a giant trace is found as long as it sends more than its
// neighbours; it never refuses a small one.
type traceCounts struct {
	mu    sync.Mutex
	slots []traceCount
}

type traceCount struct {
	low uint64
	n   int
}

const traceSlots = 1 << 16

// limitTraces refuses the rows of a trace beyond its limit.
func (p *Pipeline) limitTraces(b *span.Batch, limit int) {
	if limit == 0 || b.Len() == 0 {
		return
	}
	c := &p.traces
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == nil {
		c.slots = make([]traceCount, traceSlots)
	}
	over := false
	for i := range b.Len() {
		low := b.TraceID[i].Low()
		s := &c.slots[(low^low>>32)&(traceSlots-1)]
		if s.low != low {
			*s = traceCount{low: low}
		}
		s.n++
		over = over || s.n > limit
	}
	if !over {
		return
	}
	before := b.Len()
	b.Keep(func(i int) bool {
		low := b.TraceID[i].Low()
		s := c.slots[(low^low>>32)&(traceSlots-1)]
		return s.low != low || s.n <= limit
	})
	if n := before - b.Len(); n > 0 {
		p.traceTooLarge.Add(int64(n))
		b.Refused = append(b.Refused, span.Refusal{Reason: "trace_too_large", Spans: n})
	}
}
