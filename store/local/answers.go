package local

import (
	"fmt"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// answers is how questions are answered from a snapshot, wherever its parts come from: what Engine and Reader share.
type answers struct {
	snap       func() (*snapshot, error) // all rows of now; the caller releases it
	gatherRows int                       // of several traces, that a search holds at once
	pages      *pages
	sides      *sideCache
	rolls      rollupCache // decoded rollups
	hours      hourTables  // and those of hours, merged
	reads      reads
}

const (
	rollupShare = 8   // of the memory, that decoded rollups may take
	gatherShare = 16  // of the memory, that a search may hold of the traces it judges
	rowBytes    = 128 // of a row in such a search
	minGather   = 16 << 10
	pagesShare  = 4 // of the memory, that snapshots of page tokens may hold
)

// init sets the budgets. gatherRows of 0 follows from the memory.
func (e *answers) init(snap func() (*snapshot, error), now func() time.Time, memory int64, gatherRows int) {
	if gatherRows <= 0 {
		gatherRows = max(minGather, int(memory/gatherShare/rowBytes))
	}
	e.snap, e.gatherRows, e.sides = snap, gatherRows, &sideCache{}
	e.rolls.limit = memory / rollupShare
	e.pages = newPages(now, memory/pagesShare)
}

// readable checks that a question may be asked.
func (e *answers) readable(s store.Scope) error {
	if s.Tenant != "" && s.Tenant != store.DefaultTenant {
		return &problem.Problem{Kind: problem.Unsupported, Field: "tenant", Message: fmt.Sprintf("tenant %q: this engine has no tenants", s.Tenant),
			Hint: "leave the tenant out"}
	}
	return nil
}
