package uiapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/store"
)

const (
	exportPiece = 500         // spans a line, at most
	exportBytes = 4 << 20     // of the batch that a line is made of, about
	exportStall = time.Minute // in which a reader must take a line
)

// export answers every span of a window as lines of OTLP JSON. What fails after the first line is said in the last.
func (a *api) export(c *call) error {
	asked, err := c.question()
	if err != nil {
		return err
	}
	match, err := asked.onSpans()
	if err != nil {
		return err
	}
	if asked.TraceDuration != (query.Bounds{}) {
		return &problem.Problem{Kind: problem.Unsupported, Field: "filter", Message: "traceDuration is about whole traces, not about single spans", Hint: "leave it out"}
	}
	window, err := c.window()
	if err != nil {
		return err
	}
	control := http.NewResponseController(c.w)
	var zip *gzip.Writer
	began := false
	write := func(line []byte) error {
		if !began {
			began = true
			h := c.w.Header()
			h.Set("Content-Type", "application/x-ndjson")
			h.Add("Vary", "Accept-Encoding")
			if takesGzip(c.r) {
				h.Set("Content-Encoding", "gzip")
				zip = gzipWriters.Get().(*gzip.Writer)
				zip.Reset(c.w)
			}
			c.w.WriteHeader(http.StatusOK)
		}
		if c.r.Method == http.MethodHead {
			return nil
		}
		// The server's limit is for answers of seconds: each line has its own time to be taken. Not every writer has deadlines.
		_ = control.SetWriteDeadline(time.Now().Add(exportStall))
		if zip != nil {
			_, err := zip.Write(line)
			return err
		}
		_, err := c.w.Write(line)
		return err
	}
	defer func() {
		if zip != nil {
			_ = zip.Close() // a reader that went away
			gzipWriters.Put(zip)
		}
	}()
	var buf []byte
	var rows []int32
	spans := int64(0)
	err = a.Query.Export(c.ctx, c.scope, window, match, func(r store.Rows) error {
		if len(r.Rows) == 0 {
			return nil
		}
		size := min(max(exportBytes*r.Batch.Len()/max(r.Batch.Size(), 1), 1), exportPiece)
		for piece := range slices.Chunk(r.Rows, size) {
			rows = rows[:0]
			for _, row := range piece {
				rows = append(rows, int32(row))
			}
			buf = append(otlpjson.AppendTracesData(buf[:0], r.Batch, rows), '\n')
			if err := write(buf); err != nil {
				return err
			}
			spans += int64(len(piece))
		}
		return nil
	})
	if err != nil && !began {
		return err
	}
	if c.ctx.Err() != nil {
		return nil // the reader went away
	}
	o := open(buf[:0])
	o.text("type", "end")
	o.int("spans", spans)
	o.bool("complete", err == nil)
	if err != nil {
		o.key("error")
		o.out = appendProblem(o.out, a.told(c.r, err))
	}
	_ = write(append(o.close(), '\n'))
	return nil
}
