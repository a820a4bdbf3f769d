package otlp

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

// grpc-go finds compressors in a table of the process that may be written by init functions only; gzip's is in its own package.
func init() { encoding.RegisterCompressor(new(zstdCompressor)) }

// maxZstdWindow bounds what a frame's head may make a decoder allocate.
const maxZstdWindow = 8 << 20

// zstdCompressor is zstd for gRPC. grpc-go bounds what it reads from it by the limit on received messages.
type zstdCompressor struct{ readers, writers sync.Pool }

// Name is the value of grpc-encoding.
func (*zstdCompressor) Name() string { return "zstd" }

// Compress implements encoding.Compressor.
func (c *zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	z, ok := c.writers.Get().(*zstdWriter)
	if !ok {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, err
		}
		z = &zstdWriter{Encoder: e, pool: &c.writers}
	}
	z.Reset(w)
	return z, nil
}

type zstdWriter struct {
	*zstd.Encoder
	pool *sync.Pool
}

// Close ends the frame and gives the encoder back.
func (z *zstdWriter) Close() error {
	err := z.Encoder.Close()
	z.Reset(nil)
	z.pool.Put(z)
	return err
}

// Decompress implements encoding.Compressor.
func (c *zstdCompressor) Decompress(r io.Reader) (io.Reader, error) {
	z, ok := c.readers.Get().(*zstdReader)
	if !ok {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, err
		}
		z = &zstdReader{Decoder: d, pool: &c.readers}
	}
	if err := z.Reset(r); err != nil {
		return nil, err
	}
	return z, nil
}

type zstdReader struct {
	*zstd.Decoder
	pool *sync.Pool
}

// Close gives the decoder back; grpc-go calls it once.
func (z *zstdReader) Close() error {
	err := z.Reset(nil)
	z.pool.Put(z)
	return err
}
