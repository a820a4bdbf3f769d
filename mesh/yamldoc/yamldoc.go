// Package yamldoc reads YAML and JSON of strangers into a small tree that knows its lines: what a doctor of configuration
// needs and a decoder into structs loses (which line, written twice, which spelling). It bounds size, depth and the
// number of values, aliases counted as often as they are used, so that no file can fill the memory.
//
// It is not a YAML library: tags of one's own are ignored and a scalar keeps the text it was written with.
package yamldoc

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/problem"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

var kindNames = [...]string{"null", "bool", "number", "string", "list", "map"}

// String is the kind's name for messages.
func (k Kind) String() string { return kindNames[k] }

// Value is one value of a document. The zero of *Value (nil) means "not there"; all methods take it.
type Value struct {
	Kind   Kind
	Text   string // of scalars, as written
	Line   int    // from 1
	Block  bool   // a block scalar: its text begins in the line after
	Items  []*Value
	Fields []Field
}

// Field is one key of a map.
type Field struct {
	Name  string
	Line  int
	Value *Value
}

// Note is something odd that reading itself found.
type Note struct {
	Line    int
	Message string
}

// Document is one document of a file.
type Document struct {
	Root  *Value
	Line  int // where it begins
	Notes []Note
	Err   error // this document cannot be read; the others of the file can
}

// Limits of one file. Kubernetes itself takes 1.5 MiB an object; lists of thousands of pods are what is large.
const (
	MaxBytes  = 64 << 20
	maxValues = 4 << 20 // each costs about 100 bytes
	maxCopies = 1 << 16 // values that come from aliases; what people write has dozens
	maxDepth  = 128
)

// Read splits a file into documents and reads each. Empty documents are left out. The error says that the whole file is
// unreadable (too large); a broken document carries its own.
func Read(data []byte) ([]Document, error) {
	if len(data) > MaxBytes {
		return nil, problem.New(problem.TooLarge, fmt.Sprintf("file of %d bytes", len(data)), fmt.Sprintf("files may have %d bytes; split the list or read one namespace", MaxBytes))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if first := firstByte(data); first == '{' || first == '[' {
		if doc, err := readJSON(data); err == nil {
			return []Document{doc}, nil
		}
	}
	var docs []Document
	budget := maxValues
	for line := 1; len(data) > 0; {
		part, rest, lines := cut(data)
		data = rest
		if doc, ok := readYAML(part, line, &budget); ok {
			docs = append(docs, doc)
		}
		line += lines
	}
	return docs, nil
}

func firstByte(data []byte) byte {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 {
		return t[0]
	}
	return 0
}

// cut takes the first document off: up to a line that begins with "---". A block scalar is indented, so such a line never
// stands inside one. It answers the number of lines taken.
func cut(data []byte) (part, rest []byte, lines int) {
	for i := 0; i < len(data); {
		end := bytes.IndexByte(data[i:], '\n')
		if end < 0 {
			return data, nil, lines
		}
		i += end + 1
		lines++
		if next := data[i:]; bytes.HasPrefix(next, []byte("---")) && (len(next) == 3 || next[3] <= ' ') {
			return data[:i], next, lines
		}
	}
	return data, nil, lines
}

func readYAML(part []byte, line int, budget *int) (doc Document, ok bool) {
	doc.Line = line
	defer func() {
		// The library reports some malformed input by panicking with an error of its own kind.
		if r := recover(); r != nil {
			doc.Err, ok = fmt.Errorf("line %d: %v", line, r), true
		}
	}()
	var root yaml.Node
	if err := yaml.Unmarshal(part, &root); err != nil {
		doc.Err = fmt.Errorf("%s", shiftLines(err.Error(), line-1))
		return doc, true
	}
	if root.Kind == 0 || len(root.Content) == 0 {
		return doc, false
	}
	c := converter{doc: &doc, offset: line - 1, budget: budget}
	doc.Root = c.value(root.Content[0], 0)
	if c.err != nil {
		doc.Root, doc.Err = nil, c.err
		return doc, true
	}
	return doc, doc.Root.Kind != Null
}

// shiftLines adds an offset to the first "line N" of a message of the YAML library.
func shiftLines(message string, offset int) string {
	message = strings.TrimPrefix(message, "yaml: ")
	i := strings.Index(message, "line ")
	if i < 0 {
		return message
	}
	end := i + 5
	for end < len(message) && message[end] >= '0' && message[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(message[i+5 : end])
	if err != nil {
		return message
	}
	return message[:i+5] + strconv.Itoa(n+offset) + message[end:]
}

type converter struct {
	doc    *Document
	offset int
	budget *int
	copies int // values read through aliases
	alias  int // depth of aliases we are in
	err    error
}

func (c *converter) value(n *yaml.Node, depth int) *Value {
	if c.err != nil {
		return nil
	}
	if c.alias > 0 {
		c.copies++
	}
	if *c.budget--; *c.budget < 0 || depth > maxDepth || c.copies > maxCopies {
		c.err = problem.New(problem.TooLarge, fmt.Sprintf("line %d: too many or too deeply nested values", n.Line+c.offset), fmt.Sprintf("a file may have %d values (aliases count each time) nested %d deep", maxValues, maxDepth))
		return nil
	}
	v := &Value{Line: n.Line + c.offset}
	switch n.Kind {
	case yaml.AliasNode:
		if n.Alias == nil {
			return v
		}
		c.alias++
		defer func() { c.alias-- }()
		return c.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		v.Kind = List
		v.Items = make([]*Value, 0, len(n.Content))
		for _, item := range n.Content {
			v.Items = append(v.Items, c.value(item, depth+1))
		}
	case yaml.MappingNode:
		v.Kind = Map
		c.fields(v, n, depth)
	default:
		v.Text = n.Value
		v.Block = n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
		switch n.ShortTag() {
		case "!!null":
			v.Kind = Null
		case "!!bool":
			v.Kind = Bool
		case "!!int", "!!float":
			v.Kind = Number
		default:
			v.Kind = String
		}
	}
	return v
}

func (c *converter) fields(v *Value, n *yaml.Node, depth int) {
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content) && c.err == nil; i += 2 {
		key := n.Content[i]
		if key.ShortTag() == "!!merge" {
			c.merge(v, n.Content[i+1], depth)
			continue
		}
		line := key.Line + c.offset
		if first, twice := seen[key.Value]; twice {
			c.doc.Notes = append(c.doc.Notes, Note{Line: line, Message: fmt.Sprintf("%q is written twice (first in line %d); the last one counts", key.Value, first)})
			v.remove(key.Value)
		}
		seen[key.Value] = line
		v.remove(key.Value) // what a merge brought in gives way
		v.Fields = append(v.Fields, Field{Name: key.Value, Line: line, Value: c.value(n.Content[i+1], depth+1)})
	}
}

// merge takes the fields of "<<: *anchor" in, where the map has none of its own.
func (c *converter) merge(v *Value, from *yaml.Node, depth int) {
	got := c.value(from, depth+1)
	if got == nil {
		return
	}
	sources := []*Value{got}
	if got.Kind == List {
		sources = got.Items
	}
	for _, s := range sources {
		if s == nil {
			continue
		}
		for _, f := range s.Fields {
			if v.own(f.Name) == nil {
				v.Fields = append(v.Fields, f)
			}
		}
	}
}

func (v *Value) remove(name string) {
	for i, f := range v.Fields {
		if f.Name == name {
			v.Fields = append(v.Fields[:i:i], v.Fields[i+1:]...)
			return
		}
	}
}

func (v *Value) own(name string) *Value {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Get walks down maps by name. A name in camelCase is also found in snake_case, since Istio's mesh configuration takes
// both; what Kubernetes objects take is a matter of the schema, not of reading.
func (v *Value) Get(path ...string) *Value {
	for _, name := range path {
		if v == nil {
			return nil
		}
		next := v.own(name)
		if next == nil {
			for _, f := range v.Fields {
				if Camel(f.Name) == name {
					next = f.Value
					break
				}
			}
		}
		v = next
	}
	if v != nil && v.Kind == Null {
		return nil
	}
	return v
}

// Exact walks down maps by name as written: objects of the Kubernetes API lose fields in any other spelling.
func (v *Value) Exact(path ...string) *Value {
	for _, name := range path {
		if v == nil {
			return nil
		}
		v = v.own(name)
	}
	if v != nil && v.Kind == Null {
		return nil
	}
	return v
}

// Camel is the JSON spelling of a snake_case name.
func Camel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	var b strings.Builder
	up := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			up = b.Len() > 0
		case up && c >= 'a' && c <= 'z':
			b.WriteByte(c - 'a' + 'A')
			up = false
		default:
			b.WriteByte(c)
			up = false
		}
	}
	return b.String()
}

// Str is the text of a scalar, or nothing.
func (v *Value) Str() string {
	if v == nil {
		return ""
	}
	return v.Text
}

// At is the line of a value, 0 if it is not there.
func (v *Value) At() int {
	if v == nil {
		return 0
	}
	return v.Line
}

// List gives the items of a list.
func (v *Value) List() []*Value {
	if v == nil {
		return nil
	}
	return v.Items
}

// Bool is a boolean's value; ok is false for anything else.
func (v *Value) Bool() (value, ok bool) {
	if v == nil || v.Kind != Bool {
		return false, false
	}
	return strings.EqualFold(v.Text, "true"), true
}

// Float is a number, also one in quotes as JSON forms of protobuf allow; ok is false for anything else.
func (v *Value) Float() (value float64, ok bool) {
	if v == nil || v.Kind != Number && v.Kind != String {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(v.Text, "_", ""), 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// Int is a whole number, also one in quotes.
func (v *Value) Int() (value int, ok bool) {
	f, ok := v.Float()
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<52 {
		return 0, false
	}
	return int(f), true
}

// Strings gives the scalars of a list, or the one scalar that stands in its place.
func (v *Value) Strings() []string {
	if v == nil {
		return nil
	}
	if v.Kind == String {
		return []string{v.Text}
	}
	var out []string
	for _, item := range v.Items {
		if item != nil && item.Kind != Map && item.Kind != List {
			out = append(out, item.Text)
		}
	}
	return out
}

// StringMap gives the scalars of a map by key.
func (v *Value) StringMap() map[string]string {
	if v == nil || len(v.Fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(v.Fields))
	for _, f := range v.Fields {
		if f.Value != nil && f.Value.Kind != Map && f.Value.Kind != List {
			out[f.Name] = f.Value.Text
		}
	}
	return out
}
