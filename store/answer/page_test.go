package answer

import (
	"strings"
	"testing"
	"time"

	"github.com/spanloom/spanloom/span"
)

// FuzzSharedPage: a token is foreign text, and each has one form.
func FuzzSharedPage(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(SharedPage{Plan: 5, Issued: now.UnixNano(), After: Rank{Start: -1, ID: span.TraceID{1}}, Moment: Moment{Writer: 1, Last: 2, Wall: 3, Flying: []uint64{1, 2}}}.String())
	f.Add(SharedPage{Plan: 5, Issued: now.UnixNano()}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseSharedPage(text, 5, now, 4); err == nil && got.String() != text {
			t.Errorf("%q is read as %q", text, got)
		}
	})
}

func TestSharedPage(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good := SharedPage{Plan: 5, Issued: now.UnixNano(), Moment: Moment{Flying: []uint64{1, 2}}}
	for name, c := range map[string]struct {
		text string
		plan uint64
		at   time.Time
		most int
		want string
	}{
		"good":         {good.String(), 5, now, 2, ""},
		"other search": {good.String(), 6, now, 2, "the page token belongs to another search"},
		"old":          {good.String(), 5, now.Add(PageLife + 1), 2, "the page token is too old"},
		"too long":     {good.String(), 5, now, 1, "is not a page token"},
		"cut":          {good.String()[:20], 5, now, 2, "is not a page token"},
		"empty":        {"", 5, now, 2, "is not a page token"},
		"with a break": {good.String() + "\n", 5, now, 2, "is not a page token"},
	} {
		_, err := ParseSharedPage(c.text, c.plan, c.at, c.most)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
