package zipkinapi

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// Zipkin asks that every condition holds on some span of the service, not all of them on one span. The store is asked for the
// traces with a span that meets the condition which is likely the rarest; that the others hold is seen when the trace is
// read, which its answer takes anyway. That also drops what the store's condition takes in too many.

// candidates is the condition for the store. services are the stored forms of the service's name, empty for any service.
func (q *traceQuery) candidates(services []string) store.Expr {
	var all store.And
	if len(services) > 0 {
		all = append(all, serviceIs(services))
	}
	if rarest := q.rarest(); rarest != nil {
		all = append(all, rarest)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// rarest guesses which condition the fewest spans meet: a tag's value, a tag or annotation, the other side, the operation,
// the duration.
func (q *traceQuery) rarest() store.Expr {
	for _, hasValue := range []bool{true, false} {
		for _, t := range q.terms {
			if (t.value != "") == hasValue {
				return t.match()
			}
		}
	}
	switch {
	case q.remote != "":
		return remoteIs(q.remote)
	case q.spanName != "":
		return foldedName(q.spanName)
	case q.atLeast > 0:
		all := store.And{intrinsic(store.FieldDuration, store.Ge, store.Int(nanos(q.atLeast)))}
		if q.atMost > 0 {
			all = append(all, intrinsic(store.FieldDuration, store.Lt, store.Int(nanos(q.atMost+1))))
		}
		return all
	}
	return nil
}

// nanos is a number of microseconds in nanoseconds, 292 years at most.
func nanos(us uint64) int64 {
	const most = 1<<63/1000 - 1
	return int64(min(us, most)) * 1000
}

func serviceIs(services []string) store.Expr {
	any := make(store.Or, len(services))
	for i, s := range services {
		any[i] = intrinsic(store.FieldService, store.Eq, store.Text(s))
	}
	return any
}

func intrinsic(key string, op store.Op, v store.Operand) store.Cond {
	return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
}

// folded compares a field without case.
func folded(f store.Field, text string) store.Expr {
	if strings.ToLower(text) == strings.ToUpper(text) {
		return store.Cond{Field: f, Op: store.Eq, Value: store.Text(text)}
	}
	return store.Cond{Field: f, Op: store.Regex, Value: store.Text("(?is:" + regexp.QuoteMeta(text) + ")")}
}

// foldedName finds an operation: as given too, because query knows the names it makes up for nameless spans by that.
func foldedName(name string) store.Expr {
	return store.Or{intrinsic(store.FieldName, store.Eq, store.Text(name)), folded(store.Field{In: store.Intrinsic, Key: store.FieldName}, name)}
}

// match is the condition for the store. A tag may have come from an attribute of the span or its resource or be made of a
// field of the span; an annotation is an event, with its attributes in its text.
func (t term) match() store.Expr {
	var any store.Or
	attribute := func(in store.FieldScope) {
		c := store.Cond{Field: store.Field{In: in, Key: t.key}, Op: store.Exists}
		if t.value != "" {
			c.Op, c.Value = store.Eq, store.LooseText(t.value)
		}
		any = append(any, c)
	}
	attribute(store.InSpan)
	attribute(store.InResource)
	field := func(key string) {
		if t.value == "" {
			any = append(any, intrinsic(key, store.Regex, store.Text("(?s:.+)")))
		} else {
			any = append(any, intrinsic(key, store.Eq, store.Text(t.value)))
		}
	}
	failed := intrinsic(store.FieldStatus, store.Eq, store.Text(span.StatusError.String()))
	switch t.key {
	case "error":
		any = append(any, failed)
	case "otel.status_code":
		any = append(any, failed, intrinsic(store.FieldStatus, store.Eq, store.Text(span.StatusOK.String())))
	case "otel.status_description":
		field(store.FieldStatusMessage)
	case "otel.scope.name":
		field(store.FieldScopeName)
	case "otel.scope.version":
		field(store.FieldScopeVersion)
	case "w3c.tracestate":
		field(store.FieldTraceState)
	case "span.kind":
		any = append(any, intrinsic(store.FieldKind, store.Eq, store.Text(span.KindInternal.String())))
	}
	if t.value == "" {
		for _, name := range eventNames(t.key) {
			any = append(any, intrinsic(store.FieldEventName, store.Eq, store.Text(name)))
		}
	}
	if strings.HasPrefix(t.key, "otlp.link.") {
		return nil // made of links: every span is a candidate
	}
	return any
}

// eventNames are the names of events of which an annotation with this text can have been made: name, name|{…}|n, and
// "name": {…}.
func eventNames(annotation string) []string {
	names := []string{annotation}
	if before, _, ok := strings.Cut(annotation, "|{"); ok {
		names = append(names, before)
	}
	if quoted, err := strconv.QuotedPrefix(annotation); err == nil {
		if name, err := strconv.Unquote(quoted); err == nil {
			names = append(names, name)
		}
	}
	return names
}

// remoteIs finds the spans whose remote endpoint has a name.
func remoteIs(name string) store.Expr {
	fields := zipkin.RemoteFields()
	any := make(store.Or, len(fields))
	for i, key := range fields {
		any[i] = folded(store.Field{In: store.InSpan, Key: key}, name)
	}
	return any
}

// matches reports whether a trace meets a query: each condition on some span of the service.
func (q *traceQuery) matches(x *zipkin.Encoder, t *query.Trace) bool {
	service, name, remote, duration := q.service == "", q.spanName == "", q.remote == "", q.atLeast == 0
	open := slices.Clone(q.terms)
	for i := range t.Rows {
		row := int(t.Rows[i].Span)
		if row < 0 {
			continue
		}
		v := x.View(t.Batch, row)
		if q.service != "" && !sameName(v.Service, q.service) {
			continue
		}
		service = true
		name = name || sameName(v.Name, q.spanName)
		remote = remote || sameName(v.Remote, q.remote)
		duration = duration || v.Duration >= q.atLeast && (q.atMost == 0 || v.Duration <= q.atMost)
		open = slices.DeleteFunc(open, func(t term) bool { return t.holds(v) })
		if service && name && remote && duration && len(open) == 0 {
			return true
		}
	}
	return false
}

func (t term) holds(v zipkin.View) bool {
	value, ok := v.Tag(t.key)
	if t.value == "" {
		return ok || v.HasAnnotation(t.key)
	}
	return ok && string(value) == t.value
}

// sameName compares names as Zipkin's server does, which lower-cases them.
func sameName(have []byte, want string) bool { return bytes.EqualFold(have, []byte(want)) }
