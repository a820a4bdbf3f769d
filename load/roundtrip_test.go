package load

import (
	"testing"

	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
)

// What the receivers decode is what Verify will expect of the APIs: a difference here is a field that a protocol does not
// carry as the form of the generated spans says.
func TestReceiversDecodeWhatWasGenerated(t *testing.T) {
	decoders := map[Protocol]func(b *span.Batch, body []byte) error{
		OTLPGRPC:     otlp.Decode,
		OTLPHTTPJSON: otlp.DecodeJSON,
		Zipkin: func(b *span.Batch, body []byte) error {
			_, err := new(zipkin.Decoder).Decode(b, body, zipkin.JSONv2)
			return err
		},
		ZipkinProto: func(b *span.Batch, body []byte) error {
			_, err := new(zipkin.Decoder).Decode(b, body, zipkin.Proto3)
			return err
		},
	}
	for p, decode := range decoders {
		t.Run(string(p), func(t *testing.T) {
			d := New(3, testBase, 0, p.Form())
			traces := map[span.TraceID]uint64{}
			got := map[span.TraceID]spanFacts{}
			s := d.Stream(7, 4000, EncoderOf(p))
			for {
				q, ok := s.Next()
				if !ok {
					break
				}
				var b span.Batch
				if err := decode(&b, q.Body); err != nil {
					t.Fatal(err)
				}
				if b.Len() != q.Spans {
					t.Fatalf("%d of %d spans decoded: %v", b.Len(), q.Spans, b.Refused)
				}
				for row, f := range factsOfRows(&b) {
					if got[b.TraceID[row]] == nil {
						got[b.TraceID[row]] = spanFacts{}
					}
					got[b.TraceID[row]].add(b.SpanID[row].String(), f)
				}
			}
			var (
				tr Trace
				b  span.Batch
			)
			for no := range s.Traces {
				d.Trace(no, &tr)
				traces[tr.ID] = no
				b.Reset()
				d.Rows(&b).All(&tr)
				want := spanFacts{}
				for row, f := range factsOfRows(&b) {
					want.add(b.SpanID[row].String(), f)
				}
				if list := compare(want, got[tr.ID]); len(list) > 0 {
					t.Fatalf("trace %d: %d differences, the first: %s", no, len(list), list[0])
				}
			}
			if len(got) != len(traces) {
				t.Errorf("%d traces generated, %d decoded", len(traces), len(got))
			}
		})
	}
}

// factsOfRows are the facts of each row without the service, which is derived behind the receivers.
func factsOfRows(b *span.Batch) []facts {
	list := make([]facts, b.Len())
	for i := range b.Len() {
		list[i] = expectOwn(oneRow(b, i))[b.SpanID[i].String()]
		delete(list[i], "service")
	}
	return list
}

func oneRow(b *span.Batch, row int) *span.Batch {
	to := &span.Batch{}
	c := span.NewCopier(to)
	c.Begin(b)
	c.Row(row)
	return to
}
