package apply

import (
	"reflect"
	"slices"
	"strings"
)

// merge3 takes a change back: from is what was written, to what was there before, live what is there now. Where live is
// still as written, it becomes as before; what others wrote since stays, and its path is in left. Strings of several lines
// are merged by lines, lists of named entries entry by entry, other lists as a whole.
func merge3(from, to, live any, path []string) (out any, left []string) {
	switch {
	case reflect.DeepEqual(live, from):
		return to, nil
	case reflect.DeepEqual(live, to), reflect.DeepEqual(from, to):
		return live, nil
	}
	f, isF := from.(map[string]any)
	l, isL := live.(map[string]any)
	t, isT := to.(map[string]any)
	if isF && isL && (isT || to == nil) {
		return mergeMaps(f, t, l, path)
	}
	if fs, ok := named(from); ok {
		if ls, ok := named(live); ok {
			ts, isNamed := named(to)
			if isNamed || to == nil {
				m, left := mergeMaps(fs, ts, ls, path)
				return unnamed(m, live, to), left
			}
		}
	}
	fs, ok1 := from.(string)
	ts, ok2 := to.(string)
	ls, ok3 := live.(string)
	if ok1 && ok2 && ok3 && strings.Contains(fs+ts, "\n") {
		if merged, ok := mergeLines(fs, ts, ls); ok {
			return merged, nil
		}
	}
	return live, []string{dotted(path)}
}

func mergeMaps(from, to, live map[string]any, path []string) (any, []string) {
	out := make(map[string]any)
	var left []string
	for k, l := range live {
		v, more := l, []string(nil)
		f, had := from[k]
		if t, has := to[k]; had || has {
			v, more = merge3(f, t, l, append(slices.Clone(path), k))
		}
		left = append(left, more...)
		if v != nil {
			out[k] = v
		}
	}
	for k, t := range to { // what was there before and is gone now: we took it away, or somebody else did
		if _, has := live[k]; has {
			continue
		}
		if _, written := from[k]; !written {
			out[k] = t
		} else if !reflect.DeepEqual(from[k], t) {
			left = append(left, dotted(append(slices.Clone(path), k)))
		}
	}
	slices.Sort(left)
	if to == nil && len(out) == 0 {
		return nil, left
	}
	return out, left
}

// named makes a map of a list whose entries all have a name of their own.
func named(v any) (map[string]any, bool) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, false
	}
	out := make(map[string]any)
	for _, x := range list {
		name := str(x, "name")
		if _, twice := out[name]; name == "" || twice {
			return nil, false
		}
		out[name] = x
	}
	return out, true
}

// unnamed gives the list again, in the order in which its entries stand now; those that come back are put behind.
func unnamed(merged any, orders ...any) any {
	m, _ := merged.(map[string]any)
	if len(m) == 0 {
		return nil
	}
	var out []any
	seen := make(map[string]bool)
	for _, order := range orders {
		list, _ := order.([]any)
		for _, x := range list {
			name := str(x, "name")
			if v, ok := m[name]; ok && !seen[name] {
				seen[name] = true
				out = append(out, v)
			}
		}
	}
	return out
}

// mergeLines makes the change from -> to in live, which others changed from from. It refuses where both changed
// the same or adjacent lines.
func mergeLines(from, to, live string) (string, bool) {
	base := strings.SplitAfter(from, "\n")
	a, b := edits(base, strings.SplitAfter(to, "\n")), edits(base, strings.SplitAfter(live, "\n"))
	var out strings.Builder
	at := 0
	for len(a)+len(b) > 0 {
		var e edit
		switch {
		case len(a) > 0 && len(b) > 0 && touches(a[0], b[0]):
			if !reflect.DeepEqual(a[0], b[0]) {
				return "", false
			}
			e, a, b = a[0], a[1:], b[1:]
		case len(b) == 0 || len(a) > 0 && a[0].from < b[0].from:
			e, a = a[0], a[1:]
		default:
			e, b = b[0], b[1:]
		}
		out.WriteString(strings.Join(base[at:e.from], ""))
		out.WriteString(strings.Join(e.with, ""))
		at = e.to
	}
	out.WriteString(strings.Join(base[at:], ""))
	return out.String(), true
}

// edit replaces lines [from, to) of a text.
type edit struct {
	from, to int
	with     []string
}

func touches(a, b edit) bool { return a.from <= b.to && b.from <= a.to }

// maxTable bounds the table of the longest common subsequence: beyond it the whole middle counts as one edit.
const maxTable = 4 << 20

// edits are what makes b of a, in order.
func edits(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	x, y := a[head:len(a)-tail], b[head:len(b)-tail]
	if len(x) == 0 && len(y) == 0 {
		return nil
	}
	if len(x)*len(y) > maxTable || len(x) == 0 || len(y) == 0 {
		return []edit{{head, head + len(x), y}}
	}
	common := make([][]int32, len(x)+1)
	for i := range common {
		common[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []edit
	for i, j := 0, 0; i < len(x) || j < len(y); {
		if i < len(x) && j < len(y) && x[i] == y[j] {
			i, j = i+1, j+1
			continue
		}
		e := edit{from: head + i}
		for (i < len(x) || j < len(y)) && !(i < len(x) && j < len(y) && x[i] == y[j]) {
			if j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1] {
				i++
			} else {
				e.with = append(e.with, y[j])
				j++
			}
		}
		e.to = head + i
		out = append(out, e)
	}
	return out
}
