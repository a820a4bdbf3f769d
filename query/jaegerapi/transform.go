package jaegerapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// maxTransformed is the largest body of POST /api/transform. Its spans take some five times that in memory.
const maxTransformed = 8 << 20

// transform answers POST /api/transform: OTLP JSON that someone has at hand, such as a file, as Jaeger shows traces. Nothing is
// stored, and no step that stored spans go through is taken: services are those that the spans name.
func (a *api) transform(c *call) error {
	if err := a.checkOrigin(c.Request); err != nil { // it costs what other pages should not spend
		return err
	}
	select { // one at a time
	case a.transforming <- struct{}{}:
		defer func() { <-a.transforming }()
	case <-c.Context().Done():
		return c.Context().Err()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.out.w, c.Body, maxTransformed))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return problem.New(problem.TooLarge, fmt.Sprintf("the body is larger than %d MiB", maxTransformed>>20), "send it to the OTLP receiver and read it back by its trace id")
		}
		return problem.New(problem.Invalid, "the body could not be read: "+err.Error(), "")
	}
	b := &span.Batch{Tenant: store.DefaultTenant, Received: a.Query.Now().UnixNano()}
	if err := otlp.DecodeJSON(b, body); err != nil {
		return invalid("", "cannot unmarshal OTLP: %s", problem.Of(err).Error())
	}
	for row, start := range b.Start {
		if b.Time[row] = int64(start); span.ImpossibleStart(start, b.Received) {
			b.Time[row] = b.Received
			b.Mark[row] |= span.MarkTimeReplaced
		}
		if v, ok := b.FindAttr(b.Resources[b.Resource[row]].Attrs, "service.name"); ok && v.Type == span.TypeString {
			b.Service[row] = v.Value().Str()
		}
	}
	w := traceWriter{out: c.out}
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	for _, t := range a.Query.AssembleGiven(b) {
		if !w.next(t) {
			return nil
		}
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(0, nil)
	return nil
}
