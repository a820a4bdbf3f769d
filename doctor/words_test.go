package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// formatVerbs of a format by the number of their argument.
var formatVerb = regexp.MustCompile(`%(?:\[(\d+)\])?([.\d]*[a-z])`)

func verbsOf(t *testing.T, format string) map[int]string {
	out := make(map[int]string)
	next := 1
	for _, m := range formatVerb.FindAllStringSubmatch(strings.ReplaceAll(format, "%%", ""), -1) {
		if m[1] != "" {
			next, _ = strconv.Atoi(m[1])
		}
		if out[next] != "" {
			t.Errorf("%q uses argument %d twice", format, next)
		}
		out[next] = m[2]
		next++
	}
	return out
}

// wordless formats are the same in every language.
func wordless(format string) bool {
	return !strings.ContainsFunc(formatVerb.ReplaceAllString(format, ""), func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
}

// quotedWords are formats that are names of Envoy or of fields in both languages.
var quotedWords = []string{"%s: service %s", "%s: applyTo %s, operation %s: %s", "%s: upstream_cx_connect_timeout %d", "%s: upstream_cx_none_healthy %d", "%s: targetPort %d", "Flux %s", "%s; istiod: %s"}

// Every sentence has its Korean, with the same verbs for the same arguments, and nothing is there that nobody says. Sentences are
// made by say, or by green and unknown with the reason of a station; what else is formatted is YAML, a command or a name.
func TestKoreanSentences(t *testing.T) {
	said := make(map[string]bool)
	for _, f := range heardFormats {
		said[f] = true
	}
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		within := ""
		ast.Inspect(parsed, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok {
				within = f.Name.Name
			}
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && slices.Contains([]string{"Text", "Detail", "Evidence", "Reason"}, key.Name) {
					if _, literal := kv.Value.(*ast.BasicLit); literal {
						t.Errorf("%s: %s is a sentence in one language: use say", set.Position(n.Pos()), key.Name)
					}
				}
			}
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := -1
			switch fun := c.Fun.(type) {
			case *ast.Ident:
				if fun.Name == "say" {
					at = 0
				}
			case *ast.SelectorExpr:
				if fun.Sel.Name == "green" || fun.Sel.Name == "unknown" {
					at = 1
				}
			}
			if at < 0 || within == "green" || within == "unknown" {
				return true
			}
			literal, ok := c.Args[at].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the format is no literal", set.Position(c.Pos()))
				return true
			}
			format, _ := strconv.Unquote(literal.Value)
			said[format] = true
			return true
		})
	}
	if len(said) < 300 {
		t.Fatalf("%d sentences were found", len(said))
	}
	for format := range said {
		ko, ok := koreanSentences[format]
		if !ok {
			if !wordless(format) {
				t.Errorf("no Korean for %q", format)
			}
			continue
		}
		if ko == format && !wordless(format) && !slices.Contains(quotedWords, format) {
			t.Errorf("%q is not translated", format)
		}
		want, got := verbsOf(t, format), verbsOf(t, ko)
		heard := slices.Contains(heardFormats, format)
		for i, verb := range want {
			if heard {
				verb = "s" // its parts are text
			}
			if got[i] != verb {
				t.Errorf("%q has %%%s as argument %d, %q has %q", format, verb, i, ko, got[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%q has %d arguments, %q has %d", format, len(want), ko, len(got))
		}
	}
	for format := range koreanSentences {
		if !said[format] {
			t.Errorf("nobody says %q", format)
		}
	}
}

// What is heard is what the rooms that make facts say: each longer part of a format stands in their sources.
func TestHeardIsSaidSomewhere(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"collect/*.go", "live/*.go", "../mesh/*/*.go", "../query/propagation.go", "../store/wal/*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
	}
	for _, format := range heardFormats {
		for _, part := range regexp.MustCompile(`%[sdq]`).Split(format, -1) {
			if part = strings.Trim(part, " :;.,?()"); len(part) > 3 && !strings.Contains(all.String(), part) {
				t.Errorf("nobody says %q (of %q)", part, format)
			}
		}
	}
	if got := heard(`global.x: no such field, did you mean y?`).In("ko"); got != "global.x: 그런 필드가 없습니다. y 필드를 뜻했습니까?" {
		t.Error(got)
	}
	if got := heard("dial tcp 10.0.0.1:443: connection refused").In("ko"); got != "dial tcp 10.0.0.1:443: connection refused" {
		t.Error(got)
	}
}
