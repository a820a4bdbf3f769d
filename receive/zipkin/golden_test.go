package zipkin

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spanloom/spanloom/span"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// TestGolden decodes the bodies of testdata/*.txt and compares the batches in canonical text. A file holds cases:
//
//	-- name [strict] [format announced] [hex] [back] --
//	body (hex: hexadecimal digits, white space and # comments between)
//	-- want --
//	canonical text, then the error if there is one
//
// With the word back the answer is the spans written as v2 JSON instead.
//
// A body's last line feed does not belong to it. Run with -rewrite to write the answers of the code at hand.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := sections(string(data))
		var out strings.Builder
		for i := 0; i+1 < len(parts); i += 2 {
			c, want := parts[i], parts[i+1]
			if want.head != "want" {
				t.Fatalf("%s: %q is not followed by want", file, c.head)
			}
			var got string
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+strings.Fields(c.head)[0], func(t *testing.T) {
				got = runCase(t, c)
				if got != want.body && !*rewrite {
					t.Errorf("got\n%s\nwant\n%s", got, want.body)
				}
			})
			out.WriteString("-- " + c.head + " --\n" + c.body + "-- want --\n" + got)
		}
		if *rewrite {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type section struct{ head, body string }

func sections(text string) (list []section) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-- ") && strings.HasSuffix(line, " --\n") {
			list = append(list, section{head: line[3 : len(line)-4]})
			continue
		}
		list[len(list)-1].body += line
	}
	return list
}

func runCase(t *testing.T, c section) string {
	body := []byte(strings.TrimSuffix(c.body, "\n"))
	d := new(Decoder)
	announced, writeBack := JSONv2, false
	for _, word := range strings.Fields(c.head)[1:] {
		switch word {
		case "strict":
			d.Strict = true
		case "v1":
			announced = JSONv1
		case "proto":
			announced = Proto3
		case "thrift":
			announced = Thrift
		case "back":
			writeBack = true
		case "hex":
			body = fromHex(t, string(body))
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	b := new(span.Batch)
	rep, err := d.Decode(b, bytes.Clone(body), announced)
	if cerr := b.Check(); cerr != nil {
		t.Fatal(cerr)
	}
	if writeBack {
		var out strings.Builder
		for i := range b.Len() {
			out.Write(append(AppendJSONv2(nil, b, i), '\n'))
		}
		return out.String()
	}
	got := canonical(b)
	if rep.Format != announced {
		got += "format " + rep.Format.String() + "\n"
	}
	if rep.UpperCaseID {
		got += "upper case\n"
	}
	if rep.Fault != nil {
		got += "fault " + rep.Fault.Error() + "\n"
	}
	if err != nil {
		got += "error " + err.Error() + "\n"
	}
	return got
}

func fromHex(t testing.TB, text string) []byte {
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	p, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
