package zipkin

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// writer makes random v2 bodies: right ones mostly, with every liberty that JSON gives and many that it does not.
type writer struct {
	strings.Builder
	r *rand.Rand
}

func (w *writer) one(of ...string) string { return of[w.r.IntN(len(of))] }

func (w *writer) space() {
	if w.r.IntN(8) == 0 {
		w.WriteString(w.one(" ", "\n", "\t ", "\r\n"))
	}
}

func (w *writer) text(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case w.r.IntN(12) == 0 && c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		case c < ' ':
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	if w.r.IntN(20) == 0 {
		b.WriteString(w.one(`\n`, `\/`, `\ud83d\ude00`, `\ud800`, `\udc00x`, `\ud800\u0041`, "\xff", "\xe2\x82", "\xed\xa0\x80", "€", "\u2028"))
	}
	b.WriteByte('"')
	return b.String()
}

func (w *writer) hex(digits int) string {
	s := fmt.Sprintf("%016x%016x", w.r.Uint64(), w.r.Uint64())[:digits]
	switch w.r.IntN(30) {
	case 0:
		return `"` + strings.ToUpper(s) + `"`
	case 1:
		return `"0x` + s[:len(s)/2] + `"`
	case 2:
		return w.one(`""`, `"0"`, `null`, `"xyz"`, `5`, `"`+s+s+s+`"`, `"0000000000000000"`, `{}`, `"0x"`)
	case 3:
		return `"` + s[:1+w.r.IntN(digits)] + `"`
	}
	return `"` + s + `"`
}

func (w *writer) number() string {
	switch w.r.IntN(12) {
	case 0:
		return w.one("0", "-1", "1.58e15", "0.3", "12.9", "1E3", "null", `"77"`, "1e400", "18446744073709551615", "18446744073709551616",
			"99999999999999999999999", "-0", "true", `"x"`, "[1]", "1000000000000000000000000e-10", `""`)
	}
	return fmt.Sprint(w.r.Uint64N(1 << 52))
}

func (w *writer) object(fields ...string) string {
	w.r.Shuffle(len(fields), func(i, k int) { fields[i], fields[k] = fields[k], fields[i] })
	o := &writer{r: w.r}
	o.WriteByte('{')
	n := 0
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if w.r.IntN(7) == 0 {
			continue
		}
		if n++; n > 1 {
			o.WriteByte(',')
		}
		o.space()
		o.WriteString(o.text(name))
		o.space()
		o.WriteByte(':')
		o.space()
		o.WriteString(value)
		o.space()
	}
	o.WriteByte('}')
	return o.String()
}

func (w *writer) rare(value string) string {
	if w.r.IntN(25) == 0 {
		return w.one("null", "5", `"x"`, "[]", "{}", "true", "[{}]", "[null,3]", `{"a":null}`)
	}
	return value
}

func (w *writer) endpoint() string {
	return w.object("serviceName="+w.rare(w.text(w.one("web", "App.Shop", ""))), "ipv4="+w.one(`"10.0.0.1"`, `"300.0.0.1"`, "null", `"1.2.3.4"`),
		"port="+w.one("0", "80", "70000", "null", `"81"`, "1e2"), "zone={\"x\":[1,\"]\"]}")
}

func (w *writer) tags() string {
	var tags []string
	for range w.r.IntN(12) {
		key := w.one("http.method", "http.url", "error", "host.name", "k8s.pod.name", "component", "node_id", "a", "b", "é", "")
		value := w.text(w.one("GET", "true", "false", "", "http://x/?q=1|2", "long "+strings.Repeat("é", w.r.IntN(40))))
		if w.r.IntN(20) == 0 {
			value = w.one("5", "-1.50", "true", "null", "1e5")
		}
		tags = append(tags, key+"="+value)
	}
	return w.object(tags...)
}

func (w *writer) annotations() string {
	var list []string
	for range w.r.IntN(3) {
		list = append(list, w.rare(w.object("timestamp="+w.number(), "value="+w.text(w.one("ss", "cr", "event", "")))))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func (w *writer) span() string {
	fields := []string{"traceId=" + w.hex(16*(1+w.r.IntN(2))), "id=" + w.hex(16), "parentId=" + w.hex(16), "name=" + w.rare(w.text("get /a")),
		"kind=" + w.rare(w.one(`"CLIENT"`, `"SERVER"`, `"PRODUCER"`, `"consumer"`)), "timestamp=" + w.number(), "duration=" + w.number(),
		"localEndpoint=" + w.rare(w.endpoint()), "tags=" + w.rare(w.tags()), "annotations=" + w.rare(w.annotations()), "x=" + w.tags()}
	for _, f := range []string{"remoteEndpoint=" + w.rare(w.endpoint()), "debug=" + w.one("true", "false", "null", "7"), "shared=" + w.one("true", "false")} {
		if w.r.IntN(3) == 0 {
			fields = append(fields, f)
		}
	}
	return w.object(fields...)
}

// TestRandomBodies compares thousands of made-up bodies with the oracle. A failure prints the body; the seed is fixed.
func TestRandomBodies(t *testing.T) {
	w := &writer{r: rand.New(rand.NewPCG(1, 2))}
	known := 0
	const rounds = 4_000
	for range rounds {
		w.Reset()
		w.space()
		w.WriteByte('[')
		for k := range 1 + w.r.IntN(4) {
			if k > 0 {
				w.WriteByte(',')
			}
			w.space()
			w.WriteString(w.rare(w.span()))
		}
		w.WriteByte(']')
		body := []byte(w.String())
		if body[0] == '\n' {
			continue
		}
		if agree(t, body) {
			known++
		}
		checkBody(t, body, JSONv2)
	}
	if known < rounds/3 {
		t.Errorf("the oracle knew only %d of %d bodies", known, rounds)
	}
	t.Log(known, "of", rounds)
}
