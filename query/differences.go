package query

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/match"
)

// DifferencesQuery asks what sets some spans apart from others.
type DifferencesQuery struct {
	Range  store.TimeRange // of starts, of both halves
	Match  store.Expr      // of both halves; nil: spans without a parent
	Select store.Expr      // which of them are the selection; nil: those that Selected holds
	// Selected narrows the selection to starts inside of it; zero: all of Range.
	Selected store.TimeRange
	Fields   int // answered, those that differ most; 0 is 20
	Values   int // of each; 0 is 5
}

// The bounds of one comparison. Beyond differenceSpans spans of a half the shares hardly move; fields and values beyond the
// others are ids and the like, which set nothing apart.
const (
	differenceSpans  = 100_000
	differenceFields = 1000
	differenceValues = 500
	differenceText   = 256 // bytes of a value that are told apart
	leastScore       = 0.05
)

// Differences is the answer: fields whose values are spread differently over selection and rest.
type Differences struct {
	Selected, Rest int64 // spans counted
	Fields         []DifferingField
	store.Done
}

// DifferingField is one field. Score is the largest difference of shares among its values, 0 to 1, drawn towards 0 where few spans
// tell.
type DifferingField struct {
	Field  store.Field
	Score  float64
	Many   bool // more values than were told apart
	Values []DifferingValue
}

// DifferingValue counts the spans that have a value. Spans without the field are a value too, with Absent.
type DifferingValue struct {
	Text           string // in text form, cut to 256 bytes
	Cut            bool
	Absent         bool
	Selected, Rest int64
}

// Differences compares the selection with all other spans that match, by every attribute of span and resource and by service,
// operation, kind and status. It reads at most 100,000 spans of each half: past that the answer has Complete false.
func (q *Query) Differences(ctx context.Context, s store.Scope, dq DifferencesQuery) (*Differences, error) {
	if dq.Range.To <= dq.Range.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "start", Message: "the window ends before it starts", Hint: "give a start before the end"}
	}
	if dq.Select == nil && dq.Selected == (store.TimeRange{}) {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "select", Message: "no selection", Hint: "give select=<filter>, such as select=status=error, or selectStart and selectEnd"}
	}
	if dq.Selected == (store.TimeRange{}) {
		dq.Selected = dq.Range
	}
	dq.Selected = store.TimeRange{From: max(dq.Selected.From, dq.Range.From), To: min(dq.Selected.To, dq.Range.To)}
	if dq.Selected.To <= dq.Selected.From {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "selectStart", Message: "the selection lies outside of the window", Hint: "select inside of start and end"}
	}
	if dq.Match == nil {
		dq.Match = rootSpans
	}
	d := &Differences{Done: store.Done{Complete: true}}
	t := differenceTable{fields: make(map[string]*fieldCounts)}
	base, selected := withNameless(dq.Match), store.Expr(store.And{})
	if dq.Select != nil {
		selected = withNameless(dq.Select)
	}
	var away error // of the first part of which nothing was read
	count := func(half int, r store.TimeRange, e store.Expr, n *int64) error {
		err := q.countHalf(ctx, s, d, &t, half, r, e, n)
		done, ok := Away(err)
		if !ok || ctx.Err() != nil {
			return err
		}
		d.Done, away = joinDone(d.Done, done), cmp.Or(away, err)
		return nil
	}
	if err := count(0, dq.Selected, store.And{base, selected}, &d.Selected); err != nil {
		return nil, err
	}
	rest := []struct {
		r store.TimeRange
		e store.Expr
	}{
		{dq.Selected, store.And{base, store.Not{Expr: selected}}},
		{store.TimeRange{From: dq.Range.From, To: dq.Selected.From}, base},
		{store.TimeRange{From: dq.Selected.To, To: dq.Range.To}, base},
	}
	if dq.Select == nil {
		rest = rest[1:]
	}
	for _, part := range rest {
		if err := count(1, part.r, part.e, &d.Rest); err != nil {
			return nil, err
		}
	}
	if d.Selected+d.Rest == 0 && away != nil {
		return nil, away
	}
	d.Fields = t.ranked(d.Selected, d.Rest, cmp.Or(dq.Fields, 20), cmp.Or(dq.Values, 5))
	return d, nil
}

// countHalf adds the spans of one part of a half.
func (q *Query) countHalf(ctx context.Context, s store.Scope, d *Differences, t *differenceTable, half int, r store.TimeRange, e store.Expr, n *int64) error {
	if r.To <= r.From || *n >= differenceSpans {
		return nil
	}
	done, err := q.scanUpTo(ctx, s, &store.Scan{Range: r, Mode: store.Start, Match: e, Need: store.Everything()}, differenceSpans-*n, func(rows store.Rows) {
		t.bind(rows.Batch)
		for _, i := range rows.Rows {
			if *n >= differenceSpans {
				break
			}
			*n++
			t.add(half, int(i))
		}
	})
	if err != nil {
		return err
	}
	d.Done = joinDone(d.Done, done)
	return nil
}

// differenceTable counts the values of fields in both halves.
type differenceTable struct {
	fields map[string]*fieldCounts // by scope and key
	batch  *span.Batch
	cells  [2][]*fieldCounts // of span and resource attributes, by the key's index in the batch
	own    [4]*fieldCounts   // service, operation, kind, status
	row    int64             // number of the row, from 1
	text   []byte
}

type fieldCounts struct {
	field  store.Field
	values map[string]*[2]int64
	total  [2]int64
	many   bool
	seen   int64 // the row that was counted last: of a key that stands twice the first counts
}

func (t *differenceTable) field(in store.FieldScope, key string) *fieldCounts {
	name := string('a'+rune(in)) + key
	f := t.fields[name]
	if f == nil && len(t.fields) < differenceFields {
		f = &fieldCounts{field: store.Field{In: in, Key: key}, values: make(map[string]*[2]int64)}
		t.fields[name] = f
	}
	return f
}

func (t *differenceTable) bind(b *span.Batch) {
	t.batch = b
	for i := range t.cells {
		t.cells[i] = slices.Grow(t.cells[i][:0], len(b.Keys))[:len(b.Keys)]
		clear(t.cells[i])
	}
	for i, key := range []string{store.FieldService, store.FieldName, store.FieldKind, store.FieldStatus} {
		t.own[i] = t.field(store.Intrinsic, key)
	}
}

func (t *differenceTable) add(half, row int) {
	b := t.batch
	t.row++
	t.count(half, t.own[0], b.Bytes(b.Service[row]))
	t.count(half, t.own[1], b.Bytes(b.Name[row]))
	t.text = append(t.text[:0], b.Kind[row].String()...)
	t.count(half, t.own[2], t.text)
	t.text = append(t.text[:0], b.Status[row].String()...)
	t.count(half, t.own[3], t.text)
	t.attributes(half, 0, store.InSpan, b.SpanAttrs[row])
	t.attributes(half, 1, store.InResource, b.Resources[b.Resource[row]].Attrs)
}

func (t *differenceTable) attributes(half, owner int, in store.FieldScope, r span.Range) {
	b := t.batch
	for _, a := range b.AttrsOf(r) {
		f := t.cells[owner][a.Key]
		if f == nil {
			if in == store.InResource && string(b.Key(a)) == "service.name" {
				continue // the service as shown is counted
			}
			if f = t.field(in, string(b.Key(a))); f == nil {
				continue
			}
			t.cells[owner][a.Key] = f
		}
		var ok bool
		if t.text, ok = match.AppendText(t.text[:0], b, a.Value()); ok {
			t.count(half, f, t.text)
		}
	}
}

func (t *differenceTable) count(half int, f *fieldCounts, value []byte) {
	if f == nil || f.seen == t.row {
		return
	}
	f.seen = t.row
	f.total[half]++
	if len(value) > differenceText {
		value = value[:differenceText]
	}
	c := f.values[string(value)]
	if c == nil {
		if len(f.values) >= differenceValues {
			f.many = true
			return
		}
		c = new([2]int64)
		f.values[string(value)] = c
	}
	c[half]++
}

// ranked is the fields that differ most, each with its values by difference.
func (t *differenceTable) ranked(selected, rest int64, fields, values int) []DifferingField {
	if selected == 0 || rest == 0 {
		return nil
	}
	var out []DifferingField
	for _, f := range t.fields {
		d := DifferingField{Field: f.field, Many: f.many}
		list := make([]DifferingValue, 0, len(f.values)+1)
		for text, c := range f.values {
			list = append(list, DifferingValue{Text: text, Cut: len(text) == differenceText, Selected: c[0], Rest: c[1]})
		}
		if without := (DifferingValue{Absent: true, Selected: selected - f.total[0], Rest: rest - f.total[1]}); without.Selected+without.Rest > 0 {
			list = append(list, without)
		}
		slices.SortFunc(list, func(a, b DifferingValue) int {
			return cmp.Or(cmp.Compare(b.apart(selected, rest), a.apart(selected, rest)), cmp.Compare(b.Selected, a.Selected), cmp.Compare(b.Rest, a.Rest), cmp.Compare(a.Text, b.Text))
		})
		for _, v := range list {
			d.Score = max(d.Score, v.score(selected, rest, len(list)))
		}
		d.Values = list[:min(len(list), values)]
		if d.Score >= leastScore {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b DifferingField) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Field.In, b.Field.In), cmp.Compare(a.Field.Key, b.Field.Key))
	})
	return out[:min(len(out), fields)]
}

// apart is the difference of the value's shares, times both numbers of spans: comparable within one field, and exact.
func (v DifferingValue) apart(selected, rest int64) int64 {
	d := v.Selected*rest - v.Rest*selected
	return max(d, -d)
}

// score is the difference of the shares less its standard error. To both halves one imagined span of each value of the field is
// added, of 20 values at most: so 1 of 1 proves little, and the id of a request nothing.
func (v DifferingValue) score(selected, rest int64, values int) float64 {
	m := float64(min(values, 20))
	estimate := func(k, n int64) (share, variance float64) {
		share = (float64(k) + 1) / (float64(n) + m)
		return share, share * (1 - share) / (float64(n) + m)
	}
	s, sv := estimate(v.Selected, selected)
	r, rv := estimate(v.Rest, rest)
	return math.Abs(s-r) - math.Sqrt(sv+rv)
}
