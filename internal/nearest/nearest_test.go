package nearest

import "testing"

func TestWord(t *testing.T) {
	words := []string{"http-addr", "otlp-http-addr", "retention", "service", "duration"}
	for word, want := range map[string]string{"htp-addr": "http-addr", "HTTP_ADDR": "http-addr", "durration": "duration", "servce": "service", "banana": "", "": ""} {
		if got := Word(word, words); got != want {
			t.Errorf("Word(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Hint("durration", words); got != ", did you mean duration?" {
		t.Error(got)
	}
}
