package opensearch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
	"github.com/spanloom/spanloom/store/remote"
)

// document is a document of small state as it is stored. A deleted one stays as a mark, so that its versions never come again.
type document struct {
	Tenant  string `json:"tenant"`
	Name    string `json:"name"`
	Version uint64 `json:"version"`
	Data    []byte `json:"data"`
	Deleted bool   `json:"deleted"`
}

// place is what the server says of a document's last change: Save names it, and the server refuses if there was another.
type place struct {
	Found  bool     `json:"found"`
	SeqNo  int64    `json:"_seq_no"`
	Term   int64    `json:"_primary_term"`
	Source document `json:"_source"`
}

func (e *Engine) documentPath(s store.Scope, name string) string {
	sum := sha256.Sum256([]byte(answer.Tenant(s.Tenant) + "\x00" + name))
	return "/" + e.prefix + "-documents/_doc/" + hex.EncodeToString(sum[:])
}

// Load reads a document; the caller owns the data.
func (e *Engine) Load(ctx context.Context, s store.Scope, name string) (store.Document, error) {
	p, err := e.place(ctx, s, name)
	if err != nil || !p.Found || p.Source.Deleted {
		return store.Document{}, err
	}
	if p.Source.Data == nil {
		p.Source.Data = []byte{}
	}
	return store.Document{Version: p.Source.Version, Data: p.Source.Data}, nil
}

func (e *Engine) place(ctx context.Context, s store.Scope, name string) (p place, err error) {
	if err := e.open(); err != nil {
		return p, err
	}
	_, err = e.client.json(ctx, http.MethodGet, e.documentPath(s, name), nil, &p)
	var said *refusal
	if errors.As(err, &said) && said.status == http.StatusNotFound {
		return place{}, nil
	}
	return p, explain(ctx, "load document "+name, err)
}

// Save writes a document if its version is still ifVersion, 0 for a new one.
func (e *Engine) Save(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) (uint64, error) {
	if err := answer.CheckDocument(name, data); err != nil {
		return 0, err
	}
	p, err := e.place(ctx, s, name)
	if err != nil {
		return 0, err
	}
	is := p.Source.Version
	if p.Source.Deleted {
		is = 0
	}
	if is != ifVersion {
		return 0, answer.Conflict(name, is, ifVersion)
	}
	version := p.Source.Version + 1
	return version, e.write(ctx, s, p, document{Tenant: answer.Tenant(s.Tenant), Name: name, Version: version, Data: data})
}

func (e *Engine) write(ctx context.Context, s store.Scope, p place, d document) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	path := e.documentPath(s, d.Name) + "?op_type=create"
	if p.Found {
		path = e.documentPath(s, d.Name) + "?if_seq_no=" + strconv.FormatInt(p.SeqNo, 10) + "&if_primary_term=" + strconv.FormatInt(p.Term, 10)
	}
	_, err = e.client.do(ctx, request{method: http.MethodPut, path: path, body: body, once: true})
	var said *refusal
	if errors.As(err, &said) && said.status == http.StatusConflict {
		return answer.StoredMeanwhile(d.Name, "somebody else changed it at the same moment")
	}
	return explain(ctx, "save document "+d.Name, err)
}

// Names lists documents by prefix, sorted.
func (e *Engine) Names(ctx context.Context, s store.Scope, prefix string) ([]string, error) {
	if err := e.open(); err != nil {
		return nil, err
	}
	index := "/" + e.prefix + "-documents"
	if _, err := e.client.json(ctx, http.MethodPost, index+"/_refresh?ignore_unavailable=true&allow_no_indices=true", nil, nil); err != nil {
		// Who may only read sees what was there some seconds ago.
		if ClassOf(err) != remote.Fatal {
			return nil, explain(ctx, "list documents", err)
		}
	}
	tenant, err := json.Marshal(answer.Tenant(s.Tenant))
	if err != nil {
		return nil, err
	}
	query := all(term("tenant", string(tenant)), term("deleted", "false"))
	var list []string
	after := ""
	for {
		var c cost
		f, err := e.find(ctx, index+"/_search"+onAll, fmt.Sprintf(`{"size":1000,"track_total_hits":false,"_source":false,"sort":["name"],"query":%s%s}`, query, after), &c)
		if err != nil {
			return nil, explain(ctx, "list documents", err)
		}
		for _, h := range f.Hits.Hits {
			var name [1]string
			if err := json.Unmarshal(h.Sort, &name); err != nil {
				return nil, fmt.Errorf("list documents: %w", err)
			}
			if strings.HasPrefix(name[0], prefix) {
				list = append(list, name[0])
			}
			after = `,"search_after":` + string(h.Sort)
		}
		if len(f.Hits.Hits) < 1000 {
			return list, nil
		}
	}
}

// Delete removes a document.
func (e *Engine) Delete(ctx context.Context, s store.Scope, name string) error {
	p, err := e.place(ctx, s, name)
	if err != nil || !p.Found || p.Source.Deleted {
		return err
	}
	return e.write(ctx, s, p, document{Tenant: answer.Tenant(s.Tenant), Name: name, Version: p.Source.Version + 1, Deleted: true})
}

// Keep is not here: a kept trace would need documents that outlive their index.
func (e *Engine) Keep(context.Context, store.Scope, span.TraceID, int64) error {
	return problem.New(problem.Unsupported, "this engine keeps no traces beyond retention", "raise --retention")
}
