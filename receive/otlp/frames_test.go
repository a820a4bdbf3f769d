package otlp

import (
	"bytes"
	"io"
	"testing"

	"google.golang.org/grpc/encoding"
)

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0}, "")
	f.Add(append([]byte{0, 0, 0, 0, 60}, request(goodSpan("a"))...), "")
	f.Add(append([]byte{1, 0, 0, 0, 60}, gzipped(request(goodSpan("a")))...), "gzip")
	f.Add(append([]byte{1, 0, 0, 0, 60}, zstded(f, request(goodSpan("a")))...), "zstd")
	in := newIntake(new(sink))
	in.MaxBody = 1 << 20
	rc := receiver{in: in}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		task := rc.begin()
		if _, err := task.decodeFrames(body, encoding); err == nil {
			check(t, task.batch)
		}
		task.done()
		if in.Budget.Used() != 0 {
			t.Fatalf("%d bytes not given back", in.Budget.Used())
		}
	})
}

// FuzzZstd reads foreign frames with gRPC's compressor, and its own ones back.
func FuzzZstd(f *testing.F) {
	f.Add(zstded(f, []byte("hello")))
	f.Add(zstded(f, make([]byte, 1<<20)))
	c := encoding.GetCompressor("zstd")
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := c.Decompress(bytes.NewReader(body))
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			_ = r.(io.Closer).Close()
		}
		var w bytes.Buffer
		z, err := c.Compress(&w)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = z.Write(body)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		r, err = c.Decompress(&w)
		if err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(back, body) {
			t.Fatalf("%d bytes back of %d, %v", len(back), len(body), err)
		}
		_ = r.(io.Closer).Close()
	})
}
