package problem

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestOfFindsTheProblemInAChain(t *testing.T) {
	p := New(Overloaded, "full", "wait")
	if got := Of(fmt.Errorf("accept: %w", p)); got != p {
		t.Errorf("found %v", got)
	}
	other := errors.New("disk on fire")
	if got := Of(other); got.Kind != Internal || !errors.Is(got, other) {
		t.Errorf("an unknown error became %v", got)
	}
	if Of(nil) != nil {
		t.Error("no error became a problem")
	}
}

func TestErrorNamesFieldValueAndFix(t *testing.T) {
	p := &Problem{Kind: Invalid, Field: "limit", Message: `"x" is no number`, Hint: "use 1 to 1000", Err: errors.New("syntax")}
	if got, want := p.Error(), `limit: "x" is no number: syntax (use 1 to 1000)`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestEveryKindHasAStatus(t *testing.T) {
	for k := Internal; k <= Expired; k++ {
		if k.String() == "" || k.HTTPStatus() < 400 || k.GRPCCode() == 0 {
			t.Errorf("kind %d: %q %d %v", k, k, k.HTTPStatus(), k.GRPCCode())
		}
	}
	if (&Problem{}).Retry() != time.Second || (&Problem{RetryAfter: 5 * time.Second}).Retry() != 5*time.Second {
		t.Error("retry time")
	}
}
