package queue

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/mem"
)

const (
	maxPins     = 128  // searches that are held
	tokenPrefix = "q." // no token of an engine begins so: theirs are URL-safe base64
	tokenBytes  = 8 + 8 + 8
)

// pages holds the searches that page tokens were given for. They hold tails in memory that were sent since: maxBytes bounds these, the
// oldest searches go first.
type pages struct {
	now      func() time.Time
	instance uint64 // tokens of another process are expired
	seed     maphash.Seed
	maxBytes int64

	mu   sync.Mutex
	pins []pinned // oldest first
	last uint64
}

type pinned struct {
	number uint64
	issued time.Time
	search *searcher
}

func (p *pages) init(now func() time.Time, maxBytes int64) {
	p.now, p.instance, p.seed, p.maxBytes = now, rand.Uint64(), maphash.MakeSeed(), maxBytes
}

// plan tells plans apart, all but their limit and page.
func (p *pages) plan(s store.Scope, q *store.Search) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	return answer.HashPlan(&h, s, q)
}

// pin holds a search for answer.PageLife and answers its token: big-endian fields.
func (p *pages) pin(sr *searcher, plan uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	p.last++
	p.pins = append(p.pins, pinned{p.last, p.now(), sr})
	for len(p.pins) > 1 && (len(p.pins) > maxPins || p.bytes() > p.maxBytes) {
		p.pins = slices.Delete(p.pins, 0, 1)
	}
	b := binary.BigEndian.AppendUint64(nil, p.instance)
	b = binary.BigEndian.AppendUint64(b, plan)
	b = binary.BigEndian.AppendUint64(b, p.last)
	return tokenPrefix + answer.Seal(b)
}

// bytes is the memory of tails that searches hold. mu is held.
func (p *pages) bytes() (n int64) {
	seen := make(map[*mem.Engine]bool)
	for _, pin := range p.pins {
		for _, t := range pin.search.view.tails {
			if !seen[t] {
				seen[t] = true
				n += t.Stats().Bytes
			}
		}
	}
	return n
}

// expire lets go of what nobody can ask for any more, also where the clock was set back. mu is held.
func (p *pages) expire() {
	p.pins = slices.DeleteFunc(p.pins, func(x pinned) bool { return p.now().Sub(x.issued).Abs() > answer.PageLife })
}

func (p *pages) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pins = nil
}

// parse reads a token and gives a copy of its search.
func (p *pages) parse(text string, plan uint64) (*searcher, error) {
	b, ok := answer.Unseal(strings.TrimPrefix(text, tokenPrefix))
	if !ok || len(b) != tokenBytes {
		return nil, answer.NoPage(text)
	}
	instance, of, number := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if instance == p.instance {
		for _, x := range p.pins {
			if x.number != number {
				continue
			}
			if of != plan {
				return nil, answer.OtherSearch()
			}
			return x.search.clone(), nil
		}
	}
	return nil, &problem.Problem{Kind: problem.Expired, Field: "page", Message: "the page token is too old, or of another process",
		Hint: "ask for the first page again; with several processes, let a client stay with one"}
}
