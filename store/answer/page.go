package answer

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/fnv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// PageLife is how long a page token is good.
const PageLife = 5 * time.Minute

const firstPage = "ask for the first page again"

// NoPage refuses a text that is no page token.
func NoPage(text string) error {
	return &problem.Problem{Kind: problem.Invalid, Field: "page", Message: fmt.Sprintf("%.100q is not a page token", text), Hint: firstPage}
}

// OtherSearch refuses a token that was given for another search.
func OtherSearch() error {
	return &problem.Problem{Kind: problem.Invalid, Field: "page", Message: "the page token belongs to another search", Hint: firstPage}
}

// OldPage refuses a token whose time is over.
func OldPage() error {
	return &problem.Problem{Kind: problem.Expired, Field: "page", Message: "the page token is too old", Hint: firstPage}
}

// Seal writes the fields of a token as text: themselves and a CRC32, in URL-safe base64. The checksum is against mutilated links,
// not against forgery: a token answers only what the same search without one would have answered.
func Seal(fields []byte) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(fields, crc32.ChecksumIEEE(fields)))
}

// Unseal gives back what Seal was given; not ok for any text that Seal did not write.
func Unseal(text string) (fields []byte, ok bool) {
	p, err := base64.RawURLEncoding.Strict().DecodeString(text)
	n := len(p) - 4
	if err != nil || n < 0 || strings.ContainsAny(text, "\r\n") || binary.BigEndian.Uint32(p[n:]) != crc32.ChecksumIEEE(p[:n]) {
		return nil, false
	}
	return p[:n], true
}

// AppendRank adds the sixteen and eight bytes of a trace's place to a token.
func AppendRank(p []byte, r Rank) []byte {
	return append(binary.BigEndian.AppendUint64(p, uint64(r.Start)), r.ID[:]...)
}

// RankBytes is what AppendRank adds.
const RankBytes = 8 + 16

// RankAt reads what AppendRank wrote.
func RankAt(p []byte) Rank {
	return Rank{Start: int64(binary.BigEndian.Uint64(p)), ID: span.TraceID(p[8:RankBytes])}
}

// HashPlan tells searches apart, all but their limit and page.
func HashPlan(h hash.Hash64, s store.Scope, q *store.Search) uint64 {
	fmt.Fprintf(h, "%q %#v %#v %v %#v %v", s.Tenant, s.MustMatch, q.Range, q.Mode, q.Match, q.TraceDuration)
	return h.Sum64()
}

// Moment is the rows of one moment of servers that several processes store into, each row with its writer and a number that grows with
// time. Of the process that took it, it is exact: all batches up to a number but for those that were on their way. Of other
// processes it is what they began to store before the moment, by their clocks, so that a batch of theirs may still come in by up
// to what storing takes.
type Moment struct {
	Writer uint64
	Last   uint64   // number of the newest own batch
	Flying []uint64 // own batches below it that do not count, sorted
	Wall   uint64   // of this machine's clock: the others' numbers are times of theirs
	Fresh  bool     // it is now, and not that of a page before
}

// skew is how far another machine's clock may be ahead without its rows staying unseen for so long.
const skew = uint64(10 * time.Second)

// MomentOf makes the moment of now, of a process whose batches end at last.
func MomentOf(writer, last uint64, flying []uint64) Moment {
	return Moment{writer, last, flying, uint64(time.Now().UnixNano()), true}
}

// Bound is that of the others' numbers. What they store between two pages is on neither; a first page takes what another machine's clock
// has in the future.
func (m Moment) Bound() uint64 {
	if m.Fresh {
		return m.Wall + skew
	}
	return m.Wall
}

// SharedPage is what a page token says that any process on the same servers can answer.
type SharedPage struct {
	Plan   uint64 // hash of the search it belongs to
	Issued int64  // ns
	After  Rank   // the last trace of the page before
	Moment
}

const sharedBytes = 8 + 8 + RankBytes + 8 + 8 + 8 // without Flying

// String is the token: big-endian fields in their order.
func (t SharedPage) String() string {
	p := make([]byte, 0, sharedBytes+8*len(t.Flying)+4)
	p = binary.BigEndian.AppendUint64(p, t.Plan)
	p = binary.BigEndian.AppendUint64(p, uint64(t.Issued))
	p = AppendRank(p, t.After)
	p = binary.BigEndian.AppendUint64(p, t.Writer)
	p = binary.BigEndian.AppendUint64(p, t.Last)
	p = binary.BigEndian.AppendUint64(p, t.Wall)
	for _, seq := range t.Flying {
		p = binary.BigEndian.AppendUint64(p, seq)
	}
	return Seal(p)
}

// ParseSharedPage reads a token and checks that it was issued for this search within PageLife. most bounds Flying.
func ParseSharedPage(text string, plan uint64, now time.Time, most int) (t SharedPage, err error) {
	p, ok := Unseal(text)
	if !ok || len(p) < sharedBytes || (len(p)-sharedBytes)%8 != 0 || len(p) > sharedBytes+8*most {
		return t, NoPage(text)
	}
	number := func() uint64 {
		v := binary.BigEndian.Uint64(p)
		p = p[8:]
		return v
	}
	t.Plan, t.Issued = number(), int64(number())
	t.After, p = RankAt(p), p[RankBytes:]
	t.Writer, t.Last, t.Wall = number(), number(), number()
	for len(p) > 0 {
		t.Flying = append(t.Flying, number())
	}
	if now.Sub(time.Unix(0, t.Issued)) > PageLife {
		return SharedPage{}, OldPage()
	}
	if t.Plan != plan {
		return SharedPage{}, OtherSearch()
	}
	return t, nil
}

// Part is a piece of a search's list.
type Part struct {
	store.Page      // without a token
	More       bool // traces follow
}

// Last is the place of its last trace. There must be one.
func (p *Part) Last() Rank {
	last := p.Traces[len(p.Traces)-1]
	return Rank{Start: last.MatchedStart, ID: last.TraceID}
}

// Searcher is an engine that can begin a search at any place of its list.
type Searcher interface {
	// Moment is what counts now.
	Moment() Moment
	// SearchAfter is store.Reader's Search as of a moment for the traces behind a place; nil: from the beginning. It looks at no token and
	// gives none.
	SearchAfter(ctx context.Context, s store.Scope, q *store.Search, m Moment, after *Rank) (Part, error)
}

// SearchPage is store.Reader's Search of an engine whose tokens any process on the same servers can answer. most bounds the batches on
// their way that a token may name.
func SearchPage(ctx context.Context, e Searcher, s store.Scope, q *store.Search, now time.Time, most int) (*store.Page, error) {
	hash := HashPlan(fnv.New64a(), s, q)
	var moment Moment
	var after *Rank
	if q.Page == "" {
		moment = e.Moment() // before anything is made visible, which shows all that it counts
	} else {
		t, err := ParseSharedPage(q.Page, hash, now, most)
		if err != nil {
			return nil, err
		}
		moment, after = t.Moment, &t.After
	}
	part, err := e.SearchAfter(ctx, s, q, moment, after)
	if err != nil {
		return nil, err
	}
	if part.More && part.Complete {
		part.Next = SharedPage{Plan: hash, Issued: now.UnixNano(), After: part.Last(), Moment: moment}.String()
	}
	return &part.Page, nil
}
