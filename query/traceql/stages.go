package traceql

import (
	"cmp"
	"math"
	"slices"
)

// labelsKey orders and joins series: two have the same key if and only if they have the same labels.
func labelsKey(labels []Attr) []byte {
	sorted := slices.Clone(labels)
	slices.SortFunc(sorted, func(a, b Attr) int { return cmp.Compare(a.Name, b.Name) })
	var key []byte
	for _, l := range sorted {
		key = append(append(key, l.Name...), 0)
		key = l.Value.appendKey(key)
	}
	return key
}

// compareLabels orders series for people: by names and texts of their labels, numbers as numbers.
func compareLabels(a, b []Attr) int {
	for i := range min(len(a), len(b)) {
		if c := cmp.Compare(a[i].Name, b[i].Name); c != 0 {
			return c
		}
		x, y := a[i].Value, b[i].Value
		if n, ok := compareNumbers(valOf(x), valOf(y)); ok && valOf(x).numeric() && valOf(y).numeric() && n != 0 {
			return n
		}
		if c := cmp.Or(cmp.Compare(x.String(), y.String()), cmp.Compare(x.Type, y.Type)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// applyStages runs topk, bottomk and comparisons. Series that keep no sample vanish.
func applyStages(list []series, stages []MetricStage) []series {
	for _, s := range stages {
		if s.Name != "" {
			list = rankSeries(list, int(min(s.N, math.MaxInt32)), s.Name == "topk")
			continue
		}
		limit := s.Value.Float()
		if s.Value.Type == TypeDuration {
			limit /= 1e9
		}
		right := val{typ: TypeFloat, f: limit}
		for i := range list {
			list[i].values = slices.Clone(list[i].values)
			for j, v := range list[i].values {
				if math.IsNaN(v) || !holdsNumbers(s.Op, val{typ: TypeFloat, f: v}, right) {
					list[i].values[j] = math.NaN()
				}
			}
		}
		list = withValues(list)
	}
	return list
}

func withValues(list []series) []series {
	return slices.DeleteFunc(list, func(s series) bool {
		return !slices.ContainsFunc(s.values, func(v float64) bool { return !math.IsNaN(v) })
	})
}

// rankSeries keeps at every instant the n largest (smallest) values; of equal ones the series that stands first in the order of
// labels.
func rankSeries(list []series, n int, top bool) []series {
	if len(list) == 0 {
		return list
	}
	slices.SortFunc(list, func(a, b series) int { return compareLabels(a.labels, b.labels) })
	order := make([]int, 0, len(list))
	kept := make([][]float64, len(list))
	for i := range kept {
		kept[i] = none(len(list[i].values))
	}
	for j := range list[0].values {
		order = order[:0]
		for i := range list {
			if !math.IsNaN(list[i].values[j]) {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order, func(x, y int) int {
			c := cmp.Compare(list[x].values[j], list[y].values[j])
			if top {
				return -c
			}
			return c
		})
		for _, i := range order[:min(n, len(order))] {
			kept[i][j] = list[i].values[j]
		}
	}
	for i := range list {
		list[i].values = kept[i]
	}
	return withValues(list)
}

// operandOfMath is a side of metric arithmetic.
type operandOfMath struct {
	series   []series
	number   float64
	isNumber bool
}

func calculate(op Op, l, r float64) float64 {
	switch op {
	case OpAdd:
		return l + r
	case OpSub:
		return l - r
	case OpMul:
		return l * r
	}
	if r == 0 {
		return math.NaN()
	}
	return l / r
}

// combine computes l op r. Series are joined by equal labels, their name left out; a side that is one series without labels
// serves every series of the other; series without a partner vanish.
func combine(op Op, l, r operandOfMath) operandOfMath {
	switch {
	case l.isNumber && r.isNumber:
		return operandOfMath{number: calculate(op, l.number, r.number), isNumber: true}
	case r.isNumber:
		return operandOfMath{series: mapped(l.series, func(v float64) float64 { return calculate(op, v, r.number) })}
	case l.isNumber:
		return operandOfMath{series: mapped(r.series, func(v float64) float64 { return calculate(op, l.number, v) })}
	}
	left, right := nameless(l.series), nameless(r.series)
	var out []series
	pair := func(a, b series, labels []Attr) {
		s := series{labels: labels, values: make([]float64, len(a.values)), exemplars: slices.Concat(a.exemplars, b.exemplars)}
		for i := range s.values {
			s.values[i] = calculate(op, a.values[i], b.values[i])
		}
		out = append(out, s)
	}
	switch {
	case len(right) == 1 && len(right[0].labels) == 0:
		for _, a := range left {
			pair(a, right[0], a.labels)
		}
	case len(left) == 1 && len(left[0].labels) == 0:
		for _, b := range right {
			pair(left[0], b, b.labels)
		}
	default:
		partner := make(map[string]series, len(right))
		for _, b := range right {
			partner[string(labelsKey(b.labels))] = b
		}
		for _, a := range left {
			if b, ok := partner[string(labelsKey(a.labels))]; ok {
				pair(a, b, a.labels)
			}
		}
	}
	return operandOfMath{series: withValues(out)}
}

func mapped(list []series, f func(float64) float64) []series {
	out := nameless(list)
	for i := range out {
		values := make([]float64, len(out[i].values))
		for j, v := range out[i].values {
			values[j] = f(v)
		}
		out[i].values = values
	}
	return withValues(out)
}

func nameless(list []series) []series {
	out := slices.Clone(list)
	for i := range out {
		out[i].labels = slices.DeleteFunc(slices.Clone(out[i].labels), func(a Attr) bool { return a.Name == "__name__" })
	}
	return out
}
