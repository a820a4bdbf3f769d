package jaegerapi

import (
	_ "embed"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// querySchema is the FileDescriptorSet of proto/, so that reflection describes the services without generated types in the
// binary. A test compiles it (-update).
//
//go:embed proto/schema.binpb
var querySchema []byte

// schema resolves Jaeger's files, and for health and reflection those of the process.
type schema struct{ own *protoregistry.Files }

func newSchema() (*schema, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(querySchema, &set); err != nil {
		return nil, fmt.Errorf("read the schema of Jaeger's queries: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, fmt.Errorf("read the schema of Jaeger's queries: %w", err)
	}
	return &schema{files}, nil
}

// FindFileByPath implements protodesc.Resolver.
func (s *schema) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if f, err := s.own.FindFileByPath(path); err == nil {
		return f, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

// FindDescriptorByName implements protodesc.Resolver.
func (s *schema) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := s.own.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// register adds reflection to a server, in the version of today and the one that older tools ask for.
func (s *schema) register(server *grpc.Server) {
	options := reflection.ServerOptions{Services: server, DescriptorResolver: s}
	reflectv1.RegisterServerReflectionServer(server, reflection.NewServerV1(options))
	reflectv1alpha.RegisterServerReflectionServer(server, reflection.NewServer(options))
}
