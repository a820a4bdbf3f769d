package opensearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/remote"
)

// Answers as Elasticsearch 8.19 and OpenSearch 3.6 sent them, shortened.
const (
	missingIndex = `{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [x]","index":"x"}],"type":"index_not_found_exception","reason":"no such index [x]","index":"x"},"status":404}`
	noPassword   = `{"error":{"root_cause":[{"type":"security_exception","reason":"missing authentication credentials for REST request [/_bulk]"}],"type":"security_exception","reason":"missing authentication credentials for REST request [/_bulk]"},"status":401}`
	fullDisk     = `{"error":{"type":"cluster_block_exception","reason":"index [s] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"},"status":429}`
	readOnly     = `{"error":{"type":"cluster_block_exception","reason":"index [s] blocked by: [FORBIDDEN/8/index write (api)];"},"status":403}`
	busyAnswer   = `{"error":{"type":"es_rejected_execution_exception","reason":"rejected execution"},"status":429}`
	oldForm      = `{"error":"Incorrect HTTP method for uri [/] and method [GET], allowed: []","status":405}`
	proxyAnswer  = "<html><body>502 Bad Gateway</body></html>"
)

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		class  remote.Class
		kind   problem.Kind
		says   string
	}{
		{404, missingIndex, remote.Fatal, problem.Unavailable, "action.auto_create_index"},
		{401, noPassword, remote.Fatal, problem.Unavailable, "check user and password"},
		{403, `{"error":{"type":"security_exception","reason":"action [indices:data/write/bulk[s]] is unauthorized"}}`, remote.Fatal, problem.Unavailable, "grant the user"},
		{429, fullDisk, remote.Retry, problem.Unavailable, "disk is nearly full"},
		{403, readOnly, remote.Fatal, problem.Unavailable, "index.blocks.write"},
		{429, busyAnswer, remote.Retry, problem.Overloaded, "the server is busy"},
		{405, oldForm, remote.Retry, problem.Unavailable, "is this Elasticsearch 8"},
		{502, proxyAnswer, remote.Retry, problem.Unavailable, "502 Bad Gateway"},
		{400, `{"error":{"type":"mapper_parsing_exception","reason":"failed to parse","caused_by":{"reason":"deep"}}}`, remote.Poison, problem.Invalid, "failed to parse: deep"},
		{400, `{"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}`, remote.Fatal, problem.Invalid, "would add [2] shards"},
		{400, `{"error":{"type":"illegal_argument_exception","reason":"Document contains at least one immense term"}}`, remote.Poison, problem.Invalid, "immense term"},
		{413, proxyAnswer, remote.Poison, problem.Invalid, "cannot take this"},
		{503, "", remote.Retry, problem.Unavailable, "status 503"},
	} {
		err := fmt.Errorf("store: %w", refusalOf(c.status, []byte(c.body)))
		explained := explain(t.Context(), "store spans", err)
		var p *problem.Problem
		if !errors.As(explained, &p) || p.Kind != c.kind || !strings.Contains(explained.Error(), c.says) || ClassOf(explained) != c.class {
			t.Errorf("%d %.60s: class %d, %v, want class %d with %q", c.status, c.body, ClassOf(explained), explained, c.class, c.says)
		}
	}
}

func TestLeft(t *testing.T) {
	all := documents{[]byte("a1\nb22\nc333\n"), []int{3, 7, 12}, []int{10, 11, 12}}
	for _, c := range []struct{ answer, want, refused, says string }{
		{`{"errors":false}`, "", "", ""},
		{`{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":429,"error":{"type":"x","reason":"full queue"}}},{"create":{"status":201}}]}`, "b22\n", "", "full queue"},
		{`{"errors":true,"items":[{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"there"}}},{"create":{"status":201}},{"create":{"status":201}}]}`, "", "", ""},
		{`{"errors":true,"items":[{"create":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"away"}}},{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"wrong"}}},{"create":{"status":429}}]}`, "a1\nc333\n", "11 wrong", "away"},
		{`{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":201}},{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"wrong"}}}]}`, "", "12 wrong", ""},
		{`{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400,"error":{"type":"validation_exception","reason":"this action would add [1] shards"}}},{"create":{"status":429}}]}`, "b22\nc333\n", "", "would add [1] shards"},
		{`{"errors":true,"items":[]}`, "a1\nb22\nc333\n", "", "0 documents of 3"},
		{`<html>`, "a1\nb22\nc333\n", "", "not what Elasticsearch"},
	} {
		refused := ""
		got, err := left([]byte(c.answer), all, func(row int, why *refusal) { refused += fmt.Sprint(row, " ", why.reason) })
		if string(got.text) != c.want || refused != c.refused || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) ||
			len(got.ends) != bytes.Count(got.text, []byte("\n")) || len(got.rows) != len(got.ends) {
			t.Errorf("%s: %q %v, refused %q, %v", c.answer, got.text, got.ends, refused, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{missingIndex, noPassword, fullDisk, oldForm, proxyAnswer, `{"errors":true,"items":[{"create":{"status":429}},{}]}`, `[1780000000000000000,"0000000000000000000000000000000a"]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r := refusalOf(http.StatusTooManyRequests, p)
		_ = r.Error()
		_ = explain(t.Context(), "x", r)
		two := documents{[]byte("a\nb\n"), []int{2, 4}, []int{0, 1}}
		if got, err := left(p, two, func(int, *refusal) {}); err == nil && (len(got.text) > 0 || len(got.ends) > 0) {
			t.Errorf("%q %v are left without an error", got.text, got.ends)
		}
		if r, err := rankOf(json.RawMessage(p)); err != nil && r.Start != 0 && r.ID != (span.TraceID{}) && len(p) < 2 {
			t.Error(r)
		}
	})
}

func FuzzWhole(f *testing.F) {
	f.Add([]byte("plain \"quoted\" \\ \x00\x1f\x7f\xff"), "ĀǿA")
	f.Fuzz(func(t *testing.T, p []byte, text string) {
		w := appendWhole(nil, p)
		if !utf8.Valid(w) || bytes.ContainsAny(w, "\"\\") {
			t.Errorf("%q is no text without escapes", w)
		}
		if back, err := parseWhole(nil, string(w)); err != nil || !bytes.Equal(back, p) {
			t.Errorf("%q came back as %q: %v", p, back, err)
		}
		if back, err := parseWhole(nil, text); err == nil && string(appendWhole(nil, back)) != text && isCanonical(text) {
			t.Errorf("%q is read as %q", text, back)
		}
	})
}

// isCanonical reports whether a text is one that appendWhole may write.
func isCanonical(text string) bool {
	for _, r := range text {
		if r < 0x100 && (r < ' ' || r > 0x7e || r == '"' || r == '\\') || r >= 0x200 {
			return false
		}
		if c := r - 0x100; r >= 0x100 && c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			return false
		}
	}
	return true
}

func TestWordsAreJSON(t *testing.T) {
	long := strings.Repeat("x", maxWord+1)
	for _, text := range []string{"", "GET /", `say "hi" \ back`, "tab\tnew\nline", "한국어", long, "\xff", "\x01" + strings.Repeat("0", 32), "a\x00b"} {
		var got string
		w := word(text)
		if err := json.Unmarshal([]byte(w), &got); err != nil {
			t.Fatalf("%s: %v", w, err)
		}
		hashed := len(text) > maxWord || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x01")
		if isHash(got) != hashed || !hashed && got != text || len(got) > maxWord {
			t.Errorf("%q stands as %q", text, got)
		}
	}
	if word("\xff") == word("\xfe") {
		t.Error("two texts have one hash")
	}
}

func TestDocuments(t *testing.T) {
	b := &span.Batch{Received: 5}
	row := b.AddRow()
	b.TraceID[row], b.SpanID[row] = span.TraceIDFromUint64s(1, 2), span.SpanIDFromUint64(3)
	b.Name[row], b.Service[row], b.Weight[row] = b.AddText("GET \"/\""), b.AddText("front"), 1
	b.Resources, b.Scopes = append(b.Resources, span.Resource{}), append(b.Scopes, span.Scope{})
	mark := b.AttrMark()
	b.AddTextAttr("k", "v")
	b.AddTextAttr("k", "w")
	b.AddAttr(b.InternKey([]byte("n")), span.IntValue(200))
	b.AddTextAttr("http.status_code", "503")
	b.AddTextAttr("http.response.status_code", "none")
	b.SpanAttrs[row] = b.AttrsSince(mark)
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	e := new(encoder)
	e.encode(b, 0, []byte("00000000000000ff-10"), 0, "00000000000000ff", 36, 0)
	lines := bytes.Split(e.text, []byte("\n"))
	if len(lines) != 3 || string(lines[0]) != `{"create":{"_id":"00000000000000ff-10-0"}}` {
		t.Fatalf("%q", lines)
	}
	var d struct {
		Trace, Low, Span, Parent, Service, Name, Whole string
		Keys, Attrs                                    []string
		HTTPStatus                                     []float64
	}
	if err := json.Unmarshal(lines[1], &d); err != nil {
		t.Fatalf("%s: %v", lines[1], err)
	}
	if got, want := fmt.Sprintf("%s %s %s %q %s %s %q %q %v", d.Trace, d.Low, d.Span, d.Parent, d.Service, d.Name, d.Keys, d.Attrs, d.HTTPStatus),
		`00000000000000010000000000000002 0000000000000002 0000000000000003 "" front GET "/" ["sbk" "sbk\x002" "scn" "sbhttp.status_code" "sbhttp.response.status_code"] ["sk=v" "sk=w" "sn=200" "shttp.status_code=503" "shttp.response.status_code=none"] [503]`; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var h hit
	h.Fields.Whole = []string{d.Whole}
	back, err := new(joiner).join("default", []hit{h})
	if err != nil || back.Len() != 1 || back.String(back.Name[0]) != `GET "/"` || back.received[0] != 5 || len(back.AttrsOf(back.SpanAttrs[0])) != 5 {
		t.Errorf("%+v %v", back, err)
	}
	if _, err := new(joiner).join("default", []hit{{}}); err == nil {
		t.Error("a document without its span is taken")
	}
}

func TestQueries(t *testing.T) {
	attr := func(op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.InSpan, Key: "k"}, Op: op, Value: v}
	}
	intrinsic := func(key string, op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.Intrinsic, Key: key}, Op: op, Value: v}
	}
	code := func(op store.Op, v store.Operand) store.Expr {
		return store.Cond{Field: store.Field{In: store.InSpan, Key: "http.status_code"}, Op: op, Value: v}
	}
	hasCode := code(store.Exists, store.Operand{}).(store.Cond)
	deep := attr(store.Exists, store.Operand{})
	for range 30 {
		deep = store.Not{Expr: deep}
	}
	for _, c := range []struct {
		name  string
		expr  store.Expr
		may   string
		exact bool
	}{
		{"nothing asked", nil, yes, true},
		{"a service", intrinsic("service", store.Eq, store.Text("front")), `{"term":{"service":{"value":"front"}}}`, true},
		{"another service", intrinsic("service", store.Ne, store.Text("front")), `{"bool":{"must_not":[{"term":{"service":{"value":"front"}}}]}}`, true},
		{"text", attr(store.Eq, store.Text("a\"b")), `{"terms":{"attrs":["sk=a\"b"]}}`, false},
		{"an int", attr(store.Eq, store.Int(200)), `{"terms":{"attrs":["sk=200"]}}`, false},
		{"zero has two texts", attr(store.Eq, store.Num(0)), `{"terms":{"attrs":["sk=0","sk=-0"]}}`, false},
		{"large numbers are judged by rows", attr(store.Eq, store.Int(1<<60)), attributeOf('s', attr(store.Exists, store.Operand{}).(store.Cond)).May, false},
		{"not of what is not exact lets all through", store.Not{Expr: attr(store.Eq, store.Text("x"))}, yes, false},
		{"status codes by number", code(store.Ge, store.Int(0)), all(attributeOf('s', hasCode).May, `{"range":{"httpStatus":{"gte":0}}}`), false},
		{"status codes by text", code(store.Lt, store.LooseText("4xx")), attributeOf('s', hasCode).May, false},
		{"bool", attr(store.Ne, store.Bool(true)), `{"terms":{"attrs":["sk=false"]}}`, false},
		{"failed", intrinsic("error", store.Ne, store.Bool(false)), `{"term":{"failed":{"value":true}}}`, true},
		{"long", intrinsic("duration", store.Ge, store.Int(5)), `{"range":{"duration":{"gte":5}}}`, true},
		{"status", intrinsic("status", store.Eq, store.Text("error")), `{"term":{"status":{"value":2}}}`, true},
		{"too deep for a server", deep, "", false},
	} {
		got := queryOf(c.expr)
		if c.may != "" && got.May != c.may || got.Exact() != c.exact {
			t.Errorf("%s: %s (exact %t)", c.name, got.May, got.Exact())
		}
		if !json.Valid([]byte(got.May)) || !json.Valid([]byte(got.Must)) || strings.Count(got.May, "bool") > 2*maxNested {
			t.Errorf("%s: %s", c.name, got.May)
		}
	}
}

func TestJaegerPrefix(t *testing.T) {
	for url, want := range map[string]string{"http://a": "none", "http://a?jaeger=": `""`, "http://a?jaeger=prod-eu": `"prod-eu"`} {
		to, err := ParseURL(url, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if to.Jaeger != nil {
			got = fmt.Sprintf("%q", *to.Jaeger)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://user@host:9200,host2/path?index_prefix=x&ca_file=/nowhere&skip_verify=true")
	f.Fuzz(func(t *testing.T, text string) {
		to, err := ParseURL(text, func(string) string { return "" })
		if err != nil {
			return
		}
		for _, h := range to.Hosts {
			if _, err := http.NewRequest(http.MethodGet, h+"/"+to.Prefix, nil); err != nil {
				t.Errorf("%q gives %q: %v", text, h, err)
			}
		}
	})
}

func TestURLs(t *testing.T) {
	for _, c := range []struct{ url, password, want string }{
		{"http://a", "", `[http://a:9200] spanloom user "" password "" []`},
		{"https://u%40x@a,b:1/es/?index_prefix=p-1", "w", `[https://a:9200/es https://b:1/es] p-1 user "u@x" password "w" []`},
		{"http://u:secret@[::1]:7", "", `[http://[::1]:7] spanloom user "u" password "secret" [the password stands in --opensearch-url, where every process of the machine can read it: use ?password_file= or SPANLOOM_OPENSEARCH_PASSWORD]`},
		{"", "", "opensearch-url: it is missing"},
		{"clickhouse://a", "", "does not begin with http"},
		{"http://", "", "is no host"},
		{"http://a?index_prefix=Upper", "", "index_prefix=Upper (lower-case letters"},
		{"http://a?index_prefix=", "", "1 to 100 characters"},
		{"http://a?jaeger=prod-*", "", "give Jaeger's index prefix"},
		{"http://a?ca_file=x", "", "certificates without TLS (write https://)"},
		{"https://a?ca_file=/does/not/exist", "", "name a file in PEM form"},
		{"https://a?cert_file=x", "", "belong together"},
		{"https://a?skip_verify=maybe", "", "write true or false"},
		{"http://a?colour=red", "", "the options are"},
		{"http://a", "w", "a password and no user"},
		{"http://u@a?password_file=/does/not/exist", "", "password_file"},
	} {
		got := ""
		to, err := ParseURL(c.url, func(string) string { return c.password })
		if err != nil {
			got = err.Error()
			if !strings.Contains(got, c.want) {
				t.Errorf("%s: %s, want %s", c.url, got, c.want)
			}
			continue
		}
		password, _ := to.Password()
		if got = fmt.Sprintf("%v %s user %q password %q %v", to.Hosts, to.Prefix, to.User, password, to.Warnings); got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
	}
}
