package clickhouse

import (
	"context"
	"time"
)

// Seal ends the open window, so that it is written at once.
func (e *Engine) Seal() { e.rolls.sealOld(0) }

// Abandon leaves the open window as a process does that is killed.
func (e *Engine) Abandon() {
	e.rolls.stop()
	e.rolls.ended.Wait()
	e.rolls.mu.Lock()
	defer e.rolls.mu.Unlock()
	e.rolls.open, e.rolls.ready, e.rolls.off = nil, nil, true
}

// Tidy counts what nobody counted and joins hours as if it were so much later.
func (e *Engine) Tidy(ctx context.Context, ahead time.Duration) error {
	now, err := e.clock(ctx)
	if err != nil {
		return err
	}
	return e.rolls.tidyAll(ctx, now.Add(ahead))
}

// Ahead numbers inserts from now on as a process does whose clock is so much ahead.
func (e *Engine) Ahead(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastSeq = uint64(time.Now().Add(d).UnixNano())
}

// Interrupt ends the background's work in the middle of writing what is open, as Close may.
func (e *Engine) Interrupt() {
	e.rolls.stop()
	e.rolls.ended.Wait()
	e.rolls.sealOld(0)
	e.rolls.writeReady(e.rolls.ctx)
}
