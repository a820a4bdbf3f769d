package uiapi

import (
	"errors"
	"net/http"

	"github.com/spanloom/spanloom/query/traceql"
)

// checkTraceQL says whether a text is a query, for editors: a mistake is an answer here and no error, with its place.
func (a *api) checkTraceQL(c *call) error {
	q, err := traceql.Parse(c.params.Get("q"))
	var bad *traceql.ParseError
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	o := open(nil)
	o.bool("ok", err == nil)
	if err != nil {
		o.key("mistake")
		m := open(o.out)
		m.text("message", bad.Message)
		m.someText("expected", bad.Expected)
		m.someText("hint", bad.Hint)
		m.int("line", int64(bad.Line))
		m.int("column", int64(bad.Column))
		o.out = m.close()
	} else {
		kind := "search"
		if q.IsMetrics() {
			kind = "metrics"
		} else if _, ok := traceql.SpanCondition(q); ok {
			kind = "spans"
		}
		o.text("kind", kind)
	}
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}
