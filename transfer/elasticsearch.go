package transfer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/store/remote"
)

// Elasticsearch says where Jaeger's documents lie.
type Elasticsearch struct {
	Base  string // https://host:9200
	Index string // pattern
	Login remote.Login
}

// passwordVariable is where a password may stand that no file holds.
const passwordVariable = "SPANLOOM_OPENSEARCH_PASSWORD"

// ParseElasticsearch reads elasticsearch://[user@]host:9200[/index pattern][?options], or opensearch://, http:// and https://. The pattern
// is *jaeger-span-* without one, which fits every prefix, rollover aliases and data streams. Options: tls=true, password_file, ca_file, cert_file,
// key_file, server_name, skip_verify=true.
func ParseElasticsearch(address string, getenv func(string) string) (*Elasticsearch, error) {
	bad := func(message, hint string) error {
		return &problem.Problem{Kind: problem.Invalid, Field: "--from", Message: message, Hint: hint}
	}
	scheme, rest, ok := strings.Cut(address, "://")
	const form = "write elasticsearch://user@host:9200/jaeger-span-*, with ?tls=true where the server wants TLS"
	secure := scheme == "https"
	switch scheme {
	case "elasticsearch", "opensearch", "http", "https":
	default:
		ok = false
	}
	if !ok {
		return nil, bad(fmt.Sprintf("%q is no address of Elasticsearch", address), form)
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, index, _ := strings.Cut(rest, "/")
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, bad("the options cannot be read: "+err.Error(), form)
	}
	for name := range q {
		switch name {
		case "tls", "password_file", "ca_file", "cert_file", "key_file", "server_name", "skip_verify":
		default:
			return nil, bad(fmt.Sprintf("unknown option %q", name), "options are tls, password_file, ca_file, cert_file, key_file, server_name, skip_verify")
		}
	}
	e := &Elasticsearch{Index: index, Login: remote.Login{Setting: "from", Variable: passwordVariable, PasswordFile: q.Get("password_file")}}
	host, ok := e.Login.TakeUser(hosts)
	if !ok || host == "" {
		return nil, bad(fmt.Sprintf("%q names no host", address), form)
	}
	e.Login.TakeVariable(getenv)
	for _, name := range []string{"ca_file", "cert_file", "server_name", "skip_verify"} {
		secure = secure || q.Get(name) != ""
	}
	if secure = secure || q.Get("tls") == "true"; secure {
		e.Login.Secure(q, q.Get("skip_verify") == "true")
	}
	if err := e.Login.LoadFiles(q); err != nil {
		return nil, err
	}
	e.Base = "http://" + host
	if secure {
		e.Base = "https://" + host
	}
	if u, err := url.Parse(e.Base); err != nil || u.Hostname() == "" {
		return nil, bad(fmt.Sprintf("%q names no host", address), form)
	}
	if e.Index = strings.Trim(e.Index, "/"); e.Index == "" {
		e.Index = "*jaeger-span-*"
	}
	return e, nil
}

const (
	pageDocuments = 1000
	pageBytes     = 64 << 20 // of a page; larger ones are asked for again with fewer documents
	keepAlive     = "10m"
)

// searchReader reads all documents of an index pattern in the order of their start, by search_after in a point in time.
type searchReader struct {
	Elasticsearch
	client     *http.Client
	retry      *sender // whose pauses it makes
	pit        string
	opensearch bool
}

// answerError is an answer of the server that is none.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("Elasticsearch answered %d: %s", e.status, e.text)
}

// ask sends a request and reads the answer, again while the server is away or busy. Answers over most bytes are errTooLong.
func (r *searchReader) ask(ctx context.Context, method, path string, body any, most int64, into any) error {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	began, pause := r.retry.now(), firstPause
	for {
		err := r.once(ctx, method, path, payload, most, into)
		var answer *answerError
		var certificate *tls.CertificateVerificationError
		if err == nil || errors.Is(err, errTooLong) || ctx.Err() != nil || errors.As(err, &certificate) ||
			errors.As(err, &answer) && answer.status != http.StatusTooManyRequests && answer.status < 502 {
			return err
		}
		if r.retry.now().Add(pause).Sub(began) > r.retry.retryFor {
			return err
		}
		r.retry.waiting(err.Error())
		if err := r.retry.wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longPause)
	}
}

func (r *searchReader) once(ctx context.Context, method, path string, payload []byte, most int64, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, r.Base+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Login.User != "" {
		password, err := r.Login.Password()
		if err != nil {
			return err
		}
		req.SetBasicAuth(r.Login.User, password)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", r.Base, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", r.Base, err)
	}
	if res.StatusCode != http.StatusOK {
		return &answerError{res.StatusCode, reasonOf(body)}
	}
	if int64(len(body)) > most {
		return errTooLong
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer of %s%s: %w", r.Base, path, err)
	}
	return nil
}

// reasonOf is the text of an error of Elasticsearch.
func reasonOf(body []byte) string {
	var e struct {
		Error struct {
			Reason    string
			RootCause []struct{ Reason string } `json:"root_cause"`
		}
	}
	if json.Unmarshal(body, &e) == nil && e.Error.Reason != "" {
		if len(e.Error.RootCause) > 0 && e.Error.RootCause[0].Reason != "" {
			return e.Error.RootCause[0].Reason
		}
		return e.Error.Reason
	}
	return strings.ToValidUTF8(string(body[:min(len(body), 300)]), "")
}

// open begins a point in time. The two products have paths of their own for it, of which each knows one.
func (r *searchReader) open(ctx context.Context) error {
	var opened struct {
		ID  string `json:"id"`
		PIT string `json:"pit_id"`
	}
	index := "/" + url.PathEscape(r.Index)
	err := r.ask(ctx, http.MethodPost, index+"/_pit?keep_alive="+keepAlive, nil, 1<<20, &opened)
	var answer *answerError
	if errors.As(err, &answer) && answer.status != http.StatusUnauthorized && answer.status != http.StatusForbidden {
		if r.ask(ctx, http.MethodPost, index+"/_search/point_in_time?keep_alive="+keepAlive, nil, 1<<20, &opened) == nil {
			r.opensearch, err = true, nil
		}
	}
	if err != nil {
		return r.explain(err)
	}
	r.pit = opened.ID + opened.PIT
	return nil
}

func (r *searchReader) explain(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &problem.Problem{Kind: problem.Invalid, Field: "--from", Message: err.Error(), Hint: "name the file of who signed the server's certificate by ?ca_file=, and its name by ?server_name="}
	}
	var answer *answerError
	if !errors.As(err, &answer) {
		return err
	}
	p := &problem.Problem{Kind: problem.Invalid, Field: "--from", Message: answer.Error()}
	switch answer.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		p.Hint = "give a user who may read the indices: elasticsearch://user@host:9200, and the password in " + passwordVariable + " or ?password_file="
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		p.Hint = "give the address of the server itself"
	case http.StatusNotFound, http.StatusBadRequest:
		p.Hint = "look which indices there are: GET _cat/indices, and give their pattern after the host"
	}
	return p
}

// close ends the point in time; one that stays ends by itself.
func (r *searchReader) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var ignored any
	if r.opensearch {
		_ = r.once(ctx, http.MethodDelete, "/_search/point_in_time", []byte(fmt.Sprintf(`{"pit_id":[%q]}`, r.pit)), 1<<20, &ignored)
	} else {
		_ = r.once(ctx, http.MethodDelete, "/_pit", []byte(fmt.Sprintf(`{"id":%q}`, r.pit)), 1<<20, &ignored)
	}
}

// hit is a document of a page.
type hit struct {
	Index  string          `json:"_index"`
	ID     string          `json:"_id"`
	Source json.RawMessage `json:"_source"`
	Sort   json.RawMessage `json:"sort"`
}

// page reads the next documents. total is of all pages, on the first one.
func (r *searchReader) page(ctx context.Context, from int64, after json.RawMessage, size int) (hits []hit, total int64, err error) {
	start := map[string]any{"startTime": map[string]any{"order": "asc", "unmapped_type": "long"}}
	sort := []any{start}
	if r.opensearch { // Elasticsearch adds a tiebreaker of its own to points in time
		sort = append(sort, map[string]string{"_id": "asc"})
	}
	request := map[string]any{
		"size": size, "sort": sort, "track_total_hits": after == nil, "pit": map[string]string{"id": r.pit, "keep_alive": keepAlive},
		"query": map[string]any{"match_all": struct{}{}},
	}
	if from > 0 {
		request["query"] = map[string]any{"range": map[string]any{"startTime": map[string]any{"gte": from}}}
	}
	if after != nil {
		request["search_after"] = after
	}
	var answer struct {
		PIT      string `json:"pit_id"`
		TimedOut bool   `json:"timed_out"`
		Shards   struct {
			Failed   int
			Failures []struct{ Reason struct{ Reason string } }
		} `json:"_shards"`
		Hits struct {
			Total struct{ Value int64 }
			Hits  []hit
		}
	}
	if err := r.ask(ctx, http.MethodPost, "/_search", request, pageBytes, &answer); err != nil {
		return nil, 0, err
	}
	if answer.PIT != "" {
		r.pit = answer.PIT
	}
	if answer.Shards.Failed > 0 || answer.TimedOut {
		why := "the search timed out"
		if len(answer.Shards.Failures) > 0 {
			why = answer.Shards.Failures[0].Reason.Reason
		}
		return nil, 0, fmt.Errorf("Elasticsearch did not read all shards: %s", why)
	}
	return answer.Hits.Hits, answer.Hits.Total.Value, nil
}

func (im *importer) readElasticsearch(ctx context.Context) error {
	where, err := ParseElasticsearch(im.o.From, im.o.Getenv)
	if err != nil {
		return err
	}
	for _, w := range where.Login.Warnings {
		im.o.Fault(Fault{What: "warning: " + w})
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = where.Login.TLS
	defer transport.CloseIdleConnections()
	r := &searchReader{Elasticsearch: *where, retry: im.sender, client: &http.Client{Transport: transport, Timeout: 5 * time.Minute,
		// A redirect would take the password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.close()
	from := max(im.o.Since/1000, im.start.Offset)
	var after json.RawMessage
	for size := pageDocuments; ; {
		hits, total, err := r.page(ctx, from, after, size)
		if errors.Is(err, errTooLong) && size > 1 {
			size /= 2
			continue
		}
		if err != nil {
			return r.explain(err)
		}
		if after == nil {
			im.add(func(r *Report) { r.OfRead = total })
			if total == 0 && from == 0 {
				return &problem.Problem{Kind: problem.Invalid, Field: "--from", Message: fmt.Sprintf("no documents in %s", r.Index), Hint: "look which indices there are: GET _cat/indices, and give their pattern after the host"}
			}
		}
		if len(hits) == 0 {
			return nil
		}
		for i := range hits {
			h := &hits[i]
			im.add(func(r *Report) { r.Bytes += int64(len(h.Source)) })
			upTo := im.place
			var keys []json.RawMessage
			if json.Unmarshal(h.Sort, &keys) == nil && len(keys) > 0 {
				if v, err := strconv.ParseInt(string(keys[0]), 10, 64); err == nil && v < 1<<62 { // documents without a start come last, with the largest number
					upTo.offset = v
				}
			}
			if err := im.take(ctx, h.Index, "document "+h.ID, record{format: JaegerDocs, body: h.Source}, upTo); err != nil {
				return err
			}
		}
		after = hits[len(hits)-1].Sort
	}
}
