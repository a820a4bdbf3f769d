package zipkin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spanloom/spanloom/span"
)

// plain is a span as the oracle and the decoder are compared: order does not count, types of attributes do.
type plain struct {
	Trace, ID, Parent, Kind, Name, Message string
	Status                                 span.Status
	Start, End                             uint64
	Attrs, Resource                        map[string]string
	Events                                 []string
}

// errOutside marks bodies that the oracle has no opinion on.
var errOutside = errors.New("outside the oracle's world")

// node is a JSON value: string, json.Number, bool, nil, []node or object.
type node any

type object []field

type field struct {
	name  string
	value node
}

// tree reads JSON with encoding/json, keeping the order and repetition of fields.
func tree(d *json.Decoder, depth int) (node, error) {
	if depth > 400 {
		return nil, errOutside
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		list := []node{}
		for d.More() {
			n, err := tree(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		_, err := d.Token()
		return list, err
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			n, err := tree(d, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, field{name.(string), n})
		}
		_, err := d.Token()
		return o, err
	}
	return t, nil
}

// oracle reads a v2 body with encoding/json and maps it by the plain words of the contract.
func oracle(body []byte) (spans []plain, bad int, err error) {
	if !json.Valid(body) {
		return nil, 0, errOutside
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	top, err := tree(d, 0)
	if err != nil {
		return nil, 0, errOutside
	}
	list, ok := top.([]node)
	if !ok {
		if _, ok := top.(object); !ok {
			return nil, 0, errOutside
		}
		list = []node{top}
	}
	for _, n := range list {
		o, ok := n.(object)
		if !ok {
			bad++
			continue
		}
		s, good, err := oracleSpan(o)
		if err != nil {
			return nil, 0, err
		}
		if !good {
			bad++
			continue
		}
		spans = append(spans, s)
	}
	return spans, bad, nil
}

func oracleSpan(o object) (s plain, good bool, err error) {
	good = true
	s.Attrs, s.Resource = map[string]string{}, map[string]string{}
	known := map[string]node{}
	for _, f := range o {
		if f.name == "binaryAnnotations" || f.name == "resourceSpans" {
			return s, false, errOutside
		}
		if _, again := known[f.name]; again {
			return s, false, errOutside // which of them wins is nobody's contract
		}
		known[f.name] = f.value
	}
	id := func(name string, digits int) string {
		switch v := known[name].(type) {
		case nil:
			return ""
		case string:
			v = strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(v, "0x"), "0X"))
			if v == "" && known[name] == "" {
				return ""
			}
			padded := strings.Repeat("0", max(0, digits-len(v))) + v
			if _, err := hex.DecodeString(padded); err != nil || len(padded) != digits || v == "" {
				good = false
			}
			return padded
		default:
			good = false
			return ""
		}
	}
	text := func(v node) string {
		switch v := v.(type) {
		case nil:
			return ""
		case string:
			return v
		}
		good = false
		return ""
	}
	flag := func(v node) bool {
		switch v {
		case true, json.Number("1"), "true", "1":
			return true
		case nil, false, json.Number("0"), "false", "0", "":
			return false
		}
		good = false
		return false
	}
	s.Trace, s.ID, s.Parent = id("traceId", 32), id("id", 16), id("parentId", 16)
	if s.Trace == "" || s.Trace == strings.Repeat("0", 32) || s.ID == "" || s.ID == strings.Repeat("0", 16) {
		good = false
	}
	if s.Parent == s.ID || s.Parent == strings.Repeat("0", 16) {
		s.Parent = ""
	}
	s.Name = text(known["name"])
	s.Kind = strings.ToLower(text(known["kind"]))
	switch s.Kind {
	case "":
		s.Kind = "unspecified"
	case "client", "server", "producer", "consumer":
	default:
		good = false
	}
	start, negative, ok, err := micros(known["timestamp"])
	if err != nil {
		return s, false, err
	}
	good = good && ok
	if start == 0 {
		s.Attrs["otel.zipkin.absentField.startTime"] = "b:true"
	}
	duration, negative, ok, err := micros(known["duration"])
	if err != nil {
		return s, false, err
	}
	good = good && ok && !negative
	s.Start = nanos(start)
	s.End = addTime(s.Start, nanos(duration))
	if flag(known["shared"]) && s.Kind != "client" {
		s.Attrs["zipkin.shared"] = "b:true"
	}
	if flag(known["debug"]) {
		s.Attrs["zipkin.debug"] = "b:true"
	}
	if err := oracleTags(&s, known["tags"], &good); err != nil {
		return s, false, err
	}
	local, err := oracleEndpoint(&s, known["localEndpoint"], "net.host", &good)
	if err != nil {
		return s, false, err
	}
	remote, err := oracleEndpoint(&s, known["remoteEndpoint"], "net.peer", &good)
	if err != nil {
		return s, false, err
	}
	if local != "" {
		s.Resource["service.name"] = "s:" + local
	}
	if remote != "" {
		s.Attrs["peer.service"] = "s:" + remote
	}
	return s, good, oracleEvents(&s, known["annotations"], &good)
}

func micros(v node) (n uint64, negative, ok bool, err error) {
	t := ""
	switch v := v.(type) {
	case nil:
		return 0, false, true, nil
	case string:
		t = v
		for _, c := range t {
			if !strings.ContainsRune("0123456789", c) {
				return 0, false, false, errOutside // quoted numbers: whole ones only
			}
		}
	case json.Number:
		t = v.String()
	default:
		return 0, false, false, nil
	}
	if t == "" {
		return 0, false, false, nil
	}
	if n, err := strconv.ParseUint(t, 10, 64); err == nil {
		return n, false, true, nil
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false, false, errOutside
	}
	switch {
	case len(t) > 400:
		return 0, false, false, errOutside
	case f < 0:
		return 0, true, true, nil
	case f >= 1<<64:
		return math.MaxUint64, false, true, nil
	case f > 0 && f < 1:
		return 1, false, true, nil
	}
	return uint64(f), false, true, nil
}

func oracleTags(s *plain, v node, good *bool) error {
	tags, ok := v.(object)
	if !ok {
		*good = *good && v == nil
		return nil
	}
	last := map[string]string{}
	for _, f := range tags {
		switch v := f.value.(type) {
		case nil:
		case string:
			last[f.name] = v
		case json.Number:
			last[f.name] = v.String()
		case bool:
			last[f.name] = strconv.FormatBool(v)
		default:
			return errOutside // as JSON text, of which there is no original here
		}
	}
	for k, v := range last {
		if strings.HasPrefix(k, "otel.") || strings.HasPrefix(k, "otlp.") || strings.HasPrefix(k, "w3c.") || strings.HasPrefix(k, "net.") ||
			strings.HasPrefix(k, "zipkin.") || k == "span.kind" || k == "peer.service" || k == "service.name" {
			return errOutside
		}
		if classify([]byte(k)) == classResource {
			s.Resource[k] = "s:" + v
			continue
		}
		s.Attrs[k] = "s:" + v
		if k == "error" && v != "false" {
			s.Status = span.StatusError
			if v != "true" {
				s.Message = v
			}
		}
	}
	return nil
}

func oracleEndpoint(s *plain, v node, prefix string, good *bool) (service string, err error) {
	o, ok := v.(object)
	if !ok {
		*good = *good && v == nil
		return "", nil
	}
	seen := map[string]bool{}
	for _, f := range o {
		if seen[f.name] {
			return "", errOutside
		}
		seen[f.name] = true
		switch f.name {
		case "serviceName":
			service, ok = f.value.(string)
			*good = *good && (ok || f.value == nil)
		case "ipv4", "ipv6":
			ip, isText := f.value.(string)
			*good = *good && (isText || f.value == nil)
			if !isText {
				continue
			}
			a, err := netip.ParseAddr(ip)
			if err != nil && !strings.Contains(ip, ":") && !strings.Contains(ip, ".") {
				continue
			}
			if err != nil || (f.name == "ipv4") != a.Is4() || s.Attrs[prefix+".ip"] != "" {
				return "", errOutside
			}
			s.Attrs[prefix+".ip"] = "s:" + ip
		case "port":
			n, _, ok, err := micros(f.value)
			if err != nil {
				return "", err
			}
			if ok && n > 0 && n <= 65535 {
				s.Attrs[prefix+".port"] = "i:" + strconv.FormatUint(n, 10)
			}
		}
	}
	return service, nil
}

func oracleEvents(s *plain, v node, good *bool) error {
	list, ok := v.([]node)
	if !ok {
		*good = *good && v == nil
		return nil
	}
	for _, n := range list {
		o, ok := n.(object)
		if !ok {
			*good = *good && n == nil
			continue
		}
		var at uint64
		text := ""
		for _, f := range o {
			switch f.name {
			case "timestamp":
				var err error
				if at, _, ok, err = micros(f.value); err != nil {
					return err
				}
				*good = *good && ok
			case "value":
				text, ok = f.value.(string)
				*good = *good && (ok || f.value == nil)
			case "endpoint", "host":
				return errOutside
			}
		}
		if len(o) > 2 || strings.ContainsAny(text, `|"`) {
			return errOutside
		}
		if at != 0 || text != "" {
			s.Events = append(s.Events, fmt.Sprintf("%d %s", nanos(at), text))
		}
	}
	return nil
}

// plainSpans is a batch in the oracle's terms.
func plainSpans(b *span.Batch) (out []plain) {
	attrs := func(r span.Range) map[string]string {
		m := map[string]string{}
		for _, a := range b.AttrsOf(r) {
			if _, again := m[string(b.Key(a))]; again {
				m["repeated "+string(b.Key(a))] = ""
			}
			switch v := a.Value(); v.Type {
			case span.TypeString:
				m[string(b.Key(a))] = "s:" + b.String(v.Str())
			case span.TypeBool:
				m[string(b.Key(a))] = "b:" + strconv.FormatBool(v.Bool())
			case span.TypeInt:
				m[string(b.Key(a))] = "i:" + strconv.FormatInt(v.Int(), 10)
			default:
				m[string(b.Key(a))] = fmt.Sprint("type ", v.Type)
			}
		}
		return m
	}
	for i := range b.Len() {
		s := plain{Trace: b.TraceID[i].String(), ID: b.SpanID[i].String(), Kind: b.Kind[i].String(), Name: b.String(b.Name[i]),
			Message: b.String(b.StatusMessage[i]), Status: b.Status[i], Start: b.Start[i], End: b.End[i],
			Attrs: attrs(b.SpanAttrs[i]), Resource: attrs(b.Resources[b.Resource[i]].Attrs)}
		if !b.Parent[i].IsZero() {
			s.Parent = b.Parent[i].String()
		}
		for _, e := range b.EventsOf(i) {
			s.Events = append(s.Events, fmt.Sprintf("%d %s", e.Time, b.Bytes(e.Name)))
		}
		out = append(out, s)
	}
	return out
}

// agree decodes a body and compares it with the oracle's reading; false if the oracle has none.
func agree(t *testing.T, body []byte) bool {
	t.Helper()
	want, bad, err := oracle(body)
	if err != nil {
		return false
	}
	b := decodeBody(t, body, JSONv2)
	got := plainSpans(b)
	if len(got) != len(want) {
		t.Fatalf("%d spans, want %d; refused %v\n%q", len(got), len(want), b.Refused, body)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("span %d\n got %+v\nwant %+v\n%q", i, got[i], want[i], body)
		}
	}
	n := 0
	for _, r := range b.Refused {
		n += r.Spans
	}
	if n != bad {
		t.Fatalf("refused %v, want %d\n%q", b.Refused, bad, body)
	}
	return true
}

// decodeBody decodes and checks what must hold for every body.
func decodeBody(t *testing.T, body []byte, announced Format) *span.Batch {
	t.Helper()
	b := new(span.Batch)
	_, err := new(Decoder).Decode(b, bytes.Clone(body), announced)
	if cerr := b.Check(); cerr != nil {
		t.Fatalf("%v\n%q", cerr, body)
	}
	if err != nil && b.Len() > 0 {
		t.Fatalf("an error with %d spans: %v\n%q", b.Len(), err, body)
	}
	for i := range b.Len() {
		if b.TraceID[i].IsZero() || b.SpanID[i].IsZero() {
			t.Fatalf("row %d has no id\n%q", i, body)
		}
		for _, a := range b.AttrsOf(b.SpanAttrs[i]) {
			if !utf8.Valid(b.Key(a)) || a.Type == span.TypeString && !utf8.Valid(b.Bytes(a.Value().Str())) {
				t.Fatalf("row %d: attribute %q is not UTF-8\n%q", i, b.Key(a), body)
			}
		}
	}
	return b
}
