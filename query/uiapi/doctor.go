package uiapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spanloom/spanloom/doctor"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// Doctor is what /doctor asks.
type Doctor interface {
	// Report judges what this server knows of a window, alone or with facts from elsewhere; with alone it judges only those
	// facts.
	Report(ctx context.Context, s store.Scope, r store.TimeRange, facts *doctor.Facts, alone bool, o doctor.Options) (*doctor.Report, error)
	// Encryption tells which calls policies make mutual TLS; nil where no cluster is read.
	Encryption() *doctor.Encryption
}

// maxFactsBody bounds a facts file that a browser loads: one of 5,000 pods has about 20 MB.
const maxFactsBody = 64 << 20

// doctorParams of both methods.
var doctorParams = []string{"start", "end", "namespace", "workload", "lang"}

func (a *api) doctorReport(c *call) error { return a.diagnose(c, nil, false) }

// doctorFacts judges a saved facts file, one at a time: such a file takes several times its size in memory.
func (a *api) doctorFacts(c *call) error {
	alone, err := c.boolean("alone")
	if err != nil {
		return err
	}
	select {
	case a.factsTurn <- struct{}{}:
		defer func() { <-a.factsTurn }()
	default:
		return problem.New(problem.Overloaded, "another facts file is being judged", "try again in a moment")
	}
	body := http.MaxBytesReader(c.w, c.r.Body, maxFactsBody)
	facts, err := doctor.LoadFacts(body)
	if err != nil {
		if c.r.ContentLength > maxFactsBody {
			return &problem.Problem{Kind: problem.TooLarge, Message: fmt.Sprintf("the facts file has %d bytes, at most %d are read here", c.r.ContentLength, maxFactsBody),
				Hint: "judge it on the command line: spanloom doctor --facts FILE"}
		}
		return err
	}
	return a.diagnose(c, facts, alone)
}

func (a *api) diagnose(c *call, facts *doctor.Facts, alone bool) error {
	if a.Doctor == nil {
		return problem.New(problem.Unsupported, "this server has no doctor", "run spanloom doctor on the command line")
	}
	r, err := c.window()
	if err != nil {
		return err
	}
	language, err := c.language()
	if err != nil {
		return err
	}
	report, err := a.Doctor.Report(c.ctx, c.scope, r, facts, alone, doctor.Options{Namespace: c.params.Get("namespace"), Workload: c.params.Get("workload")})
	if err != nil {
		return err
	}
	report.In(language)
	return sendJSON(c, report)
}
