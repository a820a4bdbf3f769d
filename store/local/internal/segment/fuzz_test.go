package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/storetest"
)

// FuzzReader reads files whose checksums are right whatever they hold: what a checksum lets pass by chance, or what another program
// wrote, gives ErrDamaged or rows that are sound, never a panic.
func FuzzReader(f *testing.F) {
	f.Add(write(f, 4, storetest.Batch(f, text)))
	f.Add(write(f, 0, storetest.Batch(f, text)))
	f.Add(write(f, 50, generated(100, load.FormOTLP)...))
	f.Add(write(f, 0, generated(60, load.FormZipkin)...))
	f.Fuzz(one)
}

func one(t *testing.T, p []byte) {
	if len(p) < headerSize+trailerSize {
		return
	}
	p = bytes.Clone(p)
	tail := p[len(p)-trailerSize:]
	if n := int(binary.LittleEndian.Uint32(tail)); n <= len(p)-headerSize-trailerSize {
		binary.LittleEndian.PutUint32(tail[4:], checksum(p[len(p)-trailerSize-n:len(p)-trailerSize]))
	}
	r, err := Open(p)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
		return
	}
	for i := range r.sections {
		r.verified[i].once.Do(func() {})
	}
	for i := range r.blocks {
		b := &r.blocks[i]
		b.sum = checksum(p[b.offset : b.offset+int64(b.length)])
	}
	filler := table.NewFiller(store.Everything())
	faults, err := r.Check(t.Context(), func(v *table.View, rows *Rows) error {
		for _, c := range rows.columns {
			for code := range uint32(c.Dict.Len()) {
				if c.Type.InArena() {
					c.Dict.Find(c.Dict.Append(nil, code))
				}
			}
		}
		return filler.Batch(v, nil, 0, v.Rows()).Check()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range faults {
		if x.Offset < 0 || x.Bytes < 0 || x.Offset+x.Bytes > int64(len(p)) {
			t.Fatalf("%+v of %d bytes", x, len(p))
		}
	}
}
