package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
)

// Record is the backup of one apply: a folder with every object as it was before, as it was written, and record.json, which
// says how far the work is. It is on the disk before the first write, and after each step.
type Record struct {
	Version int       `json:"version"`
	Cluster string    `json:"cluster"` // uid of the namespace kube-system
	Server  string    `json:"server"`
	Started time.Time `json:"started"`
	State   State     `json:"state"`
	Steps   []*Step   `json:"steps"`

	dir string
}

// State of a record or of a step.
type State string

// The states. A step that is "writing" may be done or not: the object itself tells. "unneeded" is one that somebody else
// did, or that was never begun.
const (
	Pending   State = "planned"
	Writing   State = "writing"
	Done      State = "done"
	Unneeded  State = "unneeded"
	Returning State = "returning"
	Returned  State = "returned"
)

// Step is one object.
type Step struct {
	ID     ID     `json:"object"`
	How    how    `json:"how"`
	State  State  `json:"state"`
	Before string `json:"before,omitempty"` // the file with the object as it was; empty: it was not there
	After  string `json:"after,omitempty"`  // the file with the object as it was written, or as the dry run answered
	Note   string `json:"note,omitempty"`   // what the rollback left or made anew
}

const recordVersion = 1

// Name is the folder's.
func (r *Record) Name() string { return filepath.Base(r.dir) }

// Dir is the folder.
func (r *Record) Dir() string { return r.dir }

func newRecord(backups, cluster, server string, now time.Time) (*Record, error) {
	if err := os.MkdirAll(backups, 0o700); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--backup-dir", Message: fmt.Sprintf("%q cannot be made", backups), Hint: "give a folder that can be written: nothing is changed without a backup", Err: err}
	}
	r := &Record{Version: recordVersion, Cluster: cluster, Server: server, Started: now.UTC(), State: Pending}
	for i := 0; ; i++ {
		r.dir = filepath.Join(backups, now.UTC().Format("20060102T150405Z"))
		if i > 0 {
			r.dir += fmt.Sprintf("-%d", i+1)
		}
		err := os.Mkdir(r.dir, 0o700)
		if errors.Is(err, os.ErrExist) && i < 100 {
			continue
		}
		return r, err
	}
}

// save writes the record, and is back when it is on the disk.
func (r *Record) save() error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return durable(r.dir, "record.json", append(data, '\n'))
}

// keep writes an object into the folder and gives its file's name.
func (r *Record) keep(s *Step, which string, o Object) (string, error) {
	n := slices.Index(r.Steps, s) + 1
	name := strings.ToLower(fmt.Sprintf("%02d-%s-%s-%s.%s.yaml", n, s.ID.Kind, s.ID.Namespace, s.ID.Name, which))
	text, err := toYAML(o)
	if err != nil {
		return "", err
	}
	return name, durable(r.dir, name, []byte(text))
}

func durable(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("backup: %w", err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		folder, err := os.Open(d)
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return nil
}

// object reads one of the record's files; no name is no object.
func (r *Record) object(name string) (Object, error) {
	if name == "" {
		return nil, nil
	}
	if filepath.Base(name) != name {
		return nil, fmt.Errorf("backup %s: %q is no file of it", r.Name(), name)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		return nil, fmt.Errorf("backup %s: %w", r.Name(), err)
	}
	o, err := fromYAML(string(text))
	if err != nil {
		return nil, fmt.Errorf("backup %s: %s: %w", r.Name(), name, err)
	}
	return o, nil
}

func (r *Record) step(id ID) *Step {
	i := slices.IndexFunc(r.Steps, func(s *Step) bool {
		return s.ID.Kind == id.Kind && s.ID.Namespace == id.Namespace && s.ID.Name == id.Name
	})
	if i < 0 {
		return nil
	}
	return r.Steps[i]
}

func loadRecord(dir string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if err != nil {
		return nil, err
	}
	r := &Record{dir: dir}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("backup %s: record.json: %w", filepath.Base(dir), err)
	}
	if r.Version != recordVersion {
		return nil, problem.New(problem.Unsupported, fmt.Sprintf("backup %s has version %d", filepath.Base(dir), r.Version), "use the spanloom that made it")
	}
	return r, nil
}

// Records are those of a cluster, oldest first. A folder whose record was never finished began nothing and is left out.
func Records(backups, cluster string) ([]*Record, error) {
	dirs, err := os.ReadDir(backups)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []*Record
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		r, err := loadRecord(filepath.Join(backups, d.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.Cluster == cluster {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *Record) int { return a.Started.Compare(b.Started) })
	return out, nil
}

// lock keeps a second command of this machine out of the backups. The kernel takes it from a process that dies.
func lock(backups string) (release func(), err error) {
	if err := os.MkdirAll(backups, 0o700); err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--backup-dir", Message: fmt.Sprintf("%q cannot be made", backups), Hint: "give a folder that can be written: nothing is changed without a backup", Err: err}
	}
	f, err := os.OpenFile(filepath.Join(backups, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, problem.New(problem.Unavailable, "another `spanloom mesh` works with the backups in "+backups, "wait for it to end")
	}
	return func() { f.Close() }, nil
}
