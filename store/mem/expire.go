package mem

// Expire drops the oldest chunks in which no row was received at or after before (ns), with every trace that began in them,
// as if memory were short; kept traces stay. A chunk that is still open is closed first if it began before closeBefore:
// where little is received, chunks would else be older than what retention promises. An engine that is bounded by time or disk
// beside memory calls it now and then.
func (e *Engine) Expire(before, closeBefore int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	last := e.open.number // kept rows move to the newest chunk: this ends
	if e.open.rows() > 0 && e.open.runs[0].received < closeBefore {
		e.seal()
	}
	for len(e.sealed) > 0 && e.base <= last {
		if c := e.sealed[0]; c != nil && newest(c.runs) >= before {
			return
		}
		e.evictOldest()
	}
}

func newest(runs []run) int64 {
	at := runs[0].received
	for _, r := range runs[1:] {
		at = max(at, r.received)
	}
	return at
}
