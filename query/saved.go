package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
)

// SavedSearch is a search that people gave a name, for all readers of a tenant.
type SavedSearch struct {
	Name  string `json:"name"`  // 1 to 100 characters, different from all others
	Query string `json:"query"` // what stands behind the ? of the search page; its form is the UI's affair
}

// savedDocument is the Meta document: {"version":1,"items":[{"name":"slow checkouts","query":"q=..."}]}.
const savedDocument = "saved-searches"

// Bounds of what is saved: all of it fits into a Meta document.
const (
	maxSaved      = 200
	maxSavedName  = 100  // characters
	maxSavedQuery = 4096 // bytes
)

type savedPage struct {
	Version int           `json:"version"`
	Items   []SavedSearch `json:"items"`
}

// SavedSearches answers what is saved, in the order it was saved in, and its version for SaveSearches; 0 before the first time.
func (q *Query) SavedSearches(ctx context.Context, s store.Scope) ([]SavedSearch, uint64, error) {
	if err := q.keepsSearches(); err != nil {
		return nil, 0, err
	}
	s.MustMatch = nil // small state belongs to the tenant
	doc, err := q.meta.Load(ctx, s, savedDocument)
	if err != nil {
		return nil, 0, fmt.Errorf("load document %s: %w", savedDocument, err)
	}
	var page savedPage
	if len(doc.Data) > 0 {
		if err := json.Unmarshal(doc.Data, &page); err != nil {
			return nil, 0, fmt.Errorf("read document %s: %w", savedDocument, err)
		}
	}
	return page.Items, doc.Version, nil
}

// SaveSearches replaces the list if its version is still ifVersion, and answers the new version. Where someone else was faster the
// error is Invalid on the field ifVersion and wraps store.ErrConflict: read again, change that, save again.
func (q *Query) SaveSearches(ctx context.Context, s store.Scope, items []SavedSearch, ifVersion uint64) (uint64, error) {
	if err := q.keepsSearches(); err != nil {
		return 0, err
	}
	if err := checkSaved(items); err != nil {
		return 0, err
	}
	s.MustMatch = nil
	data, err := json.Marshal(savedPage{1, items})
	if err != nil {
		return 0, err
	}
	if len(data) > store.MaxDocument {
		return 0, problem.New(problem.TooLarge, fmt.Sprintf("the saved searches take %d bytes together", len(data)), fmt.Sprintf("delete some: %d bytes is the most", store.MaxDocument))
	}
	version, err := q.meta.Save(ctx, s, savedDocument, data, ifVersion)
	if errors.Is(err, store.ErrConflict) {
		return 0, &problem.Problem{Kind: problem.Invalid, Field: "ifVersion", Message: fmt.Sprintf("version %d is not the newest", ifVersion), Hint: "read the saved searches again and repeat the change", Err: err}
	}
	if err != nil {
		return 0, fmt.Errorf("save document %s: %w", savedDocument, err)
	}
	return version, nil
}

func (q *Query) keepsSearches() error {
	if q.meta == nil || !q.store.Can().CompareAndSet {
		return problem.New(problem.Unsupported, "this store does not keep searches", "keep the link instead: it holds the whole search")
	}
	return nil
}

func checkSaved(items []SavedSearch) error {
	if len(items) > maxSaved {
		return problem.New(problem.TooLarge, fmt.Sprintf("%d searches", len(items)), fmt.Sprintf("keep at most %d", maxSaved))
	}
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		field := func(part string) string { return fmt.Sprintf("items[%d].%s", i, part) }
		switch n := utf8.RuneCountInString(item.Name); {
		case strings.TrimSpace(item.Name) == "" || n > maxSavedName || !utf8.ValidString(item.Name):
			return &problem.Problem{Kind: problem.Invalid, Field: field("name"), Message: fmt.Sprintf("%.100q is no name", item.Name), Hint: fmt.Sprintf("give 1 to %d characters", maxSavedName)}
		case seen[item.Name]:
			return &problem.Problem{Kind: problem.Invalid, Field: field("name"), Message: fmt.Sprintf("%.100q is given twice", item.Name), Hint: "names are different from each other"}
		case len(item.Query) > maxSavedQuery || !utf8.ValidString(item.Query):
			return &problem.Problem{Kind: problem.Invalid, Field: field("query"), Message: fmt.Sprintf("the query has %d bytes", len(item.Query)), Hint: fmt.Sprintf("at most %d bytes of UTF-8", maxSavedQuery)}
		}
		seen[item.Name] = true
	}
	return nil
}
