package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
)

// Client asks a Kubernetes API server. It speaks plain HTTP and JSON through client-go's transport, which knows every way to
// authenticate: objects are pruned while they are read, so client-go's own types would only cost memory.
type Client struct {
	http      *http.Client
	config    *rest.Config
	base      *url.URL
	Namespace string // of the kubeconfig's context; empty if it names none
}

// Connect finds a cluster: the kubeconfig file, or without one $KUBECONFIG, ~/.kube/config, or the service account of the pod we
// run in, in this order. It sends nothing yet.
func Connect(kubeconfig string) (*Client, error) { return ConnectContext(kubeconfig, "") }

// ConnectContext is Connect with one of the kubeconfig's contexts; the current one if none is named.
func ConnectContext(kubeconfig, name string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: name})
	if raw, err := loader.RawConfig(); err == nil && name != "" && raw.Contexts[name] == nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--context", Message: fmt.Sprintf("%q is no context of the kubeconfig", name), Hint: "`kubectl config get-contexts` lists them"}
	}
	c, err := loader.ClientConfig()
	if err != nil {
		return nil, &problem.Problem{Kind: problem.Invalid, Field: "--kubeconfig", Message: "no cluster to ask", Hint: "give --kubeconfig FILE, set KUBECONFIG, or look at files: -f DIR or --facts FILE", Err: err}
	}
	namespace, _, _ := loader.Namespace()
	return newClient(c, namespace)
}

// ConnectInCluster takes the service account of the pod we run in.
func ConnectInCluster() (*Client, error) {
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	return newClient(c, "")
}

// InCluster tells whether this process runs in a pod with a service account.
func InCluster() bool {
	_, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token")
	return err == nil && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

func newClient(c *rest.Config, namespace string) (*Client, error) {
	c = rest.CopyConfig(c)
	c.UserAgent = "spanloom-doctor"
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	base, _, err := rest.DefaultServerURL(c.Host, "", kindless, true)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: server %q: %w", c.Host, err)
	}
	return &Client{http: h, config: c, base: base, Namespace: namespace}, nil
}

// Config is how the cluster is reached, for others that ask it.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Server is the API server's address, for messages.
func (c *Client) Server() string { return c.base.Host }

// apiError is an answer that is no success.
type apiError struct {
	code    int
	message string
	resume  string // of an expired list: where to go on, inconsistently
}

func (e *apiError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("the API server answered %d", e.code)
	}
	return e.message
}

func isCode(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.code == code
}

const (
	tries     = 3
	maxWait   = 10 * time.Second // that an API server may ask for before a second try
	maxAnswer = 64 << 20         // bytes of one page or object
)

// open sends a request and gives the body of a success. A busy API server is asked again as it says.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, body []byte) (io.ReadCloser, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := c.http.Do(req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 300 {
			return res.Body, nil
		}
		failure := statusOf(res)
		if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable || try == tries {
			return nil, failure
		}
		wait := time.Second
		if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
			wait = time.Duration(n) * time.Second
		}
		if err := pause.For(ctx, min(wait, maxWait)); err != nil {
			return nil, err
		}
	}
}

func statusOf(res *http.Response) error {
	defer res.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what came of it is enough for a message
	var s struct {
		Kind     string `json:"kind"`
		Message  string `json:"message"`
		Metadata struct {
			Continue string `json:"continue"`
		} `json:"metadata"`
	}
	e := &apiError{code: res.StatusCode}
	if json.Unmarshal(data, &s) == nil && s.Kind == "Status" {
		e.message, e.resume = s.Message, s.Metadata.Continue
	} else if text := strings.TrimSpace(string(data)); text != "" && len(text) < 300 {
		e.message = fmt.Sprintf("the API server answered %d: %s", res.StatusCode, text)
	}
	return e
}

// get reads a whole answer.
func (c *Client) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	body, err := c.open(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = problem.New(problem.TooLarge, fmt.Sprintf("the answer of %s is larger than %d bytes", path, maxAnswer), "read one namespace with -n")
	}
	return data, err
}

func (c *Client) getJSON(ctx context.Context, path string, into any) error {
	data, err := c.get(ctx, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// may asks whether we are allowed to do something (SelfSubjectAccessReview). An empty namespace means in all of them.
func (c *Client) may(ctx context.Context, verb string, k *kind, namespace string) (bool, error) {
	resource, sub, _ := strings.Cut(k.resource, "/")
	review := map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": map[string]any{
		"resourceAttributes": map[string]string{"verb": verb, "group": k.group, "resource": resource, "subresource": sub, "namespace": namespace}}}
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	answer, err := c.open(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", nil, body)
	if err != nil {
		return false, err
	}
	defer answer.Close()
	var out struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	if err := json.NewDecoder(io.LimitReader(answer, 1<<20)).Decode(&out); err != nil {
		return false, fmt.Errorf("read the access review: %w", err)
	}
	return out.Status.Allowed, nil
}
