package yamldoc

import (
	"fmt"
	"strings"
	"testing"
)

// text writes a tree as lines "line path kind text", which is what the tests compare.
func text(b *strings.Builder, v *Value, path string) {
	if v == nil {
		return
	}
	switch v.Kind {
	case Map:
		for _, f := range v.Fields {
			text(b, f.Value, path+"."+f.Name)
		}
	case List:
		for i, item := range v.Items {
			text(b, item, fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		fmt.Fprintf(b, "%d %s %s %q\n", v.Line, path, v.Kind, v.Text)
	}
}

func all(t *testing.T, in string) string {
	t.Helper()
	docs, err := Read([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&b, "doc %d\n", d.Line)
		if d.Err != nil {
			fmt.Fprintf(&b, "error %v\n", d.Err)
		}
		for _, n := range d.Notes {
			fmt.Fprintf(&b, "note %d %s\n", n.Line, n.Message)
		}
		text(&b, d.Root, "")
	}
	return b.String()
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"scalars", "a: 1\nb: \"1\"\nc: true\nd:\ne: 1.5\n", "doc 1\n1 .a number \"1\"\n2 .b string \"1\"\n3 .c bool \"true\"\n4 .d null \"\"\n5 .e number \"1.5\"\n"},
		{"documents", "# head\n---\na: 1\n---\n---\nb: |\n  ---\n  x\n", "doc 2\n3 .a number \"1\"\ndoc 5\n6 .b string \"---\\nx\\n\"\n"},
		{"a broken document", "a: [\n---\nb: 2\n", "doc 1\nerror line 1: did not find expected node content\ndoc 2\n3 .b number \"2\"\n"},
		{"written twice", "a: 1\na: 2\n", "doc 1\nnote 2 \"a\" is written twice (first in line 1); the last one counts\n2 .a number \"2\"\n"},
		{"anchors and merges", "x: &x {p: 1, q: 2}\ny:\n  <<: *x\n  q: 3\n", "doc 1\n1 .x.p number \"1\"\n1 .x.q number \"2\"\n1 .y.p number \"1\"\n4 .y.q number \"3\"\n"},
		{"JSON", "{\"a\": 1,\n \"b\": [true,\n null]}", "doc 1\n1 .a number \"1\"\n2 .b[0] bool \"true\"\n3 .b[1] null \"\"\n"},
		{"JSON written twice", "{\"a\": 1,\n\"a\": 2}", "doc 1\nnote 2 \"a\" is written twice (first in line 1); the last one counts\n2 .a number \"2\"\n"},
		{"flow YAML that is no JSON", "{a: 1}", "doc 1\n1 .a number \"1\"\n"},
		{"nothing", "\n# only a comment\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := all(t, c.in); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestGetTakesBothSpellings(t *testing.T) {
	docs, err := Read([]byte("default_config:\n  tracing:\n    customTags: {a: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := docs[0].Root.Get("defaultConfig", "tracing", "customTags", "a").Str(); got != "1" {
		t.Errorf("got %q", got)
	}
	if docs[0].Root.Get("defaultConfig", "nothing", "more") != nil {
		t.Error("found what is not there")
	}
}

func TestAliasesCannotFillTheMemory(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	docs, err := Read([]byte(b.String()))
	if err != nil || len(docs) != 1 || docs[0].Err == nil {
		t.Fatalf("a bomb of aliases was read: %v %v", docs, err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"a: 1", "{\"a\":[1,2]}", "a: &x {b: *x}", "<<: [1]", "? [a]\n: b", "--- |\n x\n---", "a: !!binary x", "\t", "- -\n  -", "a: &a [*a]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Read(data)
		if err != nil {
			return
		}
		for _, d := range docs {
			if d.Err == nil && d.Root == nil {
				t.Error("neither value nor error")
			}
			d.Root.Get("a", "b")
		}
	})
}
