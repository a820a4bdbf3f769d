package opensearch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
)

// SchemaVersion is the version this build writes.
const SchemaVersion = 1

// spansTemplate is the template of the daily indices. `whole` is the span, which answers are made of; it is a stored field and the
// document's source is not kept beside it. All other fields are for conditions, order and counts:
//
//	trace, low    trace id and its lower half, hex; span, parent: ids, hex, parent empty for roots
//	at, end       effective start and end, ns since the epoch; duration in ns
//	keys          owner, type and key of every attribute, a word each: "s1http.method"
//	attrs         owner, key and text of the scalar values: "shttp.method=GET"
//	httpStatus, grpcStatus   the status codes of span attributes as numbers: people ask for 500 and above
//	events        names of events
//	writer, seq, row   who stored the document, in which batch, as which row
//
// Words longer than 256 bytes or not UTF-8 stand there as their hash.
const spansTemplate = `{
  "index_patterns": ["${prefix}-spans-*"],
  "priority": 500,
  "_meta": {"spanloom": ${version}},
  "template": {
    "aliases": {"${prefix}-spans": {}},
    "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "codec": "best_compression", "refresh_interval": "5s"}},
    "mappings": {
      "_meta": {"spanloom": ${version}},
      "dynamic": false,
      "_source": {"enabled": false},
      "properties": {
        "whole": {"type": "keyword", "index": false, "doc_values": false, "store": true},
        "tenant": {"type": "keyword", "doc_values": false},
        "trace": {"type": "keyword"},
        "low": {"type": "keyword", "doc_values": false},
        "span": {"type": "keyword", "doc_values": false},
        "parent": {"type": "keyword", "doc_values": false},
        "at": {"type": "long"},
        "end": {"type": "long", "doc_values": false},
        "duration": {"type": "long", "doc_values": false},
        "service": {"type": "keyword"},
        "group": {"type": "keyword"},
        "namespace": {"type": "keyword"},
        "name": {"type": "keyword"},
        "kind": {"type": "short"},
        "status": {"type": "short", "doc_values": false},
        "failed": {"type": "boolean", "doc_values": false},
        "message": {"type": "keyword"},
        "traceState": {"type": "keyword"},
        "scopeName": {"type": "keyword"},
        "scopeVersion": {"type": "keyword"},
        "keys": {"type": "keyword"},
        "attrs": {"type": "keyword", "doc_values": false},
        "httpStatus": {"type": "double", "doc_values": false},
        "grpcStatus": {"type": "double", "doc_values": false},
        "events": {"type": "keyword", "doc_values": false},
        "writer": {"type": "keyword"},
        "seq": {"type": "long"},
        "row": {"type": "integer"}
      }
    }
  }
}`

// documentsTemplate is the template of the index of small state: colours, the ledger.
const documentsTemplate = `{
  "index_patterns": ["${prefix}-documents"],
  "priority": 500,
  "_meta": {"spanloom": ${version}},
  "template": {
    "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}},
    "mappings": {
      "_meta": {"spanloom": ${version}},
      "dynamic": false,
      "properties": {
        "tenant": {"type": "keyword"},
        "name": {"type": "keyword", "ignore_above": 8191},
        "deleted": {"type": "boolean"}
      }
    }
  }
}`

// Template is an index template by name.
type Template struct{ Name, Body string }

// Schema is the templates that Spanloom creates with PUT _index_template/<name>.
func Schema(prefix string) []Template {
	fill := strings.NewReplacer("${prefix}", prefix, "${version}", fmt.Sprint(SchemaVersion)).Replace
	return []Template{{prefix + "-spans", fill(spansTemplate)}, {prefix + "-documents", fill(documentsTemplate)}}
}

// meta is the mark of Spanloom on templates and indices.
type meta struct {
	Version *int `json:"spanloom"`
}

func (e *Engine) check(what string, m meta) error {
	if m.Version == nil {
		return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url", Message: fmt.Sprintf("%s is there and is not Spanloom's", what),
			Hint: "name another index_prefix in --opensearch-url, or remove it"}
	}
	if *m.Version != SchemaVersion {
		return &problem.Problem{Kind: problem.Invalid, Field: "opensearch-url",
			Message: fmt.Sprintf("%s has schema %d, this Spanloom writes %d", what, *m.Version, SchemaVersion),
			Hint:    "run a Spanloom of at least that version, or name another index_prefix in --opensearch-url"}
	}
	return nil
}

// prepare checks what is there and creates the templates that are missing.
func (e *Engine) prepare(ctx context.Context) error {
	indices, err := e.indices(ctx, e.prefix+"-spans*,"+e.prefix+"-documents")
	if err != nil {
		return err
	}
	for name, m := range indices {
		if !strings.HasPrefix(name, e.prefix+"-spans-") && name != e.prefix+"-spans" && name != e.prefix+"-documents" {
			continue // the pattern finds spans2 too
		}
		if err := e.check("index "+name, m); err != nil {
			return err
		}
	}
	for _, t := range Schema(e.prefix) {
		m, found, err := e.template(ctx, t.Name)
		var said *refusal
		if errors.As(err, &said) && said.status == http.StatusForbidden && len(indices) > 0 {
			continue // who may not look at templates may use the indices that are there
		}
		if err != nil {
			return err
		}
		if found {
			if err := e.check("index template "+t.Name, m); err != nil {
				return err
			}
			continue
		}
		if _, err := e.client.json(ctx, http.MethodPut, "/_index_template/"+t.Name, t.Body, nil); err != nil {
			return fmt.Errorf("create index template %s: %w", t.Name, err)
		}
	}
	return nil
}

func (e *Engine) template(ctx context.Context, name string) (m meta, found bool, err error) {
	var answer struct {
		Templates []struct {
			Template struct {
				Meta meta `json:"_meta"`
			} `json:"index_template"`
		} `json:"index_templates"`
	}
	_, err = e.client.json(ctx, http.MethodGet, "/_index_template/"+name, nil, &answer)
	var said *refusal
	if errors.As(err, &said) && said.status == http.StatusNotFound {
		return m, false, nil
	}
	if err != nil || len(answer.Templates) == 0 {
		return m, false, err
	}
	return answer.Templates[0].Template.Meta, true, nil
}

// indices are the indices of a pattern with their marks.
func (e *Engine) indices(ctx context.Context, pattern string) (map[string]meta, error) {
	var answer map[string]struct {
		Mappings struct {
			Meta json.RawMessage `json:"_meta"`
		} `json:"mappings"`
	}
	if _, err := e.client.json(ctx, http.MethodGet, "/"+pattern+"/_mapping?ignore_unavailable=true&allow_no_indices=true", nil, &answer); err != nil {
		return nil, err
	}
	list := make(map[string]meta)
	for name, index := range answer {
		var m meta
		_ = json.Unmarshal(index.Mappings.Meta, &m) // a mark of another form is another's
		list[name] = m
	}
	return list, nil
}

// dayForm names the index of a day of receipt, UTC.
const dayForm = "2006.01.02"

func (e *Engine) index(received int64) string {
	return e.prefix + "-spans-" + time.Unix(0, received).UTC().Format(dayForm)
}

// everySpan is the pattern of all daily indices.
func (e *Engine) everySpan() string { return "/" + e.prefix + "-spans-*" }

// Expire drops the indices of days that ended longer ago than the retention, and answers their names. Several processes may do it at once.
func (e *Engine) Expire(ctx context.Context) (dropped []string, err error) {
	if e.retention <= 0 {
		return nil, nil
	}
	indices, err := e.indices(ctx, e.prefix+"-spans-*")
	if err != nil {
		return nil, explain(ctx, "look for old indices", err)
	}
	oldest := e.now().Add(-e.retention)
	for name, m := range indices {
		day, err := time.Parse(dayForm, strings.TrimPrefix(name, e.prefix+"-spans-"))
		if err != nil || m.Version == nil || day.AddDate(0, 0, 1).After(oldest) {
			continue
		}
		_, err = e.client.json(ctx, http.MethodDelete, "/"+name+"?ignore_unavailable=true", nil, nil)
		var said *refusal
		if errors.As(err, &said) && said.status == http.StatusNotFound {
			continue // another process dropped it meanwhile
		}
		if err != nil {
			return dropped, explain(ctx, "drop index "+name, err)
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// keepHouse expires at once and then every ten minutes.
func (e *Engine) keepHouse(ctx context.Context) {
	for {
		if _, err := e.Expire(ctx); err != nil && ctx.Err() == nil {
			e.log("old spans stay longer than --retention says", err)
		}
		if pause.For(ctx, 10*time.Minute) != nil {
			return
		}
	}
}
