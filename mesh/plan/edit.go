package plan

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/mesh/yamldoc"
)

// edit merges YAML into the map at a path of a document and leaves every other byte of it as it is: comments, blank
// lines, quoting, order. Maps are merged key by key, a list of named entries (extensionProviders) entry by entry, any other
// list is replaced; what is equal already stays. The error says that the document is written in a way that cannot be edited
// in place (aliases, maps in braces over several lines), and what to add by hand.
func edit(text string, path []string, add *yaml.Node) (string, error) {
	return editor{}.edit(text, path, add)
}

// editDeep is edit, and merges named entries that are there already instead of replacing them: containers have more than
// what is added.
func editDeep(text string, add *yaml.Node) (string, error) {
	return editor{deep: true}.edit(text, nil, add)
}

func (e editor) edit(text string, path []string, add *yaml.Node) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return "", err
	}
	e.read(text)
	for i := len(path) - 1; i >= 0; i-- {
		add = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[i]}, add}}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" {
		out, err := encode(add, 0, false)
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(text) != "" {
			return strings.TrimRight(text, "\n") + "\n" + out, nil // comments only
		}
		return out, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return "", byHand("it is no map", add)
	}
	if root.Style&yaml.FlowStyle != 0 {
		return "", byHand("it stands in braces", add)
	}
	e.compact = compactLists(root)
	if err := e.merge(root, add); err != nil {
		return "", err
	}
	out := e.apply()
	// What YAML can look like has no end: the result is read again before anybody trusts it.
	var before, after yaml.Node
	if yaml.Unmarshal([]byte(text), &before) != nil || yaml.Unmarshal([]byte(out), &after) != nil || len(after.Content) == 0 ||
		!holds(after.Content[0], add) || !e.keeps(after.Content[0], before.Content[0], add) {
		return "", byHand("it is written in an unusual way", add)
	}
	return out, nil
}

// holds tells whether all that was to be added stands in a value.
func holds(have, want *yaml.Node) bool {
	switch {
	case have.Kind != want.Kind:
		return false
	case want.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(want.Content); i += 2 {
			if _, v := find(have, want.Content[i].Value); v == nil || !holds(v, want.Content[i+1]) {
				return false
			}
		}
		return true
	case want.Kind == yaml.SequenceNode && !allNamed(want):
		return same(have, want)
	case want.Kind == yaml.SequenceNode:
		return !slices.ContainsFunc(want.Content, func(item *yaml.Node) bool {
			i := named(have, item)
			return i < 0 || !holds(have.Content[i], item)
		})
	}
	return have.Value == want.Value
}

// keeps tells whether a value still has all that it had before, but for what was to be added.
func (e *editor) keeps(after, before, add *yaml.Node) bool {
	switch {
	case before.Kind == yaml.MappingNode && after.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(before.Content); i += 2 {
			name := before.Content[i].Value
			_, v := find(after, name)
			if v == nil {
				return false
			}
			var added *yaml.Node
			if add != nil && add.Kind == yaml.MappingNode {
				if _, added = find(add, name); added == nil {
					_, added = find(add, yamldoc.Camel(name))
				}
			}
			if added == nil && !same(v, before.Content[i+1]) || added != nil && !e.keeps(v, before.Content[i+1], added) {
				return false
			}
		}
		return true
	case before.Kind == yaml.SequenceNode && after.Kind == yaml.SequenceNode && add != nil && add.Kind == yaml.SequenceNode && allNamed(add):
		for i, item := range before.Content {
			j := named(add, item)
			if i >= len(after.Content) || j < 0 && !same(after.Content[i], item) || j >= 0 && e.deep && !e.keeps(after.Content[i], item, add.Content[j]) {
				return false
			}
		}
		return true
	}
	return add != nil // replaced
}

func byHand(why string, add *yaml.Node) error {
	text, err := encode(add, 0, true)
	if err != nil {
		return err
	}
	return problem.New(problem.Unsupported, "this cannot be edited in place: "+why, "merge by hand:\n"+text)
}

// editor collects changes of lines.
type editor struct {
	lines   []string
	tail    string // the newline behind the last line, if it had one
	compact bool   // lists stand at their key's own indent
	deep    bool   // named entries are merged, not replaced
	changes []change
}

func (e *editor) read(text string) {
	e.lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if strings.HasSuffix(text, "\n") {
		e.tail = "\n"
	}
}

// change replaces lines [from, to) by others; from == to inserts before from.
type change struct {
	from, to int
	depth    int // of what is inserted: where two blocks end at one line, the inner one's comes first
	with     []string
}

// mergeNodes merges values in the tree, for what cannot be merged in the text.
func mergeNodes(dst, src *yaml.Node) error {
	for i := 0; i+1 < len(src.Content); i += 2 {
		k, v := src.Content[i], src.Content[i+1]
		_, have := find(dst, k.Value)
		switch {
		case have == nil:
			dst.Content = append(dst.Content, k, v)
		case have.Kind == yaml.AliasNode:
			return byHand("an alias stands where "+k.Value+" is", src)
		case have.Kind == yaml.MappingNode && v.Kind == yaml.MappingNode:
			if err := mergeNodes(have, v); err != nil {
				return err
			}
		case have.Kind == yaml.SequenceNode && v.Kind == yaml.SequenceNode && allNamed(v):
			for _, item := range v.Content {
				if j := named(have, item); j >= 0 {
					have.Content[j] = item
				} else {
					have.Content = append(have.Content, item)
				}
			}
		default:
			*have = *v
		}
	}
	return nil
}

// find looks a key up in either spelling of mesh configuration.
func find(m *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == name || yamldoc.Camel(m.Content[i].Value) == name {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// allNamed tells whether a list is one of named entries. Any other list is replaced as a whole, as the API server does.
func allNamed(list *yaml.Node) bool {
	return len(list.Content) > 0 && !slices.ContainsFunc(list.Content, func(n *yaml.Node) bool {
		_, name := find(n, "name")
		return n.Kind != yaml.MappingNode || name == nil
	})
}

// named is the place of the entry with the same name, or -1.
func named(list, item *yaml.Node) int {
	_, name := find(item, "name")
	return slices.IndexFunc(list.Content, func(n *yaml.Node) bool {
		_, have := find(n, "name")
		return name != nil && have != nil && have.Value == name.Value
	})
}

// merge merges into a map in block style.
func (e *editor) merge(dst, src *yaml.Node) error {
	indent := dst.Content[0].Column - 1
	for i := 0; i+1 < len(src.Content); i += 2 {
		k, v := src.Content[i], src.Content[i+1]
		key, have := find(dst, k.Value)
		if have == nil {
			text, err := encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{k, v}}, indent, e.compact)
			if err != nil {
				return err
			}
			e.insert(e.end(dst.Content[0].Line-1, indent, ofMap), 2*indent, text)
			continue
		}
		if err := e.value(key, have, v, indent); err != nil {
			return err
		}
	}
	return nil
}

// value merges one value that is there already.
func (e *editor) value(key, have, want *yaml.Node, indent int) error {
	if have.Kind == yaml.AliasNode || have.Anchor != "" {
		return byHand("an anchor or alias stands where "+key.Value+" is", keyed(key, want))
	}
	if same(have, want) {
		return nil
	}
	line := key.Line - 1
	block := have.Style&yaml.FlowStyle == 0 && len(have.Content) > 0
	switch {
	case want.Kind == yaml.ScalarNode && have.Kind == yaml.ScalarNode && have.Value != "" && have.Line == key.Line && have.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0:
		at := have.Column - 1
		text := e.lines[line]
		if at > len(text) {
			return byHand(key.Value+" is written in an unusual way", keyed(key, want))
		}
		e.replace(line, line+1, text[:at]+literal(want)+text[at+token(text[at:]):])
		return nil
	case want.Kind == yaml.MappingNode && have.Kind == yaml.MappingNode && len(want.Content) == 0:
		return nil // "it is there" is all that was asked
	case want.Kind == yaml.MappingNode && have.Kind == yaml.MappingNode && block:
		return e.merge(have, want)
	case want.Kind == yaml.SequenceNode && have.Kind == yaml.SequenceNode && block && allNamed(want):
		return e.list(have, want)
	case want.Kind == yaml.SequenceNode && have.Kind == yaml.SequenceNode && block:
		text, err := encode(keyed(key, want), indent, e.compact)
		if err != nil {
			return err
		}
		e.replace(line, e.end(line, indent, ofList), strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
		return nil
	case have.Line == key.Line || have.Kind == yaml.ScalarNode && have.Tag == "!!null":
		// One line in braces, or nothing: it becomes a block. Only a line that ends with it can.
		merged := want
		if have.Kind == want.Kind && len(have.Content) > 0 {
			merged = have
			if err := mergeInto(merged, want); err != nil {
				return err
			}
			blockStyle(merged)
		}
		if end := e.end(line, indent, ofEntry); end != line+1 {
			return byHand(key.Value+" stands in braces over several lines", keyed(key, want))
		}
		text, err := encode(keyed(key, merged), indent, e.compact)
		if err != nil {
			return err
		}
		e.replace(line, line+1, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
		return nil
	}
	return byHand(key.Value+" is of another kind there", keyed(key, want))
}

func mergeInto(have, want *yaml.Node) error {
	if have.Kind == yaml.SequenceNode {
		holder := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "x"}, have}}
		return mergeNodes(holder, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "x"}, want}})
	}
	return mergeNodes(have, want)
}

func blockStyle(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
}

func keyed(key, value *yaml.Node) *yaml.Node {
	k := *key
	k.HeadComment, k.FootComment = "", ""
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{&k, value}}
}

// list merges entries by their name.
func (e *editor) list(have, want *yaml.Node) error {
	dash := have.Column - 1
	for _, item := range want.Content {
		text, err := encode(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}, dash, e.compact)
		if err != nil {
			return err
		}
		i := named(have, item)
		if i < 0 {
			e.insert(e.end(have.Line-1, dash, ofList), 2*dash+1, text) // deeper than the map that has the list at the same indent
			continue
		}
		if same(have.Content[i], item) {
			continue
		}
		if there := have.Content[i]; e.deep && there.Kind == yaml.MappingNode && there.Style&yaml.FlowStyle == 0 {
			if err := e.merge(there, item); err != nil {
				return err
			}
			continue
		}
		from := have.Content[i].Line - 1
		e.replace(from, e.end(from, dash, ofEntry), strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	}
	return nil
}

// extent says what belongs to the block that begins at a line.
type extent int

const (
	ofMap   extent = iota // lines of its indent and deeper ones
	ofList                // its dashes and deeper ones
	ofEntry               // deeper ones only
)

// end is the line behind a block that begins at a line and has an indent: behind its last line that is neither blank nor
// comment.
func (e *editor) end(from, indent int, of extent) int {
	end := from + 1
	for i := from + 1; i < len(e.lines); i++ {
		trimmed := strings.TrimLeft(e.lines[i], " ")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		n := len(e.lines[i]) - len(trimmed)
		if n < indent || n == indent && (of == ofEntry || of == ofList && trimmed[0] != '-') {
			break
		}
		end = i + 1
	}
	return end
}

func (e *editor) insert(at, depth int, text string) {
	e.changes = append(e.changes, change{at, at, depth, strings.Split(strings.TrimSuffix(text, "\n"), "\n")})
}

func (e *editor) replace(from, to int, with ...string) {
	e.changes = append(e.changes, change{from: from, to: to, with: with})
}

// apply makes the changes.
func (e *editor) apply() string {
	slices.SortStableFunc(e.changes, func(a, b change) int {
		if a.from != b.from {
			return a.from - b.from
		}
		if a.to != b.to {
			return a.to - b.to
		}
		return b.depth - a.depth
	})
	var out []string
	at := 0
	for _, c := range e.changes {
		out = append(out, e.lines[at:max(at, c.from)]...)
		out = append(out, c.with...)
		at = max(at, c.to)
	}
	out = append(out, e.lines[at:]...)
	return strings.Join(out, "\n") + e.tail
}

// encode writes a node as block YAML with an indent.
func encode(n *yaml.Node, indent int, compact bool) (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if compact {
		enc.CompactSeqIndent()
	}
	if err := enc.Encode(n); err != nil {
		return "", err
	}
	if err := enc.Close(); err != nil {
		return "", err
	}
	if indent == 0 {
		return b.String(), nil
	}
	pad := strings.Repeat(" ", indent)
	var out strings.Builder
	for _, l := range strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if strings.TrimSpace(l) != "" {
			out.WriteString(pad)
		}
		out.WriteString(l)
	}
	out.WriteByte('\n')
	return out.String(), nil
}

// compactLists tells whether the document's lists stand at the indent of their key, as most of Kubernetes' YAML has it.
func compactLists(n *yaml.Node) bool {
	compact := true
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && c.Kind == yaml.SequenceNode && c.Style&yaml.FlowStyle == 0 && len(c.Content) > 0 {
				compact = compact && c.Column == n.Content[i-1].Column
			}
			walk(c)
		}
	}
	walk(n)
	return compact
}

// literal writes a scalar for the rest of a line.
func literal(n *yaml.Node) string {
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value, Style: n.Style})
	if err != nil {
		return fmt.Sprintf("%q", n.Value)
	}
	return strings.TrimSpace(string(out))
}

// token is the length of the scalar at the beginning of a text: to its closing quote, or to a comment or the line's end.
func token(text string) int {
	if text == "" {
		return 0
	}
	if q := text[0]; q == '"' || q == '\'' {
		for i := 1; i < len(text); i++ {
			switch {
			case q == '"' && text[i] == '\\':
				i++
			case text[i] == q && q == '\'' && i+1 < len(text) && text[i+1] == q:
				i++
			case text[i] == q:
				return i + 1
			}
		}
		return len(text)
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = text[:i]
	}
	return len(strings.TrimRight(text, " "))
}

// same compares values, whatever their style; comments do not count. Numbers in quotes are the numbers, as Istio reads
// them.
func same(a, b *yaml.Node) bool {
	if a.Kind == yaml.AliasNode && b.Kind != yaml.AliasNode {
		a = a.Alias
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.ScalarNode, yaml.AliasNode: // an alias's value is the name of its anchor
		return a.Value == b.Value
	case yaml.MappingNode:
		for i := 0; i+1 < len(b.Content); i += 2 {
			if _, v := find(a, b.Content[i].Value); v == nil || !same(v, b.Content[i+1]) {
				return false
			}
		}
		return true
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
