package local

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/mem"
	"github.com/spanloom/spanloom/store/wal"
)

// documents are mem's, each written to a file before memory shows it.
type documents struct {
	*mem.Documents // answers Load and Names
	fs             faultfs.FS
	dir            string
	damaged        []string

	mu      sync.Mutex // one write at a time
	version uint64     // highest ever given
	sizes   map[string]int64
	total   atomic.Int64
}

const (
	docMagic   = "spandoc\n"
	docVersion = 1
	docHeader  = 24 // magic, version, 0, length, version of the document
	docSuffix  = ".doc"
	// versionsName holds the highest version of documents that were deleted, so that none gets a version it had before. No
	// document has this name: escape never gives a leading dot.
	versionsName = ".versions"
)

func openDocuments(fsys faultfs.FS, dir string, in *mem.Documents) (*documents, error) {
	d := &documents{Documents: in, fs: fsys, dir: dir, sizes: make(map[string]int64)}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasSuffix(e.Name(), docSuffix+wal.TempSuffix) {
			if err := fsys.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		file, ok := strings.CutSuffix(e.Name(), docSuffix)
		name, err := unescape(file)
		if !ok || err != nil && file != versionsName {
			continue
		}
		doc, err := readDocument(fsys, path)
		if errors.Is(err, wal.ErrNewer) {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if err != nil {
			d.damaged = append(d.damaged, fmt.Sprintf("%s: %v", path, err))
			continue
		}
		d.version = max(d.version, doc.Version)
		if file == versionsName {
			continue
		}
		in.Restore(name, doc)
		d.size(name, int64(len(doc.Data))+docHeader+4)
	}
	// Memory counts on from there as well: from a document that never was.
	in.Restore(versionsName, store.Document{Version: d.version})
	return d, in.Delete(context.Background(), defaultScope(), versionsName)
}

// Save implements store.Meta.
func (d *documents) Save(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.Refuse(ctx, s, name, data, ifVersion); err != nil {
		return 0, err
	}
	doc := store.Document{Version: d.version + 1, Data: data}
	if err := wal.Replace(d.fs, d.path(escape(name)), appendDocument(nil, doc)); err != nil {
		return 0, metaProblem(name, err)
	}
	d.size(name, int64(len(data))+docHeader+4)
	version, err := d.Documents.Save(ctx, s, name, data, ifVersion)
	if err == nil {
		d.version = version
	}
	return version, err
}

// Delete implements store.Meta.
func (d *documents) Delete(ctx context.Context, s store.Scope, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, err := d.Load(ctx, s, name)
	if err != nil || old.Version == 0 {
		return err
	}
	if err := wal.Replace(d.fs, d.path(versionsName), appendDocument(nil, store.Document{Version: d.version})); err != nil {
		return metaProblem(name, err)
	}
	err = d.fs.Remove(d.path(escape(name)))
	if errors.Is(err, fs.ErrNotExist) { // a delete whose folder could not be synced, again
		err = nil
	}
	if err == nil {
		err = d.fs.SyncDir(d.dir)
	}
	if err != nil {
		return metaProblem(name, err)
	}
	d.size(name, 0)
	return d.Documents.Delete(ctx, s, name)
}

func (d *documents) path(file string) string { return filepath.Join(d.dir, file+docSuffix) }

func (d *documents) size(name string, n int64) {
	d.total.Add(n - d.sizes[name])
	if d.sizes[name] = n; n == 0 {
		delete(d.sizes, name)
	}
}

// bytes is what the files hold.
func (d *documents) bytes() int64 { return d.total.Load() }

func defaultScope() store.Scope { return store.Scope{Tenant: store.DefaultTenant} }

func metaProblem(name string, err error) error {
	return &problem.Problem{Kind: problem.Unavailable, Field: name, Message: "the document could not be written", Err: err,
		Hint: "look at the disk under --data-dir (space, permissions, kernel log)"}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendDocument writes the form that docs/format/log.md draws.
func appendDocument(p []byte, doc store.Document) []byte {
	start := len(p)
	p = append(p, docMagic...)
	p = binary.LittleEndian.AppendUint16(p, docVersion)
	p = binary.LittleEndian.AppendUint16(p, 0)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(doc.Data)))
	p = binary.LittleEndian.AppendUint64(p, doc.Version)
	p = append(p, doc.Data...)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p[start:], castagnoli))
}

// parseDocument reads what appendDocument wrote.
func parseDocument(p []byte) (store.Document, error) {
	if len(p) < docHeader+4 || string(p[:8]) != docMagic {
		return store.Document{}, errors.New("not a document")
	}
	if sum := binary.LittleEndian.Uint32(p[len(p)-4:]); sum != crc32.Checksum(p[:len(p)-4], castagnoli) {
		return store.Document{}, errors.New("checksum of the document is wrong")
	}
	if v := binary.LittleEndian.Uint16(p[8:]); v != docVersion {
		return store.Document{}, fmt.Errorf("%w: document version %d, this one reads up to %d", wal.ErrNewer, v, docVersion)
	}
	data := p[docHeader : len(p)-4]
	if n := binary.LittleEndian.Uint32(p[12:]); int64(n) != int64(len(data)) {
		return store.Document{}, fmt.Errorf("%d bytes instead of %d", len(data), n)
	}
	return store.Document{Version: binary.LittleEndian.Uint64(p[16:]), Data: data}, nil
}

func readDocument(fsys faultfs.FS, path string) (store.Document, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return store.Document{}, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, docHeader+store.MaxDocument+5))
	if err != nil {
		return store.Document{}, err
	}
	return parseDocument(p)
}

// escape makes a file name of a document's name.
func escape(name string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

var errName = errors.New("not an escaped name")

// unescape is the inverse of escape, and refuses what escape would not have written.
func unescape(file string) (string, error) {
	var name []byte
	for i := 0; i < len(file); i++ {
		c := file[i]
		if c == '%' {
			if i+2 >= len(file) {
				return "", errName
			}
			high, low := strings.IndexByte("0123456789ABCDEF", file[i+1]), strings.IndexByte("0123456789ABCDEF", file[i+2])
			if high < 0 || low < 0 {
				return "", errName
			}
			c = byte(high<<4 | low)
			i += 2
		}
		name = append(name, c)
	}
	if len(name) == 0 || escape(string(name)) != file {
		return "", errName
	}
	return string(name), nil
}
