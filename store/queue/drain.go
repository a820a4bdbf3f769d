package queue

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spanloom/spanloom/internal/faultfs"
	"github.com/spanloom/spanloom/internal/pause"
	"github.com/spanloom/spanloom/internal/problem"
	"github.com/spanloom/spanloom/span"
	"github.com/spanloom/spanloom/store/remote"
	"github.com/spanloom/spanloom/store/wal"
)

// drain sends generations, the oldest first, until the queue is closed. What fails is tried again with growing pauses.
func (q *Queue) drain() {
	var delay time.Duration
	for {
		g := q.due()
		if g == nil {
			return
		}
		err := q.send(g)
		if err == nil {
			delay = 0
			continue
		}
		if q.ctx.Err() != nil {
			return
		}
		if delay = min(max(2*delay, q.o.FirstPause), q.o.LongPause); q.failed(err) {
			q.slog.Warn("spans could not be sent; they wait in the queue", "engine", q.o.Kind, "err", err)
		}
		if pause.For(q.ctx, delay) != nil {
			return
		}
	}
}

// failed remembers an error, and reports whether it is another one than the last.
func (q *Queue) failed(err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts.failures++
	q.counts.failedAt = q.now()
	text := err.Error()
	other := text != q.counts.lastError
	q.counts.lastError = text
	return other
}

// due waits for a generation to send: nil when the queue is closed.
func (q *Queue) due() *generation {
	for {
		q.mu.Lock()
		g := q.gens[0]
		sealed, open := len(q.gens) > 1, q.last()
		rows, wanted, age := open.rows, q.flushers > 0, time.Since(open.began)
		q.mu.Unlock()
		if q.ctx.Err() != nil {
			return nil
		}
		if sealed {
			return g
		}
		var timer <-chan time.Time
		if rows > 0 {
			if rows >= q.o.FullRows || wanted || q.o.Linger >= 0 && age >= q.o.Linger {
				q.cut(func(*generation) bool { return true })
				continue
			}
			if q.o.Linger >= 0 {
				timer = time.After(q.o.Linger - age)
			}
		}
		select {
		case <-q.wake:
		case <-timer:
		case <-q.ctx.Done():
			return nil
		}
	}
}

// keptBatches is how many decoded batches keep their memory from run to run.
const keptBatches = 256

// sending is a generation on its way.
type sending struct {
	engine Engine
	token  string
	tried  []string // tokens
	aside  int      // pieces that were set aside
	rows   int64    // that were
}

// maxAside is how many single spans of a generation are looked for; then what is left of a bad piece goes as a whole, so that a
// generation of bad spans does not take twenty thousand inserts.
const maxAside = 64

// send stores a generation and takes it out of the queue.
func (q *Queue) send(g *generation) error {
	engine, err := q.connect()
	if err != nil {
		return err
	}
	if q.cursor.Sending != g.last || q.cursor.Token == "" {
		next := q.cursor
		next.Sending, next.Token = g.last, rand.Text()
		if err := q.writeCursor(next); err != nil {
			return err
		}
	}
	n := 0
	damage, err := q.log.Again(g.first, g.last, func() *span.Batch {
		if n == len(q.batches) {
			q.batches = append(q.batches, new(span.Batch))
		}
		return q.batches[n]
	}, func(*span.Batch, uint64) error {
		n++
		return nil
	})
	if err != nil {
		return err
	}
	to := &sending{engine: engine, token: q.cursor.Token}
	rows, days := 0, 0
	const day = int64(24 * time.Hour)
	for from := 0; from < n; days++ {
		end := from
		for end < n && q.batches[end].Received/day == q.batches[from].Received/day {
			rows += q.batches[end].Len()
			end++
		}
		if err := q.deliver(to, fmt.Sprintf("%s-%d", to.token, days), q.batches[from:end]); err != nil {
			return err
		}
		from = end
	}
	if rows > 2*q.o.MaxRows {
		q.batches = nil // what a burst took is given back
	} else if len(q.batches) > keptBatches {
		clear(q.batches[keptBatches:])
		q.batches = q.batches[:keptBatches]
	}
	next := q.cursor
	next.Through = g.last
	if err := q.writeCursor(next); err != nil {
		return err
	}
	lost := 0
	for _, d := range damage {
		lost += d.Spans
		q.slog.Error("spans of the queue could not be read and were not sent", "what", d.String())
	}
	q.commit(to, rows, lost, damage)
	if _, err := q.log.DropBefore(g.last+1, 0); err != nil {
		q.slog.Warn("sent log files could not be removed", "err", err)
	}
	return nil
}

// commit takes the oldest generation out of the queue in the moment in which its rows count in the engine.
func (q *Queue) commit(to *sending, rows, lost int, damage []wal.Damage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	to.engine.Count(to.tried...)
	q.gens[0] = nil
	q.gens = q.gens[1:]
	q.counts.sentSpans += int64(rows) - to.rows
	q.counts.poison += to.rows
	q.counts.unreadable += int64(lost)
	q.counts.inserts++
	q.counts.lastError = ""
	for _, d := range damage {
		q.damaged = append(q.damaged, d.String())
	}
	close(q.changed)
	q.changed = make(chan struct{})
}

// connect gives the engine, and opens it if it was away.
func (q *Queue) connect() (Engine, error) {
	if e := q.connected(); e != nil {
		return e, nil
	}
	e, err := q.o.Connect(q.ctx)
	if err != nil {
		return nil, err
	}
	q.slog.Info("the engine is there", "engine", q.o.Kind)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.engine = e
	return e, nil
}

// deliver inserts a piece. Spans that the engine will never take are set aside: those that it names; where it refuses the piece as a whole,
// the piece is halved until the bad spans are alone.
// Everything it does again after an error it does in the same way, under the same tokens.
func (q *Queue) deliver(to *sending, token string, piece []*span.Batch) error {
	to.tried = append(to.tried, token)
	err := to.engine.Insert(q.ctx, token, piece)
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*remote.Refused](err); ok {
		return q.setAside(to, token, only(piece, r.Rows), err)
	}
	if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Kind != problem.Invalid && p.Kind != problem.TooLarge {
		return err
	}
	if len(piece) == 1 && piece[0].Len() == 1 || to.aside >= maxAside {
		return q.setAside(to, token, piece, err)
	}
	a, b := halves(piece)
	if err := q.deliver(to, token+"a", a); err != nil {
		return err
	}
	return q.deliver(to, token+"b", b)
}

// halves cuts a piece of more than one span in two.
func halves(piece []*span.Batch) (a, b []*span.Batch) {
	if n := len(piece) / 2; n > 0 {
		return piece[:n], piece[n:]
	}
	var rows [2][]remote.Place
	for row := range piece[0].Len() {
		half := min(row/(piece[0].Len()/2), 1)
		rows[half] = append(rows[half], remote.Place{Row: row})
	}
	return only(piece, rows[0]), only(piece, rows[1])
}

// only is a copy of some rows of a piece, given in order.
func only(piece []*span.Batch, rows []remote.Place) (out []*span.Batch) {
	var c *span.Copier
	for i, at := range rows {
		if i == 0 || at.Batch != rows[i-1].Batch {
			whole := piece[at.Batch]
			b := &span.Batch{Tenant: whole.Tenant, Received: whole.Received}
			out, c = append(out, b), span.NewCopier(b)
			c.Begin(whole)
		}
		c.Row(at.Row)
	}
	return out
}

// deadName is the folder of the dead letters.
const deadName = "dead"

// setAside writes spans that the engine will never take into a file of the log's form, with the reason beside it.
func (q *Queue) setAside(to *sending, token string, piece []*span.Batch, why error) error {
	name := filepath.Join(q.o.Dir, deadName, token)
	_, statErr := q.fs.Stat(name + ".log")
	size, err := wal.WriteFile(q.fs, name+".log", q.now().UnixNano(), piece)
	if err == nil {
		err = wal.Replace(q.fs, name+".txt", []byte(why.Error()+"\n"))
	}
	if err != nil {
		return q.unwritten(fmt.Sprintf("set aside spans that %s refuses (%v)", q.o.Kind, why), err)
	}
	for _, b := range piece {
		to.rows += int64(b.Len())
	}
	to.aside++
	if errors.Is(statErr, fs.ErrNotExist) { // else it is from an attempt before
		q.slog.Error("spans are refused for good and were set aside", "engine", q.o.Kind, "file", name+".log", "err", why)
		q.mu.Lock()
		q.dead += size
		q.deadFile = name + ".log"
		q.limitLog()
		q.mu.Unlock()
	}
	return nil
}

// cursor is the file that says how far the engine is.
type cursor struct {
	Version int    `json:"version"`
	Through uint64 `json:"through"` // the engine has every frame up to this sequence
	Sending uint64 `json:"sending"` // end of the run behind it that is on its way
	Token   string `json:"token"`   // of that run
}

const cursorVersion = 1

func (q *Queue) cursorFile() string { return filepath.Join(q.o.Dir, "cursor.json") }

func (q *Queue) writeCursor(c cursor) error {
	c.Version = cursorVersion
	p, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := wal.Replace(q.fs, q.cursorFile(), append(p, '\n')); err != nil {
		return q.unwritten("write the queue's cursor", err)
	}
	q.cursor = c
	return nil
}

// readCursor reads the file; the zero cursor if there is none.
func readCursor(fsys faultfs.FS, name string) (c cursor, err error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	p, err := io.ReadAll(io.LimitReader(f, 4096))
	if err = errors.Join(err, f.Close()); err != nil {
		return c, err
	}
	if err := json.Unmarshal(p, &c); err != nil {
		return c, err
	}
	if c.Version != cursorVersion {
		return c, fmt.Errorf("version %d, this program knows %d", c.Version, cursorVersion)
	}
	return c, nil
}

// letters is the size of the files in the folder of dead letters, and the name of the newest one with spans; empty if there is none.
func letters(fsys faultfs.FS, dir string) (bytes int64, newest string, err error) {
	files, err := fsys.ReadDir(dir)
	if err != nil {
		return 0, "", err
	}
	var at time.Time
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		info, err := fsys.Stat(name)
		if err != nil {
			return 0, "", err
		}
		bytes += info.Size()
		if strings.HasSuffix(name, ".log") && !info.ModTime().Before(at) {
			newest, at = name, info.ModTime()
		}
	}
	return bytes, newest, nil
}
