package answer

import (
	"fmt"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// MaxLimit bounds a page: a summary takes some hundred bytes.
const MaxLimit = 100_000

// Asked is what a search asks, compiled.
type Asked struct {
	Must *match.Program // of the scope
	Want *match.Program // of the search
	Both *match.Program
}

// Ask checks and compiles a search.
func Ask(s store.Scope, q *store.Search) (a Asked, err error) {
	if q.Limit <= 0 || q.Limit > MaxLimit {
		return a, &problem.Problem{Kind: problem.Invalid, Field: "limit", Message: fmt.Sprintf("a page of %d traces", q.Limit),
			Hint: fmt.Sprintf("ask for 1 to %d", MaxLimit)}
	}
	if a.Must, err = match.Compile(s.MustMatch); err != nil {
		return a, err
	}
	if a.Want, err = match.Compile(q.Match); err != nil {
		return a, err
	}
	a.Both, err = match.Compile(s.MustMatch, q.Match)
	return a, err
}

// SummaryNeed is what a summary says of a trace.
var SummaryNeed = store.Need{Columns: store.ColIdentity | store.ColParent | store.ColName | store.ColStatus}

// TwinDistance is how far apart a 64-bit id and its 128-bit twin may start and still be one request's, ns.
const TwinDistance = int64(time.Hour)

// Sighting is a trace that has rows, and its first start.
type Sighting struct {
	ID    span.TraceID
	Start int64
}

// Family chooses of traces with one lower half those that a look-up of id means, by their places: the trace itself, then its twins that
// start within TwinDistance of it; where it is not here, those around the newest twin.
func Family(found []Sighting, id span.TraceID) (places []int) {
	here, known, start := false, false, int64(0)
	for i, x := range found {
		if x.ID == id {
			here, start = true, x.Start
			places = append(places, i)
		}
	}
	for _, x := range found {
		if !here && x.ID.IsTwin(id) && (!known || x.Start > start) {
			known, start = true, x.Start
		}
	}
	for i, x := range found {
		if d := x.Start - start; x.ID.IsTwin(id) && d <= TwinDistance && d >= -TwinDistance {
			places = append(places, i)
		}
	}
	return places
}
