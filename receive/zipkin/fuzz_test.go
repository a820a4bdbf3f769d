package zipkin

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// seeds adds the golden bodies and a few recorded ones of a format.
func seeds(f *testing.F, announced Format) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		parts := sections(string(data))
		for i := 0; i < len(parts); i += 2 {
			body := []byte(strings.TrimSuffix(parts[i].body, "\n"))
			if strings.Contains(parts[i].head, " hex") {
				body = fromHex(f, string(body))
			}
			f.Add(body)
		}
	}
	bodies := envoyBodies(f)
	for i, name := range slices.Sorted(maps.Keys(bodies)) {
		if isProto := strings.HasSuffix(name, ".pb"); isProto == (announced == Proto3) && i%16 == 0 {
			f.Add(bodies[name])
		}
	}
}

// FuzzDecode takes any body as each announced format: no panic, a sound batch, and what is written back reads the same.
func FuzzDecode(f *testing.F) {
	seeds(f, JSONv2)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, announced := range []Format{JSONv2, JSONv1, Proto3, Thrift} {
			checkBody(t, body, announced)
		}
	})
}

func FuzzDecodeProto(f *testing.F) {
	seeds(f, Proto3)
	f.Fuzz(func(t *testing.T, body []byte) { checkBody(t, body, Proto3) })
}

func FuzzDecodeThrift(f *testing.F) {
	seeds(f, Thrift)
	f.Fuzz(func(t *testing.T, body []byte) { checkBody(t, body, Thrift) })
}

// FuzzJSONAgainstOracle compares with encoding/json wherever that reads the body and the contract leaves no choice.
func FuzzJSONAgainstOracle(f *testing.F) {
	seeds(f, JSONv2)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 0 && body[0] == '\n' {
			return // may be protobuf
		}
		agree(t, body)
	})
}

func checkBody(t *testing.T, body []byte, announced Format) {
	b := decodeBody(t, body, announced)
	asJSON := AppendRequestJSON(nil, b)
	if !json.Valid(asJSON) || !utf8.Valid(asJSON) {
		t.Fatalf("writes invalid JSON %q\n%q", asJSON, body)
	}
	// A first writing settles what has several spellings (order of tags, links, status); from then on nothing changes.
	again := decodeBody(t, asJSON, JSONv2)
	if again.Len() != b.Len() {
		t.Fatalf("%d spans come back as %d\n%q\n%q", b.Len(), again.Len(), asJSON, body)
	}
	settled := AppendRequestJSON(nil, again)
	third := decodeBody(t, settled, JSONv2)
	if twice := AppendRequestJSON(nil, third); !bytes.Equal(twice, settled) {
		t.Fatalf("does not settle:\n%q\n%q\n%q", settled, twice, body)
	}
	asProto := AppendRequestProto(nil, third)
	if back := AppendRequestJSON(nil, decodeBody(t, asProto, Proto3)); !bytes.Equal(back, settled) {
		t.Fatalf("protobuf changes it:\n%q\n%q\n%q", settled, back, body)
	}
}
