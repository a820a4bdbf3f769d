package jaegerapi

import (
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
)

// unnamedService is shown where a span was stored without a service, which process prevents.
const unnamedService = "unknown"

// processes is the process table of one trace: p1, p2 … in the order of their first span, each content once.
type processes struct {
	texts  [][]byte           // their JSON
	byText map[string]int     // JSON -> place in texts
	known  map[processKey]int // of spans that lend their process nothing
}

type processKey struct {
	service  span.Str // strings of an assembled trace are interned: equal ones are equal runs
	resource uint32
}

func (p *processes) reset() {
	p.texts = p.texts[:0]
	if p.byText == nil {
		p.byText, p.known = make(map[string]int), make(map[processKey]int)
	}
	clear(p.byText)
	clear(p.known)
}

// process finds or makes the process of a row whose tags were written.
func (w *traceWriter) process(row int) int {
	b, p := w.b, &w.processes
	key := processKey{b.Service[row], b.Resource[row]}
	if i, ok := p.known[key]; ok && len(w.moved) == 0 {
		return i
	}
	// The JSON is written behind what waits in buf and taken off again.
	start := len(w.out.buf)
	w.appendProcess(row)
	text := w.out.buf[start:]
	i, ok := p.byText[string(text)]
	if !ok {
		i = len(p.texts)
		p.texts = append(p.texts, append([]byte(nil), text...))
		p.byText[string(text)] = i
	}
	w.out.buf = w.out.buf[:start]
	if len(w.moved) == 0 {
		p.known[key] = i
	}
	return i
}

func (w *traceWriter) appendProcess(row int) {
	w.out.buf = otlpjson.AppendQuoted(append(w.out.buf, `{"serviceName":`...), w.serviceOf(row))
	w.out.buf = append(w.out.buf, `,"tags":`...)
	l := w.list()
	l.attrs(w.processAttrs(row))
	l.end()
	w.out.buf = append(w.out.buf, '}')
}
