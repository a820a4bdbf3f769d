package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/spanloom/spanloom/internal/problem"
)

// Manager is the field manager of everything that is written.
const Manager = "spanloom"

const maxAnswer = 16 << 20 // bytes of an object or of a list

// Client writes to a Kubernetes API server. Like the doctor's it speaks HTTP and JSON through client-go's transport, which
// knows every way to authenticate: objects pass through as they are, and a status code tells created from changed.
type Client struct {
	http *http.Client
	base *url.URL
	read bool // refuses to send what could write

	mu    sync.Mutex
	kinds map[string][]resource // by apiVersion
}

type resource struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Namespaced bool   `json:"namespaced"`
}

// New makes a client. It sends nothing yet.
func New(config *rest.Config) (*Client, error) {
	c := rest.CopyConfig(config)
	c.UserAgent = "spanloom-mesh"
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	base, _, err := rest.DefaultServerURL(c.Host, "", schema.GroupVersion{}, true)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: server %q: %w", c.Host, err)
	}
	return &Client{http: h, base: base, kinds: make(map[string][]resource)}, nil
}

// NewReader makes a client that only reads: a server may plan, and never writes to a cluster.
func NewReader(config *rest.Config) (*Client, error) {
	c, err := New(config)
	if err == nil {
		c.read = true
	}
	return c, err
}

// Refusal is an answer of the API server that is no success.
type Refusal struct {
	Code    int
	Reason  string // Conflict, AlreadyExists, Forbidden, Invalid, …
	Message string
	Owners  []Owned // of a server-side apply's conflict
}

// Owned is a field that somebody else keeps.
type Owned struct{ Field, Manager string }

func (e *Refusal) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the API server answered %d", e.Code)
	}
	return e.Message
}

func isCode(err error, code int) bool {
	var e *Refusal
	return errors.As(err, &e) && e.Code == code
}

// errAway is an API server that does not answer: nobody knows whether the last request was done.
var errAway = errors.New("the API server does not answer")

// send does one request and gives the answer's object, and whether it was created.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, kind string, body Object) (Object, bool, error) {
	if c.read && method != http.MethodGet {
		return nil, false, fmt.Errorf("%s %s: this client only reads", method, path)
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, false, err
		}
		payload = bytes.NewReader(data)
	}
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), payload)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errAway, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("%w: %w", errAway, err)
	case len(data) > maxAnswer:
		return nil, false, problem.New(problem.TooLarge, fmt.Sprintf("the answer of %s is larger than %d bytes", path, maxAnswer), "")
	case res.StatusCode >= 300:
		return nil, false, refusal(res.StatusCode, data)
	}
	o, err := decode(data)
	if err != nil {
		return nil, false, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return o, res.StatusCode == http.StatusCreated, nil
}

func refusal(code int, data []byte) error {
	var s struct {
		Kind, Message, Reason string
		Details               struct {
			Causes []struct{ Reason, Message, Field string }
		}
	}
	e := &Refusal{Code: code}
	if json.Unmarshal(data, &s) != nil || s.Kind != "Status" {
		e.Message = fmt.Sprintf("the API server answered %d: %s", code, strings.TrimSpace(string(data[:min(len(data), 300)])))
		return e
	}
	e.Reason, e.Message = s.Reason, s.Message
	for _, cause := range s.Details.Causes {
		if cause.Reason == "FieldManagerConflict" {
			_, manager, _ := strings.Cut(cause.Message, `"`)
			manager, _, _ = strings.Cut(manager, `"`)
			e.Owners = append(e.Owners, Owned{cause.Field, manager})
		}
	}
	return e
}

// path of an object, or of a list if it has no name.
func (c *Client) path(ctx context.Context, id ID) (string, error) {
	prefix := "/apis/" + id.APIVersion
	if !strings.Contains(id.APIVersion, "/") {
		prefix = "/api/" + id.APIVersion
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kinds, ok := c.kinds[id.APIVersion]
	if !ok {
		list, _, err := c.send(ctx, http.MethodGet, prefix, nil, "", nil)
		if err != nil && !isCode(err, http.StatusNotFound) {
			return "", err
		}
		data, err := json.Marshal(list["resources"])
		if err == nil {
			err = json.Unmarshal(data, &kinds)
		}
		if err != nil {
			return "", fmt.Errorf("read the kinds of %s: %w", id.APIVersion, err)
		}
		c.kinds[id.APIVersion] = kinds
	}
	for _, k := range kinds {
		if k.Kind != id.Kind || strings.Contains(k.Name, "/") {
			continue
		}
		p := prefix
		if k.Namespaced && (id.Namespace != "" || id.Name != "") {
			p += "/namespaces/" + or(id.Namespace, "default")
		}
		p += "/" + k.Name
		if id.Name != "" {
			p += "/" + id.Name
		}
		return p, nil
	}
	return "", &problem.Problem{Kind: problem.Unsupported, Message: fmt.Sprintf("the API server has no kind %s of %s", id.Kind, id.APIVersion), Hint: "is Istio (or what brings this kind) installed in this cluster, and is --istio-version right?"}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Get gives an object, or nil if there is none.
func (c *Client) Get(ctx context.Context, id ID) (Object, error) {
	p, err := c.path(ctx, id)
	if err != nil {
		return nil, err
	}
	o, _, err := c.send(ctx, http.MethodGet, p, nil, "", nil)
	if isCode(err, http.StatusNotFound) {
		return nil, nil
	}
	return o, err
}

// List gives the objects of a kind, of all namespaces if none is named. A kind that is not served has none.
func (c *Client) List(ctx context.Context, id ID, labels string) ([]Object, error) {
	p, err := c.path(ctx, id)
	var none *problem.Problem
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	q := url.Values{}
	if labels != "" {
		q.Set("labelSelector", labels)
	}
	list, _, err := c.send(ctx, http.MethodGet, p, q, "", nil)
	if err != nil {
		return nil, err
	}
	items, _ := list["items"].([]any)
	out := make([]Object, 0, len(items))
	for _, x := range items {
		if o, ok := x.(map[string]any); ok {
			o["apiVersion"], o["kind"] = id.APIVersion, id.Kind // lists leave them out
			out = append(out, o)
		}
	}
	return out, nil
}

// how an object is written.
type how string

const (
	asApply how = "apply" // server-side: an object of our own
	asMerge how = "merge" // a merge patch: an object of somebody else
	asPut   how = "update"
)

func options(dry, force bool) url.Values {
	q := url.Values{"fieldManager": {Manager}, "fieldValidation": {"Strict"}}
	if dry {
		q.Set("dryRun", "All")
	}
	if force {
		q.Set("force", "true")
	}
	return q
}

// write sends one object or patch. created tells that it was not there before.
func (c *Client) write(ctx context.Context, id ID, h how, body Object, dry, force bool) (o Object, created bool, err error) {
	p, err := c.path(ctx, id)
	if err != nil {
		return nil, false, err
	}
	switch h {
	case asApply:
		return c.send(ctx, http.MethodPatch, p, options(dry, force), "application/apply-patch+yaml", body)
	case asMerge:
		return c.send(ctx, http.MethodPatch, p, options(dry, false), "application/merge-patch+json", body)
	}
	return c.send(ctx, http.MethodPut, p, options(dry, false), "application/json", body)
}

// create makes an object that must not be there.
func (c *Client) create(ctx context.Context, id ID, body Object) (Object, error) {
	collection := id
	collection.Name = ""
	p, err := c.path(ctx, collection)
	if err != nil {
		return nil, err
	}
	o, _, err := c.send(ctx, http.MethodPost, p, options(false, false), "application/json", body)
	return o, err
}

// remove deletes an object as long as it is the one that was seen. That it is gone already is no error.
func (c *Client) remove(ctx context.Context, seen Object) error {
	p, err := c.path(ctx, IDOf(seen))
	if err != nil {
		return err
	}
	_, _, err = c.send(ctx, http.MethodDelete, p, nil, "application/json", Object{"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
		"preconditions": Object{"uid": str(seen, "metadata", "uid"), "resourceVersion": str(seen, "metadata", "resourceVersion")}})
	if isCode(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// may asks for a right.
func (c *Client) may(ctx context.Context, verb string, id ID) (bool, error) {
	p, err := c.path(ctx, id)
	if err != nil {
		return false, err
	}
	parts := strings.Split(p, "/")
	plural := parts[len(parts)-2]
	group, _, has := strings.Cut(id.APIVersion, "/")
	if !has {
		group = ""
	}
	o, _, err := c.send(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", nil, "application/json", Object{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": Object{"resourceAttributes": Object{"verb": verb, "group": group, "resource": plural, "namespace": id.Namespace, "name": id.Name}}})
	if err != nil {
		return false, err
	}
	allowed, _ := at(o, "status", "allowed").(bool)
	return allowed, nil
}

// Cluster names the cluster, so that a record is never used for another one: the uid of its first namespace.
func (c *Client) Cluster(ctx context.Context) (string, error) {
	o, err := c.Get(ctx, ID{APIVersion: "v1", Kind: "Namespace", Name: "kube-system"})
	if isCode(err, http.StatusForbidden) || err == nil && o == nil {
		return c.base.Host, nil // without the right to see it, the address has to do
	}
	return str(o, "metadata", "uid"), err
}

// Server is the API server's address, for messages.
func (c *Client) Server() string { return c.base.Host }
