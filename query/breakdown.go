package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/rollup"
)

// BreakdownQuery asks for rate, errors and durations by the values of a field.
type BreakdownQuery struct {
	Range store.TimeRange
	Match store.Expr // of the spans that count; nil: entry spans
	Field store.Field
	Limit int // values, the most frequent ones; 0 is 20
}

// maxValues bounds the values that are told apart while counting; the others share one called rollup.Other.
const maxValues = 5_000

// ValueFigures are the figures of the spans with one value.
type ValueFigures struct {
	Value  string // in text form; of spans without the field the empty text with Absent
	Absent bool
	RED    RED
}

// Breakdown answers figures by the values of any field, most calls first, by a scan.
func (q *Query) Breakdown(ctx context.Context, s store.Scope, bq BreakdownQuery) ([]ValueFigures, store.Done, error) {
	if bq.Range.To <= bq.Range.From {
		return nil, store.Done{}, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if bq.Limit < 0 || bq.Limit > maxValues {
		return nil, store.Done{}, &problem.Problem{Kind: problem.Invalid, Field: "limit", Message: fmt.Sprintf("limit is %d", bq.Limit), Hint: fmt.Sprintf("use 1 to %d", maxValues)}
	}
	if bq.Limit == 0 {
		bq.Limit = 20
	}
	getter, err := match.NewGetter(bq.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	need := store.Need{Columns: store.ColKind | store.ColStatus | store.ColTime | store.ColWeight | store.ColService | store.ColName | store.ColParent |
		store.ColMark | store.ColSpanID | store.ColStatusMessage | store.ColTraceState | store.ColScope | store.ColEvents | store.ColLinks, Fields: []store.Field{bq.Field}}
	if bq.Match == nil {
		bq.Match = entrySpans
	}
	absent := new(rollup.Counts)
	values := make(map[string]*rollup.Counts)
	var text []byte
	var one []span.Value
	done, err := q.scan(ctx, s, &store.Scan{Range: bq.Range, Mode: store.Start, Match: bq.Match, Need: need}, func(r store.Rows) {
		getter.Bind(r.Batch)
		failed := failuresIn(r.Batch)
		for _, i := range r.Rows {
			row := int(i)
			counts := absent
			if text, one = fieldText(getter, text[:0], one[:0], r.Batch, row); len(text) > 0 {
				var ok bool
				if counts, ok = values[string(text)]; !ok {
					name := string(text)
					if len(values) >= maxValues {
						name = rollup.Other
					}
					if counts = values[name]; counts == nil {
						counts = new(rollup.Counts)
						values[name] = counts
					}
				}
			}
			counts.Add(r.Batch.TraceID[row], r.Batch.Duration(row), r.Batch.Weight[row], failed.row(row))
		}
	})
	if err != nil {
		return nil, done, err
	}
	over := time.Duration(bq.Range.To - bq.Range.From)
	list := make([]ValueFigures, 0, len(values)+1)
	for v, c := range values {
		list = append(list, ValueFigures{Value: v, RED: figuresOf(c, over)})
	}
	if absent.N > 0 {
		list = append(list, ValueFigures{Absent: true, RED: figuresOf(absent, over)})
	}
	slices.SortFunc(list, func(x, y ValueFigures) int {
		return cmp.Or(cmp.Compare(y.RED.Weight, x.RED.Weight), cmp.Compare(x.Value, y.Value))
	})
	return list[:min(len(list), bq.Limit)], done, nil
}

// fieldText is the text of a field on a row, the first value where there are several; empty if absent or not a scalar.
func fieldText(g *match.Getter, text []byte, values []span.Value, b *span.Batch, row int) ([]byte, []span.Value) {
	if g.Computed() {
		return g.AppendText(text, row), values
	}
	if values = g.Append(values, row); len(values) > 0 {
		text, _ = match.AppendText(text, b, values[0])
	}
	return text, values
}
