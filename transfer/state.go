package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spanloom/spanloom/internal/problem"
)

// state is how far an import has come: everything before it was stored.
type state struct {
	Import string `json:"import"` // tells the import: target, format, sources with their sizes and times
	Source int    `json:"source"` // index of the file at work
	Offset int64  `json:"offset"` // in it, after decompression; of Elasticsearch the startTime in microseconds
	Name   string `json:"name"`   // of the file, for readers
	Sent   int64  `json:"sent"`   // spans
	Since  int64  `json:"since"`  // Options.Since of the run that began it
}

// identity tells an import from another.
func identity(o *Options, files []file) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", o.To, o.Format, o.From)
	for _, f := range files {
		fmt.Fprintf(h, "%q %d %d\n", f.name, f.size, f.mtime)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// loadState reads the state file of an import; the zero state if there is none.
func loadState(path, id string, since int64) (state, error) {
	s := state{Import: id, Since: since}
	if path == "" {
		return s, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	var old state
	if err := json.Unmarshal(data, &old); err != nil || old.Import != id || old.Source < 0 || old.Offset < 0 {
		return s, &problem.Problem{Kind: problem.Invalid, Field: "--state", Message: path + " is of another import, or its files have changed", Hint: "delete it, or name another file"}
	}
	if old.Since > since { // -24h is another instant in each run, but a later one
		return s, &problem.Problem{Kind: problem.Invalid, Field: "--since", Message: "it is earlier than that of the import that " + path + " is of", Hint: "delete the file to begin anew"}
	}
	return old, nil
}

// save writes the state so that a crash leaves the old or the new one.
func (s state) save(path string) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
