package process

import "bytes"

// A secret pattern is a literal start, the characters that may follow and how many there must be. Regular expressions
// over every value would cost more than the rest of the span path; these are found by one pass over pairs of bytes.
type secretPattern struct {
	start  string
	fold   bool // start in any case
	atWord bool // only at the beginning of a word
	body   *[256]bool
	min    int  // characters of body that must follow
	dots   int  // at least so many dots among them (JWT)
	keep   bool // the start itself stays readable ("Bearer ***")
	toEnd  bool // everything to the end of the value goes (private keys)
}

var (
	tokenChars  = charSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/=")
	jwtChars    = charSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
	upperDigits = charSet("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	wordChars   = charSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
	noBlank     = func() *[256]bool {
		var t [256]bool
		for c := 33; c < 256; c++ {
			t[c] = c != '&' && c != '"' && c != '\'' && c != ',' && c != ';'
		}
		return &t
	}()
)

var secretPatterns = []secretPattern{
	{start: "bearer ", fold: true, atWord: true, body: tokenChars, min: 8, keep: true},
	{start: "basic ", fold: true, atWord: true, body: tokenChars, min: 8, keep: true},
	{start: "eyJ", atWord: true, body: jwtChars, min: 20, dots: 2},
	{start: "AKIA", atWord: true, body: upperDigits, min: 16},
	{start: "ASIA", atWord: true, body: upperDigits, min: 16},
	{start: "AIza", atWord: true, body: wordChars, min: 30},
	{start: "ghp_", atWord: true, body: wordChars, min: 20},
	{start: "gho_", atWord: true, body: wordChars, min: 20},
	{start: "ghs_", atWord: true, body: wordChars, min: 20},
	{start: "ghu_", atWord: true, body: wordChars, min: 20},
	{start: "github_pat_", atWord: true, body: wordChars, min: 20},
	{start: "glpat-", atWord: true, body: wordChars, min: 16},
	{start: "xoxb-", atWord: true, body: wordChars, min: 16},
	{start: "xoxp-", atWord: true, body: wordChars, min: 16},
	{start: "sk_live_", atWord: true, body: wordChars, min: 16},
	{start: "-----BEGIN", body: noBlank, toEnd: true},
	{start: "password=", fold: true, body: noBlank, min: 1, keep: true},
	{start: "passwd=", fold: true, body: noBlank, min: 1, keep: true},
	{start: "token=", fold: true, body: noBlank, min: 1, keep: true},
	{start: "secret=", fold: true, body: noBlank, min: 1, keep: true},
	{start: "api_key=", fold: true, body: noBlank, min: 1, keep: true},
}

func charSet(s string) *[256]bool {
	var t [256]bool
	for i := range len(s) {
		t[s[i]] = true
	}
	return &t
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// pairs says for each pair of bytes whether a pattern may start with it: 8 KiB that stay in the cache.
var pairs = func() (t [1 << 10]uint64) {
	set := func(a, b byte) {
		i := uint(a)<<8 | uint(b)
		t[i>>6] |= 1 << (i & 63)
	}
	for _, s := range secretPatterns {
		a, b := s.start[0], s.start[1]
		set(a, b)
		if s.fold {
			set(upper(a), b)
			set(a, upper(b))
			set(upper(a), upper(b))
		}
	}
	return t
}()

// hasSecret reports whether a text holds a secret. Cost: about a nanosecond a byte.
func hasSecret(p []byte) bool {
	if len(p) < 7 {
		return false
	}
	for i := 0; i+1 < len(p); i++ {
		pair := uint(p[i])<<8 | uint(p[i+1])
		if pairs[pair>>6]>>(pair&63)&1 == 0 {
			continue
		}
		if from, _ := secretAt(p, i); from >= 0 {
			return true
		}
	}
	return false
}

// secretAt answers the run [from, to) that must go if a secret starts at i, else -1.
func secretAt(p []byte, i int) (from, to int) {
	for k := range secretPatterns {
		s := &secretPatterns[k]
		if len(p)-i < len(s.start)+s.min || !s.matchStart(p[i:]) {
			continue
		}
		if s.atWord && i > 0 && wordChars[p[i-1]] && p[i-1] != '-' && p[i-1] != '_' {
			continue
		}
		end, dots := i+len(s.start), 0
		for end < len(p) && s.body[p[end]] {
			if p[end] == '.' {
				dots++
			}
			end++
		}
		if end-i-len(s.start) < s.min || dots < s.dots {
			continue
		}
		if bytes.Equal(p[i+len(s.start):end], []byte(Redacted)) {
			continue
		}
		from, to = i, end
		if s.keep {
			from = i + len(s.start)
		}
		if s.toEnd {
			to = len(p)
		}
		return from, to
	}
	return -1, -1
}

func (s *secretPattern) matchStart(p []byte) bool {
	for j := range len(s.start) {
		c := p[j]
		if s.fold {
			c = lower(c)
		}
		if c != s.start[j] {
			return false
		}
	}
	return true
}

// appendWithoutSecrets appends p with every secret replaced.
func appendWithoutSecrets(dst, p []byte) []byte {
	done := 0
	for i := 0; i+1 < len(p); i++ {
		pair := uint(p[i])<<8 | uint(p[i+1])
		if pairs[pair>>6]>>(pair&63)&1 == 0 {
			continue
		}
		if from, to := secretAt(p, i); from >= 0 {
			dst = append(dst, p[done:from]...)
			dst = append(dst, Redacted...)
			done, i = to, to-1
		}
	}
	return append(dst, p[done:]...)
}
