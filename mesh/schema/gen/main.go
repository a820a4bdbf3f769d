// Command gen writes fields.txt, the field tables of Istio's configuration per minor version, from the .proto files that
// each release of istio.io/api publishes:
//
//	go run ./mesh/schema/gen 1.19=DIR 1.20=DIR … > mesh/schema/fields.txt
//
// where DIR is an unpacked istio.io/api of that minor. It reads names and types only; no text of those files is kept.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// roots are what the doctor reads; everything reachable from them is written.
var roots = []string{"mesh.MeshConfig", "mesh.ProxyConfig", "telemetry.Telemetry", "networking.ProxyConfig", "networking.EnvoyFilter",
	"networking.Sidecar", "networking.DestinationRule", "networking.ServiceEntry", "security.PeerAuthentication"}

var files = []string{"mesh/v1alpha1/*.proto", "telemetry/v1alpha1/*.proto", "networking/v1alpha3/*.proto", "networking/v1beta1/proxy_config.proto",
	"security/v1beta1/peer_authentication.proto", "type/v1beta1/*.proto", "analysis/v1alpha1/*.proto"}

// field is a column of the table: one field of one message, or one value of one enum.
type field struct {
	name, typ string
	minors    map[string]bool
}

type table struct {
	messages map[string]map[string]*field // by message, then by field
	order    []string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("give MINOR=DIR for each version, oldest first")
	}
	t := &table{messages: make(map[string]map[string]*field)}
	var minors []string
	for _, a := range args {
		minor, dir, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("%q is not MINOR=DIR", a)
		}
		minors = append(minors, minor)
		for _, pattern := range files {
			paths, err := fs.Glob(os.DirFS(dir), pattern)
			if err != nil {
				return err
			}
			for _, p := range paths {
				data, err := os.ReadFile(filepath.Join(dir, p))
				if err != nil {
					return err
				}
				t.file(string(data), minor)
			}
		}
	}
	return t.write(minors)
}

var (
	comments = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	tokens   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z_][A-Za-z0-9_.]*|-?[0-9][0-9a-zA-Z.]*|[^\s]`)
	packages = regexp.MustCompile(`package\s+istio\.([a-z]+)\.[a-z0-9]+;`)
)

func (t *table) file(text, minor string) {
	// Comments go first; a // inside a string would be cut, and no field declaration has one.
	text = comments.ReplaceAllString(text, " ")
	m := packages.FindStringSubmatch(text)
	if m == nil {
		return
	}
	words := tokens.FindAllString(text, -1)
	for i := 0; i < len(words); i++ {
		if words[i] == "message" || words[i] == "enum" {
			i = t.block(words, i, m[1], "", minor)
		}
	}
}

// block reads a message or an enum that starts at words[i] and answers the index of its closing brace.
func (t *table) block(words []string, i int, pkg, outer, minor string) int {
	isEnum := words[i] == "enum"
	name := outer + words[i+1]
	full := pkg + "." + name
	fields := t.messages[full]
	if fields == nil {
		fields = make(map[string]*field)
		t.messages[full] = fields
	}
	var statement []string
	for i += 3; i < len(words); i++ {
		switch w := words[i]; {
		case len(statement) == 0 && (w == "message" || w == "enum"):
			i = t.block(words, i, pkg, name+".", minor)
		case len(statement) == 0 && w == "oneof":
			i += 2 // its fields are fields of the message; its closing brace ends nothing
			for depth := 1; depth > 0; {
				i++
				switch words[i] {
				case "}":
					depth--
				case ";":
					t.add(fields, statement, pkg, name, minor, false)
					statement = nil
				default:
					statement = append(statement, words[i])
				}
			}
			statement = nil
		case w == "}" && !slices.Contains(statement, "{"):
			return i
		case w == ";" && strings.Count(strings.Join(statement, ""), "{") == strings.Count(strings.Join(statement, ""), "}"):
			t.add(fields, statement, pkg, name, minor, isEnum)
			statement = nil
		default:
			statement = append(statement, w)
		}
	}
	return i
}

func (t *table) add(fields map[string]*field, s []string, pkg, message, minor string, isEnum bool) {
	if len(s) < 3 || s[0] == "option" || s[0] == "reserved" {
		return
	}
	var name, typ string
	switch {
	case isEnum && s[1] == "=":
		name, typ = s[0], "value"
	case s[0] == "map":
		end := slices.Index(s, ">")
		name, typ = s[end+1], "map:"+kind(strings.TrimPrefix(s[end-1], "."), pkg, message)
	case s[0] == "repeated":
		name, typ = s[2], "list:"+kind(s[1], pkg, message)
	case s[0] == "optional":
		name, typ = s[2], kind(s[1], pkg, message)
	default:
		name, typ = s[1], kind(s[0], pkg, message)
	}
	f := fields[name]
	if f == nil {
		f = &field{name: name, minors: make(map[string]bool)}
		fields[name] = f
	}
	f.typ = typ // the newest wins
	f.minors[minor] = true
}

// kind writes a type's name: scalars as they are, well-known types by what JSON shows, messages to be resolved later.
func kind(typ, pkg, message string) string {
	switch typ {
	case "double", "float":
		return "number"
	case "bool", "string", "bytes":
		return typ
	case "int32", "int64", "uint32", "uint64":
		return "int"
	case "google.protobuf.BoolValue":
		return "bool"
	case "google.protobuf.StringValue":
		return "string"
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		return "number"
	case "google.protobuf.UInt32Value", "google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt64Value":
		return "int"
	case "google.protobuf.Duration":
		return "duration"
	}
	if strings.HasPrefix(typ, "google.") || strings.HasPrefix(typ, "k8s.") {
		return "any"
	}
	if rest, ok := strings.CutPrefix(typ, "istio."); ok {
		parts := strings.SplitN(rest, ".", 3)
		return "=" + parts[0] + "." + parts[2]
	}
	return "?" + pkg + "|" + message + "|" + typ
}

// resolve finds a relative type name the way proto does: from the innermost message outwards.
func (t *table) resolve(typ string) string {
	prefix := ""
	for _, p := range []string{"list:", "map:"} {
		if strings.HasPrefix(typ, p) {
			prefix, typ = p, strings.TrimPrefix(typ, p)
		}
	}
	if name, ok := strings.CutPrefix(typ, "="); ok {
		return prefix + name
	}
	rest, ok := strings.CutPrefix(typ, "?")
	if !ok {
		return prefix + typ
	}
	parts := strings.Split(rest, "|")
	for scope := parts[1]; ; {
		full := parts[0] + "." + scope + "." + parts[2]
		if scope == "" {
			full = parts[0] + "." + parts[2]
		}
		if t.messages[full] != nil {
			return prefix + full
		}
		if scope == "" {
			// the package prefix of an import (v1beta1.X) is not written everywhere
			return prefix + "any"
		}
		scope = scope[:max(0, strings.LastIndex(scope, "."))]
	}
}

func (t *table) write(minors []string) error {
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "# Fields of Istio's configuration by minor version, made by mesh/schema/gen from the .proto files of istio.io/api.\n# name, type, first and last minor that has it (- is open). Minors read:\nminors %s\n", strings.Join(minors, " "))
	var todo []string
	todo = append(todo, roots...)
	done := make(map[string]bool)
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if done[name] {
			continue
		}
		done[name] = true
		fields := t.messages[name]
		if fields == nil {
			return fmt.Errorf("%s is in none of the files", name)
		}
		fmt.Fprintf(out, "\n%s\n", name)
		names := make([]string, 0, len(fields))
		for n := range fields {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			f := fields[n]
			typ := t.resolve(f.typ)
			if base := strings.TrimPrefix(strings.TrimPrefix(typ, "list:"), "map:"); t.messages[base] != nil {
				todo = append(todo, base)
			} else if strings.Contains(base, ".") {
				typ = strings.TrimSuffix(typ, base) + "any"
			}
			since, until := "-", "-"
			for _, m := range minors {
				if f.minors[m] {
					if since == "-" {
						since = m
					}
					until = m
				}
			}
			if since == minors[0] {
				since = "-"
			}
			if until == minors[len(minors)-1] {
				until = "-"
			}
			fmt.Fprintf(out, "  %s %s %s %s\n", n, typ, since, until)
		}
	}
	return out.Flush()
}
