package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spanloom/spanloom/internal/otlpclient"
)

// errNoTrace is a 404 for a trace.
var errNoTrace = errors.New("trace not found")

// asker fetches JSON documents of one server.
type asker struct {
	base, token string // base without a slash at the end
	client      *http.Client
}

// mostAnswer bounds an answer that is read: a generated trace has far less.
const mostAnswer = 64 << 20

func (a *asker) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound && strings.Contains(path, "/traces/"):
		return errNoTrace
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, otlpclient.FirstLine(text))
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// serverStatus is the part of the own API's Status that is compared.
type serverStatus struct {
	Store struct {
		Spans         int64    `json:"spans"`
		EvictedTraces int64    `json:"evictedTraces"`
		Refusing      string   `json:"refusing"`
		Damaged       []string `json:"damaged"`
	} `json:"store"`
}

func (a *asker) status(ctx context.Context) (s serverStatus, err error) {
	return s, a.get(ctx, "/api/spanloom/v1/status", &s)
}

// skeleton is the own API's columnar trace.
type skeleton struct {
	TraceID   string `json:"traceId"`
	Start     string `json:"start"`
	SpanCount int    `json:"spanCount"`
	Services  []struct {
		Name string `json:"name"`
	} `json:"services"`
	Names []string `json:"names"`
	Spans struct {
		ID       []string `json:"id"`
		Parent   []int    `json:"parent"`
		Start    []int64  `json:"start"`
		Duration []int64  `json:"duration"`
		Service  []int    `json:"service"`
		Name     []int    `json:"name"`
		Kind     []int    `json:"kind"`
		Flags    []int    `json:"flags"`
	} `json:"spans"`
}

// flagPlaceholder marks the row of a parent that never arrived.
const flagPlaceholder = 4

func (a *asker) skeleton(ctx context.Context, id string) (*skeleton, error) {
	s := &skeleton{}
	if err := a.get(ctx, "/api/spanloom/v1/traces/"+id, s); err != nil {
		return nil, err
	}
	n := len(s.Spans.ID)
	for name, have := range map[string]int{"parent": len(s.Spans.Parent), "start": len(s.Spans.Start), "duration": len(s.Spans.Duration),
		"service": len(s.Spans.Service), "name": len(s.Spans.Name), "kind": len(s.Spans.Kind), "flags": len(s.Spans.Flags)} {
		if have != n {
			return nil, fmt.Errorf("skeleton of %s: spans.%s has %d entries, spans.id has %d", id, name, have, n)
		}
	}
	return s, nil
}

// facts are the skeleton's facts under the names of expectOwn. Numbers outside of their tables read as text that equals
// nothing sent.
func (s *skeleton) facts() spanFacts {
	all := spanFacts{}
	start, err := strconv.ParseInt(s.Start, 10, 64)
	if err != nil {
		start = -1
	}
	for i, id := range s.Spans.ID {
		if s.Spans.Flags[i]&flagPlaceholder != 0 {
			all.add(id, facts{"name": "placeholder of a parent that never arrived"})
			continue
		}
		f := facts{
			"start":    strconv.FormatInt(start+s.Spans.Start[i], 10),
			"duration": strconv.FormatInt(s.Spans.Duration[i], 10),
			"service":  fmt.Sprintf("entry %d of services", s.Spans.Service[i]),
			"name":     fmt.Sprintf("entry %d of names", s.Spans.Name[i]),
			"kind":     strconv.Itoa(s.Spans.Kind[i]),
		}
		if at := s.Spans.Service[i]; at >= 0 && at < len(s.Services) {
			f["service"] = s.Services[at].Name
		}
		if at := s.Spans.Name[i]; at >= 0 && at < len(s.Names) {
			f["name"] = s.Names[at]
		}
		switch up := s.Spans.Parent[i]; {
		case up >= 0 && up < i:
			f["parent"] = s.Spans.ID[up]
		case up != -1:
			f["parent"] = fmt.Sprintf("row %d", up)
		}
		all.add(id, f)
	}
	return all
}

// apiAttribute is an attribute of the own API, and a tag of Jaeger's.
type apiAttribute struct {
	Key   string          `json:"key"`
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// text is the value with its type visible, as attrText writes it.
func (a apiAttribute) text() string {
	switch a.Type {
	case "string":
		var s string
		if json.Unmarshal(a.Value, &s) == nil {
			return quoted(s)
		}
	case "int", "int64", "double", "float64", "bool":
		return strings.Trim(string(a.Value), `"`)
	}
	return a.Type + " " + string(a.Value)
}

func (a *asker) ownSpans(ctx context.Context, id string) (spanFacts, error) {
	var answer struct {
		Items []struct {
			SpanID        string         `json:"spanId"`
			ParentSpanID  string         `json:"parentSpanId"`
			Name          string         `json:"name"`
			Kind          string         `json:"kind"`
			Start         string         `json:"start"`
			End           string         `json:"end"`
			Duration      int64          `json:"duration"`
			Status        string         `json:"status"`
			StatusMessage string         `json:"statusMessage"`
			Service       string         `json:"service"`
			TraceState    string         `json:"traceState"`
			Flags         uint32         `json:"flags"`
			Attributes    []apiAttribute `json:"attributes"`
			Resource      []apiAttribute `json:"resource"`
			Scope         struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"scope"`
			Events []struct {
				Time       string         `json:"time"`
				Name       string         `json:"name"`
				Attributes []apiAttribute `json:"attributes"`
			} `json:"events"`
			Links             []json.RawMessage `json:"links"`
			DroppedAttributes int               `json:"droppedAttributes"`
		} `json:"items"`
	}
	if err := a.get(ctx, "/api/spanloom/v1/traces/"+id+"/spans", &answer); err != nil {
		return nil, err
	}
	all := spanFacts{}
	for _, s := range answer.Items {
		f := facts{"name": s.Name, "kind": s.Kind, "status": s.Status, "service": s.Service, "start": s.Start, "end": s.End,
			"duration": strconv.FormatInt(s.Duration, 10)}
		putText(f, "parent", s.ParentSpanID)
		putText(f, "status message", s.StatusMessage)
		putText(f, "trace state", s.TraceState)
		putText(f, "scope name", s.Scope.Name)
		putText(f, "scope version", s.Scope.Version)
		if s.Flags != 0 {
			f.put("flags", strconv.FormatUint(uint64(s.Flags), 10))
		}
		for _, x := range s.Attributes {
			f.put("attribute "+x.Key, x.text())
		}
		for _, x := range s.Resource {
			f.put("resource "+x.Key, x.text())
		}
		for n, e := range s.Events {
			f.put(fmt.Sprintf("event %d", n), fmt.Sprintf("%s at %s", e.Name, e.Time))
			for _, x := range e.Attributes {
				f.put(fmt.Sprintf("event %d %s", n, x.Key), x.text())
			}
		}
		for n, l := range s.Links {
			f.put(fmt.Sprintf("link %d", n), string(l))
		}
		if s.DroppedAttributes != 0 {
			f.put("dropped attributes", strconv.Itoa(s.DroppedAttributes))
		}
		all.add(s.SpanID, f)
	}
	return all, nil
}

func (a *asker) jaegerSpans(ctx context.Context, id string) (spanFacts, error) {
	type process struct {
		ServiceName string         `json:"serviceName"`
		Tags        []apiAttribute `json:"tags"`
	}
	var answer struct {
		Data []struct {
			TraceID string `json:"traceID"`
			Spans   []struct {
				TraceID       string `json:"traceID"`
				SpanID        string `json:"spanID"`
				OperationName string `json:"operationName"`
				References    []struct {
					RefType string `json:"refType"`
					TraceID string `json:"traceID"`
					SpanID  string `json:"spanID"`
				} `json:"references"`
				StartTime int64          `json:"startTime"`
				Duration  int64          `json:"duration"`
				Tags      []apiAttribute `json:"tags"`
				Logs      []struct {
					Timestamp int64          `json:"timestamp"`
					Fields    []apiAttribute `json:"fields"`
				} `json:"logs"`
				ProcessID string `json:"processID"`
			} `json:"spans"`
			Processes map[string]process `json:"processes"`
		} `json:"data"`
	}
	if err := a.get(ctx, "/api/traces/"+url.PathEscape(id), &answer); err != nil {
		return nil, err
	}
	all := spanFacts{}
	for _, t := range answer.Data {
		for _, s := range t.Spans {
			p := t.Processes[s.ProcessID]
			f := facts{"name": s.OperationName, "service": p.ServiceName, "start": strconv.FormatInt(s.StartTime, 10),
				"duration": strconv.FormatInt(s.Duration, 10)}
			if s.TraceID != id || t.TraceID != id {
				f.put("trace id", t.TraceID+" with a span of "+s.TraceID)
			}
			for _, r := range s.References {
				f.put("reference", r.RefType+" "+r.TraceID+" "+r.SpanID)
			}
			for _, x := range s.Tags {
				f.put("tag "+x.Key, jaegerTag(x))
			}
			for _, x := range p.Tags {
				f.put("process tag "+x.Key, x.text())
			}
			for n, l := range s.Logs {
				text := strconv.FormatInt(l.Timestamp, 10)
				for _, x := range l.Fields {
					text += " " + x.Key + "=" + x.text()
				}
				f.put(fmt.Sprintf("log %d", n), text)
			}
			all.add(s.SpanID, f)
		}
	}
	return all, nil
}

// jaegerTag is a tag's text. An error tag may be the boolean that Jaeger derives from the status, or Envoy's own text where the
// status is unset: both mean the same to every client.
func jaegerTag(x apiAttribute) string {
	if x.Key == "error" && x.Type == "string" && x.text() == `"true"` {
		return "true"
	}
	return x.text()
}
