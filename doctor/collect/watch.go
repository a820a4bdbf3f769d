package collect

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Changes remembers up to where lists of the mesh's configuration were read, so that Watch can wait for what comes after. Pods
// and Deployments are not watched: they change all the time, and a collection at an interval sees them.
type Changes struct {
	mu       sync.Mutex
	versions map[string]string // resource version by path
}

// Seen is ClusterOptions.Versions.
func (c *Changes) Seen(path, resourceVersion string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions == nil {
		c.versions = make(map[string]string)
	}
	c.versions[path] = resourceVersion
}

// Watch waits until something of the mesh's configuration changes, or for at most a time, and says what changed ("" if the time
// ran out). Watches that are refused are left out: then only the time counts.
func (c *Client) Watch(ctx context.Context, seen *Changes, most time.Duration) (string, error) {
	seen.mu.Lock()
	versions := make(map[string]string, len(seen.versions))
	for path, v := range seen.versions {
		versions[path] = v
	}
	seen.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	changed := make(chan string, len(versions))
	var wg sync.WaitGroup
	for path, version := range versions {
		wg.Go(func() {
			if what := c.watchOne(ctx, path, version); what != "" {
				changed <- what
			}
		})
	}
	what := ""
	select {
	case what = <-changed:
	case <-ctx.Done():
	}
	cancel()
	wg.Wait()
	if what == "" && !errors.Is(ctx.Err(), context.DeadlineExceeded) && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return what, nil
}

// watchOne names the first change behind a version; "" if the context ended or the watch may not be.
func (c *Client) watchOne(ctx context.Context, path, version string) string {
	for ctx.Err() == nil {
		body, err := c.open(ctx, "GET", path, url.Values{"watch": {"true"}, "resourceVersion": {version}, "allowWatchBookmarks": {"true"}, "timeoutSeconds": {"600"}}, nil)
		if err != nil {
			if isCode(err, 410) {
				return "list of " + path[strings.LastIndexByte(path, '/')+1:]
			}
			return ""
		}
		d := json.NewDecoder(body)
		for {
			var event struct {
				Type   string `json:"type"`
				Object struct {
					Kind     string `json:"kind"`
					Metadata struct {
						Name            string `json:"name"`
						Namespace       string `json:"namespace"`
						ResourceVersion string `json:"resourceVersion"`
					} `json:"metadata"`
				} `json:"object"`
			}
			if err := d.Decode(&event); err != nil {
				break // the server ends a watch now and then
			}
			if event.Type == "BOOKMARK" {
				version = event.Object.Metadata.ResourceVersion
				continue
			}
			body.Close()
			if event.Type == "ERROR" {
				return "list of " + path[strings.LastIndexByte(path, '/')+1:]
			}
			m := event.Object.Metadata
			name := m.Name
			if m.Namespace != "" {
				name = m.Namespace + "/" + name
			}
			return event.Object.Kind + " " + name + " " + strings.ToLower(event.Type)
		}
		body.Close()
	}
	return ""
}
