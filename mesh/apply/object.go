package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Object is an object of Kubernetes as JSON has it; whole numbers are int64.
type Object = map[string]any

// ID names an object.
type ID struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String is "Telemetry istio-system/mesh-default".
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + " " + id.Name
	}
	return id.Kind + " " + id.Namespace + "/" + id.Name
}

// IDOf is an object's own.
func IDOf(o Object) ID {
	return ID{str(o, "apiVersion"), str(o, "kind"), str(o, "metadata", "namespace"), str(o, "metadata", "name")}
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func str(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

// decode reads JSON. Numbers that are whole stay whole.
func decode(data []byte) (Object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var o Object
	if err := d.Decode(&o); err != nil {
		return nil, err
	}
	return plain(o).(Object), nil
}

func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case int:
		return int64(v)
	}
	return v
}

func clone(o Object) Object {
	if o == nil {
		return nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		panic(err) // it came from JSON
	}
	out, err := decode(data)
	if err != nil {
		panic(err)
	}
	return out
}

// fromYAML reads one YAML document.
func fromYAML(text string) (Object, error) {
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return decode(data)
}

// toYAML writes an object so that every string comes back byte by byte: what YAML cannot carry is written as JSON, which YAML
// is too.
func toYAML(o Object) (string, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(o); err != nil {
		return "", err
	}
	if back, err := fromYAML(b.String()); err == nil && reflect.DeepEqual(back, clone(o)) {
		return b.String(), nil
	}
	data, err := json.MarshalIndent(o, "", "  ")
	return string(data) + "\n", err
}

// serverSet is metadata that the API server writes.
var serverSet = []string{"resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"}

// content is what people write of an object: without status and what the server sets.
func content(o Object) Object {
	if o == nil {
		return nil
	}
	out := clone(o)
	delete(out, "status")
	if meta, ok := out["metadata"].(map[string]any); ok {
		for _, k := range serverSet {
			delete(meta, k)
		}
		for _, k := range []string{"annotations", "labels"} { // empty is absent
			if m, ok := meta[k].(map[string]any); ok && len(m) == 0 {
				delete(meta, k)
			}
		}
	}
	return out
}

// Same tells whether two objects have the same content.
func Same(a, b Object) bool { return reflect.DeepEqual(content(a), content(b)) }

// mergePatch is what makes after of before, as RFC 7386 has it.
func mergePatch(before, after map[string]any) map[string]any {
	out := make(map[string]any)
	for k, a := range after {
		b, had := before[k]
		am, aMap := a.(map[string]any)
		bm, bMap := b.(map[string]any)
		switch {
		case had && reflect.DeepEqual(a, b):
		case aMap && bMap:
			out[k] = mergePatch(bm, am)
		default:
			out[k] = a
		}
	}
	for k := range before {
		if _, has := after[k]; !has {
			out[k] = nil
		}
	}
	return out
}

func patched(o, patch map[string]any) map[string]any {
	if o == nil {
		o = make(map[string]any)
	}
	for k, p := range patch {
		switch p := p.(type) {
		case nil:
			delete(o, k)
		case map[string]any:
			m, _ := o[k].(map[string]any)
			o[k] = patched(m, p)
		default:
			o[k] = p
		}
	}
	return o
}

// ours tells whether the object came by our own server-side apply.
func ours(o Object) bool {
	return slices.ContainsFunc(fieldsOf(o), func(f map[string]any) bool { return str(f, "manager") == Manager && str(f, "operation") == "Apply" })
}

func fieldsOf(o Object) []map[string]any {
	list, _ := at(o, "metadata", "managedFields").([]any)
	var out []map[string]any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok && str(m, "subresource") == "" {
			out = append(out, m)
		}
	}
	return out
}

// wrote tells whether we wrote the object since: our entries among its managed fields are others than before.
func wrote(before, live Object) bool {
	own := func(o Object) (out []map[string]any) {
		for _, f := range fieldsOf(o) {
			if str(f, "manager") == Manager {
				out = append(out, f)
			}
		}
		return out
	}
	return str(before, "metadata", "uid") == str(live, "metadata", "uid") && !reflect.DeepEqual(own(before), own(live))
}

// keepers are the managers other than ours of the field at a path, or of what is below it.
func keepers(o Object, path []string) []string {
	var out []string
	for _, f := range fieldsOf(o) {
		v, found := f["fieldsV1"], true
		for _, p := range path {
			m, _ := v.(map[string]any)
			if v, found = m["f:"+p]; !found {
				break
			}
			if below, _ := v.(map[string]any); len(below) == 0 {
				break // a field that is kept as a whole
			}
		}
		if name := str(f, "manager"); found && name != Manager && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// leaves are the paths that a merge patch writes.
func leaves(patch map[string]any, prefix []string) [][]string {
	var out [][]string
	for _, k := range slices.Sorted(maps.Keys(patch)) {
		path := append(slices.Clone(prefix), k)
		if m, ok := patch[k].(map[string]any); ok && len(m) > 0 {
			out = append(out, leaves(m, path)...)
		} else {
			out = append(out, path)
		}
	}
	return out
}

func dotted(path []string) string { return strings.Join(path, ".") }

func describe(id ID, err error) error { return fmt.Errorf("%s: %w", id, err) }
