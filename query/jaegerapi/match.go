package jaegerapi

import (
	"strings"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// match is the condition that one span must meet in whole. Tags arrive as text and are compared with the text of any
// scalar, wherever the attribute stands: span, resource, event, scope or link.
func (q *searchQuery) match() store.Expr {
	var all store.And
	if q.service != "" {
		all = append(all, intrinsic(store.FieldService, store.Eq, store.Text(q.service)))
	}
	if q.operation != "" {
		all = append(all, intrinsic(store.FieldName, store.Eq, store.Text(q.operation)))
	}
	if q.atLeast > 0 {
		all = append(all, intrinsic(store.FieldDuration, store.Ge, store.Int(int64(q.atLeast))))
	}
	if q.atMost > 0 {
		all = append(all, intrinsic(store.FieldDuration, store.Le, store.Int(int64(q.atMost))))
	}
	for _, t := range q.tags {
		all = append(all, t.match())
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// match finds a tag as the API shows it: some tags are made of a span's own fields.
func (t tag) match() store.Expr {
	attribute := store.Cond{Field: store.Field{In: store.InAny, Key: t.key}, Op: store.Eq, Value: store.LooseText(t.value)}
	field := ""
	switch t.key {
	case tagError:
		// Failed spans: those with status Error, and those Envoy marks by an attribute. So error=false is all others.
		switch t.value {
		case "true":
			return store.Or{intrinsic(store.FieldError, store.Eq, store.Bool(true)), attribute}
		case "false":
			return intrinsic(store.FieldError, store.Eq, store.Bool(false))
		}
		return attribute
	case tagKind:
		field = store.FieldKind
		if t.value == span.KindUnspecified.String() {
			return attribute
		}
	case tagStatusCode:
		return store.Or{intrinsic(store.FieldStatus, store.Eq, store.Text(strings.ToLower(t.value))), attribute}
	case tagStatusDescription:
		field = store.FieldStatusMessage
	case tagScopeName:
		field = store.FieldScopeName
	case tagScopeVersion:
		field = store.FieldScopeVersion
	case tagTraceState:
		field = store.FieldTraceState
	case fieldEvent:
		field = store.FieldEventName
	default:
		return attribute
	}
	return store.Or{intrinsic(field, store.Eq, store.Text(t.value)), attribute}
}

func intrinsic(key string, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
}
