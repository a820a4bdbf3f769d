package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the largest piece of a file that is held at once: a trace of Jaeger's, the ResourceSpans of a request. Larger ones are
// left out and named. With the batch made of it a record takes about three times its size.
const maxRecord = 128 << 20

// stream reads JSON values one after the other and holds no more than one of them.
type stream struct {
	from io.Reader
	most int // bytes of a value
	buf  []byte
	pos  int   // of the next byte
	mark int   // from here on the buffer is kept; -1: from pos
	base int64 // offset of buf[0]
	done bool  // from has ended
	err  error // of from, other than its end

	counted int64 // offset up to which lines were counted
	lines   int64
	opened  []byte // brackets around the value being read
	byLine  bool   // every line is a value: a brace that begins a line begins a value, whatever came before
}

// lineStart reports whether the next byte begins a line.
func (s *stream) lineStart() bool { return s.offset() == 0 || s.pos > 0 && s.buf[s.pos-1] == '\n' }

func newStream(from io.Reader, most int) *stream {
	return &stream{from: from, most: most, mark: -1}
}

func (s *stream) offset() int64 { return s.base + int64(s.pos) }

// Position is a place in what was read, after decompression.
type Position struct {
	Offset int64
	Line   int64 // from 1; 0 where lines mean nothing
}

func (p Position) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("byte %d", p.Offset)
	}
	return fmt.Sprintf("line %d, byte %d", p.Line, p.Offset)
}

// position is that of the next byte. It must be asked while what lies between the last asked position and this one is in the buffer
// or was counted by fill.
func (s *stream) position() Position {
	s.count(s.pos)
	return Position{s.offset(), s.lines + 1}
}

// count counts the lines up to an index of the buffer.
func (s *stream) count(to int) {
	if from := int(s.counted - s.base); from < to {
		s.lines += int64(bytes.Count(s.buf[from:to], []byte{'\n'}))
		s.counted = s.base + int64(to)
	}
}

// fill reads more. It reports whether there is.
func (s *stream) fill() bool {
	if s.done {
		return false
	}
	from := max(s.pos-1, 0) // nextLine looks at the byte before
	if s.mark >= 0 {
		from = s.mark
	}
	if from > 0 && (from >= len(s.buf)/2 || len(s.buf) == cap(s.buf)) {
		s.count(from)
		n := copy(s.buf, s.buf[from:])
		s.buf = s.buf[:n]
		s.base += int64(from)
		s.pos -= from
		if s.mark >= 0 {
			s.mark = 0
		}
	}
	if len(s.buf) == cap(s.buf) {
		grown := make([]byte, len(s.buf), max(64<<10, 2*cap(s.buf)))
		copy(grown, s.buf)
		s.buf = grown
	}
	for range 100 {
		n, err := s.from.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err != nil {
			s.done = true
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	s.done, s.err = true, io.ErrNoProgress
	return false
}

// syntaxError is JSON that is none.
type syntaxError struct {
	at   Position
	what string
}

func (e *syntaxError) Error() string { return e.what + " at " + e.at.String() }

// errTooLong is a value over the limit; it was passed over.
var errTooLong = errors.New("too long")

func (s *stream) wrong(what string) error {
	if s.err != nil {
		return s.err
	}
	return &syntaxError{s.position(), what}
}

// peek is the next byte that is no white space; io.EOF at the end.
func (s *stream) peek() (byte, error) {
	for {
		for s.pos < len(s.buf) {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
				s.pos++
			default:
				return c, nil
			}
		}
		if !s.fill() {
			if s.err != nil {
				return 0, s.err
			}
			return 0, io.EOF
		}
	}
}

// expect takes a byte.
func (s *stream) expect(want byte) error {
	c, err := s.peek()
	if err == nil && c != want {
		return s.wrong(fmt.Sprintf("%q where %q is expected", c, want))
	}
	if errors.Is(err, io.EOF) {
		return s.wrong(fmt.Sprintf("the end where %q is expected", want))
	}
	s.pos++
	return err
}

// next reports whether a list or object goes on, after its opening bracket (first) or after an element.
func (s *stream) next(first bool, end byte) (bool, error) {
	c, err := s.peek()
	switch {
	case errors.Is(err, io.EOF):
		return false, s.wrong("the end inside of a list or object")
	case err != nil:
		return false, err
	case c == end:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.wrong(fmt.Sprintf("%q where a comma or %q is expected", c, end))
	}
	s.pos++
	return true, nil
}

// maxKey is the longest name of a member that is looked at; others are those of records.
const maxKey = 256

// firstKey is the name of the first member of the object that begins at the next byte, without taking anything; empty if there is none.
func (s *stream) firstKey() string {
	for {
		text := s.buf[s.pos:]
		rest := bytes.TrimLeft(text[1:], " \t\r\n")
		if len(rest) > 0 && rest[0] != '"' {
			return ""
		}
		if len(rest) > 0 {
			if end := bytes.IndexByte(rest[1:], '"'); end >= 0 {
				return string(rest[1 : 1+end])
			}
		}
		if len(text) > maxKey+64<<10 {
			return ""
		}
		s.mark = s.pos
		more := s.fill()
		s.pos, s.mark = s.mark, -1
		if !more {
			return ""
		}
	}
}

// value takes the next value and answers its text, a view until the next call. keep false passes over it.
//
// The grammar is checked as far as brackets, commas, colons and quotes go, so that a value that was cut off ends where the next one
// begins and does not swallow it.
func (s *stream) value(keep bool) ([]byte, error) {
	if _, err := s.peek(); err != nil {
		if errors.Is(err, io.EOF) {
			err = s.wrong("the end where a value is expected")
		}
		return nil, err
	}
	start := s.offset()
	s.position() // lines are counted up to here
	if keep {
		s.mark = s.pos
	}
	err := s.scan(start)
	from := s.mark
	s.mark = -1
	if err != nil || !keep {
		return nil, err
	}
	if from < 0 {
		return nil, errTooLong
	}
	return s.buf[from:s.pos], nil
}

// What may come next while a value is scanned.
const (
	wantValue = iota
	wantValueOrEnd
	wantKey
	wantKeyOrEnd
	wantColon
	wantMore // a comma or the end
)

func (s *stream) scan(start int64) error {
	s.opened = s.opened[:0]
	want := wantValue
	for {
		c, err := s.peek()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = s.wrong("the end inside of a value")
			}
			return err
		}
		if s.mark >= 0 && s.offset()-start > int64(s.most) {
			s.mark = -1
		}
		switch {
		case c == '"' && (want == wantKey || want == wantKeyOrEnd):
			if err := s.text(start); err != nil {
				return err
			}
			want = wantColon
			continue
		case want == wantColon && c == ':':
			s.pos++
			want = wantValue
			continue
		case want == wantMore && c == ',':
			s.pos++
			want = wantValue
			if s.opened[len(s.opened)-1] == '{' {
				want = wantKey
			}
			continue
		case c == ']' && (want == wantMore || want == wantValueOrEnd) && s.opened[len(s.opened)-1] == '[',
			c == '}' && (want == wantMore || want == wantKeyOrEnd) && s.opened[len(s.opened)-1] == '{':
			s.pos++
			s.opened = s.opened[:len(s.opened)-1]
		case want != wantValue && want != wantValueOrEnd:
			return s.wrong(fmt.Sprintf("unexpected %q", c))
		case c == '{' && s.byLine && len(s.opened) > 0 && s.lineStart():
			return s.wrong("the end of the line inside of a value")
		case c == '{':
			s.pos++
			s.opened = append(s.opened, c)
			want = wantKeyOrEnd
			continue
		case c == '[':
			s.pos++
			s.opened = append(s.opened, c)
			want = wantValueOrEnd
			continue
		case c == '"':
			if err := s.text(start); err != nil {
				return err
			}
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			s.literal()
		default:
			return s.wrong(fmt.Sprintf("unexpected %q", c))
		}
		if len(s.opened) == 0 {
			return nil
		}
		if len(s.opened) > maxDepth {
			return s.wrong("nested too deep")
		}
		want = wantMore
	}
}

// maxDepth is how deep values may be nested.
const maxDepth = 1000

// text takes a string.
func (s *stream) text(start int64) error {
	s.pos++
	for {
		for s.pos < len(s.buf) {
			switch c := s.buf[s.pos]; {
			case c == '"':
				s.pos++
				return nil
			case c == '\\':
				if s.pos+1 == len(s.buf) {
					goto more
				}
				s.pos += 2
			case c < 0x20:
				return s.wrong("a control character inside of a string")
			default:
				s.pos++
			}
		}
	more:
		if s.mark >= 0 && s.offset()-start > int64(s.most) {
			s.mark = -1
		}
		if !s.fill() {
			return s.wrong("the end inside of a string")
		}
	}
}

// literal takes a number or a word.
func (s *stream) literal() {
	for {
		for s.pos < len(s.buf) {
			switch c := s.buf[s.pos]; {
			case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
				s.pos++
			default:
				return
			}
		}
		if !s.fill() {
			return
		}
	}
}

// nextLine goes to the start of the next line that begins with a brace, which is where a file of lines goes on after a broken one:
// lines of an indented value begin with white space. It reports whether there is one.
func (s *stream) nextLine() bool {
	if s.pos < len(s.buf) && s.buf[s.pos] == '{' && s.offset() > 0 && s.lineStart() {
		return true
	}
	for {
		if i := bytes.IndexByte(s.buf[s.pos:], '\n'); i >= 0 {
			s.pos += i + 1
			if s.pos == len(s.buf) && !s.fill() {
				return false
			}
			if s.buf[s.pos] == '{' {
				return true
			}
			continue
		}
		s.pos = len(s.buf)
		if !s.fill() {
			return false
		}
	}
}
