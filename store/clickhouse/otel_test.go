package clickhouse_test

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/clickhouseserver"
	"github.com/spanloom/spanloom/process"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/clickhouse"
	"github.com/spanloom/spanloom/store/match"
	"github.com/spanloom/spanloom/store/storetest"
)

// otelTarget names tables of the exporter's form in a database of its own.
func otelTarget(t testing.TB, addr string) *clickhouse.Target {
	t.Helper()
	to, err := clickhouse.ParseDSN(fmt.Sprintf("clickhouse://%s/otel%d?schema=otel", addr, databases.Add(1)), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return to
}

var naming = clickhouse.Naming{Keys: process.NamingKeys(), Set: process.Regroup}

func openOtel(t testing.TB, o clickhouse.Options) *clickhouse.Engine {
	t.Helper()
	o.Naming, o.Log = naming, func(message string) { t.Log(message) }
	return open(t, o)
}

// otelLoss is what the exporter's table keeps.
var otelLoss = storetest.Loss{Stored: otelStored, Pages: "the table does not tell who stored a row and when"}

func otelStored(b *span.Batch) (rows []*span.Batch) {
	for row := range b.Len() {
		one := b.Clone()
		at := -1
		one.Keep(func(int) bool { at++; return at == row })
		rows = append(rows, otelRow(one))
	}
	return rows
}

// otelRow writes a batch of one row anew as the table gives it back.
func otelRow(b *span.Batch) *span.Batch {
	out := &span.Batch{Tenant: b.Tenant, Received: b.EndTime(0)}
	out.AddRow()
	text := func(s span.Str) span.Str { return out.AddString(b.Bytes(s)) }
	attrs := func(r span.Range, looks bool) span.Range {
		list := b.AttrsOf(r)
		mark := out.AttrMark()
		for i, a := range list {
			last := true
			for _, later := range list[i+1:] {
				last = last && later.Key != a.Key
			}
			if last {
				out.AddAttr(out.InternKey(b.Key(a)), otelValue(out, b, a.Value(), looks))
			}
		}
		return out.AttrsSince(mark)
	}
	out.TraceID[0], out.SpanID[0], out.Parent[0] = b.TraceID[0], b.SpanID[0], b.Parent[0]
	out.Time[0], out.Start[0], out.End[0], out.Weight[0] = b.Time[0], uint64(b.Time[0]), uint64(b.EndTime(0)), 1
	if b.Kind[0] <= span.KindConsumer {
		out.Kind[0] = b.Kind[0]
	}
	if b.Status[0] <= span.StatusError {
		out.Status[0] = b.Status[0]
	}
	out.Name[0], out.Service[0], out.StatusMessage[0], out.TraceState[0] = text(b.Name[0]), text(b.Service[0]), text(b.StatusMessage[0]), text(b.TraceState[0])
	out.Resources = []span.Resource{{Attrs: attrs(b.Resources[b.Resource[0]].Attrs, false)}}
	scope := b.Scopes[b.Scope[0]]
	out.Scopes = []span.Scope{{Name: text(scope.Name), Version: text(scope.Version)}}
	out.SpanAttrs[0] = attrs(b.SpanAttrs[0], true)
	for _, e := range b.EventsOf(0) {
		out.Events = append(out.Events, span.Event{Time: e.Time, Name: text(e.Name), Attrs: attrs(e.Attrs, true)})
	}
	out.SpanEvents[0] = span.Range{Len: uint32(len(out.Events))}
	for _, l := range b.LinksOf(0) {
		out.Links = append(out.Links, span.Link{TraceID: l.TraceID, SpanID: l.SpanID, TraceState: text(l.TraceState), Attrs: attrs(l.Attrs, true)})
	}
	out.SpanLinks[0] = span.Range{Len: uint32(len(out.Links))}
	process.Regroup(out)
	return out
}

// otelValue is a value as the table gives it back: its text, unless that looks like an int or a bool.
func otelValue(out, b *span.Batch, v span.Value, looks bool) span.Value {
	text := ""
	if scalar, ok := match.AppendText(nil, b, v); ok {
		text = string(scalar)
	} else if v.Type == span.TypeBytes {
		text = base64.StdEncoding.EncodeToString(b.Bytes(v.Str()))
	} else if v.Type != span.TypeNull {
		text = string(otlpjson.AppendValue(nil, b, v))
	}
	if n, err := strconv.ParseInt(text, 10, 64); looks && err == nil && strconv.FormatInt(n, 10) == text {
		return span.IntValue(n)
	}
	if looks && (text == "true" || text == "false") {
		return span.BoolValue(text == "true")
	}
	return span.StrValue(span.TypeString, out.AddText(text))
}

func TestOtelConformance(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	storetest.RunLossy(t, func(t *testing.T, now func() time.Time) store.Engine {
		return openOtel(t, clickhouse.Options{Target: otelTarget(t, server.Addr), Now: now})
	}, otelLoss)
}

// TestOtelModel runs random operations over tiny blocks, with restarts and merges in between.
func TestOtelModel(t *testing.T) {
	server := clickhouseserver.Start(t, "")
	targets := make(map[store.Engine]*clickhouse.Target)
	again := func(t *testing.T, to *clickhouse.Target, now func() time.Time) store.Engine {
		e := openOtel(t, clickhouse.Options{Target: to, Now: now, Rows: 3})
		targets[e] = to
		return e
	}
	storetest.Model(t, func(t *testing.T, now func() time.Time) store.Engine {
		return again(t, otelTarget(t, server.Addr), now)
	}, storetest.ModelOptions{
		Loss: otelLoss,
		Reopen: func(t *testing.T, e store.Engine, now func() time.Time) store.Engine {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			return again(t, targets[e], now)
		},
		Hidden: map[string]func(*testing.T, store.Engine){
			"merge": func(t *testing.T, e store.Engine) {
				server.Run(t, "OPTIMIZE TABLE "+targets[e].Database+".otel_traces FINAL")
			},
		},
	})
}
