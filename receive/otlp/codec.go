package otlp

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// message is an Export request as it came, in the transport's buffers.
type message struct {
	data mem.BufferSlice
	flat mem.Buffer // data in one piece, where it came in several
}

// view is the message's bytes, valid until free. A message in one buffer, the usual one, is not copied.
func (m *message) view() []byte {
	switch len(m.data) {
	case 0:
		return nil
	case 1:
		return m.data[0].ReadOnlyData()
	}
	if m.flat == nil {
		m.flat = m.data.MaterializeToBuffer(mem.DefaultBufferPool())
	}
	return m.flat.ReadOnlyData()
}

// free gives the buffers back; further calls do nothing.
func (m *message) free() {
	m.data.Free()
	m.data = nil
	if m.flat != nil {
		m.flat.Free()
		m.flat = nil
	}
}

// reply is an ExportTraceServiceResponse, encoded.
type reply struct{ p []byte }

// nothing is the answer to nearly every request: the empty message.
var nothing = new(reply)

// codec hands requests on as views and leaves every other message (health, reflection) to grpc-go's own.
type codec struct{ proto encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Name is protobuf's: only the memory differs.
func (codec) Name() string { return proto.Name }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*reply); ok {
		if len(r.p) == 0 {
			return nil, nil
		}
		return mem.BufferSlice{mem.SliceBuffer(r.p)}, nil
	}
	return c.proto.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*message); ok {
		if m.data != nil {
			return fmt.Errorf("more than one message")
		}
		data.Ref()
		m.data = data
		return nil
	}
	return c.proto.Unmarshal(data, v)
}
