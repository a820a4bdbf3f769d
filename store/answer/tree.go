package answer

import "github.com/spanloom/spanloom/store"

// Condition is a condition tree in a server's language, as two texts: May holds wherever the tree does, and maybe elsewhere; Must
// holds only where the tree does. What lies between is judged by store/match on the rows, the code that judges them everywhere.
type Condition struct{ May, Must string }

// Exact reports that the server decides by itself.
func (c Condition) Exact() bool { return c.May == c.Must }

// Exactly is a condition that the server decides by itself.
func Exactly(text string) Condition { return Condition{text, text} }

// Language is how a server writes conditions.
type Language struct {
	Yes, No string
	Negate  func(text string) string    // of neither Yes nor No
	And, Or func(texts []string) string // of two and more, none of them Yes or No
	Depth   int                         // of trees that are translated; 0 for any. What lies deeper may hold
}

// Not is the opposite of a text.
func (l *Language) Not(text string) string {
	switch text {
	case l.Yes:
		return l.No
	case l.No:
		return l.Yes
	}
	return l.Negate(text)
}

// All holds where all texts do.
func (l *Language) All(texts ...string) string { return join(texts, l.Yes, l.No, l.And) }

// Any holds where one of the texts does.
func (l *Language) Any(texts ...string) string { return join(texts, l.No, l.Yes, l.Or) }

// join leaves out unit, which leaves the answer to the others; zero decides it.
func join(texts []string, unit, zero string, connect func([]string) string) string {
	var left []string
	for _, t := range texts {
		switch t {
		case unit:
		case zero:
			return zero
		default:
			left = append(left, t)
		}
	}
	switch len(left) {
	case 0:
		return unit
	case 1:
		return left[0]
	}
	return connect(left)
}

// Maybe may hold where a text does, and nowhere else.
func (l *Language) Maybe(may string) Condition { return Condition{may, l.No} }

// AnyOf holds where one of the conditions does.
func (l *Language) AnyOf(conditions ...Condition) Condition {
	may, must := texts(conditions)
	return Condition{l.Any(may...), l.Any(must...)}
}

func texts(conditions []Condition) (may, must []string) {
	for _, c := range conditions {
		may, must = append(may, c.May), append(must, c.Must)
	}
	return may, must
}

// Tree translates a tree that store/match has compiled, its leaves by cond; nil holds always.
func (l *Language) Tree(e store.Expr, cond func(store.Cond) Condition) Condition {
	return l.tree(e, cond, 0)
}

func (l *Language) tree(e store.Expr, cond func(store.Cond) Condition, depth int) Condition {
	if l.Depth > 0 && depth > l.Depth {
		return l.Maybe(l.Yes)
	}
	kids := func(list []store.Expr) []Condition {
		out := make([]Condition, len(list))
		for i, k := range list {
			out[i] = l.tree(k, cond, depth+1)
		}
		return out
	}
	switch e := e.(type) {
	case store.And:
		may, must := texts(kids(e))
		return Condition{l.All(may...), l.All(must...)}
	case store.Or:
		return l.AnyOf(kids(e)...)
	case store.Not:
		c := l.tree(e.Expr, cond, depth+1)
		return Condition{l.Not(c.Must), l.Not(c.May)}
	case store.Cond:
		return cond(e)
	}
	return Exactly(l.Yes)
}
