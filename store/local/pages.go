package local

import (
	"crypto/rand"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// pages holds the snapshots that page tokens were given for. A snapshot keeps memtables in memory that were flushed since, and files
// on the disk that were replaced: maxPins and maxPinned bound them, the oldest go first.
type pages struct {
	now      func() time.Time
	instance uint64 // those of another process are expired
	seed     maphash.Seed
	maxBytes int64

	mu   sync.Mutex
	pins []pinned // oldest first
	next uint64
}

type pinned struct {
	number uint64
	issued time.Time
	snap   *snapshot
}

// maxPins is the most snapshots that are held.
const maxPins = 128

func newPages(now func() time.Time, maxBytes int64) *pages {
	var p [8]byte
	rand.Read(p[:])
	return &pages{now: now, instance: binary.LittleEndian.Uint64(p[:]), seed: maphash.MakeSeed(), maxBytes: maxBytes}
}

// plan tells plans apart, all but their limit and page.
func (p *pages) plan(s store.Scope, q *store.Search) uint64 {
	var h maphash.Hash
	h.SetSeed(p.seed)
	return answer.HashPlan(&h, s, q)
}

// pin holds a snapshot for answer.PageLife and answers its number.
func (p *pages) pin(s *snapshot) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	p.next++
	p.pins = append(p.pins, pinned{p.next, p.now(), s.hold()})
	for len(p.pins) > 1 && (len(p.pins) > maxPins || p.bytes() > p.maxBytes) {
		p.drop()
	}
	return p.next
}

// bytes is the memory of memtables that only pins may hold. mu is held.
func (p *pages) bytes() (n int64) {
	seen := make(map[*memtable]bool)
	for _, pin := range p.pins {
		for _, m := range pin.snap.mems {
			if !seen[m.m] {
				seen[m.m] = true
				_, used := m.m.size()
				n += used
			}
		}
	}
	return n
}

// expire lets go of old snapshots, and of those of a clock that was set back since: they would be held for as long as it was. They need
// not be in the order of their time. mu is held.
func (p *pages) expire() {
	p.pins = slices.DeleteFunc(p.pins, func(pin pinned) bool {
		old := p.now().Sub(pin.issued).Abs() > answer.PageLife
		if old {
			pin.snap.release()
		}
		return old
	})
}

func (p *pages) drop() {
	p.pins[0].snap.release()
	p.pins[0] = pinned{}
	p.pins = p.pins[1:]
}

// tidy lets go of what nobody can ask for any more.
func (p *pages) tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
}

func (p *pages) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.pins) > 0 {
		p.drop()
	}
}

// token is what a page token says: the fields in order, big-endian.
type token struct {
	instance, plan, pin uint64
	after               answer.Rank // last trace of the page before
}

const tokenBytes = 8 + 8 + 8 + answer.RankBytes

func (p *pages) token(pin, plan uint64, after answer.Rank) string {
	b := make([]byte, 0, tokenBytes+4)
	b = binary.BigEndian.AppendUint64(b, p.instance)
	b = binary.BigEndian.AppendUint64(b, plan)
	b = binary.BigEndian.AppendUint64(b, pin)
	return answer.Seal(answer.AppendRank(b, after))
}

// parse reads a token and finds its snapshot, which the caller releases.
func (p *pages) parse(text string, plan uint64) (t token, snap *snapshot, err error) {
	b, ok := answer.Unseal(text)
	if !ok || len(b) != tokenBytes {
		return token{}, nil, answer.NoPage(text)
	}
	t = token{
		instance: binary.BigEndian.Uint64(b), plan: binary.BigEndian.Uint64(b[8:]), pin: binary.BigEndian.Uint64(b[16:]),
		after: answer.RankAt(b[24:]),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire()
	if t.instance == p.instance {
		for _, pin := range p.pins {
			if pin.number != t.pin || p.now().Sub(pin.issued) > answer.PageLife { // where the clock went back, an older one may still hold
				continue
			}
			if t.plan != plan {
				return token{}, nil, answer.OtherSearch()
			}
			return t, pin.snap.hold(), nil
		}
	}
	return token{}, nil, answer.OldPage()
}
