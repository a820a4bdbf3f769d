package storetest

import (
	"math/rand/v2"
	"testing"
)

func TestPrintReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		want := Print(Batch(t, RandomText(r, 200, 30, 0)))
		if got := Print(Batch(t, want)); got != want {
			t.Fatalf("read back:\n%s\nwant:\n%s", got, want)
		}
	}
}

func TestTextForm(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{in: `1 a - front server "GET /" 0s 12ms`},
		{in: `ab000000000000000000000000000001 a b - 7 - none none x="a b" y="\xff" z=72.0 "odd key"=1 w="true" @time=1h0m0s @mark=timeReplaced`},
		{in: `1 a - front server get 1s =5 @bare resource:x=[1,2] @resource.url=u @resource.dropped=2 @status=error @message="no way" @flags=257 @weight=0.25 @dropped=1,2,3`},
		{in: `1 a - front server get 0s -1ms resource:service.name=other`},
		{in: "1 a - front server get 0s 1ms a=[] b=bytes: c=array:0a00 d=[NaN] e=null\n  event - none\n  event x 1ms k=v @dropped=1\n  link 2 - @state=a=b @flags=1\n  link - 3 k=1"},
		{in: "# a comment\n\nreceived 90s\n1 a - front server get none 1s", want: "1 a - front server get none 1s @time=1m30s @mark=timeReplaced\n"},
		{in: `1 a - front server get 0s 1ms k="1" l=1 m=[1, 2]`, want: "1 a - front server get 0s 1ms k=\"1\" l=1 m=[1,2]\n"},
	} {
		if c.want == "" {
			c.want = c.in + "\n"
		}
		b := Batch(t, c.in)
		if err := b.Check(); err != nil {
			t.Errorf("%s: %v", c.in, err)
		}
		if got := Print(b); got != c.want {
			t.Errorf("got  %swant %s", got, c.want)
		}
	}
	for _, bad := range []string{"1 a", "event x 0s", "x a - s server n 0s 0s", `1 a - s server "n 0s 0s`, "1 a - s odd n 0s 0s", "1 a - s server n 0s 0s k",
		"1 a - s server n 0s 0s k=[1,true]", "1 a - s server n 0s 0s @what=1", "received", "1 a - s server n 0s 0s k=bytes:0"} {
		if b, err := Parse(bad); err == nil {
			t.Errorf("%q was read as %s", bad, Print(b))
		}
	}
}
