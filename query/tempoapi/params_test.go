package tempoapi

import (
	"net/url"
	"testing"
	"time"
)

func TestDefaultStep(t *testing.T) {
	for window, want := range map[time.Duration]time.Duration{
		time.Second: 50 * time.Millisecond, 30 * time.Second: 100 * time.Millisecond, time.Minute: time.Second, 5 * time.Minute: time.Second,
		10 * time.Minute: 2 * time.Second, time.Hour: 15 * time.Second, 6 * time.Hour: time.Minute, 24 * time.Hour: 5 * time.Minute,
		7 * 24 * time.Hour: 40 * time.Minute, 30 * 24 * time.Hour: 3 * time.Hour,
	} {
		if got := defaultStep(window); got != want {
			t.Errorf("a window of %s has steps of %s, want %s", window, got, want)
		}
	}
}

func TestInstantsStepsAndSince(t *testing.T) {
	instant := func(s string) (int64, bool) {
		ns, given, err := parseInstant(url.Values{"x": {s}}, "x")
		return ns, given && err == nil
	}
	for text, want := range map[string]int64{
		"1767225600": 1767225600e9, "1767225600.25": 1767225600_250000000, "1767225600000000000": 1767225600e9, "9999999999": 9223372036e9,
		"2026-01-01T00:00:00Z": 1767225600e9, "2026-01-01T09:00:00.5+09:00": 1767225600_500000000, "0": 0,
	} {
		if got, ok := instant(text); !ok || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"-1", "x", "1.2.3", "1e30.", "NaN.", "2500-01-01T00:00:00Z", "99999999999999999999", "-0.5", "2026-01-01"} {
		if got, ok := instant(text); ok {
			t.Errorf("%s was taken as %d", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"15s": 15 * time.Second, "15": 15 * time.Second, "0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second, "": 0} {
		if got, err := parseStep(url.Values{"step": {text}}); err != nil || got != want {
			t.Errorf("step %q: %s %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{"": time.Hour, "30m": 30 * time.Minute, "2d": 48 * time.Hour, "1w": 168 * time.Hour, "1w2d": 216 * time.Hour} {
		if got, err := parseSince(url.Values{"since": {text}}); err != nil || got != want {
			t.Errorf("since %q: %s %v, want %s", text, got, err, want)
		}
	}
}

func TestLogfmt(t *testing.T) {
	for text, want := range map[string]string{
		`a=b`:                          `{ ."a" =~ "(?is).*b.*" }`,
		`http.status_code=200 b="c d"`: `{ ."b" =~ "(?is).*c d.*" && (."http.status_code" =~ "(?is).*200.*" || ."http.status_code" = 200) }`,
		`flag`:                         `{ ."flag" =~ "(?is).*.*" }`,
		`name="GET /" status=ERROR`:    `{ name =~ "(?is).*GET /.*" && status = error }`,
		`a="x\"y"`:                     `{ ."a" =~ "(?is).*x\"y.*" }`,
		``:                             `{}`,
	} {
		tags, err := parseLogfmt(text)
		if got := tagsText(tags); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{`=`, `a="b`, `a="b"c=d`, `a=b"c`, `a=1 a=2`, `"a"=b`} {
		if tags, err := parseLogfmt(text); err == nil {
			t.Errorf("%s was taken as %v", text, tags)
		}
	}
}
