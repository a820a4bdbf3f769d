package zipkinapi

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/spanloom/spanloom/receive/zipkin"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

const (
	maxNames        = 10_000 // entries of a list of names or values
	maxCompleteKeys = 500    // tags offered for completion, the most frequent ones
	cachedFrom      = 3      // services beyond which Zipkin lets browsers keep lists of names
	cacheNames      = "max-age=300, must-revalidate"
)

// servicesNamed finds the stored forms of a service's name, and how many services there are.
func (a *api) servicesNamed(c *call, name string) (stored []string, of int, err error) {
	list, done, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
	if err != nil {
		return nil, 0, err
	}
	c.out.partial(done.Complete, done.Reason)
	for _, s := range list {
		if strings.EqualFold(s.Name, name) {
			stored = append(stored, s.Name)
		}
	}
	return stored, len(list), nil
}

// list writes a sorted list of names, each once, none empty. Browsers may keep it where there are many services.
func (a *api) list(c *call, names []string, services int) {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
	if services > cachedFrom {
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

// remotesOf asks for the values of each attribute that can name the other side, on the spans where none before it does.
func (a *api) remotesOf(c *call, services []string) (names []string, err error) {
	match := store.And{serviceIs(services)}
	for i, key := range zipkin.RemoteFields() {
		field := store.Field{In: store.InSpan, Key: key}
		if i == 2 { // from here on a guess, made for the calling side only and not for proxies
			match = append(match,
				store.Or{kindIs(span.KindClient), kindIs(span.KindProducer)},
				store.Not{Expr: store.Cond{Field: store.Field{In: store.InSpan, Key: "component"}, Op: store.Eq, Value: store.Text("proxy")}})
		}
		values, done, err := a.Query.Values(c.Context(), c.scope, store.ValuesQuery{Field: field, Match: match, Limit: maxNames})
		if err != nil {
			return nil, err
		}
		c.out.partial(done.Complete, done.Reason)
		for _, v := range values {
			if i < 2 || !isAddress(v.Text) {
				names = append(names, v.Text)
			}
		}
		match = append(match, store.Not{Expr: store.Cond{Field: field, Op: store.Exists}})
	}
	return names, nil
}

func kindIs(k span.Kind) store.Expr {
	return intrinsic(store.FieldKind, store.Eq, store.Text(k.String()))
}

// isAddress tells addresses, which become a remote endpoint's ip, from names.
func isAddress(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(text)
	return err == nil
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
