package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// folder is a bucket in a folder, on a network file system for one.
type folder struct{ dir string }

// tempSuffix ends files that are being written; they are no objects.
const tempSuffix = ".tmp"

func newFolder(l Location) (Bucket, error) {
	info, err := os.Stat(l.Folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: %w", ErrNoBucket, err)
	case err != nil:
		err = fileError(err)
	case !info.IsDir():
		err = fmt.Errorf("%w: it is not a folder", ErrNoBucket)
	}
	if err != nil {
		return nil, Problem(l, "open the folder", err)
	}
	return &folder{l.Folder}, nil
}

func (f *folder) String() string { return Location{Folder: f.dir}.String() }

func (f *folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

func (f *folder) Read(ctx context.Context, name string, off int64, n int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, fileError(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fileError(err)
	}
	p := make([]byte, min(int64(n), max(info.Size()-off, 0)))
	got, err := file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p[:got], nil
}

// temp writes a file beside a name.
func (f *folder) temp(ctx context.Context, name string, data io.Reader) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fileError(err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*"+tempSuffix)
	if err != nil {
		return "", fileError(err)
	}
	_, err = io.Copy(file, data)
	if err == nil {
		err = file.Chmod(0o644) // readers may be other users
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close(), ctx.Err()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

func (f *folder) Put(ctx context.Context, name string, data Content) error {
	for again := true; ; again = false {
		temp, err := f.temp(ctx, name, data)
		if err != nil {
			return err
		}
		err = os.Rename(temp, f.path(name))
		if again && errors.Is(err, fs.ErrNotExist) { // a writer that takes over swept it away, which it does once
			if _, err := data.Seek(0, io.SeekStart); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return errors.Join(fileError(err), os.Remove(temp))
		}
		return syncFolder(filepath.Dir(temp))
	}
}

// Create links a whole file to its name: of several one wins, and nobody sees half of it.
func (f *folder) Create(ctx context.Context, name string, data []byte) error {
	temp, err := f.temp(ctx, name, strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, f.path(name)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %w", ErrExists, err)
		}
		return fileError(err)
	}
	return syncFolder(filepath.Dir(temp))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fileError(err)
	}
	defer d.Close()
	return d.Sync()
}

func (f *folder) List(ctx context.Context, prefix, after string) (names []string, err error) {
	err = f.walk(ctx, prefix, func(name string) error {
		if !strings.HasSuffix(name, tempSuffix) && name > after {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	if err == nil {
		_, err = os.Stat(f.dir) // a volume that is not mounted is no empty bucket
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrNoBucket, err)
		}
	}
	return names, fileError(err)
}

// walk calls fn with the files whose names begin with a prefix, temporary ones too.
func (f *folder) walk(ctx context.Context, prefix string, fn func(name string) error) error {
	root := f.path(prefix[:strings.LastIndex(prefix, "/")+1])
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root && errors.Is(err, fs.ErrNotExist) {
				return fs.SkipAll
			}
			return err
		}
		if d.IsDir() {
			return ctx.Err()
		}
		rel, err := filepath.Rel(f.dir, path)
		if name := filepath.ToSlash(rel); err == nil && strings.HasPrefix(name, prefix) {
			return fn(name)
		}
		return err
	})
}

func (f *folder) Sweep(ctx context.Context, prefix string) (removed int, err error) {
	err = f.walk(ctx, prefix, func(name string) error {
		if !strings.HasSuffix(name, tempSuffix) {
			return nil
		}
		removed++
		return f.Remove(ctx, name)
	})
	return removed, fileError(err)
}

func (f *folder) Remove(_ context.Context, name string) error {
	err := os.Remove(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fileError(err)
}
