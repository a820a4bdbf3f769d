package mem

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// token is what a page token says: the fields below in order, big-endian.
type token struct {
	instance uint64      // of the engine
	plan     uint64      // hash of the plan it belongs to
	issued   int64       // ns
	end      ref         // first row that does not belong to the snapshot
	base     uint32      // oldest chunk when the first page was asked
	after    answer.Rank // last trace of the page before
}

const tokenBytes = 8 + 8 + 8 + 8 + 4 + answer.RankBytes

func (t token) String() string {
	p := make([]byte, 0, tokenBytes+4)
	p = binary.BigEndian.AppendUint64(p, t.instance)
	p = binary.BigEndian.AppendUint64(p, t.plan)
	p = binary.BigEndian.AppendUint64(p, uint64(t.issued))
	p = binary.BigEndian.AppendUint64(p, uint64(t.end))
	p = binary.BigEndian.AppendUint32(p, t.base)
	return answer.Seal(answer.AppendRank(p, t.after))
}

// parseToken reads a token and checks that this engine issued it for this plan within the last five minutes.
func (e *Engine) parseToken(text string, plan uint64) (t token, err error) {
	p, ok := answer.Unseal(text)
	if !ok || len(p) != tokenBytes {
		return token{}, answer.NoPage(text)
	}
	t = token{
		instance: binary.BigEndian.Uint64(p),
		plan:     binary.BigEndian.Uint64(p[8:]),
		issued:   int64(binary.BigEndian.Uint64(p[16:])),
		end:      ref(binary.BigEndian.Uint64(p[24:])),
		base:     binary.BigEndian.Uint32(p[32:]),
		after:    answer.RankAt(p[36:]),
	}
	if t.instance != e.instance || e.now().Sub(time.Unix(0, t.issued)) > answer.PageLife {
		return token{}, answer.OldPage()
	}
	if t.plan != plan {
		return token{}, answer.OtherSearch()
	}
	return t, nil
}

// planHash tells plans apart, all but their limit and page.
func (e *Engine) planHash(s store.Scope, q *store.Search) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	return answer.HashPlan(&h, s, q)
}
