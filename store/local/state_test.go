package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/storetest"
)

func checksumOf(p []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
}

func TestDocumentsSurvive(t *testing.T) {
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys})
	names := []string{"colours", "ledger/2026-01-01T00:00/a/1", ".hidden", "Ünïcode %", strings.Repeat("x", 60)}
	versions := map[string]uint64{}
	save := func(name, data string, if_ uint64) {
		t.Helper()
		v, err := e.Save(t.Context(), defaultScope(), name, []byte(data), if_)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		versions[name] = v
	}
	for _, name := range names {
		save(name, "first "+name, 0)
		save(name, "second "+name, versions[name])
	}
	save("gone", "x", 0)
	gone := versions["gone"]
	if err := e.Delete(t.Context(), defaultScope(), "gone"); err != nil {
		t.Fatal(err)
	}
	delete(versions, "gone")
	disk := e.Stats().DiskBytes
	mustClose(t, e)

	e = open(t, Options{FS: fsys})
	got, err := e.Names(t.Context(), defaultScope(), "")
	if err != nil || !slices.Equal(got, slices.Sorted(maps.Keys(versions))) {
		t.Errorf("names %q, %v", got, err)
	}
	for name, version := range versions {
		d, err := e.Load(t.Context(), defaultScope(), name)
		if err != nil || d.Version != version || string(d.Data) != "second "+name {
			t.Errorf("%s: %d %q, %v", name, d.Version, d.Data, err)
		}
		if _, err := e.Save(t.Context(), defaultScope(), name, nil, version-1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: saved over another version: %v", name, err)
		}
	}
	if now := e.Stats().DiskBytes; now != disk {
		t.Errorf("%d bytes on disk, before the restart %d", now, disk)
	}
	// A document that comes again must not have a version it had before, also across restarts.
	save("gone", "y", 0)
	if versions["gone"] <= gone {
		t.Errorf("version %d again after %d", versions["gone"], gone)
	}
	if err := e.Delete(t.Context(), defaultScope(), "never there"); err != nil {
		t.Error(err)
	}
}

func TestDamagedDocument(t *testing.T) {
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys})
	for _, name := range []string{"a", "b"} {
		if _, err := e.Save(t.Context(), defaultScope(), name, []byte("data"), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, e)
	if err := fsys.Flip("/data/default/meta/a.doc", 25*8); err != nil {
		t.Fatal(err)
	}
	e = open(t, Options{FS: fsys})
	if s := e.Stats(); len(s.Damaged) != 1 || !strings.Contains(s.Damaged[0], "a.doc") {
		t.Errorf("damaged: %v", s.Damaged)
	}
	if d, err := e.Load(t.Context(), defaultScope(), "a"); err != nil || d.Version != 0 {
		t.Errorf("a damaged document: %+v, %v", d, err)
	}
	if d, err := e.Load(t.Context(), defaultScope(), "b"); err != nil || string(d.Data) != "data" {
		t.Errorf("the other one: %+v, %v", d, err)
	}
	if _, err := e.Save(t.Context(), defaultScope(), "a", []byte("new"), 0); err != nil {
		t.Error(err)
	}
}

func TestNamesOfFiles(t *testing.T) {
	for name, file := range map[string]string{"a-b_c.d": "a-b_c.d", ".x": "%2Ex", "A/b": "%41%2Fb", "%": "%25", "ä": "%C3%A4"} {
		if got := escape(name); got != file {
			t.Errorf("escape %q: %q", name, got)
		}
		if got, err := unescape(file); err != nil || got != name {
			t.Errorf("unescape %q: %q, %v", file, got, err)
		}
	}
	for _, file := range []string{"", "A", "%", "%4", "%4g", "%61", "/", ".x", "%2e"} {
		if got, err := unescape(file); err == nil {
			t.Errorf("unescape %q: %q", file, got)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add(appendDocument(nil, store.Document{Version: 3, Data: []byte("data")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if doc, err := parseDocument(p); err == nil && len(doc.Data) > len(p) {
			t.Fatal("more data than bytes")
		}
	})
}

// TestKeptTraces: a kept trace outlives eviction, retention and restarts, with rows that came late, and ends at its time.
func TestKeptTraces(t *testing.T) {
	fsys, c := faultfs.NewMem(1), newClock()
	o := Options{FS: fsys, Now: c.Now, Retention: time.Hour, FileSize: 2000}
	e := open(t, o)
	accept := func(n int) {
		t.Helper()
		if err := e.Accept(t.Context(), numbered(n, c.Now())); err != nil {
			t.Fatal(err)
		}
	}
	count := func(n int) (rows int) {
		t.Helper()
		for b, err := range e.Trace(t.Context(), defaultScope(), traceOf(n), store.TimeRange{}) {
			if err != nil {
				t.Fatal(err)
			}
			rows += b.Len()
		}
		return rows
	}
	for n := range 3 {
		accept(n)
	}
	if err := e.Keep(t.Context(), defaultScope(), traceOf(99), 0); problem.Of(err).Kind != problem.NotFound {
		t.Errorf("an unknown trace: %v", err)
	}
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0); err != nil {
		t.Fatal(err)
	}
	until := c.Now().Add(100 * time.Hour).UnixNano()
	if err := e.Keep(t.Context(), defaultScope(), traceOf(1), until); err != nil {
		t.Fatal(err)
	}
	late := numbered(50, c.Now()) // another span of trace 0
	late.Keep(func(row int) bool { return row == 0 })
	late.TraceID[0] = traceOf(0)
	if err := e.Accept(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	for life := range 3 {
		for n := 3 + 40*life; n < 43+40*life; n++ {
			accept(n)
			c.Add(10 * time.Minute)
			if err := errors.Join(e.Flush(t.Context()), e.clean(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if a, b, gone := count(0), count(1), count(2); a != rows+1 || b != rows || gone != 0 {
			t.Fatalf("life %d: kept traces have %d and %d rows, another one %d", life, a, b, gone)
		}
		spans := e.Stats().Spans
		mustClose(t, e)
		e = open(t, o)
		if got := e.Stats().Spans; got > spans {
			t.Errorf("life %d: %d spans, before the restart %d", life, got, spans)
		}
		if a, b := count(0), count(1); a != rows+1 || b != rows {
			t.Fatalf("life %d: after the restart kept traces have %d and %d rows", life, a, b)
		}
	}
	c.Add(100 * time.Hour)
	accept(1000)
	if err := e.clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, e)
	e = open(t, o)
	if a, b := count(0), count(1); a != rows+1 || b != 0 {
		t.Errorf("after its time: kept for ever %d rows, kept for a while %d", a, b)
	}
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 1); err != nil { // ends it
		t.Fatal(err)
	}
	if files := fsys.Files(".kept"); len(files) != 0 {
		t.Errorf("files: %v", files)
	}
}

func TestKeepThatCannotBeWritten(t *testing.T) {
	fsys := faultfs.Inject(faultfs.NewMem(1), nil)
	e := open(t, Options{FS: fsys})
	if err := e.Accept(t.Context(), numbered(0, time.Unix(1790000000, 0))); err != nil {
		t.Fatal(err)
	}
	fsys.SetRule(faultfs.On(faultfs.OpSync, ".kept", fmt.Errorf("broken")))
	err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0)
	if p := problem.Of(err); p.Kind != problem.Unavailable {
		t.Errorf("got %v", err)
	}
	fsys.SetRule(nil)
	if err := e.Keep(t.Context(), defaultScope(), traceOf(0), 0); err != nil {
		t.Error(err)
	}
}

// TestLastCopyOfAKeptSpanWins sends a span of a kept trace again with another attribute: after a restart it must not be taken
// for the one that the kept file has.
func TestLastCopyOfAKeptSpanWins(t *testing.T) {
	fsys := faultfs.NewMem(1)
	e := open(t, Options{FS: fsys})
	send := func(text string) {
		t.Helper()
		if err := e.Accept(t.Context(), storetest.Batch(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	matched := func(v int64) int {
		t.Helper()
		q := store.Search{Limit: 5, Match: store.Cond{Field: store.Field{In: store.InSpan, Key: "v"}, Op: store.Eq, Value: store.Int(v)}}
		page, err := e.Search(t.Context(), defaultScope(), &q)
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Traces)
	}
	send("1 a - front server get 0s 1ms v=1")
	if err := e.Keep(t.Context(), defaultScope(), span.TraceIDFromUint64s(0, 1), 0); err != nil {
		t.Fatal(err)
	}
	send("1 a - front server get 0s 1ms v=2")
	for life := range 3 {
		if matched(1) != 0 || matched(2) != 1 {
			t.Errorf("life %d: %d traces with the copy that lost, %d with the last one", life, matched(1), matched(2))
		}
		mustClose(t, e)
		e = open(t, Options{FS: fsys})
	}
}

// TestDocumentsAreBounded: documents take an eighth of the memory budget at most, and one that is refused is not there after a restart.
func TestDocumentsAreBounded(t *testing.T) {
	o := Options{FS: faultfs.NewMem(1), MaxMemory: 1 << 20}
	e := open(t, o)
	data := make([]byte, store.MaxDocument)
	if _, err := e.Save(t.Context(), defaultScope(), "a", data, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Save(t.Context(), defaultScope(), "b", data, 0); problem.Of(err).Kind != problem.TooLarge {
		t.Errorf("128 KiB of documents in a budget of 1 MiB: %v", err)
	}
	mustClose(t, e)
	e = open(t, o)
	if doc, err := e.Load(t.Context(), defaultScope(), "b"); err != nil || doc.Version != 0 {
		t.Errorf("the refused document has version %d: %v", doc.Version, err)
	}
}
