package uiapi

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// document is docs/api/openapi.yaml.
type document struct {
	root map[string]any
	used map[string]bool // properties that answers had, by path of the schema
}

func readDocument(t testing.TB) *document {
	t.Helper()
	text, err := os.ReadFile("../../docs/api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := &document{used: make(map[string]bool)}
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows keys from the root.
func (d *document) at(keys ...string) any {
	var v any = d.root
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// resolve follows $ref and answers the name under which a schema's properties are counted.
func (d *document) resolve(schema map[string]any, path string) (map[string]any, string) {
	for {
		ref, ok := schema["$ref"].(string)
		if !ok {
			return schema, path
		}
		path = strings.TrimPrefix(ref, "#/components/")
		schema, _ = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	}
}

// validate checks a JSON value against a schema: the words this document uses, and no property it does not name.
func (d *document) validate(schema map[string]any, path string, v any) error {
	schema, path = d.resolve(schema, path)
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s: %v is none of %v", path, v, enum)
	}
	typ, _ := schema["type"].(string)
	switch v := v.(type) {
	case map[string]any:
		return d.validateObject(schema, path, typ, v)
	case []any:
		if typ == "" {
			return nil
		}
		items, _ := schema["items"].(map[string]any)
		if typ != "array" || items == nil {
			return fmt.Errorf("%s: an array, want %s", path, typ)
		}
		for i, e := range v {
			if err := d.validate(items, path+"[]", e); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
		return nil
	case json.Number:
		_, err := v.Int64()
		if typ == "" || typ == "number" || typ == "integer" && err == nil {
			return nil
		}
	case string:
		if typ == "" || typ == "string" {
			return nil
		}
	case bool:
		if typ == "" || typ == "boolean" {
			return nil
		}
	case nil:
		if typ == "" {
			return nil
		}
	}
	return fmt.Errorf("%s: %v (%T), want %s", path, v, v, typ)
}

func (d *document) validateObject(schema map[string]any, path, typ string, v map[string]any) error {
	if typ == "" {
		return nil
	}
	if typ != "object" {
		return fmt.Errorf("%s: an object, want %s", path, typ)
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s: %s is missing", path, name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, value := range v {
		property, ok := properties[name].(map[string]any)
		if ok {
			d.used[path+"."+name] = true
		} else if property, ok = schema["additionalProperties"].(map[string]any); !ok {
			return fmt.Errorf("%s: %s is not in the document", path, name)
		}
		if err := d.validate(property, path+"."+name, value); err != nil {
			return err
		}
	}
	return nil
}

// properties lists every property that answers may have, in the form of used.
func (d *document) properties(schema map[string]any, path string, into map[string]bool) {
	schema, path = d.resolve(schema, path)
	if into[path] {
		return
	}
	into[path] = true
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		into[path+"."+name] = true
		d.properties(p.(map[string]any), path+"."+name+" ", into)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		d.properties(items, path+"[]", into)
	}
}

// unused are the properties of a schema that no validated answer had.
func (d *document) unused(schema map[string]any, path string) []string {
	all := make(map[string]bool)
	d.properties(schema, path, all)
	var out []string
	for p := range all {
		if i := strings.LastIndexByte(p, '.'); i > 0 && !strings.HasSuffix(p, " ") && !strings.HasSuffix(p, "[]") && !d.used[strings.ReplaceAll(p, " ", "")] {
			out = append(out, p)
		}
	}
	sort.Strings(out)
	return out
}

// answerSchema is the schema of a path's answer 200, nil if it has none.
func (d *document) answerSchema(path, method string) map[string]any {
	s, _ := d.at("paths", path, strings.ToLower(method), "responses", "200", "content", "application/json", "schema").(map[string]any)
	return s
}

// params are the query parameters of a path.
func (d *document) params(path, method string) []string {
	var out []string
	list, _ := d.at("paths", path, strings.ToLower(method), "parameters").([]any)
	for _, p := range list {
		m, _ := d.resolve(p.(map[string]any), "")
		if m["in"] == "query" {
			out = append(out, m["name"].(string))
		}
	}
	return out
}

func TestEveryPathIsServed(t *testing.T) {
	d := readDocument(t)
	var documented []string
	for path, methods := range d.at("paths").(map[string]any) {
		for method := range methods.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	var served []string
	for _, e := range endpoints() {
		served = append(served, e.method+" "+e.path)
		want, got := d.params(e.path, e.method), slices.Clone(e.params)
		sort.Strings(want)
		sort.Strings(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s takes %v, the document says %v", e.path, got, want)
		}
	}
	sort.Strings(documented)
	sort.Strings(served)
	if !slices.Equal(documented, served) {
		t.Errorf("served %v\nin the document %v", served, documented)
	}
}
