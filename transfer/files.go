package transfer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/spanloom/spanloom/internal/problem"
)

// file is one source of spans that is read from its beginning to its end.
type file struct {
	name  string // "-" is standard input
	size  int64  // -1 if unknown
	mtime int64
}

// expand lists the files of the sources: a folder stands for all files in it and below, in the order of their names.
func expand(sources []string) ([]file, error) {
	var out []file
	for _, s := range sources {
		if s == "-" {
			out = append(out, file{name: s, size: -1})
			continue
		}
		info, err := os.Stat(s)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &problem.Problem{Kind: problem.Invalid, Message: s + " is not there", Hint: "give files, folders, - for standard input, or elasticsearch://host:9200"}
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, fileOf(s, info))
			continue
		}
		err = filepath.WalkDir(s, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
				if err == nil && e.IsDir() && path != s && strings.HasPrefix(e.Name(), ".") {
					return fs.SkipDir
				}
				return err
			}
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() {
				out = append(out, fileOf(path, info))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, &problem.Problem{Kind: problem.Invalid, Message: "no files there", Hint: "give files, folders, - for standard input, or elasticsearch://host:9200"}
	}
	return out, nil
}

func fileOf(name string, info fs.FileInfo) file {
	f := file{name: name, size: info.Size(), mtime: info.ModTime().UnixNano()}
	if !info.Mode().IsRegular() {
		f.size = -1
	}
	return f
}

// counting counts what is read of a file, before decompression.
type counting struct {
	io.Reader
	n func(int)
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n(n)
	return n, err
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// unpacked reads what gzip or zstd packed, by its first bytes.
func unpacked(r *bufio.Reader) (*bufio.Reader, func(), error) {
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), func() { _ = z.Close() }, nil
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord))
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), z.Close, nil
	}
	return r, func() {}, nil
}

// readRecords gives the records of a file's bytes. bad is told what cannot be read; an error of it or of each ends the reading, as
// does one of the reader.
func readRecords(from io.Reader, format Format, each func(record) error, bad func(at Position, what string) error) error {
	r, done, err := unpacked(bufio.NewReaderSize(from, 256<<10))
	if err != nil {
		return err
	}
	defer done()
	head, err := r.Peek(64)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch kind := binaryKind(head, format); kind {
	case framed:
		return frames(r, format, each, bad)
	case protobuf:
		return messages(r, each, bad)
	}
	w := walker{newStream(r, maxRecord), format, each, bad}
	return w.walk()
}

const (
	isText = iota
	protobuf
	framed
)

// binaryKind tells protobuf and length-prefixed files from JSON. Lengths before messages are four bytes, the highest first, so
// that the first is 0; a request begins with field 1, whose tag is a line feed, and its length.
func binaryKind(head []byte, format Format) int {
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(head) > 4 && head[0] == 0:
		return framed
	case format == OTLPProto:
		return protobuf
	case format != Detect || len(head) < 2 || head[0] != '\n':
		return isText
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		return isText
	}
	return protobuf
}

// messages gives the ResourceSpans of a request in protobuf, each as a request of its own.
func messages(r *bufio.Reader, each func(record) error, bad func(Position, string) error) error {
	var body []byte
	offset := int64(0)
	for {
		at := Position{Offset: offset}
		tag, n, err := uvarint(r)
		if errors.Is(err, io.EOF) && n == 0 {
			return nil
		}
		if err != nil {
			return bad(at, "no protobuf: "+err.Error())
		}
		offset += int64(n)
		var length uint64
		switch tag & 7 {
		case 0:
			_, n, err = uvarint(r)
		case 1:
			length, n = 8, 0
		case 2:
			length, n, err = uvarint(r)
		case 5:
			length, n = 4, 0
		default:
			return bad(at, fmt.Sprintf("no protobuf: a field of wire type %d; what follows is not read", tag&7))
		}
		if err != nil {
			return bad(at, "no protobuf: "+err.Error())
		}
		offset += int64(n)
		if tag != 1<<3|2 || length > maxRecord {
			if tag == 1<<3|2 {
				if err := bad(at, fmt.Sprintf("a message of %d MiB, of at most %d", length>>20, maxRecord>>20)); err != nil {
					return err
				}
			}
			if length > 1<<62 {
				return nil
			}
			skipped, err := io.CopyN(io.Discard, r, int64(length))
			if offset += skipped; err != nil {
				return bad(at, "the file ends inside of a message")
			}
			continue
		}
		body = binary.AppendUvarint(append(body[:0], 1<<3|2), length)
		if body, err = appendN(body, r, int(length)); err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return bad(at, "the file ends inside of a message")
		}
		offset += int64(length)
		if err := each(record{OTLPProto, body, at, offset}); err != nil {
			return err
		}
	}
}

// appendN appends n bytes of r. The memory grows with what is there, not with what was promised.
func appendN(dst []byte, r io.Reader, n int) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	got, err := io.CopyN(buf, r, int64(n))
	if errors.Is(err, io.EOF) || err == nil && got < int64(n) {
		err = io.ErrUnexpectedEOF
	}
	return buf.Bytes(), err
}

func uvarint(r *bufio.Reader) (v uint64, n int, err error) {
	for shift := 0; ; shift += 7 {
		c, err := r.ReadByte()
		if err != nil {
			return 0, n, err
		}
		if n++; n > 10 {
			return 0, n, errors.New("a number of more than 10 bytes")
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, n, nil
		}
	}
}

// frames gives the records of a file of messages with their length before each, as the collector's file exporter writes protobuf and
// whatever it compresses.
func frames(r *bufio.Reader, format Format, each func(record) error, bad func(Position, string) error) error {
	var body []byte
	var z *zstd.Decoder
	offset := int64(0)
	for {
		at := Position{Offset: offset}
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return bad(at, "the file ends inside of a length")
		}
		length := binary.BigEndian.Uint32(head[:])
		if length > maxRecord {
			return bad(at, fmt.Sprintf("a message of %d MiB, of at most %d; what follows is not read", length>>20, maxRecord>>20))
		}
		var err error
		if body, err = appendN(body[:0], r, int(length)); err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			return bad(at, "the file ends inside of a message")
		}
		offset += 4 + int64(length)
		message := body
		if bytes.HasPrefix(message, zstdMagic) {
			if z == nil {
				if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord)); err != nil {
					return err
				}
				defer z.Close()
			}
			if message, err = z.DecodeAll(message, nil); err != nil {
				if err := bad(at, "zstd: "+err.Error()); err != nil {
					return err
				}
				continue
			}
		}
		if head := bytes.TrimLeft(message, " \t\r\n"); len(head) > 0 && (head[0] == '{' || head[0] == '[') && binaryKind(message[:min(64, len(message))], format) == isText {
			// Positions are those of the frame, whose records are done when the next frame is.
			w := walker{newStream(bytes.NewReader(message), maxRecord), format,
				func(x record) error { x.at, x.end = at, at.Offset; return each(x) },
				func(_ Position, what string) error { return bad(at, what) }}
			err = w.walk()
		} else {
			err = each(record{OTLPProto, message, at, offset})
		}
		if err != nil {
			return err
		}
	}
}
