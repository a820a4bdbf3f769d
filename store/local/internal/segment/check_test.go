package segment

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/load"
	"github.com/spanloom/spanloom/store/local/internal/table"
	"github.com/spanloom/spanloom/store/storetest"
)

func check(t *testing.T, p []byte) ([]Fault, int) {
	t.Helper()
	r, err := Open(p)
	if err != nil {
		return []Fault{{Reason: err.Error()}}, 0
	}
	rows := 0
	faults, err := r.Check(t.Context(), func(v *table.View, b *Rows) error {
		if rows += v.Rows(); b.Len() != v.Rows() {
			t.Errorf("%d rows of %d", v.Rows(), b.Len())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return faults, rows
}

func TestCheckOfSoundSegments(t *testing.T) {
	for what, p := range map[string][]byte{
		"text":             write(t, 0, storetest.Batch(t, text)),
		"text in blocks":   write(t, 2, storetest.Batch(t, text)),
		"traffic":          write(t, 0, generated(3000, load.FormOTLP)...),
		"zipkin in blocks": write(t, 100, generated(1000, load.FormZipkin)...),
	} {
		faults, rows := check(t, p)
		if r, _ := Open(p); len(faults) > 0 || rows != r.Info().Rows {
			t.Errorf("%s: %d rows of %d, %v", what, rows, r.Info().Rows, faults)
		}
	}
}

// TestCheckNamesEveryFlippedBit: nothing of a file is without a check.
func TestCheckNamesEveryFlippedBit(t *testing.T) {
	p := write(t, 4, storetest.Batch(t, text))
	for i := range p {
		p[i] ^= 1 << (i % 8)
		faults, _ := check(t, p)
		p[i] ^= 1 << (i % 8)
		if len(faults) == 0 {
			t.Errorf("byte %d of %d: not noticed", i, len(p))
		}
		for _, f := range faults {
			if f.Offset < 0 || f.Bytes < 0 || f.Offset+f.Bytes > int64(len(p)) || f.Reason == "" {
				t.Errorf("byte %d: %+v", i, f)
			}
		}
	}
}

// TestCheckFindsWhatChecksumsDoNot: a writer that is wrong gives good checksums.
func TestCheckFindsWhatChecksumsDoNot(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(r *Reader)
		want  string
	}{
		"filter of a block": {func(r *Reader) { clear(section(r, sectionFilters)[fuseHead:r.blocks[0].filterLength]) }, "the filter of block 0 does not know"},
		"filter of traces":  {func(r *Reader) { clear(section(r, sectionTraceFilter)) }, "the filter does not know trace"},
		"list of traces":    {func(r *Reader) { section(r, sectionTraces)[0] ^= 0xff }, "the filter does not know trace"},
		"times of a block":  {func(r *Reader) { r.blocks[1].MaxEnd++ }, "the footer says other times of block 1"},
		"times of all":      {func(r *Reader) { r.info.MinStart++ }, "footer says other times than its blocks"},
		"longest":           {func(r *Reader) { r.blocks[0].MaxDuration-- }, "the footer says other times of block 0"},
		"receipt":           {func(r *Reader) { r.info.MaxReceived, r.info.MinReceived = 2, 1 }, "was received outside"},
	} {
		p := write(t, 4, storetest.Batch(t, text))
		r, err := Open(p)
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(r)
		faults, err := r.Check(t.Context(), nil)
		if err != nil || !slices.ContainsFunc(faults, func(f Fault) bool { return strings.Contains(f.Reason, c.want) }) {
			t.Errorf("%s: %v, %v", what, faults, err)
		}
	}
}

// section is the bytes of a section, with the checksum that they will have.
func section(r *Reader, i int) []byte {
	r.verified[i].once.Do(func() {})
	s := r.sections[i]
	return r.p[s.off : s.off+int64(s.length)]
}

func TestCheckEndsWithItsCaller(t *testing.T) {
	r, err := Open(write(t, 4, storetest.Batch(t, text)))
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	if _, err := r.Check(t.Context(), func(*table.View, *Rows) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestCheckCountsTheRows(t *testing.T) {
	tab := table.New(0)
	tab.Append(storetest.Batch(t, text))
	for what, spoil := range map[string]func(w *Writer, k groupKey){
		"spans are counted of":  func(w *Writer, k groupKey) { w.groups[k] = groupCount{w.groups[k].n + 1, w.groups[k].last} },
		"spans are not counted": func(w *Writer, k groupKey) { delete(w.groups, k) },
	} {
		var out bytes.Buffer
		w := NewWriter(&out)
		if err := WriteTable(t.Context(), w, tab, 0, nil); err != nil {
			t.Fatal(err)
		}
		for k := range w.groups {
			spoil(w, k)
			break
		}
		if _, err := w.Finish(nil); err != nil {
			t.Fatal(err)
		}
		if faults, _ := check(t, out.Bytes()); len(faults) != 1 || !strings.Contains(faults[0].Reason, what) {
			t.Errorf("%s: %v", what, faults)
		}
	}
}
