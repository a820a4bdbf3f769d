package uiapi

import (
	"net/http"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/store"
)

func (a *api) heatmap(c *call) error {
	asked, err := c.question()
	if err != nil {
		return err
	}
	q := query.HeatmapQuery{}
	if q.Match, err = asked.onSpans(); err != nil {
		return err
	}
	if q.Range, err = c.window(); err != nil {
		return err
	}
	if q.Columns, err = c.number("columns", 60, 1, query.MaxHeatmapColumns); err != nil {
		return err
	}
	h, err := a.Query.Heatmap(c.ctx, c.scope, q)
	if err != nil {
		return err
	}
	least, most := query.HeatmapRows, -1
	for _, cell := range h.Cells {
		least, most = min(least, cell.Row), max(most, cell.Row)
	}
	rows := max(most-least+1, 0)
	o := open(make([]byte, 0, 64*len(h.Cells)+512))
	o.instant("start", h.Start)
	o.int("step", h.Step)
	o.int("columns", int64(h.Columns))
	o.text("of", countedSpans(q.Match))
	if rows > 0 {
		o.list("bounds", rows+1, func(dst []byte, i int) []byte { return otlpjson.AppendDouble(dst, float64(query.RowBound(least+i))) })
	} else {
		o.list("bounds", 0, nil)
	}
	o.list("cells", len(h.Cells), func(dst []byte, i int) []byte {
		cell := &h.Cells[i]
		o := open(dst)
		o.int("column", int64(cell.Column))
		o.int("row", int64(cell.Row-least))
		o.int("n", cell.N)
		o.someInt("errors", cell.Errors)
		o.id("example", cell.Example[:])
		return o.close()
	})
	o.key("red")
	o.out = appendRED(o.out, &h.RED)
	if asked.TraceDuration != (query.Bounds{}) {
		o.list("ignored", 1, func(dst []byte, _ int) []byte { return append(dst, `"traceDuration"`...) })
	}
	o.done(h.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

// countedSpans is which spans count: where nothing is asked for, one a trace.
func countedSpans(match store.Expr) string {
	if match == nil {
		return "roots"
	}
	return "matches"
}

func (a *api) differences(c *call) error {
	asked, err := c.question()
	if err != nil {
		return err
	}
	q := query.DifferencesQuery{}
	if q.Match, err = asked.onSpans(); err != nil {
		return err
	}
	selected, err := query.ParseFilters(c.params["select"])
	if err != nil {
		return inField(err, "select")
	}
	if selected.TraceDuration != (query.Bounds{}) {
		return badParam("select", "traceDuration", "select spans, by duration for example")
	}
	q.Select = selected.Match
	if q.Range, err = c.window(); err != nil {
		return err
	}
	if c.params.Has("selectStart") || c.params.Has("selectEnd") {
		if q.Selected.From, err = c.instant("selectStart", time.Unix(0, q.Range.From)); err != nil {
			return err
		}
		if q.Selected.To, err = c.instant("selectEnd", time.Unix(0, q.Range.To)); err != nil {
			return err
		}
	}
	if q.Fields, err = c.number("fields", 20, 1, 100); err != nil {
		return err
	}
	if q.Values, err = c.number("values", 5, 1, 50); err != nil {
		return err
	}
	d, err := a.Query.Differences(c.ctx, c.scope, q)
	if err != nil {
		return err
	}
	o := open(nil)
	o.int("selected", d.Selected)
	o.int("rest", d.Rest)
	o.text("of", countedSpans(q.Match))
	o.list("items", len(d.Fields), func(dst []byte, i int) []byte {
		f := &d.Fields[i]
		o := open(dst)
		if f.Field.In == store.Intrinsic {
			o.text("field", query.FieldWord(f.Field))
		} else {
			o.text("field", f.Field.In.String()+"."+f.Field.Key)
			o.text("key", f.Field.Key)
		}
		o.text("scope", f.Field.In.String())
		o.number("score", f.Score)
		if f.Many {
			o.bool("many", true)
		}
		o.list("values", len(f.Values), func(dst []byte, i int) []byte {
			v := &f.Values[i]
			o := open(dst)
			if v.Absent {
				o.bool("absent", true)
			} else {
				o.text("value", v.Text)
			}
			if v.Cut {
				o.bool("cut", true)
			}
			o.int("selected", v.Selected)
			o.int("rest", v.Rest)
			return o.close()
		})
		return o.close()
	})
	o.done(d.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}
