package storetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store"
)

func lists(t *testing.T, s *suite) {
	s.accept(t, `
1 a - front server "GET /" 0s 1ms code=200 @group=front @namespace=old
1 b a front client "GET /" 1s 1ms code=200 @group=front @namespace=prod resource:pod=p1
1 c a front server - 2s 1ms code="200" code=201 @group=front @namespace=prod
2 a - cart server get 3s 1h tags=["x","y"] @scope=lib scope:lang=go
  event retry 1s try=1
  event retry 2s try=2
  link 1 a why=follows
3 a - - 9 - 4s 1ms code=5.5`)
	for _, r := range []store.TimeRange{{}, {From: At(time.Second)}, {From: At(time.Second), To: At(3 * time.Second)}, {To: At(0)}, {From: At(time.Hour)}} {
		s.checkLists(t, r)
	}
	services, done, err := s.engine.Services(t.Context(), scope, store.TimeRange{})
	if err != nil || !done.Complete {
		t.Fatal(done, err)
	}
	if s.loss.Stored != nil {
		t.Log("unsupported: what the lists of these spans would be if all of them came back; they were compared with what does")
		return
	}
	if want := []store.Service{{Name: "", Spans: 1, LastTime: At(4 * time.Second)}, {Name: "cart", Spans: 1, LastTime: At(3 * time.Second)},
		{Name: "front", Group: "front", Namespace: "prod", Spans: 3, LastTime: At(2 * time.Second)}}; !slices.Equal(services, want) {
		t.Errorf("services:\n%swant:\n%s", describe(services), describe(want))
	}
	keys, _, err := s.engine.Keys(t.Context(), scope, store.KeysQuery{In: store.InSpan, Limit: 1})
	if want := []store.Key{{Key: "code", In: store.InSpan, Type: span.TypeInt, N: 5}}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("keys:\n%swant:\n%s%v", describe(keys), describe(want), err)
	}
	values, _, err := s.engine.Values(t.Context(), scope, store.ValuesQuery{Field: in(store.InAny, "code"), Limit: 1})
	if want := []store.ValueCount{{Text: "200", Type: span.TypeInt, N: 2}}; err != nil || !slices.Equal(values, want) {
		t.Errorf("values:\n%swant:\n%s%v", describe(values), describe(want), err)
	}
}

// checkLists compares all lists with the model's.
func (s *suite) checkLists(t *testing.T, r store.TimeRange) {
	t.Helper()
	ctx := t.Context()
	services, _, err := s.engine.Services(ctx, scope, r)
	if want := s.model.services(scope, r); err != nil || !slices.Equal(services, want) {
		t.Errorf("services in %v:\n%swant:\n%s%v", r, describe(services), describe(want), err)
	}
	for _, service := range []string{"front", "cart", "", "nobody"} {
		operations, _, err := s.engine.Operations(ctx, scope, service, r)
		if want := s.model.operations(service, r); err != nil || !slices.Equal(operations, want) {
			t.Errorf("operations of %q in %v:\n%swant:\n%s%v", service, r, describe(operations), describe(want), err)
		}
		for f := store.InAny; f < store.Intrinsic; f++ {
			for _, prefix := range []string{"", "co"} {
				q := store.KeysQuery{Range: r, In: f, Service: service, Prefix: prefix}
				keys, _, err := s.engine.Keys(ctx, scope, q)
				if want := s.model.keys(q); err != nil || !slices.Equal(keys, want) {
					t.Errorf("keys %+v:\n%swant:\n%s%v", q, describe(keys), describe(want), err)
				}
			}
		}
	}
	fields := []store.Field{{Key: "a"}, {Key: "code"}, {Key: "tags"}, {Key: "b", In: store.InEvent}, {Key: "c", In: store.InResource}, {Key: "d", In: store.InLink}}
	for _, key := range []string{store.FieldService, store.FieldName, store.FieldKind, store.FieldStatus, store.FieldDuration, store.FieldError,
		store.FieldRoot, store.FieldSpanID, store.FieldParentID, store.FieldTraceID, store.FieldEventName, store.FieldScopeName, store.FieldGroup} {
		fields = append(fields, store.Field{In: store.Intrinsic, Key: key})
	}
	for _, f := range fields {
		for _, q := range []store.ValuesQuery{
			{Range: r, Field: f},
			{Range: r, Field: f, Prefix: "2"},
			{Range: r, Field: f, Match: cond(in(store.Intrinsic, store.FieldKind), store.Eq, store.Text("server"))},
		} {
			values, _, err := s.engine.Values(ctx, scope, q)
			if want := s.model.values(q); err != nil || !slices.Equal(values, want) {
				t.Errorf("values %+v:\n%swant:\n%s%v", q, describe(values), describe(want), err)
			}
		}
	}
}

func documents(t *testing.T, s *suite) {
	ctx, e := t.Context(), s.engine
	doc, err := e.Load(ctx, scope, "colours/front")
	if err != nil || doc.Version != 0 || doc.Data != nil {
		t.Fatalf("unknown document: %+v %v", doc, err)
	}
	data := []byte("blue")
	v1, err := e.Save(ctx, scope, "colours/front", data, 0)
	if err != nil || v1 == 0 {
		t.Fatal(v1, err)
	}
	data[0] = 'X' // the engine must have its own copy
	doc, err = e.Load(ctx, scope, "colours/front")
	if err != nil || doc.Version != v1 || string(doc.Data) != "blue" {
		t.Fatalf("%+v %v", doc, err)
	}
	doc.Data[0] = 'X'
	v2, err := e.Save(ctx, scope, "colours/front", []byte("red"), v1)
	if err != nil || v2 == v1 {
		t.Fatal(v2, err)
	}
	if e.Can().CompareAndSet {
		for _, version := range []uint64{0, v1, v2 + 1} {
			_, err = e.Save(ctx, scope, "colours/front", []byte("green"), version)
			wantKind(t, "a version that is gone", err, problem.Invalid)
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("%v is no conflict", err)
			}
		}
		_, err = e.Save(ctx, scope, "colours/new", nil, 1)
		wantKind(t, "a version of a document that is not", err, problem.Invalid)
	}
	if _, err := e.Save(ctx, scope, "colours/cart", []byte{}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Save(ctx, scope, "other", bytes.Repeat([]byte{1}, store.MaxDocument), 0); err != nil {
		t.Fatal(err)
	}
	_, err = e.Save(ctx, scope, "large", make([]byte, store.MaxDocument+1), 0)
	wantKind(t, "too large", err, problem.TooLarge)
	names, err := e.Names(ctx, scope, "colours/")
	if err != nil || !slices.Equal(names, []string{"colours/cart", "colours/front"}) {
		t.Errorf("names %v %v", names, err)
	}
	for range 2 {
		if err := e.Delete(ctx, scope, "colours/front"); err != nil {
			t.Error(err)
		}
	}
	doc, err = e.Load(ctx, scope, "colours/front")
	if err != nil || doc.Version != 0 {
		t.Errorf("deleted: %+v %v", doc, err)
	}
	v3, err := e.Save(ctx, scope, "colours/front", []byte("again"), 0)
	if err != nil || v3 == v1 || v3 == v2 {
		t.Errorf("version %d of a document that had %d and %d before it was deleted: %v", v3, v1, v2, err)
	}
}

func keeping(t *testing.T, s *suite) {
	if !s.engine.Can().Keep {
		t.Skip("unsupported: it keeps no traces beyond retention")
	}
	s.accept(t, "1 a - front server get 0s 1ms\n1 b a front server get 1s 1ms")
	wantKind(t, "an unknown trace", s.engine.Keep(t.Context(), scope, traceID(t, "2"), 0), problem.NotFound)
	for _, until := range []int64{0, At(2 * time.Hour), At(0), 0} {
		if err := s.engine.Keep(t.Context(), scope, traceID(t, "1"), until); err != nil {
			t.Errorf("keep until %d: %v", until, err)
		}
		s.checkTrace(t, scope, traceID(t, "1"))
		s.checkSearch(t, store.Search{Limit: 5})
	}
}

func cancelling(t *testing.T, s *suite) {
	s.accept(t, "1 a - front server get 0s 1ms")
	ctx := cancelled()
	page, err := s.engine.Search(ctx, scope, &store.Search{Limit: 5})
	if err != nil || page.Complete || page.Reason == "" || page.Next != "" {
		t.Errorf("search: %+v %v", page, err)
	}
	for _, err := range s.engine.Trace(ctx, scope, traceID(t, "1"), store.TimeRange{}) {
		if err == nil {
			t.Error("trace goes on after its context was cancelled")
		}
	}
	for _, err := range s.engine.Scan(ctx, scope, &store.Scan{}) {
		if err == nil {
			t.Error("scan goes on after its context was cancelled")
		}
	}
	_, done, err := s.engine.Services(ctx, scope, store.TimeRange{})
	if err != nil || done.Complete || done.Reason == "" {
		t.Errorf("services: %+v %v", done, err)
	}
	_, done, err = s.engine.Keys(ctx, scope, store.KeysQuery{})
	if err != nil || done.Complete || done.Reason == "" {
		t.Errorf("keys: %+v %v", done, err)
	}
	if err := s.engine.Accept(ctx, Batch(t, "2 a - front server get 0s 1ms")); err == nil {
		s.model.accept(s.loss.of(Batch(t, "2 a - front server get 0s 1ms"))...)
	}
	s.checkSearch(t, store.Search{Limit: 5})
}

func closed(t *testing.T, s *suite) {
	s.accept(t, "1 a - front server get 0s 1ms")
	e := s.engine
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := e.Accept(ctx, Batch(t, "2 a - front server get 0s 1ms")); err == nil {
		t.Error("a closed engine accepts spans")
	}
	if _, err := e.Search(ctx, scope, &store.Search{Limit: 1}); err == nil {
		t.Error("a closed engine searches")
	}
	for b, err := range e.Trace(ctx, scope, traceID(t, "1"), store.TimeRange{}) {
		if err == nil {
			t.Errorf("a closed engine yields %d spans", b.Len())
		}
	}
	if _, err := e.Load(ctx, scope, "x"); err == nil {
		t.Error("a closed engine loads")
	}
	s.engine = stopped{e}
}

// stopped is an engine that Run must not close again.
type stopped struct{ store.Engine }

func (stopped) Close() error { return nil }
