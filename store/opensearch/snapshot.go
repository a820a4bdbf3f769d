package opensearch

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// snapshot is the rows of one moment. Of the process that took it, it is exact: all batches up to a number but for those that were
// on their way. Of other processes it is what they began to store before the moment, by their clocks, so that a batch of theirs
// may still come in by up to what storing takes and the refresh interval.
type snapshot struct {
	writer uint64
	last   uint64   // number of the newest own batch
	flying []uint64 // own batches below it that do not count, sorted
	wall   uint64   // bound of the others' numbers
}

// skew is how far another machine's clock may be ahead without its rows staying unseen for so long.
const skew = uint64(10 * time.Second)

func (e *Engine) snapshot() snapshot {
	writer, _ := strconv.ParseUint(e.writer, 16, 64) // made of 16 digits
	e.mu.Lock()
	defer e.mu.Unlock()
	return snapshot{writer: writer, last: e.lastSeq, flying: sortedSeqs(e.flying), wall: uint64(time.Now().UnixNano()) + skew}
}

// query is the condition of a document of the snapshot.
func (s snapshot) query() string {
	own := term("writer", fmt.Sprintf(`"%016x"`, s.writer))
	mine := all(own, bounds("seq", "lte", int64(s.last)))
	if len(s.flying) > 0 {
		var list []string
		for _, seq := range s.flying {
			list = append(list, strconv.FormatUint(seq, 10))
		}
		mine = all(mine, not(terms("seq", list...)))
	}
	return anyOf(mine, all(not(own), bounds("seq", "lte", int64(s.wall))))
}

// pageLife is how long a page token is good.
const pageLife = 5 * time.Minute

// token is what a page token says: big-endian fields in this order with a CRC32, in URL-safe base64. Any process on the same indices
// can answer it. The checksum is against mutilated links, not against forgery: a token answers only what the same plan
// without one would have answered.
type token struct {
	plan   uint64 // hash of the plan it belongs to
	issued int64  // ns
	after  answer.Rank
	snapshot
}

const tokenBytes = 8 + 8 + 8 + 16 + 8 + 8 + 8 + 4 // without flying

func (t token) String() string {
	p := make([]byte, 0, tokenBytes+8*len(t.flying))
	p = binary.BigEndian.AppendUint64(p, t.plan)
	p = binary.BigEndian.AppendUint64(p, uint64(t.issued))
	p = binary.BigEndian.AppendUint64(p, uint64(t.after.Start))
	p = append(p, t.after.ID[:]...)
	p = binary.BigEndian.AppendUint64(p, t.writer)
	p = binary.BigEndian.AppendUint64(p, t.last)
	p = binary.BigEndian.AppendUint64(p, t.wall)
	for _, seq := range t.flying {
		p = binary.BigEndian.AppendUint64(p, seq)
	}
	p = binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(p))
	return base64.RawURLEncoding.EncodeToString(p)
}

// parseToken reads a token and checks that it was issued for this plan within the last five minutes.
func parseToken(text string, plan uint64, now time.Time) (t token, err error) {
	invalid := func(message string) (token, error) {
		return token{}, &problem.Problem{Kind: problem.Invalid, Field: "page", Message: message, Hint: "ask for the first page again"}
	}
	p, err := base64.RawURLEncoding.DecodeString(text)
	n := len(p) - 4
	if err != nil || len(p) < tokenBytes || (len(p)-tokenBytes)%8 != 0 || len(p) > tokenBytes+8*maxBulks ||
		binary.BigEndian.Uint32(p[n:]) != crc32.ChecksumIEEE(p[:n]) {
		return invalid(fmt.Sprintf("%.100q is not a page token", text))
	}
	number := func() uint64 {
		v := binary.BigEndian.Uint64(p)
		p = p[8:]
		return v
	}
	p = p[:n]
	t.plan, t.issued, t.after.Start = number(), int64(number()), int64(number())
	t.after.ID = span.TraceID(p[:16])
	p = p[16:]
	t.writer, t.last, t.wall = number(), number(), number()
	for len(p) > 0 {
		t.flying = append(t.flying, number())
	}
	if now.Sub(time.Unix(0, t.issued)) > pageLife {
		return token{}, &problem.Problem{Kind: problem.Expired, Field: "page", Message: "the page token is too old", Hint: "ask for the first page again"}
	}
	if t.plan != plan {
		return invalid("the page token belongs to another search")
	}
	return t, nil
}

// planHash tells plans apart, all but their limit and page; the same in every process.
func planHash(s store.Scope, q *store.Search) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %#v %#v %v %#v %v", s.Tenant, s.MustMatch, q.Range, q.Mode, q.Match, q.TraceDuration)
	return h.Sum64()
}
