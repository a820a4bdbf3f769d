package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/local/internal/audit"
	"github.com/spanloom/spanloom/store/wal"
)

// Report is what Fsck found. File names are relative to the data folder.
type Report struct {
	Dir      string        `json:"dir"`
	Files    []CheckedFile `json:"files"`
	Frames   int           `json:"frames"`
	Segments int           `json:"segments"`
	Spans    int           `json:"spans"`
	Bytes    int64         `json:"bytes"`
	Damage   []Damage      `json:"damage"`
	Repaired bool          `json:"repaired"`
	Rolled   int           `json:"rolled,omitempty"` // segments whose rollups were counted anew
}

// CheckedFile is one file of ours.
type CheckedFile struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // log, kept, document, manifest, segment
	Bytes  int64  `json:"bytes"`
	Frames int    `json:"frames,omitempty"`
	Spans  int    `json:"spans,omitempty"`
	// Torn is where a log file or the manifest ends within a frame or record, 0 if it doesn't: what was being written when the process or the power
	// went, or is being written now. It was never acknowledged; the next start cuts it off. It is no damage.
	Torn int64 `json:"torn,omitempty"`
	// Stray is a segment that the manifest doesn't name: a flush or compaction that was not finished, or one that is replaced. Its spans
	// don't count, the next start removes it. It is no damage.
	Stray  bool   `json:"stray,omitempty"`
	Aside  string `json:"aside,omitempty"`  // what repair named it, or the copy of it
	Mended string `json:"mended,omitempty"` // the segment that repair wrote what could be read into
}

// Damage is a part that could not be read.
type Damage struct {
	File     string `json:"file"`
	Offset   int64  `json:"offset"`
	Bytes    int64  `json:"bytes"`
	Sequence uint64 `json:"sequence,omitempty"` // of the frame; 0 if not known
	Spans    int    `json:"spans,omitempty"`    // lost; 0 if not known
	Reason   string `json:"reason"`
	Newer    bool   `json:"newer,omitempty"` // a newer version wrote it; repair leaves it alone
}

// String says it in one line.
func (d Damage) String() string { return wal.Damage(d).String() }

// Clean reports whether everything could be read.
func (r Report) Clean() bool { return len(r.Damage) == 0 }

// Fsck reads every file of a data folder and names what is damaged, while a server runs on it or not. With repair it sets bad
// things aside, nothing is deleted: of a log file with bad frames a copy, ending in .bad, of which a file with the good frames
// takes the place; a bad segment as a whole, after what its good blocks hold was written into a new one; a bad document as a whole.
// A manifest that is damaged or missing is written again from the segments' footers. Repair needs the folder for itself. A nil fsys
// is the operating system's.
func Fsck(ctx context.Context, fsys faultfs.FS, dir string, repair bool) (Report, error) {
	return fsck(ctx, fsys, dir, audit.Options{Repair: repair})
}

// FsckRollups is Fsck with repair that also counts the rollups of every segment anew.
func FsckRollups(ctx context.Context, fsys faultfs.FS, dir string) (Report, error) {
	return fsck(ctx, fsys, dir, audit.Options{Repair: true, Rollups: true})
}

func fsck(ctx context.Context, fsys faultfs.FS, dir string, o audit.Options) (r Report, err error) {
	o.Now = time.Now
	if fsys == nil {
		fsys = faultfs.OS{}
	}
	r.Dir = dir
	if _, err := fsys.ReadDir(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return r, &problem.Problem{Kind: problem.NotFound, Field: "--data-dir", Message: dir + " does not exist", Hint: "give the folder that serve was started with"}
		}
		return r, wal.FolderProblem(dir, err)
	}
	if o.Repair {
		lock, err := wal.LockFolder(ctx, fsys, dir, -1, nil)
		if err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
		r.Repaired = true
	}
	segments := func(ctx context.Context, fsys faultfs.FS) error { return r.checkSegments(ctx, fsys, o) }
	for _, step := range []func(context.Context, faultfs.FS) error{r.checkLog, segments, r.checkKept, r.checkDocuments} {
		if err := step(ctx, fsys); err != nil && !errors.Is(err, fs.ErrNotExist) { // a folder that was never made
			return r, wal.FolderProblem(dir, err)
		}
	}
	return r, nil
}

func (r *Report) checkLog(ctx context.Context, fsys faultfs.FS) error {
	checks, err := wal.CheckDir(ctx, fsys, filepath.Join(tenantDir(r.Dir), logDir))
	for _, c := range checks {
		if err := r.add(fsys, "log", c); err != nil {
			return err
		}
	}
	return err
}

func (r *Report) checkSegments(ctx context.Context, fsys faultfs.FS, o audit.Options) error {
	first, err := wal.FirstIn(fsys, filepath.Join(tenantDir(r.Dir), logDir))
	if err != nil {
		return err
	}
	o.LogFirst = first
	got, err := audit.Check(ctx, fsys, filepath.Join(tenantDir(r.Dir), segDir), o)
	for _, d := range got.Damage {
		d.File = r.relative(d.File)
		r.Damage = append(r.Damage, Damage(d))
	}
	for _, f := range got.Files {
		c := CheckedFile{Name: r.relative(f.Name), Kind: f.Kind, Bytes: f.Bytes, Spans: f.Rows, Torn: f.Torn, Stray: f.Stray}
		if f.Aside != "" {
			c.Aside = r.relative(f.Aside)
		}
		if f.Mended != "" {
			c.Mended = r.relative(f.Mended)
		}
		if f.Kind == "segment" && !f.Stray {
			r.Segments++
			r.Spans += f.Rows
		}
		r.Bytes += f.Bytes
		r.Files = append(r.Files, c)
	}
	r.Rolled += got.Rolled
	return err
}

func (r *Report) checkKept(ctx context.Context, fsys faultfs.FS) error {
	return r.each(ctx, fsys, keptDir, keptSuffix, func(name, path string) error {
		if id, err := span.ParseTraceID(name); err != nil || id.String() != name {
			return nil
		}
		c, err := wal.CheckFile(fsys, path, false)
		if err != nil {
			return err
		}
		if c.Torn != 0 || c.Frames == 0 && len(c.Damage) == 0 { // it took its place as a whole: this is no write under way
			c.Damage = append(c.Damage, wal.Damage{File: path, Offset: c.Torn, Bytes: c.Bytes - c.Torn, Reason: "the file ends within a frame"})
			c.Torn = 0
		}
		return r.add(fsys, "kept", c)
	})
}

func (r *Report) checkDocuments(ctx context.Context, fsys faultfs.FS) error {
	return r.each(ctx, fsys, metaDir, docSuffix, func(name, path string) error {
		if _, err := unescape(name); err != nil && name != versionsName {
			return nil
		}
		info, err := fsys.Stat(path)
		if err != nil {
			return err
		}
		f := CheckedFile{Name: r.relative(path), Kind: "document", Bytes: info.Size()}
		if _, err := readDocument(fsys, path); err != nil {
			if isIO(err) {
				return err
			}
			r.Damage = append(r.Damage, Damage{File: f.Name, Bytes: f.Bytes, Reason: err.Error()})
			if r.Repaired && !errors.Is(err, wal.ErrNewer) {
				if f.Aside, err = setAside(fsys, path); err != nil {
					return err
				}
				f.Aside = r.relative(f.Aside)
			}
		}
		r.Bytes += f.Bytes
		r.Files = append(r.Files, f)
		return nil
	})
}

// isIO tells a failing disk from bad content.
func isIO(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// each walks over the files with a suffix in one of the tenant's folders.
func (r *Report) each(ctx context.Context, fsys faultfs.FS, sub, suffix string, do func(name, path string) error) error {
	dir := filepath.Join(tenantDir(r.Dir), sub)
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || e.IsDir() {
			continue
		}
		if err := errors.Join(ctx.Err(), do(name, filepath.Join(dir, e.Name()))); err != nil {
			return err
		}
	}
	return nil
}

// add takes over what was found in one file of frames, and repairs it if that is wanted.
func (r *Report) add(fsys faultfs.FS, kind string, c wal.Check) error {
	f := CheckedFile{Name: r.relative(c.File), Kind: kind, Bytes: c.Bytes, Frames: c.Frames, Spans: c.Spans, Torn: c.Torn}
	newer := false
	for _, d := range c.Damage {
		d.File = f.Name
		r.Damage = append(r.Damage, Damage(d))
		newer = newer || d.Newer
	}
	if len(c.Damage) > 0 && r.Repaired && !newer {
		set := wal.Repair
		if kind == "kept" && c.Frames == 0 { // nothing is left that a file could hold
			set = setAside
		}
		aside, err := set(fsys, c.File)
		if err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		f.Aside = r.relative(aside)
	}
	r.Frames += f.Frames
	r.Spans += f.Spans
	r.Bytes += f.Bytes
	r.Files = append(r.Files, f)
	return nil
}

func (r *Report) relative(path string) string {
	if rel, err := filepath.Rel(r.Dir, path); err == nil {
		return rel
	}
	return path
}

// setAside renames a file to a name nobody reads.
func setAside(fsys faultfs.FS, path string) (string, error) {
	aside := wal.AsideName(fsys, path)
	if err := fsys.Rename(path, aside); err != nil {
		return "", err
	}
	return aside, fsys.SyncDir(filepath.Dir(path))
}
