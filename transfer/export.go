package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/receive/otlp"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
)

// ExportOptions say which spans of a running Spanloom are wanted, and how. Server is required.
type ExportOptions struct {
	Server   string // base URL of UI and own API
	Token    string // bearer token of role read; empty for none
	From, To int64  // spans start in [From, To), ns; 0 is open
	TraceQL  string // one filter on spans; empty for all
	Format   Format // OTLPJSON (Detect too): lines of requests; Zipkin: lines of lists of spans, which lose what Zipkin cannot hold

	Client   *http.Client      // nil: one without a timeout
	Progress func(spans int64) // told after each line; nil: nobody is
}

// maxLine is the longest line of an export that is read.
const maxLine = maxRecord

// openEnd is an instant after all spans: the last that the own API takes.
const openEnd = 1<<63 - 1

// Export writes spans of a running Spanloom as lines of JSON. It answers their number, with an error unless the server said that these are all.
func Export(ctx context.Context, o ExportOptions, w io.Writer) (spans int64, err error) {
	if o.Client == nil {
		o.Client = &http.Client{}
	}
	if o.To == 0 {
		o.To = openEnd
	}
	q := url.Values{"start": {strconv.FormatInt(o.From, 10)}, "end": {strconv.FormatInt(o.To, 10)}}
	if o.TraceQL != "" {
		q.Set("q", o.TraceQL)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(o.Server, "/")+"/api/spanloom/v1/export?"+q.Encode(), nil)
	if err != nil {
		return 0, err
	}
	if o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+o.Token)
	}
	res, err := o.Client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w (is `spanloom serve` running there? see --server)", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, exportProblem(res)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 1<<20), maxLine)
	out := bufio.NewWriterSize(w, 256<<10)
	var x converter
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.HasPrefix(line, []byte(`{"type":"end"`)) {
			return endOfExport(line, spans, out.Flush())
		}
		n, err := x.convert(line, o.Format, out)
		if err != nil {
			return spans, err
		}
		spans += n
		if o.Progress != nil {
			o.Progress(spans)
		}
	}
	if err := lines.Err(); err != nil {
		return spans, fmt.Errorf("the export broke off: %w", err)
	}
	return spans, errors.New("the export broke off: the server did not say that it was at the end")
}

func endOfExport(line []byte, spans int64, flushed error) (int64, error) {
	var end struct {
		Spans    int64
		Complete bool
		Error    struct{ Message, Hint string }
	}
	switch err := json.Unmarshal(line, &end); {
	case err != nil:
		return spans, fmt.Errorf("the export's end: %w", err)
	case flushed != nil:
		return spans, flushed
	case !end.Complete:
		return spans, fmt.Errorf("the export is not complete: %s", strings.TrimSpace(end.Error.Message+" "+end.Error.Hint))
	case end.Spans != spans:
		return spans, fmt.Errorf("the export is not complete: %d spans came of %d", spans, end.Spans)
	}
	return spans, nil
}

func exportProblem(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var e struct {
		Error struct{ Message, Hint, Field string }
	}
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		return fmt.Errorf("%s answered %s (is that a Spanloom? see --server)", res.Request.URL.Host, res.Status)
	}
	return &problem.Problem{Kind: problem.Invalid, Field: e.Error.Field, Message: e.Error.Message, Hint: e.Error.Hint}
}

// converter decodes lines, to count their spans and to write them in another form.
type converter struct {
	otlp   otlp.Decoder
	batch  span.Batch
	zipkin zipkin.Encoder
	buf    []byte
}

func (x *converter) convert(line []byte, f Format, w io.Writer) (int64, error) {
	x.batch.Reset()
	if err := x.otlp.JSON(&x.batch, line); err != nil {
		return 0, fmt.Errorf("a line of the export: %w", err)
	}
	n := x.batch.Len()
	if f == Zipkin {
		x.buf = append(x.buf[:0], '[')
		for row := range n {
			if row > 0 {
				x.buf = append(x.buf, ',')
			}
			x.buf = x.zipkin.AppendJSONv2(x.buf, &x.batch, row)
		}
		x.buf = append(x.buf, ']', '\n')
	} else {
		x.buf = append(append(x.buf[:0], line...), '\n')
	}
	_, err := w.Write(x.buf)
	return int64(n), err
}
