package otlp

import (
	"bytes"
	"flag"
	"os"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

var update = flag.Bool("update", false, "write trace_service.binpb")

// TestSchemaIsCurrent compares the embedded schema with OTLP's generated types.
func TestSchemaIsCurrent(t *testing.T) {
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
	add(collector.File_opentelemetry_proto_collector_trace_v1_trace_service_proto)
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(&set)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("trace_service.binpb", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(serviceSchema, want) {
		t.Error("trace_service.binpb is not what the generated types say: run go test -run TestSchemaIsCurrent -update")
	}
}
