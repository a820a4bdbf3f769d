package zipkinapi

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	maxNames        = 10_000 // entries of a list of names or values
	maxCompleteKeys = 500    // tags offered for completion, the most frequent ones
	cachedFrom      = 3      // services beyond which Zipkin lets browsers keep lists of names
	cacheNames      = "max-age=300, must-revalidate"
	aheadOfUs       = 24 * time.Hour // of a sender's clock, at most
)

// serviceList is the names of all services of a tenant as of an instant. They are looked for on every search, to find a name
// whatever its case, and listing them may take an engine longer than the search.
type serviceList struct {
	tenant string
	at     time.Time
	names  []string
}

// listedFor is how long a list of services serves to find a name's other forms. The form that was asked for is searched
// whether it is listed or not, so that what just arrived is found.
const listedFor = 2 * time.Second

// servicesNamed finds the stored forms of a service's name, and that which was asked for, and how many services there are.
func (a *api) servicesNamed(c *call, name string) (stored []string, of int, err error) {
	now, shared := a.Query.Now(), c.scope.MustMatch == nil
	if l := a.listed.Load(); shared && l != nil && l.tenant == c.scope.Tenant && now.Sub(l.at) < listedFor && !now.Before(l.at) {
		stored, of = named(l.names, name), len(l.names)
	}
	if len(stored) == 0 {
		list, done, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
		if err != nil {
			return nil, 0, err
		}
		c.out.partial(done.Complete, done.Reason)
		l := &serviceList{tenant: c.scope.Tenant, at: now}
		for _, s := range list {
			l.names = append(l.names, s.Name)
		}
		if shared && done.Complete {
			a.listed.Store(l)
		}
		if stored, of = named(l.names, name), len(l.names); len(stored) == 0 {
			return nil, of, nil
		}
	}
	if !slices.Contains(stored, name) {
		stored = append(stored, name)
	}
	return stored, of, nil
}

func named(names []string, name string) (same []string) {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			same = append(same, n)
		}
	}
	return same
}

// list writes a sorted list of names, each once, none empty. Browsers may keep it where there are many services and all could be read.
func (a *api) list(c *call, names []string, services int) {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
	if services > cachedFrom && c.out.header().Get(query.HeaderPartial) == "" {
		c.out.header().Set("Cache-Control", cacheNames)
	}
	c.out.names(names)
}

// services answers GET /api/v2/services.
func (a *api) services(c *call) error {
	list, done, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	a.list(c, names, len(names))
	return nil
}

// spanNames answers GET /api/v2/spans?serviceName=.
func (a *api) spanNames(c *call) error {
	service, err := required(c.params, "serviceName")
	if err != nil {
		return err
	}
	stored, of, err := a.servicesNamed(c, service)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range stored {
		list, done, err := a.Query.Operations(c.Context(), c.scope, s, store.TimeRange{})
		if err != nil {
			return err
		}
		c.out.partial(done.Complete, done.Reason)
		for _, o := range list {
			names = append(names, o.Name)
		}
	}
	a.list(c, names, of)
	return nil
}

// remoteServices answers GET /api/v2/remoteServices?serviceName=: the services of the remote endpoints of its spans.
func (a *api) remoteServices(c *call) error {
	service, err := required(c.params, "serviceName")
	if err != nil {
		return err
	}
	stored, of, err := a.servicesNamed(c, service)
	if err != nil {
		return err
	}
	var names []string
	if len(stored) > 0 {
		if names, err = a.remotesOf(c, stored); err != nil {
			return err
		}
	}
	a.list(c, names, of)
	return nil
}

// remotesOf gathers the services of remote endpoints: of the newest spans of the services, newestSpans at most, that have a
// field or an attribute which can name the other side.
func (a *api) remotesOf(c *call, services []string) (names []string, err error) {
	field := func(key string) store.Expr {
		return store.Cond{Field: store.Field{In: store.InSpan, Key: key}, Op: store.Exists}
	}
	fields := zipkin.RemoteFields()
	either := store.Or{field(fields[0]), field(fields[1])}
	var guesses store.Or // made for the calling side only and not for proxies
	for _, key := range fields[2:] {
		guesses = append(guesses, field(key))
	}
	either = append(either, store.And{store.Or{kindIs(span.KindClient), kindIs(span.KindProducer)}, guesses,
		store.Not{Expr: store.Cond{Field: store.Field{In: store.InSpan, Key: "component"}, Op: store.Eq, Value: store.Text("proxy")}}})
	var x zipkin.Encoder
	seen := make(map[string]bool)
	done, err := a.Query.ScanBack(c.Context(), c.scope, store.Scan{Range: store.TimeRange{To: a.Query.Now().Add(aheadOfUs).UnixNano()}, Mode: store.Start,
		Match: store.And{serviceIs(services), either}, Need: linkNeed()}, newestSpans, func(r store.Rows) {
		for _, row := range r.Rows {
			if v := x.View(r.Batch, int(row)); len(seen) < maxNames && !seen[string(v.Remote)] {
				seen[string(v.Remote)] = true
			}
		}
	})
	if err != nil {
		return nil, err
	}
	c.out.partial(done.Complete, done.Reason)
	return slices.Collect(maps.Keys(seen)), nil
}

func kindIs(k span.Kind) store.Expr {
	return intrinsic(store.FieldKind, store.Eq, store.Text(k.String()))
}

// autocompleteKeys answers GET /api/v2/autocompleteKeys. Zipkin offers the tags that its settings name; here the most frequent
// ones are offered.
func (a *api) autocompleteKeys(c *call) error {
	fields := zipkin.HiddenKeys()
	var names []string
	for _, in := range []store.FieldScope{store.InSpan, store.InResource} {
		keys, done, err := a.Query.Keys(c.Context(), c.scope, store.KeysQuery{In: in, Limit: maxCompleteKeys})
		if err != nil {
			return err
		}
		c.out.partial(done.Complete, done.Reason)
		for _, k := range keys {
			if !slices.Contains(fields, k.Key) {
				names = append(names, k.Key)
			}
		}
	}
	a.list(c, names, cachedFrom+1)
	return nil
}

// autocompleteValues answers GET /api/v2/autocompleteValues?key=: the most frequent values of a tag.
func (a *api) autocompleteValues(c *call) error {
	key, err := required(c.params, "key")
	if err != nil {
		return err
	}
	if key == "" {
		return invalid("key was empty")
	}
	var names []string
	for _, in := range []store.FieldScope{store.InSpan, store.InResource} {
		values, done, err := a.Query.Values(c.Context(), c.scope, store.ValuesQuery{Field: store.Field{In: in, Key: key}, Limit: maxNames})
		if err != nil {
			return err
		}
		c.out.partial(done.Complete, done.Reason)
		for _, v := range values {
			names = append(names, v.Text)
		}
	}
	a.list(c, names, 0)
	return nil
}
