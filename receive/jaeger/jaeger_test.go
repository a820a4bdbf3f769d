package jaeger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/golden"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/storetest"
)

// told is everything that a decoder says: spans, faults and notes.
func told(d *Decoder, b *span.Batch, err error) string {
	for row, start := range b.Start {
		b.Time[row] = int64(start)
	}
	var out strings.Builder
	out.WriteString(storetest.Print(b))
	var faults *Faults
	if errors.As(err, &faults) {
		for _, f := range faults.First {
			fmt.Fprintf(&out, "left out: %s\n", f)
		}
	} else if err != nil {
		fmt.Fprintf(&out, "error: %s\n", err)
	}
	d.Notes.Each(func(text string, n int64) { fmt.Fprintf(&out, "%d %s\n", n, text) })
	return out.String()
}

func TestTraces(t *testing.T) {
	golden.Files(t, "testdata/api*.txt", func(t *testing.T, in string) string {
		var d Decoder
		b := new(span.Batch)
		d.Begin(b)
		err := d.Trace([]byte(in))
		return told(&d, b, err)
	})
}

func TestDocuments(t *testing.T) {
	golden.Files(t, "testdata/document*.txt", func(t *testing.T, in string) string {
		var d Decoder
		b := new(span.Batch)
		d.Begin(b)
		err := d.Document([]byte(in))
		return told(&d, b, err)
	})
}

// Spans of a batch with equal processes and scopes share them.
func TestResourcesAreShared(t *testing.T) {
	var d Decoder
	b := new(span.Batch)
	d.Begin(b)
	for _, id := range []string{"1", "2", "3"} {
		if err := d.Document([]byte(`{"traceID":"1","spanID":"` + id + `","startTime":1,"process":{"serviceName":"a"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Resources) != 1 || len(b.Scopes) != 1 {
		t.Errorf("%d resources and %d scopes for one process", len(b.Resources), len(b.Scopes))
	}
}

// Whatever is decoded is a sound batch, which OTLP takes back whole.
func FuzzDecoder(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		in, _, _ := strings.Cut(string(data), "-- want --")
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, document := range []bool{false, true} {
			var d Decoder
			b := new(span.Batch)
			d.Begin(b)
			var err error
			if document {
				err = d.Document(body)
			} else {
				err = d.Trace(body)
			}
			if err == nil && document && b.Len() != 1 {
				t.Fatalf("%d spans of a document", b.Len())
			}
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
			back := new(span.Batch)
			if err := otlp.Decode(back, otlp.AppendRequest(nil, b)); err != nil || back.Len() != b.Len() {
				t.Fatalf("%d of %d spans come back: %v", back.Len(), b.Len(), err)
			}
		}
	})
}
