package jaegerapi

import (
	"bytes"
	"os"
	"testing"

	"github.com/bufbuild/protocompile"
	_ "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestSchemaIsCurrent compiles proto/ and compares it with what is embedded.
func TestSchemaIsCurrent(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{ImportPaths: []string{"proto"}},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			f, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: f}, err
		}),
	})}
	files, err := compiler.Compile(t.Context(), "query.proto", "query_service.proto", "capabilities.proto")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("proto/schema.binpb", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(querySchema, want) {
		t.Error("proto/schema.binpb is not what proto/ says: run go test -run TestSchemaIsCurrent -update")
	}
}
