package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/match"
)

// The lists count stored rows by their start: a duplicate that was received twice counts twice, as in every engine. ClickHouse
// counts where SQL says the condition exactly, else the rows are read and counted here.

// done is the end of a list.
func done(ctx context.Context, what string, c *cost, err error) (store.Done, error) {
	d := store.Done{Complete: err == nil && c.missing == nil, Read: c.read()}
	if err == nil || c.missing != nil && errors.Is(err, c.missing) {
		d.Away, d.Reason = c.missing != nil, c.reason()
		return d, nil
	}
	if d.Reason = answer.Ended(ctx, err); d.Reason != "" {
		return d, nil
	}
	return d, explain(ctx, what, err)
}

// Services lists services by name; group and namespace are those of the service's newest span.
func (e *Engine) Services(ctx context.Context, s store.Scope, r store.TimeRange) ([]store.Service, store.Done, error) {
	p, err := e.plan(s, nil, match.Window{TimeRange: r, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	if !p.exact {
		return e.countServices(ctx, p)
	}
	if e.layout.column("ServiceGroup") == "" {
		return e.namedServices(ctx, p)
	}
	var list []store.Service
	var name, group, namespace proto.ColStr
	var n proto.ColUInt64
	var last proto.ColInt64
	var c cost
	err = e.ask(ctx, ch.Query{
		Body: "SELECT CAST(name, 'String'), CAST(newest.2, 'String'), CAST(newest.3, 'String'), n, newest.1 FROM (SELECT ServiceName AS name, count() AS n, " +
			"max((toUnixTimestamp64Nano(Timestamp), ServiceGroup, ServiceNamespace)) AS newest FROM " + e.source() + " WHERE " + p.sql + " GROUP BY ServiceName)",
		Result: proto.Results{{Data: &name}, {Data: &group}, {Data: &namespace}, {Data: &n}, {Data: &last}},
		OnResult: func(context.Context, proto.Block) error {
			for i, n := range n {
				list = append(list, store.Service{Name: name.Row(i), Group: group.Row(i), Namespace: namespace.Row(i), Spans: int64(n), LastTime: last[i]})
			}
			return nil
		},
	}, &c)
	slices.SortFunc(list, func(a, b store.Service) int { return cmp.Compare(a.Name, b.Name) })
	d, err := done(ctx, "list services", &c, err)
	return list, d, err
}

// servicesAtOnce is how many services one question asks the newest spans of.
const servicesAtOnce = 500

// namedServices is Services where group and namespace are no columns: they come from the newest spans of each service.
func (e *Engine) namedServices(ctx context.Context, p *plan) ([]store.Service, store.Done, error) {
	var list []store.Service
	var name proto.ColStr
	var n proto.ColUInt64
	var last proto.ColInt64
	var c cost
	err := e.ask(ctx, ch.Query{
		Body:   fmt.Sprintf("SELECT CAST(ServiceName, 'String') AS name, count(), max(%s) FROM %s WHERE %s GROUP BY name ORDER BY name", startNanos, e.source(), p.sql),
		Result: proto.Results{{Data: &name}, {Data: &n}, {Data: &last}},
		OnResult: func(context.Context, proto.Block) error {
			for i, n := range n {
				list = append(list, store.Service{Name: name.Row(i), Spans: int64(n), LastTime: last[i]})
			}
			return nil
		},
	}, &c)
	newest := make(answer.ServiceCounts)
	for some := range slices.Chunk(list, servicesAtOnce) {
		if err != nil {
			break
		}
		var ends []string
		for _, s := range some {
			ends = append(ends, fmt.Sprintf("(%s, %d)", quote(s.Name), s.LastTime))
		}
		of := *p
		of.sql += fmt.Sprintf(" AND (ServiceName, %s) IN (%s)", startNanos, strings.Join(ends, ", "))
		for r, failure := range e.matching(ctx, &of, store.Need{Columns: store.ColService | store.ColTime}, &c) {
			if failure != nil {
				err = failure
				break
			}
			newest.Count(r)
		}
	}
	for _, s := range newest.List() {
		at, ok := slices.BinarySearchFunc(list, s.Name, func(known store.Service, name string) int { return cmp.Compare(known.Name, name) })
		if ok {
			list[at].Group, list[at].Namespace = s.Group, s.Namespace
		}
	}
	d, err := done(ctx, "list services", &c, err)
	return list, d, err
}

func (e *Engine) countServices(ctx context.Context, p *plan) ([]store.Service, store.Done, error) {
	found := make(answer.ServiceCounts)
	var c cost
	var failure error
	for r, err := range e.matching(ctx, p, store.Need{Columns: store.ColService | store.ColTime}, &c) {
		if err != nil {
			failure = err
			break
		}
		found.Count(r)
	}
	d, err := done(ctx, "list services", &c, failure)
	return found.List(), d, err
}

// Operations lists a service's operations.
func (e *Engine) Operations(ctx context.Context, s store.Scope, service string, r store.TimeRange) ([]store.Operation, store.Done, error) {
	p, err := e.plan(s, store.ServiceIs(service), match.Window{TimeRange: r, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	counts := make(map[store.Operation]int64)
	var c cost
	if p.exact {
		var name proto.ColStr
		var kind proto.ColUInt8
		var n proto.ColUInt64
		err = e.ask(ctx, ch.Query{
			Body:   "SELECT CAST(SpanName, 'String'), " + e.layout.column("Kind") + " AS kind, count() FROM " + e.source() + " WHERE " + p.sql + " GROUP BY SpanName, kind",
			Result: proto.Results{{Data: &name}, {Data: &kind}, {Data: &n}},
			OnResult: func(context.Context, proto.Block) error {
				for i, n := range n {
					counts[store.Operation{Name: name.Row(i), Kind: span.Kind(kind[i])}] += int64(n)
				}
				return nil
			},
		}, &c)
	} else {
		for r, failure := range e.matching(ctx, p, store.Need{Columns: store.ColName | store.ColKind}, &c) {
			if err = failure; err != nil {
				break
			}
			for _, row := range r.Rows {
				counts[store.Operation{Name: r.Batch.String(r.Batch.Name[row]), Kind: r.Batch.Kind[row]}]++
			}
		}
	}
	d, err := done(ctx, "list operations", &c, err)
	return answer.Operations(counts), d, err
}

// Keys counts where keys stand: once per span that has it, resources and scopes once per span of theirs, events and links each.
func (e *Engine) Keys(ctx context.Context, s store.Scope, q store.KeysQuery) ([]store.Key, store.Done, error) {
	total, d, err := e.CountKeys(ctx, s, q)
	return total.List(q.Limit), d, err
}

// CountKeys is Keys before the list is made: all keys with the counts of their types.
func (e *Engine) CountKeys(ctx context.Context, s store.Scope, q store.KeysQuery) (answer.KeyCounts, store.Done, error) {
	var expr store.Expr
	if q.Service != "" {
		expr = store.ServiceIs(q.Service)
	}
	p, err := e.plan(s, expr, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	total := make(answer.KeyCounts)
	var c cost
	if !p.exact {
		for r, failure := range e.matching(ctx, p, store.Everything(), &c) {
			if err = failure; err != nil {
				break
			}
			answer.CountKeys(r.Batch, r.Rows, q, total)
		}
	} else {
		for _, a := range attributeColumns {
			if q.In != store.InAny && q.In != a.in || e.layout.column(a.prefix+"Keys") == "" {
				continue
			}
			if err = e.countKeys(ctx, p, a, q.Prefix, total, &c); err != nil {
				break
			}
		}
	}
	d, err := done(ctx, "list attribute keys", &c, err)
	if len(total) > answer.MaxDistinct && d.Complete {
		d.Complete, d.Reason = false, answer.TooMany
	}
	return total, d, err
}

func (e *Engine) countKeys(ctx context.Context, p *plan, a attributeColumn, prefix string, total answer.KeyCounts, c *cost) error {
	having := ""
	if prefix != "" {
		having = " WHERE startsWith(k, " + quote(prefix) + ")"
	}
	var key proto.ColStr
	var typ proto.ColUInt8
	var n proto.ColUInt64
	return e.ask(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT CAST(k, 'String'), t, count() FROM (SELECT k, t FROM %s ARRAY JOIN %s AS k, %s AS t WHERE %s)%s GROUP BY k, t LIMIT %d",
			e.source(), e.layout.column(a.prefix+"Keys"), e.layout.column(a.prefix+"Types"), p.sql, having, int(span.NumTypes)*answer.MaxDistinct),
		Result: proto.Results{{Data: &key}, {Data: &typ}, {Data: &n}},
		OnResult: func(context.Context, proto.Block) error {
			for i, n := range n {
				t := span.Type(typ[i])
				if typ[i] == oddNaN {
					t = span.TypeDouble
				}
				if t < span.NumTypes {
					total.Add(key.Row(i), a.in, t, int64(n))
				}
			}
			return nil
		},
	}, c)
}

// Values counts the values of a field in text form. Texts that are a column are counted by ClickHouse.
func (e *Engine) Values(ctx context.Context, s store.Scope, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	get, err := match.NewGetter(q.Field)
	if err != nil {
		return nil, store.Done{}, err
	}
	p, err := e.plan(s, q.Match, match.Window{TimeRange: q.Range, Mode: store.Start})
	if err != nil {
		return nil, store.Done{}, err
	}
	if q.Field.In == store.Intrinsic && p.exact {
		if column := e.layout.column(textIntrinsics[q.Field.Key]); column != "" {
			return e.countTexts(ctx, p, column, q)
		}
	}
	v := answer.NewValueCounter(get, q.Prefix)
	var c cost
	for r, failure := range e.matching(ctx, p, get.Need(), &c) {
		if err = failure; err != nil {
			break
		}
		if v.Count(r.Batch, r.Rows); v.Len() > answer.MaxDistinct {
			break
		}
	}
	d, err := done(ctx, "list values", &c, err)
	if v.Len() > answer.MaxDistinct && d.Complete {
		d.Complete, d.Reason = false, answer.TooMany
	}
	return v.List(q.Limit), d, err
}

func (e *Engine) countTexts(ctx context.Context, p *plan, column string, q store.ValuesQuery) ([]store.ValueCount, store.Done, error) {
	var list []store.ValueCount
	var text proto.ColStr
	var n proto.ColUInt64
	var c cost
	conds := []string{p.sql, column + " != ''"}
	if q.Prefix != "" {
		conds = append(conds, "startsWith("+column+", "+quote(q.Prefix)+")")
	}
	limit := q.Limit
	if limit <= 0 || limit > answer.MaxDistinct {
		limit = answer.MaxDistinct + 1
	}
	err := e.ask(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT CAST(%s, 'String') AS text, count() AS n FROM %s WHERE %s GROUP BY text ORDER BY n DESC, text LIMIT %d",
			column, e.source(), strings.Join(conds, " AND "), limit),
		Result: proto.Results{{Data: &text}, {Data: &n}},
		OnResult: func(context.Context, proto.Block) error {
			for i, n := range n {
				list = append(list, store.ValueCount{Text: text.Row(i), Type: span.TypeString, N: int64(n)})
			}
			return nil
		},
	}, &c)
	d, err := done(ctx, "list values", &c, err)
	if len(list) > answer.MaxDistinct {
		list = list[:answer.MaxDistinct]
		d.Complete, d.Reason = false, answer.TooMany
	}
	return list, d, err
}
