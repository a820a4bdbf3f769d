package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/spanloom/spanloom/query/tempoapi/tempopb"
)

// progress is a line on a terminal that tells how far a query is.
type progress struct {
	out   io.Writer // nil where nobody looks
	began time.Time
	shown bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{began: time.Now()}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = w
		}
	}
	return p
}

func (p *progress) show(m *tempopb.SearchMetrics, found string) {
	if p.out == nil {
		return
	}
	p.shown = true
	fmt.Fprintf(p.out, "\r\x1b[K%d of %d blocks, %s, %s", m.GetCompletedJobs(), m.GetTotalJobs(), found, time.Since(p.began).Round(100*time.Millisecond))
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// printAnswer prints a message as JSON or by text.
func printAnswer(out io.Writer, m proto.Message, output string, text func(io.Writer) error) error {
	if output == "text" {
		return text(out)
	}
	body, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	var plain bytes.Buffer // protojson varies its spaces
	if err := json.Compact(&plain, body); err != nil {
		return err
	}
	_, err = out.Write(append(plain.Bytes(), '\n'))
	return err
}

// printTraces prints a table of traces, under each the matching spans that came with it.
func printTraces(out io.Writer, m *tempopb.SearchResponse, spans int) error {
	if len(m.Traces) == 0 {
		_, err := fmt.Fprintln(out, "no trace matches")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TRACE\tSTART\tDURATION\tSERVICE\tNAME\tSPANS\tERRORS\tMATCHED")
	for _, t := range m.Traces {
		var all, errors, matched uint32
		for _, s := range t.ServiceStats {
			all, errors = all+s.SpanCount, errors+s.ErrorCount
		}
		for _, set := range t.SpanSets {
			matched += set.Matched
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", t.TraceID, clockTime(t.StartTimeUnixNano), duration(int64(t.DurationMs)*1e6),
			printable(t.RootServiceName), printable(t.RootTraceName), all, errors, matched)
		for _, set := range t.SpanSets {
			for _, s := range set.Spans[:min(spans, len(set.Spans))] {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t\t\t\n", s.SpanID, clockTime(s.StartTimeUnixNano), duration(int64(s.DurationNanos)), "", printable(s.Name)+attributes(s.Attributes))
			}
		}
	}
	return w.Flush()
}

// attributes are the named values of a span or a series: {a=1, b="x"}.
func attributes(list []*tempopb.KeyValue) string {
	if len(list) == 0 {
		return ""
	}
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.Key + "=" + anyText(a.Value)
	}
	return " {" + printable(strings.Join(words, ", ")) + "}"
}

func anyText(v *tempopb.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *tempopb.AnyValue_StringValue:
		return v.StringValue
	case *tempopb.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *tempopb.AnyValue_DoubleValue:
		return number(v.DoubleValue)
	case *tempopb.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *tempopb.AnyValue_ArrayValue:
		words := make([]string, len(v.ArrayValue.GetValues()))
		for i, e := range v.ArrayValue.GetValues() {
			words[i] = anyText(e)
		}
		return "[" + strings.Join(words, ", ") + "]"
	default:
		return "nil"
	}
}

// printable is text of strangers without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}

// printSeries prints a line per series: labels, a small chart, and its figures.
func printSeries(out io.Writer, m *tempopb.QueryRangeResponse) error {
	if len(m.Series) == 0 {
		_, err := fmt.Fprintln(out, "no series")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERIES\tCHART\tLAST\tMIN\tMEAN\tMAX")
	for _, s := range m.Series {
		values := make([]float64, len(s.Samples))
		sum, least, most := 0.0, math.Inf(1), math.Inf(-1)
		for i, p := range s.Samples {
			values[i] = p.Value
			sum, least, most = sum+p.Value, min(least, p.Value), max(most, p.Value)
		}
		if len(values) == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", strings.TrimSpace(attributes(s.Labels)), chart(values, least, most), number(values[len(values)-1]),
			number(least), number(sum/float64(len(values))), number(most))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if m.Status == tempopb.PartialStatus_PARTIAL {
		_, err := fmt.Fprintln(out, "not everything:", printable(m.Message))
		return err
	}
	return nil
}

const chartWidth = 30

// chart draws values from least to most as bars of eight heights; of more values than fit each bar is the greatest of some.
func chart(values []float64, least, most float64) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	n := min(len(values), chartWidth)
	out := make([]rune, n)
	for i := range out {
		top := math.Inf(-1)
		for _, v := range values[i*len(values)/n : (i+1)*len(values)/n] {
			top = max(top, v)
		}
		height := 0
		if most > least {
			height = int((top - least) / (most - least) * float64(len(bars)-1))
		}
		out[i] = bars[min(max(height, 0), len(bars)-1)]
	}
	return string(out)
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }

func clockTime(ns uint64) string {
	return time.Unix(0, int64(ns)).UTC().Format("2006-01-02 15:04:05.000")
}
