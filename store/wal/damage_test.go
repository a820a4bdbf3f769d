package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/span"
)

// TestFlippedBit inverts every bit of a log, one at a time: at most the frame it lies in is lost, and it is named.
func TestFlippedBit(t *testing.T) {
	fsys := newFS(t, 1)
	o := options(fsys, Interval)
	l, _ := open(t, o)
	var ends []int64
	for n := range 5 {
		appendBatch(t, l, n)
		ends = append(ends, l.Stats().Bytes)
	}
	l.Close()
	name := fsys.Files(".log")[0]
	// A second file makes the first one not the newest, whose end may be torn.
	l, _ = open(t, o)
	appendBatch(t, l, 5)
	l.Close()
	step := int64(7) // each byte in one or two of its bits
	if long() {
		step = 1
	}
	for bit := int64(0); bit < ends[4]*8; bit += step {
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
		want := upTo(6)
		if at := bit / 8; at >= fileHeaderSize {
			hit := slices.IndexFunc(ends, func(end int64) bool { return at < end })
			want = slices.Delete(want, hit, hit+1)
		}
		l, got := open(t, o)
		if !slices.Equal(got, want) {
			t.Fatalf("bit %d: got %v, want %v, damage %v", bit, got, want, l.Stats().Damage)
		}
		if d := l.Stats().Damage; len(d) != 1 || d[0].File != name || d[0].Reason == "" || d[0].Bytes == 0 {
			t.Fatalf("bit %d: damage %v", bit, d)
		}
		l.Close()
		if err := fsys.Flip(name, bit); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTornEnd ends the newest file at every length: what is whole is replayed, the rest is cut off and is no damage.
func TestTornEnd(t *testing.T) {
	build := func() (*faultfs.Mem, Options, []int64) {
		fsys := newFS(t, 1)
		o := options(fsys, Interval)
		l, _ := open(t, o)
		ends := []int64{fileHeaderSize}
		for n := range 3 {
			appendBatch(t, l, n)
			ends = append(ends, l.Stats().Bytes)
		}
		l.Close()
		return fsys, o, ends
	}
	_, _, ends := build()
	for size := range ends[3] {
		for _, garbage := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("\xf3SLF", 80)} {
			if garbage != "" && !slices.Contains(ends, size) {
				continue // it would complete the frame, and be a damaged one
			}
			fsys, o, _ := build()
			f, err := fsys.Edit(fsys.Files(".log")[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			io.WriteString(f, garbage)
			f.Close()
			whole := 0
			for whole < 3 && ends[whole+1] <= size {
				whole++
			}
			l, got := open(t, o)
			same(t, fmt.Sprintf("%d bytes and %q", size, garbage), got, upTo(whole))
			if d := l.Stats().Damage; len(d) != 0 {
				t.Fatalf("%d bytes and %q: damage %v", size, garbage, d)
			}
			appendBatch(t, l, whole)
			l.Close()
			l, got = open(t, o)
			same(t, "after the next start", got, upTo(whole+1))
			if d := l.Stats().Damage; len(d) != 0 {
				t.Fatalf("after the next start: damage %v", d)
			}
			l.Close()
		}
	}
}

// TestForgedFrame: bytes in a payload that are a whole frame are none, even where the header before them is damaged, because
// who sends spans doesn't know the salt.
func TestForgedFrame(t *testing.T) {
	const salt = 0xCAFE
	frame := func(n int, sequence uint64, salt uint32) []byte {
		r := &record{}
		if err := r.encode(batch(n, rows)); err != nil {
			t.Fatal(err)
		}
		seal(r.frame, salt, sequence)
		return r.frame
	}
	for _, c := range []struct {
		salt uint32
		want []uint64
	}{{12345, []uint64{3}}, {salt, []uint64{2, 3}}} { // with the salt it is taken: so it is what keeps the forger out
		outer := append(make([]byte, frameHeaderSize), frame(99, 2, c.salt)...)
		putFrameHeader(outer, 0, rows, 1)
		seal(outer, salt, 1)
		outer[20] ^= 1
		p := append(fileHeader{salt: salt}.append(nil), outer...)
		p = append(p, frame(1, 3, salt)...)
		var got []uint64
		if _, err := scan("f", bytes.NewReader(p), func(f Frame) error { got = append(got, f.Sequence); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("salt %x: frames %v, want %v", c.salt, got, c.want)
		}
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	for what, change := range map[string]func(p []byte){
		"file":  func(p []byte) { p[8] = 2; binary.LittleEndian.PutUint32(p[36:], checksum(p[:36])) },
		"frame": func(p []byte) { p[fileHeaderSize+8] = 2; seal(p[fileHeaderSize:], saltOf(p), 1) },
	} {
		fsys := newFS(t, 1)
		o := options(fsys, Interval)
		l, _ := open(t, o)
		appendBatch(t, l, 0)
		l.Close()
		name := fsys.Files(".log")[0]
		f, _ := fsys.Edit(name)
		p, _ := io.ReadAll(f)
		change(p)
		f.Truncate(0)
		f.Write(p)
		f.Close()
		_, err := Open(t.Context(), o, func(*span.Batch, uint64) error { return nil })
		if !errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", what, err)
		}
		f, _ = fsys.Open(name)
		if q, _ := io.ReadAll(f); !bytes.Equal(p, q) {
			t.Errorf("%s of a newer version was changed", what)
		}
	}
}

func saltOf(p []byte) uint32 { return binary.LittleEndian.Uint32(p[12:]) }

func FuzzScan(f *testing.F) {
	fsys := newFS(f, 1)
	o := options(fsys, Interval)
	l, _ := open(f, o)
	for n := range 3 {
		appendBatch(f, l, n)
	}
	l.Close()
	h, _ := fsys.Open(fsys.Files(".log")[0])
	whole, _ := io.ReadAll(h)
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add(append(slices.Clone(whole[:100]), whole[60:]...))
	f.Fuzz(func(t *testing.T, p []byte) {
		var b span.Batch
		got, err := scan("f", bytes.NewReader(p), func(fr Frame) (err error) {
			_, err = fr.Decode(&b, nil)
			return err
		})
		if err != nil && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
		if err == nil && got.size != int64(len(p)) {
			t.Fatalf("%d of %d bytes", got.size, len(p))
		}
		for _, d := range got.damage {
			if d.Offset < 0 || d.Bytes <= 0 || d.Offset+d.Bytes > int64(len(p)) || d.Reason == "" {
				t.Fatalf("damage %+v of %d bytes", d, len(p))
			}
		}
	})
}
