// Package envoyspans is what real Envoys under Istio sent to a collector, byte for byte, for tests: 463 export requests of Istio 1.28
// (Envoy 1.36.4) and Istio 1.31 (Envoy 1.40.0), over OTLP gRPC, OTLP HTTP and Zipkin (JSON with 128- and 64-bit ids, protobuf).
// The README in the archive says how they were recorded.
package envoyspans

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

//go:embed envoy-spans.tar.gz
var archive []byte

// Request is one export request.
type Request struct {
	Folder  string            // istio-1.31_envoy-1.40.0/s2-zipkin-json-128
	File    string            `json:"file"`  // within the folder: 01-ok-chain/001-zipkin.json
	Proto   string            `json:"proto"` // otlp-grpc, otlp-http or zipkin
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Spans   int64             `json:"spans"`
	Body    []byte            `json:"-"` // of OTLP gRPC without the frame's five bytes
}

// Requests reads all of them, by folder in the order they came.
func Requests(t testing.TB) []Request {
	t.Helper()
	files := read(t)
	var all []Request
	for name, data := range files {
		if path.Base(name) != "index.json" {
			continue
		}
		var index []Request
		if err := json.Unmarshal(data, &index); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, r := range index {
			r.Folder = strings.TrimPrefix(path.Dir(name), "envoy-spans/")
			r.Body = files[path.Join(path.Dir(name), r.File)]
			if r.Body == nil {
				t.Fatalf("%s names %s, which is not in the archive", name, r.File)
			}
			if r.Spans == 0 {
				r.Spans = listed(t, r.Body) // the index does not count protobuf
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Request) int { return strings.Compare(a.Folder+"/"+a.File, b.Folder+"/"+b.File) })
	return all
}

func read(t testing.TB) map[string][]byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// listed counts the spans of a zipkin.proto3.ListOfSpans: its fields with number 1.
func listed(t testing.TB, body []byte) (n int64) {
	t.Helper()
	for len(body) > 0 {
		num, typ, size := protowire.ConsumeField(body)
		if size < 0 || num != 1 || typ != protowire.BytesType {
			t.Fatalf("no list of spans: field %d of type %d", num, typ)
		}
		body = body[size:]
		n++
	}
	return n
}
