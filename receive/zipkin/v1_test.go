package zipkin

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"github.com/spanloom/spanloom/span"
)

// TestThriftAgreesWithJSON writes the v1 JSON cases as thrift and expects the same spans.
func TestThriftAgreesWithJSON(t *testing.T) {
	data, err := os.ReadFile("testdata/json1.txt")
	if err != nil {
		t.Fatal(err)
	}
	parts := sections(string(data))
	tested := 0
	for i := 0; i < len(parts); i += 2 {
		body := bytes.TrimSpace([]byte(parts[i].body))
		raws := rawSpans(t, body)
		if raws == nil {
			continue // a case that thrift cannot hold
		}
		tested++
		want := canonical(decodeBody(t, body, JSONv1))
		list := binary.BigEndian.AppendUint32([]byte{thriftStruct}, uint32(len(raws)))
		for _, r := range raws {
			one := appendThrift(nil, r)
			list = append(list, one...)
		}
		if got := canonical(decodeBody(t, list, Thrift)); got != want {
			t.Errorf("%s: thrift gives\n%s\nJSON\n%s", parts[i].head, got, want)
		}
		if len(raws) == 1 {
			if got := canonical(decodeBody(t, list[5:], Thrift)); got != want {
				t.Errorf("%s: a single struct gives\n%s\nJSON\n%s", parts[i].head, got, want)
			}
		}
	}
	if tested < 15 {
		t.Errorf("only %d cases", tested)
	}
}

// rawSpans are a JSON body's spans before conversion; nil if one is bad or has fields of version 2.
func rawSpans(t *testing.T, body []byte) (list []*rawSpan) {
	d := new(Decoder)
	s := &d.scan
	s.reset(bytes.Clone(body))
	s.next()
	s.at++
	for first := true; s.element(first); first = false {
		r := new(rawSpan)
		s.at++
		for first := true; ; first = false {
			name, ok := s.field(first)
			if !ok {
				break
			}
			if !d.spanField(s, r, name) {
				t.Fatal(s.broken)
			}
		}
		if r.fault.reason != "" || r.isV2 {
			return nil
		}
		list = append(list, r)
	}
	return list
}

func appendThriftField(p []byte, kind byte, id int16) []byte {
	return binary.BigEndian.AppendUint16(append(p, kind), uint16(id))
}

func appendThriftI64(p []byte, id int16, v uint64) []byte {
	if v == 0 {
		return p
	}
	return binary.BigEndian.AppendUint64(appendThriftField(p, thriftI64, id), v)
}

func appendThriftString(p []byte, id int16, v []byte) []byte {
	p = binary.BigEndian.AppendUint32(appendThriftField(p, thriftString, id), uint32(len(v)))
	return append(p, v...)
}

func appendThriftHost(p []byte, id int16, e *endpoint) []byte {
	p = appendThriftField(p, thriftStruct, id)
	if a, err := netip.ParseAddr(string(e.ipv4)); err == nil {
		v := a.As4()
		p = append(appendThriftField(p, thriftI32, 1), v[:]...)
	}
	if e.port != 0 {
		p = binary.BigEndian.AppendUint16(appendThriftField(p, thriftI16, 2), e.port)
	}
	if len(e.service) > 0 {
		p = appendThriftString(p, 3, e.service)
	}
	if a, err := netip.ParseAddr(string(e.ipv6)); err == nil {
		v := a.As16()
		p = appendThriftString(p, 4, v[:])
	}
	return append(p, thriftStop)
}

// appendThrift writes a v1 span as a struct.
func appendThrift(p []byte, r *rawSpan) []byte {
	p = appendThriftI64(p, 1, r.trace.Low())
	p = appendThriftI64(p, 12, r.trace.High())
	p = appendThriftString(p, 3, r.name)
	p = appendThriftI64(p, 4, r.id.Uint64())
	if r.parent != (span.SpanID{}) {
		p = appendThriftI64(p, 5, r.parent.Uint64())
	}
	p = binary.BigEndian.AppendUint32(append(appendThriftField(p, thriftList, 6), thriftStruct), uint32(len(r.annotations)))
	for i := range r.annotations {
		a := &r.annotations[i]
		p = appendThriftI64(p, 1, a.timestamp)
		p = appendThriftString(p, 2, a.value)
		if a.hasHost {
			p = appendThriftHost(p, 3, &a.host)
		}
		p = append(p, thriftStop)
	}
	p = binary.BigEndian.AppendUint32(append(appendThriftField(p, thriftList, 8), thriftStruct), uint32(len(r.binary)))
	for i := range r.binary {
		a := &r.binary[i]
		p = appendThriftString(p, 1, a.key)
		p = appendThriftString(p, 2, a.value)
		p = binary.BigEndian.AppendUint32(appendThriftField(p, thriftI32, 3), binaryString)
		if a.hasHost {
			p = appendThriftHost(p, 4, &a.host)
		}
		p = append(p, thriftStop)
	}
	if r.debug {
		p = append(appendThriftField(p, thriftBool, 9), 1)
	}
	p = appendThriftI64(p, 10, r.timestamp)
	p = appendThriftI64(p, 11, r.duration)
	return append(p, thriftStop)
}
