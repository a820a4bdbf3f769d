package clickhouse

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// snapshot is the rows of one moment. Of the process that took it, it is exact: all batches up to a number but for those whose insert
// was on its way. Of other processes it is what they began to store before the moment, by their clocks, so that a batch of theirs
// may still come in by up to what an insert takes.
type snapshot struct {
	writer uint64
	last   uint64   // number of the newest own batch
	flying []uint64 // own batches below it that do not count, sorted
	wall   uint64   // bound of the others' numbers
}

// skew is how far another machine's clock may be ahead without its rows staying unseen for so long.
const skew = uint64(10 * time.Second)

func (e *Engine) snapshot() snapshot {
	if e.at != nil {
		return *e.at
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := snapshot{writer: e.writer, last: e.lastSeq, wall: uint64(time.Now().UnixNano()) + skew}
	for seq := range e.flying {
		s.flying = append(s.flying, seq)
	}
	slices.Sort(s.flying)
	return s
}

// Pin gives the engine as it answers at this moment: of what this process stores only what counts now, whatever comes meanwhile. What
// other processes store may come in.
func (e *Engine) Pin() *Engine {
	s := e.snapshot()
	return &Engine{core: e.core, at: &s}
}

// pinned is the condition of a row that a pinned engine answers with; yes for one that is not.
func (e *Engine) pinned() string {
	if e.at == nil {
		return yes
	}
	return fmt.Sprintf("(Writer != %d OR %s)", e.at.writer, e.at.own())
}

// sql is the condition of a row of the snapshot.
func (s snapshot) sql() string {
	return fmt.Sprintf("if(Writer = %d, %s, Seq <= %d)", s.writer, s.own(), s.wall)
}

// own is the condition of a row that this process stored.
func (s snapshot) own() string {
	text := fmt.Sprintf("Seq <= %d", s.last)
	if len(s.flying) > 0 {
		var list []string
		for _, seq := range s.flying {
			list = append(list, fmt.Sprint(seq))
		}
		text += " AND Seq NOT IN (" + strings.Join(list, ", ") + ")"
	}
	return text
}

// pageLife is how long a page token is good.
const pageLife = 5 * time.Minute

// token is what a page token says: big-endian fields in this order with a CRC32, in URL-safe base64. Any process on the same tables
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
	if err != nil || len(p) < tokenBytes || (len(p)-tokenBytes)%8 != 0 || len(p) > tokenBytes+8*maxConnections ||
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
