package yamldoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spanloom/spanloom/internal/problem"
)

// readJSON reads a file that is one JSON value: about ten times as fast as the YAML reader, which matters for
// `kubectl get -o json` of a large cluster.
func readJSON(data []byte) (Document, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := jsonReader{d: d, data: data, line: 1, budget: maxValues}
	doc := Document{Line: 1}
	r.doc = &doc
	root, err := r.next(0)
	if err != nil {
		return doc, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return doc, errors.New("more than one JSON value")
	}
	doc.Root = root
	return doc, nil
}

type jsonReader struct {
	d      *json.Decoder
	doc    *Document
	data   []byte
	at     int // offset up to which lines are counted
	line   int
	budget int
}

// here is the line of the token that was read last.
func (r *jsonReader) here() int {
	now := min(int(r.d.InputOffset()), len(r.data))
	r.line += bytes.Count(r.data[r.at:now], []byte{'\n'})
	r.at = now
	return r.line
}

func (r *jsonReader) next(depth int) (*Value, error) {
	t, err := r.d.Token()
	if err != nil {
		return nil, err
	}
	if r.budget--; r.budget < 0 || depth > maxDepth {
		return nil, problem.New(problem.TooLarge, fmt.Sprintf("line %d: too many or too deeply nested values", r.here()), fmt.Sprintf("a file may have %d values nested %d deep", maxValues, maxDepth))
	}
	v := &Value{Line: r.here()}
	switch t := t.(type) {
	case nil:
	case bool:
		v.Kind, v.Text = Bool, fmt.Sprint(t)
	case json.Number:
		v.Kind, v.Text = Number, t.String()
	case string:
		v.Kind, v.Text = String, t
	case json.Delim:
		if t == '[' {
			v.Kind = List
			for r.d.More() {
				item, err := r.next(depth + 1)
				if err != nil {
					return nil, err
				}
				v.Items = append(v.Items, item)
			}
		} else {
			v.Kind = Map
			if err := r.fields(v, depth); err != nil {
				return nil, err
			}
		}
		if _, err := r.d.Token(); err != nil { // the closing bracket
			return nil, err
		}
	}
	return v, nil
}

func (r *jsonReader) fields(v *Value, depth int) error {
	seen := make(map[string]int)
	for r.d.More() {
		t, err := r.d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("a key is no string")
		}
		line := r.here()
		value, err := r.next(depth + 1)
		if err != nil {
			return err
		}
		if first, twice := seen[name]; twice {
			r.doc.Notes = append(r.doc.Notes, Note{Line: line, Message: fmt.Sprintf("%q is written twice (first in line %d); the last one counts", name, first)})
			v.remove(name)
		}
		seen[name] = line
		v.Fields = append(v.Fields, Field{Name: name, Line: line, Value: value})
	}
	return nil
}
