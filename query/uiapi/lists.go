package uiapi

import (
	"net/http"

	"github.com/spanloom/spanloom/query"
	"github.com/spanloom/spanloom/query/otlpjson"
	"github.com/spanloom/spanloom/store"
)

func (a *api) services(c *call) error {
	r, err := c.window()
	if err != nil {
		return err
	}
	red, err := c.boolean("red")
	if err != nil {
		return err
	}
	buckets, err := c.number("buckets", 30, 0, query.MaxBuckets)
	if err != nil {
		return err
	}
	var answer *query.ServicesAnswer
	if red {
		if answer, err = a.Query.Services(c.ctx, c.scope, query.ServicesQuery{Range: r, Buckets: buckets}); err != nil {
			return err
		}
	} else {
		list, done, err := a.Query.ListServices(c.ctx, c.scope, r)
		if err != nil {
			return err
		}
		answer = &query.ServicesAnswer{Done: done}
		for _, s := range list {
			answer.Items = append(answer.Items, query.ServiceFigures{Service: s})
		}
	}
	names := make([]string, len(answer.Items))
	for i, s := range answer.Items {
		names[i] = s.Name
	}
	slots := a.Query.SlotsOf(c.ctx, c.scope, names)
	o := open(nil)
	o.list("items", len(answer.Items), func(dst []byte, i int) []byte {
		s := &answer.Items[i]
		o := open(dst)
		o.text("name", s.Name)
		o.text("group", s.Group)
		o.text("namespace", s.Namespace)
		o.int("slot", int64(slots[i]))
		o.int("spans", s.Spans)
		if s.LastTime != 0 {
			o.instant("lastTime", s.LastTime)
		}
		if red {
			o.key("red")
			o.out = appendRED(o.out, &s.RED)
			o.key("before")
			o.out = appendRED(o.out, &s.Before)
			o.numbers("spark", s.Spark)
			o.numbers("sparkErrors", s.SparkErrors)
		}
		return o.close()
	})
	o.done(answer.Done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

func (o *object) numbers(name string, list []float64) {
	o.list(name, len(list), func(dst []byte, i int) []byte {
		return otlpjson.AppendDouble(dst, list[i])
	})
}

func appendRED(dst []byte, r *query.RED) []byte {
	o := open(dst)
	o.int("n", r.N)
	o.number("weight", r.Weight)
	o.number("errors", r.Errors)
	o.number("rate", r.Rate)
	o.number("errorRate", r.ErrorRate)
	o.int("p50", r.P50)
	o.int("p95", r.P95)
	o.int("p99", r.P99)
	o.bool("estimated", r.Estimated)
	if r.Estimated {
		o.number("deviation", r.Deviation)
	}
	return o.close()
}

func (a *api) operations(c *call) error {
	service, err := c.required("service")
	if err != nil {
		return err
	}
	r, err := c.window()
	if err != nil {
		return err
	}
	list, done, err := a.Query.Operations(c.ctx, c.scope, service, r)
	if err != nil {
		return err
	}
	o := open(nil)
	o.list("items", len(list), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("name", list[i].Name)
		o.text("kind", list[i].Kind.String())
		o.int("n", list[i].N)
		return o.close()
	})
	o.done(done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

const maxListed = 1000

func (a *api) keys(c *call) error {
	in, err := c.attributeScope()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", 100, 1, maxListed)
	if err != nil {
		return err
	}
	r, err := c.window()
	if err != nil {
		return err
	}
	list, done, err := a.Query.Keys(c.ctx, c.scope, store.KeysQuery{
		Range: r, In: in, Prefix: c.params.Get("prefix"), Service: c.params.Get("service"), Limit: limit,
	})
	if err != nil {
		return err
	}
	o := open(nil)
	o.list("items", len(list), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("key", list[i].Key)
		o.text("scope", list[i].In.String())
		o.text("type", typeWord(list[i].Type))
		o.int("n", list[i].N)
		return o.close()
	})
	o.done(done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}

func (a *api) values(c *call) error {
	key, err := c.required("key")
	if err != nil {
		return err
	}
	in, err := c.attributeScope()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", 100, 1, maxListed)
	if err != nil {
		return err
	}
	r, err := c.window()
	if err != nil {
		return err
	}
	q := store.ValuesQuery{Range: r, Field: store.Field{In: in, Key: key}, Prefix: c.params.Get("prefix"), Limit: limit}
	if service := c.params.Get("service"); service != "" {
		q.Match = store.ServiceIs(service)
	}
	list, done, err := a.Query.Values(c.ctx, c.scope, q)
	if err != nil {
		return err
	}
	o := open(nil)
	o.list("items", len(list), func(dst []byte, i int) []byte {
		o := open(dst)
		o.text("value", list[i].Text)
		o.text("type", typeWord(list[i].Type))
		o.int("n", list[i].N)
		return o.close()
	})
	o.done(done)
	send(c.w, c.r, http.StatusOK, o.close())
	return nil
}
