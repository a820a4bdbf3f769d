package uiapi

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/store"
)

func (a *api) savedSearches(c *call) error {
	items, version, err := a.Query.SavedSearches(c.ctx, c.scope)
	if err != nil {
		return err
	}
	o := open(nil)
	o.list("items", len(items), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("name", items[i].Name)
		o.text("query", items[i].Query)
		return o.close()
	})
	o.int("version", int64(version))
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

func (a *api) saveSearches(c *call) error {
	body, err := readBody(c, 2*store.MaxDocument)
	if err != nil {
		return err
	}
	var request struct {
		Items     []query.SavedSearch `json:"items"`
		IfVersion *uint64             `json:"ifVersion"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&request); err != nil || request.IfVersion == nil {
		return &problem.Problem{Kind: problem.Invalid, Message: "the body is not the JSON it should be", Hint: `send {"items":[{"name":"…","query":"…"}],"ifVersion":0} with the version that was read`, Err: err}
	}
	version, err := a.Query.SaveSearches(c.ctx, c.scope, request.Items, *request.IfVersion)
	if err != nil {
		return err
	}
	o := open(nil)
	o.int("version", int64(version))
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}
