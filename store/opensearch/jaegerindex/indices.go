package jaegerindex

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store"
	"github.com/spanloom/spanloom/store/opensearch"
)

// indices are those of one question.
type indices struct {
	path string   // /names; empty if there are none
	bad  []string // those that are not as Jaeger maps them, with why
}

// shape is what a mapping of Jaeger's has.
type shape struct {
	Mappings struct {
		Source     struct{ Enabled *bool } `json:"_source"`
		Properties struct {
			TraceID, OperationName, SpanID, StartTime, Duration, Tags, Logs, References struct{ Type string }
			Process                                                                     struct {
				Properties struct {
					ServiceName, Tags struct{ Type string }
				}
			}
		}
	}
}

// shapePaths are the parts of mappings that are asked for: with tags as fields a mapping has thousands.
const shapePaths = "*.mappings._source.enabled,*.mappings.properties.traceID.type,*.mappings.properties.spanID.type,*.mappings.properties.operationName.type," +
	"*.mappings.properties.startTime.type,*.mappings.properties.duration.type,*.mappings.properties.tags.type,*.mappings.properties.logs.type," +
	"*.mappings.properties.references.type,*.mappings.properties.process.properties.serviceName.type,*.mappings.properties.process.properties.tags.type"

// wrong says what in a mapping is not Jaeger's; empty if nothing is.
func (s *shape) wrong() string {
	if e := s.Mappings.Source.Enabled; e != nil && !*e {
		return "_source is off"
	}
	p := &s.Mappings.Properties
	for _, f := range []struct{ name, is, want string }{
		{"traceID", p.TraceID.Type, "keyword"}, {"spanID", p.SpanID.Type, "keyword"}, {"operationName", p.OperationName.Type, "keyword"},
		{"process.serviceName", p.Process.Properties.ServiceName.Type, "keyword"}, {"startTime", p.StartTime.Type, "long"}, {"duration", p.Duration.Type, "long"},
		{"tags", p.Tags.Type, "nested"}, {"process.tags", p.Process.Properties.Tags.Type, "nested"}, {"logs", p.Logs.Type, "nested"}, {"references", p.References.Type, "nested"},
	} {
		if f.is != f.want {
			if f.is == "" {
				f.is = "no " + f.want
			}
			return f.name + " is " + f.is
		}
	}
	return ""
}

// maxPath is how long the names of indices may be in a request: servers take lines of 4 kB. More are asked for by pattern.
const maxPath = 3000

// present looks for all indices there are; none is no error.
func (r *Reader) present(ctx context.Context) (map[string]*shape, error) {
	var found map[string]*shape
	_, err := r.client.Ask(ctx, http.MethodGet, "/"+r.base+"*/_mapping?ignore_unavailable=true&allow_no_indices=true&filter_path="+shapePaths, "", &found)
	if status, _ := opensearch.StatusOf(err); status == http.StatusNotFound {
		return nil, nil
	}
	return found, err
}

// indices looks for those of a range.
func (r *Reader) indices(ctx context.Context, tr store.TimeRange, mode store.TimeMode, archived bool) (indices, error) {
	found, err := r.present(ctx)
	return r.among(found, tr, mode, archived), err
}

// among chooses the indices that may have spans in a range; archived ones only where they are asked for.
func (r *Reader) among(found map[string]*shape, tr store.TimeRange, mode store.TimeMode, archived bool) indices {
	var x indices
	var names []string
	left := false // some are not asked
	for name, s := range found {
		rest, ours := strings.CutPrefix(name, r.base)
		first, last, dated := period(rest)
		switch {
		case ours && strings.HasPrefix(rest, "archive") && !archived, dated && !meets(tr, mode, first, last):
			left = true
		default:
			if why := s.wrong(); why != "" {
				x.bad = append(x.bad, fmt.Sprintf("index %s is not mapped as Jaeger maps spans (%s)", name, why))
				left = true
				continue
			}
			names = append(names, url.PathEscape(name))
		}
	}
	slices.Sort(names)
	slices.Sort(x.bad)
	if len(names) == 0 {
		return x
	}
	x.path = "/" + strings.Join(names, ",")
	if len(x.path) > maxPath {
		x.path = "/" + r.patterns(names, left)
	}
	return x
}

// patterns names many indices shortly: by the beginnings that they share. What is found too many is judged by its rows.
func (r *Reader) patterns(names []string, left bool) string {
	if !left {
		return r.base + "*"
	}
	for n := len(r.base) + 10; n >= len(r.base); n-- {
		var list []string
		for _, name := range names {
			p := name[:min(len(name), n)]
			if len(list) == 0 || list[len(list)-1] != p {
				list = append(list, p)
			}
		}
		if path := strings.Join(list, "*,") + "*"; len(path) <= maxPath {
			return path
		}
	}
	return r.base + "*"
}

// period reads the end of an index's name as the hour, day, month or year whose spans it holds, as Jaeger names them with any
// separator; not ok for rollover's numbers and names of others.
func period(name string) (first, last time.Time, ok bool) {
	digits := make([]byte, 0, 10)
	parted := false
	for i := range len(name) {
		switch c := name[i]; {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case c == '-' || c == '.' || c == '_' || c == '/':
			parted = true
		default:
			return first, last, false
		}
	}
	var err error
	switch len(digits) {
	case 4:
		first, err = time.Parse("2006", string(digits))
		last = first.AddDate(1, 0, 0)
	case 6:
		if !parted { // 000001
			return first, last, false
		}
		first, err = time.Parse("200601", string(digits))
		last = first.AddDate(0, 1, 0)
	case 8:
		first, err = time.Parse("20060102", string(digits))
		last = first.AddDate(0, 0, 1)
	case 10:
		first, err = time.Parse("2006010215", string(digits))
		last = first.Add(time.Hour)
	default:
		return first, last, false
	}
	return first, last, err == nil
}

// meets reports whether spans that began in [first, last) may meet a range. One that overlaps it may have begun long before.
func meets(r store.TimeRange, mode store.TimeMode, first, last time.Time) bool {
	if first.Year() < 1970 || last.Year() > 2200 {
		return true
	}
	return (r.To == 0 || first.UnixNano() < r.To) && (mode == store.Overlap || last.UnixNano() > r.From)
}

// problem is what those indices miss that are not Jaeger's; nil if there are none.
func (x *indices) problem() error {
	if len(x.bad) == 0 {
		return nil
	}
	return &problem.Problem{Kind: problem.Unavailable, Message: x.reason(), Hint: "apply Jaeger's index template and reindex, or name another prefix by ?jaeger= in --opensearch-url", RetryAfter: time.Minute, Err: errForeign}
}

// errForeign says that some indices were left out.
var errForeign = errors.New("left out")

func (x *indices) reason() string {
	text := strings.Join(x.bad[:min(len(x.bad), 3)], "; ")
	if n := len(x.bad) - 3; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}

// base is how the names of Jaeger's span indices begin, as a path.
func base(prefix string) string {
	if prefix = strings.TrimRight(prefix, "-"); prefix != "" {
		prefix += "-"
	}
	return url.PathEscape(prefix + "jaeger-span-")
}
