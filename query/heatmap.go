package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/rollup"
)

// HeatmapQuery asks how many spans started when and took how long.
type HeatmapQuery struct {
	Range   store.TimeRange // of starts
	Match   store.Expr      // of the spans that count; nil: those without a parent, one a trace as a rule
	Columns int             // of equal length, 1 to MaxHeatmapColumns; 0 is 60
}

// MaxHeatmapColumns bounds HeatmapQuery.Columns. Rows are at most HeatmapRows, so an answer has at most some 30,000 cells; real
// durations fill a tenth of that.
const MaxHeatmapColumns = 240

// Heatmap is counts by start and duration. Counts are raw: how many spans are here, not how many they stand for.
type Heatmap struct {
	Start, Step int64 // column i is [Start+i*Step, Start+(i+1)*Step), ns
	Columns     int
	Cells       []HeatCell // those that are not empty, by column, then row
	RED         RED        // of all counted spans
	store.Done
}

// HeatCell is the spans of one column whose duration lies in [RowBound(Row), RowBound(Row+1)).
type HeatCell struct {
	Column, Row int
	N, Errors   int64
	Example     span.TraceID // the trace of a failed one if there is one, else of the first that was read
}

// HeatmapRows is the number of rows there can be: six a decade, from 1 ns to the longest int64. Their bounds are numbers that people
// filter by: 10 ms, 15, 20, 30, 50, 70, 100.
const HeatmapRows = 114

// rowBounds are the lower ends of the rows; the last one is beyond any duration.
var rowBounds = func() (b [HeatmapRows + 1]int64) {
	decade := int64(1)
	for i := 0; i < HeatmapRows; i += 6 {
		copy(b[i:], []int64{decade, (3*decade + 1) / 2, 2 * decade, 3 * decade, 5 * decade, 7 * decade})
		decade *= 10 // the last one overflows and is not used
	}
	b[0] = 0
	b[HeatmapRows] = math.MaxInt64
	return b
}()

// RowBound is the shortest duration of a row in ns: 0, 2, 2, 3, 5, 7, 10, 15, 20 ... (row 1 is empty).
func RowBound(row int) int64 { return rowBounds[row] }

// heatmapRow is the row of a duration.
func heatmapRow(d int64) int {
	row, found := slices.BinarySearch(rowBounds[:HeatmapRows], d)
	if !found {
		return row - 1
	}
	for row+1 < HeatmapRows && rowBounds[row+1] == d {
		row++
	}
	return row
}

var rootSpans = store.Cond{Field: store.Field{In: store.Intrinsic, Key: store.FieldRoot}, Op: store.Eq, Value: store.Bool(true)}

// Heatmap counts spans by start and duration with one scan, inside of Limits: a cut answer has Complete false and lacks spans.
func (q *Query) Heatmap(ctx context.Context, s store.Scope, hq HeatmapQuery) (*Heatmap, error) {
	if hq.Range.To <= hq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if hq.Columns < 0 || hq.Columns > MaxHeatmapColumns {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "columns", Message: fmt.Sprintf("columns is %d", hq.Columns), Hint: fmt.Sprintf("use 1 to %d", MaxHeatmapColumns)}
	}
	if hq.Columns == 0 {
		hq.Columns = 60
	}
	if hq.Match == nil {
		hq.Match = rootSpans
	}
	h := &Heatmap{Start: hq.Range.From, Columns: hq.Columns}
	h.Step = (hq.Range.To - hq.Range.From + int64(hq.Columns) - 1) / int64(hq.Columns)
	all := new(rollup.Counts)
	cells := make(map[int]*HeatCell)
	done, err := q.scan(ctx, s, &store.Scan{Range: hq.Range, Mode: store.Start, Match: withNameless(hq.Match),
		Need: store.Need{Columns: store.ColTime | store.ColStatus | store.ColWeight}}, func(r store.Rows) {
		failed := failuresIn(r.Batch)
		for _, i := range r.Rows {
			row := int(i)
			d, bad := r.Batch.Duration(row), failed.row(row)
			all.Add(r.Batch.TraceID[row], d, r.Batch.Weight[row], bad)
			at := HeatCell{Column: int((r.Batch.Time[row] - h.Start) / h.Step), Row: heatmapRow(d)}
			key := at.Column*HeatmapRows + at.Row
			c := cells[key]
			if c == nil {
				c = &at
				cells[key] = c
			}
			if c.N == 0 || bad && c.Errors == 0 {
				c.Example = r.Batch.TraceID[row]
			}
			c.N++
			if bad {
				c.Errors++
			}
		}
	})
	if err != nil {
		return nil, err
	}
	h.Done = done
	h.RED = figuresOf(all, time.Duration(hq.Range.To-hq.Range.From))
	h.Cells = make([]HeatCell, 0, len(cells))
	for _, c := range cells {
		h.Cells = append(h.Cells, *c)
	}
	slices.SortFunc(h.Cells, func(a, b HeatCell) int { return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Row, b.Row)) })
	return h, nil
}
