package jaegerapi

import (
	"context"
	"slices"

	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

// services answers GET /api/services: all of them, sorted.
func (a *api) services(c *call) error {
	list, done, err := a.Query.ListServices(c.Context(), c.scope, store.TimeRange{})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(list))
	for _, s := range list {
		names = append(names, s.Name)
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.names(names)
	return nil
}

// operationNames answers GET /api/services/{service}/operations: names without their kinds.
func (a *api) operationNames(c *call) error {
	list, done, err := a.Query.Operations(c.Context(), c.scope, c.segment, store.TimeRange{})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(list))
	for _, o := range list {
		names = append(names, o.Name)
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.names(names)
	return nil
}

// names writes an envelope with a list of names: sorted, each once, none empty.
func (o *answer) names(names []string) {
	o.open()
	total := o.list(names)
	o.end(total, nil)
}

// list writes names: sorted, each once, none empty. It answers how many.
func (o *answer) list(names []string) int {
	names = tidyNames(names)
	o.buf = append(o.buf, '[')
	for i, n := range names {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = otlpjson.AppendQuoted(o.buf, n)
		o.spill()
	}
	o.buf = append(o.buf, ']')
	return len(names)
}

func tidyNames(names []string) []string {
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
}

// operationsOf lists the operations of a service, of one kind if a word for it is given.
func (a *api) operationsOf(ctx context.Context, s store.Scope, service, kindWord string) ([]store.Operation, store.Done, error) {
	kind, err := parseKind(kindWord)
	if err != nil {
		return nil, store.Done{}, err
	}
	list, done, err := a.Query.Operations(ctx, s, service, store.TimeRange{})
	if kind != span.KindUnspecified {
		list = slices.DeleteFunc(list, func(o store.Operation) bool { return o.Kind != kind })
	}
	return list, done, err
}

// operations answers GET /api/operations?service=&spanKind=.
func (a *api) operations(c *call) error {
	service := c.params.Get("service")
	if service == "" {
		return invalid("", "parameter 'service' is required")
	}
	list, done, err := a.operationsOf(c.Context(), c.scope, service, c.params.Get("spanKind"))
	if err != nil {
		return err
	}
	c.out.partial(done.Complete, done.Reason)
	c.out.open()
	c.out.buf = append(c.out.buf, '[')
	total := 0
	for _, o := range list {
		if total++; total > 1 {
			c.out.buf = append(c.out.buf, ',')
		}
		c.out.buf = otlpjson.AppendQuoted(append(c.out.buf, `{"name":`...), o.Name)
		c.out.buf = append(c.out.buf, `,"spanKind":"`...)
		c.out.buf = append(append(c.out.buf, kindWord(o.Kind)...), `"}`...)
		c.out.spill()
	}
	c.out.buf = append(c.out.buf, ']')
	c.out.end(total, nil)
	return nil
}

// parseKind reads a kind by its word; empty is every kind.
func parseKind(word string) (span.Kind, error) {
	if word == "" {
		return span.KindUnspecified, nil
	}
	for k := span.KindInternal; k <= span.KindConsumer; k++ {
		if k.String() == word {
			return k, nil
		}
	}
	return 0, invalid("it is one of client, server, producer, consumer, internal", "unable to parse param 'spanKind': %q", word)
}

// kindWord is a kind as Jaeger writes it; empty where the span has none.
func kindWord(k span.Kind) string {
	if k == span.KindUnspecified || k > span.KindConsumer {
		return ""
	}
	return k.String()
}
