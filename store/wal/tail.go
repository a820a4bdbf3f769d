package wal

// tail holds the frames that await their fsync, in chunks, so that a burst is not copied again and again.
type tail struct {
	chunks [][]byte
	size   int
}

const tailChunk = 1 << 20

// add copies whole frames to the end.
func (t *tail) add(p []byte) {
	n := len(t.chunks)
	if n == 0 || cap(t.chunks[n-1])-len(t.chunks[n-1]) < len(p) {
		t.chunks = append(t.chunks, make([]byte, 0, max(tailChunk, len(p))))
		n++
	}
	t.chunks[n-1] = append(t.chunks[n-1], p...)
	t.size += len(p)
}

// trim drops the first n bytes. One empty chunk stays for what comes next; what a burst needed is given back.
func (t *tail) trim(n int) {
	t.size -= n
	done := 0
	for done < len(t.chunks) && n >= len(t.chunks[done]) {
		n -= len(t.chunks[done])
		done++
	}
	var spare []byte
	if done == len(t.chunks) && done > 0 && cap(t.chunks[done-1]) == tailChunk {
		spare = t.chunks[done-1][:0]
	}
	rest := copy(t.chunks, t.chunks[done:])
	clear(t.chunks[rest:])
	t.chunks = t.chunks[:rest]
	if n > 0 {
		t.chunks[0] = t.chunks[0][n:]
	} else if spare != nil {
		t.chunks = append(t.chunks, spare)
	}
}

// appendTo appends all bytes.
func (t *tail) appendTo(p []byte) []byte {
	for _, c := range t.chunks {
		p = append(p, c...)
	}
	return p
}
