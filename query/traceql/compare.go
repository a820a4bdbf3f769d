package traceql

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/spanloom/spanloom/span"
)

// maxCompared bounds the different values of one attribute that compare() counts: beyond it an attribute such as a request id
// is of no use for a comparison, and is answered as having too many values.
const maxCompared = 1000

// comparisonSink counts every value of every attribute, among the spans of the selection and among the others.
type comparisonSink struct {
	measure *measure
	fn      *MetricFunc
	filter  *node
	counts  [2]map[string]*attrCounts // baseline, selection; by the attribute as a query writes it
	key     []byte
	placed  [2][]Exemplar

	batch uint64 // number of the batch that cells belong to
	cells [ScopeInstrumentation + 1][]attrCell
	rows  uint64
}

// attrCell is what is known of one key in one scope of a batch, so that names and counts are looked up once a batch.
type attrCell struct {
	name   string
	counts [2]*attrCounts
	seen   uint64 // number of the last row that has it: repeated keys count once
}

// attrCounts is one attribute in one half.
type attrCounts struct {
	values map[string]*valueCounts
	total  []uint32
	many   bool // more than maxCompared values: the others are in total only
}

type valueCounts struct {
	value  Value
	counts []uint32
	sum    int64
}

func (s *comparisonSink) rebuild(c *compiler) (err error) {
	s.filter = nil
	if s.fn.Filter.Expr != nil {
		s.filter, err = c.expr(s.fn.Filter.Expr)
	}
	return err
}

func (s *comparisonSink) observe(ev *evaluator, row, bucket int) {
	b := ev.batch
	if s.batch != ev.batches {
		s.batch = ev.batches
		s.turn(b)
	}
	s.rows++
	half := 0
	inTime := s.fn.End == 0 || b.Time[row] >= s.fn.Start && b.Time[row] < s.fn.End
	if inTime && ev.holds(s.filter, row) {
		half = 1
	}
	s.count(half, "name", ev.name(row), bucket)
	s.count(half, "status", ev.intrinsic(Status, row), bucket)
	s.count(half, "kind", ev.intrinsic(Kind, row), bucket)
	if b.StatusMessage[row].Len > 0 {
		s.count(half, "statusMessage", ev.intrinsic(StatusMessage, row), bucket)
	}
	s.count(half, "resource.service.name", text(b.Bytes(b.Service[row])), bucket)
	s.attrs(half, ev, ScopeSpan, b.SpanAttrs[row], bucket)
	s.attrs(half, ev, ScopeResource, b.Resources[b.Resource[row]].Attrs, bucket)
	s.attrs(half, ev, ScopeInstrumentation, b.Scopes[b.Scope[row]].Attrs, bucket)
	if len(s.placed[half]) < s.measure.exemplars/2 {
		s.placed[half] = append(s.placed[half], newExemplar(b, row, 0))
	}
}

// turn moves to another batch.
func (s *comparisonSink) turn(b *span.Batch) {
	for i := range s.cells {
		s.cells[i] = slices.Grow(s.cells[i][:0], len(b.Keys))[:len(b.Keys)]
		clear(s.cells[i])
	}
}

func (s *comparisonSink) attrs(half int, ev *evaluator, scope AttrScope, r span.Range, bucket int) {
	b := ev.batch
	attrs := b.AttrsOf(r)
	for i := len(attrs) - 1; i >= 0; i-- { // of repeated keys the last counts
		a := attrs[i]
		cell := &s.cells[scope][a.Key]
		if cell.seen == s.rows {
			continue
		}
		cell.seen = s.rows
		if cell.name == "" {
			cell.name = (&Attribute{Scope: scope, Name: string(b.Key(a))}).String()
		}
		if scope == ScopeResource && cell.name == "resource."+serviceName {
			continue // as shown: see observe
		}
		ev.scratch = ev.scratch[:0]
		v := ev.attrValue(a.Value())
		if v.shown().typ == TypeNil {
			continue
		}
		if cell.counts[half] == nil {
			cell.counts[half] = s.attr(half, cell.name)
		}
		s.add(cell.counts[half], v, bucket)
	}
}

func (s *comparisonSink) count(half int, name string, v val, bucket int) {
	s.add(s.attr(half, name), v, bucket)
}

// attr finds or makes the counts of an attribute.
func (s *comparisonSink) attr(half int, name string) *attrCounts {
	ac := s.counts[half][name]
	if ac == nil {
		n := s.measure.buckets.n
		ac = &attrCounts{values: make(map[string]*valueCounts), total: make([]uint32, n)}
		s.counts[half][name] = ac
		s.measure.spent.held += int64(4*n + 200)
	}
	return ac
}

func (s *comparisonSink) add(ac *attrCounts, v val, bucket int) {
	ac.total[bucket]++
	s.key = appendValKey(s.key[:0], v)
	vc := ac.values[string(s.key)]
	if vc == nil {
		if len(ac.values) >= maxCompared {
			ac.many = true
			return
		}
		n := s.measure.buckets.n
		vc = &valueCounts{value: v.value(), counts: make([]uint32, n)}
		ac.values[string(s.key)] = vc
		s.measure.spent.held += int64(4*n + 200 + 2*len(s.key))
	}
	vc.counts[bucket]++
	vc.sum++
}

var metaTypes = [2]string{"baseline", "selection"}

func (s *comparisonSink) series() []series {
	var out []series
	tooMany := make(map[string]bool)
	for half, attrs := range s.counts {
		for name, ac := range attrs {
			list := make([]*valueCounts, 0, len(ac.values))
			for _, vc := range ac.values {
				list = append(list, vc)
			}
			slices.SortFunc(list, func(a, b *valueCounts) int {
				return cmp.Or(cmp.Compare(b.sum, a.sum), cmp.Compare(a.value.Literal(), b.value.Literal()))
			})
			if ac.many || int64(len(list)) > s.fn.Top {
				tooMany[name] = true
				list = list[:min(int64(len(list)), s.fn.Top)]
			}
			for _, vc := range list {
				out = append(out, series{labels: metaLabels(metaTypes[half], name, vc.value), values: floats(vc.counts)})
			}
			out = append(out, series{labels: metaLabels(metaTypes[half]+"_total", name, Value{}), values: floats(ac.total), exemplars: s.placed[half]})
		}
	}
	for name := range tooMany {
		out = append(out, series{labels: []Attr{{Name: "__meta_error", Value: StringValue("__too_many_values__")}, {Name: name}}, values: none(s.measure.buckets.n)})
	}
	return s.cut(out)
}

// cut keeps the answer inside of the bound of series, totals and errors included. An answer of compare() has some for every
// attribute, so the bound is ten times that of other functions.
func (s *comparisonSink) cut(out []series) []series {
	most := 10 * s.measure.engine.options.MaxSeries
	if len(out) <= most {
		return out
	}
	slices.SortFunc(out, func(a, b series) int { return compareLabels(a.labels, b.labels) })
	s.measure.complete, s.measure.reason = false, fmt.Sprintf("more than %d series: the others are left out", most)
	return out[:most]
}

func metaLabels(kind, name string, v Value) []Attr {
	return []Attr{{Name: "__meta_type", Value: StringValue(kind)}, {Name: name, Value: v}}
}

func floats(counts []uint32) []float64 {
	out := make([]float64, len(counts))
	for i, n := range counts {
		out[i] = float64(n)
	}
	return out
}

// none is values of a series without samples.
func none(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}
