package mem

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// pageLife is how long a page token is good.
const pageLife = 5 * time.Minute

// token is what a page token says. It is text of fixed length: the fields below in order, big-endian, and a CRC32, in
// URL-safe base64. The checksum is against mutilated links, not against forgery: every token answers only what the same
// plan without a token would have answered.
type token struct {
	instance uint64      // of the engine
	plan     uint64      // hash of the plan it belongs to
	issued   int64       // ns
	end      ref         // first row that does not belong to the snapshot
	base     uint32      // oldest chunk when the first page was asked
	after    answer.Rank // last trace of the page before
}

const tokenBytes = 8 + 8 + 8 + 8 + 4 + 8 + 16 + 4

func (t token) String() string {
	p := make([]byte, 0, tokenBytes)
	p = binary.BigEndian.AppendUint64(p, t.instance)
	p = binary.BigEndian.AppendUint64(p, t.plan)
	p = binary.BigEndian.AppendUint64(p, uint64(t.issued))
	p = binary.BigEndian.AppendUint64(p, uint64(t.end))
	p = binary.BigEndian.AppendUint32(p, t.base)
	p = binary.BigEndian.AppendUint64(p, uint64(t.after.Start))
	p = append(p, t.after.ID[:]...)
	p = binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(p))
	return base64.RawURLEncoding.EncodeToString(p)
}

// parseToken reads a token and checks that this engine issued it for this plan within the last five minutes.
func (e *Engine) parseToken(text string, plan uint64) (t token, err error) {
	invalid := func(message string) (token, error) {
		return token{}, &problem.Problem{Kind: problem.Invalid, Field: "page", Message: message, Hint: "ask for the first page again"}
	}
	p, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(p) != tokenBytes || binary.BigEndian.Uint32(p[tokenBytes-4:]) != crc32.ChecksumIEEE(p[:tokenBytes-4]) {
		return invalid(fmt.Sprintf("%.100q is not a page token", text))
	}
	t = token{
		instance: binary.BigEndian.Uint64(p),
		plan:     binary.BigEndian.Uint64(p[8:]),
		issued:   int64(binary.BigEndian.Uint64(p[16:])),
		end:      ref(binary.BigEndian.Uint64(p[24:])),
		base:     binary.BigEndian.Uint32(p[32:]),
		after:    answer.Rank{Start: int64(binary.BigEndian.Uint64(p[36:])), ID: span.TraceID(p[44:60])},
	}
	if t.instance != e.instance || e.now().Sub(time.Unix(0, t.issued)) > pageLife {
		return token{}, &problem.Problem{Kind: problem.Expired, Field: "page", Message: "the page token is too old", Hint: "ask for the first page again"}
	}
	if t.plan != plan {
		return invalid("the page token belongs to another search")
	}
	return t, nil
}

// planHash tells plans apart, all but their limit and page.
func (e *Engine) planHash(s store.Scope, q *store.Search) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	fmt.Fprintf(&h, "%#v %#v %v %#v %v", s.MustMatch, q.Range, q.Mode, q.Match, q.TraceDuration)
	return h.Sum64()
}
