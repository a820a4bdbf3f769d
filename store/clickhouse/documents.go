package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/answer"
)

// Documents are rows of which the highest version counts; versions are of the clock, so that a deleted document never has one again
// that it had. Save compares before it writes, which is exact against this process's own earlier writes and not against
// another process's at the same moment: Can().CompareAndSet is false.

// documents asks the first shard, where they stand.
func (e *Engine) documents(ctx context.Context, q ch.Query) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.shards[0].do(ctx, q)
}

// Load reads a document; the caller owns the data.
func (e *Engine) Load(ctx context.Context, s store.Scope, name string) (store.Document, error) {
	doc, deleted, err := e.newest(ctx, s, name)
	if err != nil || deleted {
		return store.Document{}, err
	}
	return doc, nil
}

// newest is the newest version of a document, also if that says it is deleted.
func (e *Engine) newest(ctx context.Context, s store.Scope, name string) (doc store.Document, deleted bool, err error) {
	if err := e.open(); err != nil || e.noDocuments != "" {
		return doc, false, err
	}
	var version proto.ColUInt64
	var data proto.ColStr
	var gone proto.ColUInt8
	err = e.documents(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT Version, Data, Deleted FROM %s WHERE Tenant = %s AND Name = %s ORDER BY Version DESC LIMIT 1",
			e.table(e.layout.documents()), quote(answer.Tenant(s.Tenant)), quote(name)),
		Result: proto.Results{{Data: &version}, {Data: &data}, {Data: &gone}},
		OnResult: func(context.Context, proto.Block) error {
			if len(version) > 0 {
				doc = store.Document{Version: version[0], Data: append([]byte{}, data.RowBytes(0)...)}
				deleted = gone[0] == 1
			}
			return nil
		},
	})
	return doc, deleted, explain(ctx, "load document "+name, err)
}

// Save writes a document if its version is still ifVersion, 0 for a new one.
func (e *Engine) Save(ctx context.Context, s store.Scope, name string, data []byte, ifVersion uint64) (uint64, error) {
	if err := answer.CheckDocument(name, data); err != nil {
		return 0, err
	}
	old, deleted, err := e.newest(ctx, s, name)
	if err != nil {
		return 0, err
	}
	is := old.Version
	if deleted {
		is = 0
	}
	if is != ifVersion {
		return 0, answer.Conflict(name, is, ifVersion)
	}
	version := max(old.Version+1, uint64(time.Now().UnixNano()))
	return version, e.write(ctx, s, name, version, data, 0)
}

func (e *Engine) write(ctx context.Context, s store.Scope, name string, version uint64, data []byte, deleted uint8) error {
	if e.noDocuments != "" {
		return problem.New(problem.Unsupported, "documents are not kept: "+e.noDocuments, "grant the right, or apply `spanloom store schema` yourself, and restart")
	}
	tenant, texts := newWords(), [2]proto.ColStr{}
	tenant.add([]byte(answer.Tenant(s.Tenant)))
	texts[0].Append(name)
	texts[1].AppendBytes(data)
	in := proto.Input{{Name: "Tenant", Data: tenant}, {Name: "Name", Data: texts[0]}, {Name: "Version", Data: proto.ColUInt64{version}},
		{Name: "Data", Data: texts[1]}, {Name: "Deleted", Data: proto.ColUInt8{deleted}}}
	err := e.documents(ctx, ch.Query{Body: into(e.table(e.layout.documents()), in), Input: in})
	return explain(ctx, "save document "+name, err)
}

// Names lists documents by prefix, sorted.
func (e *Engine) Names(ctx context.Context, s store.Scope, prefix string) ([]string, error) {
	if err := e.open(); err != nil || e.noDocuments != "" {
		return nil, err
	}
	var list []string
	var names proto.ColStr
	err := e.documents(ctx, ch.Query{
		Body: fmt.Sprintf("SELECT Name FROM %s WHERE Tenant = %s AND startsWith(Name, %s) GROUP BY Name HAVING argMax(Deleted, Version) = 0 ORDER BY Name",
			e.table(e.layout.documents()), quote(answer.Tenant(s.Tenant)), quote(prefix)),
		Result: proto.Results{{Data: &names}},
		OnResult: func(context.Context, proto.Block) error {
			for i := range names.Rows() {
				list = append(list, names.Row(i))
			}
			return nil
		},
	})
	return list, explain(ctx, "list documents", err)
}

// Delete removes a document.
func (e *Engine) Delete(ctx context.Context, s store.Scope, name string) error {
	old, deleted, err := e.newest(ctx, s, name)
	if err != nil || deleted || old.Version == 0 {
		return err
	}
	return e.write(ctx, s, name, max(old.Version+1, uint64(time.Now().UnixNano())), nil, 1)
}

// Keep is not here yet: a kept trace would need rows that outlive their partition.
func (e *Engine) Keep(context.Context, store.Scope, span.TraceID, int64) error {
	return problem.New(problem.Unsupported, "this engine keeps no traces beyond retention", "raise --retention")
}
