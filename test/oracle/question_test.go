package oracle

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

var scope = store.Scope{Tenant: store.DefaultTenant}

// question is one question in both languages; both answer lines of text.
type question struct {
	name    string
	sql     string // yields a column line
	ordered bool   // the order of the lines is part of the answer
	engine  func(t *testing.T, e store.Engine) []string
}

// question makes a random one.
func (a *asker) question() question {
	return []func() question{a.counts, a.counts, a.search, a.search, a.search, a.slowest, a.trace, a.services, a.operations, a.keys, a.values, a.red}[a.r.IntN(12)]()
}

// counts groups matching spans by service, kind and status.
func (a *asker) counts() question {
	mode := store.TimeMode(a.r.IntN(2))
	c := a.condition(2)
	tr, during := a.window(mode)
	return question{
		name: fmt.Sprintf("counts of %#v in %v, mode %d", c.expr, tr, mode),
		sql: fmt.Sprintf("SELECT concat_ws('|', service, kind, status, count(*), count(*) FILTER (failed), sum(duration_ns)) AS line FROM spans WHERE %s AND %s GROUP BY service, kind, status",
			during, c.sql),
		engine: func(t *testing.T, e store.Engine) []string {
			type group struct {
				service string
				kind    span.Kind
				status  span.Status
			}
			counts := make(map[group][3]int64)
			for r, err := range e.Scan(t.Context(), scope, &store.Scan{Range: tr, Mode: mode, Match: c.expr,
				Need: store.Need{Columns: store.ColService | store.ColKind | store.ColStatus | store.ColTime}}) {
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range r.Rows {
					b, row := r.Batch, int(i)
					g := group{b.String(b.Service[row]), b.Kind[row], b.Status[row]}
					n := counts[g]
					n[0]++
					if b.Failed(row) {
						n[1]++
					}
					n[2] += b.Duration(row)
					counts[g] = n
				}
			}
			var lines []string
			for g, n := range counts {
				lines = append(lines, fmt.Sprintf("%s|%s|%s|%d|%d|%d", g.service, g.kind, g.status, n[0], n[1], n[2]))
			}
			return lines
		},
	}
}

// search asks for traces, newest matching span first, in pages.
func (a *asker) search() question {
	mode := store.TimeMode(a.r.IntN(2))
	c := a.condition(2)
	tr, during := a.window(mode)
	q := store.Search{Range: tr, Mode: mode, Match: c.expr, Limit: 1 + a.r.IntN(40)}
	bounds := "true"
	if a.r.IntN(3) == 0 {
		d := a.spans.Duration(a.row())
		q.TraceDuration.Min, q.TraceDuration.Max = d, d*int64(a.r.IntN(4))
		bounds = fmt.Sprintf("duration >= %d", q.TraceDuration.Min)
		if q.TraceDuration.Max > 0 {
			bounds += fmt.Sprintf(" AND duration <= %d", q.TraceDuration.Max)
		}
	}
	pages := 1 + a.r.IntN(3)
	return question{
		name: fmt.Sprintf("%d pages of %#v", pages, q), ordered: true,
		sql: fmt.Sprintf(`SELECT concat_ws('|', trace_id, spans, errors, matched, newest, duration) AS line FROM
			(SELECT trace_id, count(*) AS matched, max(time_unix_nano) AS newest FROM spans WHERE %s AND %s GROUP BY trace_id) JOIN
			(SELECT trace_id, count(*) AS spans, count(*) FILTER (failed) AS errors, max(time_unix_nano + duration_ns) - min(time_unix_nano) AS duration FROM spans GROUP BY trace_id) USING (trace_id)
			WHERE %s ORDER BY newest DESC, trace_id LIMIT %d`, during, c.sql, bounds, pages*q.Limit),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			q := q
			for range pages {
				page, err := e.Search(t.Context(), scope, &q)
				if err != nil || !page.Complete {
					t.Fatalf("%+v %v", page, err)
				}
				for _, s := range page.Traces {
					lines = append(lines, fmt.Sprintf("%s|%d|%d|%d|%d|%d", s.TraceID, s.Spans, s.Errors, s.Matched, s.MatchedStart, s.End-s.Start))
				}
				if q.Page = page.Next; q.Page == "" {
					break
				}
			}
			return lines
		},
	}
}

// slowest asks for the spans of the longest durations.
func (a *asker) slowest() question {
	c := a.condition(1)
	return question{
		name: fmt.Sprintf("slowest of %#v", c.expr), ordered: true,
		sql: fmt.Sprintf("SELECT concat_ws('|', duration_ns, trace_id, span_id, name) AS line FROM spans WHERE %s ORDER BY duration_ns DESC, trace_id, span_id LIMIT 10", c.sql),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			type slow struct {
				d    int64
				id   span.TraceID
				span span.SpanID
				name string
			}
			var list []slow
			for r, err := range e.Scan(t.Context(), scope, &store.Scan{Match: c.expr, Need: store.Need{Columns: store.ColTime | store.ColSpanID | store.ColName}}) {
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range r.Rows {
					b := r.Batch
					list = append(list, slow{b.Duration(int(row)), b.TraceID[row], b.SpanID[row], b.String(b.Name[row])})
				}
			}
			slices.SortFunc(list, func(x, y slow) int {
				return cmp.Or(cmp.Compare(y.d, x.d), bytes.Compare(x.id[:], y.id[:]), bytes.Compare(x.span[:], y.span[:]))
			})
			for _, s := range list[:min(10, len(list))] {
				lines = append(lines, fmt.Sprintf("%d|%s|%s|%s", s.d, s.id, s.span, s.name))
			}
			return lines
		},
	}
}

// trace asks for all spans of one trace.
func (a *asker) trace() question {
	id := a.spans.TraceID[a.row()]
	return question{
		name: "trace " + id.String(),
		sql: fmt.Sprintf("SELECT concat_ws('|', span_id, coalesce(parent_span_id, '-'), service, name, start_unix_nano, end_unix_nano, len(attributes), len(events), len(links), weight) AS line FROM spans WHERE trace_id = %s",
			quote(id.String())),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			for b, err := range e.Trace(t.Context(), scope, id, store.TimeRange{}) {
				if err != nil {
					t.Fatal(err)
				}
				for row := range b.Len() {
					parent := "-"
					if !b.Parent[row].IsZero() {
						parent = b.Parent[row].String()
					}
					lines = append(lines, fmt.Sprintf("%s|%s|%s|%s|%d|%d|%d|%d|%d|%.1f", b.SpanID[row], parent, b.String(b.Service[row]), b.String(b.Name[row]),
						b.Start[row], b.End[row], b.SpanAttrs[row].Len, b.SpanEvents[row].Len, b.SpanLinks[row].Len, b.Weight[row]))
				}
			}
			return lines
		},
	}
}

func (a *asker) services() question {
	tr, during := a.window(store.Start)
	return question{
		name: fmt.Sprintf("services in %v", tr), ordered: true,
		sql: fmt.Sprintf("SELECT concat_ws('|', service, count(*), max(time_unix_nano)) AS line FROM spans WHERE %s GROUP BY service ORDER BY service", during),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			list, done, err := e.Services(t.Context(), scope, tr)
			if err != nil || !done.Complete {
				t.Fatal(done, err)
			}
			for _, s := range list {
				lines = append(lines, fmt.Sprintf("%s|%d|%d", s.Name, s.Spans, s.LastTime))
			}
			return lines
		},
	}
}

func (a *asker) operations() question {
	tr, during := a.window(store.Start)
	service := a.spans.String(a.spans.Service[a.row()])
	return question{
		name: fmt.Sprintf("operations of %q in %v", service, tr), ordered: true,
		sql: fmt.Sprintf("SELECT concat_ws('|', name, kind, count(*)) AS line FROM spans WHERE service = %s AND %s GROUP BY name, kind, kind_code ORDER BY name, kind_code",
			quote(service), during),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			list, done, err := e.Operations(t.Context(), scope, service, tr)
			if err != nil || !done.Complete {
				t.Fatal(done, err)
			}
			for _, o := range list {
				lines = append(lines, fmt.Sprintf("%s|%s|%d", o.Name, o.Kind, o.N))
			}
			return lines
		},
	}
}

func (a *asker) keys() question {
	tr, during := a.window(store.Start)
	in := []store.FieldScope{store.InSpan, store.InResource, store.InEvent}[a.r.IntN(3)]
	lists := map[store.FieldScope]string{store.InSpan: "attributes", store.InResource: "resource.attributes", store.InEvent: "flatten([e.attributes FOR e IN events])"}
	return question{
		name: fmt.Sprintf("keys of %s in %v", in, tr),
		sql:  fmt.Sprintf("SELECT concat_ws('|', a.key, count(*)) AS line FROM (SELECT unnest(%s) AS a FROM spans WHERE %s) GROUP BY a.key", lists[in], during),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			list, done, err := e.Keys(t.Context(), scope, store.KeysQuery{Range: tr, In: in})
			if err != nil || !done.Complete {
				t.Fatal(done, err)
			}
			for _, k := range list {
				lines = append(lines, fmt.Sprintf("%s|%d", k.Key, k.N))
			}
			return lines
		},
	}
}

// values lists the scalars of one attribute but for doubles, whose text forms differ between languages.
func (a *asker) values() question {
	tr, during := a.window(store.Start)
	b, row := a.spans, a.row()
	key := "none"
	if r := b.SpanAttrs[row]; r.Len > 0 {
		key = string(b.Key(b.AttrsOf(r)[a.r.IntN(int(r.Len))]))
	}
	c := a.condition(1)
	return question{
		name: fmt.Sprintf("values of %s where %#v in %v", key, c.expr, tr),
		sql: fmt.Sprintf(`SELECT concat_ws('|', v.type, v.text, count(*)) AS line FROM (
			SELECT unnest(CASE a.type WHEN 'string' THEN [{type: 'string', text: a."string"}] WHEN 'int' THEN [{type: 'int', text: a.int::VARCHAR}]
				WHEN 'bool' THEN [{type: 'bool', text: a.bool::VARCHAR}] WHEN 'strings' THEN [{type: 'string', text: x} FOR x IN elements(a)]
				WHEN 'ints' THEN [{type: 'int', text: x} FOR x IN elements(a)] ELSE [] END) AS v
			FROM (SELECT scalar(attributes, %s) AS a FROM spans WHERE %s AND %s)) GROUP BY v.type, v.text`, quote(key), during, c.sql),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			list, done, err := e.Values(t.Context(), scope, store.ValuesQuery{Range: tr, Field: store.Field{In: store.InSpan, Key: key}, Match: c.expr})
			if err != nil || !done.Complete {
				t.Fatal(done, err)
			}
			words := map[span.Type]string{span.TypeString: "string", span.TypeInt: "int", span.TypeBool: "bool"}
			for _, v := range list {
				if word, ok := words[v.Type]; ok {
					lines = append(lines, fmt.Sprintf("%s|%s|%d", word, v.Text, v.N))
				}
			}
			return lines
		},
	}
}

// red asks for calls and errors of services as the overview shows them: by server and consumer spans, by roots where a service
// has neither.
func (a *asker) red() question {
	from, to := a.spans.Time[a.row()], a.spans.Time[a.row()]
	tr := store.TimeRange{From: min(from, to), To: max(from, to) + 1}
	return question{
		name: fmt.Sprintf("rate and errors in %v", tr), ordered: true,
		sql: fmt.Sprintf(`SELECT concat_ws('|', service, CASE WHEN serving > 0 THEN n ELSE roots END, round(CASE WHEN serving > 0 THEN errors ELSE root_errors END, 3)) AS line FROM (
			SELECT service, count(*) FILTER (serves) AS serving, count(*) FILTER (serves AND inside) AS n, count(*) FILTER (NOT serves AND root AND inside) AS roots,
				coalesce(sum(weight) FILTER (serves AND inside AND failed), 0.0) AS errors, coalesce(sum(weight) FILTER (NOT serves AND root AND inside AND failed), 0.0) AS root_errors,
				count(*) FILTER (inside) AS seen
			FROM (SELECT *, kind IN ('server', 'consumer') AS serves, parent_span_id IS NULL AS root, time_unix_nano >= %d AS inside FROM spans WHERE time_unix_nano >= %d AND time_unix_nano < %d)
			GROUP BY service) WHERE seen > 0 ORDER BY service`, tr.From, tr.From-3600e9, tr.To),
		engine: func(t *testing.T, e store.Engine) (lines []string) {
			answer, err := query.New(query.Options{Reader: e}).Services(t.Context(), scope, query.ServicesQuery{Range: tr})
			if err != nil || !answer.Complete {
				t.Fatal(answer, err)
			}
			for _, s := range answer.Items {
				lines = append(lines, fmt.Sprintf("%s|%d|%s", s.Name, s.RED.N, decimal(s.RED.Errors)))
			}
			return lines
		},
	}
}

// decimal writes a number as DuckDB does: with a point, and no zeros behind it but one.
func decimal(f float64) string {
	text := strings.TrimRight(fmt.Sprintf("%.3f", f), "0")
	if strings.HasSuffix(text, ".") {
		text += "0"
	}
	return text
}
